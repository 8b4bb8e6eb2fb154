//! The objective of a recipe.

use super::Diffusion;
use crate::denoise::NeuralDenoiser;
use crate::error::{inside, within};
use crate::nn::AnyNetwork;
use crate::objective::{
    AnyObjective, AsEnergy, Histogram, Martingale, Noising, Objective, RegularisedObjective,
    Weighting,
};
use crate::process::{NoiseLevels, Schedule};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The objective that training minimises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveRecipe {
    /// The objective's kind.
    pub kind: AnyObjective,
    /// The weight of a level in the loss; the objective's own if absent, as it must be for the likelihood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weighting: Option<Weighting>,
    /// The distribution of the levels in training; the likelihood uses levels of its own.
    pub levels: NoiseLevels,
    /// The probability that a label is dropped, so that the model learns the unconditional distribution too.
    pub label_dropout: f64,
    /// Adaptive sampling of levels, in place of `levels`: more often where the loss is large, with the same expected
    /// loss; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<AdaptiveRecipe>,
    /// The martingale regulariser added to the objective; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub martingale: Option<Martingale>,
}

impl Default for ObjectiveRecipe {
    fn default() -> Self {
        Self {
            kind: AnyObjective::default(),
            weighting: None,
            levels: NoiseLevels::default(),
            label_dropout: 0.1,
            adaptive: None,
            martingale: None,
        }
    }
}

/// Adaptive sampling of levels by the losses so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveRecipe {
    /// The number of equal bins of the schedule's log-SNRs.
    pub bins: usize,
    /// The weight of the old average in a bin's new average, at each loss.
    pub decay: f64,
}

impl Default for AdaptiveRecipe {
    fn default() -> Self {
        Self { bins: 64, decay: 0.99 }
    }
}

impl AdaptiveRecipe {
    /// The initial histogram over the levels of `schedule`.
    pub(crate) fn histogram(&self, schedule: &dyn Schedule) -> Result<Histogram> {
        Histogram::new(schedule, self.bins, self.decay)
    }
}

impl ObjectiveRecipe {
    pub(super) fn check(&self, recipe: &Diffusion) -> Result<()> {
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
        self.kind.check()?;
        self.kind.check_levels(&self.levels, self.weighting)?;
        if recipe.model.energy && self.kind.build(recipe.noising()).of_energy.is_none() {
            let expected = "another objective for an energy, or `model.energy` = false";
            return Err(Error::config("objective.kind", self.kind.name(), expected));
        }
        Ok(())
    }

    /// Fails unless the objective and schedule allow adaptive sampling of levels.
    fn check_adaptive(&self, recipe: &Diffusion) -> Result<()> {
        let Some(adaptive) = &self.adaptive else { return Ok(()) };
        let inside = |e| inside("objective.adaptive", e);
        adaptive.histogram(&recipe.schedule).map_err(inside)?;
        if !self.kind.is_adaptive() {
            let problem = format!("{}, with adaptive levels", self.kind.name());
            let expected =
                "`denoising`, whose weighting `likelihood` is the bound's, `implicit` or `sliced`";
            return Err(Error::config("objective.kind", problem, expected));
        }
        let drawn = self.levels.instead_of.unwrap_or(self.levels.distribution);
        drawn.check_density("objective.levels.distribution")
    }

    /// The number of network values and tangents that a row's loss holds in memory; `width` is the row's.
    pub(super) fn passes(&self, width: usize) -> usize {
        // The regulariser needs the means at a row and at the ends of its two paths.
        self.kind.passes(width) + if self.martingale.is_some() { 3 } else { 0 }
    }
}

impl Diffusion {
    /// The noising of data for training.
    pub(crate) fn noising(&self) -> Noising {
        let noising = Noising::from(Arc::new(self.schedule.clone()));
        let noising = noising.with_levels(self.objective.levels);
        match self.objective.weighting {
            Some(weighting) => noising.with_weighting(weighting),
            None => noising,
        }
    }

    /// The objective for data noised by `noising`.
    pub(crate) fn objective(
        &self,
        noising: Noising,
    ) -> Arc<dyn Objective<NeuralDenoiser<AnyNetwork>>> {
        let objectives = self.objective.kind.build(noising.clone());
        let objective = match objectives.of_energy.filter(|_| self.model.energy) {
            Some(of_energy) => Arc::new(AsEnergy(of_energy)),
            None => objectives.of_network,
        };
        match self.objective.martingale {
            Some(martingale) => Arc::new(RegularisedObjective::new(objective, noising, martingale)),
            None => objective,
        }
    }
}
