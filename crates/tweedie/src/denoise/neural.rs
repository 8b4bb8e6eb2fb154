//! A denoiser that is a neural network.

use super::{Condition, Denoiser, Prediction};
use crate::nn::{Dual, Network};
use crate::process::{Levels, MOST_LOG_SNR, Schedule};
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A network, what it predicts, and the schedule it was trained on.
///
/// The network sees x_t divided by √(α² σ_data² + σ²), so that its input has unit variance at every level (Karras et
/// al. 2022, eq. 7, for any α), and the level as ¼ ln(σ/α).
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::denoise::{Condition, Denoiser, NeuralDenoiser, Prediction};
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
    evaluations: Arc<AtomicU64>,
}

impl<N: Network> NeuralDenoiser<N> {
    /// A denoiser for data of unit variance.
    pub fn new(network: N, prediction: Prediction, schedule: impl Schedule + 'static) -> Self {
        Self {
            network,
            prediction,
            schedule: Arc::new(schedule),
            sigma_data: 1.0,
            evaluations: Arc::default(),
        }
    }

    /// The standard deviation of the data in model units.
    pub fn with_sigma_data(mut self, sigma_data: f64) -> Self {
        self.sigma_data = sigma_data;
        self
    }

    /// The same denoiser around another network.
    pub fn with_network<M: Network>(&self, network: M) -> NeuralDenoiser<M> {
        NeuralDenoiser {
            network,
            prediction: self.prediction,
            schedule: self.schedule.clone(),
            sigma_data: self.sigma_data,
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
        let alpha = levels.alpha(&x.value)?;
        let sigma = levels.sigma(&x.value)?;
        let scale = (alpha.mul_scalar(self.sigma_data).square() + sigma.square()).sqrt().recip();
        // A level of pure noise is at infinity.
        let lambda = levels.lambda(&x.value)?.clamp(-MOST_LOG_SNR, MOST_LOG_SNR);
        let noise = lambda.mul_scalar(-0.125);
        // A network's parameters are single precision; the batch may not be.
        let kind = x.value.dtype();
        let single = |t: Dual<2>| t.linear(|v| v.cast(burn::tensor::DType::F32));
        let output = self.network.forward(single(x * scale), single(noise.into()), condition)?;
        Ok(output.linear(|v| v.cast(kind)))
    }
}

impl<N: Network> Denoiser for NeuralDenoiser<N> {
    fn denoise(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        let output = self.predict(x.clone(), levels, condition)?;
        self.prediction.convert_batch(
            Prediction::Data,
            output,
            x,
            levels,
            &*self.schedule,
            self.sigma_data,
        )
    }

    fn width(&self) -> usize {
        self.network.width()
    }

    fn evaluations(&self) -> u64 {
        self.evaluations.load(Ordering::Relaxed)
    }
}
