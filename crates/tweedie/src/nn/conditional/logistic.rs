//! Mixtures of discretised logistic distributions, of integers.
//!
//! An integer v with bin [a, b) has, with σ the logistic function, A = (a − μ) e^{−s} and B = (b − μ) e^{−s},
//!
//! > P(v) = Σ_k π_k (σ(B_k) − σ(A_k)),  log(σ(B) − σ(A)) = log σ(B) + log σ(−A) + log(1 − e^{A − B}),
//!
//! exactly, at any scale (Salimans et al. 2017, *PixelCNN++*, eqs. 1–2, have an approximation for small probabilities,
//! by which the probabilities do not sum to one). The bins of the limits of a column are open to their side, so that
//! all integers between them have probabilities that sum to one. Parameters are logits, then μ in model units, then s
//! relative to the spread of the data, bounded by [`MOST`].

use super::{AnyConditional, Conditional, Random, choose};
use crate::data::{Coordinate, Kind};
use crate::error::count;
use crate::nn::flow::soft_bounded;
use crate::tensor::Dual;
use crate::{Error, Result};
use burn::tensor::{Bool, Tensor};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use tweedie_ops::LogisticMixture;

/// The bound on |s|.
const MOST: f64 = 9.0;
/// The logarithm of the scale where s is 0.
const USUAL: f64 = -2.0;

/// A mixture of discretised logistic distributions; see the module's head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscretisedLogistic {
    /// The number of components, 1 to 256.
    pub components: usize,
    /// Half a bin, in model units, of a column.
    #[serde(skip)]
    half: f64,
    /// The centre of the bin of the integer 0, in model units.
    #[serde(skip)]
    origin: f64,
    /// The centres of the least and of the greatest integer in model units, of a column that has them.
    #[serde(skip)]
    ends: (Option<f64>, Option<f64>),
}

impl Default for DiscretisedLogistic {
    fn default() -> Self {
        Self { components: 5, half: 0.0, origin: 0.0, ends: (None, None) }
    }
}

impl DiscretisedLogistic {
    /// The lower and upper edge of the bin of each value. Neighbours share an edge to the bit.
    fn edges(&self, x: &Tensor<3>) -> [Tensor<3>; 2] {
        let step = 2.0 * self.half;
        let index = x.clone().sub_scalar(self.origin).div_scalar(step).round();
        let edge = |shift: f64| index.clone().add_scalar(shift).mul_scalar(step);
        [-0.5, 0.5].map(|shift| edge(shift).add_scalar(self.origin))
    }

    /// The mixture as an operation.
    fn fused(&self) -> LogisticMixture {
        let end = |end: Option<f64>, none: f32| end.map_or(none, |end| end as f32);
        LogisticMixture {
            components: self.components,
            step: (2.0 * self.half) as f32,
            origin: self.origin as f32,
            ends: [end(self.ends.0, f32::NEG_INFINITY), end(self.ends.1, f32::INFINITY)],
            most: MOST as f32,
            usual: USUAL as f32,
        }
    }

    /// 1 where the bin of a value ends below, and where it ends above; 0 where it is open.
    fn ends(&self, x: &Tensor<3>) -> [Tensor<3>; 2] {
        let flag = |ends: Tensor<3, Bool>| ends.float().cast(x.dtype());
        let near = 0.5 * self.half;
        let low = self.ends.0.map(|end| flag(x.clone().greater_elem(end + near)));
        let high = self.ends.1.map(|end| flag(x.clone().lower_elem(end - near)));
        [low, high].map(|ends| ends.unwrap_or_else(|| x.ones_like()))
    }
}

impl Conditional for DiscretisedLogistic {
    fn check(&self) -> Result<()> {
        count("components", self.components as u64, 256)
    }

    fn for_column(&self, column: &Coordinate) -> Result<AnyConditional> {
        let Kind::Quantised { low, high } = &column.kind else {
            let problem = format!("logistic-mixture, of the real numbers in '{}'", column.name);
            let expected = "gaussian-mixture";
            return Err(Error::config("numbers", problem, expected));
        };
        let centre = |v: i64| (v as f64 + 0.5 - column.shift) / column.scale;
        let ends = (low.map(centre), high.map(centre));
        let (half, origin) = (0.5 / column.scale, centre(0));
        Ok(Self { components: self.components, half, origin, ends }.into())
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
        if parameters.tangent.is_none() {
            let x = x.value.clone().detach().reshape([n, m]);
            if let Some(log_p) =
                tweedie_ops::logistic_mixture(x, parameters.value.clone(), self.fused())
            {
                return log_p.into();
            }
        }
        let part = |from| parameters.clone().linear(|p: Tensor<3>| p.narrow(2, from, k));
        let log_scale = soft_bounded(part(2 * k), MOST).add_scalar(USUAL);
        let (logits, mean, shrink) = (part(0), part(k), (-log_scale).exp());
        let x = x.value.detach();
        let ([low, high], [from, to]) = (self.edges(&x), self.ends(&x));
        let width = Dual::from(high.clone() - low.clone()) * shrink.clone();
        let above = (Dual::from(high) - mean.clone()) * shrink.clone();
        let below = (Dual::from(low) - mean) * shrink;
        // An open bin has σ(B) = 1 above, σ(A) = 0 below.
        let gap = log_one_minus_exp(width) * (from.clone() * to.clone());
        let log_p = above.log_sigmoid() * to + (-below).log_sigmoid() * from + gap;
        let all = logits.clone().log_sum_exp(2);
        ((log_p + logits).log_sum_exp(2) - all).reshape([n, m])
    }

    fn draw(&self, parameters: &[f32], random: Random, out: &mut [f32]) {
        let k = self.components;
        let (chosen, _) = choose(&parameters[..k], random.choice);
        let s = f64::from(parameters[2 * k + chosen]);
        let s = s / (1.0 + s.abs() / MOST) + USUAL;
        let u = f64::from(random.uniform).clamp(1e-9, 1.0 - 1e-9);
        let x = f64::from(parameters[k + chosen]) + s.exp() * (u / (1.0 - u)).ln();
        let ((low, high), step) = (self.ends, 2.0 * self.half);
        let x = self.origin + step * ((x - self.origin) / step).round();
        out[0] = x.clamp(low.unwrap_or(f64::MIN), high.unwrap_or(f64::MAX)) as f32;
    }
}

/// log(1 − e^{−w}) of w > 0.
fn log_one_minus_exp(w: Dual<3>) -> Dual<3> {
    // 1 − e^{−w} = tanh(w/2) (1 + e^{−w}).
    let least = f64::from(f32::MIN_POSITIVE).sqrt();
    let half = w.clone().mul_scalar(0.5);
    let tanh = half.tanh();
    tanh.add_scalar(least).log() + (-w).softplus()
}
