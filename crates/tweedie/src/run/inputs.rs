//! Other files that a run needs: its data by path, and other runs by path and hash, so that a run always
//! means the same models. A path is searched at its recorded place, then from the working folder, then from the folders
//! around the run.

use super::{KEPT, Run, WEIGHTS};
use crate::data::content_hash;
use crate::family::Opener;
use crate::nn::load_safetensors;
use crate::{Error, Result};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Another run that a run needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The folder of the other run, or a file of weights that it kept, as written in the recipe.
    pub run: PathBuf,
    /// The absolute path of `run`; none in runs of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The hash of its weights.
    pub weights: String,
}

impl Input {
    /// The input for the present weights of the run at the path `run`.
    ///
    /// # Errors
    /// [`Error::Io`] if the run has no weights.
    pub(super) fn of(run: PathBuf) -> Result<Self> {
        let weights = hash(&run)?;
        Ok(Self { path: from_root(&run), run, weights })
    }
}

/// The absolute form of a path, if it is UTF-8.
pub(super) fn from_root(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok().filter(|path| path.to_str().is_some())
}

/// The first place where a file is: `recorded`, then `path` from the working folder, then from the folders around the
/// run in `folder`, nearest first; none if it is nowhere.
pub(super) fn found(path: &Path, recorded: Option<&Path>, folder: &Path) -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = recorded.map(Path::to_path_buf).into_iter().collect();
    places.push(path.to_path_buf());
    let around = std::path::absolute(folder).unwrap_or_default();
    places.extend(around.ancestors().skip(1).take(AROUND).map(|folder| folder.join(path)));
    places.into_iter().find(|place| place.exists())
}

/// The number of folders above a run in which a path is searched.
const AROUND: usize = 4;

/// The file of the weights that a path names, and the folder of their run.
fn places(path: &Path) -> (PathBuf, PathBuf) {
    let kept = path.parent().filter(|folder| folder.ends_with(KEPT)).and_then(Path::parent);
    match kept.filter(|_| !path.is_dir()) {
        Some(folder) => (path.to_path_buf(), folder.to_path_buf()),
        None => (path.join(WEIGHTS), path.to_path_buf()),
    }
}

/// The hash of the weights that a path means.
fn hash(path: &Path) -> Result<String> {
    let (file, _) = places(path);
    Ok(content_hash(&std::fs::read(&file).map_err(|e| Error::io(&file, e))?))
}

/// A function that opens the models of other runs on a device; it fails if the weights of one among the `inputs` of the
/// run in the folder `of` have changed.
pub(super) fn opener(device: Device, inputs: Vec<Input>, of: &Path) -> Opener {
    let of = of.to_path_buf();
    Arc::new(move |path| {
        let known = inputs.iter().find(|input| input.run == path);
        let path = match known {
            None => path.to_path_buf(),
            Some(known) => found(path, known.path.as_deref(), &of).ok_or_else(|| {
                let at = known.path.as_deref().unwrap_or(path).display();
                let problem = format!("{}: No such file or directory", path.display());
                let expected = format!("the run that this one needs, moved or linked to {at}");
                Error::file(of.join("run.json"), "inputs", problem, expected)
            })?,
        };
        let (file, folder) = places(&path);
        if let Some(known) = known
            && hash(&path)? != known.weights
        {
            let expected = format!("the weights of hash {}", known.weights);
            return Err(Error::file(&file, "weights", "changed since the run began", expected));
        }
        let run = Run::open(&folder)?;
        match file.starts_with(folder.join(KEPT)) {
            true => run.model_with(&load_safetensors(&file)?, &file, &device),
            false => run.model(&device),
        }
    })
}
