//! Noising of data for training: the levels, and the weight of each.

use super::{Histogram, Inputs, Weighting};
use crate::data::Batch;
use crate::denoise::Prediction;
use crate::process::{Corruption, Gaussian, Level, Levels, NoiseLevels, NoisedBatch, Schedule};
use crate::tensor::column;
use crate::{Draws, Result};
use burn::tensor::Tensor;
use std::sync::Arc;

/// Noising of data: x_t = α x₀ + σ ε at random levels of a schedule, each with its weight.
///
/// From a schedule alone, the weights are the objective's default, and t is uniform with low discrepancy.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::denoise::{NeuralDenoiser, Prediction};
/// use tweedie::data::{Batch, Condition};
/// use tweedie::nn::ResidualMlpConfig;
/// use tweedie::objective::{DenoisingScoreMatching, Noising, Objective, Weighting};
/// use tweedie::process::{Cosine, NoiseLevels};
/// let device = Device::flex();
/// let network = ResidualMlpConfig::new(2).init(&Draws::new(0), &device);
/// let model = NeuralDenoiser::new(network, Prediction::Edm, Cosine::default());
/// let batch = Batch { x: Tensor::ones([4, 2], &device), condition: Condition::None };
/// let levels = NoiseLevels { low_discrepancy: false, ..NoiseLevels::default() };
/// let noising = Noising::from(Arc::new(Cosine::default()));
/// let noising = noising.with_weighting(Weighting::MinSnr { gamma: 5.0 }).with_levels(levels);
/// let objective = DenoisingScoreMatching::new(noising);
/// let loss = objective.loss(&model, &batch, &Draws::new(1))?;
/// assert_eq!(loss.value.dims(), [4, 1]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Noising {
    pub(super) schedule: Arc<dyn Schedule>,
    /// The weighting; the objective's default if absent.
    pub(super) weighting: Option<Weighting>,
    pub(super) levels: NoiseLevels,
    /// The source of levels in place of their distribution.
    histogram: Option<Arc<Histogram>>,
}

impl<S: Schedule + 'static> From<Arc<S>> for Noising {
    fn from(schedule: Arc<S>) -> Self {
        let schedule: Arc<dyn Schedule> = schedule;
        schedule.into()
    }
}

impl From<Arc<dyn Schedule>> for Noising {
    fn from(schedule: Arc<dyn Schedule>) -> Self {
        Self { schedule, weighting: None, levels: NoiseLevels::default(), histogram: None }
    }
}

impl Noising {
    /// Sets the weight of each level.
    pub fn with_weighting(mut self, weighting: Weighting) -> Self {
        self.weighting = Some(weighting);
        self
    }

    /// Sets the distribution of levels.
    pub fn with_levels(mut self, levels: NoiseLevels) -> Self {
        self.levels = levels;
        self
    }

    /// Draws levels from a histogram in place of their distribution, with weights that keep the expected loss
    /// unchanged.
    pub fn drawn_from(mut self, histogram: Arc<Histogram>) -> Self {
        self.histogram = Some(histogram);
        self
    }

    /// The schedule of the levels.
    pub fn schedule(&self) -> &dyn Schedule {
        &*self.schedule
    }

    /// Draws the levels of `n` rows.
    ///
    /// # Errors
    /// The errors of [`NoiseLevels::times`].
    pub fn levels(&self, n: usize, draws: &Draws) -> Result<Vec<Level>> {
        let times = match &self.histogram {
            None => self.levels.times(n, &*self.schedule, draws)?,
            Some(histogram) => {
                let places = self.levels.places(n, draws);
                places.into_iter().map(|u| self.schedule.time(histogram.quantile(u))).collect()
            }
        };
        Ok(times.into_iter().map(|t| self.schedule.level(t)).collect())
    }

    /// The density in λ of the levels in the expected loss, before importance sampling.
    pub(super) fn drawn_as(&self, level: &Level) -> Result<f64> {
        let NoiseLevels { distribution, instead_of, .. } = self.levels;
        instead_of.unwrap_or(distribution).density(level, &*self.schedule)
    }

    /// The weight of one draw: its share of dλ, or its ratio of importance sampling.
    fn share(&self, weighting: Weighting, level: &Level) -> Result<f64> {
        let drawn = || match &self.histogram {
            Some(histogram) => Ok(histogram.density(level.lambda)),
            None => self.levels.distribution.density(level, &*self.schedule),
        };
        if weighting.is_of_log_snr() {
            Ok(1.0 / drawn()?)
        } else if self.histogram.is_some() || self.levels.instead_of.is_some() {
            Ok(self.drawn_as(level)? / drawn()?)
        } else {
            Ok(1.0)
        }
    }

    /// The factor on the squared error of a draw, for a network with prediction `own` and an objective whose default
    /// weighting is `default`.
    pub(super) fn weight(
        &self,
        default: Weighting,
        own: Prediction,
        level: &Level,
        sigma_data: f64,
    ) -> Result<f64> {
        self.shared(default, level, |w| w.factor(own, level, &*self.schedule, sigma_data))
    }

    /// The factor on the squared error of the score, as in [`Noising::weight`].
    pub(super) fn weight_on_score(
        &self,
        default: Weighting,
        own: Prediction,
        level: &Level,
        sigma_data: f64,
    ) -> Result<f64> {
        self.shared(default, level, |w| w.on_score(own, level, &*self.schedule, sigma_data))
    }

    /// The factor `factor` of the weighting in use, or of the objective's default, times the weight of a draw.
    fn shared(
        &self,
        default: Weighting,
        level: &Level,
        factor: impl FnOnce(Weighting) -> Result<f64>,
    ) -> Result<f64> {
        let weighting = self.weighting.unwrap_or(default);
        Ok(factor(weighting)? * self.share(weighting, level)?)
    }

    /// Noises a batch with the levels and noise that `draws` address for its rows.
    pub(super) fn draw(&self, batch: &Batch, draws: &Draws) -> Result<NoisedBatch> {
        let [n, _] = batch.x.dims();
        noised(&self.schedule, batch, self.levels(n, draws)?, draws)
    }
}

/// Noises a batch at one level per row, with the noise of rows 0, 1, … of `draws`.
pub(super) fn noised(
    schedule: &Arc<dyn Schedule>,
    batch: &Batch,
    levels: Vec<Level>,
    draws: &Draws,
) -> Result<NoisedBatch> {
    // The standard deviation of the data matters to the prior only.
    let process = Gaussian { schedule: schedule.clone(), sigma_data: 1.0 };
    let rows: Vec<u64> = (0..levels.len() as u64).collect();
    process.corrupt(batch, Levels::Rows(levels), &rows, &draws.purpose("noise"))
}

impl NoisedBatch {
    /// The target of a network with prediction `own`, `[n, width]`.
    pub(super) fn target(
        &self,
        batch: &Batch,
        own: Prediction,
        schedule: &dyn Schedule,
        sigma_data: f64,
    ) -> Result<Tensor<2>> {
        let mixture = |level: &_| own.mixture(level, Some(schedule.rate(level.t)), sigma_data);
        let of_data = self.column(|level| Ok(mixture(level)?.0))?;
        let of_noise = self.column(|level| Ok(mixture(level)?.1))?;
        Ok(batch.x.clone() * of_data + self.noise.clone() * of_noise)
    }

    /// The arguments of a model: batch, levels and condition.
    pub(super) fn at(&self) -> Inputs<'_> {
        Inputs { x: &self.x, levels: &self.levels, condition: &self.condition }
    }

    /// The row numbers 0, 1, … that address the draws.
    pub(super) fn rows(&self) -> Vec<u64> {
        (0..self.x.dims()[0] as u64).collect()
    }

    /// The column of `f` at each row's level, `[n, 1]`.
    pub(super) fn column(&self, f: impl Fn(&Level) -> Result<f64>) -> Result<Tensor<2>> {
        let rows = 0..self.x.dims()[0];
        let values = rows.map(|i| f(&self.levels.host(i)?)).collect::<Result<Vec<f64>>>()?;
        Ok(column(&self.x, values.into_iter()))
    }
}
