//! Gated activations, f(a) σ(b) of the halves of each row, and their gradients.

use super::activation::{Activation, Curve, Sigmoid, with_curve};
use super::{PIECE, SERIAL, each, vectorized};
use pulp::Simd;

vectorized! {
    fn values<'a, C: Curve>(
        simd: S, curve: C, width: usize, x: &'a [f32], y: &'a mut [f32],
    ) -> () {
        for (x, y) in x.chunks_exact(2 * width).zip(y.chunks_exact_mut(width)) {
            let (a, b) = x.split_at(width);
            let ((a, a_tail), (b, b_tail)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
            let (y, y_tail) = S::as_mut_simd_f32s(y);
            for ((a, b), y) in a.iter().zip(b).zip(y) {
                *y = simd.mul_f32s(curve.value(simd, *a), Sigmoid.value(simd, *b));
            }
            if !a_tail.is_empty() {
                let (a, b) = (simd.partial_load_f32s(a_tail), simd.partial_load_f32s(b_tail));
                let value = simd.mul_f32s(curve.value(simd, a), Sigmoid.value(simd, b));
                simd.partial_store_f32s(y_tail, value);
            }
        }
    }
}

/// dy f′(a) σ(b) and dy f(a) σ′(b).
#[inline(always)]
fn slope<S: Simd, C: Curve>(simd: S, curve: C, [a, b, dy]: [S::f32s; 3]) -> [S::f32s; 2] {
    let da = simd.mul_f32s(curve.derivative(simd, a), Sigmoid.value(simd, b));
    let db = simd.mul_f32s(curve.value(simd, a), Sigmoid.derivative(simd, b));
    [simd.mul_f32s(dy, da), simd.mul_f32s(dy, db)]
}

vectorized! {
    fn slopes<'a, C: Curve>(
        simd: S, curve: C, width: usize, x: &'a [f32], dy: &'a [f32], dx: &'a mut [f32],
    ) -> () {
        let rows = x.chunks_exact(2 * width).zip(dy.chunks_exact(width));
        for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(2 * width)) {
            let (a, b) = x.split_at(width);
            let (da, db) = dx.split_at_mut(width);
            let ((a, a_tail), (b, b_tail)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
            let (dy, dy_tail) = S::as_simd_f32s(dy);
            let (da, da_tail) = S::as_mut_simd_f32s(da);
            let (db, db_tail) = S::as_mut_simd_f32s(db);
            for (((a, b), dy), (da, db)) in a.iter().zip(b).zip(dy).zip(da.iter_mut().zip(db)) {
                [*da, *db] = slope(simd, curve, [*a, *b, *dy]);
            }
            if !a_tail.is_empty() {
                let all = [a_tail, b_tail, dy_tail].map(|tail| simd.partial_load_f32s(tail));
                let [da, db] = slope(simd, curve, all);
                simd.partial_store_f32s(da_tail, da);
                simd.partial_store_f32s(db_tail, db);
            }
        }
    }
}

/// The number of rows in a task.
fn rows(width: usize) -> usize {
    (PIECE / (2 * width)).max(1)
}

/// y = f(a) σ(b), `[n, width]`, of x = (a, b), `[n, 2 width]`.
pub fn forward(activation: Activation, width: usize, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len().saturating_mul(2));
    if width == 0 {
        return;
    }
    assert_eq!(y.len() % width, 0);
    let (parallel, rows) = (x.len() >= SERIAL, rows(width));
    with_curve!(activation, |curve| each(
        parallel,
        x.chunks(rows * 2 * width).zip(y.chunks_mut(rows * width)),
        |(x, y)| values(curve, width, x, y)
    ));
}

/// dx of dy, `[n, width]`.
pub fn backward(activation: Activation, width: usize, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert_eq!(x.len(), dx.len());
    assert_eq!(x.len(), dy.len().saturating_mul(2));
    if width == 0 {
        return;
    }
    assert_eq!(dy.len() % width, 0);
    let (parallel, rows) = (x.len() >= SERIAL, rows(width));
    let pieces = x.chunks(rows * 2 * width).zip(dy.chunks(rows * width));
    with_curve!(activation, |curve| each(
        parallel,
        pieces.zip(dx.chunks_mut(rows * 2 * width)),
        |((x, dy), dx)| slopes(curve, width, x, dy, dx)
    ));
}
