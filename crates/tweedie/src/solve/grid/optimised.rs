//! A grid for data with a range of scales.
//!
//! In a direction in which data are normal with standard deviation c, with θ = arctan(σ/(α c)), a step of DDIM is right
//! but for the factor cos Δθ. If the variance is c² in all directions, the best grid is therefore uniform in θ: −ln cos
//! is convex. (Derived here, as are the scales; Sabour et al. 2024 minimise another bound, which depends on a network.)
//! For a range of scales the sum over scales of −ln ∏ cos Δθ ≈ ½ Σ Δθ² is least for steps of equal length in ds² =
//! E_c[dθ_c²], and for ln c uniform from ln c₀ to 0
//!
//! > (ds/dℓ)² = ¼ E_c[sech²(ℓ + ln c)] = ¼ (tanh ℓ − tanh(ℓ + ln c₀))/(−ln c₀), ℓ = ln(α/σ).

use super::Grid;
use super::spaced::between;
use crate::process::{Schedule, finite_log_snrs};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The grid optimised for data whose standard deviations in different directions are log-uniform between `finest` and
/// 1: uniform in ∫ √(tanh ℓ − tanh(ℓ + ln finest)) dℓ, ℓ = ln(α/σ).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimisedGrid {
    /// The smallest standard deviation in model units, in (0, 1]; 1 makes the grid uniform in arctan(σ/α).
    pub finest: f64,
}

impl Default for OptimisedGrid {
    fn default() -> Self {
        Self { finest: 0.1 }
    }
}

impl Grid for OptimisedGrid {
    fn check(&self) -> Result<()> {
        if (1e-6..=1.0).contains(&self.finest) {
            return Ok(());
        }
        Err(Error::config("grid.finest", self.finest.to_string(), "a number from 1e-6 to 1"))
    }

    fn times(&self, schedule: &dyn Schedule, steps: usize) -> Result<Vec<f64>> {
        let (high, low) = finite_log_snrs(schedule);
        let arc = Arc::new(self.finest, low, high);
        Ok(between(schedule, steps, |u| schedule.time(arc.log_snr(u))))
    }
}

/// The log-SNR as a function of the share of the length s before it.
struct Arc {
    /// Pairs of λ and the length s up to it, both rising.
    table: Vec<(f64, f64)>,
}

impl Arc {
    /// The number of pieces of the sum for the length; the error in s is about 1e-8 of the whole.
    const PIECES: usize = 8192;

    fn new(finest: f64, lo: f64, hi: f64) -> Self {
        let span = -finest.ln();
        let speed = |lambda: f64| {
            let l = 0.5 * lambda;
            // tanh a − tanh b = sinh(a − b)/(cosh a cosh b), without cancellation.
            let mean = match span {
                s if s > 1e-9 => s.sinh() / s / (l.cosh() * (l - s).cosh()),
                _ => l.cosh().powi(-2),
            };
            mean.sqrt()
        };
        let step = (hi - lo) / Self::PIECES as f64;
        let mut length = 0.0;
        let mut table = vec![(lo, 0.0)];
        for k in 0..Self::PIECES {
            let at = |r: f64| lo + step * (k as f64 + r);
            // Simpson's rule.
            length += step / 6.0 * (speed(at(0.0)) + 4.0 * speed(at(0.5)) + speed(at(1.0)));
            table.push((at(1.0), length));
        }
        Self { table }
    }

    /// The log-SNR at the share `u` of the whole length, in [0, 1].
    fn log_snr(&self, u: f64) -> f64 {
        let whole = self.table.last().map_or(0.0, |last| last.1);
        let place = u * whole;
        let end = self.table.partition_point(|(_, s)| *s < place).clamp(1, self.table.len() - 1);
        let ((a, s), (b, t)) = (self.table[end - 1], self.table[end]);
        a + (b - a) * ((place - s) / (t - s)).clamp(0.0, 1.0)
    }
}
