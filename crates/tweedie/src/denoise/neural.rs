//! A denoiser that is a neural network.

use super::{Denoiser, Prediction};
use crate::data::Condition;
use crate::nn::{Clock, Network, dtype_of};
use crate::process::{Levels, MOST_LOG_SNR, Schedule};
use crate::tensor::Dual;
use crate::{Error, Result};
use burn::tensor::{DType, Tensor};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Steps that [`Clock::Index`] cuts a continuous schedule into.
const STEPS: usize = 1000;

impl Clock {
    /// The level of log-SNR `lambda` as the network sees it; `schedule` is the one it was trained on. A level of
    /// pure noise, at infinity, counts as one of log-SNR −80.
    pub fn read(self, lambda: f64, schedule: &dyn Schedule) -> f64 {
        let finite = lambda.clamp(-MOST_LOG_SNR, MOST_LOG_SNR);
        match self {
            Clock::LogSnr => -0.125 * finite,
            Clock::Sigma => (-0.5 * finite).exp(),
            Clock::Index => {
                let (first, last) = schedule.range();
                let steps = schedule.chain_len().unwrap_or(STEPS) as f64 - 1.0;
                steps * (schedule.time(lambda) - first) / (last - first)
            }
        }
    }

    /// The column `[n, 1]` or `[1, 1]` for a batch.
    fn column(
        self,
        levels: &Levels,
        like: &Tensor<2>,
        schedule: &dyn Schedule,
    ) -> Result<Tensor<2>> {
        let tracked = matches!(levels, Levels::Tracked { .. });
        match self {
            Clock::LogSnr if tracked => Ok(levels.lambda(like)?.mul_scalar(-0.125)),
            Clock::Sigma if tracked => Ok(levels.lambda(like)?.mul_scalar(-0.5).exp()),
            _ => levels.column(like, |level| self.read(level.lambda, schedule)),
        }
    }
}

/// A network, what it predicts, and the schedule it was trained on.
///
/// The network sees x_t divided by √(α² σ_data² + σ²), so that its input has unit variance at every level (Karras et
/// al. 2022, eq. 7, for any α), and the level by its [`Clock`].
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::denoise::{Denoiser, NeuralDenoiser, Prediction};
/// use tweedie::data::Condition;
/// use tweedie::{Draws, nn::ResidualMlpConfig, process::{Edm, Schedule}};
/// let device = Device::flex();
/// let network = ResidualMlpConfig::new(2).init(&Draws::new(0), &device);
/// let denoiser = NeuralDenoiser::new(network, Prediction::Edm, Edm::default());
/// let x = Tensor::<2>::ones([5, 2], &device);
/// let mean = denoiser.denoise(x.into(), &Edm::default().level(0.5).into(), &Condition::None)?;
/// assert_eq!(mean.dims(), [5, 2]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct NeuralDenoiser<N> {
    /// The network.
    pub network: N,
    /// What it outputs.
    pub prediction: Prediction,
    /// The schedule it was trained on.
    pub schedule: Arc<dyn Schedule>,
    /// The standard deviation of the data in model units.
    pub sigma_data: f64,
    /// The clock: how the network sees the noise level.
    pub clock: Clock,
    /// The type of the network's parameters.
    kind: DType,
    evaluations: Arc<AtomicU64>,
}

impl<N: Network> NeuralDenoiser<N> {
    /// A denoiser for data of unit variance.
    pub fn new(network: N, prediction: Prediction, schedule: impl Schedule + 'static) -> Self {
        Self {
            kind: dtype_of(&network),
            network,
            prediction,
            schedule: Arc::new(schedule),
            sigma_data: 1.0,
            clock: Clock::default(),
            evaluations: Arc::default(),
        }
    }

    /// The standard deviation of the data in model units.
    pub fn with_sigma_data(mut self, sigma_data: f64) -> Self {
        self.sigma_data = sigma_data;
        self
    }

    /// The clock: how the network sees the noise level.
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The same denoiser around another network.
    pub fn with_network<M: Network>(&self, network: M) -> NeuralDenoiser<M> {
        NeuralDenoiser {
            kind: dtype_of(&network),
            network,
            prediction: self.prediction,
            schedule: self.schedule.clone(),
            sigma_data: self.sigma_data,
            clock: self.clock,
            evaluations: self.evaluations.clone(),
        }
    }

    /// The same denoiser outside any graph, for sampling.
    pub fn valid(&self) -> Self {
        self.with_network(self.network.clone().valid())
    }

    /// The network's own output, whatever it predicts.
    ///
    /// # Errors
    /// As [`Denoiser::denoise`].
    pub fn predict(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        let [rows, _] = x.dims();
        levels.check(rows)?;
        condition.check(rows)?;
        if rows == 0 {
            return Err(Error::shape("batch", "0 rows", "at least one row"));
        }
        self.evaluations.fetch_add(rows as u64, Ordering::Relaxed);
        let scale = self.scale(levels, &x.value)?.recip();
        let noise = self.clock.column(levels, &x.value, &*self.schedule)?;
        // A network computes in the type of its parameters; the batch may be of another.
        let kind = x.value.dtype();
        let own = |t: Dual<2>| t.linear(|v| v.cast(self.kind));
        let output = self.network.forward(own(x * scale), own(noise.into()), condition)?;
        Ok(output.linear(|v| v.cast(kind)))
    }

    /// What the network's input is divided by, √(α² σ_data² + σ²), as a column.
    pub(super) fn scale(&self, levels: &Levels, like: &Tensor<2>) -> Result<Tensor<2>> {
        let alpha = levels.alpha(like)?;
        let sigma = levels.sigma(like)?;
        Ok((alpha.mul_scalar(self.sigma_data).square() + sigma.square()).sqrt())
    }

    /// ∇log p_t(x) by the network's prediction, with the derivatives that `x` carries.
    ///
    /// # Errors
    /// As [`Denoiser::denoise`]; [`Error::Undefined`] at σ = 0.
    pub fn score(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        self.as_prediction(Prediction::Score, x, levels, condition)
    }

    /// The network's output as another prediction.
    fn as_prediction(
        &self,
        to: Prediction,
        x: Dual<2>,
        levels: &Levels,
        condition: &Condition,
    ) -> Result<Dual<2>> {
        let output = self.predict(x.clone(), levels, condition)?;
        self.prediction.convert_batch(to, output, x, levels, &*self.schedule, self.sigma_data)
    }
}

impl<N: Network> Denoiser for NeuralDenoiser<N> {
    fn denoise(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        self.as_prediction(Prediction::Data, x, levels, condition)
    }

    fn width(&self) -> usize {
        self.network.width()
    }

    fn evaluations(&self) -> u64 {
        self.evaluations.load(Ordering::Relaxed)
    }
}
