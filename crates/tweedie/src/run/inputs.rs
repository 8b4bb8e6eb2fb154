//! Other runs that a run needs: named by path and hash, so that a run means the same models for ever.

use super::{KEPT, Run, WEIGHTS};
use crate::data::content_hash;
use crate::family::Opener;
use crate::nn::load_safetensors;
use crate::{Error, Result};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A run that another needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its folder, or a file of weights that it kept, as the recipe has it.
    pub run: PathBuf,
    /// The hash of its weights.
    pub weights: String,
}

impl Input {
    /// A run as it is now.
    ///
    /// # Errors
    /// [`Error::Io`] if it has no weights.
    pub(super) fn of(run: PathBuf) -> Result<Self> {
        let weights = hash(&run)?;
        Ok(Self { run, weights })
    }
}

/// The file of the weights that a path names, and the folder of their run.
fn places(path: &Path) -> (PathBuf, PathBuf) {
    let kept = path.parent().filter(|folder| folder.ends_with(KEPT)).and_then(Path::parent);
    match kept.filter(|_| !path.is_dir()) {
        Some(folder) => (path.to_path_buf(), folder.to_path_buf()),
        None => (path.join(WEIGHTS), path.to_path_buf()),
    }
}

/// The hash of the weights that a path names.
fn hash(path: &Path) -> Result<String> {
    let (file, _) = places(path);
    Ok(content_hash(&std::fs::read(&file).map_err(|e| Error::io(&file, e))?))
}

/// Opens the models of other runs on a device; those among `inputs` must have the weights that they had.
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
