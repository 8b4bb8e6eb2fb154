//! Dormand–Prince 5(4) with a step size for each row.

use super::{Context, Solver, State, velocity};
use crate::process::{Level, Levels, Schedule};
use crate::tensor::host_column;
use crate::tensor::{column, select_rows};
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
        let hs = crate::tensor::column(&y, h.iter().copied());
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

/// The integration variable of the probability-flow ODE with error control: t, or −λ for a chain. A chain's rates in t
/// jump at every index, while its path over λ is smooth, as for any variance-preserving process.
#[derive(Clone, Copy)]
pub(crate) struct Clock<'a> {
    schedule: &'a dyn Schedule,
    by_log_snr: bool,
}

impl<'a> Clock<'a> {
    pub(crate) fn new(schedule: &'a dyn Schedule) -> Self {
        Self { schedule, by_log_snr: schedule.chain_len().is_some() }
    }

    /// The variable −λ, for any schedule.
    pub(crate) fn of_log_snr(schedule: &'a dyn Schedule) -> Self {
        Self { schedule, by_log_snr: true }
    }

    /// The variable at a level.
    pub(crate) fn at(self, level: &Level) -> f64 {
        if self.by_log_snr { -level.lambda } else { level.t }
    }

    /// The levels at the given values of the variable.
    pub(crate) fn levels(self, values: &[f64]) -> Vec<Level> {
        let time = |u: f64| if self.by_log_snr { self.schedule.time(-u) } else { u };
        values.iter().map(|&u| self.schedule.level(time(u))).collect()
    }

    /// Converts rates in t, one row per level, to rates in this variable.
    pub(crate) fn rates(self, in_t: Tensor<2>, levels: &[Level]) -> Tensor<2> {
        if !self.by_log_snr {
            return in_t;
        }
        let pace = levels.iter().map(|l| -1.0 / self.schedule.lambda_rate(l.t));
        let pace = column(&in_t, pace);
        in_t * pace
    }
}

/// The probability-flow ODE by Dormand–Prince. Each interval of the grid is integrated to tolerance, so that one
/// interval is enough. Order 5, about 7 evaluations per accepted step.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::{AnySolver, DormandPrince, Sampler, Tolerance};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::DormandPrince(DormandPrince { tolerance: Tolerance { atol: 1e-4, rtol: 1e-4 } });
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(20);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DormandPrince {
    /// The tolerance of the error of each step.
    pub tolerance: Tolerance,
}

impl Solver for DormandPrince {
    fn check(&self) -> Result<()> {
        let Tolerance { atol, rtol } = self.tolerance;
        if [atol, rtol].iter().all(|tolerance| (1e-12..=1.0).contains(tolerance)) {
            return Ok(());
        }
        let found = format!("atol {atol:?} and rtol {rtol:?}");
        Err(Error::config("solver.tolerance", found, "numbers from 1e-12 to 1"))
    }

    fn is_adaptive(&self) -> bool {
        true
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        let State { x, step, .. } = state;
        let n = x.dims()[0];
        let clock = Clock::new(context.schedule);
        let times = |levels: &Levels| {
            (0..n).map(|i| Ok(clock.at(&levels.host(i)?))).collect::<Result<Vec<f64>>>()
        };
        let f = |active: &[usize], t: &[f64], x: Tensor<2>| {
            let levels = clock.levels(t);
            let rows = Levels::Rows(levels.clone());
            let condition = context.condition.select(active);
            let u = velocity(&x, &rows, &Context { condition: &condition, ..*context })?;
            Ok(clock.rates(u, &levels))
        };
        let x = integrate_adaptive(f, x, &times(from)?, &times(to)?, self.tolerance)?;
        Ok(State { x, history: Vec::new(), step: step + 1 })
    }
}
