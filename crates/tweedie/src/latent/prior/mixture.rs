//! Mixtures of normal distributions with independent dimensions, as priors.
//!
//! > p(z) = Σ_k π_k N(z; μ_k, diag σ_k²),  π = softmax(ℓ)
//!
//! with ℓ, μ and ln σ learnt with the model (Dilokthanakul et al. 2016, *Deep unsupervised clustering with Gaussian
//! mixture variational autoencoders*; the mixture of Tomczak & Welling 2018, *VAE with a VampPrior*, eq. 10 without
//! pseudo-inputs). The squared distances of all draws to all means are three products of matrices.

use super::{AnyPrior, Encode, MOST_COMPONENTS, Prior, PriorConfig};
use crate::data::Space;
use crate::error::{count, rows_of};
use crate::latent::MOST_LOG_SD;
use crate::nn::conditional::choose;
use crate::nn::flow::soft_bounded;
use crate::tensor::{host_column, select_rows};
use crate::{Draws, Result};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

/// The standard deviation of the initial means.
const SPREAD: f64 = 0.5;

/// Configuration of [`MixturePrior`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MixturePriorConfig {
    /// The number of components.
    pub components: usize,
}

impl Default for MixturePriorConfig {
    fn default() -> Self {
        Self { components: 10 }
    }
}

impl PriorConfig for MixturePriorConfig {
    fn check(&self) -> Result<()> {
        count("components", self.components as u64, MOST_COMPONENTS)
    }

    fn parameters(&self, width: usize, _: &Space) -> u128 {
        self.components as u128 * (2 * width as u128 + 1)
    }

    fn init(&self, width: usize, _: &Space, draws: &Draws, device: &Device) -> Result<AnyPrior> {
        self.check()?;
        let k = self.components;
        let means = draws.purpose("means").normals(0..k as u64, width).to_tensor(device);
        Ok(MixturePrior {
            logits: Param::from_tensor(Tensor::zeros([k], device)),
            means: Param::from_tensor(means.mul_scalar(SPREAD)),
            log_sds: Param::from_tensor(Tensor::zeros([k, width], device)),
        }
        .into())
    }
}

/// A mixture of normal distributions; see the module's head.
#[derive(Module, Debug)]
pub struct MixturePrior {
    /// ℓ, `[components]`.
    logits: Param<Tensor<1>>,
    /// μ, `[components, width]`.
    means: Param<Tensor<2>>,
    /// ln σ before it is bounded, `[components, width]`.
    log_sds: Param<Tensor<2>>,
}

impl MixturePrior {
    fn log_sds(&self) -> Tensor<2> {
        soft_bounded(self.log_sds.val().into(), MOST_LOG_SD).value
    }
}

impl Prior for MixturePrior {
    fn log_prob(&self, z: Tensor<2>, _: &Encode<'_>) -> Result<Tensor<2>> {
        let [components, width] = self.means.dims();
        rows_of(z.dims(), width)?;
        let logits = self.logits.val().reshape([1, components]);
        let [n, _] = z.dims();
        let all = tweedie_ops::log_sum_exp(logits.clone()).reshape([1, 1]);
        let each = log_components(z, self.means.val(), self.log_sds()) + (logits - all);
        Ok(tweedie_ops::log_sum_exp(each).reshape([n, 1]))
    }

    fn draw(&self, noise: Tensor<2>, uniforms: &[f32], _: &Encode<'_>) -> Result<Tensor<2>> {
        let logits = host_column(&self.logits.val().reshape([-1, 1]))?;
        let logits: Vec<f32> = logits.into_iter().map(|logit| logit as f32).collect();
        let chosen = uniforms.iter().map(|u| choose(&logits, *u).0);
        Ok(of_components(noise, self.means.val(), self.log_sds(), &chosen.collect::<Vec<_>>()))
    }
}

/// ln N(z_i; μ_k, diag σ_k²) for all rows of `z`, `[n, width]`, and all components, `[components, width]`;
/// `[n, components]`.
pub(in crate::latent) fn log_components(
    z: Tensor<2>,
    means: Tensor<2>,
    log_sds: Tensor<2>,
) -> Tensor<2> {
    let [k, d] = means.dims();
    // Distances are differences of large squares; from the components' centre they are smaller.
    let centre = means.clone().detach().mean_dim(0);
    let (z, means) = (z - centre.clone(), means - centre);
    let precision = log_sds.clone().mul_scalar(-2.0).exp();
    let scaled = means.clone() * precision.clone();
    let squares = (means * scaled.clone()).sum_dim(1) + log_sds.sum_dim(1).mul_scalar(2.0);
    let form = (z.clone() * z.clone()).matmul(precision.transpose())
        - z.matmul(scaled.transpose()).mul_scalar(2.0)
        + squares.reshape([1, k]);
    form.add_scalar(d as f64 * TAU.ln()).mul_scalar(-0.5)
}

/// μ_k + σ_k ε of the component k of each row of noise ε, `[n, width]`.
pub(in crate::latent) fn of_components(
    noise: Tensor<2>,
    means: Tensor<2>,
    log_sds: Tensor<2>,
    components: &[usize],
) -> Tensor<2> {
    let [means, log_sds] = [means, log_sds].map(|of| select_rows(&of, components));
    means + log_sds.exp() * noise
}
