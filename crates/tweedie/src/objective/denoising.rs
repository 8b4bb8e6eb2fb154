//! Denoising score matching, noise-conditional, in every prediction.
//!
//! For x_t = α x₀ + σ ε at random levels, the model's prediction P̂ is fitted to its target P (Vincent 2011; *An
//! Introduction to Generative Modeling with Flows and Diffusion Models*, eq. 5.10; *Generative Modeling with Diffusion
//! Models*, eqs. 54–56):
//!
//! > E_t E_{x₀, ε} w(t) · mean over dimensions of (P̂(x_t, t) − P)².
//!
//! For any weight the optimum is E[P | x_t]. The optimum of an energy is the gradient field nearest to it; for the
//! score it is the score itself.

use super::{Loss, Noising, Objective, ObjectiveConfig, Objectives, ScoreModel, Weighting};
use crate::data::Batch;
use crate::{Draws, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Denoising score matching in recipes; it has no options.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Denoising;

impl ObjectiveConfig for Denoising {
    fn passes(&self, _: usize) -> usize {
        1
    }

    fn build(&self, noising: Noising) -> Objectives {
        Objectives::both(DenoisingScoreMatching::new(noising))
    }
}

/// Denoising score matching; see the module documentation. Its default weight is 1 in the network's prediction.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::objective::{DenoisingScoreMatching, Noising, Weighting};
/// use tweedie::process::Straight;
/// let noising = Noising::from(Arc::new(Straight::default())).with_weighting(Weighting::Velocity);
/// let objective = DenoisingScoreMatching::new(noising);
/// ```
#[derive(Debug, Clone)]
pub struct DenoisingScoreMatching {
    noising: Noising,
}

impl DenoisingScoreMatching {
    /// The objective under `noising`, or under a schedule with default levels and weight.
    pub fn new(noising: impl Into<Noising>) -> Self {
        Self { noising: noising.into() }
    }
}

impl<M: ScoreModel> Objective<M> for DenoisingScoreMatching {
    fn loss(&self, model: &M, batch: &Batch, draws: &Draws) -> Result<Loss> {
        let noised = self.noising.draw(batch, draws)?;
        let (own, sigma_data) = (model.prediction(), model.sigma_data());
        let target = noised.target(batch, own, &*self.noising.schedule, sigma_data)?;
        let weight = noised.column(|l| self.noising.weight(Weighting::Own, own, l, sigma_data))?;
        let loss =
            |output: Tensor<2>| (output - target.clone()).square().mean_dim(1) * weight.clone();
        model.of_prediction(noised.at(), &loss)
    }
}
