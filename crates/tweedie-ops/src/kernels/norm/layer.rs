//! Layer and root-mean-square normalisation: each row by itself.
//!
//! The backward pass computes mean and variance of a row again, from a row in the cache. Root-mean-square normalisation
//! has mean 0 and variance Σ x²/m.

use super::{Affine, AffineGradient, Shape};
use crate::kernels::gemm::{load, store};
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

/// A vector of `count` values from `first` on, or of one value if there are none.
#[inline(always)]
fn channels_or<S: Simd>(
    simd: S,
    values: Option<&[f32]>,
    first: usize,
    count: usize,
    or: f32,
) -> S::f32s {
    match values {
        Some(values) => load(simd, &values[first..][..count]),
        None => simd.splat_f32s(or),
    }
}

vectorized! {
    /// w (1 + s) and b (1 + s) + t of the channels of a sample.
    fn gain_and_offset<'a>(
        simd: S, affine: Affine<'a>, sample: usize, gain: &'a mut [f32], offset: &'a mut [f32],
    ) -> () {
        let (lanes, channels) = (S::F32_LANES, gain.len());
        let one = simd.splat_f32s(1.0);
        let parts = gain.chunks_mut(lanes).zip(offset.chunks_mut(lanes)).enumerate();
        for (k, (gain, offset)) in parts {
            let part = |values: Option<&[f32]>, first: usize, or: f32| {
                channels_or(simd, values, first + k * lanes, gain.len(), or)
            };
            let scale = simd.add_f32s(one, part(affine.scale, sample * channels, 0.0));
            let shift = part(affine.shift, sample * channels, 0.0);
            let (weight, bias) = (part(affine.weight, 0, 1.0), part(affine.bias, 0, 0.0));
            store(simd, gain, simd.mul_f32s(weight, scale));
            store(simd, offset, simd.mul_add_f32s(bias, scale, shift));
        }
    }
}

vectorized! {
    /// The gradient ds = w dv x̂ + b dv of a sample of one row, from its dv and dv x̂; adds (1 + s) dv to `bias` and
    /// (1 + s) dv x̂ to `weight`.
    fn slopes_of_parts<'a>(
        simd: S, affine: Affine<'a>, sample: usize, row: [&'a [f32]; 2], scale: &'a mut [f32],
        bias: &'a mut [f32], weight: &'a mut [f32],
    ) -> () {
        let (lanes, channels) = (S::F32_LANES, scale.len());
        let one = simd.splat_f32s(1.0);
        let totals = bias.chunks_mut(lanes).zip(weight.chunks_mut(lanes));
        for (k, (scale, (bias, weight))) in scale.chunks_mut(lanes).zip(totals).enumerate() {
            let part = |values: Option<&[f32]>, first: usize, or: f32| {
                channels_or(simd, values, first + k * lanes, scale.len(), or)
            };
            let [dv, dvx] = row.map(|values| part(Some(values), 0, 0.0));
            let (w, b) = (part(affine.weight, 0, 1.0), part(affine.bias, 0, 0.0));
            let own = simd.add_f32s(one, part(affine.scale, sample * channels, 0.0));
            store(simd, scale, simd.mul_add_f32s(w, dvx, simd.mul_f32s(b, dv)));
            let sum = simd.mul_add_f32s(own, dv, load(simd, bias));
            store(simd, bias, sum);
            let sum = simd.mul_add_f32s(own, dvx, load(simd, weight));
            store(simd, weight, sum);
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
            gain_and_offset(*affine, sample, gain, offset);
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
    let gradient = match gradient {
        AffineGradient { weight, bias, scale: Some(scale), shift: Some(shift) }
            if shape.rows == 1 && !shape.is_empty() =>
        {
            let of_rows = [scale, shift];
            return backward_by_row(shape, kind, x, affine, (dy, dx), of_rows, [bias, weight]);
        }
        gradient => gradient,
    };
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
                gain_and_offset(*affine, sample, gain, a);
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

/// Rows of a task whose samples are single rows.
const ROWS: usize = 64;

/// [`backward`] where every sample is one row with its own scale and shift; the last argument holds the gradients of
/// bias and weight.
fn backward_by_row(
    shape: Shape,
    kind: Kind,
    x: &[f32],
    affine: &Affine,
    (dy, dx): (&[f32], &mut [f32]),
    [scale, shift]: [&mut [f32]; 2],
    bias_and_weight: [Option<&mut [f32]>; 2],
) {
    assert!([x.len(), dy.len(), dx.len()] == [shape.len(); 3]);
    let channels = shape.channels;
    assert!([scale.len(), shift.len()] == [shape.len(); 2]);
    let block = ROWS * channels;
    let mut partial = vec![0.0f64; shape.samples.div_ceil(ROWS) * channels * 2];
    let tasks = x.chunks(block).zip(dy.chunks(block)).zip(dx.chunks_mut(block));
    let tasks = tasks.zip(scale.chunks_mut(block).zip(shift.chunks_mut(block)));
    let tasks = tasks.zip(partial.chunks_mut(2 * channels)).enumerate();
    each(x.len() >= SERIAL, tasks, |(task, ((((x, dy), dx), (scale, shift)), into))| {
        with_scratch(4 * channels, |scratch| {
            let (bias, rest) = scratch.split_at_mut(channels);
            let (weight, rest) = rest.split_at_mut(channels);
            let (gain, products) = rest.split_at_mut(channels);
            bias.fill(0.0);
            weight.fill(0.0);
            let rows = x.chunks(channels).zip(dy.chunks(channels)).zip(dx.chunks_mut(channels));
            let rows = rows.zip(scale.chunks_mut(channels).zip(shift.chunks_mut(channels)));
            for (row, (((x, dy), dx), (scale, shift))) in rows.enumerate() {
                let sample = task * ROWS + row;
                gain_and_offset(*affine, sample, gain, products);
                slopes(kind, x, dy, gain, dx, shift, products);
                slopes_of_parts(*affine, sample, [&*shift, &*products], scale, bias, weight);
            }
            let (into_bias, into_weight) = into.split_at_mut(channels);
            for (into, from) in [(into_bias, bias), (into_weight, weight)] {
                into.iter_mut().zip(from).for_each(|(into, from)| *into = f64::from(*from));
            }
        });
    });
    for (k, into) in bias_and_weight.into_iter().enumerate() {
        let Some(into) = into else { continue };
        assert_eq!(into.len(), channels);
        for (c, into) in into.iter_mut().enumerate() {
            let parts = partial.iter().skip(k * channels + c).step_by(2 * channels);
            *into = parts.sum::<f64>() as f32;
        }
    }
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
