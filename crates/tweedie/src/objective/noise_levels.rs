//! Which noise levels training visits.

use crate::process::{MOST_LOG_SNR, Schedule, finite_log_snrs};
use crate::{Draws, Error, Result};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

/// The distribution of training's noise levels.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum LevelDistribution {
    /// t uniform over the schedule's range.
    #[default]
    Uniform,
    /// λ uniform over the schedule's range.
    LogSnr,
    /// One level only, that of this log-SNR.
    Fixed {
        /// λ.
        log_snr: f64,
    },
    /// A discrete chain's indices, each as likely: DDPM's (Ho et al. 2020, algorithm 1).
    Indices,
    /// ln(σ/α) normal (Karras et al. 2022, Table 1), cut to the schedule's range.
    LogNormal {
        /// The mean of ln(σ/α), −1.2 in the paper.
        mean: f64,
        /// Its standard deviation, 1.2 in the paper.
        sd: f64,
    },
    /// The logit of t's place in the range normal (Esser et al. 2024, eq. 19).
    LogitNormal {
        /// The mean of the logit.
        mean: f64,
        /// Its standard deviation.
        sd: f64,
    },
}

/// How training draws noise levels: a distribution, and whether a batch covers it evenly.
///
/// Low-discrepancy draws use u_i = (u₀ + i/n) mod 1 with one u₀ for the batch (Kingma et al. 2021, App. I.1): each
/// u_i is still uniform, so the loss stays unbiased, and its variance falls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseLevels {
    /// The distribution.
    pub distribution: LevelDistribution,
    /// Whether a batch covers it evenly.
    pub low_discrepancy: bool,
}

impl Default for NoiseLevels {
    fn default() -> Self {
        Self { distribution: LevelDistribution::Uniform, low_discrepancy: true }
    }
}

impl NoiseLevels {
    /// Fails, naming the key, unless the distribution's numbers make sense and the schedule has what it asks for.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self, schedule: &dyn Schedule) -> Result<()> {
        match self.distribution {
            LevelDistribution::Indices => chain_len(schedule).map(drop),
            LevelDistribution::Fixed { log_snr }
                if !(-MOST_LOG_SNR..=MOST_LOG_SNR).contains(&log_snr) =>
            {
                let expected = format!("a log-SNR from -{MOST_LOG_SNR} to {MOST_LOG_SNR}");
                Err(Error::config("levels.distribution", format!("{log_snr}"), expected))
            }
            LevelDistribution::LogNormal { mean, sd }
            | LevelDistribution::LogitNormal { mean, sd }
                if !(mean.abs() <= 100.0 && sd > 0.0 && sd <= 100.0) =>
            {
                let expected = "a mean from -100 to 100, and an sd above 0 and at most 100";
                Err(Error::config("levels.distribution", format!("mean {mean}, sd {sd}"), expected))
            }
            _ => Ok(()),
        }
    }

    /// `n` times of `schedule`.
    ///
    /// # Errors
    /// [`Error::Config`] for a standard deviation that is not positive, or for indices of a schedule that has none.
    pub fn times(&self, n: usize, schedule: &dyn Schedule, draws: &Draws) -> Result<Vec<f64>> {
        let draws = draws.purpose("level");
        let first = draws.uniform_f64(0, 0);
        (0..n)
            .map(|i| {
                let u = if self.low_discrepancy {
                    (first + i as f64 / n as f64).fract()
                } else {
                    draws.uniform_f64(i as u64, 0)
                };
                self.quantile(u, schedule)
            })
            .collect()
    }

    /// The time at quantile `u` in [0, 1).
    fn quantile(&self, u: f64, schedule: &dyn Schedule) -> Result<f64> {
        let (first, last) = schedule.range();
        let normal = |mean: f64, sd: f64| {
            Normal::new(mean, sd)
                .map(|normal| normal.inverse_cdf(u.max(f64::EPSILON)))
                .map_err(|e| Error::config("levels.sd", format!("{sd}: {e}"), "a positive number"))
        };
        let t = match self.distribution {
            LevelDistribution::Uniform => first + u * (last - first),
            LevelDistribution::Indices => (u * chain_len(schedule)? as f64).floor(),
            LevelDistribution::Fixed { log_snr } => schedule.time(log_snr),
            LevelDistribution::LogSnr => {
                let (hi, lo) = finite_log_snrs(schedule);
                schedule.time(hi + u * (lo - hi))
            }
            LevelDistribution::LogNormal { mean, sd } => schedule.time(-2.0 * normal(mean, sd)?),
            LevelDistribution::LogitNormal { mean, sd } => {
                first + (last - first) / (1.0 + (-normal(mean, sd)?).exp())
            }
        };
        Ok(t.clamp(first, last))
    }
}

/// The number of a chain's indices.
fn chain_len(schedule: &dyn Schedule) -> Result<usize> {
    let missing =
        || Error::config("levels.distribution", "indices", "a schedule with indices: a chain");
    schedule.chain_len().ok_or_else(missing)
}
