//! Posteriors of latent variables: a normal distribution whose parameters an encoder computes, or a flow from it.
//!
//! > z₀ ~ N(μ(x), diag σ(x)²),  z = f(z₀; h(x)),  ln q(z | x) = ln N(z₀; μ, σ²) − ln|det ∂f/∂z₀|
//!
//! The flow f is conditioned on further outputs h of the encoder, its context (Rezende & Mohamed 2015, *Variational
//! inference with normalizing flows*, eqs. 13–15; Kingma et al. 2016, *Improved variational inference with inverse
//! autoregressive flow*, eq. 10). A layer with `inverse = true` is evaluated in one pass from z₀ to z: planar and
//! radial flows, and masked layers, which are inverse autoregressive flows then.

use super::{AuxiliaryPosterior, PerRowPosterior};
use crate::Result;
use crate::data::Condition;
use crate::error::{count, inside};
use crate::nn::flow::{AnyBijectionConfig, Bijection, Flow, FlowConfig, MaskedLayerConfig};
use crate::registry::registry;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use std::fmt::Debug;

/// The most values of a flow's context.
const MOST_CONTEXT: u64 = 1 << 12;

/// The part of a posterior after the normal distribution.
pub trait PosteriorConfig: Debug + Send + Sync {
    /// Fails, naming the key, unless every value is valid.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config).
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// How the distribution is fitted to each row, if there is no encoder.
    fn per_row(&self) -> Option<PerRowPosterior> {
        None
    }

    /// The number of normal numbers that the encoder reads beside the row and maps to z; 0 for a posterior with a
    /// density.
    fn noise(&self) -> usize {
        0
    }

    /// The auxiliary variable, if there is one.
    fn auxiliary(&self) -> Option<AuxiliaryPosterior> {
        None
    }

    /// The flow of `width` latent dimensions, if there is one.
    fn flow(&self, width: usize) -> Option<FlowConfig> {
        let _ = width;
        None
    }
}

/// The normal distribution N(μ(x), diag σ(x)²).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NormalPosterior {}

impl PosteriorConfig for NormalPosterior {}

/// A flow from a normal distribution; see the module's head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowPosterior {
    /// The bijections of one round, the nearest to z first.
    pub layers: Vec<AnyBijectionConfig>,
    /// The number of rounds.
    pub depth: usize,
    /// The number of outputs of the encoder that the flow is conditioned on.
    pub context: usize,
}

impl Default for FlowPosterior {
    /// Inverse autoregressive layers with the order of dimensions turned round between them.
    fn default() -> Self {
        let masked = MaskedLayerConfig { inverse: true, ..MaskedLayerConfig::default() };
        let layers = vec![masked.into(), AnyBijectionConfig::Permutation(Default::default())];
        Self { layers, depth: 4, context: 64 }
    }
}

impl PosteriorConfig for FlowPosterior {
    fn check(&self) -> Result<()> {
        count("context", self.context as u64, MOST_CONTEXT)?;
        FlowConfig::new(0).with_depth(self.depth).with_layers(self.layers.clone()).check()
    }

    fn flow(&self, width: usize) -> Option<FlowConfig> {
        let flow = FlowConfig::new(width).with_vector(self.context).with_depth(self.depth);
        Some(flow.with_layers(self.layers.clone()))
    }
}

/// A posterior that can only be drawn from: z = f(x, ε) by the encoder, ε ~ N(0, I). Training needs a
/// [`Matching`](super::Matching) other than by densities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImplicitPosterior {
    /// The number of normal numbers ε.
    pub noise: usize,
}

impl Default for ImplicitPosterior {
    fn default() -> Self {
        Self { noise: 16 }
    }
}

impl PosteriorConfig for ImplicitPosterior {
    fn check(&self) -> Result<()> {
        count("noise", self.noise as u64, MOST_CONTEXT)
    }

    fn noise(&self) -> usize {
        self.noise
    }
}

registry! {
    /// The posterior of the latent variable: `normal`, or `{ name = "flow", layers = [..], depth = 4 }`.
    pub enum AnyPosterior: PosteriorConfig = Normal, "posterior" {
        "normal" Normal(NormalPosterior) "a normal distribution with independent dimensions",
        "flow" Flow(FlowPosterior)
            "a flow from a normal distribution, conditioned on the encoder: planar, radial, inverse autoregressive, \
             coupling",
        "per-row" PerRow(PerRowPosterior)
            "a normal distribution fitted to each row in steps = 30, without an encoder",
        "auxiliary" Auxiliary(AuxiliaryPosterior)
            "a mixture of normal distributions over an auxiliary variable of width = 16 dimensions",
        "implicit" Implicit(ImplicitPosterior)
            "any distribution: the encoder maps the row and noise = 16 normal numbers to z; no density",
    }
}

impl AnyPosterior {
    /// The number of values of an encoder's output for `width` latent dimensions.
    pub(super) fn outputs(&self, width: usize) -> usize {
        if self.noise() > 0 {
            return width;
        }
        if let Some(auxiliary) = self.auxiliary() {
            return 2 * auxiliary.width;
        }
        2 * width + self.flow(width).map_or(0, |flow| flow.vector)
    }

    /// The flow of `width` latent dimensions, if there is one and it fits them.
    pub(super) fn fitted(&self, width: usize) -> Result<Option<FlowConfig>> {
        let Some(flow) = self.flow(width) else { return Ok(None) };
        flow.fits().map_err(|e| inside("posterior", e))?;
        Ok(Some(flow))
    }
}

/// The mean and the logarithm of the standard deviation of a normal distribution of each row, `[n, width]` each.
#[derive(Debug, Clone)]
pub struct Posterior {
    /// The means.
    pub mean: Tensor<2>,
    /// The logarithms of the standard deviations.
    pub log_sd: Tensor<2>,
    /// What a flow from the normal distribution is conditioned on, `[n, context]`; none without a flow.
    pub context: Option<Tensor<2>>,
}

impl Posterior {
    /// `draws` draws of each row from normal numbers, `[n · draws, width]`, those of a row below each other; without a
    /// flow.
    pub(super) fn draw(&self, draws: usize, noise: Tensor<2>) -> Tensor<2> {
        let [mean, log_sd] = [&self.mean, &self.log_sd].map(|of| repeated(of.clone(), draws));
        mean + log_sd.exp() * noise
    }

    /// ln q of the draws of each row, `[n, draws]`, without a flow.
    pub(super) fn log_prob(&self, draws: usize, z: &Tensor<2>) -> Tensor<2> {
        let [mean, log_sd] = [&self.mean, &self.log_sd].map(|of| repeated(of.clone(), draws));
        let scaled = (z.clone() - mean) * log_sd.clone().neg().exp();
        by_row(normal_log_prob(scaled) - log_sd.sum_dim(1), draws)
    }

    /// Draws z and their ln q, `[n, draws]`, through a flow if there is one.
    pub(super) fn draw_with_log_prob(
        &self,
        flow: Option<&Flow>,
        draws: usize,
        noise: Tensor<2>,
    ) -> Result<(Tensor<2>, Tensor<2>)> {
        let z = self.draw(draws, noise);
        let log_q = self.log_prob(draws, &z);
        let (Some(flow), Some(context)) = (flow, &self.context) else { return Ok((z, log_q)) };
        let context = Condition::vector(repeated(context.clone(), draws));
        let (z, log_det) = flow.to_data(z.into(), &context)?;
        Ok((z.value, log_q - by_row(log_det.value, draws)))
    }

    /// KL(q ‖ N(0, I)) of each row in nats, by dimension, `[n, width]`, without a flow.
    pub fn divergences(&self) -> Tensor<2> {
        let square = |x: &Tensor<2>| x.clone() * x.clone();
        let variance = self.log_sd.clone().mul_scalar(2.0).exp();
        let each = square(&self.mean) + variance - self.log_sd.clone().mul_scalar(2.0);
        each.sub_scalar(1.0).mul_scalar(0.5)
    }

    pub(super) fn detach(&self) -> Self {
        Self {
            mean: self.mean.clone().detach(),
            log_sd: self.log_sd.clone().detach(),
            context: self.context.clone().map(Tensor::detach),
        }
    }
}

/// Each row `draws` times, below each other.
pub(super) fn repeated(x: Tensor<2>, draws: usize) -> Tensor<2> {
    let [n, d] = x.dims();
    if draws == 1 {
        return x;
    }
    x.reshape([n, 1, d]).expand([n, draws, d]).reshape([n * draws, d])
}

/// A column of all draws, those of a row below each other, with a line for each row.
pub(super) fn by_row(x: Tensor<2>, draws: usize) -> Tensor<2> {
    let [n, _] = x.dims();
    x.reshape([n / draws, draws])
}

/// log N(z; 0, I) of each row, `[n, 1]`.
pub(super) fn normal_log_prob(z: Tensor<2>) -> Tensor<2> {
    let [_, d] = z.dims();
    (z.clone() * z).sum_dim(1).mul_scalar(-0.5).sub_scalar(0.5 * d as f64 * TAU.ln())
}
