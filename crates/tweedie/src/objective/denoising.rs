//! Denoising score matching, noise-conditional, in every prediction.
//!
//! For x_t = α x₀ + σ ε at random levels, the network's output P̂ is drawn to its target P (Vincent 2011; *An
//! Introduction to Generative Modeling with Flows and Diffusion Models*, eq. 5.10; *Generative Modeling with Diffusion
//! Models*, eqs. 54–56):
//!
//! > E_t E_{x₀, ε} w(t) · mean over dimensions of (P̂(x_t, t) − P)².
//!
//! Whatever the weight, the optimum is E[P | x_t]. At equal x_t the errors of two predictions differ by a factor that
//! depends on the level alone, so a weight of 1 "in" some prediction can be applied in any other.

use super::{Batch, Loss, NoiseLevels, Objective};
use crate::denoise::{NeuralDenoiser, Prediction};
use crate::nn::Network;
use crate::process::{Level, Levels, Schedule};
use crate::{Draws, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How much a level's loss counts.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weighting {
    /// 1 in the network's own prediction.
    #[default]
    Own,
    /// 1 in noise prediction: DDPM's simple loss.
    Noise,
    /// 1 in data prediction.
    Data,
    /// 1 in v prediction.
    V,
    /// 1 in the velocity: conditional flow matching's.
    Velocity,
    /// 1 in EDM's F: EDM's weight (σ² + σ_d²)/(σ σ_d)² on the denoised data, for any α.
    Edm,
}

impl Weighting {
    /// The factor on the squared error of `own` at a level.
    ///
    /// # Errors
    /// As [`Prediction::convert`].
    pub fn factor(
        self,
        own: Prediction,
        level: &Level,
        schedule: &dyn Schedule,
        sigma_data: f64,
    ) -> Result<f64> {
        let unit = match self {
            Weighting::Own => return Ok(1.0),
            Weighting::Noise => Prediction::Noise,
            Weighting::Data => Prediction::Data,
            Weighting::V => Prediction::V,
            Weighting::Velocity => Prediction::Velocity,
            Weighting::Edm => Prediction::Edm,
        };
        let rate = Some(schedule.rate(level.t));
        Ok(own.convert(unit, level, rate, sigma_data)?.of_prediction.powi(2))
    }
}

/// Denoising score matching; see the module's head.
#[derive(Debug, Clone)]
pub struct DenoisingScoreMatching {
    schedule: Arc<dyn Schedule>,
    weighting: Weighting,
    levels: NoiseLevels,
}

impl DenoisingScoreMatching {
    /// Weight 1 in the network's own prediction, t uniform with low discrepancy.
    pub fn new(schedule: Arc<dyn Schedule>) -> Self {
        Self { schedule, weighting: Weighting::Own, levels: NoiseLevels::default() }
    }

    /// How much each level counts.
    pub fn with_weighting(mut self, weighting: Weighting) -> Self {
        self.weighting = weighting;
        self
    }

    /// Which levels are visited.
    pub fn with_levels(mut self, levels: NoiseLevels) -> Self {
        self.levels = levels;
        self
    }
}

impl<N: Network> Objective<NeuralDenoiser<N>> for DenoisingScoreMatching {
    fn loss(&self, model: &NeuralDenoiser<N>, batch: &Batch, draws: &Draws) -> Result<Loss> {
        let [n, width] = batch.x.dims();
        let times = self.levels.times(n, &*self.schedule, draws)?;
        let levels = Levels::Rows(times.iter().map(|&t| self.schedule.level(t)).collect());
        let noise = draws.purpose("noise").normals(0..n as u64, width).to_tensor(&batch.x.device());
        let x =
            batch.x.clone() * levels.alpha(&batch.x)? + noise.clone() * levels.sigma(&batch.x)?;
        let output = model.predict(x.into(), &levels, &batch.condition)?.value;
        let mut mixtures = Vec::with_capacity(n);
        let mut weights = Vec::with_capacity(n);
        for i in 0..n {
            let level = levels.host(i)?;
            let rate = Some(self.schedule.rate(level.t));
            mixtures.push(model.prediction.mixture(&level, rate, model.sigma_data)?);
            let own = model.prediction;
            weights.push(self.weighting.factor(own, &level, &*self.schedule, model.sigma_data)?);
        }
        let column =
            |values: &mut dyn Iterator<Item = f64>| crate::process::column(&batch.x, values);
        let of_data = column(&mut mixtures.iter().map(|m| m.0));
        let of_noise = column(&mut mixtures.iter().map(|m| m.1));
        let target = batch.x.clone() * of_data + noise * of_noise;
        let square = (output - target).square().mean_dim(1);
        Ok((square * column(&mut weights.into_iter())).into())
    }
}
