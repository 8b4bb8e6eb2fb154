//! The rooms (modules) of the library stand on floors: a room uses only rooms below it.

use super::{files, root};
use std::path::Path;

/// The rooms from the ground up; rooms of one line do not know each other.
const FLOORS: [&[&str]; 21] = [
    &["error"],
    &["files", "registry", "rows"],
    &["draws"],
    &["tensor"],
    &["data"],
    &["nn", "transport"],
    &["process"],
    &["denoise"],
    &["path"],
    &["mcmc"],
    &["solve"],
    &["density"],
    &["objective"],
    &["metric"],
    &["train"],
    &["divergence", "draw"],
    &["game"],
    &["latent"],
    &["family"],
    &["run"],
    &["judge", "diffusers"],
];

/// The floor of a room.
fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// A source's code: without comments, strings' content and unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The module that a file is, by names from the crate's root.
fn module_of(file: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        file.with_extension("").iter().map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| name != "mod" && name != "lib");
    names
}

/// The first names of the paths that stand behind `crate::` or `super::`: one, or those inside of braces.
fn heads(rest: &str) -> Vec<String> {
    let name = |text: &str| {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(inner) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut depth, mut found, mut at) = (0usize, Vec::new(), 0);
    for (i, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(name(&inner[at..i]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(name(&inner[at..i]));
                at = i + 1;
            }
            _ => {}
        }
    }
    found
}

/// The rooms that a source names by paths from the root or from its parents.
fn rooms_named(file: &Path, code: &str) -> Vec<String> {
    let own = module_of(file);
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        rooms.extend(heads(&code[at + "crate::".len()..]));
    }
    for (at, _) in code.match_indices("super::") {
        if code[..at].ends_with("super::") {
            continue;
        }
        let rest = &code[at..];
        let path = rest.trim_start_matches("super::");
        let ups = (rest.len() - path.len()) / "super::".len();
        match own.len().checked_sub(ups) {
            Some(0) => rooms.extend(heads(path)),
            Some(_) => {}
            None => panic!("{} leaves the crate", file.display()),
        }
    }
    rooms.retain(|room| room.chars().next().is_some_and(char::is_lowercase));
    rooms
}

#[test]
fn rooms_know_only_rooms_below_them() {
    let source = root().join("crates/tweedie/src");
    let mut arrows = 0;
    for (path, text) in files(&source, ".rs") {
        let file = path.strip_prefix(&source).expect("a source");
        let module = module_of(file);
        if module.is_empty() || module.iter().any(|name| name == "tests") {
            continue;
        }
        let own = floor(&module[0]);
        let own = own.unwrap_or_else(|| panic!("{} stands on no floor", module[0]));
        for room in rooms_named(file, &code(&text)) {
            let Some(other) = floor(&room).filter(|_| room != module[0]) else { continue };
            assert!(other < own, "{} knows {room}, which is not below it", file.display());
            arrows += 1;
        }
    }
    assert!(arrows > 200, "only {arrows} arrows");
}

#[test]
fn paths_of_every_form_are_read() {
    let file = Path::new("solve/dpm.rs");
    let text = "use crate::{Error, data::{Rows, Space}, nn};\nuse super::super::metric::mmd;\n\
        // use crate::train::Run;\nfn f() -> crate::process::Level { super::grid::g() }\n\
        #[cfg(test)]\nuse crate::show::Plot;";
    let mut found = rooms_named(file, &code(text));
    found.sort();
    assert_eq!(found, ["data", "metric", "nn", "process"]);
}
