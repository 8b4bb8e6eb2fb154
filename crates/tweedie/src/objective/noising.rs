//! How data are noised for training: which levels are visited, and how much each counts.

use super::{At, Batch, NoiseLevels};
use crate::denoise::{Condition, Prediction};
use crate::process::{Level, Levels, Schedule, column};
use crate::{Draws, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How much a level's loss counts.
///
/// At equal x_t the errors of two predictions differ by a factor that depends on the level alone, so a weight of 1 "in" some
/// prediction can be applied in any other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weighting {
    /// 1 in the network's own prediction.
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

    /// The factor on the squared error of the score at a level, for a network that predicts `own`.
    ///
    /// # Errors
    /// As [`Prediction::convert`].
    pub fn on_score(
        self,
        own: Prediction,
        level: &Level,
        schedule: &dyn Schedule,
        sigma_data: f64,
    ) -> Result<f64> {
        let rate = Some(schedule.rate(level.t));
        let of_score = Prediction::Score.convert(own, level, rate, sigma_data)?.of_prediction;
        Ok(of_score.powi(2) * self.factor(own, level, schedule, sigma_data)?)
    }
}

/// How data are noised: x_t = α x₀ + σ ε at levels of a schedule, each with its weight.
///
/// Made from a schedule alone, weights are the objective's own, and t is uniform with low discrepancy.
#[derive(Debug, Clone)]
pub struct Noising {
    pub(super) schedule: Arc<dyn Schedule>,
    /// The objective's own if absent.
    pub(super) weighting: Option<Weighting>,
    levels: NoiseLevels,
}

impl<S: Schedule + 'static> From<Arc<S>> for Noising {
    fn from(schedule: Arc<S>) -> Self {
        let schedule: Arc<dyn Schedule> = schedule;
        schedule.into()
    }
}

impl From<Arc<dyn Schedule>> for Noising {
    fn from(schedule: Arc<dyn Schedule>) -> Self {
        Self { schedule, weighting: None, levels: NoiseLevels::default() }
    }
}

impl Noising {
    /// How much each level counts.
    pub fn with_weighting(mut self, weighting: Weighting) -> Self {
        self.weighting = Some(weighting);
        self
    }

    /// Which levels are visited.
    pub fn with_levels(mut self, levels: NoiseLevels) -> Self {
        self.levels = levels;
        self
    }

    /// A batch with the noise and levels that `draws` give its rows.
    pub(super) fn draw(&self, batch: &Batch, draws: &Draws) -> Result<Noised> {
        let [n, width] = batch.x.dims();
        let times = self.levels.times(n, &*self.schedule, draws)?;
        let levels = Levels::Rows(times.iter().map(|&t| self.schedule.level(t)).collect());
        let noise = draws.purpose("noise").normals(0..n as u64, width);
        let noise = noise.to_tensor(&batch.x.device()).cast(batch.x.dtype());
        let x =
            batch.x.clone() * levels.alpha(&batch.x)? + noise.clone() * levels.sigma(&batch.x)?;
        Ok(Noised { x, noise, levels, condition: batch.condition.clone() })
    }
}

/// A batch with noise.
pub(super) struct Noised {
    /// x_t.
    pub x: Tensor<2>,
    /// ε.
    pub noise: Tensor<2>,
    /// One level per row.
    pub levels: Levels,
    /// One condition per row.
    pub condition: Condition,
}

impl Noised {
    /// Where a model is evaluated.
    pub fn at(&self) -> At<'_> {
        At { x: &self.x, levels: &self.levels, condition: &self.condition }
    }

    /// The row numbers 0, 1, …, by which rows have draws.
    pub fn rows(&self) -> Vec<u64> {
        (0..self.x.dims()[0] as u64).collect()
    }

    /// A column `[n, 1]` made of each row's level.
    pub fn column(&self, f: impl Fn(&Level) -> Result<f64>) -> Result<Tensor<2>> {
        let rows = 0..self.x.dims()[0];
        let values = rows.map(|i| f(&self.levels.host(i)?)).collect::<Result<Vec<f64>>>()?;
        Ok(column(&self.x, values.into_iter()))
    }
}
