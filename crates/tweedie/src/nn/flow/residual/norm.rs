//! Spectral norms from above, and weights within them.
//!
//! The largest singular value of M lies between two values of its Schatten norm of order q,
//!
//! > ‖M‖₂ ≤ ‖M‖_q = (Σ_i σ_i^q)^(1/q) = (tr G^(q/2))^(1/q) ≤ n^(1/q) ‖M‖₂,  G = MᵀM,
//!
//! with n singular values; nine squarings of G give q = 1024 ([`ORDER`]), where n^(1/q) is 1.004 for n = 64. Power
//! iteration would end below ‖M‖₂. The norm is of degree one and smooth, so that it is the product of M with its own
//! gradient,
//!
//! > ‖M‖_q = ⟨M, ∂‖M‖_q⟩,  ∂‖M‖_q = ‖M‖_q^(1−q) M G^(q/2−1).
//!
//! A convolution that fills the edges of its pictures with zeros is a part of the convolution on a torus, on which the
//! kernel of radius r does not reach across the edge: of side h + r for pictures of side h. Frequencies ω take that one
//! apart (Sedghi, Gupta & Long 2019, *The singular values of convolutional layers*, theorem 6), and
//!
//! > ‖conv‖₂ ≤ max_ω ‖Σ_k W_k e^(iωk)‖₂.
//!
//! On a grid of N < h + r frequencies a side, the maximum over all ω is at most 1/cos(π r/N) times that on the grid,
//! for each side: such a factor holds for every trigonometric polynomial of degree r.

use crate::tensor::detached;
use burn::tensor::{Tensor, TensorData};
use std::f64::consts::{PI, TAU};

/// Squarings of G, and with them the order 2^(squarings + 1) of the Schatten norm.
const SQUARINGS: usize = 9;
/// The order q of the Schatten norm that bounds the spectral norm.
pub const ORDER: usize = 2 << SQUARINGS;
/// The most frequencies of one side.
const MOST_FREQUENCIES: usize = 16;
/// A positive number far below any square norm that matters.
const TINY: f64 = 1e-30;

/// The Schatten norm of a block-diagonal matrix with `blocks`, `[count, m, n]`; differentiable, shape `[1]`.
fn schatten(blocks: Tensor<3>) -> Tensor<1> {
    let plain = detached(blocks.clone());
    let [count, rows, columns] = plain.dims();
    let wide = columns > rows;
    let tall = if wide { plain.swap_dims(1, 2) } else { plain };
    let total = |x: Tensor<3>| x.sum().clamp_min(TINY);
    let of = |total: &Tensor<1>| total.clone().reshape([1, 1, 1]);
    let trace = total(tall.clone().square());
    let mut power = tall.clone().swap_dims(1, 2).matmul(tall.clone()) / of(&trace);
    // ln tr G, ln tr G², ln tr G⁴, …; each power of G is kept with trace 1.
    let mut log_trace = trace.log();
    let mut product = power.clone();
    let lift = ((count * rows.min(columns)) as f64).sqrt();
    for k in 1..=SQUARINGS {
        let square = power.clone().matmul(power.clone());
        let trace = total(power.square());
        power = square / of(&trace);
        log_trace = log_trace.mul_scalar(2.0) + trace.log();
        if k < SQUARINGS {
            product = product.matmul(power.clone()).mul_scalar(lift);
        }
    }
    let norm = log_trace.div_scalar(ORDER as f64).exp();
    let way = tall.clone().matmul(product);
    let along = total(tall * way.clone());
    let way = way * of(&(norm / along));
    let way = if wide { way.swap_dims(1, 2) } else { way };
    (blocks.clone() * if blocks.is_autodiff() { Tensor::from_inner(way) } else { way }).sum()
}

/// An upper bound of the spectral norm of W, `[out, in]`; differentiable, shape `[1]`.
pub fn matrix_norm(weight: Tensor<2>) -> Tensor<1> {
    schatten(weight.unsqueeze())
}

/// An upper bound of the spectral norm of a convolution with W `[out, in, k, k]`, k odd, of pictures with these sides,
/// padded with zeros to keep them; differentiable, shape `[1]`.
pub fn convolution_norm(weight: Tensor<4>, sides: [usize; 2]) -> Tensor<1> {
    let [out, into, kernel, _] = weight.dims();
    if kernel == 1 {
        return matrix_norm(weight.reshape([out, into]));
    }
    let radius = kernel / 2;
    let grid = sides.map(|side| (side + radius).min(MOST_FREQUENCIES.max(4 * radius)));
    let slack = (0..2).map(|side| match grid[side] < sides[side] + radius {
        true => 1.0 / (PI * radius as f64 / grid[side] as f64).cos(),
        false => 1.0,
    });
    let slack: f64 = slack.product();
    let [real, imaginary] = waves(grid, kernel).map(|values| {
        let count = values.len() / (kernel * kernel);
        let data = TensorData::new(values, [kernel * kernel, count]).convert_dtype(weight.dtype());
        let waves = Tensor::<2>::from_data(data, (&weight.device(), weight.dtype()));
        let flat = weight.clone().reshape([out * into, kernel * kernel]);
        flat.matmul(waves).reshape([out, into, count]).permute([2, 0, 1])
    });
    // A complex matrix R + i S as the real one [R −S; S R].
    let above = Tensor::cat(vec![real.clone(), -imaginary.clone()], 2);
    let below = Tensor::cat(vec![imaginary, real], 2);
    schatten(Tensor::cat(vec![above, below], 1)).mul_scalar(slack)
}

/// cos ωk and sin ωk of every place k of a kernel, at half of the grid's frequencies: those of −ω have the same norm.
fn waves(grid: [usize; 2], kernel: usize) -> [Vec<f64>; 2] {
    let frequencies: Vec<[f64; 2]> = (0..=grid[0] / 2)
        .flat_map(|a| (0..grid[1]).map(move |b| [a, b]))
        .map(|at| [0, 1].map(|side| TAU * at[side] as f64 / grid[side] as f64))
        .collect();
    let places = (0..kernel * kernel).map(|k| [k / kernel, k % kernel].map(|k| k as f64));
    let angles: Vec<f64> = places
        .flat_map(|k| frequencies.iter().map(move |at| at[0] * k[0] + at[1] * k[1]))
        .collect();
    [f64::cos, f64::sin].map(|wave| angles.iter().map(|angle| wave(*angle)).collect())
}

/// Weights divided by max(1, `norm`/`limit`).
pub fn limited<const D: usize>(weight: Tensor<D>, norm: Tensor<1>, limit: f64) -> Tensor<D> {
    let factor = norm.clamp_min(limit).recip().mul_scalar(limit);
    weight * factor.reshape([1; D])
}
