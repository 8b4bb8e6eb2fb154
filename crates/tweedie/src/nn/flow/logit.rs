//! The logit of values between −1 and 1, such as those of pictures.
//!
//! > z = log u − log(1 − u),  u = α + (1 − 2α)(x + 1)/2,  log ∂z/∂x = log((1 − 2α)/2) − log u − log(1 − u)
//!
//! (Dinh, Sohl-Dickstein & Bengio 2017, *Density estimation using Real NVP*, sec. 4.1). Dequantised pictures fill
//! [−1, 1] in model units, and noise has no edges. Beyond ±1 the map goes on as a line with the slope at the edge, so
//! that it maps all numbers.

use super::{AnyBijection, Bijection, BijectionConfig, Place};
use crate::data::Condition;
use crate::error::{rows_of, within};
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// Configuration of [`Logit`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogitConfig {
    /// The share α of the unit interval, from 1e-6 to 0.25, that is left free at either end.
    pub margin: f64,
}

impl Default for LogitConfig {
    fn default() -> Self {
        Self { margin: 0.05 }
    }
}

impl BijectionConfig for LogitConfig {
    fn check(&self) -> Result<()> {
        within("margin", self.margin, 1e-6, 0.25)
    }

    fn init(&self, place: &Place, _: &Draws, _: &Device) -> Result<AnyBijection> {
        self.check()?;
        Ok(Logit { margin: self.margin, width: place.width }.into())
    }

    fn parameters(&self, _: &Place) -> u128 {
        0
    }

    fn activations(&self, place: &Place) -> usize {
        4 * place.width
    }
}

/// The logit of each column; see the module's head.
#[derive(Module, Debug)]
pub struct Logit {
    #[module(skip)]
    margin: f64,
    #[module(skip)]
    width: usize,
}

impl Logit {
    /// The slope at the edges, and z at the edge x = 1.
    fn edge(&self) -> (f64, f64) {
        let a = self.margin;
        ((0.5 - a) / (a * (1.0 - a)), ((1.0 - a) / a).ln())
    }

    /// The logarithm of the slope at values x between −1 and 1, from log u + log(1 − u).
    fn log_slope(&self, logs: Dual<2>) -> Dual<2> {
        (-logs).add_scalar((0.5 - self.margin).ln())
    }
}

/// The values within ±`edge`, and what is beyond it; a value beyond has no derivative by the first.
fn within_edge(x: Dual<2>, edge: f64) -> (Dual<2>, Dual<2>) {
    let plain = x.value.clone().detach();
    let beyond = plain.clone().abs().greater_elem(edge);
    let inside: Tensor<2> = beyond.clone().bool_not().float().cast(plain.dtype());
    let ends = plain.sign().mul_scalar(edge).mask_fill(beyond.bool_not(), 0.0);
    let near = x.clone() * inside + ends;
    (near.clone(), x - near)
}

impl Bijection for Logit {
    fn to_noise(&self, x: Dual<2>, _: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        rows_of(x.dims(), self.width)?;
        let (slope, _) = self.edge();
        let (near, beyond) = within_edge(x, 1.0);
        let share = |x: Dual<2>| x.mul_scalar(0.5 - self.margin).add_scalar(0.5).log();
        let (low, high) = (share(near.clone()), share(-near));
        let log_slope = self.log_slope(low.clone() + high.clone());
        Ok((low - high + beyond.mul_scalar(slope), log_slope.sum_dim(1)))
    }

    fn to_data(&self, z: Dual<2>, _: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        rows_of(z.dims(), self.width)?;
        let (slope, edge) = self.edge();
        let (near, beyond) = within_edge(z, edge);
        let log_slope = self.log_slope(near.clone().log_sigmoid() + (-near.clone()).log_sigmoid());
        // σ(z) − 1/2 is half the hyperbolic tangent of z/2.
        let x = near.mul_scalar(0.5).tanh().mul_scalar(0.5 / (0.5 - self.margin));
        Ok((x + beyond.mul_scalar(1.0 / slope), -log_slope.sum_dim(1)))
    }
}
