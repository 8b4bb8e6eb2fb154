//! Kernels as functions of the squared distance s between two points, differentiable.
//!
//! > Gaussian Σ_σ exp(−s/2σ²),  rational quadratic Σ_α (1 + s/2α)^(−α)
//!
//! (Li et al. 2017, *MMD GAN*; Bińkowski, Sutherland, Arbel & Gretton 2018, *Demystifying MMD GANs*, sec. 4). The
//! second falls slowly, so that distant points still attract.

use crate::error::within;
use crate::registry::registry;
use crate::tensor::Dual;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// The most terms of a kernel.
const MOST_TERMS: usize = 64;

/// A kernel of two points by their squared distance.
pub trait MmdKernel: Debug + Send + Sync {
    /// Fails, naming the key, unless every option is valid.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()>;

    /// The kernel at squared distances, elementwise.
    fn of_squares(&self, squares: Dual<2>) -> Dual<2>;
}

registry! {
    /// Any named kernel: `gaussian`, or `{ name = "gaussian", bandwidths = [1.0] }`.
    ///
    /// ```
    /// use tweedie::burn::tensor::{Device, Tensor};
    /// use tweedie::game::AnyMmdKernel;
    /// let kernel = AnyMmdKernel::parse("gaussian, bandwidths = [1.0]")?;
    /// let squares = Tensor::<2>::from_floats([[2.0]], &Device::flex());
    /// let k = kernel.of_squares(squares.into()).value.into_scalar::<f32>();
    /// assert!((k - (-1f32).exp()).abs() < 1e-6);
    /// # Ok::<(), tweedie::Error>(())
    /// ```
    pub enum AnyMmdKernel: MmdKernel = RationalQuadratic, "kernel" {
        "gaussian" Gaussian(GaussianKernel) "Σ exp(−‖x − y‖²/2σ²) over bandwidths σ",
        "rational-quadratic" RationalQuadratic(RationalQuadraticKernel)
            "Σ (1 + ‖x − y‖²/2α)^(−α) over exponents α; the default",
    }
}

/// Fails, naming `key`, unless `values` are positive numbers, and some are there.
fn check_all(key: &str, values: &[f64]) -> Result<()> {
    if values.is_empty() || values.len() > MOST_TERMS {
        let expected = format!("1 to {MOST_TERMS} numbers");
        return Err(Error::config(key, format!("{} numbers", values.len()), expected));
    }
    values.iter().try_for_each(|value| within(key, *value, 1e-6, 1e6))
}

/// The sum of a kernel's terms.
fn sum(terms: impl Iterator<Item = Dual<2>>, like: &Dual<2>) -> Dual<2> {
    terms.reduce(|sum, term| sum + term).unwrap_or_else(|| like.clone().mul_scalar(0.0))
}

/// A sum of Gaussian kernels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianKernel {
    /// The bandwidths σ, in model units or in units of the critic's outputs.
    pub bandwidths: Vec<f64>,
}

impl Default for GaussianKernel {
    fn default() -> Self {
        Self { bandwidths: vec![0.05, 0.1, 0.2, 0.5, 1.0, 2.0] }
    }
}

impl MmdKernel for GaussianKernel {
    fn check(&self) -> Result<()> {
        check_all("bandwidths", &self.bandwidths)
    }

    fn of_squares(&self, squares: Dual<2>) -> Dual<2> {
        let term = |s: &f64| squares.clone().mul_scalar(-0.5 / (s * s)).exp();
        sum(self.bandwidths.iter().map(term), &squares)
    }
}

/// A sum of rational quadratic kernels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RationalQuadraticKernel {
    /// The exponents α.
    pub alphas: Vec<f64>,
}

impl Default for RationalQuadraticKernel {
    fn default() -> Self {
        Self { alphas: vec![0.2, 0.5, 1.0, 2.0, 5.0] }
    }
}

impl MmdKernel for RationalQuadraticKernel {
    fn check(&self) -> Result<()> {
        check_all("alphas", &self.alphas)
    }

    fn of_squares(&self, squares: Dual<2>) -> Dual<2> {
        let term = |alpha: &f64| {
            let base = squares.clone().mul_scalar(0.5 / alpha).add_scalar(1.0);
            base.log().mul_scalar(-alpha).exp()
        };
        sum(self.alphas.iter().map(term), &squares)
    }
}
