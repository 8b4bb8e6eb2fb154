//! Integration of dy/dt = f(t, y) by Dormand–Prince 5(4) with a step size for each row.

use super::{column, host_column, select_rows};
use crate::{Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Absolute and relative tolerance of a row's root-mean-square error in one step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tolerance {
    /// Absolute tolerance.
    pub atol: f64,
    /// Relative tolerance.
    pub rtol: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { atol: 1e-5, rtol: 1e-5 }
    }
}

const C: [f64; 7] = [0.0, 0.2, 0.3, 0.8, 8.0 / 9.0, 1.0, 1.0];
const A: [&[f64]; 7] = [
    &[],
    &[0.2],
    &[3.0 / 40.0, 9.0 / 40.0],
    &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
    &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
    &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
    &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
];
/// The fifth-order weights minus the fourth-order weights.
const E: [f64; 7] = [
    71.0 / 57600.0,
    0.0,
    -71.0 / 16695.0,
    71.0 / 1920.0,
    -17253.0 / 339200.0,
    22.0 / 525.0,
    -1.0 / 40.0,
];
/// The number of steps after which a row counts as diverged.
const MAX_STEPS: u64 = 10_000;

/// Integrates dy/dt = f from `t0[i]` to `t1[i]` for each row i of `y`, `[n, width]`, by the 5(4) pair of Dormand &
/// Prince (1980), with local extrapolation and a step size per row (Hairer, Nørsett & Wanner, II.4). Returns y at `t1`,
/// `[n, width]`.
///
/// `f(active, t, y)` receives the indices of the unfinished rows, their times and values, and returns dy/dt. Rows leave
/// the batch when they reach their end.
///
/// # Errors
/// The errors of `f`, and [`Error::Diverged`] if a row's values are not finite or its step vanishes.
pub fn integrate_adaptive(
    mut f: impl FnMut(&[usize], &[f64], Tensor<2>) -> Result<Tensor<2>>,
    y: Tensor<2>,
    t0: &[f64],
    t1: &[f64],
    tolerance: Tolerance,
) -> Result<Tensor<2>> {
    let n = y.dims()[0];
    let mut done: Vec<Tensor<2>> = Vec::new();
    let mut active: Vec<usize> = (0..n).filter(|&i| t0[i] != t1[i]).collect();
    let resting: Vec<usize> = (0..n).filter(|&i| t0[i] == t1[i]).collect();
    let mut order: Vec<usize> = resting.clone();
    if active.is_empty() {
        return Ok(y);
    }
    if !resting.is_empty() {
        done.push(select_rows(&y, &resting));
    }
    let mut y = if active.len() == n { y } else { select_rows(&y, &active) };
    let mut t: Vec<f64> = active.iter().map(|&i| t0[i]).collect();
    let mut k1 = f(&active, &t, y.clone())?;
    let mut h = first_steps(&y, &k1, &active, t0, t1, tolerance)?;
    let mut taken = 0;
    while !active.is_empty() {
        taken += 1;
        let span: Vec<f64> = active.iter().zip(&t).map(|(&i, t)| t1[i] - t).collect();
        for (h, s) in h.iter_mut().zip(&span) {
            // Land on the end exactly; avoid a tiny step after it.
            if h.abs() > 0.9 * s.abs() {
                *h = if h.abs() >= s.abs() { *s } else { 0.5 * s };
            }
        }
        let hs = column(&y, h.iter().copied());
        let mut k = vec![k1.clone()];
        let mut end = y.clone();
        for stage in 1..7 {
            let mut slope = k[0].clone().mul_scalar(A[stage][0]);
            for (kj, a) in k.iter().zip(A[stage]).skip(1).filter(|(_, a)| **a != 0.0) {
                slope = slope + kj.clone().mul_scalar(*a);
            }
            end = y.clone() + slope * hs.clone();
            let times: Vec<f64> = t.iter().zip(&h).map(|(t, h)| t + C[stage] * h).collect();
            k.push(f(&active, &times, end.clone())?);
        }
        let mut error = k[0].clone().mul_scalar(E[0]);
        for (kj, e) in k.iter().zip(E).skip(2) {
            error = error + kj.clone().mul_scalar(e);
        }
        let norms = row_norms(&(error * hs), &y, &end, tolerance)?;
        let accepted: Vec<bool> = norms.iter().map(|e| *e <= 1.0).collect();
        for (i, norm) in norms.iter().enumerate() {
            let start = t[i];
            if accepted[i] {
                t[i] = if h[i] == span[i] { t1[active[i]] } else { t[i] + h[i] };
            }
            let factor = if norm.is_finite() { 0.9 * norm.max(1e-10).powf(-0.2) } else { 0.1 };
            h[i] *= factor.clamp(0.2, if accepted[i] { 5.0 } else { 1.0 });
            let stuck = h[i].abs() < 16.0 * f64::EPSILON * start.abs().max(1e-12);
            if (stuck && t[i] != t1[active[i]]) || taken > MAX_STEPS {
                let what = format!("Dormand–Prince step of row {} at t = {start}", active[i]);
                return Err(Error::Diverged { what, step: taken });
            }
        }
        // Rejected rows stay at their old values; the last stage is the first stage of the next step.
        y = choose(&accepted, end, y);
        k1 = choose(&accepted, k.swap_remove(6), k1);
        let arrived: Vec<usize> = (0..active.len()).filter(|&i| t[i] == t1[active[i]]).collect();
        if !arrived.is_empty() {
            done.push(select_rows(&y, &arrived));
            order.extend(arrived.iter().map(|&i| active[i]));
            let left: Vec<usize> = (0..active.len()).filter(|&i| t[i] != t1[active[i]]).collect();
            if !left.is_empty() {
                y = select_rows(&y, &left);
                k1 = select_rows(&k1, &left);
            }
            t = left.iter().map(|&i| t[i]).collect();
            h = left.iter().map(|&i| h[i]).collect();
            active = left.iter().map(|&i| active[i]).collect();
        }
    }
    let all = Tensor::cat(done, 0);
    let mut place = vec![0; n];
    order.iter().enumerate().for_each(|(at, &row)| place[row] = at);
    Ok(select_rows(&all, &place))
}

/// Rows of `new` where accepted, of `old` elsewhere.
fn choose(accepted: &[bool], new: Tensor<2>, old: Tensor<2>) -> Tensor<2> {
    if accepted.iter().all(|a| *a) {
        return new;
    }
    let n = accepted.len();
    let both = Tensor::cat(vec![new, old], 0);
    let pick: Vec<usize> =
        accepted.iter().enumerate().map(|(i, a)| if *a { i } else { n + i }).collect();
    select_rows(&both, &pick)
}

/// The root mean square over each row of error/(atol + rtol max(|y|, |end|)).
fn row_norms(
    error: &Tensor<2>,
    y: &Tensor<2>,
    end: &Tensor<2>,
    tolerance: Tolerance,
) -> Result<Vec<f64>> {
    let size = y.clone().abs().max_pair(end.clone().abs());
    let scale = size.mul_scalar(tolerance.rtol).add_scalar(tolerance.atol);
    let mean = (error.clone() / scale).square().mean_dim(1).sqrt();
    host_column(&mean)
}

/// A starting step for each row: a hundredth of the time in which the solution moves by its own scale, at most a tenth
/// of the span.
fn first_steps(
    y: &Tensor<2>,
    k1: &Tensor<2>,
    active: &[usize],
    t0: &[f64],
    t1: &[f64],
    tolerance: Tolerance,
) -> Result<Vec<f64>> {
    let scale = y.clone().abs().mul_scalar(tolerance.rtol).add_scalar(tolerance.atol);
    let d0 = host_column(&(y.clone() / scale.clone()).square().mean_dim(1).sqrt())?;
    let d1 = host_column(&(k1.clone() / scale).square().mean_dim(1).sqrt())?;
    Ok((0..active.len())
        .map(|i| {
            let span = t1[active[i]] - t0[active[i]];
            let guess = 0.01 * d0[i].max(1.0) / d1[i].max(1e-10);
            span.signum() * guess.min(0.1 * span.abs()).max(1e-6 * span.abs())
        })
        .collect())
}
