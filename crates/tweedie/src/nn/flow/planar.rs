//! Planar maps: a ridge across all columns.
//!
//! > z = x + û tanh(wᵀx + b),  log|det ∂z/∂x| = ln(1 + wᵀû (1 − tanh²(wᵀx + b)))
//!
//! (Rezende & Mohamed 2015, *Variational inference with normalizing flows*, eqs. 10–12). It rises along w if wᵀû > −1,
//! which holds for any u with (appendix A.1)
//!
//! > û = u + (m(wᵀu) − wᵀu) w/‖w‖²,  wᵀû = m(wᵀu),  m(a) = softplus(a) + δ − 1.
//!
//! The paper has δ = 0; with δ = [`LEAST_SLOPE`] no slope is less than that, and round trips keep their digits. With
//! t = wᵀx + b the inverse is the root of t + wᵀû tanh t = wᵀz + b, which lies within |wᵀû| of the right-hand side. It
//! is found by Newton's method held in that bracket. Two last steps carry the derivatives of first and second order.
//!
//! Turned round, x takes the closed form and z the root. The map starts as the identity, up to rounding.

use super::parameters::RowParameters;
use super::root::root;
use super::{AnyBijection, Bijection, BijectionConfig, Place};
use crate::data::Condition;
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor, activation};
use serde::{Deserialize, Serialize};

/// The least slope along w.
const LEAST_SLOPE: f64 = 1e-3;
/// ‖w‖² below which wᵀû is taken as wᵀu, which is about 0.
const LEAST_SQUARE: f64 = 1e-24;

/// Configuration of [`Planar`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanarConfig {
    /// Whether the map is turned round: samples take the closed form, densities the root.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub inverse: bool,
}

impl BijectionConfig for PlanarConfig {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn init(&self, place: &Place, draws: &Draws, device: &Device) -> Result<AnyBijection> {
        let d = place.width;
        let uniforms = draws.purpose("w").uniforms(0..1, d);
        let bound = 1.0 / (d as f64).sqrt();
        let w: Vec<f64> =
            uniforms.values().iter().map(|u| bound * (2.0 * f64::from(*u) - 1.0)).collect();
        // m(a) = 0 at this a.
        let a = (1.0 - LEAST_SLOPE).exp_m1().ln();
        let square = w.iter().map(|w| w * w).sum::<f64>().max(LEAST_SQUARE);
        let u = w.iter().map(|w| a * w / square);
        let values = w.iter().copied().chain(u).chain([0.0]).map(|v| v as f32).collect();
        let parameters = RowParameters::new(values, place, draws, device);
        Ok(Planar { parameters, inverse: self.inverse }.into())
    }

    fn parameters(&self, place: &Place) -> u128 {
        RowParameters::count(2 * place.width + 1, place)
    }

    fn activations(&self, place: &Place) -> usize {
        3 * place.width + 16
    }
}

/// A planar map; see the module's head.
#[derive(Module, Debug)]
pub struct Planar {
    /// w, u and b.
    parameters: RowParameters,
    #[module(skip)]
    inverse: bool,
}

/// The ridges of the rows of a batch, or one for all.
struct Ridge {
    /// w, `[n, width]`.
    w: Tensor<2>,
    /// û, `[n, width]`.
    u: Tensor<2>,
    /// b, `[n, 1]`.
    b: Tensor<2>,
    /// 1 + wᵀû, `[n, 1]`: the slope at the ridge.
    steep: Tensor<2>,
}

impl Ridge {
    fn new(parameters: Tensor<2>) -> Self {
        let d = parameters.dims()[1] / 2;
        let part = |from, len| parameters.clone().narrow(1, from, len);
        let (w, u, b) = (part(0, d), part(d, d), part(2 * d, 1));
        let square = w.clone().square().sum_dim(1);
        let small = square.clone().detach().lower_scalar(LEAST_SQUARE);
        let along = (w.clone() * u.clone()).sum_dim(1);
        let steep = activation::softplus(along.clone(), 1.0).add_scalar(LEAST_SLOPE);
        let turn = steep.clone().sub_scalar(1.0) - along.clone();
        let turn = turn / square.mask_fill(small.clone(), 1.0);
        let steep = steep.mask_where(small, along.add_scalar(1.0));
        Self { u: u + w.clone() * turn, w, b, steep }
    }

    /// wᵀx + b.
    fn height(&self, x: Dual<2>) -> Dual<2> {
        (x * self.w.clone()).sum_dim(1) + self.b.clone()
    }

    /// t + wᵀû tanh t, and its slope; the slope is a sum of squares, since 1 + wᵀû may be close to 0.
    fn rise(&self, t: Dual<2>) -> (Dual<2>, Dual<2>) {
        let h = t.clone().tanh();
        let square = h.clone().square();
        let slope = square.clone() + (-square).add_scalar(1.0) * self.steep.clone();
        (t + h * self.steep.clone().sub_scalar(1.0), slope)
    }

    /// z and the logarithm of the slope at x.
    fn forward(&self, x: Dual<2>) -> (Dual<2>, Dual<2>) {
        let t = self.height(x.clone());
        let (_, slope) = self.rise(t.clone());
        (x + t.tanh() * self.u.clone(), slope.log())
    }

    /// x with the image z, and the logarithm of the slope of the inverse.
    fn inverse(&self, z: Dual<2>) -> (Dual<2>, Dual<2>) {
        let end = self.height(z.clone());
        let root: Dual<2> = self.solve(end.value.clone().detach()).into();
        let slope = self.rise(root.clone()).1.value.detach();
        // Each step adds an order to the derivatives that are those of the inverse.
        let step = |t: Dual<2>| {
            let off = end.clone() - self.rise(t.clone()).0;
            t + off * slope.clone().recip()
        };
        let t = step(step(root));
        let (_, slope) = self.rise(t.clone());
        (z - t.tanh() * self.u.clone(), -slope.log())
    }

    /// t with t + wᵀû tanh t = `end`, without derivatives.
    fn solve(&self, end: Tensor<2>) -> Tensor<2> {
        let plain = |part: &Tensor<2>| part.clone().detach();
        let of = Self {
            w: plain(&self.w),
            u: plain(&self.u),
            b: plain(&self.b),
            steep: plain(&self.steep),
        };
        let reach = of.steep.clone().sub_scalar(1.0).abs();
        let bracket = [end.clone() - reach.clone(), end.clone() + reach];
        root(&end, bracket, end.clone(), |t| {
            let (value, slope) = of.rise(t.into());
            (value.value, slope.value)
        })
    }
}

impl Planar {
    fn ridge(&self, x: &Dual<2>, condition: &Condition) -> Result<Ridge> {
        Ok(Ridge::new(self.parameters.forward(&x.value, condition)?))
    }
}

impl Bijection for Planar {
    fn to_noise(&self, x: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        let ridge = self.ridge(&x, condition)?;
        Ok(if self.inverse { ridge.inverse(x) } else { ridge.forward(x) })
    }

    fn to_data(&self, z: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        let ridge = self.ridge(&z, condition)?;
        Ok(if self.inverse { ridge.forward(z) } else { ridge.inverse(z) })
    }
}
