//! Score matching of an energy without noise levels, or at one of them: −∇E as the model of [`crate::objective`].

use super::objective::{Outcome, Step};
use crate::Result;
use crate::data::{Batch, Condition};
use crate::denoise::Prediction;
use crate::nn::energy::{AnyEnergy, Energy};
use crate::objective::{
    Functional, Inputs, Loss, Noising, Objective, ScoreModel, Weighting, of_gradient, slice_along,
    slice_of_energy,
};
use crate::process::{LevelDistribution, NoiseLevels, Ve};
use crate::tensor::Dual;
use burn::module::Module;
use burn::tensor::Tensor;
use std::sync::Arc;

/// A standard deviation that is lost beside any row in single precision.
const NONE: f64 = 1e-15;

/// Noise of one standard deviation, 0 for none. With noise the weight of the score's squared error is σ², else 1.
pub(super) fn one_level(sigma: f64) -> Noising {
    let (sigma, weighting) = match sigma > 0.0 {
        true => (sigma, Weighting::Noise),
        false => (NONE, Weighting::Own),
    };
    let schedule = Ve { sigma_min: 0.5 * sigma, sigma_max: 2.0 * sigma };
    let distribution = LevelDistribution::Fixed { log_snr: -2.0 * sigma.ln() };
    let levels = NoiseLevels { distribution, ..NoiseLevels::default() };
    Noising::from(Arc::new(schedule)).with_levels(levels).with_weighting(weighting)
}

/// An objective of the score −∇E on a batch.
pub(super) fn matching(objective: &dyn for<'a> Objective<Score<'a>>, at: Step) -> Result<Outcome> {
    let batch = Batch { x: at.x, condition: Condition::None };
    let loss = objective.loss(&Score(at.energy), &batch, &at.draws)?;
    Ok(Outcome { loss: loss.mean()?.0, surrogate: loss.surrogate, values: Vec::new() })
}

/// The score −∇E of an energy, at any level.
pub(super) struct Score<'a>(pub &'a AnyEnergy);

impl ScoreModel for Score<'_> {
    fn prediction(&self) -> Prediction {
        Prediction::Score
    }

    fn sigma_data(&self) -> f64 {
        1.0
    }

    fn of_prediction(&self, at: Inputs, phi: Functional) -> Result<Loss> {
        self.of_score(at, phi)
    }

    fn of_score(&self, at: Inputs, phi: Functional) -> Result<Loss> {
        let frozen = self.0.valid();
        of_gradient(|x| frozen.energy(x), |x| self.0.energy(x), at.x.clone(), |g| phi(g.neg()))
    }

    fn slice(&self, at: Inputs, v: Tensor<2>) -> Result<[Tensor<2>; 2]> {
        Ok(slice_along(self.0.energy(Dual::line(at.x.clone(), v))?))
    }

    fn slice_by_differences(
        &self,
        at: Inputs,
        v: Tensor<2>,
        step: Tensor<2>,
    ) -> Result<[Tensor<2>; 2]> {
        slice_of_energy(|x| Ok(self.0.energy(x.into())?.value), at.x, v, step)
    }
}
