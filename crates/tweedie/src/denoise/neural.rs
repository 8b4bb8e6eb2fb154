//! A neural network as a denoiser.

use super::{Denoiser, Prediction};
use crate::data::Condition;
use crate::nn::{Clock, Network, dtype_of};
use crate::process::{Levels, MOST_LOG_SNR, Schedule};
use crate::tensor::Dual;
use crate::{Error, Result};
use burn::tensor::activation::sigmoid;
use burn::tensor::{DType, Tensor};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of steps into which [`Clock::Index`] divides a continuous schedule.
const STEPS: usize = 1000;

impl Clock {
    /// The network's input for a level of log-SNR `lambda`; `schedule` is the training schedule. Pure noise, at −∞,
    /// counts as a log-SNR of −80.
    pub fn read(self, lambda: f64, schedule: &dyn Schedule) -> f64 {
        let finite = lambda.clamp(-MOST_LOG_SNR, MOST_LOG_SNR);
        match self {
            Clock::LogSnr => -0.125 * finite,
            Clock::Sigma => (-0.5 * finite).exp(),
            Clock::Scaled => {
                let (shift, scale) = scaling(schedule);
                scale * (shift - finite)
            }
            Clock::Straight => 1e3 / (1.0 + (0.5 * finite).exp()),
            Clock::Index => {
                let (first, last) = schedule.range();
                let steps = schedule.chain_len().unwrap_or(STEPS) as f64 - 1.0;
                steps * (schedule.time(lambda) - first) / (last - first)
            }
        }
    }

    /// The column of the clock for a batch, `[n, 1]` or `[1, 1]`.
    fn column(
        self,
        levels: &Levels,
        like: &Tensor<2>,
        schedule: &dyn Schedule,
    ) -> Result<Tensor<2>> {
        let tracked = matches!(levels, Levels::Tracked { .. });
        match self {
            Clock::LogSnr if tracked => Ok(levels.lambda(like)?.mul_scalar(-0.125)),
            Clock::Straight if tracked => {
                Ok(sigmoid(levels.lambda(like)?.mul_scalar(-0.5)).mul_scalar(1e3))
            }
            Clock::Sigma if tracked => Ok(levels.lambda(like)?.mul_scalar(-0.5).exp()),
            Clock::Scaled if tracked => {
                let (shift, scale) = scaling(schedule);
                Ok(levels.lambda(like)?.neg().add_scalar(shift).mul_scalar(scale))
            }
            _ => levels.column(like, |level| self.read(level.lambda, schedule)),
        }
    }
}

/// The largest log-SNR, and the scale by which [`Clock::Scaled`] multiplies the distance from it.
fn scaling(schedule: &dyn Schedule) -> (f64, f64) {
    let (first, last) = schedule.range();
    let [most, least] = [first, last].map(|t| schedule.level(t).lambda.clamp(-20.0, 20.0));
    (most, STEPS as f64 / (most - least))
}

/// A network with its prediction and its training schedule.
///
/// The network's input is x_t divided by √(α² σ_data² + σ²), so that it has unit variance at every level (Karras et al.
/// 2022, eq. 7, for any α), or x_t itself, and the level by its [`Clock`].
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
    /// The quantity that the network predicts.
    pub prediction: Prediction,
    /// The schedule of its training.
    pub schedule: Arc<dyn Schedule>,
    /// The standard deviation of the data in model units.
    pub sigma_data: f64,
    /// Whether the network's input is x_t scaled to unit variance; x_t itself otherwise.
    pub scale_input: bool,
    /// The clock: the form of the noise level as an input.
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
            scale_input: true,
            clock: Clock::default(),
            evaluations: Arc::default(),
        }
    }

    /// Sets the standard deviation of the data in model units.
    pub fn with_sigma_data(mut self, sigma_data: f64) -> Self {
        self.sigma_data = sigma_data;
        self
    }

    /// Sets whether the network's input is x_t scaled to unit variance.
    pub fn with_scaled_input(mut self, scale_input: bool) -> Self {
        self.scale_input = scale_input;
        self
    }

    /// Sets the clock, the form of the noise level as an input.
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The same denoiser with another network.
    pub fn with_network<M: Network>(&self, network: M) -> NeuralDenoiser<M> {
        NeuralDenoiser {
            kind: dtype_of(&network),
            network,
            prediction: self.prediction,
            schedule: self.schedule.clone(),
            sigma_data: self.sigma_data,
            scale_input: self.scale_input,
            clock: self.clock,
            evaluations: self.evaluations.clone(),
        }
    }

    /// The same denoiser detached from any graph, for sampling.
    pub fn valid(&self) -> Self {
        self.with_network(self.network.clone().valid())
    }

    /// The network's prediction, `[n, width]`.
    ///
    /// # Errors
    /// The errors of [`Denoiser::denoise`].
    pub fn predict(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        let (output, width) = (self.output(x, levels, condition)?, self.network.width());
        Ok(match output.dims()[1] > width {
            true => output.linear(|all| all.narrow(1, 0, width)),
            false => output,
        })
    }

    /// The network's whole output, `[n, width]`, or `[n, 2 width]` with the variances of reverse steps second.
    fn output(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        let [rows, _] = x.dims();
        levels.check(rows)?;
        condition.check(rows)?;
        if rows == 0 {
            return Err(Error::shape("batch", "0 rows", "at least one row"));
        }
        self.evaluations.fetch_add(rows as u64, Ordering::Relaxed);
        let scale = self.scale(levels, &x.value)?.recip();
        let noise = self.clock.column(levels, &x.value, &*self.schedule)?;
        // The network computes in the type of its parameters; the batch may have another.
        let kind = x.value.dtype();
        let own = |t: Dual<2>| t.linear(|v| v.cast(self.kind));
        let output = self.network.forward(own(x * scale), own(noise.into()), condition)?;
        Ok(output.linear(|v| v.cast(kind)))
    }

    /// The divisor of the network's input, √(α² σ_data² + σ²) or 1, as a column.
    pub(super) fn scale(&self, levels: &Levels, like: &Tensor<2>) -> Result<Tensor<2>> {
        if !self.scale_input {
            return Ok(like.clone().narrow(1, 0, 1).ones_like());
        }
        let alpha = levels.alpha(like)?;
        let sigma = levels.sigma(like)?;
        Ok((alpha.mul_scalar(self.sigma_data).square() + sigma.square()).sqrt())
    }

    /// ∇log p_t(x) from the network's prediction, `[n, width]`, with the derivatives that `x` carries.
    ///
    /// # Errors
    /// The errors of [`Denoiser::denoise`]; [`Error::Undefined`] at σ = 0.
    pub fn score(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        self.as_prediction(Prediction::Score, x, levels, condition)
    }

    /// Converts the network's output to another prediction.
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

    fn denoise_with_variance(
        &self,
        x: Tensor<2>,
        levels: &Levels,
        condition: &Condition,
    ) -> Result<(Tensor<2>, Option<Tensor<2>>)> {
        let output = self.output(x.clone().into(), levels, condition)?.value;
        let width = self.network.width();
        let data = self.prediction.convert_batch(
            Prediction::Data,
            output.clone().narrow(1, 0, width).into(),
            x.into(),
            levels,
            &*self.schedule,
            self.sigma_data,
        )?;
        let learned = output.dims()[1] == 2 * width;
        Ok((data.value, learned.then(|| output.narrow(1, width, width))))
    }

    fn width(&self) -> usize {
        self.network.width()
    }

    fn evaluations(&self) -> u64 {
        self.evaluations.load(Ordering::Relaxed)
    }
}
