//! Priors of latent variables: densities that are sampled from noise, both with derivatives by their parameters.

mod flow;
mod mixture;
mod normal;
mod vamp;

pub use flow::{FlowPrior, FlowPriorConfig};
pub use mixture::{MixturePrior, MixturePriorConfig};
pub use normal::{NormalPrior, NormalPriorConfig};
pub use vamp::{VampPrior, VampPriorConfig};

pub(super) use mixture::log_components;

use super::Posterior;
use crate::data::{Rows, Space};
use crate::registry::modules;
use crate::{Draws, Result};
use burn::tensor::{Device, Tensor};
use std::fmt::Debug;

/// The most components of a prior.
const MOST_COMPONENTS: u64 = 1 << 14;

/// The encoder: the posterior of each of some rows in model units.
pub type Encode<'a> = dyn Fn(Tensor<2>) -> Result<Posterior> + 'a;

/// The configuration of a prior as recipes write it.
pub trait PriorConfig: Debug + Send + Sync {
    /// Fails, naming the key, unless every value is valid.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config).
    fn check(&self) -> Result<()>;

    /// Whether it reads the encoder, so that encoder and posterior must be plain: no condition, and no flow.
    fn reads_encoder(&self) -> bool {
        false
    }

    /// The number of values in the parameters of a prior of `width` dimensions, for rows of `space`.
    fn parameters(&self, width: usize, space: &Space) -> u128;

    /// The prior of `width` dimensions with initial values from `draws`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming a key that does not fit.
    fn init(&self, width: usize, space: &Space, draws: &Draws, device: &Device)
    -> Result<AnyPrior>;
}

/// A prior p(z).
pub trait Prior {
    /// ln p of each row of `z`, `[n, width]`; `[n, 1]`.
    ///
    /// # Errors
    /// Errors of the encoder, where the prior reads it.
    fn log_prob(&self, z: Tensor<2>, encode: &Encode<'_>) -> Result<Tensor<2>>;

    /// Draws z from standard normal numbers, `[n, width]`, and a number uniform in [0, 1) for each row.
    ///
    /// # Errors
    /// As [`Prior::log_prob`].
    fn draw(&self, noise: Tensor<2>, uniforms: &[f32], encode: &Encode<'_>) -> Result<Tensor<2>>;

    /// Whether it is N(0, I).
    fn is_normal(&self) -> bool {
        false
    }

    /// The prior before training on rows in model units, which `rows` gives by their number.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming a key that does not fit the rows.
    fn start(self, count: usize, rows: &dyn Fn(&[usize]) -> Result<Rows>) -> Result<Self>
    where
        Self: Sized,
    {
        let _ = (count, rows);
        Ok(self)
    }
}

modules! {
    /// The configuration of any named prior: `normal`, or `{ name = "vamp", components = 500 }`.
    configurations AnyPriorConfig: PriorConfig = Normal, "prior";

    /// Any named prior.
    modules AnyPrior: Prior {
        "normal" Normal(NormalPriorConfig => NormalPrior) "the standard normal distribution",
        "mixture" Mixture(MixturePriorConfig => MixturePrior)
            "a mixture of normal distributions, components = 10, learnt with the model",
        "vamp" Vamp(VampPriorConfig => VampPrior)
            "the mixture of the posteriors of learnt pseudo-inputs, components = 100 (VampPrior)",
        "flow" Flow(FlowPriorConfig => FlowPrior) "a normalising flow, learnt with the model",
    }

    fn log_prob(&self, z: Tensor<2>, encode: &Encode<'_>) -> Result<Tensor<2>>;
    fn draw(&self, noise: Tensor<2>, uniforms: &[f32], encode: &Encode<'_>) -> Result<Tensor<2>>;
    fn is_normal(&self) -> bool;
    fn start(self, count: usize, rows: &dyn Fn(&[usize]) -> Result<Rows>) -> Result<Self>;
}
