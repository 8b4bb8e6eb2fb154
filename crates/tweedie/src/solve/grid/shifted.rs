//! The grid of flow matching: uniform in the time of a straight path, with a shift.

use super::Grid;
use super::spaced::between;
use crate::process::Schedule;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The grid uniform in u = σ/(σ + s α), s the shift (Esser et al. 2024, *Scaling Rectified Flow Transformers for
/// High-Resolution Image Synthesis*, eq. 23). On the straight path, σ = t and α = 1 − t, it is uniform in t for s = 1;
/// a larger shift has more steps at the noisy end, t = s u/(1 + (s − 1) u).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shifted {
    /// The shift s, in [1e-3, 1e3]; 1 for none.
    pub shift: f64,
}

impl Default for Shifted {
    fn default() -> Self {
        Self { shift: 1.0 }
    }
}

impl Grid for Shifted {
    fn check(&self) -> Result<()> {
        if (1e-3..=1e3).contains(&self.shift) {
            return Ok(());
        }
        Err(Error::config("grid.shift", self.shift.to_string(), "a number from 0.001 to 1000"))
    }

    fn times(&self, schedule: &dyn Schedule, steps: usize) -> Result<Vec<f64>> {
        let (first, last) = schedule.range();
        // α/σ = e^{λ/2}, so u = 1/(1 + s α/σ), also at pure noise.
        let place = |t: f64| 1.0 / (1.0 + self.shift * (0.5 * schedule.level(t).lambda).exp());
        let (low, high) = (place(first), place(last));
        Ok(between(schedule, steps, |share| {
            let u = high + share * (low - high);
            schedule.time(2.0 * ((1.0 - u) / (self.shift * u)).ln())
        }))
    }
}
