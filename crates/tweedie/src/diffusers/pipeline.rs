//! The folder of a checkpoint: its parts, and the network among them.

use super::model::read_object;
use super::{CONFIG, INDEX};
use crate::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Parts of a pipeline whose network makes pictures.
const PARTS: [&str; 3] = ["unet", "unet_ema", "scheduler"];
/// Folders of networks in a checkpoint, the preferred first: averaged weights sample better.
const NETWORKS: [&str; 2] = ["unet_ema", "unet"];
/// Paths of the scheduler's configuration, from the imported folder: inside it or, for a network alone or a checkpoint
/// of a training script, in the folders around it.
const SCHEDULERS: [&str; 4] = [
    "scheduler/scheduler_config.json",
    "scheduler_config.json",
    "../scheduler/scheduler_config.json",
    "../../scheduler/scheduler_config.json",
];

/// Fails unless the pipeline that `source` is, or is a part of, makes pictures by its UNet alone.
///
/// # Errors
/// [`Error::File`] naming the other parts, such as the decoder of latents.
pub(super) fn check(source: &Path) -> Result<()> {
    let is_part = source.file_name().is_some_and(|name| PARTS.iter().any(|part| name == *part));
    let around = is_part.then(|| source.join("..").join(INDEX));
    let paths = std::iter::once(source.join(INDEX)).chain(around);
    for path in paths.filter(|path| path.is_file()) {
        let index = read_object(&path)?;
        let others: Vec<(&str, &str)> = index
            .iter()
            .filter_map(|(key, value)| Some((key.as_str(), part(key, value)?)))
            .collect();
        if let Some((first, _)) = others.first() {
            let named: Vec<String> =
                others.iter().map(|(key, class)| format!("{key} ({class})")).collect();
            let class = index.get("_class_name").and_then(Value::as_str).unwrap_or("pipeline");
            let problem = format!("a {class} with {}", named.join(", "));
            let expected = "a pipeline of unet and scheduler alone, such as DDPMPipeline, whose network makes \
                            pictures and not latents or other data";
            return Err(Error::file(path, *first, problem, expected));
        }
    }
    Ok(())
}

/// The class of an entry of the index that is a part beside network and scheduler.
fn part<'a>(key: &str, value: &'a Value) -> Option<&'a str> {
    let [_, class] = value.as_array()?.as_slice() else { return None };
    class.as_str().filter(|_| !PARTS.contains(&key))
}

/// The folder of the network, and a remark if there are several.
pub(super) fn network(source: &Path) -> (PathBuf, Option<String>) {
    let there: Vec<&str> =
        NETWORKS.into_iter().filter(|name| source.join(name).join(CONFIG).is_file()).collect();
    match there.as_slice() {
        // The first checkpoints have all files in one folder.
        [] if !source.join("unet").is_dir() => (source.to_path_buf(), None),
        [] => (source.join("unet"), None),
        [only] => (source.join(only), None),
        [first, other, ..] => {
            let at = source.display();
            let note = format!(
                "{at}: {first} is imported, the averaged weights; `import {}` takes {other}",
                source.join(other).display()
            );
            (source.join(first), Some(note))
        }
    }
}

/// Fails for a folder with checkpoints of a training script and no network of its own.
///
/// # Errors
/// [`Error::File`] naming the newest checkpoint.
pub(super) fn refuse_several(source: &Path) -> Result<()> {
    let folders = std::fs::read_dir(source).into_iter().flatten().flatten().map(|e| e.path());
    let is_checkpoint = |path: &PathBuf| {
        std::iter::once(path.clone())
            .chain(NETWORKS.map(|name| path.join(name)))
            .any(|folder| folder.join(CONFIG).is_file())
    };
    let mut checkpoints: Vec<PathBuf> = folders.filter(is_checkpoint).collect();
    // checkpoint-500 comes before checkpoint-1000.
    checkpoints.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    let Some(newest) = checkpoints.last() else { return Ok(()) };
    let problem = format!("it has {} checkpoints and no network of its own", checkpoints.len());
    let expected = format!("the folder of a checkpoint, such as {}", newest.display());
    Err(Error::file(source, "folder", problem, expected))
}

/// The configuration of the scheduler.
pub(super) fn scheduler(source: &Path) -> Option<PathBuf> {
    SCHEDULERS.iter().map(|name| source.join(name)).find(|path| path.exists())
}
