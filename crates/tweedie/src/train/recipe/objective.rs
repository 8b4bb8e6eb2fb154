//! The objectives that a recipe can name.

use super::Recipe;
use crate::denoise::{EnergyDenoiser, NeuralDenoiser};
use crate::error::{count, inside, within};
use crate::nn::Network;
use crate::objective::{
    AsEnergy, DenoisingScoreMatching, Histogram, ImplicitScoreMatching, Martingale, Noising,
    Objective, OdeLikelihood, Regularised, ScoreModel, SlicedScoreMatching, Slices,
    VariationalBound, Weighting,
};
use crate::process::{LevelDistribution, NoiseLevels, Schedule};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Up to this width a divergence is computed exactly at every step of training.
const MOST_EXACT: usize = 64;

/// What training minimises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveRecipe {
    /// Which objective.
    pub kind: ObjectiveKind,
    /// How much a level counts; as the objective has it if absent, and always for the likelihood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weighting: Option<Weighting>,
    /// Which levels are visited; the likelihood visits all.
    pub levels: NoiseLevels,
    /// The probability that a label is dropped, so that the model learns the unconditional distribution too.
    pub label_dropout: f64,
    /// Levels drawn where the loss is large, in place of `levels`, whose expected loss stays; not if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<AdaptiveRecipe>,
    /// The martingale regulariser beside the objective; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub martingale: Option<Martingale>,
}

impl Default for ObjectiveRecipe {
    fn default() -> Self {
        Self {
            kind: ObjectiveKind::default(),
            weighting: None,
            levels: NoiseLevels::default(),
            label_dropout: 0.1,
            adaptive: None,
            martingale: None,
        }
    }
}

/// How levels follow the losses seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveRecipe {
    /// Equal parts of the schedule's log-SNRs.
    pub bins: usize,
    /// What a bin's average keeps of itself at each loss.
    pub decay: f64,
}

impl Default for AdaptiveRecipe {
    fn default() -> Self {
        Self { bins: 64, decay: 0.99 }
    }
}

impl AdaptiveRecipe {
    /// The histogram at its start.
    pub(crate) fn histogram(&self, schedule: &dyn Schedule) -> Result<Histogram> {
        Histogram::new(schedule, self.bins, self.decay)
    }
}

/// An objective by name, with its options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ObjectiveKind {
    /// [`DenoisingScoreMatching`].
    Denoising {},
    /// [`ImplicitScoreMatching`].
    Implicit {},
    /// [`SlicedScoreMatching`].
    Sliced(Slices),
    /// [`OdeLikelihood`].
    Likelihood {
        /// Steps of the solver, each of four evaluations.
        #[serde(default = "steps")]
        steps: usize,
    },
    /// [`VariationalBound`].
    Bound {
        /// Steps in discrete time; continuous if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        steps: Option<usize>,
    },
}

fn steps() -> usize {
    16
}

impl Default for ObjectiveKind {
    fn default() -> Self {
        Self::Denoising {}
    }
}

/// Every objective by name, with one line on what it is.
pub const OBJECTIVES: &[(&str, &str)] = &[
    ("denoising", "denoising score matching; the default"),
    ("implicit", "implicit score matching, with the exact divergence; up to 64 columns"),
    ("sliced", "sliced score matching along random vectors; with `step`, by finite differences"),
    (
        "likelihood",
        "log p by the probability-flow ODE, with the exact divergence; for a few columns",
    ),
    ("bound", "the variational bound of log p, best with log-snr levels; with `steps`, discrete"),
];

impl ObjectiveRecipe {
    pub(super) fn check(&self, recipe: &Recipe) -> Result<()> {
        self.levels.check(&recipe.schedule).map_err(|e| inside("objective", e))?;
        if let Some(weighting) = self.weighting {
            weighting.check().map_err(|e| inside("objective", e))?;
            if weighting.is_of_log_snr() {
                let key = "objective.levels.distribution";
                self.levels.distribution.check_density(key)?;
            }
        }
        within("objective.label_dropout", self.label_dropout, 0.0, 1.0)?;
        self.check_adaptive(recipe)?;
        if let Some(martingale) = &self.martingale {
            martingale.check().map_err(|e| inside("objective.martingale", e))?;
            if recipe.model.energy {
                let expected = "false: gradients reach an energy's mean by objectives alone";
                return Err(Error::config("model.energy", "true, with a martingale", expected));
            }
        }
        match &self.kind {
            ObjectiveKind::Sliced(slices) => {
                slices.check().map_err(|e| inside("objective.kind", e))
            }
            ObjectiveKind::Likelihood { .. } if recipe.model.energy => {
                let expected = "another objective for an energy, or `model.energy` = false";
                Err(Error::config("objective.kind", "likelihood", expected))
            }
            ObjectiveKind::Likelihood { steps } => {
                count("objective.kind.steps", *steps as u64, 1000)
            }
            ObjectiveKind::Bound { steps } => self.check_bound(*steps),
            ObjectiveKind::Denoising {} | ObjectiveKind::Implicit {} => Ok(()),
        }
    }

    /// Fails unless levels can follow the losses seen.
    fn check_adaptive(&self, recipe: &Recipe) -> Result<()> {
        let Some(adaptive) = &self.adaptive else { return Ok(()) };
        let inside = |e| inside("objective.adaptive", e);
        adaptive.histogram(&recipe.schedule).map_err(inside)?;
        if let ObjectiveKind::Bound { .. } | ObjectiveKind::Likelihood { .. } = &self.kind {
            let problem = "bound or likelihood, with adaptive levels";
            let expected =
                "`denoising`, whose weighting `likelihood` is the bound's, `implicit` or `sliced`";
            return Err(Error::config("objective.kind", problem, expected));
        }
        let drawn = self.levels.instead_of.unwrap_or(self.levels.distribution);
        drawn.check_density("objective.levels.distribution")
    }

    /// Fails unless the other keys make sense for the variational bound.
    fn check_bound(&self, steps: Option<usize>) -> Result<()> {
        let refuse = |key: &str, expected: &str| {
            Err(Error::config(
                format!("objective.{key}"),
                "set for the objective `bound`",
                expected,
            ))
        };
        if self.weighting.is_some() {
            return refuse("weighting", "no such key: the bound has its own weights");
        }
        if self.levels.instead_of.is_some() {
            return refuse("levels.instead_of", "no such key: the bound is that of any levels");
        }
        match steps {
            None => self.levels.distribution.check_density("objective.levels.distribution"),
            Some(_) if self.levels.distribution != LevelDistribution::Uniform => {
                refuse("levels.distribution", "uniform, or continuous time: no `steps`")
            }
            Some(steps) => count("objective.kind.steps", steps as u64, 100_000),
        }
    }

    /// Fails unless rows of so many columns can be trained on.
    pub(super) fn check_width(&self, width: usize) -> Result<()> {
        let name = match &self.kind {
            ObjectiveKind::Implicit {} => "implicit",
            ObjectiveKind::Likelihood { .. } => "likelihood",
            _ => return Ok(()),
        };
        if width > MOST_EXACT {
            let problem = format!("{name}, on rows of {width} columns");
            let expected = format!("`denoising` or `sliced`, or at most {MOST_EXACT} columns");
            return Err(Error::config("objective.kind", problem, expected));
        }
        Ok(())
    }

    /// How many values and tangents of the network a row's loss holds in memory.
    pub(super) fn passes(&self, width: usize) -> usize {
        let own = match &self.kind {
            ObjectiveKind::Denoising {} | ObjectiveKind::Bound { .. } => 1,
            ObjectiveKind::Implicit {} => 3 * width,
            ObjectiveKind::Sliced(slices) => 3 * slices.slices + 2,
            ObjectiveKind::Likelihood { steps } => 8 * steps * width,
        };
        // The means at a row and at the ends of its two paths.
        own + if self.martingale.is_some() { 3 } else { 0 }
    }
}

impl Recipe {
    /// How data are noised for training.
    pub(crate) fn noising(&self) -> Noising {
        let noising = Noising::from(Arc::new(self.schedule.clone()));
        let noising = noising.with_levels(self.objective.levels);
        match self.objective.weighting {
            Some(weighting) => noising.with_weighting(weighting),
            None => noising,
        }
    }

    /// What training minimises, for a network of this kind and data noised so.
    pub(crate) fn objective<N: Network>(
        &self,
        noising: Noising,
    ) -> Arc<dyn Objective<NeuralDenoiser<N>>> {
        let objective = self.unregularised(noising.clone());
        match self.objective.martingale {
            Some(martingale) => Arc::new(Regularised::new(objective, noising, martingale)),
            None => objective,
        }
    }

    /// The objective itself.
    fn unregularised<N: Network>(&self, noising: Noising) -> Arc<dyn Objective<NeuralDenoiser<N>>> {
        match &self.objective.kind {
            ObjectiveKind::Likelihood { steps } => {
                Arc::new(OdeLikelihood::new(Arc::new(self.schedule.clone()), *steps))
            }
            ObjectiveKind::Bound { steps } => {
                let bound = VariationalBound::new(Arc::new(self.schedule.clone()));
                let bound = bound.with_levels(self.objective.levels);
                let bound = steps.iter().fold(bound, |bound, steps| bound.with_steps(*steps));
                if self.model.energy {
                    return Arc::new(AsEnergy::<N>(Arc::new(bound)));
                }
                Arc::new(bound)
            }
            kind if self.model.energy => {
                Arc::new(AsEnergy(kind.matching::<EnergyDenoiser<N>>(noising)))
            }
            kind => kind.matching(noising),
        }
    }
}

impl ObjectiveKind {
    /// The kind of score matching that it names.
    fn matching<M: ScoreModel>(&self, noising: Noising) -> Arc<dyn Objective<M>> {
        match self {
            Self::Implicit {} => Arc::new(ImplicitScoreMatching::new(noising)),
            Self::Sliced(slices) => Arc::new(SlicedScoreMatching::new(noising, *slices)),
            Self::Denoising {} | Self::Likelihood { .. } | Self::Bound { .. } => {
                Arc::new(DenoisingScoreMatching::new(noising))
            }
        }
    }
}
