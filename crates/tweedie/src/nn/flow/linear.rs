//! Linear maps of all columns, with triangular factors.
//!
//! > z = P L (U + diag s) x,  log|det ∂z/∂x| = Σ_j log s_j,
//!
//! with P a fixed permutation, L unit lower triangular, U strictly upper triangular and s positive (Kingma & Dhariwal
//! 2018, *Glow: generative flow with invertible 1×1 convolutions*, sec. 3.2, eqs. 10–11). The map starts as P alone:
//! the order of columns that [`Permutation`] has in this round. A pass takes two products with triangular matrices. The
//! inverse solves both systems by substitution, which halves the columns until one is left: the first half from its own
//! rows of the system, the second from its rows less what the first adds to them.
//!
//! |log s| is bounded by [`MOST_LOG_SCALE`], approached as u/(1 + |u|/most): a layer stretches by a bounded factor, so
//! that round trips keep their digits.

use super::permutation::columns;
use super::pixels::{columns_and_pixels, fits, per_pixel};
use super::{AnyBijection, Bijection, BijectionConfig, Permutation, Place, soft_bounded};
use crate::data::Condition;
use crate::error::rows_of;
use crate::nn::layers::{constant, project};
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// The bound on |log s|.
const MOST_LOG_SCALE: f64 = 3.0;

/// Configuration of [`Triangular`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TriangularConfig {
    /// Whether the map is of a picture's channels, alike at every pixel (a 1 × 1 convolution), and not of all columns.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub channels: bool,
}

impl BijectionConfig for TriangularConfig {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn fits(&self, place: &Place) -> Result<()> {
        fits(place, self.channels)
    }

    fn init(&self, place: &Place, _: &Draws, device: &Device) -> Result<AnyBijection> {
        let (d, pixels) = columns_and_pixels(place, self.channels);
        Ok(Triangular {
            factors: constant(0.0, [d, d], device),
            log_scale: constant(0.0, [d], device),
            permutation: Permutation::new(columns(&Place { width: d, ..*place }))?,
            pixels,
        }
        .into())
    }

    fn parameters(&self, place: &Place) -> u128 {
        let d = columns_and_pixels(place, self.channels).0 as u128;
        d * d + d
    }

    fn activations(&self, place: &Place) -> usize {
        3 * place.width
    }
}

/// A linear map P L (U + diag s); see the module's head.
#[derive(Module, Debug)]
pub struct Triangular {
    /// L below the diagonal and U above it, `[columns, columns]`; the diagonal does not count.
    factors: Param<Tensor<2>>,
    /// log s before its bound, `[columns]`.
    log_scale: Param<Tensor<1>>,
    permutation: Permutation,
    /// The number of pixels at which the map is applied to the channels of a picture; 1 for rows that are none.
    #[module(skip)]
    pixels: usize,
}

/// The three factors of a linear map.
struct Factors {
    /// L without its diagonal.
    lower: Tensor<2>,
    /// U, strictly upper triangular.
    upper: Tensor<2>,
    /// log s, `[1, width]`.
    log_scale: Tensor<2>,
}

/// y with (I + T) y = x for each row x, where T is strictly triangular.
fn solve(x: Tensor<2>, triangle: &Tensor<2>, lower: bool) -> Tensor<2> {
    let [_, d] = x.dims();
    if d < 2 {
        return x;
    }
    let (half, rest) = (d / 2, d - d / 2);
    let corner = |from, len| triangle.clone().narrow(0, from, len).narrow(1, from, len);
    let (first, second) = (x.clone().narrow(1, 0, half), x.narrow(1, half, rest));
    let (first, second) = if lower {
        let first = solve(first, &corner(0, half), lower);
        let block = triangle.clone().narrow(0, half, rest).narrow(1, 0, half);
        let known = tweedie_ops::linear(first.clone(), block, None, None);
        (first, solve(second - known, &corner(half, rest), lower))
    } else {
        let second = solve(second, &corner(half, rest), lower);
        let block = triangle.clone().narrow(0, 0, half).narrow(1, half, rest);
        let known = tweedie_ops::linear(second.clone(), block, None, None);
        (solve(first - known, &corner(0, half), lower), second)
    };
    tweedie_ops::join(first, second)
}

impl Triangular {
    /// The factors, for rows of the map's width.
    fn factors(&self, x: &Dual<2>) -> Result<Factors> {
        let ([n, d], all) = (x.dims(), self.factors.val());
        let [_, width] = all.dims();
        rows_of([n, d], width)?;
        let log_scale = self.log_scale.val().reshape([1, d]);
        Ok(Factors {
            lower: all.clone().tril(-1),
            upper: all.triu(1),
            log_scale: soft_bounded(log_scale.into(), MOST_LOG_SCALE).value,
        })
    }
}

impl Factors {
    /// log|det ∂z/∂x| of each of `rows` rows.
    fn log_det(&self, rows: usize) -> Tensor<2> {
        self.log_scale.clone().sum_dim(1).expand([rows, 1])
    }
}

impl Bijection for Triangular {
    fn to_noise(&self, x: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        per_pixel(x, self.pixels, |x| {
            let (of, [n, _]) = (self.factors(&x)?, x.dims());
            let y = project(x.clone(), of.upper.clone(), None) + x * of.log_scale.clone().exp();
            let y = project(y.clone(), of.lower.clone(), None) + y;
            Ok((self.permutation.to_noise(y, condition)?.0, of.log_det(n).into()))
        })
    }

    fn to_data(&self, z: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        per_pixel(z, self.pixels, |z| {
            let (of, [n, _]) = (self.factors(&z)?, z.dims());
            let (y, _) = self.permutation.to_data(z, condition)?;
            // (U + diag s) x = y is (I + U diag(1/s)) (s x) = y.
            let shrink = of.log_scale.clone().neg().exp();
            let upper = of.upper.clone() * shrink.clone();
            let y = y.linear(|y| solve(y, &of.lower, true));
            let x = y.linear(|y| solve(y, &upper, false)) * shrink;
            Ok((x, of.log_det(n).neg().into()))
        })
    }
}
