//! Rules of the house that no lint checks.

mod equations;
mod floors;
mod names;

use std::path::{Path, PathBuf};

/// The checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file below a folder whose name ends so, with its text.
fn files(folder: &Path, ending: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            let text = std::fs::read_to_string(&path).expect("text");
            found.push((path, text));
        }
    }
    found
}

/// `Device`'s default prefers a GPU once one is compiled in: devices are passed, never assumed.
#[test]
fn no_source_asks_for_the_default_device() {
    let forbidden = ["Device", "::default()"].concat();
    let sources = files(&root().join("crates"), ".rs");
    assert!(sources.len() > 80);
    for (path, text) in sources {
        assert!(!text.contains(&forbidden), "{}", path.display());
    }
}

/// Every test that the table of methods names is there.
#[test]
fn the_tests_that_the_methods_name_exist() {
    let suite = files(&root().join("crates/tweedie/tests/suite"), ".rs");
    let program = files(&root().join("crates/tweedie-cli/tests/program"), ".rs");
    let methods = std::fs::read_to_string(root().join("docs/methods.md")).expect("the table");
    let module_of = |path: &Path| path.file_stem().map(|s| s.to_string_lossy().into_owned());
    let mut named = 0;
    for line in methods.lines().filter(|line| line.starts_with("| ")) {
        let column = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        for name in column.split('`').skip(1).step_by(2).filter(|name| name.contains("::")) {
            let parts: Vec<&str> = name.split("::").collect();
            let (from, parts) = match parts[0] {
                "program" => (&program, &parts[1..]),
                _ => (&suite, &parts[..]),
            };
            let module = parts[parts.len() - 2];
            let function = format!("fn {}", parts[parts.len() - 1].trim_end_matches('*'));
            let there = from.iter().any(|(path, text)| {
                module_of(path).as_deref() == Some(module) && text.contains(&function)
            });
            assert!(there, "docs/methods.md names {name}, which is not there");
            named += 1;
        }
    }
    assert!(named > 40, "only {named} tests are named");
}
