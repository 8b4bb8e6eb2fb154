//! Zero-centred penalties (Mescheder, Geiger & Nowozin 2018, *Which training methods for GANs do actually converge?*,
//! eqs. 9 and 10), with ∇ the gradient by the row:
//!
//! > R₁ = ½ γ E_P ‖∇D‖²,  R₂ = ½ γ E_Q ‖∇D‖².
//!
//! Lazily, every k-th step has k times the penalty (Karras et al. 2020, *Analyzing and improving the image quality of
//! StyleGAN*, app. B).

use super::{Regularise, Slopes};
use crate::Result;
use crate::error::{count, within};
use crate::game::Round;
use crate::objective::{Loss, of_gradient};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The zero-centred penalty at rows of the data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct R1 {
    /// The weight γ.
    pub weight: f64,
    /// The number of steps between penalties; each has this factor.
    pub every: u64,
}

/// The zero-centred penalty at rows of the generator.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct R2 {
    /// The weight γ.
    pub weight: f64,
    /// The number of steps between penalties; each has this factor.
    pub every: u64,
}

impl Default for R1 {
    fn default() -> Self {
        Self { weight: 1.0, every: 1 }
    }
}

impl Default for R2 {
    fn default() -> Self {
        Self { weight: 1.0, every: 1 }
    }
}

/// Fails, naming the key, unless weight and interval are valid.
pub(super) fn check(weight: f64, every: u64) -> Result<()> {
    within("weight", weight, 0.0, 1e9)?;
    count("every", every, 1 << 20)
}

/// The factor of a penalty at a step; none in steps without it.
pub(super) fn factor(weight: f64, every: u64, step: u64) -> Option<f64> {
    step.is_multiple_of(every.max(1)).then_some(weight * every as f64)
}

/// ½ γ ‖∇D‖² at rows `x`.
fn zero_centred(of: &Slopes, x: &Tensor<2>, factor: Option<f64>) -> Result<Option<Loss>> {
    let Some(factor) = factor else { return Ok(None) };
    let half = |g: Tensor<2>| g.square().sum_dim(1).mul_scalar(0.5 * factor);
    of_gradient(of.frozen, of.live, x.clone(), half).map(Some)
}

impl Regularise for R1 {
    fn check(&self) -> Result<()> {
        check(self.weight, self.every)
    }

    fn penalty(&self, of: &Slopes, round: &Round) -> Result<Option<Loss>> {
        zero_centred(of, &round.p, factor(self.weight, self.every, round.step))
    }
}

impl Regularise for R2 {
    fn check(&self) -> Result<()> {
        check(self.weight, self.every)
    }

    fn penalty(&self, of: &Slopes, round: &Round) -> Result<Option<Loss>> {
        zero_centred(of, &round.q, factor(self.weight, self.every, round.step))
    }
}
