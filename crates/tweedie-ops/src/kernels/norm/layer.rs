//! Layer and root-mean-square normalisation: each row by itself.
//!
//! The backward pass computes mean and variance of a row again, from a row in the cache. Root-mean-square normalisation
//! has mean 0 and variance Σ x²/m.

use super::{Affine, AffineGradient, Shape};
use crate::kernels::{SERIAL, each, vectorized, with_scratch};
use pulp::Simd;

/// Σ (x − mean)^power of a row, for a power of 1 or 2.
#[inline(always)]
fn power_sum<S: Simd>(simd: S, row: &[f32], mean: f32, square: bool) -> f32 {
    let center = simd.splat_f32s(mean);
    let add = |sum: S::f32s, d: S::f32s| {
        if square { simd.mul_add_e_f32s(d, d, sum) } else { simd.add_f32s(sum, d) }
    };
    let (head, tail) = S::as_simd_f32s(row);
    let (fours, rest) = head.as_chunks::<4>();
    let mut sums = [simd.splat_f32s(0.0); 4];
    for four in fours {
        for (sum, x) in sums.iter_mut().zip(four) {
            *sum = add(*sum, simd.sub_f32s(*x, center));
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum = add(*sum, simd.sub_f32s(*x, center));
    }
    let (low, high) = (simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
    let mut sum = simd.add_f32s(low, high);
    if !tail.is_empty() {
        // The lanes beyond the tail hold the mean, and so add nothing.
        let mut last = [mean; 16];
        last[..tail.len()].copy_from_slice(tail);
        let last = simd.partial_load_f32s(&last[..S::F32_LANES]);
        sum = add(sum, simd.sub_f32s(last, center));
    }
    simd.reduce_sum_f32s(sum)
}

/// Mean and 1/√(variance + ε) of a row.
#[inline(always)]
fn row_moments<S: Simd>(simd: S, row: &[f32], kind: Kind) -> (f32, f32) {
    let count = row.len() as f32;
    let mean = if kind.centered { power_sum(simd, row, 0.0, false) / count } else { 0.0 };
    let variance = power_sum(simd, row, mean, true) / count;
    (mean, 1.0 / (variance + kind.epsilon).sqrt())
}

#[derive(Clone, Copy)]
struct Kind {
    centered: bool,
    epsilon: f32,
}

vectorized! {
    /// Rows of one sample, normalised.
    fn normalise<'a>(
        simd: S, kind: Kind, x: &'a [f32], gain: &'a [f32], offset: &'a [f32], y: &'a mut [f32],
    ) -> () {
        let channels = gain.len();
        let (gain, gain_tail) = S::as_simd_f32s(gain);
        let (offset, offset_tail) = S::as_simd_f32s(offset);
        for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
            let (mean, inverse) = row_moments(simd, x, kind);
            let (mean, inverse) = (simd.splat_f32s(mean), simd.splat_f32s(inverse));
            let (x, x_tail) = S::as_simd_f32s(x);
            let (y, y_tail) = S::as_mut_simd_f32s(y);
            for (((x, y), gain), offset) in x.iter().zip(y).zip(gain).zip(offset) {
                let hat = simd.mul_f32s(simd.sub_f32s(*x, mean), inverse);
                *y = simd.mul_add_e_f32s(hat, *gain, *offset);
            }
            if !x_tail.is_empty() {
                let x = simd.partial_load_f32s(x_tail);
                let hat = simd.mul_f32s(simd.sub_f32s(x, mean), inverse);
                let gain = simd.partial_load_f32s(gain_tail);
                let offset = simd.partial_load_f32s(offset_tail);
                simd.partial_store_f32s(y_tail, simd.mul_add_e_f32s(hat, gain, offset));
            }
        }
    }
}

vectorized! {
    /// dx of rows of one sample, and Σ dy and Σ dy x̂ over them.
    fn slopes<'a>(
        simd: S, kind: Kind, x: &'a [f32], dy: &'a [f32], gain: &'a [f32], dx: &'a mut [f32],
        sums: &'a mut [f32], products: &'a mut [f32],
    ) -> () {
        sums.fill(0.0);
        products.fill(0.0);
        let channels = gain.len();
        let count = channels as f32;
        let (gain, gain_tail) = S::as_simd_f32s(gain);
        let gain_tail = if gain_tail.is_empty() {
            simd.splat_f32s(0.0)
        } else {
            simd.partial_load_f32s(gain_tail)
        };
        let (sums, sums_tail) = S::as_mut_simd_f32s(sums);
        let (products, products_tail) = S::as_mut_simd_f32s(products);
        let rows = x.chunks_exact(channels).zip(dy.chunks_exact(channels));
        for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(channels)) {
            let (mean, inverse) = row_moments(simd, x, kind);
            let (mean, spread) = (simd.splat_f32s(mean), simd.splat_f32s(inverse));
            let (x, x_tail) = S::as_simd_f32s(x);
            let (dy, dy_tail) = S::as_simd_f32s(dy);
            let (dx, dx_tail) = S::as_mut_simd_f32s(dx);
            let mut first = simd.splat_f32s(0.0);
            let mut second = first;
            let added = sums.iter_mut().zip(&mut *products);
            for (((x, dy), gain), (sum, product)) in x.iter().zip(dy).zip(gain).zip(added) {
                let hat = simd.mul_f32s(simd.sub_f32s(*x, mean), spread);
                *sum = simd.add_f32s(*sum, *dy);
                *product = simd.mul_add_e_f32s(*dy, hat, *product);
                let slope = simd.mul_f32s(*dy, *gain);
                first = simd.add_f32s(first, slope);
                second = simd.mul_add_e_f32s(slope, hat, second);
            }
            if !x_tail.is_empty() {
                let hat = simd.sub_f32s(simd.partial_load_f32s(x_tail), mean);
                let hat = simd.mul_f32s(hat, spread);
                let dy = simd.partial_load_f32s(dy_tail);
                let sum = simd.add_f32s(simd.partial_load_f32s(sums_tail), dy);
                simd.partial_store_f32s(sums_tail, sum);
                let product = simd.partial_load_f32s(products_tail);
                let product = simd.mul_add_e_f32s(dy, hat, product);
                simd.partial_store_f32s(products_tail, product);
                let slope = simd.mul_f32s(dy, gain_tail);
                first = simd.add_f32s(first, slope);
                second = simd.mul_add_e_f32s(slope, hat, second);
            }
            let lift = if kind.centered { -simd.reduce_sum_f32s(first) * inverse / count } else { 0.0 };
            let tilt = -simd.reduce_sum_f32s(second) * inverse / count;
            let (lift, tilt) = (simd.splat_f32s(lift), simd.splat_f32s(tilt));
            for (((x, dy), gain), dx) in x.iter().zip(dy).zip(gain).zip(dx) {
                let hat = simd.mul_f32s(simd.sub_f32s(*x, mean), spread);
                let line = simd.mul_add_e_f32s(hat, tilt, lift);
                *dx = simd.mul_add_e_f32s(*dy, simd.mul_f32s(*gain, spread), line);
            }
            if !x_tail.is_empty() {
                let hat = simd.sub_f32s(simd.partial_load_f32s(x_tail), mean);
                let line = simd.mul_add_e_f32s(simd.mul_f32s(hat, spread), tilt, lift);
                let dy = simd.partial_load_f32s(dy_tail);
                let value = simd.mul_add_e_f32s(dy, simd.mul_f32s(gain_tail, spread), line);
                simd.partial_store_f32s(dx_tail, value);
            }
        }
    }
}

/// Numbers in a block of rows.
fn block(shape: &Shape) -> usize {
    shape.channels * 8192usize.div_ceil(shape.channels).max(64)
}

/// The rows of all samples as rows of one sample, if samples have no scales or shifts of their own.
fn folded(shape: Shape, affine: &Affine) -> Shape {
    match (affine.scale, affine.shift) {
        (None, None) => Shape { samples: 1, rows: shape.samples * shape.rows, ..shape },
        _ => shape,
    }
}

fn forward(shape: Shape, kind: Kind, x: &[f32], affine: &Affine, y: &mut [f32]) {
    affine.check(&shape);
    let shape = folded(shape, affine);
    assert!(x.len() == shape.len() && y.len() == shape.len());
    if shape.is_empty() {
        return;
    }
    let (channels, block) = (shape.channels, block(&shape));
    let sample = shape.rows * channels;
    let blocks = x.chunks(sample).zip(y.chunks_mut(sample)).enumerate().flat_map(|(i, (x, y))| {
        x.chunks(block).zip(y.chunks_mut(block)).map(move |(x, y)| (i, x, y))
    });
    each(x.len() >= SERIAL, blocks, |(sample, x, y)| {
        with_scratch(2 * channels, |scratch| {
            let (gain, offset) = scratch.split_at_mut(channels);
            for (c, (gain, offset)) in gain.iter_mut().zip(&mut *offset).enumerate() {
                *gain = affine.gain(sample * channels + c, c);
                *offset = affine.offset(sample * channels + c, c);
            }
            normalise(kind, x, gain, offset, y);
        });
    });
}

fn backward(
    shape: Shape,
    kind: Kind,
    x: &[f32],
    affine: &Affine,
    dy: &[f32],
    dx: &mut [f32],
    gradient: AffineGradient,
) {
    affine.check(&shape);
    let apart = gradient.scale.is_some() || gradient.shift.is_some();
    let shape = if apart { shape } else { folded(shape, affine) };
    assert!([x.len(), dy.len(), dx.len()] == [shape.len(); 3]);
    let channels = shape.channels;
    let mut sums = vec![0.0f64; shape.samples * channels * 2];
    if !shape.is_empty() {
        let (sample, block) = (shape.rows * channels, block(&shape));
        let per_sample = sample.div_ceil(block);
        let mut partial = vec![0.0f64; shape.samples * per_sample * channels * 2];
        let all = x.chunks(sample).zip(dy.chunks(sample)).zip(dx.chunks_mut(sample)).enumerate();
        let blocks = all.flat_map(|(i, ((x, dy), dx))| {
            let blocks = x.chunks(block).zip(dy.chunks(block)).zip(dx.chunks_mut(block));
            blocks.map(move |((x, dy), dx)| (i, x, dy, dx))
        });
        let tasks = blocks.zip(partial.chunks_mut(2 * channels));
        each(x.len() >= SERIAL, tasks, |((sample, x, dy, dx), into)| {
            with_scratch(3 * channels, |scratch| {
                let (gain, rest) = scratch.split_at_mut(channels);
                let (a, b) = rest.split_at_mut(channels);
                for (c, gain) in gain.iter_mut().enumerate() {
                    *gain = affine.gain(sample * channels + c, c);
                }
                slopes(kind, x, dy, gain, dx, a, b);
                for ((into, a), b) in into.as_chunks_mut::<2>().0.iter_mut().zip(a).zip(b) {
                    *into = [f64::from(*a), f64::from(*b)];
                }
            });
        });
        for (block, part) in partial.chunks(2 * channels).enumerate() {
            let sums = &mut sums[block / per_sample * 2 * channels..][..2 * channels];
            sums.iter_mut().zip(part).for_each(|(sum, v)| *sum += v);
        }
    }
    affine.gradients(&sums, channels, gradient);
}

/// Layer normalisation of each row: y from x.
pub fn layer_norm(shape: Shape, epsilon: f32, x: &[f32], affine: &Affine, y: &mut [f32]) {
    forward(shape, Kind { centered: true, epsilon }, x, affine, y);
}

/// The gradients of [`layer_norm`] by x and by the parts of the affine map.
pub fn layer_norm_backward(
    shape: Shape,
    epsilon: f32,
    x: &[f32],
    affine: &Affine,
    dy: &[f32],
    dx: &mut [f32],
    gradient: AffineGradient,
) {
    backward(shape, Kind { centered: true, epsilon }, x, affine, dy, dx, gradient);
}

/// Root-mean-square normalisation of each row: y from x.
pub fn rms_norm(shape: Shape, epsilon: f32, x: &[f32], affine: &Affine, y: &mut [f32]) {
    forward(shape, Kind { centered: false, epsilon }, x, affine, y);
}

/// The gradients of [`rms_norm`] by x and by the parts of the affine map.
pub fn rms_norm_backward(
    shape: Shape,
    epsilon: f32,
    x: &[f32],
    affine: &Affine,
    dy: &[f32],
    dx: &mut [f32],
    gradient: AffineGradient,
) {
    backward(shape, Kind { centered: false, epsilon }, x, affine, dy, dx, gradient);
}
