//! Time grids: which levels a solver visits.

use super::MOST_STEPS;
use crate::process::{Level, Schedule};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the levels of a grid are spaced from the schedule's noisiest to its cleanest level.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Grid {
    /// Uniform in t.
    Time,
    /// Uniform in the log-SNR (Lu et al. 2022).
    #[default]
    LogSnr,
    /// t quadratic in the index, denser near the data (Song et al. 2021, App. D.2).
    Quadratic,
    /// (σ/α)^{1/ρ} uniform (Karras et al. 2022, eq. 5).
    Karras {
        /// ρ, 7 in the paper.
        #[serde(default = "seven")]
        rho: f64,
    },
}

fn seven() -> f64 {
    7.0
}

/// Every grid by name, with one line on what it is.
pub const GRIDS: &[(&str, &str)] = &[
    ("time", "uniform in t"),
    ("log-snr", "uniform in the log-SNR; the default"),
    ("quadratic", "quadratic in t, denser near the data"),
    ("karras", "uniform in (σ/α)^(1/ρ), ρ = 7"),
];

impl Grid {
    /// The grid of a given name.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown name.
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "time" => Self::Time,
            "log-snr" => Self::LogSnr,
            "quadratic" => Self::Quadratic,
            "karras" => Self::Karras { rho: 7.0 },
            _ => {
                let names: Vec<&str> = GRIDS.iter().map(|(name, _)| *name).collect();
                return Err(Error::config("grid", name, crate::error::one_of(name, &names)));
            }
        })
    }

    /// `steps + 1` levels from the schedule's last time to its first, both exact, λ strictly rising.
    ///
    /// # Errors
    /// [`Error::Config`] if `steps` is 0 or above 100,000, ρ is not positive, or two levels coincide.
    pub fn levels(&self, schedule: &dyn Schedule, steps: usize) -> Result<Vec<Level>> {
        if steps == 0 || steps > MOST_STEPS {
            let expected = format!("from 1 to {MOST_STEPS}");
            return Err(Error::config("steps", steps.to_string(), expected));
        }
        let (first, last) = schedule.range();
        let (lo, hi) = (schedule.level(last).lambda, schedule.level(first).lambda);
        let at = |k: usize| {
            let u = k as f64 / steps as f64;
            match *self {
                Grid::Time => last + u * (first - last),
                Grid::LogSnr => schedule.time(lo + u * (hi - lo)),
                Grid::Quadratic => {
                    let (a, b) = (first.sqrt(), last.sqrt());
                    (b + u * (a - b)).powi(2)
                }
                Grid::Karras { rho } => {
                    // λ = −2 ln(σ/α).
                    let (a, b) = ((-0.5 * hi / rho).exp(), (-0.5 * lo / rho).exp());
                    schedule.time(-2.0 * rho * (b + u * (a - b)).ln())
                }
            }
        };
        if let Grid::Karras { rho } = self
            && !(*rho > 0.0 && rho.is_finite())
        {
            return Err(Error::config("grid.rho", format!("{rho}"), "a positive number"));
        }
        let levels: Vec<Level> = (0..=steps)
            .map(|k| match k {
                0 => schedule.level(last),
                k if k == steps => schedule.level(first),
                k => schedule.level(at(k)),
            })
            .collect();
        if !levels.is_sorted_by(|a, b| a.lambda < b.lambda) {
            return Err(Error::config(
                "steps",
                format!("{steps}"),
                "few enough that no two levels coincide",
            ));
        }
        Ok(levels)
    }
}
