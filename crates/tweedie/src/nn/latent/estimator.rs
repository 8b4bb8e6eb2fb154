//! The bound that training maximises, and the estimator of its gradient.
//!
//! With w̃_j = w_j/Σ w the gradient by the decoder is Σ_j w̃_j ∇ ln w_j for all of them. By the encoder it is
//!
//! > pathwise:    Σ_j w̃_j (∂ln w_j/∂z_j · ∂z_j/∂φ − ∂ln q/∂φ),
//! > path-only:   Σ_j w̃_j ∂ln w_j/∂z_j · ∂z_j/∂φ,
//! > doubly:      Σ_j w̃_j² ∂ln w_j/∂z_j · ∂z_j/∂φ
//!
//! (Kingma & Welling 2014; Roeder, Wu & Duvenaud 2017, *Sticking the landing*, eq. 8; Tucker et al. 2019, *Doubly
//! reparameterized gradient estimators for Monte Carlo objectives*, eq. 8). The first and the last have one mean. The
//! second has it for k = 1 alone; there it vanishes at the exact posterior, draw by draw. The signal-to-noise ratio of
//! the pathwise gradient falls like 1/√k, and that of the doubly reparameterised gradient grows like √k.

use super::{LatentVariable, by_row, normal_log_prob};
use crate::data::Condition;
use crate::error::count;
use crate::registry::registry;
use crate::{Draws, Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The most draws of a row in training.
const MOST_DRAWS: u64 = 1 << 14;

registry! {
    /// The estimator of the encoder's gradient.
    pub word Estimator = Pathwise {
        "pathwise" Pathwise "through the draws and through log q",
        "path-only" PathOnly "through the draws alone (sticking the landing); unbiased for k = 1",
        "doubly" Doubly "doubly reparameterised: less noise than pathwise for k above 1",
    }
}

/// The bound that training maximises: the mean of m logarithms of the mean of k weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bound {
    /// The number of weights in a logarithm: 1 for the evidence lower bound, more for importance-weighted ones.
    pub k: usize,
    /// The number of logarithms that are averaged.
    pub m: usize,
    /// The estimator of the encoder's gradient.
    pub gradient: Estimator,
}

impl Default for Bound {
    fn default() -> Self {
        Self { k: 1, m: 1, gradient: Estimator::default() }
    }
}

impl Bound {
    /// The number of draws of a row.
    pub fn draws(&self) -> usize {
        self.k.saturating_mul(self.m)
    }

    /// Fails, naming the key, unless every value is valid.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        count("k", self.k as u64, MOST_DRAWS)?;
        count("m", self.m as u64, MOST_DRAWS)?;
        if self.draws() as u64 > MOST_DRAWS {
            let found = format!("{} with k = {}", self.m, self.k);
            return Err(Error::config("m", found, format!("at most {MOST_DRAWS} draws in all")));
        }
        if self.gradient == Estimator::PathOnly && self.k > 1 {
            let expected = "doubly: for k above 1 this estimator is biased";
            return Err(Error::config("gradient", "path-only", expected));
        }
        Ok(())
    }
}

/// The mean of the bound's m logarithms from ln w, `[n, m k]`; `[n, 1]`.
fn mean_of_logarithms(log_weights: Tensor<2>, k: usize) -> Tensor<2> {
    let [n, draws] = log_weights.dims();
    let m = draws / k;
    if k == 1 {
        return log_weights.mean_dim(1);
    }
    let each = tweedie_ops::log_sum_exp(log_weights.reshape([n * m, k]));
    each.reshape([n, m]).sub_scalar((k as f64).ln()).mean_dim(1)
}

/// The weights of each logarithm over their sum, `[n, m k]`, without derivatives.
fn shares(log_weights: &Tensor<2>, k: usize) -> Tensor<2> {
    let [n, draws] = log_weights.dims();
    let each = log_weights.clone().detach().reshape([n * (draws / k), k]);
    let all = tweedie_ops::log_sum_exp(each.clone());
    (each - all.reshape([n * (draws / k), 1])).exp().reshape([n, draws])
}

impl LatentVariable {
    /// An estimate of the training bound of each row of `x`, `[n, 1]`, and an expression of the same shape whose
    /// derivatives estimate those of the bound. Normal numbers are `draws.normals` of the rows, in the order of the
    /// batch.
    ///
    /// # Errors
    /// [`Error::Shape`] if batch or condition do not fit.
    pub fn bound(
        &self,
        x: &Tensor<2>,
        condition: &Condition,
        draws: &Draws,
    ) -> Result<[Tensor<2>; 2]> {
        let bound = &self.bound;
        let ([n, _], count, k) = (x.dims(), bound.draws(), bound.k);
        let noise = draws.normals(0..(n * count) as u64, self.width).to_tensor(&x.device());
        let posterior = self.posterior(x.clone(), condition)?;
        let z = posterior.draw(count, noise.cast(x.dtype()));
        if k == 1 && bound.gradient == Estimator::Pathwise {
            let seen = self.log_likelihood(x, z, condition, count)?.mean_dim(1);
            let value = seen - posterior.divergences().sum_dim(1);
            return Ok([value.clone(), value]);
        }
        let fixed = posterior.detach();
        let log_weights = |z: Tensor<2>| {
            let q = if bound.gradient == Estimator::Pathwise { &posterior } else { &fixed };
            let log_q = q.log_prob(count, &z);
            let log_prior = by_row(normal_log_prob(z.clone()), count);
            Ok::<_, Error>(self.log_likelihood(x, z, condition, count)? + log_prior - log_q)
        };
        if bound.gradient != Estimator::Doubly {
            let value = mean_of_logarithms(log_weights(z)?, k);
            return Ok([value.clone(), value]);
        }
        // The derivative by z is multiplied by the shares, once here and once below.
        let still = z.clone().detach();
        let own = shares(&log_weights(still.clone())?, k);
        let z = still.clone() + (z - still) * own.clone().reshape([n * count, 1]);
        let log_weights = log_weights(z)?;
        let value = mean_of_logarithms(log_weights.clone().detach(), k);
        let m = bound.m as f64;
        Ok([value, (log_weights * own).sum_dim(1).div_scalar(m)])
    }
}
