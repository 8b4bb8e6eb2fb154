//! Other runs that a run needs, with the hashes of their weights, so that a run always means the same models.

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
    /// The hash of the other run's weights.
    pub weights: String,
}

impl Input {
    /// The input for the present weights of the run at the path `run`.
    ///
    /// # Errors
    /// [`Error::Io`] if the run has no weights.
    pub(super) fn of(run: PathBuf) -> Result<Self> {
        let weights = hash(&run)?;
        Ok(Self { run, weights })
    }
}

/// The file of weights that a path means, and the folder of its run.
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

/// A function that opens the models of other runs on a device; it fails if the weights of one among `inputs` have
/// changed.
pub(super) fn opener(device: Device, inputs: Vec<Input>) -> Opener {
    Arc::new(move |path| {
        let (file, folder) = places(path);
        if let Some(known) = inputs.iter().find(|input| input.run == path)
            && hash(path)? != known.weights
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
