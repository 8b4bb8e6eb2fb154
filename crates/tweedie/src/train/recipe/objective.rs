//! The objectives that a recipe can name.

use super::Recipe;
use super::check::{count, inside, within};
use crate::denoise::{EnergyDenoiser, NeuralDenoiser};
use crate::nn::Network;
use crate::objective::{
    AsEnergy, DenoisingScoreMatching, ImplicitScoreMatching, LevelDistribution, NoiseLevels,
    Noising, Objective, OdeLikelihood, ScoreModel, SlicedScoreMatching, Slices, VariationalBound,
    Weighting,
};
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
}

impl Default for ObjectiveRecipe {
    fn default() -> Self {
        Self {
            kind: ObjectiveKind::default(),
            weighting: None,
            levels: NoiseLevels::default(),
            label_dropout: 0.1,
        }
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
        match &self.kind {
            ObjectiveKind::Denoising {} | ObjectiveKind::Bound { .. } => 1,
            ObjectiveKind::Implicit {} => 3 * width,
            ObjectiveKind::Sliced(slices) => 3 * slices.slices + 2,
            ObjectiveKind::Likelihood { steps } => 8 * steps * width,
        }
    }
}

impl Recipe {
    /// What training minimises, for a network of this kind.
    pub(in crate::train) fn objective<N: Network>(&self) -> Arc<dyn Objective<NeuralDenoiser<N>>> {
        let mut noising =
            Noising::from(Arc::new(self.schedule.clone())).with_levels(self.objective.levels);
        if let Some(weighting) = self.objective.weighting {
            noising = noising.with_weighting(weighting);
        }
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
