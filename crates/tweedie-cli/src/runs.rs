//! Runs on disk: the newest run of a recipe, the list of runs, and their models.

use crate::Settings;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tweedie::family::Model;
use tweedie::run::Run;
use tweedie::{Error, Result};

/// The default folder of runs.
const RUNS: &str = "runs";

/// The most runs that an error lists.
const LISTED: usize = 8;

/// The most runs of one name.
const MOST: u32 = 10_000;

/// A new folder for a run: runs/NAME, or the first of runs/NAME-2, runs/NAME-3, … that is not there. No two processes
/// get the same.
pub fn new_folder(name: &str) -> Result<PathBuf> {
    new_folder_in(Path::new(RUNS), name)
}

fn new_folder_in(runs: &Path, name: &str) -> Result<PathBuf> {
    for k in 1..MOST {
        let folder = runs.join(if k == 1 { name.to_string() } else { format!("{name}-{k}") });
        loop {
            std::fs::create_dir_all(runs).map_err(|e| Error::io(runs, e))?;
            match std::fs::create_dir(&folder).map_err(|e| (e.kind(), e)) {
                Ok(()) => return Ok(folder),
                Err((ErrorKind::AlreadyExists, _)) => break,
                // Another process has just removed the folder of runs.
                Err((ErrorKind::NotFound, _)) if !runs.exists() => {}
                Err((_, error)) => return Err(Error::io(&folder, error)),
            }
        }
    }
    let problem = format!("{} is there, as is each up to {name}-{MOST}", runs.join(name).display());
    Err(Error::config("--out", problem, "a folder"))
}

/// Removes a new folder that has stayed empty, and the folder of runs if it is empty.
pub fn remove_empty(folder: &Path) {
    let removed = std::fs::remove_dir(folder);
    let _ = removed.and_then(|()| std::fs::remove_dir(RUNS));
}

/// The newest run of a recipe under runs/, by the time of its last checkpoint.
pub fn newest(name: &str) -> Result<PathBuf> {
    let is_of = |folder: &PathBuf| {
        let found = folder.file_name().and_then(|found| found.to_str());
        let rest = found.and_then(|found| found.strip_prefix(name));
        rest.is_some_and(|rest| {
            rest.is_empty() || rest.strip_prefix('-').is_some_and(|k| k.parse::<u32>().is_ok())
        })
    };
    all().into_iter().find(is_of).ok_or_else(|| {
        let problem = format!("no run of {name} under {RUNS}/");
        let expected = "--out with a run directory";
        Error::config("--resume", problem, expected).advised(listed())
    })
}

/// Every run under runs/, the newest first.
fn all() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(RUNS).into_iter().flatten().flatten();
    let mut found: Vec<(SystemTime, PathBuf)> =
        entries.filter_map(|entry| Some((written(&entry.path())?, entry.path()))).collect();
    found.sort();
    found.into_iter().rev().map(|(_, folder)| folder).collect()
}

/// The time of a run's last checkpoint, or of its `run.json` before the first; none for a folder without a run.
fn written(folder: &Path) -> Option<SystemTime> {
    let of = |name| std::fs::metadata(folder.join(name)).and_then(|found| found.modified()).ok();
    of("run.json").max(of("checkpoint.safetensors").filter(|_| of("run.json").is_some()))
}

/// The runs under runs/, as a sentence.
fn listed() -> String {
    let all = all();
    let names: Vec<String> =
        all.iter().take(LISTED).map(|folder| folder.display().to_string()).collect();
    match all.len().saturating_sub(LISTED) {
        _ if all.is_empty() => format!("there are no runs under {RUNS}/"),
        0 => format!("the runs under {RUNS}/ are {}", names.join(", ")),
        more => format!("the newest runs under {RUNS}/ are {}, and {more} more", names.join(", ")),
    }
}

/// Opens a run; if the folder has none, the error lists the runs under runs/.
pub fn open(folder: &Path) -> Result<Run> {
    Run::open(folder).map_err(|error| match error {
        Error::Io { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            let own = Path::new(RUNS).join(folder);
            match folder.is_relative() && own.join("run.json").exists() {
                true => error.advised(format!("{} is a run", own.display())),
                false => error.advised(listed()),
            }
        }
        error => error,
    })
}

/// Opens a run whose data are at `data` now, if given.
pub fn open_with(folder: &Path, data: Option<&str>) -> Result<Run> {
    let run = open(folder)?;
    Ok(match data {
        Some(data) => run.with_data(data),
        None => run,
    })
}

/// The model of a run. If training has not finished: the model of the last checkpoint, and the checkpoint's step, which
/// is printed to stderr.
pub fn model(run: &Run, settings: &Settings) -> Result<(Box<dyn Model>, Option<u64>)> {
    let (model, step) = run.model_so_far(&settings.device)?;
    if let Some(step) = step {
        say_unfinished(&run.folder().display().to_string(), step, run.info.recipe.training.steps);
    }
    Ok((model, step))
}

/// Prints to stderr the step of the checkpoint of an unfinished run.
pub fn say_unfinished(run: &str, step: u64, steps: u64) {
    eprintln!("{run}: training has not finished; this is its checkpoint of step {step} of {steps}");
}

#[cfg(test)]
mod tests {
    use super::new_folder_in;
    use std::collections::BTreeSet;

    #[test]
    fn runs_that_start_at_the_same_instant_have_different_folders() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let barrier = std::sync::Barrier::new(16);
        let new = || {
            barrier.wait();
            (0..10).map(|_| new_folder_in(&runs, "digits").unwrap()).collect::<Vec<_>>()
        };
        let found: Vec<_> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..16).map(|_| scope.spawn(new)).collect();
            all.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let numbered = (2..=160).map(|k| format!("digits-{k}"));
        let expected: BTreeSet<_> =
            numbered.chain(["digits".into()]).map(|name| runs.join(name)).collect();
        assert_eq!(found.len(), 160);
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    }
}
