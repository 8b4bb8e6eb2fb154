//! Mixtures of Gaussians.
//!
//! > p(x) = Σ_k π_k N(x; μ_k, e^{2 s_k})
//!
//! (Papamakarios, Pavlakou & Murray 2017, *Masked autoregressive flow*, appendix: MADE with a mixture of Gaussians).
//! |s| is bounded by [`MOST`], so that no component collapses onto a value that repeats. Parameters are logits, then μ,
//! then s.

use super::{AnyConditional, Conditional, Random, choose};
use crate::data::{Coordinate, Kind};
use crate::error::count;
use crate::nn::flow::soft_bounded;
use crate::tensor::Dual;
use crate::{Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use std::ops::Range;

/// The bound on |s|.
const MOST: f64 = 7.0;

/// A mixture of Gaussians; see the module's head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GaussianConditional {
    /// The number of components, 1 to 256.
    pub components: usize,
}

impl Default for GaussianConditional {
    fn default() -> Self {
        Self { components: 10 }
    }
}

impl Conditional for GaussianConditional {
    fn check(&self) -> Result<()> {
        count("components", self.components as u64, 256)
    }

    fn for_column(&self, column: &Coordinate) -> Result<AnyConditional> {
        match &column.kind {
            Kind::Category { .. } | Kind::Quantised { .. } | Kind::Identifier { .. } => {
                let problem = format!("gaussian-mixture, and '{}' holds integers", column.name);
                let expected = "categorical or logistic-mixture";
                Err(Error::config("integers", problem, expected))
            }
            _ => Ok(self.clone().into()),
        }
    }

    fn parameters(&self) -> usize {
        3 * self.components
    }

    /// Components that start alike stay alike.
    fn initial_gain(&self) -> f64 {
        1.0
    }

    fn scales(&self) -> Range<usize> {
        2 * self.components..3 * self.components
    }

    fn log_prob(&self, x: Dual<3>, parameters: Dual<3>) -> Dual<2> {
        let ([n, m, _], k) = (x.dims(), self.components);
        let part = |from| parameters.clone().linear(|p: Tensor<3>| p.narrow(2, from, k));
        let (logits, log_sd) = (part(0), soft_bounded(part(2 * k), MOST));
        let z = (x - part(k)) * (-log_sd.clone()).exp();
        let density = z.square().mul_scalar(-0.5) - log_sd;
        let all = logits.clone().log_sum_exp(2);
        let sum = (density + logits).log_sum_exp(2) - all;
        sum.add_scalar(-0.5 * TAU.ln()).reshape([n, m])
    }

    fn draw(&self, parameters: &[f32], random: Random, out: &mut [f32]) {
        let k = self.components;
        let (chosen, _) = choose(&parameters[..k], random.choice);
        let s = parameters[2 * k + chosen];
        let s = s / (1.0 + s.abs() / MOST as f32);
        out[0] = parameters[k + chosen] + s.exp() * random.normal;
    }
}
