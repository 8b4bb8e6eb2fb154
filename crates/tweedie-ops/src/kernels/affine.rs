//! Affine maps of single values with bounded scales, and the bound itself.
//!
//! > y = (x − t) e^(−s) towards noise and y = x eˢ + t towards data, with s = B tanh(u/B),
//!
//! and in a row the sum of the logarithms of the slopes, −Σ s or Σ s. The parameters of a row are t of all values, then
//! u of all.

use super::activation::{Curve, Tanh};
use super::spline::Direction;
use super::vector::Vector;
use super::{PIECE, SERIAL, each, elements, math, vectorized};
use pulp::Simd;

/// Affine maps of `rows` rows of `width` values.
#[derive(Debug, Clone, Copy)]
pub struct Affines {
    pub rows: usize,
    pub width: usize,
    /// The bound B of s.
    pub most: f32,
    pub direction: Direction,
}

#[inline(always)]
fn load<S: Simd>(simd: S, from: &[f32]) -> Vector<S> {
    Vector::new(simd, simd.partial_load_f32s(from))
}

/// s, or its negative towards noise.
#[inline(always)]
fn log_slope<S: Simd>(of: Affines, u: Vector<S>) -> Vector<S> {
    let simd = u.simd();
    let most = if of.direction == Direction::ToNoise { -of.most } else { of.most };
    Vector::new(simd, Tanh.value(simd, (u * (1.0 / of.most)).lanes)) * most
}

vectorized! {
    fn values<'a>(simd: S, of: Affines, x: &'a [f32], parameters: &'a [f32], y: &'a mut [f32]) -> () {
        let width = of.width;
        let rows = x.chunks_exact(width).zip(parameters.chunks_exact(2 * width));
        for ((x, parameters), y) in rows.zip(y.chunks_exact_mut(width + 1)) {
            let (shift, scale) = parameters.split_at(width);
            let (y, log_det) = y.split_at_mut(width);
            let mut sum = Vector::splat(simd, 0.0);
            let inputs = x.chunks(S::F32_LANES).zip(shift.chunks(S::F32_LANES));
            let parts = inputs.zip(scale.chunks(S::F32_LANES)).zip(y.chunks_mut(S::F32_LANES));
            for (((x, shift), scale), y) in parts {
                let [x, shift, scale] = [x, shift, scale].map(|part| load(simd, part));
                let log_slope = log_slope(of, scale);
                let slope = Vector::new(simd, math::exp(simd, log_slope.lanes));
                let value = match of.direction {
                    Direction::ToNoise => (x - shift) * slope,
                    Direction::ToData => x * slope + shift,
                };
                simd.partial_store_f32s(y, value.lanes);
                sum = sum + log_slope;
            }
            log_det[0] = simd.reduce_sum_f32s(sum.lanes);
        }
    }
}

vectorized! {
    fn slopes<'a>(
        simd: S, of: Affines, x: &'a [f32], parameters: &'a [f32], dy: &'a [f32],
        dx: &'a mut [f32], dparameters: &'a mut [f32],
    ) -> () {
        let width = of.width;
        let rows = x.chunks_exact(width).zip(parameters.chunks_exact(2 * width));
        let rows = rows.zip(dy.chunks_exact(width + 1)).zip(dx.chunks_exact_mut(width));
        for ((((x, parameters), dy), dx), dp) in rows.zip(dparameters.chunks_exact_mut(2 * width)) {
            let (shift, scale) = parameters.split_at(width);
            let (dshift, dscale) = dp.split_at_mut(width);
            let dlog = Vector::splat(simd, dy[width]);
            for at in (0..width).step_by(S::F32_LANES) {
                let end = width.min(at + S::F32_LANES);
                let [x, shift, scale, dy] =
                    [x, shift, scale, dy].map(|part| load(simd, &part[at..end]));
                let log_slope = log_slope(of, scale);
                let slope = Vector::new(simd, math::exp(simd, log_slope.lanes));
                let by_x = dy * slope;
                let (by_shift, moved) = match of.direction {
                    Direction::ToNoise => (-by_x, x - shift),
                    Direction::ToData => (dy, x),
                };
                let by_log_slope = by_x * moved + dlog;
                let by_s = match of.direction {
                    Direction::ToNoise => -by_log_slope,
                    Direction::ToData => by_log_slope,
                };
                let bend = Tanh.derivative(simd, (scale * (1.0 / of.most)).lanes);
                simd.partial_store_f32s(&mut dx[at..end], by_x.lanes);
                simd.partial_store_f32s(&mut dshift[at..end], by_shift.lanes);
                simd.partial_store_f32s(&mut dscale[at..end], simd.mul_f32s(by_s.lanes, bend));
            }
        }
    }
}

impl Affines {
    /// The number of rows in a task.
    fn task(self) -> usize {
        (PIECE / (8 * self.width)).max(1)
    }

    fn check(self, x: &[f32], parameters: &[f32], y: &[f32]) {
        assert_eq!(x.len(), elements([self.rows, self.width]), "x has another shape");
        assert_eq!(parameters.len(), elements([self.rows, self.width, 2]), "parameters do not fit");
        assert_eq!(y.len(), x.len() + self.rows, "y has another shape");
        assert!(self.width > 0, "affine maps have columns");
    }

    /// Computes y and, after the values of each row, the sum of the logarithms of their slopes, `[rows, width + 1]`.
    pub fn forward(self, x: &[f32], parameters: &[f32], y: &mut [f32]) {
        self.check(x, parameters, y);
        let (width, task) = (self.width, self.task());
        let inputs = x.chunks(task * width).zip(parameters.chunks(task * 2 * width));
        let tasks = inputs.zip(y.chunks_mut(task * (width + 1)));
        each(8 * x.len() >= SERIAL, tasks, |((x, p), y)| values(self, x, p, y));
    }

    /// Computes the gradients by x and by the parameters from that by the output.
    pub fn backward(
        self,
        x: &[f32],
        parameters: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        dparameters: &mut [f32],
    ) {
        self.check(x, parameters, dy);
        assert_eq!(x.len(), dx.len());
        assert_eq!(parameters.len(), dparameters.len());
        let (width, task) = (self.width, self.task());
        let inputs = x.chunks(task * width).zip(parameters.chunks(task * 2 * width));
        let inputs = inputs.zip(dy.chunks(task * (width + 1)));
        let outputs = dx.chunks_mut(task * width).zip(dparameters.chunks_mut(task * 2 * width));
        each(8 * x.len() >= SERIAL, inputs.zip(outputs), |(((x, p), dy), (dx, dp))| {
            slopes(self, x, p, dy, dx, dp);
        });
    }
}

vectorized! {
    fn bound_values<'a>(simd: S, most: f32, x: &'a [f32], y: &'a mut [f32]) -> () {
        for (x, y) in x.chunks(S::F32_LANES).zip(y.chunks_mut(S::F32_LANES)) {
            let value = Tanh.value(simd, (load(simd, x) * (1.0 / most)).lanes);
            simd.partial_store_f32s(y, simd.mul_f32s(value, simd.splat_f32s(most)));
        }
    }
}

vectorized! {
    fn bound_slopes<'a>(simd: S, most: f32, x: &'a [f32], dy: &'a [f32], dx: &'a mut [f32]) -> () {
        let inputs = x.chunks(S::F32_LANES).zip(dy.chunks(S::F32_LANES));
        for ((x, dy), dx) in inputs.zip(dx.chunks_mut(S::F32_LANES)) {
            let slope = Tanh.derivative(simd, (load(simd, x) * (1.0 / most)).lanes);
            simd.partial_store_f32s(dx, simd.mul_f32s(simd.partial_load_f32s(dy), slope));
        }
    }
}

/// y = B tanh(x/B) for a bound B.
pub fn bound(most: f32, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    let tasks = x.chunks(PIECE).zip(y.chunks_mut(PIECE));
    each(x.len() >= SERIAL, tasks, |(x, y)| bound_values(most, x, y));
}

/// dx of dy.
pub fn bound_backward(most: f32, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert_eq!(x.len(), dy.len());
    assert_eq!(x.len(), dx.len());
    let tasks = x.chunks(PIECE).zip(dy.chunks(PIECE)).zip(dx.chunks_mut(PIECE));
    each(x.len() >= SERIAL, tasks, |((x, dy), dx)| bound_slopes(most, x, dy, dx));
}
