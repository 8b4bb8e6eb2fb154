//! The `training` table of a recipe: the keys of the loop, which all families share, and the keys of families that are
//! fitted by gradients.

use super::{AdamWConfig, LearningRate, Loop, Optimiser, Selection};
use crate::data::{Augmentation, Encoding, Kind, Layout, Space};
use crate::error::{count, inside, within};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most parameters of a model: with gradients, averages and a checkpoint being written, training holds some sixteen
/// copies, 8 GiB.
pub(crate) const MOST_PARAMETERS: u128 = 1 << 27;
/// Most activations of a batch: training holds some five numbers for each, 5 GiB.
pub(crate) const MOST_ACTIVATIONS: usize = 1 << 28;

/// The keys of `training` that the loop reads, whatever the family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Training {
    /// The total number of steps.
    pub steps: u64,
    /// The number of steps between points of the curves.
    pub log_every: u64,
    /// The number of steps between held-out values; 0 for never.
    pub held_out_every: u64,
    /// The largest number of held-out rows for each held-out value.
    pub held_out_rows: usize,
    /// The number of steps between pictures of samples; 0 for never. Before the first, a few samples are kept after 10,
    /// 30, 100, … steps.
    pub sample_every: u64,
    /// The number of steps between copies of the averaged weights in `weights`; 0 for no copies. Each copy can be
    /// sampled, or guide the finished model.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub keep_every: u64,
    /// The number of seconds between checkpoints, from 0 (one at each point of the curves) to 10.
    pub checkpoint_seconds: f64,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            steps: 5000,
            log_every: 10,
            held_out_every: 500,
            held_out_rows: 2048,
            sample_every: 1000,
            keep_every: 0,
            checkpoint_seconds: 2.0,
        }
    }
}

impl Training {
    /// The keys of the table that the loop reads.
    pub const KEYS: [&str; 7] = [
        "steps",
        "log_every",
        "held_out_every",
        "held_out_rows",
        "sample_every",
        "keep_every",
        "checkpoint_seconds",
    ];

    /// Fails, naming the key inside of `training`, unless every value is in its range.
    ///
    /// # Errors
    /// [`crate::Error::Config`].
    pub fn check(&self) -> Result<()> {
        count("steps", self.steps, 1 << 40)?;
        count("log_every", self.log_every, 1 << 40)?;
        count("held_out_rows", self.held_out_rows as u64, 1 << 30)?;
        within("checkpoint_seconds", self.checkpoint_seconds, 0.0, 10.0)
    }

    /// The options of the loop.
    pub fn config(&self) -> Loop {
        Loop {
            steps: self.steps,
            log_every: self.log_every,
            held_out_every: self.held_out_every,
            sample_every: self.sample_every,
            keep_every: self.keep_every,
            checkpoint_after: Duration::from_secs_f64(self.checkpoint_seconds),
        }
    }
}

/// The keys of `training` that families fitted by gradients read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fit {
    /// Whether pictures are mirrored left to right, with probability ½ at each use.
    pub flip: bool,
    /// Geometric changes of pictures whose description is an input of the network, so that samples show none of them;
    /// none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
    /// Whether uniform noise spreads integers over their bins (dequantisation), so that they have a density. If false,
    /// the model learns the integers themselves.
    pub dequantise: bool,
    /// The number of rows of a micro-batch.
    pub batch: usize,
    /// The number of micro-batches of a step.
    pub accumulate: usize,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// The number of steps of the linear warm-up of the learning rate.
    pub warmup: u64,
    /// The decay of the learning rate after its warm-up.
    pub decay: LearningRate,
    /// Options of the optimiser.
    pub adamw: AdamWConfig,
    /// The decay of the averaged weights.
    pub ema: f64,
    /// The relative lengths of further averages of the weights, each the standard deviation of a power-law profile as a
    /// share of the training so far (Karras et al. 2024). The run samples with the average of the lowest held-out loss.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub averages: Vec<f64>,
    /// The step whose weights the run samples with: the last, or the one with the lowest held-out loss where there are
    /// validation rows.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub selection: Selection,
}

impl Default for Fit {
    fn default() -> Self {
        Self {
            flip: false,
            augmentation: None,
            dequantise: true,
            batch: 256,
            accumulate: 1,
            learning_rate: 1e-3,
            warmup: 100,
            decay: LearningRate::Cosine,
            adamw: AdamWConfig::default(),
            ema: 0.999,
            averages: Vec::new(),
            selection: Selection::Last,
        }
    }
}

impl Fit {
    /// Most averages beside that of `ema`.
    const MOST_AVERAGES: usize = 8;

    /// Fails, naming the key inside of `training`, unless every value is in its range.
    ///
    /// # Errors
    /// [`crate::Error::Config`].
    pub fn check(&self) -> Result<()> {
        if let Some(augmentation) = &self.augmentation {
            augmentation.check().map_err(|e| inside("augmentation", e))?;
        }
        count("batch", self.batch as u64, 1 << 20)?;
        count("accumulate", self.accumulate as u64, 1 << 20)?;
        within("learning_rate", self.learning_rate, 1e-30, 10.0)?;
        within("ema", self.ema, 0.0, 1.0)?;
        if self.averages.len() > Self::MOST_AVERAGES {
            let expected = format!("at most {}", Self::MOST_AVERAGES);
            return Err(Error::config("averages", self.averages.len().to_string(), expected));
        }
        self.averages.iter().try_for_each(|sigma| within("averages", *sigma, 1e-3, 0.288))?;
        within("adamw.beta_1", self.adamw.beta_1, 0.0, 0.999_999)?;
        within("adamw.beta_2", self.adamw.beta_2, 0.0, 0.999_999_9)?;
        within("adamw.epsilon", self.adamw.epsilon, 1e-30, 1.0)?;
        within("adamw.weight_decay", self.adamw.weight_decay, 0.0, 1e6)?;
        within("adamw.clip", self.adamw.clip, 0.0, 1e30)
    }

    /// Fails, naming the key inside of `training`, if a batch is too large for a model with this number of activations
    /// a row.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check_batch(&self, activations: usize) -> Result<()> {
        let most = MOST_ACTIVATIONS / activations.max(1);
        if self.batch <= most {
            return Ok(());
        }
        let expected =
            format!("at most {most} rows for this model; training.accumulate makes larger batches");
        Err(Error::config("batch", self.batch.to_string(), expected))
    }
}

impl Fit {
    /// Whether held-out losses choose the weights that a run samples with.
    pub(crate) fn chooses(&self) -> bool {
        self.selection == Selection::Best || !self.averages.is_empty()
    }

    /// Fails, naming the key, if held-out losses are to choose the weights and the loop computes none.
    pub(crate) fn check_with(&self, training: &Training) -> Result<()> {
        if self.chooses() && training.held_out_every == 0 {
            let expected = "above 0, since held-out losses choose the weights";
            return Err(Error::config("training.held_out_every", "0", expected));
        }
        Ok(())
    }

    /// The options of the optimiser.
    pub fn optimiser(&self) -> Optimiser {
        let Self { learning_rate, adamw, ema, .. } = *self;
        Optimiser { learning_rate, adamw, ema: Some(ema), powers: self.averages.clone() }
    }

    /// The encoding of rows for the model.
    pub fn encoding(&self) -> Encoding {
        if self.dequantise { Encoding::Dequantised } else { Encoding::Centres }
    }

    /// Fails, naming the key, unless these options fit rows of `space`.
    pub(crate) fn check_for(&self, space: &Space) -> Result<()> {
        if self.flip && !matches!(space.layout(), Layout::Image { .. }) {
            let problem = "true, and the data are no pictures";
            return Err(Error::config("training.flip", problem, "false, or pictures"));
        }
        if self.augmentation.is_some() && !matches!(space.layout(), Layout::Image { .. }) {
            let problem = "given, and the data are no pictures";
            return Err(Error::config(
                "training.augmentation",
                problem,
                "no such key, or pictures",
            ));
        }
        let integers = |j| matches!(space.coordinate(j).kind, Kind::Quantised { .. });
        if !self.dequantise && !(0..space.width()).any(integers) {
            let problem = "false, and no column holds integers";
            return Err(Error::config("training.dequantise", problem, "true, or integers"));
        }
        Ok(())
    }
}
