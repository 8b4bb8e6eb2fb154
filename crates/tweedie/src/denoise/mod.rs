//! Predictions of networks, and denoisers: (x_t, level, condition) ↦ E[x₀ | x_t].

mod diffusing;
mod energy;
mod error;
mod guidance;
mod mixture;
mod neural;
mod prediction;
mod transfer;

pub use crate::nn::Clock;
pub use diffusing::Diffusing;
pub use energy::EnergyDenoiser;
pub use error::{LevelError, level_errors};
pub use guidance::Guidance;
pub use mixture::{Component, GaussianMixture};
pub use neural::NeuralDenoiser;
pub use prediction::{Coefficients, Prediction};
pub use transfer::Transfer;

use crate::Result;
use crate::data::Condition;
use crate::process::Levels;
use crate::tensor::Dual;
use burn::tensor::Tensor;

/// A denoiser: (x_t, levels, condition) ↦ E[x₀ | x_t], the posterior mean, which Tweedie's formula links to the score.
///
/// Neural, exact and guided denoisers share this trait, so that every solver, likelihood and picture works with each.
pub trait Denoiser: Send + Sync {
    /// The posterior mean, `[n, width]`, and its directional derivative where `x` carries a tangent.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if batch, levels and condition do not fit together;
    /// [`crate::Error::Undefined`] where the denoiser's prediction does not determine the mean.
    fn denoise(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>>;

    /// E[x₀ | x_t] without a tangent and, of a network that learnt the variances of reverse steps, its output for them
    /// (Nichol & Dhariwal 2021, eq. 15); both `[n, width]`.
    ///
    /// # Errors
    /// The errors of [`Denoiser::denoise`].
    fn denoise_with_variance(
        &self,
        x: Tensor<2>,
        levels: &Levels,
        condition: &Condition,
    ) -> Result<(Tensor<2>, Option<Tensor<2>>)> {
        Ok((self.denoise(x.into(), levels, condition)?.value, None))
    }

    /// log p_t of each row up to a constant that depends on the level, `[n, 1]` in nats; its gradient is the score.
    ///
    /// # Errors
    /// [`crate::Error::Undefined`] by default: most denoisers have only a score.
    fn log_noised(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        let _ = (x, levels, condition);
        let why = "it has a score alone; an energy or a mixture has both";
        Err(crate::Error::undefined("the log density of a denoiser at a level", why))
    }

    /// The width of a row.
    fn width(&self) -> usize;

    /// The number of rows evaluated by networks so far; divided by the length of a batch, the evaluations per sample.
    fn evaluations(&self) -> u64;
}
