//! The one-centred penalty (Gulrajani et al. 2017, *Improved training of Wasserstein GANs*, eq. 3):
//!
//! > λ E (‖∇D(x̂)‖ − 1)²,  x̂ = x + u (y − x),  x from P, y from Q, u uniform,
//!
//! with one u for each pair of rows, and a length over all of a row's values, whose derivative is finite at 0.

use super::zero_centred::{check, factor};
use super::{Regularise, Slopes};
use crate::Result;
use crate::error::within;
use crate::game::Round;
use crate::objective::{Loss, grad_norm_penalty};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The penalty on lengths of slopes between rows of the data and of the generator.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GradientPenalty {
    /// The weight λ.
    pub weight: f64,
    /// The length that slopes are drawn to.
    pub target: f64,
    /// The number of steps between penalties; each has this factor.
    pub every: u64,
}

impl Default for GradientPenalty {
    fn default() -> Self {
        Self { weight: 10.0, target: 1.0, every: 1 }
    }
}

impl GradientPenalty {
    /// A point between each row of `p` and that of `q`; row i uses number i of `round`'s draws.
    pub fn between(round: &Round) -> Tensor<2> {
        let [n, _] = round.p.dims();
        let share = round.draws.purpose("between").uniforms(0..n as u64, 1);
        let share = share.to_tensor(&round.p.device()).cast(round.p.dtype());
        round.p.clone() + (round.q.clone() - round.p.clone()) * share
    }
}

impl Regularise for GradientPenalty {
    fn check(&self) -> Result<()> {
        within("target", self.target, 0.0, 1e6)?;
        check(self.weight, self.every)
    }

    fn penalty(&self, of: &Slopes, round: &Round) -> Result<Option<Loss>> {
        let Some(factor) = factor(self.weight, self.every, round.step) else { return Ok(None) };
        let loss = grad_norm_penalty(of.frozen, of.live, Self::between(round), self.target)?;
        let [value, surrogate] = [loss.value, loss.surrogate].map(|x| x.mul_scalar(factor));
        Ok(Some(Loss { value, surrogate }))
    }
}
