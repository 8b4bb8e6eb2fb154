//! Schedules: the map from time to noise level and its inverse, with the SDE that it implies.

use super::{
    Chain, Cosine, Edm, LearnedScheduleConfig, Level, Levels, MOST_LOG_SNR, OrnsteinUhlenbeck,
    Straight, SubVp, Ve, VpLinear,
};
use crate::registry::registry;
use crate::{Error, Result};
use std::ops::Deref;

/// The rates dα/dt and dσ/dt of a schedule at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// dα/dt.
    pub alpha: f64,
    /// dσ/dt.
    pub sigma: f64,
}

/// A schedule: a monotone map from time to noise level; λ falls as t grows.
///
/// A schedule implements its level and the two logarithmic rates; drift, diffusion and everything else follow (*An
/// Introduction to Generative Modeling with Flows and Diffusion Models*, eqs. 6.14–6.15).
///
/// ```
/// use tweedie::process::{Schedule, VpLinear};
/// let schedule = VpLinear::default();
/// let level = schedule.level(0.5);
/// assert!((schedule.time(level.lambda) - 0.5).abs() < 1e-12);
/// assert!((schedule.diffusion_squared(0.5) - 10.05).abs() < 1e-10); // g² = β(t)
/// ```
pub trait Schedule: std::fmt::Debug + Send + Sync {
    /// Fails, naming the key, unless every parameter is in its range. By default, fails unless the log-SNR falls within
    /// ±80.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()> {
        check_fall(self)
    }

    /// The level at time `t`, which must lie in [`Schedule::range`].
    fn level(&self, t: f64) -> Level;

    /// d ln α/dt, the factor f(t) of the drift.
    fn drift(&self, t: f64) -> f64;

    /// dλ/dt, the rate of the log-SNR; negative.
    fn lambda_rate(&self, t: f64) -> f64;

    /// The first (cleanest) and last (noisiest) time of training and sampling.
    fn range(&self) -> (f64, f64);

    /// The time with log-SNR `lambda`.
    ///
    /// The default bisects [`Schedule::range`] to the last bit and clamps to its ends.
    fn time(&self, lambda: f64) -> f64 {
        let (mut lo, mut hi) = self.range();
        if lambda >= self.level(lo).lambda {
            return lo;
        }
        if lambda <= self.level(hi).lambda {
            return hi;
        }
        loop {
            let mid = 0.5 * (lo + hi);
            if mid <= lo || mid >= hi {
                return mid;
            }
            if self.level(mid).lambda > lambda { lo = mid } else { hi = mid }
        }
    }

    /// The squared diffusion coefficient, g(t)² = dσ²/dt − 2 f σ² = −σ² dλ/dt.
    fn diffusion_squared(&self, t: f64) -> f64 {
        let sigma = self.level(t).sigma;
        -sigma * sigma * self.lambda_rate(t)
    }

    /// The rates dα/dt = f α and dσ/dt = σ (f − ½ dλ/dt).
    fn rate(&self, t: f64) -> Rate {
        let level = self.level(t);
        let f = self.drift(t);
        Rate { alpha: f * level.alpha, sigma: level.sigma * (f - 0.5 * self.lambda_rate(t)) }
    }

    /// The number of steps of a discrete chain, whose levels are at the whole times 0, 1, … below it; `None` for a
    /// continuous schedule.
    fn chain_len(&self) -> Option<usize> {
        None
    }

    /// The standard deviation of the prior, the start of sampling, for data of standard deviation `sigma_data`:
    /// [`Level::sd`] at the last time.
    fn prior_sd(&self, sigma_data: f64) -> f64 {
        self.level(self.range().1).sd(sigma_data)
    }

    /// The offset m(t) of the process x_t = α x₀ + m + σ ε, equal in every coordinate; zero except for a
    /// [`LinearSde`](super::LinearSde) with an offset.
    ///
    /// Levels, denoisers and solvers refer to the centred x_t − m(t); samplers and densities subtract and add the
    /// offset.
    fn offset(&self, t: f64) -> f64 {
        let _ = t;
        0.0
    }

    /// The levels at `times`, one per row.
    ///
    /// # Errors
    /// [`Error::Config`] for a time outside [`Schedule::range`].
    fn levels(&self, times: &[f64]) -> Result<Levels> {
        let (first, last) = self.range();
        let slack = 1e-9 * (last - first);
        for &t in times {
            if !(t >= first - slack && t <= last + slack) {
                return Err(Error::config(
                    "time",
                    format!("{t}"),
                    format!("a time in [{first}, {last}]"),
                ));
            }
        }
        Ok(Levels::Rows(times.iter().map(|&t| self.level(t)).collect()))
    }
}

/// The log-SNRs at a schedule's first and last time, between which levels are spaced. A last one of −∞ is replaced by
/// ln 2⁻²⁴, where α² is lost beside σ² in single precision.
pub(crate) fn finite_log_snrs(schedule: &dyn Schedule) -> (f64, f64) {
    let (first, last) = schedule.range();
    let low = schedule.level(last).lambda;
    let least = -24.0 * std::f64::consts::LN_2;
    (schedule.level(first).lambda, if low == f64::NEG_INFINITY { least } else { low })
}

registry! {
    /// Any named schedule, as recipes and runs write it: `cosine`, or `{ name = "cosine", side = 32 }`.
    pub enum AnySchedule: Schedule = Cosine, "schedule" {
        "vp-linear" VpLinear(VpLinear)
            "variance preserving, linear β (DDPM's limit); t in [1e-5, 1]",
        "ve" Ve(Ve) "variance exploding, geometric σ; t in [0, 1]",
        "sub-vp" SubVp(SubVp) "sub-VP, σ = 1 − α²; t in [1e-3, 1]",
        "ou" Ou(OrnsteinUhlenbeck) "Ornstein–Uhlenbeck; t in [1e-5, 5]",
        "cosine" Cosine(Cosine) "cosine log-SNR with resolution shift; t in [0, 1]",
        "edm" Edm(Edm) "α = 1, σ = t; t in [0.002, 80]",
        "straight" Straight(Straight)
            "α = 1 − t, σ = t (rectified flow); t in [0.001, 0.999]",
        "chain" Chain(Chain)
            "DDPM's discrete chain, from a table of β; t the index, 0 to steps − 1",
        "learned" Learned(LearnedScheduleConfig)
            "monotone λ with weights that lower the bound's variance, for `bound`; t in [0, 1]",
    }
}

/// A pointer to a schedule, or a registered choice of one, is itself a schedule.
impl<P> Schedule for P
where
    P: Deref<Target = dyn Schedule> + std::fmt::Debug + Send + Sync,
{
    fn check(&self) -> Result<()> {
        (**self).check()
    }
    fn level(&self, t: f64) -> Level {
        (**self).level(t)
    }
    fn drift(&self, t: f64) -> f64 {
        (**self).drift(t)
    }
    fn lambda_rate(&self, t: f64) -> f64 {
        (**self).lambda_rate(t)
    }
    fn range(&self) -> (f64, f64) {
        (**self).range()
    }
    fn time(&self, lambda: f64) -> f64 {
        (**self).time(lambda)
    }
    fn diffusion_squared(&self, t: f64) -> f64 {
        (**self).diffusion_squared(t)
    }
    fn rate(&self, t: f64) -> Rate {
        (**self).rate(t)
    }
    fn chain_len(&self) -> Option<usize> {
        (**self).chain_len()
    }
    fn prior_sd(&self, sigma_data: f64) -> f64 {
        (**self).prior_sd(sigma_data)
    }
    fn offset(&self, t: f64) -> f64 {
        (**self).offset(t)
    }
    fn levels(&self, times: &[f64]) -> Result<Levels> {
        (**self).levels(times)
    }
}

/// Fails unless the log-SNR falls within ±80.
pub(super) fn check_fall<S: Schedule + ?Sized>(schedule: &S) -> Result<()> {
    let (first, last) = schedule.range();
    let (high, low) = (schedule.level(first).lambda, schedule.level(last).lambda);
    if high <= MOST_LOG_SNR && low >= -MOST_LOG_SNR && low < high {
        return Ok(());
    }
    let problem = format!("its log-SNR falls from {high:.4e} to {low:.4e}");
    let expected = format!("a fall within ±{MOST_LOG_SNR}");
    Err(Error::config("schedule", problem, expected))
}
