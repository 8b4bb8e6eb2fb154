//! Families and solvers are named only in their own files and in their registry.

use super::{files, root};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tweedie::family::FAMILIES;
use tweedie::solve::AnySolver;

/// Places that name a family or a solver, from `crates/`: a file or a folder, what it names, and why it must.
const EXCEPTIONS: &[(&str, &[&str], &str)] = &[
    (
        "tweedie/src/diffusers/scheduler.rs",
        &[
            "Ancestral",
            "Ddim",
            "Deis",
            "Diffusion",
            "DpmSolverPp2M",
            "DpmSolverPp2S",
            "DpmSolverPp3M",
            "Heun",
            "Lms",
            "Pndm",
            "StochasticHeun",
            "UniPc",
        ],
        "the exchange table of diffusers' schedulers",
    ),
    (
        "tweedie/src/diffusers/edm.rs",
        &["Ddim", "DpmSolverPp2M", "DpmSolverPp3M"],
        "the exchange table of EDM's schedulers",
    ),
    (
        "tweedie/src/diffusers/flow.rs",
        &["Diffusion", "Euler", "Heun"],
        "the exchange table of the schedulers of flow matching",
    ),
    (
        "tweedie/src/diffusers/score_sde.rs",
        &["Ancestral", "EulerMaruyama", "PredictorCorrector"],
        "the exchange table of the schedulers of score SDEs",
    ),
    ("tweedie/src/diffusers/mod.rs", &["Diffusion"], "diffusers' pipelines are diffusion models"),
    (
        "tweedie/src/solve/corrector.rs",
        &["Ancestral", "Ddim", "Euler", "EulerMaruyama"],
        "the solvers that a predictor-corrector may correct",
    ),
    ("tweedie/src/solve/pndm.rs", &["Heun"], "the method of its first step"),
    ("tweedie/src/objective/martingale.rs", &["Ancestral"], "its loss is of ancestral steps"),
    (
        "tweedie/src/family/diffusion/pictures/solvers.rs",
        &["DormandPrince", "ddim", "deis", "dpm++2m", "heun", "unipc"],
        "a picture that compares these solvers with an exact path",
    ),
    (
        "tweedie/src/family/diffusion/pictures/plane.rs",
        &["Ancestral"],
        "a picture of paths with noise on the way",
    ),
    ("tweedie/src/family/diffusion/pictures/mod.rs", &["flow"], "a picture of that name"),
    (
        "tweedie/src/judge/lesson/paths.rs",
        &["Ancestral", "EulerMaruyama"],
        "a page on one process by its SDE and by a chain",
    ),
    ("tweedie-cli/src/bench/densities.rs", &["Flow", "flow"], "the network whose steps are timed"),
    ("tweedie-cli/src/bench/train.rs", &["Ddim"], "the peer's sampler that is timed against"),
    ("tweedie-cli/src/reproduce/mnist_likelihood.rs", &["diffusion"], "a bound has such a term"),
    ("tweedie/src/process/sde.rs", &["diffusion"], "the coefficient of an SDE"),
    ("tweedie/src/process/schedule.rs", &["edm"], "the schedule of the same paper"),
    ("tweedie/src/denoise/prediction.rs", &["edm"], "the prediction of the same paper"),
    ("tweedie/src/denoise/mixture.rs", &["mixture"], "the argument of an error"),
    ("tweedie/src/density/fit/mixture.rs", &["mixture"], "the argument of an error"),
    ("tweedie/src/mcmc/chains.rs", &["chains"], "the argument of an error"),
    ("tweedie/src/nn/energy", &["energy"], "the table of recipes that names one"),
    ("tweedie/src/nn/flow", &["Flow", "flow"], "the network, not the family that trains it"),
    ("tweedie/src/latent", &["Flow", "flow", "mixture"], "distributions of latent variables"),
];

/// A registered family or solver.
struct Entry {
    /// The name in recipes.
    name: String,
    /// The type's own name.
    kind: String,
    /// The file, or the folder, that the type is written in, from `crates/` and without an extension.
    own: PathBuf,
}

/// A source without comments and unit tests: identifiers, and the contents of strings.
#[derive(Debug, Default, PartialEq)]
struct Source {
    words: Vec<String>,
    strings: Vec<String>,
}

impl Source {
    fn of(text: &str) -> Self {
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let (mut found, mut rest) = (Self::default(), text);
        while let Some(c) = rest.chars().next() {
            let mut taken = c.len_utf8();
            if rest.starts_with("//") {
                taken = rest.find('\n').unwrap_or(rest.len());
            } else if c == '"' {
                let inner = string(&rest[1..]);
                found.strings.push(inner.to_string());
                taken = inner.len() + 2;
            } else if let Some(quoted) =
                ["'\"'", "'\\\"'", "'\\''"].iter().find(|q| rest.starts_with(**q))
            {
                taken = quoted.len();
            } else if c.is_alphanumeric() || c == '_' {
                taken = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                found.words.push(rest[..taken].to_string());
            }
            rest = &rest[taken.min(rest.len())..];
        }
        found
    }

    /// What it says of an entry: its type, its name as a string, alone, before options or in a sentence.
    fn names(&self, entry: &Entry) -> impl Iterator<Item = String> {
        let quoted = [format!("`{}`", entry.name), format!("{},", entry.name)];
        let named =
            |s: &String| *s == entry.name || s.contains(&quoted[0]) || s.starts_with(&quoted[1]);
        let kind = self.words.contains(&entry.kind).then(|| entry.kind.clone());
        let name = self.strings.iter().any(named).then(|| entry.name.clone());
        kind.into_iter().chain(name)
    }
}

/// What a string holds, up to its closing quote.
fn string(rest: &str) -> &str {
    let mut escaped = false;
    let end = rest.find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    });
    &rest[..end.unwrap_or(rest.len())]
}

/// The span of a registry's lines in a source, from its first words to the first line that closes it.
fn registry(text: &str, first: &str, close: &str) -> Range<usize> {
    let start = text.find(first).expect("a registry");
    let end = text[start..].find(close).expect("the registry's end");
    start..start + end + close.len()
}

/// The file, from `crates/` and without an extension, that defines a type; a folder where the file is its `mod.rs`.
fn home(sources: &[(PathBuf, String)], room: &str, kind: &str) -> PathBuf {
    let defines = |text: &str| {
        ["<", " ", ";", "("].iter().any(|next| text.contains(&format!("\npub struct {kind}{next}")))
    };
    let mut all = sources.iter().filter(|(path, text)| path.starts_with(room) && defines(text));
    let (path, _) = all.next().unwrap_or_else(|| panic!("no struct {kind} in {room}"));
    let path = path.with_extension("");
    if path.ends_with("mod") { path.parent().expect("a folder").to_path_buf() } else { path }
}

const SOLVE: &str = "tweedie/src/solve/mod.rs";
const FAMILY: &str = "tweedie/src/family/mod.rs";

/// The registered solvers and families, from the lines of their registries.
fn entries(sources: &[(PathBuf, String)]) -> Vec<Entry> {
    let text = |file: &str| &sources.iter().find(|(path, _)| path.ends_with(file)).expect(file).1;
    // A path names the file or folder; a type alone was made known by a `pub use` line.
    let of = |name: &str, path: &str, room: &str| {
        let (module, kind) = path.rsplit_once("::").unzip();
        let kind = kind.unwrap_or(path);
        let own = module.map_or_else(|| home(sources, room, kind), |m| Path::new(room).join(m));
        Entry { name: name.into(), own, kind: kind.into() }
    };
    let solve = text(SOLVE);
    let lines = solve[registry(solve, "pub enum AnySolver", "\n    }")].lines();
    let line = |line: &str| {
        let (name, rest) = line.trim().strip_prefix('"')?.split_once("\" ")?;
        let (_, kind) = rest.split_once('(')?;
        let (kind, _) = kind.split_once(')')?;
        AnySolver::NAMES
            .iter()
            .any(|(known, _)| *known == name)
            .then(|| of(name, kind, "tweedie/src/solve"))
    };
    let mut all: Vec<Entry> = lines.filter_map(line).collect();
    assert_eq!(all.len(), AnySolver::NAMES.len());
    let family = text(FAMILY);
    let lines = family[registry(family, "pub const FAMILIES", "\n];")].lines();
    let kinds = lines.filter_map(|line| line.split_once("Entry::of::<")?.1.split_once('>'));
    let kinds: Vec<&str> = kinds.map(|(kind, _)| kind).collect();
    assert_eq!(kinds.len(), FAMILIES.len());
    all.extend(FAMILIES.iter().zip(kinds).map(|(f, kind)| of(f.name, kind, "tweedie/src/family")));
    all
}

/// The sources of the library and the program, by their paths from `crates/`, tests aside.
fn sources() -> Vec<(PathBuf, String)> {
    let crates = root().join("crates");
    let all = ["tweedie/src", "tweedie-cli/src"].map(|part| files(&crates.join(part), ".rs"));
    let own = all
        .into_iter()
        .flatten()
        .map(|(path, text)| (path.strip_prefix(&crates).expect("inside").to_path_buf(), text));
    own.filter(|(path, _)| path.iter().all(|part| part != "tests" && part != "tests.rs")).collect()
}

/// A source without what every registered type has there: its `mod` line, its `pub use` line, its registry line.
fn beside_registry(path: &Path, text: &str) -> String {
    let lines = match path.to_string_lossy().as_ref() {
        SOLVE => registry(text, "pub enum AnySolver", "\n    }"),
        FAMILY => registry(text, "pub const FAMILIES", "\n];"),
        _ => return text.to_string(),
    };
    let mut rest = text[..lines.start].to_string() + &text[lines.end..];
    while let Some(start) = rest.find("\npub use ") {
        let end = rest[start..].find(';').expect("the end of a statement");
        rest.replace_range(start..start + end + 1, "");
    }
    rest
}

#[test]
fn families_and_solvers_are_named_by_their_own_files_and_registries_alone() {
    let sources = sources();
    let entries = entries(&sources);
    let mut found: BTreeSet<(PathBuf, String)> = BTreeSet::new();
    for (path, text) in &sources {
        let source = Source::of(&beside_registry(path, text));
        let place = path.with_extension("");
        for entry in entries.iter().filter(|entry| !place.starts_with(&entry.own)) {
            found.extend(source.names(entry).map(|name| (path.clone(), name)));
        }
    }
    let allowed = |(path, name): &(PathBuf, String)| {
        let here = |(place, names, _): &&(&str, &[&str], &str)| {
            path.starts_with(place) && names.contains(&name.as_str())
        };
        EXCEPTIONS.iter().any(|exception| here(&exception))
    };
    let wrong: Vec<_> = found.iter().filter(|found| !allowed(found)).collect();
    assert!(wrong.is_empty(), "named outside of its own file and its registry: {wrong:#?}");
    for (place, names, why) in EXCEPTIONS {
        for name in *names {
            let there = found.iter().any(|(path, known)| path.starts_with(place) && known == name);
            assert!(there, "{place} no longer names {name} ({why})");
        }
    }
}

#[test]
fn strings_words_and_comments_are_distinguished() {
    let text = "use a::Ddim; // \"heun\" Euler\nlet x = '\"'; f(\"dd\\\"im, eta\", 'a');\n/// Heun\n\
        #[cfg(test)]\nmod tests {\n    Heun\n}";
    let words = ["use", "a", "Ddim", "let", "x", "f", "a"].map(String::from).to_vec();
    assert_eq!(Source::of(text), Source { words, strings: vec!["dd\\\"im, eta".into()] });
}
