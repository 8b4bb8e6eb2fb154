//! What maps by the distribution function of a mixture share: their parameters, and their inverse.
//!
//! A map is z = G⁻¹(F(x)) with F(x) = Σ_k π_k G((x − μ_k) e^(−s_k)). Its inverse lies between the least and the
//! greatest μ_k + e^(s_k) z, since each component alone has its inverse there. It is found by Newton's method held in
//! that bracket; a last step carries the derivatives. |s| and the logits of π are bounded by [`MOST`]. The parameters
//! of a value are logits, then μ, then s.

use super::{ScalarMap, soft_bounded};
use crate::Result;
use crate::error::count;
use crate::nn::flow::root::root;
use crate::tensor::Dual;
use burn::tensor::Tensor;
use std::fmt::Debug;

/// The bound on |s| and on the logits of π.
const MOST: f64 = 5.0;

/// The components of each value's mixture, `[n, m, components]` each.
pub struct Mixture {
    pub log_weight: Dual<3>,
    pub mean: Dual<3>,
    pub log_scale: Dual<3>,
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

    /// (x − μ) e^(−s) of each component.
    pub fn standardised(&self, x: Dual<2>) -> Dual<3> {
        let [n, m] = x.dims();
        (x.reshape([n, m, 1]) - self.mean.clone()) * (-self.log_scale.clone()).exp()
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
    fn solve(
        &self,
        z: Tensor<2>,
        forward: impl Fn(&Self, Dual<2>) -> (Dual<2>, Dual<2>),
    ) -> Tensor<2> {
        let of = self.detached();
        let [n, m] = z.dims();
        let wide = z.clone().reshape([n, m, 1]);
        let ends = of.mean.value.clone() + of.log_scale.value.clone().exp() * wide;
        let low = ends.clone().min_dim(2).reshape([n, m]);
        let high = ends.max_dim(2).reshape([n, m]);
        let start = (low.clone() + high.clone()).mul_scalar(0.5);
        root(&z, [low, high], start, |x| {
            let (value, log_slope) = forward(&of, x.into());
            (value.value, log_slope.value.exp())
        })
    }
}

/// A map by the distribution function of a mixture.
pub trait MixtureMap: Debug + Send + Sync {
    /// The number of components, 1 to 256.
    fn components(&self) -> usize;

    /// z and the logarithm of its slope at x, `[n, m]` each.
    fn forward(of: &Mixture, x: Dual<2>) -> (Dual<2>, Dual<2>);
}

impl<M: MixtureMap> ScalarMap for M {
    fn check(&self) -> Result<()> {
        count("components", self.components() as u64, 256)
    }

    fn parameters(&self) -> usize {
        3 * self.components()
    }

    /// Components that start alike stay alike.
    fn initial_gain(&self) -> f64 {
        1.0
    }

    fn to_noise(&self, x: Dual<2>, parameters: Dual<2>) -> (Dual<2>, Dual<2>) {
        let of = Mixture::new(parameters, x.dims()[1], self.components());
        let (z, log_slope) = M::forward(&of, x);
        (z, log_slope.sum_dim(1))
    }

    fn to_data(&self, z: Dual<2>, parameters: Dual<2>) -> (Dual<2>, Dual<2>) {
        let of = Mixture::new(parameters, z.dims()[1], self.components());
        let x = of.solve(z.value.clone().detach(), M::forward);
        // One step of Newton's method: by the implicit function theorem its derivatives are those of the inverse.
        let (at, log_slope) = M::forward(&of, x.clone().into());
        let steep = (-log_slope.value.detach()).exp();
        let x = (z - at) * steep + x;
        let (_, log_slope) = M::forward(&of, x.clone());
        (x, -log_slope.sum_dim(1))
    }
}
