//! Mixtures of normal distribution functions, seen through the inverse of one.
//!
//! > z = Φ⁻¹(F(x)),  F(x) = Σ_k π_k Φ((x − μ_k) e^(−s_k))
//!
//! As the last layer, whose z is N(0, 1), it gives x the density of F: a masked network with this map is MADE with a
//! mixture of Gaussians for each conditional (Papamakarios, Pavlakou & Murray 2017, *Masked autoregressive flow*,
//! sec. 4.1).
//!
//! With u_k = (x − μ_k) e^(−s_k), where F is below ½, and otherwise with the signs of u and z turned,
//!
//! > log F = ln Σ_k π_k Φ(u_k),  z = Φ⁻¹(F),  log ∂z/∂x = ln Σ_k r_k h(u_k) e^(−s_k) − ln h(z),
//!
//! with r_k = π_k Φ(u_k)/F and h = φ/Φ, in which nothing cancels far out: there z is affine in x.

use super::mixture::{Mixture, MixtureMap};
use crate::tensor::Dual;
use serde::{Deserialize, Serialize};
use std::f64::consts::FRAC_1_SQRT_2;

/// Φ⁻¹ of a mixture of normal distribution functions; see the module's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NormalMixture {
    /// The number of components, 1 to 256.
    pub components: usize,
}

impl Default for NormalMixture {
    fn default() -> Self {
        Self { components: 10 }
    }
}

impl MixtureMap for NormalMixture {
    fn components(&self) -> usize {
        self.components
    }

    fn forward(of: &Mixture, x: Dual<2>) -> (Dual<2>, Dual<2>) {
        let [n, m] = x.dims();
        let u = of.standardised(x);
        // −1 where F is above ½, and 1 elsewhere; F to a few digits is enough.
        let (plain, weight) =
            (u.value.clone().detach(), of.log_weight.value.clone().detach().exp());
        let upper = (plain.mul_scalar(FRAC_1_SQRT_2).erf() * weight).sum_dim(2).greater_elem(0.0);
        let sign = upper.float().cast(u.value.dtype()).mul_scalar(-2.0).add_scalar(1.0);
        let u = u * sign.clone();
        // Far out terms are large, and r is of their differences.
        let (log_below, log_hazard) = u.normal_tail();
        let terms = log_below + of.log_weight.clone();
        let most = terms.value.clone().detach().max_dim(2);
        let terms = terms - most.clone();
        let sum = terms.clone().log_sum_exp(2);
        let slopes = terms - sum.clone() + log_hazard - of.log_scale.clone();
        let log_f = sum + most;
        let z = log_f.log_normal_quantile();
        let log_slope = slopes.log_sum_exp(2) - z.clone().log_normal_hazard();
        ((z * sign).reshape([n, m]), log_slope.reshape([n, m]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Draws;
    use crate::nn::flow::ScalarMap;
    use burn::tensor::{DType, Device, Tensor};
    use std::f64::consts::TAU;

    /// With z ~ N(0, 1), x has the density of the mixture, in the middle and far out; and back again.
    #[test]
    fn values_have_the_density_of_the_mixture() {
        let (n, k) = (300, 4);
        let device = Device::flex();
        let doubles = |purpose: &str, width: usize, sd: f64| {
            let normals = Draws::new(5).purpose(purpose).normals(0..n, width).to_tensor(&device);
            normals.cast(DType::F64).mul_scalar(sd)
        };
        let parameters: Tensor<2> = doubles("parameters", 3 * k, 1.5);
        let host = |x: &Tensor<2>| x.to_data().try_into_vec::<f64>().unwrap();
        for spread in [1.0, 30.0, 1e5] {
            let x = doubles("x", 1, spread);
            let map = NormalMixture { components: k };
            let (z, log_det) = map.to_noise(x.clone().into(), parameters.clone().into());
            let (back, _) = map.to_data(z.value.clone().into(), parameters.clone().into());
            let (x, z, back) = (host(&x), host(&z.value), host(&back.value));
            let (log_det, parameters) = (host(&log_det.value), host(&parameters));
            for (i, p) in parameters.chunks(3 * k).enumerate() {
                let soft = |u: f64| u / (1.0 + u.abs() / 5.0);
                let total: f64 = p[..k].iter().map(|logit| soft(*logit).exp()).sum();
                let terms = (0..k).map(|j| {
                    let (log_weight, s) = (soft(p[j]) - total.ln(), soft(p[2 * k + j]));
                    let u = (x[i] - p[k + j]) * (-s).exp();
                    log_weight - s - 0.5 * (u * u + TAU.ln())
                });
                let terms: Vec<f64> = terms.collect();
                let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let log_p = most + terms.iter().map(|t| (t - most).exp()).sum::<f64>().ln();
                let found = log_det[i] - 0.5 * (z[i] * z[i] + TAU.ln());
                let error = (found - log_p).abs() / (1.0 + log_p.abs());
                assert!(error < 1e-12, "{found} for {log_p} at {}", x[i]);
                let error = (back[i] - x[i]).abs() / (1.0 + x[i].abs());
                assert!(error < 1e-10, "{} for {}", back[i], x[i]);
            }
        }
    }
}
