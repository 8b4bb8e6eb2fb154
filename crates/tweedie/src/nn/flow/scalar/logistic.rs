//! Mixtures of logistic distribution functions, seen through a logit.
//!
//! > z = logit F(x),  F(x) = Σ_k π_k σ((x − μ_k) e^(−s_k))
//!
//! (Ho et al. 2019, *Flow++*, eqs. 13–16). It is the deep sigmoidal layer of Huang et al. 2018, *Neural autoregressive
//! flows*, eq. 8, with slopes e^(−s) and offsets −μ e^(−s). With f the density of F,
//!
//! > log ∂z/∂x = log f − log F − log(1 − F),
//!
//! all three as log-sum-exp over components, so that far tails stay exact: there z is affine in x. The inverse lies
//! between the least and the greatest μ_k + e^(s_k) z, since each component alone has its inverse there. It is found by
//! Newton's method held in that bracket; a last step carries the derivatives. |s| and the logits of π are bounded by
//! [`MOST`]. The parameters of a value are logits, then μ, then s.

use super::{ScalarMap, soft_bounded};
use crate::Result;
use crate::error::count;
use crate::nn::flow::root::root;
use crate::tensor::Dual;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The bound on |s| and on the logits of π.
const MOST: f64 = 5.0;

/// The logit of a mixture of logistic distribution functions; see the module's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogisticMixture {
    /// The number of components, 1 to 256.
    pub components: usize,
}

impl Default for LogisticMixture {
    fn default() -> Self {
        Self { components: 8 }
    }
}

/// The components of each value's mixture, `[n, m, components]` each.
struct Mixture {
    log_weight: Dual<3>,
    mean: Dual<3>,
    log_scale: Dual<3>,
}

impl Mixture {
    fn new(parameters: Dual<2>, columns: usize, components: usize) -> Self {
        let [n, _] = parameters.dims();
        let all = parameters.reshape([n, columns, 3 * components]);
        let part =
            |k| all.clone().linear(|all: Tensor<3>| all.narrow(2, k * components, components));
        let logits = soft_bounded(part(0), MOST);
        Self {
            log_weight: logits.clone() - logits.log_sum_exp(2),
            mean: part(1),
            log_scale: soft_bounded(part(2), MOST),
        }
    }

    /// z and the logarithm of its slope at x, `[n, m]` each.
    fn forward(&self, x: Dual<2>) -> (Dual<2>, Dual<2>) {
        let [n, m] = x.dims();
        let u = (x.reshape([n, m, 1]) - self.mean.clone()) * (-self.log_scale.clone()).exp();
        let (below, above) = (u.clone().log_sigmoid(), (-u).log_sigmoid());
        let density = below.clone() + above.clone() - self.log_scale.clone();
        let of = |part: Dual<3>| (part + self.log_weight.clone()).log_sum_exp(2).reshape([n, m]);
        let (below, above, density) = (of(below), of(above), of(density));
        (below.clone() - above.clone(), density - below - above)
    }

    /// The same without derivatives.
    fn detached(&self) -> Self {
        let plain = |part: &Dual<3>| Dual::from(part.value.clone().detach());
        Self {
            log_weight: plain(&self.log_weight),
            mean: plain(&self.mean),
            log_scale: plain(&self.log_scale),
        }
    }

    /// x with z(x) = `z`, without derivatives.
    fn solve(&self, z: Tensor<2>) -> Tensor<2> {
        let of = self.detached();
        let [n, m] = z.dims();
        let wide = z.clone().reshape([n, m, 1]);
        let ends = of.mean.value.clone() + of.log_scale.value.clone().exp() * wide;
        let low = ends.clone().min_dim(2).reshape([n, m]);
        let high = ends.max_dim(2).reshape([n, m]);
        let start = (low.clone() + high.clone()).mul_scalar(0.5);
        root(&z, [low, high], start, |x| {
            let (value, log_slope) = of.forward(x.into());
            (value.value, log_slope.value.exp())
        })
    }
}

impl ScalarMap for LogisticMixture {
    fn check(&self) -> Result<()> {
        count("components", self.components as u64, 256)
    }

    fn parameters(&self) -> usize {
        3 * self.components
    }

    /// Components that start alike stay alike.
    fn initial_gain(&self) -> f64 {
        1.0
    }

    fn to_noise(&self, x: Dual<2>, parameters: Dual<2>) -> (Dual<2>, Dual<2>) {
        let of = Mixture::new(parameters, x.dims()[1], self.components);
        let (z, log_slope) = of.forward(x);
        (z, log_slope.sum_dim(1))
    }

    fn to_data(&self, z: Dual<2>, parameters: Dual<2>) -> (Dual<2>, Dual<2>) {
        let of = Mixture::new(parameters, z.dims()[1], self.components);
        let x = of.solve(z.value.clone().detach());
        // One step of Newton's method: by the implicit function theorem its derivatives are those of the inverse.
        let (at, log_slope) = of.forward(x.clone().into());
        let steep = (-log_slope.value.detach()).exp();
        let x = (z - at) * steep + x;
        let (_, log_slope) = of.forward(x.clone());
        (x, -log_slope.sum_dim(1))
    }
}
