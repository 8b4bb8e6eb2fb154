//! Densities fitted without gradients: Gaussian mixtures by EM, kernel estimates, parametric families.
//!
//! All of them run on the host in double precision, and have an exact log p, its gradient (the score) and exact
//! samples: they are [`Distribution`]s.
//!
//! - [`Mixture`]: a mixture of Gaussians, fitted by [`Em`]; [`Mixture::gaussian`] is a single one in closed form;
//! - [`Kde`]: a kernel density estimate;
//! - [`Laplace`] and [`StudentT`]: independent columns, by maximum likelihood.
//!
//! Sums over rows are taken in an order that does not depend on the number of threads, so that a fit has the same
//! bytes on any of them.

mod choice;
mod covariance;
mod em;
mod kde;
mod laplace;
mod leave_one_out;
mod line;
mod mixture;
mod moments;
mod points;
mod start;
mod student;

pub use choice::{Choice, choose};
pub use covariance::Covariance;
pub use em::{Em, EmConfig, EmState, Regularisation};
pub use kde::{Bandwidth, Kde, KernelShape};
pub use laplace::Laplace;
pub(crate) use line::normal_quantile;
pub use mixture::Mixture;
pub use points::Points;
pub use student::StudentT;

use crate::Draws;
use rayon::prelude::*;
use std::ops::Range;

/// A normalised density on ℝᵈ with its score and samples, in double precision on the host.
///
/// Slices named `x` and `out` hold one row, [`width`](Self::width) values.
pub trait Distribution: Send + Sync {
    /// The number d of values in a row.
    fn width(&self) -> usize;

    /// log p(x) in nats, of the row `x`.
    fn log_density(&self, x: &[f64]) -> f64;

    /// The score ∇log p(x) of the row `x`, written to `out`.
    fn score(&self, x: &[f64], out: &mut [f64]);

    /// The sample number `row`, written to `out`; it depends on `draws` and `row` alone.
    fn sample(&self, draws: &Draws, row: u64, out: &mut [f64]);

    /// log p in nats of each row of `x`, which holds whole rows one after the other.
    fn log_densities(&self, x: &[f64]) -> Vec<f64> {
        x.par_chunks_exact(self.width()).map(|row| self.log_density(row)).collect()
    }

    /// The scores of the rows of `x`, which holds whole rows one after the other; as long as `x`.
    fn scores(&self, x: &[f64]) -> Vec<f64> {
        let width = self.width();
        let mut out = vec![0.0; x.len()];
        let pairs = x.par_chunks_exact(width).zip(out.par_chunks_exact_mut(width));
        pairs.for_each(|(row, out)| self.score(row, out));
        out
    }

    /// The samples numbered `rows`, one after the other: `rows.len() × width` values.
    fn samples(&self, draws: &Draws, rows: Range<u64>) -> Vec<f64> {
        let (width, count) = (self.width(), rows.end.saturating_sub(rows.start) as usize);
        let mut out = vec![0.0; count * width];
        let each = out.par_chunks_exact_mut(width).enumerate();
        each.for_each(|(i, out)| self.sample(draws, rows.start + i as u64, out));
        out
    }
}

/// log Σ exp(aᵢ), −∞ if all aᵢ are −∞. `logs` become the shares exp(aᵢ − log Σ exp(aⱼ)), which sum to 1.
///
/// Where all exponentials are 0 the shares are equal; where a term is NaN, the shares and the sum are NaN.
fn log_sum_exp(logs: &mut [f64]) -> f64 {
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY && logs.iter().all(|a| !a.is_nan()) {
        let share = 1.0 / logs.len() as f64;
        logs.fill(share);
        return largest;
    }
    logs.iter_mut().for_each(|a| *a = (*a - largest).exp());
    let total: f64 = logs.iter().sum();
    logs.iter_mut().for_each(|a| *a /= total);
    largest + total.ln()
}
