//! Grids that are uniform in some function of the level.

use super::Grid;
use crate::process::{Schedule, finite_log_snrs};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The `steps + 1` times from the schedule's last to its first, both exact; `at` maps a share of the steps to a time.
pub(super) fn between(schedule: &dyn Schedule, steps: usize, at: impl Fn(f64) -> f64) -> Vec<f64> {
    let (first, last) = schedule.range();
    let time = |k: usize| match k {
        0 => last,
        k if k == steps => first,
        k => at(k as f64 / steps as f64),
    };
    (0..=steps).map(time).collect()
}

/// The grid uniform in t.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Time;

impl Grid for Time {
    fn times(&self, schedule: &dyn Schedule, steps: usize) -> Result<Vec<f64>> {
        let (first, last) = schedule.range();
        Ok(between(schedule, steps, |u| last + u * (first - last)))
    }
}

/// The grid uniform in the log-SNR (Lu et al. 2022).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LogSnr;

impl Grid for LogSnr {
    fn times(&self, schedule: &dyn Schedule, steps: usize) -> Result<Vec<f64>> {
        let (high, low) = finite_log_snrs(schedule);
        Ok(between(schedule, steps, |u| schedule.time(low + u * (high - low))))
    }
}

/// The grid with t quadratic in the index, denser near the data (Song et al. 2021, App. D.2).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Quadratic;

impl Grid for Quadratic {
    fn times(&self, schedule: &dyn Schedule, steps: usize) -> Result<Vec<f64>> {
        let (first, last) = schedule.range();
        let (a, b) = (first.sqrt(), last.sqrt());
        Ok(between(schedule, steps, |u| (b + u * (a - b)).powi(2)))
    }
}

/// The grid uniform in (σ/α)^{1/ρ} (Karras et al. 2022, eq. 5).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Karras {
    /// ρ, 7 in the paper.
    pub rho: f64,
}

impl Default for Karras {
    fn default() -> Self {
        Self { rho: 7.0 }
    }
}

impl Grid for Karras {
    fn check(&self) -> Result<()> {
        if self.rho > 0.0 && self.rho.is_finite() {
            return Ok(());
        }
        Err(Error::config("grid.rho", self.rho.to_string(), "a positive number"))
    }

    fn times(&self, schedule: &dyn Schedule, steps: usize) -> Result<Vec<f64>> {
        let (rho, (high, low)) = (self.rho, finite_log_snrs(schedule));
        // λ = −2 ln(σ/α).
        let (a, b) = ((-0.5 * high / rho).exp(), (-0.5 * low / rho).exp());
        Ok(between(schedule, steps, |u| schedule.time(-2.0 * rho * (b + u * (a - b)).ln())))
    }
}
