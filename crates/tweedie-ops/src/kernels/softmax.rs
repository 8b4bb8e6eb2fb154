//! Softmax of each row of a matrix: y = e^{x − max x} / Σ e^{x − max x}.

use super::{SERIAL, each, math, vectorized};
use pulp::Simd;

/// The last part of a row as a vector, `fill` beyond it.
#[inline(always)]
fn padded<S: Simd>(simd: S, tail: &[f32], fill: f32) -> S::f32s {
    let mut lanes = [fill; 16];
    lanes[..tail.len()].copy_from_slice(tail);
    simd.partial_load_f32s(&lanes[..S::F32_LANES])
}

vectorized! {
    fn rows_forward<'a>(simd: S, columns: usize, x: &'a [f32], y: &'a mut [f32]) -> () {
        for (x, y) in x.chunks_exact(columns).zip(y.chunks_exact_mut(columns)) {
            let (x, x_tail) = S::as_simd_f32s(x);
            let (y, y_tail) = S::as_mut_simd_f32s(y);
            let last = padded(simd, x_tail, f32::NEG_INFINITY);
            let most = x.iter().fold(last, |most, x| simd.max_f32s(most, *x));
            let most = simd.splat_f32s(simd.reduce_max_f32s(most));
            let last = math::exp(simd, simd.sub_f32s(last, most));
            let mut sum = last;
            for (x, y) in x.iter().zip(&mut *y) {
                *y = math::exp(simd, simd.sub_f32s(*x, most));
                sum = simd.add_f32s(sum, *y);
            }
            let factor = simd.splat_f32s(1.0 / simd.reduce_sum_f32s(sum));
            for y in y {
                *y = simd.mul_f32s(*y, factor);
            }
            if !y_tail.is_empty() {
                simd.partial_store_f32s(y_tail, simd.mul_f32s(last, factor));
            }
        }
    }
}

vectorized! {
    fn rows_backward<'a>(
        simd: S, columns: usize, y: &'a [f32], dy: &'a [f32], dx: &'a mut [f32],
    ) -> () {
        let rows = y.chunks_exact(columns).zip(dy.chunks_exact(columns));
        for ((y, dy), dx) in rows.zip(dx.chunks_exact_mut(columns)) {
            let (y, y_tail) = S::as_simd_f32s(y);
            let (dy, dy_tail) = S::as_simd_f32s(dy);
            let (dx, dx_tail) = S::as_mut_simd_f32s(dx);
            let (y_last, dy_last) = (padded(simd, y_tail, 0.0), padded(simd, dy_tail, 0.0));
            let mut sum = simd.mul_f32s(y_last, dy_last);
            for (y, dy) in y.iter().zip(dy) {
                sum = simd.mul_add_e_f32s(*y, *dy, sum);
            }
            let mean = simd.splat_f32s(simd.reduce_sum_f32s(sum));
            for ((y, dy), dx) in y.iter().zip(dy).zip(dx) {
                *dx = simd.mul_f32s(*y, simd.sub_f32s(*dy, mean));
            }
            if !dx_tail.is_empty() {
                let value = simd.mul_f32s(y_last, simd.sub_f32s(dy_last, mean));
                simd.partial_store_f32s(dx_tail, value);
            }
        }
    }
}

fn rows_per_task(columns: usize) -> usize {
    4096usize.div_ceil(columns) * columns
}

/// y = softmax of each row of x `[rows, columns]`; a row with NaN, with ∞ or with nothing above −∞ is NaN.
pub fn softmax(columns: usize, x: &[f32], y: &mut [f32]) {
    assert!(columns > 0 && x.len().is_multiple_of(columns) && x.len() == y.len());
    let piece = rows_per_task(columns);
    each(x.len() >= SERIAL / 4, x.chunks(piece).zip(y.chunks_mut(piece)), |(x, y)| {
        rows_forward(columns, x, y);
    });
}

/// dx = y (dy − Σ y dy) of each row.
pub fn softmax_backward(columns: usize, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert!(columns > 0 && y.len().is_multiple_of(columns));
    assert!(y.len() == dy.len() && y.len() == dx.len());
    let piece = rows_per_task(columns);
    let tasks = y.chunks(piece).zip(dy.chunks(piece)).zip(dx.chunks_mut(piece));
    each(y.len() >= SERIAL, tasks, |((y, dy), dx)| rows_backward(columns, y, dy, dx));
}
