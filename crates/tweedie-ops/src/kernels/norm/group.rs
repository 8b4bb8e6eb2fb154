//! Group normalisation of channels-last pictures.

use super::{Affine, AffineGradient, Shape};
use crate::kernels::activation::{Activation, Curve, Identity, Silu};
use crate::kernels::reduce::{Period, period_sums};
use crate::kernels::{SERIAL, each, vectorized, with_scratch};

vectorized! {
    /// `sums` = Σ (x − center)² over the periods of x.
    fn period_squares<'a>(simd: S, x: &'a [f32], center: &'a [f32], sums: &'a mut [f32]) -> () {
        sums.fill(0.0);
        let (center, _) = S::as_simd_f32s(center);
        for x in x.chunks(sums.len()) {
            let (x, tail) = S::as_simd_f32s(x);
            {
                let (sums, _) = S::as_mut_simd_f32s(&mut *sums);
                for ((x, center), sum) in x.iter().zip(center).zip(sums) {
                    let d = simd.sub_f32s(*x, *center);
                    *sum = simd.mul_add_e_f32s(d, d, *sum);
                }
            }
            if !tail.is_empty() {
                let sum = &mut sums[x.len() * S::F32_LANES..][..tail.len()];
                let d = simd.sub_f32s(simd.partial_load_f32s(tail), center[x.len()]);
                let value = simd.mul_add_e_f32s(d, d, simd.partial_load_f32s(sum));
                simd.partial_store_f32s(sum, value);
            }
        }
    }
}

/// The constants of a pass for each channel of an image, over a period.
#[derive(Clone, Copy)]
struct Channels<'a> {
    /// The mean.
    center: &'a [f32],
    /// w (1 + s)/√(variance + ε).
    gain: &'a [f32],
    /// b (1 + s) + t.
    offset: &'a [f32],
}

impl<'a> Channels<'a> {
    fn new(
        (shape, groups): (&Shape, usize),
        (affine, sample): (&Affine, usize),
        (mean, inverse): (&[f32], &[f32]),
        (period, into): (Period, &'a mut [f32]),
    ) -> Self {
        let per_group = shape.channels / groups;
        let (center, rest) = into.split_at_mut(period.len);
        let (gain, offset) = rest.split_at_mut(period.len);
        let at = |channel| sample * shape.channels + channel;
        period.spread(center, |c| mean[c / per_group]);
        period.spread(gain, |c| affine.gain(at(c), c) * inverse[c / per_group]);
        period.spread(offset, |c| affine.offset(at(c), c));
        Self { center, gain, offset }
    }
}

vectorized! {
    /// y = f((x − center) gain + offset).
    fn normalise<'a, C: Curve>(
        simd: S, curve: C, x: &'a [f32], channels: Channels<'a>, y: &'a mut [f32],
    ) -> () {
        let (center, _) = S::as_simd_f32s(channels.center);
        let (gain, _) = S::as_simd_f32s(channels.gain);
        let (offset, _) = S::as_simd_f32s(channels.offset);
        let len = channels.center.len();
        for (x, y) in x.chunks(len).zip(y.chunks_mut(len)) {
            let (x, x_tail) = S::as_simd_f32s(x);
            let (y, y_tail) = S::as_mut_simd_f32s(y);
            for ((((x, y), center), gain), offset) in
                x.iter().zip(y).zip(center).zip(gain).zip(offset)
            {
                let v = simd.mul_add_e_f32s(simd.sub_f32s(*x, *center), *gain, *offset);
                *y = curve.value(simd, v);
            }
            if !x_tail.is_empty() {
                let j = x.len();
                let d = simd.sub_f32s(simd.partial_load_f32s(x_tail), center[j]);
                let v = simd.mul_add_e_f32s(d, gain[j], offset[j]);
                simd.partial_store_f32s(y_tail, curve.value(simd, v));
            }
        }
    }
}

vectorized! {
    /// dv = dy f′(v), Σ dv and Σ dv (x − center) over the periods; dv is not written where f is the identity.
    fn slopes<'a, C: Curve>(
        simd: S, curve: C, x: &'a [f32], dy: &'a [f32], channels: Channels<'a>, dv: &'a mut [f32],
        sums: &'a mut [f32], products: &'a mut [f32],
    ) -> () {
        sums.fill(0.0);
        products.fill(0.0);
        let (center, _) = S::as_simd_f32s(channels.center);
        let (gain, _) = S::as_simd_f32s(channels.gain);
        let (offset, _) = S::as_simd_f32s(channels.offset);
        let len = channels.center.len();
        for ((x, dy), dv) in x.chunks(len).zip(dy.chunks(len)).zip(dv.chunks_mut(len)) {
            let (x, x_tail) = S::as_simd_f32s(x);
            let (dy, dy_tail) = S::as_simd_f32s(dy);
            let (dv, dv_tail) = S::as_mut_simd_f32s(dv);
            {
                let (sums, _) = S::as_mut_simd_f32s(&mut *sums);
                let (products, _) = S::as_mut_simd_f32s(&mut *products);
                let known = center.iter().zip(gain).zip(offset);
                let added = sums.iter_mut().zip(products);
                for ((((x, dy), dv), ((center, gain), offset)), (sum, product)) in
                    x.iter().zip(dy).zip(dv).zip(known).zip(added)
                {
                    let d = simd.sub_f32s(*x, *center);
                    let mut slope = *dy;
                    if !C::IDENTITY {
                        let v = simd.mul_add_e_f32s(d, *gain, *offset);
                        slope = simd.mul_f32s(slope, curve.derivative(simd, v));
                        *dv = slope;
                    }
                    *sum = simd.add_f32s(*sum, slope);
                    *product = simd.mul_add_e_f32s(slope, d, *product);
                }
            }
            if !x_tail.is_empty() {
                let j = x.len();
                let d = simd.sub_f32s(simd.partial_load_f32s(x_tail), center[j]);
                let mut slope = simd.partial_load_f32s(dy_tail);
                if !C::IDENTITY {
                    let v = simd.mul_add_e_f32s(d, gain[j], offset[j]);
                    slope = simd.mul_f32s(slope, curve.derivative(simd, v));
                    simd.partial_store_f32s(dv_tail, slope);
                }
                let here = j * S::F32_LANES..j * S::F32_LANES + x_tail.len();
                let sum = simd.partial_load_f32s(&sums[here.clone()]);
                simd.partial_store_f32s(&mut sums[here.clone()], simd.add_f32s(sum, slope));
                let product = simd.partial_load_f32s(&products[here.clone()]);
                let product = simd.mul_add_e_f32s(slope, d, product);
                simd.partial_store_f32s(&mut products[here], product);
            }
        }
    }
}

vectorized! {
    /// dx = dv gain + (x − center) tilt + lift, where dv is dx itself if not given.
    fn finish<'a>(
        simd: S, x: &'a [f32], dv: Option<&'a [f32]>, channels: Channels<'a>, tilt: &'a [f32],
        lift: &'a [f32], dx: &'a mut [f32],
    ) -> () {
        let (center, _) = S::as_simd_f32s(channels.center);
        let (gain, _) = S::as_simd_f32s(channels.gain);
        let (tilt, _) = S::as_simd_f32s(tilt);
        let (lift, _) = S::as_simd_f32s(lift);
        let len = channels.center.len();
        for (i, (x, dx)) in x.chunks(len).zip(dx.chunks_mut(len)).enumerate() {
            if let Some(dv) = dv {
                dx.copy_from_slice(&dv[i * len..][..x.len()]);
            }
            let (x, x_tail) = S::as_simd_f32s(x);
            let (dx, dx_tail) = S::as_mut_simd_f32s(dx);
            let known = center.iter().zip(gain).zip(tilt).zip(lift);
            for ((x, dx), (((center, gain), tilt), lift)) in x.iter().zip(dx).zip(known) {
                let line = simd.mul_add_e_f32s(simd.sub_f32s(*x, *center), *tilt, *lift);
                *dx = simd.mul_add_e_f32s(*dx, *gain, line);
            }
            if !x_tail.is_empty() {
                let j = x.len();
                let d = simd.sub_f32s(simd.partial_load_f32s(x_tail), center[j]);
                let line = simd.mul_add_e_f32s(d, tilt[j], lift[j]);
                let dv = simd.partial_load_f32s(dx_tail);
                simd.partial_store_f32s(dx_tail, simd.mul_add_e_f32s(dv, gain[j], line));
            }
        }
    }
}

/// Whether the blocks of an image run in parallel as well.
fn within(shape: &Shape) -> bool {
    let image = shape.rows * shape.channels;
    image >= SERIAL && shape.samples < 4 * rayon::current_num_threads()
}

/// The mean and Σ (x − mean)² of each group in a block of rows, as (count, mean, squares).
fn block_moments(x: &[f32], channels: usize, period: Period, into: &mut [[f64; 3]]) {
    let per_group = channels / into.len();
    let count = (x.len() / channels * per_group) as f64;
    with_scratch(2 * period.len, |scratch| {
        let (sums, center) = scratch.split_at_mut(period.len);
        period_sums(x, sums);
        into.fill([count, 0.0, 0.0]);
        period.fold(sums, |channel, sum| into[channel / per_group][1] += sum);
        for moments in &mut *into {
            moments[1] /= count;
        }
        period.spread(center, |channel| into[channel / per_group][1] as f32);
        period_squares(x, center, sums);
        period.fold(sums, |channel, sum| into[channel / per_group][2] += sum);
        for moments in into {
            // The squares are around the mean rounded to f32.
            let off = moments[1] - f64::from(moments[1] as f32);
            moments[2] -= count * off * off;
        }
    });
}

/// Mean and 1/√(variance + ε) of each group of an image.
fn image_moments(
    (x, channels, period): (&[f32], usize, Period),
    (epsilon, parallel): (f32, bool),
    (mean, inverse): (&mut [f32], &mut [f32]),
) {
    let (groups, block) = (mean.len(), period.block());
    let mut blocks = vec![[0.0; 3]; x.len().div_ceil(block) * groups];
    let tasks = x.chunks(block).zip(blocks.chunks_mut(groups));
    each(parallel, tasks, |(x, into)| block_moments(x, channels, period, into));
    for group in 0..groups {
        let merge = |[n, m, s]: [f64; 3], [k, mean, squares]: [f64; 3]| {
            let (all, d) = (n + k, mean - m);
            [all, m + d * k / all, s + squares + d * d * n * k / all]
        };
        let parts = blocks[group..].iter().step_by(groups).copied();
        let [count, middle, squares] = parts.fold([0.0; 3], merge);
        mean[group] = middle as f32;
        inverse[group] = (1.0 / ((squares / count).max(0.0) + f64::from(epsilon)).sqrt()) as f32;
    }
}

/// Group normalisation: y from x, and each sample's and group's mean and 1/√(variance + ε), `[samples, groups]`.
pub fn group_norm(
    shape: Shape,
    epsilon: f32,
    x: &[f32],
    affine: &Affine,
    activation: Activation,
    y: &mut [f32],
    (mean, inverse): (&mut [f32], &mut [f32]),
) {
    match activation {
        Activation::None => forward(shape, epsilon, x, affine, Identity, y, (mean, inverse)),
        Activation::Silu => forward(shape, epsilon, x, affine, Silu, y, (mean, inverse)),
        other => forward(shape, epsilon, x, affine, other, y, (mean, inverse)),
    }
}

/// The number of groups, after a check of the lengths of all slices.
fn groups(shape: &Shape, affine: &Affine, all: [&[f32]; 2], moments: [&[f32]; 2]) -> usize {
    affine.check(shape);
    assert!(all.iter().all(|v| v.len() == shape.len()));
    let groups = moments[0].len() / shape.samples.max(1);
    assert!(moments.iter().all(|v| v.len() == groups * shape.samples));
    assert!(shape.is_empty() || (groups > 0 && shape.channels.is_multiple_of(groups)));
    groups
}

fn forward<C: Curve>(
    shape: Shape,
    epsilon: f32,
    x: &[f32],
    affine: &Affine,
    curve: C,
    y: &mut [f32],
    (mean, inverse): (&mut [f32], &mut [f32]),
) {
    let groups = groups(&shape, affine, [x, y], [mean, inverse]);
    if shape.is_empty() {
        return;
    }
    let image = shape.rows * shape.channels;
    let period = Period::new(shape.channels);
    let inside = within(&shape);
    let moments = mean.chunks_mut(groups).zip(inverse.chunks_mut(groups));
    let tasks = x.chunks(image).zip(y.chunks_mut(image)).zip(moments).enumerate();
    each(x.len() >= SERIAL, tasks, |(sample, ((x, y), (mean, inverse)))| {
        image_moments((x, shape.channels, period), (epsilon, inside), (mean, inverse));
        with_scratch(3 * period.len, |scratch| {
            let known = Channels::new(
                (&shape, groups),
                (affine, sample),
                (mean, inverse),
                (period, scratch),
            );
            let block = period.block();
            let tasks = x.chunks(block).zip(y.chunks_mut(block));
            each(inside, tasks, |(x, y)| normalise(curve, x, known, y));
        });
    });
}

/// The gradients of [`group_norm`] by x and by the parts of the affine map, from dy and the moments of the forward
/// pass.
#[allow(clippy::too_many_arguments)]
pub fn group_norm_backward(
    shape: Shape,
    x: &[f32],
    affine: &Affine,
    activation: Activation,
    moments: (&[f32], &[f32]),
    dy: &[f32],
    dx: &mut [f32],
    gradient: AffineGradient,
) {
    let io = (x, dy, dx);
    match activation {
        Activation::None => backward(shape, affine, Identity, moments, io, gradient),
        Activation::Silu => backward(shape, affine, Silu, moments, io, gradient),
        other => backward(shape, affine, other, moments, io, gradient),
    }
}

fn backward<C: Curve>(
    shape: Shape,
    affine: &Affine,
    curve: C,
    (mean, inverse): (&[f32], &[f32]),
    (x, dy, dx): (&[f32], &[f32], &mut [f32]),
    gradient: AffineGradient,
) {
    let channels = shape.channels;
    let groups = groups(&shape, affine, [x, dx], [mean, inverse]);
    assert_eq!(dy.len(), x.len());
    let mut sums = vec![0.0; shape.samples * channels * 2];
    if !shape.is_empty() {
        let image = shape.rows * channels;
        let inside = within(&shape);
        let moments = mean.chunks(groups).zip(inverse.chunks(groups));
        let tasks = x.chunks(image).zip(dy.chunks(image)).zip(dx.chunks_mut(image));
        let tasks = tasks.zip(moments).zip(sums.chunks_mut(2 * channels)).enumerate();
        each(x.len() >= SERIAL, tasks, |(sample, ((((x, dy), dx), moments), sums))| {
            image_backward(
                (&shape, groups, inside),
                (affine, sample),
                curve,
                moments,
                (x, dy, dx),
                sums,
            );
        });
    }
    affine.gradients(&sums, channels, gradient);
}

fn image_backward<C: Curve>(
    (shape, groups, parallel): (&Shape, usize, bool),
    (affine, sample): (&Affine, usize),
    curve: C,
    (mean, inverse): (&[f32], &[f32]),
    (x, dy, dx): (&[f32], &[f32], &mut [f32]),
    sums: &mut [f64],
) {
    let channels = shape.channels;
    let (per_group, count) = (channels / groups, (x.len() / groups) as f64);
    let period = Period::new(channels);
    let block = period.block();
    with_scratch(5 * period.len, |scratch| {
        let (known, rest) = scratch.split_at_mut(3 * period.len);
        let (tilt, lift) = rest.split_at_mut(period.len);
        let known =
            Channels::new((shape, groups), (affine, sample), (mean, inverse), (period, known));
        let mut blocks = vec![0.0f64; x.len().div_ceil(block) * 2 * channels];
        let tasks = x.chunks(block).zip(dy.chunks(block)).zip(dx.chunks_mut(block));
        each(parallel, tasks.zip(blocks.chunks_mut(2 * channels)), |(((x, dy), dx), into)| {
            with_scratch(2 * period.len, |scratch| {
                let (a, b) = scratch.split_at_mut(period.len);
                slopes(curve, x, dy, known, dx, a, b);
                period.fold(a, |channel, sum| into[2 * channel] = sum);
                period.fold(b, |channel, sum| {
                    into[2 * channel + 1] = sum * f64::from(inverse[channel / per_group]);
                });
            });
        });
        for block in blocks.chunks(2 * channels) {
            sums.iter_mut().zip(block).for_each(|(sum, v)| *sum += v);
        }
        let mut over_group = vec![[0.0f64; 2]; groups];
        for (channel, [dv, dvx]) in sums.as_chunks::<2>().0.iter().enumerate() {
            let gain = f64::from(affine.gain(sample * channels + channel, channel));
            over_group[channel / per_group][0] += gain * dv;
            over_group[channel / per_group][1] += gain * dvx;
        }
        let inverse = |c: usize| f64::from(inverse[c / per_group]);
        period.spread(lift, |c| (-inverse(c) * over_group[c / per_group][0] / count) as f32);
        period
            .spread(tilt, |c| (-inverse(c).powi(2) * over_group[c / per_group][1] / count) as f32);
        let (tilt, lift) = (&*tilt, &*lift);
        let tasks = x.chunks(block).zip(dy.chunks(block)).zip(dx.chunks_mut(block));
        each(parallel, tasks, |((x, dy), dx)| {
            finish(x, C::IDENTITY.then_some(dy), known, tilt, lift, dx);
        });
    });
}
