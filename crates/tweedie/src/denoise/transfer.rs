//! A denoiser trained under one schedule, used under others.

use super::Denoiser;
use crate::data::Condition;
use crate::process::{Level, Levels, Schedule};
use crate::tensor::Dual;
use crate::{Error, Result};
use std::sync::Arc;

/// A denoiser transferred from its training schedule to any other (*Demystifying Variational Diffusion Models*, App.
/// A.4, eqs. A.44–A.48). At equal log-SNR the latents of two schedules are multiples of each other, so that
///
/// > D_B(x, λ) = D_A((α_A/α_B) x, λ), α_A and α_B at the log-SNR λ,
///
/// and samples start from noise multiplied by α_B/α_A if the last levels of both schedules have the same log-SNR. A
/// solver that uses levels only then takes the same path, to rounding, under either schedule.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{NeuralDenoiser, Prediction, Transfer};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::{Edm, VpLinear};
/// use tweedie::solve::Sampler;
/// use tweedie::Draws;
/// use tweedie::nn::ResidualMlpConfig;
/// let device = Device::flex();
/// let network = ResidualMlpConfig::new(2).init(&Draws::new(0), &device);
/// let trained = NeuralDenoiser::new(network, Prediction::V, VpLinear::default());
/// let moved = Transfer::new(trained, Arc::new(VpLinear::default()));
/// let edm = Edm { sigma_min: 0.02, sigma_max: 100.0 };
/// let sampler = Sampler::new(Arc::new(moved), Arc::new(edm));
/// let x = sampler.generate(0..4, &Condition::None, &Draws::new(1), &device)?;
/// assert_eq!(x.dims(), [4, 2]);
/// # Ok::<(), tweedie::Error>(())
/// ```
pub struct Transfer<D> {
    model: D,
    trained: Arc<dyn Schedule>,
}

impl<D: Denoiser> Transfer<D> {
    /// Transfers `model`, trained on the schedule `trained`, to batches of any schedule.
    pub fn new(model: D, trained: Arc<dyn Schedule>) -> Self {
        Self { model, trained }
    }

    /// The level of the training schedule with the log-SNR of `level`.
    fn home(&self, level: &Level) -> Result<Level> {
        let (first, last) = self.trained.range();
        let (high, low) = (self.trained.level(first).lambda, self.trained.level(last).lambda);
        // Ends of equal log-SNR may differ by a rounding error.
        let slack = 1e-6;
        if !(level.lambda <= high + slack && level.lambda >= low - slack) {
            let found = format!("a log-SNR of {}", level.lambda);
            let expected = format!("the range of the training schedule, {low} to {high}");
            return Err(Error::config("noise level", found, expected));
        }
        Ok(self.trained.level(self.trained.time(level.lambda).clamp(first, last)))
    }
}

impl<D: Denoiser> Denoiser for Transfer<D> {
    fn denoise(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        let home = match levels {
            Levels::All(level) => Levels::All(self.home(level)?),
            Levels::Rows(rows) => {
                Levels::Rows(rows.iter().map(|level| self.home(level)).collect::<Result<_>>()?)
            }
            Levels::Tracked { .. } => {
                let why = "tracked levels are not on the host, where schedules are inverted";
                return Err(Error::undefined("a transferred denoiser at tracked levels", why));
            }
        };
        levels.check(x.dims()[0])?;
        // At pure noise the ratio of α is undefined; the ratio of the standard deviations is its limit.
        let scale = Levels::pair(&home, levels, &x.value, |a, b| {
            if b.alpha > 0.0 && a.alpha > 0.0 { a.alpha / b.alpha } else { a.sigma / b.sigma }
        })?;
        self.model.denoise(x * scale, &home, condition)
    }

    fn width(&self) -> usize {
        self.model.width()
    }

    fn evaluations(&self) -> u64 {
        self.model.evaluations()
    }
}
