//! The run to train: a new one, or a run to resume.

use super::Options;
use crate::runs;
use std::path::{Path, PathBuf};
use toml::{Table, Value};
use tweedie::data::Dataset;
use tweedie::run::{Lock, Recipe, Run, shipped};
use tweedie::{Error, Result};

/// The most keys of a recipe that a message names.
const NAMED: usize = 3;

/// A run to train, with its data, if its family has some, and its lock.
pub(super) struct Session {
    pub run: Run,
    pub data: Option<Dataset>,
    /// The lock that keeps other processes from training the run.
    pub lock: Lock,
}

/// A recipe: the argument of the command line, the name of its runs, and its text.
struct Template<'a> {
    given: &'a str,
    name: String,
    text: String,
}

impl Options {
    /// Creates the run, or opens the run to resume.
    pub(super) fn begin(&self) -> Result<Session> {
        let found = self
            .recipe
            .as_deref()
            .map(|given| shipped::find(given).map(|(name, text)| Template { given, name, text }));
        match (found.transpose()?, &self.out) {
            (found, Some(folder)) if self.resume => self.resume(folder, found.as_ref()),
            (Some(found), None) if self.resume => {
                self.resume(&runs::newest(&found.name)?, Some(&found))
            }
            (Some(found), _) => self.start(&found),
            (None, _) => {
                let names = shipped::names().join(", ");
                let expected = format!("one of {names}, or the path of a .toml file");
                Err(Error::config("recipe", "missing", expected))
            }
        }
    }

    /// The options that change the recipe, as overrides. `--data` replaces the `data` table of a new run's recipe but
    /// for `kept` of its keys, and its `source` alone for a run to resume.
    fn overrides(&self, kept: &str) -> Vec<String> {
        let quoted = |text: &String| Value::String(text.clone()).to_string();
        let source = |data: &String| match self.resume {
            true => format!("data.source={}", quoted(data)),
            false => format!("data={{ source = {}{kept} }}", quoted(data)),
        };
        let mut overrides: Vec<String> = self.data.iter().map(source).collect();
        overrides.extend(self.set.iter().cloned());
        overrides.extend(self.label.iter().map(|label| format!("data.label={}", quoted(label))));
        if !self.condition.is_empty() {
            let names: Vec<String> = self.condition.iter().map(quoted).collect();
            overrides.push(format!("data.condition=[{}]", names.join(", ")));
        }
        overrides.extend(self.seed.iter().map(|seed| format!("seed={seed}")));
        overrides
    }

    /// Creates a run.
    fn start(&self, found: &Template) -> Result<Session> {
        let located = |error| shipped::located(error, found.given, &found.text);
        let overrides = self.overrides(&whatever_the_source(&found.text));
        let mut recipe = Recipe::parse(&found.text, &overrides).map_err(located)?;
        if let (Some(source), None) = (&mut recipe.data, &self.data)
            && let Some(beside) = beside(found.given, &source.source)
        {
            source.source = beside;
        }
        let data = recipe.data.is_some().then(|| recipe.load_data()).transpose()?;
        let folder = match &self.out {
            Some(folder) => folder.clone(),
            None => runs::new_folder(&found.name)?,
        };
        let run = Run::create(&folder, recipe, data.as_ref()).map_err(|error| {
            if self.out.is_none() {
                runs::remove_empty(&folder);
            }
            located(error)
        })?;
        let lock = run.lock()?;
        Ok(Session { run: run.started_with(overrides)?, data, lock })
    }

    /// Opens a run to go on with.
    fn resume(&self, folder: &Path, found: Option<&Template>) -> Result<Session> {
        let run = runs::open(folder)?;
        let lock = run.lock()?;
        let moved = self.data.as_ref().filter(|data| run.may_have_moved_to(data));
        let mut overrides = self.overrides("");
        overrides.drain(..usize::from(moved.is_some()));
        let mut run = run.with_overrides(&overrides)?;
        if let Some(moved) = moved {
            run = run.with_data(moved);
        }
        let has_data = !run.is_without_data() || run.is_imported();
        let data = has_data.then(|| run.data()).transpose()?;
        if let Some(found) = found {
            say_differences(&run, &found.text, found.given);
        }
        for folder in [folder.to_path_buf(), run.file("samples")].iter().filter(|f| f.is_dir()) {
            tweedie::files::remove_leftovers(folder)?;
        }
        Ok(Session { run: run.remember_data()?, data, lock })
    }
}

/// The keys of a recipe's `data` that hold for any source, as in `, binarise = "dynamic"`: binarisation, and that
/// labels are left out.
fn whatever_the_source(recipe: &str) -> String {
    let table: Option<Table> = recipe.parse().ok();
    let data = table.and_then(|mut table| table.remove("data"));
    let key = |key: &str| {
        let value = data.as_ref()?.get(key)?;
        (key != "label" || value.as_str() == Some("none")).then(|| format!(", {key} = {value}"))
    };
    ["label", "binarise"].into_iter().filter_map(key).collect()
}

/// The path of data that stand beside the file of the recipe that names them, where they are not in the working folder.
fn beside(recipe: &str, source: &str) -> Option<String> {
    let (recipe, path) = (Path::new(recipe), Path::new(source));
    let named = tweedie::data::list().iter().any(|(name, _)| *name == source);
    if named || path.is_absolute() || path.exists() || !recipe.is_file() {
        return None;
    }
    let found: PathBuf = recipe.parent()?.join(path);
    found.exists().then(|| found.to_str().map(String::from))?
}

/// Prints to stderr the keys in which a recipe now differs from the run's own, which the run keeps.
pub(super) fn say_differences(run: &Run, recipe: &str, given: &str) {
    let folder = run.folder().display();
    let Ok(keys) = run.differences(recipe) else {
        eprintln!(
            "{folder}: goes on by its own recipe; the options of its start do not fit {given}"
        );
        return;
    };
    let text = |value: &str| value.trim_matches('"').to_string();
    // Data beside the recipe's file are known to the run by a longer path.
    let same = |key: &str, own: &str, now: &str| {
        key == "data.source" && Path::new(&text(own)).ends_with(text(now))
    };
    let differing: Vec<String> = keys
        .iter()
        .filter(|(key, own, now)| !same(key, own, now))
        .map(|(key, own, now)| format!("{key} is {own}, not {now}"))
        .collect();
    if differing.is_empty() {
        return;
    }
    let more = match differing.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let first = differing[..differing.len().min(NAMED)].join(", ");
    eprintln!("{folder}: goes on by its own recipe, which differs from {given}: {first}{more}");
}
