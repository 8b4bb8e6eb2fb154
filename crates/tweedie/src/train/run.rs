//! A run on disk: everything that is needed to resume, sample or judge it.
//!
//! | file | what |
//! |---|---|
//! | `run.json` | version, recipe, space, widths, and the data split by hash |
//! | `checkpoint.safetensors` | the learner's whole state |
//! | `model.safetensors` | the averaged weights, for sampling |
//! | `curves.jsonl`, `events.out.tfevents…` | the curves |

mod info;
mod model;

pub use info::{RunInfo, SplitInfo};

use super::adaptive::{AdaptiveLevels, ByNoising};
use super::schedule::ScheduleLearner;
use super::{DenoiserLearner, Learner, Loop, NetworkRecipe, Recipe};
use crate::data::{Dataset, Rows, Space, Split};
use crate::files::write_atomically;
use crate::nn::{Network, Params, load_safetensors, save_safetensors};
use crate::process::AnySchedule;
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file of the averaged weights.
const WEIGHTS: &str = "model.safetensors";

/// The version of `run.json` that this program writes and reads.
const VERSION: u32 = 1;

/// A run directory.
#[derive(Debug, Clone)]
pub struct Run {
    folder: PathBuf,
    /// What `run.json` holds.
    pub info: RunInfo,
}

impl Run {
    /// Starts a run in a folder, which is made if need be and must not hold another run.
    ///
    /// # Errors
    /// [`Error::Config`] if there is a run already, or as [`Recipe::network_for`]; [`Error::Io`] if the folder cannot
    /// be written.
    pub fn create(folder: &Path, recipe: Recipe, data: &Dataset) -> Result<Self> {
        refuse_a_second(folder)?;
        let network = recipe.network_for(&data.space)?;
        recipe.check_batch(&network)?;
        let count = |s: &Split, class: usize| {
            s.labels().map_or(0, |labels| labels.iter().filter(|l| **l as usize == class).count())
        };
        let split = |s: &Split| SplitInfo {
            rows: s.len(),
            hash: s.hash(),
            classes: (0..data.space.classes().len()).map(|class| count(s, class)).collect(),
        };
        let sigma_data = match recipe.model.sigma_data {
            Some(sigma) => sigma,
            None => root_mean_square(&data.space, data.train.rows())?,
        };
        let info = RunInfo {
            version: VERSION,
            program: concat!("tweedie ", env!("CARGO_PKG_VERSION")).into(),
            recipe,
            network,
            sigma_data,
            data: data.name.clone(),
            space: data.space.clone(),
            train: split(&data.train),
            held_out: split(&data.held_out),
        };
        Self::write(folder, info)
    }

    /// A run of weights that were trained elsewhere, which cannot be resumed; `origin` names them, for errors.
    ///
    /// # Errors
    /// [`Error::Config`] if there is a run in the folder already, or as [`Recipe::network_for`]; [`Error::File`] if the
    /// weights do not fit the network; [`Error::Io`] if the folder cannot be written.
    pub fn import(
        folder: &Path,
        recipe: Recipe,
        space: Space,
        weights: &Params,
        origin: &Path,
    ) -> Result<Self> {
        refuse_a_second(folder)?;
        recipe.check()?;
        let none =
            SplitInfo { rows: 0, hash: String::new(), classes: vec![0; space.classes().len()] };
        let info = RunInfo {
            version: VERSION,
            program: concat!("tweedie ", env!("CARGO_PKG_VERSION")).into(),
            network: recipe.network_for(&space)?,
            sigma_data: recipe.model.sigma_data.unwrap_or(1.0),
            data: recipe.data.source.clone(),
            recipe,
            space,
            train: none.clone(),
            held_out: none,
        };
        let run = Self { folder: folder.to_path_buf(), info };
        run.denoiser_with(weights, origin, &Device::flex())?;
        let run = Self::write(folder, run.info)?;
        run.save_weights(weights)?;
        Ok(run)
    }

    fn write(folder: &Path, info: RunInfo) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let path = folder.join("run.json");
        let text = serde_json::to_string_pretty(&info)
            .map_err(|e| Error::file(&path, "recipe", e.to_string(), "values JSON can hold"))?;
        write_atomically(&path, text.as_bytes())?;
        Ok(Self { folder: folder.to_path_buf(), info })
    }

    /// Whether it was imported, so that there are no data it was trained on.
    pub fn is_imported(&self) -> bool {
        self.info.train.rows == 0
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
        if value.get("version").and_then(serde_json::Value::as_u64) != Some(VERSION.into()) {
            let found =
                value.get("version").map_or("no version".into(), |v| format!("version {v}"));
            return Err(Error::file(&path, "version", found, format!("version {VERSION}")));
        }
        let info: RunInfo = serde_json::from_value(value).map_err(|e| {
            Error::file(&path, "content", e.to_string(), "a run written by tweedie")
        })?;
        info.check().map_err(|error| match error {
            Error::Config { key, problem, expected } => Error::file(&path, key, problem, expected),
            other => other,
        })?;
        Ok(Self { folder: folder.to_path_buf(), info })
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file of the run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Loads the data that the run was trained on.
    ///
    /// # Errors
    /// What loading gives; [`Error::File`] if the data are not those that the run remembers.
    pub fn data(&self) -> Result<Dataset> {
        if self.is_imported() {
            let expected = "data given with the command";
            return Err(Error::file(self.file("run.json"), "data", "none: imported", expected));
        }
        let data = self.info.recipe.load_data()?;
        for (name, now, then) in [
            ("training", &data.train, &self.info.train),
            ("held-out", &data.held_out, &self.info.held_out),
        ] {
            if now.hash() != then.hash {
                let place = format!("{name} rows");
                let expected = format!("the {} rows of hash {}", then.rows, then.hash);
                let problem = "changed since the run began";
                return Err(Error::file(&self.info.recipe.data.source, place, problem, expected));
            }
        }
        if data.space != self.info.space {
            let problem = "not the space of the data";
            return Err(Error::file(self.file("run.json"), "space", problem, "no changes by hand"));
        }
        Ok(data)
    }

    /// The learner at its first step, or where its checkpoint stands once [`super::train`] loads it.
    ///
    /// # Errors
    /// As [`DenoiserLearner::new`].
    pub fn learner(&self, data: &Dataset, device: &Device) -> Result<Box<dyn Learner>> {
        let draws = Draws::new(self.info.recipe.seed).purpose("initial");
        Ok(match &self.info.network {
            NetworkRecipe::Mlp(mlp) => {
                Box::new(self.learner_of(mlp.init(&draws, device), data, device)?)
            }
            NetworkRecipe::Unet(unet) => {
                Box::new(self.learner_of(unet.init(&draws, device)?, data, device)?)
            }
        })
    }

    fn learner_of<N: Network>(
        &self,
        network: N,
        data: &Dataset,
        device: &Device,
    ) -> Result<DenoiserLearner<N>> {
        let recipe = &self.info.recipe;
        let (denoiser, objective) = (self.denoiser_of(network), recipe.objective(recipe.noising()));
        let learner =
            DenoiserLearner::new(denoiser, objective, data, &recipe.training, recipe.seed, device)?;
        let learner = learner.with_label_dropout(recipe.objective.label_dropout);
        if let Some(config) = recipe.objective.adaptive {
            let of: ByNoising<N> = Box::new({
                let recipe = recipe.clone();
                move |noising| recipe.objective(noising)
            });
            let levels = AdaptiveLevels::new(config, recipe.noising(), of)?;
            return Ok(learner.with_criterion(levels));
        }
        let AnySchedule::Learned(config) = recipe.schedule else { return Ok(learner) };
        let draws = Draws::new(recipe.seed).purpose("initial schedule");
        let even = recipe.objective.levels.low_discrepancy;
        Ok(learner.with_criterion(ScheduleLearner::new(config, even, &draws, device)?))
    }

    /// How the training loop runs.
    pub fn training_loop(&self) -> Loop {
        let t = &self.info.recipe.training;
        Loop {
            steps: t.steps,
            log_every: t.log_every,
            held_out_every: t.held_out_every,
            sample_every: t.sample_every,
            checkpoint_after: Duration::from_secs_f64(t.checkpoint_seconds),
        }
    }

    /// Writes the weights to sample with.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save_weights(&self, weights: &Params) -> Result<()> {
        save_safetensors(weights, &self.file(WEIGHTS))
    }

    /// The averaged weights of a finished run.
    ///
    /// # Errors
    /// [`Error::File`] if training has not finished, or the file is damaged.
    pub fn weights(&self) -> Result<Params> {
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

/// Fails if a folder holds a run already.
fn refuse_a_second(folder: &Path) -> Result<()> {
    if ["run.json", "checkpoint.safetensors"].iter().any(|name| folder.join(name).exists()) {
        let problem = format!("{} holds a run already", folder.display());
        return Err(Error::config("--out", problem, "another folder, or --resume"));
    }
    Ok(())
}

/// √(mean x²) of rows in model units, encoded a part at a time.
fn root_mean_square(space: &Space, raw: &Rows) -> Result<f64> {
    let (mut sum, mut count) = (0.0, 0.0);
    for start in (0..raw.len()).step_by(4096) {
        let part = space.encode(&raw.slice(start..(start + 4096).min(raw.len())))?;
        sum = part.values().iter().fold(sum, |sum, v| sum + f64::from(*v).powi(2));
        count += part.values().len() as f64;
    }
    Ok((sum / count).sqrt().clamp(1e-6, 1e6))
}
