//! A run on disk: everything needed to resume, sample or evaluate it.
//!
//! | file | what |
//! |---|---|
//! | `run.json` | version, recipe, space, widths, the path of the data, and hashes of their parts |
//! | `checkpoint.safetensors` | the learner's whole state |
//! | `model.safetensors` | the averaged weights, for sampling |
//! | `time.json` | the seconds, by the clock and of processors, and the peak memory of training |
//! | `weights/step-….safetensors` | the averaged weights of earlier steps, with `training.keep_every` |
//! | `curves.jsonl`, `events.out.tfevents…` | the curves |

mod data;
mod info;
mod inputs;
mod lock;
mod migrate;
pub mod pictures;
mod recipe;
mod resume;
pub mod shipped;
mod time;

pub use info::{RunInfo, SplitInfo, Subject};
pub use inputs::Input;
use inputs::opener;
pub use lock::Lock;
pub use recipe::{EvaluationRecipe, Recipe};
pub use time::Cost;

use crate::data::{Dataset, Space, Split};
use crate::family::{Loader, Model, Opening, Start};
use crate::files::{AtomicFile, write_atomically};
use crate::metric::regression::target_column;
use crate::nn::{load_safetensors, save_safetensors};
use crate::train::{Learner, Loop, State, load_checkpoint};
use crate::{Error, Result};
use burn::tensor::Device;
use std::any::Any;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file of the averaged weights.
const WEIGHTS: &str = "model.safetensors";

/// The file of the learner's state.
const CHECKPOINT: &str = "checkpoint.safetensors";

/// The folder of the weights of earlier steps.
const KEPT: &str = "weights";

/// The name and version of the program.
const PROGRAM: &str = concat!("tweedie ", env!("CARGO_PKG_VERSION"));

/// A run's folder.
#[derive(Debug, Clone)]
pub struct Run {
    folder: PathBuf,
    /// The place of the data, if they were moved.
    moved: Option<String>,
    /// The content of `run.json`.
    pub info: RunInfo,
}

impl Run {
    /// Starts a run in a folder, which is created if necessary and must not hold another run; `data` are the training
    /// data, if the family learns from data.
    ///
    /// # Errors
    /// [`Error::Config`] if the folder holds a run already, or naming a key that does not fit; [`Error::Io`] if the
    /// folder cannot be written.
    pub fn create<'a>(
        folder: &Path,
        recipe: Recipe,
        data: impl Into<Option<&'a Dataset>>,
    ) -> Result<Self> {
        refuse_a_second(folder)?;
        let data = data.into();
        let (device, open) = (Device::flex(), opener(Device::flex(), Vec::new(), folder));
        let space = match data {
            Some(data) => data.space.clone(),
            None => recipe.plan.own_space(&open)?,
        };
        if let Some(target) = &recipe.evaluation.target {
            target_column(&space, target)?;
        }
        let start = Start {
            space: &space,
            data,
            training: &recipe.training,
            seed: recipe.seed,
            device: &device,
            open: &open,
        };
        let resolved = recipe.plan.resolved(&start)?;
        let inputs = resolved.inputs_of().into_iter().map(Input::of).collect::<Result<_>>()?;
        let count = |s: &Split, class: usize| {
            s.labels().map_or(0, |labels| labels.iter().filter(|l| **l as usize == class).count())
        };
        let split = |s: &Split| SplitInfo {
            rows: s.len(),
            hash: s.hash(),
            classes: (0..space.classes().len()).map(|class| count(s, class)).collect(),
        };
        let info = RunInfo {
            program: PROGRAM.into(),
            resolved,
            subject: if data.is_some() { Subject::Data } else { Subject::None },
            data: data.map_or_else(String::new, |data| data.name.clone()),
            train: data.map_or_else(SplitInfo::default, |data| split(&data.train)),
            held_out: data.map_or_else(SplitInfo::default, |data| split(&data.held_out)),
            validation: data.and_then(Dataset::view),
            inputs,
            space,
            overrides: None,
            source_path: recipe.data.as_ref().and_then(|data| data::path_of(&data.source)),
            recipe,
        };
        Self::begin(folder, info)
    }

    /// A run with weights trained elsewhere, which cannot be resumed; `origin` is the name of their file in errors.
    ///
    /// # Errors
    /// [`Error::Config`] if the folder holds a run already, or if the network does not fit the space; [`Error::File`]
    /// if the weights do not fit the network; [`Error::Io`] if the folder cannot be written.
    pub fn import(
        folder: &Path,
        recipe: Recipe,
        space: Space,
        weights: &State,
        origin: &Path,
    ) -> Result<Self> {
        refuse_a_second(folder)?;
        recipe.check()?;
        let classes = vec![0; space.classes().len()];
        let none = SplitInfo { classes, ..SplitInfo::default() };
        let (device, open) = (Device::flex(), opener(Device::flex(), Vec::new(), folder));
        let start = Start {
            space: &space,
            data: None,
            training: &recipe.training,
            seed: recipe.seed,
            device: &device,
            open: &open,
        };
        let info = RunInfo {
            program: PROGRAM.into(),
            resolved: recipe.plan.resolved(&start)?,
            subject: Subject::None,
            data: recipe.data.as_ref().map_or_else(String::new, |data| data.source.clone()),
            recipe,
            overrides: None,
            source_path: None,
            space,
            train: none.clone(),
            held_out: none,
            validation: None,
            inputs: Vec::new(),
        };
        let run = Self { folder: folder.to_path_buf(), moved: None, info };
        run.model_with(weights, origin, &device)?;
        let run = Self::begin(folder, run.info)?;
        run.save_weights(weights)?;
        Ok(run)
    }

    /// Writes `run.json` anew.
    fn write(folder: &Path, info: RunInfo) -> Result<Self> {
        write_atomically(folder.join("run.json"), info.to_json()?.as_bytes())?;
        Ok(Self { folder: folder.to_path_buf(), moved: None, info })
    }

    /// Writes the first `run.json` of a folder.
    fn begin(folder: &Path, info: RunInfo) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let path = folder.join("run.json");
        let mut file = AtomicFile::create(&path)?;
        file.write_all(info.to_json()?.as_bytes()).map_err(|e| Error::io(&path, e))?;
        // Another process may have started a run here meanwhile.
        if !file.finish_new()? {
            return Err(second(folder));
        }
        Ok(Self { folder: folder.to_path_buf(), moved: None, info })
    }

    /// Whether the weights were trained elsewhere.
    pub fn is_imported(&self) -> bool {
        self.is_without_data() && !self.file(CHECKPOINT).exists()
    }

    /// Whether the run has no training data on record.
    pub fn is_without_data(&self) -> bool {
        self.info.subject == Subject::None
    }

    /// Whether the run's family learns without data.
    pub fn learns_without_data(&self) -> bool {
        self.info.recipe.data.is_none()
    }

    /// Opens a run.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no `run.json`; [`Error::File`] if it is damaged or of another version.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("run.json");
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
        let place = |e: &serde_json::Error| format!("line {}", e.line());
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| {
            Error::file(&path, place(&e), e.to_string(), "a run written by tweedie")
        })?;
        let info = RunInfo::from_json(value).map_err(|error| in_file(&path, error))?;
        Ok(Self { folder: folder.to_path_buf(), moved: None, info })
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of the file `name` in the run's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The learner before its first step; [`crate::train::train`] restores its checkpoint.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key that does not fit.
    pub fn learner<'a>(
        &self,
        data: impl Into<Option<&'a Dataset>>,
        device: &Device,
    ) -> Result<Box<dyn Learner>> {
        let open = opener(device.clone(), self.info.inputs.clone(), &self.folder);
        self.info.resolved.start(&Start {
            space: &self.info.space,
            data: data.into(),
            training: &self.info.recipe.training,
            seed: self.info.recipe.seed,
            device,
            open: &open,
        })
    }

    /// The trained model.
    ///
    /// # Errors
    /// As [`Run::weights`]; [`Error::File`] if the weights do not fit.
    pub fn model(&self, device: &Device) -> Result<Box<dyn Model>> {
        self.model_with(&self.weights()?, &self.file(WEIGHTS), device)
    }

    /// The trained model as its family's own type, such as
    /// [`DiffusionModel`](crate::family::diffusion::DiffusionModel).
    ///
    /// # Errors
    /// As [`Run::model`]; [`Error::Config`] if the run is of another family.
    pub fn model_as<M: Model + 'static>(&self, device: &Device) -> Result<Box<M>> {
        let model: Box<dyn Any> = self.model(device)?.into_any();
        model.downcast().map_err(|_| self.info.of_another_family())
    }

    /// The model in its present state of training, and, if training has not finished, the step of the checkpoint with
    /// its weights.
    ///
    /// # Errors
    /// [`Error::File`] if there is no checkpoint either, or the weights do not fit.
    pub fn model_so_far(&self, device: &Device) -> Result<(Box<dyn Model>, Option<u64>)> {
        let (weights, origin, step) = self.weights_so_far()?;
        Ok((self.model_with(&weights, &origin, device)?, step))
    }

    /// The averaged weights as far as they are trained, their file, and, if training has not finished, the step of the
    /// checkpoint.
    ///
    /// # Errors
    /// [`Error::File`] if there is no checkpoint either, or a file is damaged.
    pub fn weights_so_far(&self) -> Result<(State, PathBuf, Option<u64>)> {
        let (path, finished) = (self.file(CHECKPOINT), self.file(WEIGHTS).exists());
        let written = |name| std::fs::metadata(self.file(name)).and_then(|found| found.modified());
        // A run that goes on beyond its end has older weights than its checkpoint.
        let older = || matches!((written(WEIGHTS), written(CHECKPOINT)), (Ok(a), Ok(b)) if a < b);
        if !path.exists() || finished && !older() {
            return Ok((self.weights()?, self.file(WEIGHTS), None));
        }
        let (state, step) = load_checkpoint(&path)?;
        if finished && step >= self.info.recipe.training.steps {
            return Ok((self.weights()?, self.file(WEIGHTS), None));
        }
        Ok((self.info.resolved.weights_of(state)?, path, Some(step)))
    }

    /// The model with the weights `weights`; `origin` is the name of their file in errors.
    ///
    /// # Errors
    /// [`Error::File`] if the weights do not fit.
    pub fn model_with(
        &self,
        weights: &State,
        origin: &Path,
        device: &Device,
    ) -> Result<Box<dyn Model>> {
        let run = self.clone();
        let data: Loader = Arc::new(move || run.data());
        let opening = Opening {
            space: self.info.space.clone(),
            classes: self.info.train.classes.clone(),
            data,
            device: device.clone(),
            open: opener(device.clone(), self.info.inputs.clone(), &self.folder),
        };
        self.info.resolved.open(&opening, weights, origin)
    }

    /// The settings of the training loop.
    pub fn training_loop(&self) -> Loop {
        self.info.recipe.training.config()
    }

    /// Writes the weights to sample with.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save_weights(&self, weights: &State) -> Result<()> {
        save_safetensors(weights, &self.file(WEIGHTS))
    }

    /// Writes the weights to sample with of an earlier step.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn keep_weights(&self, weights: &State, step: u64) -> Result<()> {
        let folder = self.file(KEPT);
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        save_safetensors(weights, &folder.join(format!("step-{step:06}.safetensors")))
    }

    /// The averaged weights of a finished run.
    ///
    /// # Errors
    /// [`Error::File`] if training has not finished, or the file is damaged.
    pub fn weights(&self) -> Result<State> {
        let path = self.file(WEIGHTS);
        if !path.exists() {
            return Err(Error::file(
                &path,
                "file",
                "missing",
                "a finished run, or one with a checkpoint; `train --resume` finishes one",
            ));
        }
        load_safetensors(&path)
    }
}

/// Fails if the folder holds a run already.
fn refuse_a_second(folder: &Path) -> Result<()> {
    if ["run.json", CHECKPOINT].iter().any(|name| folder.join(name).exists()) {
        return Err(second(folder));
    }
    Ok(())
}

/// The error of a second run in a folder.
fn second(folder: &Path) -> Error {
    let problem = format!("{} holds a run already", folder.display());
    Error::config("--out", problem, "another folder, or --resume")
}

/// The error of a key, located in the file `path`.
fn in_file(path: &Path, error: Error) -> Error {
    match error {
        Error::Config { key, problem, expected } => Error::file(path, key, problem, expected),
        other => other,
    }
}
