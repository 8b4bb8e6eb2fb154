//! The distribution of noise levels in training.

use crate::process::{Level, MOST_LOG_SNR, Schedule, finite_log_snrs};
use crate::registry::registry;
use crate::{Draws, Error, Result};
use serde::{Deserialize, Serialize};
use statrs::distribution::{Continuous, ContinuousCDF, Normal};

registry! {
    /// The distribution of noise levels in training: `log-snr`, or `{ name = "log-normal", mean = -1.2, sd = 1.2 }`.
    #[derive(Copy)]
    pub enum LevelDistribution = Uniform {
        "uniform" Uniform "t uniform over the schedule's range; the default",
        /// p(t) ∝ g²/σ², the importance sampling for likelihood weighting (Song et al. 2021, *Maximum likelihood
        /// training*, sec. 5.1).
        "log-snr" LogSnr "λ uniform over the schedule's range",
        "fixed" Fixed {
            /// The log-SNR λ.
            log_snr: f64,
        } "one level only, at log_snr",
        /// The indices of DDPM (Ho et al. 2020, algorithm 1).
        "indices" Indices "a discrete chain's indices with equal probabilities",
        /// A normal ln(σ/α) (Karras et al. 2022, Table 1).
        "log-normal" LogNormal {
            /// The mean of ln(σ/α), −1.2 in the paper.
            mean: f64,
            /// The standard deviation of ln(σ/α), 1.2 in the paper.
            sd: f64,
        } "ln(σ/α) normal with mean and sd, cut to the schedule's range",
        /// A logit-normal t (Esser et al. 2024, eq. 19).
        "logit-normal" LogitNormal {
            /// The mean of the logit.
            mean: f64,
            /// The standard deviation of the logit.
            sd: f64,
        } "the logit of t's place in the range normal with mean and sd",
    }
}

/// A sampler of noise levels for training: a distribution, and whether a batch covers it evenly.
///
/// Low-discrepancy draws use u_i = (u₀ + i/n) mod 1 with one u₀ for the batch (Kingma et al. 2021, App. I.1): each
/// u_i is still uniform, so the loss stays unbiased, and its variance falls.
///
/// ```
/// use tweedie::process::{Cosine, LevelDistribution, NoiseLevels};
/// let distribution = LevelDistribution::LogNormal { mean: -1.2, sd: 1.2 };
/// let levels = NoiseLevels { distribution, ..NoiseLevels::default() };
/// let times = levels.times(8, &Cosine::default(), &tweedie::Draws::new(7))?;
/// assert!(times.iter().all(|t| (0.0..=1.0).contains(t)));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseLevels {
    /// The distribution of the levels.
    pub distribution: LevelDistribution,
    /// Whether a batch covers the distribution evenly.
    pub low_discrepancy: bool,
    /// The target distribution of importance sampling: each level counts by the ratio of the two densities, so that the
    /// expected loss is the loss under this distribution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<LevelDistribution>,
}

impl Default for NoiseLevels {
    fn default() -> Self {
        Self { distribution: LevelDistribution::Uniform, low_discrepancy: true, instead_of: None }
    }
}

impl NoiseLevels {
    /// Fails, naming the key, unless every number is in its range and the schedule supports the distribution.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self, schedule: &dyn Schedule) -> Result<()> {
        self.distribution.check("levels.distribution", schedule)?;
        let Some(other) = self.instead_of else { return Ok(()) };
        other.check("levels.instead_of", schedule)?;
        self.distribution.check_density("levels.distribution")?;
        other.check_density("levels.instead_of")
    }

    /// `n` uniform numbers in [0, 1).
    pub(crate) fn places(&self, n: usize, draws: &Draws) -> Vec<f64> {
        let draws = draws.purpose("level");
        let first = draws.uniform_f64(0, 0);
        let even = |i: usize| (first + i as f64 / n as f64).fract();
        let free = |i: usize| draws.uniform_f64(i as u64, 0);
        (0..n).map(|i| if self.low_discrepancy { even(i) } else { free(i) }).collect()
    }

    /// `n` times of `schedule`, drawn from the distribution.
    ///
    /// # Errors
    /// [`Error::Config`] for a standard deviation that is not positive, or for indices of a schedule without indices.
    pub fn times(&self, n: usize, schedule: &dyn Schedule, draws: &Draws) -> Result<Vec<f64>> {
        let places = self.places(n, draws).into_iter();
        places.map(|u| self.distribution.quantile(u, schedule)).collect()
    }
}

impl LevelDistribution {
    fn check(&self, key: &str, schedule: &dyn Schedule) -> Result<()> {
        match self {
            Self::Indices => chain_len(schedule).map(drop),
            Self::Fixed { log_snr } if !(-MOST_LOG_SNR..=MOST_LOG_SNR).contains(log_snr) => {
                let expected = format!("a log-SNR from -{MOST_LOG_SNR} to {MOST_LOG_SNR}");
                Err(Error::config(key, format!("{log_snr}"), expected))
            }
            Self::LogNormal { mean, sd } | Self::LogitNormal { mean, sd }
                if !(mean.abs() <= 100.0 && *sd > 0.0 && *sd <= 100.0) =>
            {
                let expected = "a mean from -100 to 100, and an sd above 0 and at most 100";
                Err(Error::config(key, format!("mean {mean}, sd {sd}"), expected))
            }
            _ => Ok(()),
        }
    }

    /// Fails, naming `key`, for a distribution of discrete levels, which has no density.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check_density(&self, key: &str) -> Result<()> {
        let name = match self {
            Self::Indices => "indices",
            Self::Fixed { .. } => "fixed",
            _ => return Ok(()),
        };
        Err(Error::config(key, name, "uniform, log-snr, log-normal or logit-normal levels"))
    }

    /// The density p(λ) of this distribution in the log-SNR.
    ///
    /// # Errors
    /// [`Error::Config`] without a density: for indices, one level, or a standard deviation that is not positive.
    pub fn density(&self, level: &Level, schedule: &dyn Schedule) -> Result<f64> {
        self.check_density("levels.distribution")?;
        let (first, last) = schedule.range();
        // |dt/dλ|; 0 where dλ/dt is infinite.
        let slope = || schedule.lambda_rate(level.t).abs().recip();
        Ok(match *self {
            Self::LogSnr => {
                let (high, low) = finite_log_snrs(schedule);
                (high - low).recip()
            }
            Self::LogNormal { mean, sd } => {
                let (normal, least, most) = cut_normal(mean, sd, schedule)?;
                0.5 * normal.pdf(-0.5 * level.lambda) / (most - least)
            }
            Self::LogitNormal { mean, sd } => {
                let place = (level.t - first) / (last - first);
                let rest = (last - level.t) / (last - first);
                let of_logit = normal(mean, sd)?.pdf((place / rest).ln());
                of_logit / (place * rest * (last - first)) * slope()
            }
            Self::Uniform | Self::Indices | Self::Fixed { .. } => slope() / (last - first),
        })
    }

    /// The time at quantile `u` in [0, 1).
    ///
    /// # Errors
    /// [`Error::Config`] for a standard deviation that is not positive, or for indices of a schedule without indices.
    pub fn quantile(&self, u: f64, schedule: &dyn Schedule) -> Result<f64> {
        let (first, last) = schedule.range();
        let t = match *self {
            Self::Uniform => first + u * (last - first),
            Self::Indices => (u * chain_len(schedule)? as f64).floor(),
            Self::Fixed { log_snr } => schedule.time(log_snr),
            Self::LogSnr => {
                let (hi, lo) = finite_log_snrs(schedule);
                schedule.time(hi + u * (lo - hi))
            }
            Self::LogNormal { mean, sd } => {
                let (normal, least, most) = cut_normal(mean, sd, schedule)?;
                let place = least + u * (most - least);
                schedule
                    .time(-2.0 * normal.inverse_cdf(place.clamp(f64::EPSILON, 1.0 - f64::EPSILON)))
            }
            Self::LogitNormal { mean, sd } => {
                let logit = normal(mean, sd)?.inverse_cdf(u.max(f64::EPSILON));
                first + (last - first) / (1.0 + (-logit).exp())
            }
        };
        Ok(t.clamp(first, last))
    }
}

fn normal(mean: f64, sd: f64) -> Result<Normal> {
    Normal::new(mean, sd)
        .map_err(|e| Error::config("levels.sd", format!("{sd}: {e}"), "a positive number"))
}

/// The normal distribution of ln(σ/α), and its quantiles at the ends of the schedule's range.
fn cut_normal(mean: f64, sd: f64, schedule: &dyn Schedule) -> Result<(Normal, f64, f64)> {
    let (first, last) = schedule.range();
    let normal = normal(mean, sd)?;
    let place = |t: f64| normal.cdf(-0.5 * schedule.level(t).lambda);
    let (least, most) = (place(first), place(last));
    if most > least {
        return Ok((normal, least, most));
    }
    let expected = "a normal distribution that reaches into the schedule's range";
    Err(Error::config("levels.distribution", format!("mean {mean}, sd {sd}"), expected))
}

/// The number of indices of the schedule's chain; fails for other schedules.
fn chain_len(schedule: &dyn Schedule) -> Result<usize> {
    let missing =
        || Error::config("levels.distribution", "indices", "a schedule with indices: a chain");
    schedule.chain_len().ok_or_else(missing)
}
