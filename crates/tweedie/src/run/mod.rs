//! A run on disk: everything needed to resume, sample or evaluate it.
//!
//! | file | what |
//! |---|---|
//! | `run.json` | version, recipe, space, widths, and hashes of the parts of the data |
//! | `checkpoint.safetensors` | the learner's whole state |
//! | `model.safetensors` | the averaged weights, for sampling |
//! | `time.json` | the seconds of training |
//! | `weights/step-….safetensors` | the averaged weights of earlier steps, with `training.keep_every` |
//! | `curves.jsonl`, `events.out.tfevents…` | the curves |

mod info;
mod inputs;
mod migrate;
pub mod pictures;
mod recipe;
mod resume;
pub mod shipped;
mod time;

pub use info::{RunInfo, SplitInfo, Subject};
pub use inputs::Input;
use inputs::opener;
pub use recipe::{EvaluationRecipe, Recipe};

use crate::data::{Dataset, Source, Space, Split, Toy};
use crate::family::{Loader, Model, Opening, Start};
use crate::files::write_atomically;
use crate::nn::{load_safetensors, save_safetensors};
use crate::train::{Learner, Loop, State, load_checkpoint};
use crate::{Error, Result};
use burn::tensor::Device;
use std::any::Any;
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
        let (device, open) = (Device::flex(), opener(Device::flex(), Vec::new()));
        let space = match data {
            Some(data) => data.space.clone(),
            None => recipe.plan.own_space(&open)?,
        };
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
            recipe,
        };
        Self::write(folder, info)
    }

    /// A run with weights trained elsewhere, which cannot be resumed; `origin` is the name of their file in errors.
    ///
    /// # Errors
    /// [`Error::Config`] if the folder holds a run already, or as [`Recipe::network_for`]; [`Error::File`] if the
    /// weights do not fit the network; [`Error::Io`] if the folder cannot be written.
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
        let (device, open) = (Device::flex(), opener(Device::flex(), Vec::new()));
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
            space,
            train: none.clone(),
            held_out: none,
            validation: None,
            inputs: Vec::new(),
        };
        let run = Self { folder: folder.to_path_buf(), info };
        run.model_with(weights, origin, &device)?;
        let run = Self::write(folder, run.info)?;
        run.save_weights(weights)?;
        Ok(run)
    }

    fn write(folder: &Path, info: RunInfo) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        write_atomically(folder.join("run.json"), info.to_json()?.as_bytes())?;
        Ok(Self { folder: folder.to_path_buf(), info })
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
        Ok(Self { folder: folder.to_path_buf(), info })
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of the file `name` in the run's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Loads the training data of the run, and their held-out rows.
    ///
    /// # Errors
    /// Errors of loading; [`Error::File`] if the data's hash is not the one on record.
    pub fn data(&self) -> Result<Dataset> {
        if self.is_without_data() {
            let expected = "data given with the command";
            let problem = match self.learns_without_data() {
                true => "none: the family learns without",
                false => "none: imported",
            };
            return Err(Error::file(self.file("run.json"), "data", problem, expected));
        }
        let mut data = self.info.recipe.load_data()?;
        if data.space != self.info.space {
            if data.space.reads_as(&self.info.space) {
                let problem = "not the space of the data";
                return Err(Error::file(
                    self.file("run.json"),
                    "space",
                    problem,
                    "no changes by hand",
                ));
            }
            // The run keeps the space that it was trained in, if it was read otherwise then.
            data = data.in_space(&self.info.space)?;
        }
        for (name, now, then) in [
            ("training", &data.train, &self.info.train),
            ("held-out", &data.held_out, &self.info.held_out),
        ] {
            if now.hash() != then.hash {
                let place = format!("{name} rows");
                let expected = format!("the {} rows of hash {}", then.rows, then.hash);
                let problem = "changed since the run began";
                return Err(Error::file(&data.name, place, problem, expected));
            }
        }
        let named = |error| in_file(&self.file("run.json"), error);
        data.with_validation(self.info.validation).map_err(named)
    }

    /// The run's data with the held-out rows of another source: the held-out part of a named or divided data set, or
    /// all rows of a file. For a run that learns without data, one half of the file's rows becomes held-out and the
    /// other half training rows.
    ///
    /// # Errors
    /// Errors of loading; [`Error::File`] if the rows do not have the run's columns, categories and classes.
    pub fn data_of(&self, other: &str) -> Result<Dataset> {
        let (loaded, rows) = if crate::data::list().iter().any(|(name, _)| *name == other) {
            let mut source = Source::named(other);
            let toy = other.parse::<Toy>().is_ok();
            let own = self.source(other);
            (source.label, source.binarise) = (own.label.filter(|_| toy), own.binarise);
            let loaded = source.load()?;
            let rows = loaded.held_out.clone();
            (loaded, rows)
        } else {
            let mut source = self.source(other);
            let halves = self.learns_without_data();
            let share = if halves { 0.5 } else { 0.0 };
            (source.source, source.held_out, source.n) = (other.to_string(), Some(share), None);
            source.seed = 0;
            match source.load() {
                // The file is divided already.
                Err(Error::Config { key, .. }) if key == "held_out" => {
                    let loaded = Source { held_out: None, ..source }.load()?;
                    let rows = loaded.held_out.clone();
                    (loaded, rows)
                }
                loaded => {
                    let loaded = loaded?;
                    let rows = if halves { &loaded.held_out } else { &loaded.train }.clone();
                    (loaded, rows)
                }
            }
        };
        let space = self.info.space.clone();
        let train = match self.is_without_data() {
            // The training data are unknown: the other source's own training rows stand in.
            true => space.adopt(&loaded.space, &loaded.train, other)?,
            false => self.data()?.fit_rows(),
        };
        let held_out = space.adopt(&loaded.space, &rows, other)?;
        let space = space.covering(held_out.rows())?;
        Dataset::new(other, space, train, held_out).map_err(|error| match error {
            Error::Config { key, problem, expected } => Error::file(other, key, problem, expected),
            error => error,
        })
    }

    /// The recipe's source of data, or the source `other` without options if the recipe has no data.
    fn source(&self, other: &str) -> Source {
        self.info.recipe.data.clone().unwrap_or_else(|| Source::named(other))
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
        let open = opener(device.clone(), self.info.inputs.clone());
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
        let path = self.file(CHECKPOINT);
        if self.file(WEIGHTS).exists() || !path.exists() {
            return Ok((self.model(device)?, None));
        }
        let (state, step) = load_checkpoint(&path)?;
        let weights = self.info.resolved.weights_of(state)?;
        Ok((self.model_with(&weights, &path, device)?, Some(step)))
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
            open: opener(device.clone(), self.info.inputs.clone()),
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
                "a finished run; `train --resume` finishes one",
            ));
        }
        load_safetensors(&path)
    }
}

/// Fails if the folder holds a run already.
fn refuse_a_second(folder: &Path) -> Result<()> {
    if ["run.json", CHECKPOINT].iter().any(|name| folder.join(name).exists()) {
        let problem = format!("{} holds a run already", folder.display());
        return Err(Error::config("--out", problem, "another folder, or --resume"));
    }
    Ok(())
}

/// The error of a key, located in the file `path`.
fn in_file(path: &Path, error: Error) -> Error {
    match error {
        Error::Config { key, problem, expected } => Error::file(path, key, problem, expected),
        other => other,
    }
}
