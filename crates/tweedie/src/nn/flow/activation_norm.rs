//! Activation normalisation: a shift and a scale of each column, which start from data.
//!
//! > z = (x − m) e^(−s),  log|det ∂z/∂x| = −Σ_j s_j
//!
//! (Kingma & Dhariwal 2018, *Glow: generative flow with invertible 1×1 convolutions*, sec. 3.1). m and s are parameters
//! like others, but for their start: training sets them to the mean and the logarithm of the standard deviation of each
//! column of the first batch, as it arrives from the layers before ([`Bijection::start`]). A flow that has seen no data
//! has m = s = 0, the identity.
//!
//! |s| is bounded by [`MOST_LOG_SCALE`], approached as u/(1 + |u|/most), so that the map stays invertible; it starts at
//! no more than nine tenths of that. A column that is constant in the batch, up to rounding, starts with s = 0. For
//! pictures, m and s may be of a channel and the same at all pixels, as in the paper.

use super::pixels::{columns_and_pixels, fits, per_pixel, unfold};
use super::{AnyBijection, Bijection, BijectionConfig, Place, soft_bounded};
use crate::data::{Condition, Rows};
use crate::error::rows_of;
use crate::nn::layers::constant;
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// The bound on |s|.
const MOST_LOG_SCALE: f64 = 10.0;
/// The standard deviation, relative to a column's largest value, below which single precision sees rounding alone.
const ROUNDING: f64 = 1e-6;

/// Configuration of [`ActivationNorm`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ActivationNormConfig {
    /// Whether shift and scale are of a picture's channels, alike at every pixel, and not of each column.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub channels: bool,
}

impl BijectionConfig for ActivationNormConfig {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn fits(&self, place: &Place) -> Result<()> {
        fits(place, self.channels)
    }

    fn init(&self, place: &Place, _: &Draws, device: &Device) -> Result<AnyBijection> {
        let (columns, pixels) = columns_and_pixels(place, self.channels);
        let zeros = || constant(0.0, [columns], device);
        Ok(ActivationNorm { shift: zeros(), log_scale: zeros(), pixels }.into())
    }

    fn parameters(&self, place: &Place) -> u128 {
        2 * columns_and_pixels(place, self.channels).0 as u128
    }

    fn activations(&self, place: &Place) -> usize {
        2 * place.width
    }
}

/// A shift and a scale of each column; see the module's head.
#[derive(Module, Debug)]
pub struct ActivationNorm {
    /// m, `[columns]`.
    shift: Param<Tensor<1>>,
    /// s before its bound, `[columns]`.
    log_scale: Param<Tensor<1>>,
    /// The number of pixels at which columns, the channels of a picture, are alike; 1 for rows that are none.
    #[module(skip)]
    pixels: usize,
}

/// The mean of a column and s before its bound, with which the column has mean 0 and variance 1.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    let most = values.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
    if !sd.is_finite() {
        return (0.0, 0.0);
    }
    if sd <= ROUNDING * most {
        return (mean, 0.0);
    }
    let log_scale = sd.ln().clamp(-0.9 * MOST_LOG_SCALE, 0.9 * MOST_LOG_SCALE);
    (mean, log_scale / (1.0 - log_scale.abs() / MOST_LOG_SCALE))
}

impl ActivationNorm {
    /// m and s, `[1, width]` each, for rows of the map's width.
    fn shift_and_log_scale(&self, x: &Dual<2>) -> Result<(Tensor<2>, Tensor<2>)> {
        let ([n, d], [width]) = (x.dims(), self.shift.dims());
        rows_of([n, d], width)?;
        let log_scale = Dual::from(self.log_scale.val().reshape([1, d]));
        let log_scale = soft_bounded(log_scale, MOST_LOG_SCALE).value;
        Ok((self.shift.val().reshape([1, d]), log_scale))
    }
}

impl Bijection for ActivationNorm {
    fn to_noise(&self, x: Dual<2>, _: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        per_pixel(x, self.pixels, |x| {
            let ((shift, log_scale), [n, _]) = (self.shift_and_log_scale(&x)?, x.dims());
            let log_shrink = log_scale.neg();
            let log_det = log_shrink.clone().sum_dim(1).expand([n, 1]);
            Ok(((x - shift) * log_shrink.exp(), log_det.into()))
        })
    }

    fn to_data(&self, z: Dual<2>, _: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        per_pixel(z, self.pixels, |z| {
            let ((shift, log_scale), [n, _]) = (self.shift_and_log_scale(&z)?, z.dims());
            let log_det = log_scale.clone().sum_dim(1).expand([n, 1]);
            Ok((z * log_scale.exp() + shift, log_det.into()))
        })
    }

    fn start(self, x: Tensor<2>, condition: &Condition) -> Result<(Self, Tensor<2>)> {
        let [n, _] = x.dims();
        if n == 0 {
            return Ok((self, x));
        }
        let rows = Rows::from_tensor(&unfold(x.clone().into(), self.pixels)?.value)?;
        let d = rows.width();
        let column = |j| rows.iter().map(|row| f64::from(row[j])).collect::<Vec<f64>>();
        let (shift, log_scale): (Vec<f64>, Vec<f64>) = (0..d).map(|j| moments(&column(j))).unzip();
        let param = |values: Vec<f64>, like: &Param<Tensor<1>>| {
            let (kind, device) = (like.val().dtype(), like.val().device());
            let data = TensorData::new(values, [d]).convert_dtype(kind);
            Param::from_tensor(Tensor::from_data(data, (&device, kind)))
        };
        let (shift, log_scale) = (param(shift, &self.shift), param(log_scale, &self.log_scale));
        let started = Self { shift, log_scale, ..self };
        let (z, _) = started.to_noise(x.into(), condition)?;
        Ok((started, z.value))
    }
}
