//! The variance r of a reverse step p(x_s | x_t) whose mean is the mean of q(x_s | x_t, x̂₀(x_t)).
//!
//! With v the variance of q(x_s | x_t, x₀), c the factor of x₀ in its mean and d columns, the divergence of the step is
//! (*An Introduction to Generative Modeling with Flows and Diffusion Models*, eqs. 6.31 and 6.42, whose logarithm lacks
//! a factor 2)
//!
//! > KL = ½ [(d v + c² ‖x₀ − x̂₀‖²)/r − d + d ln(r/v)].
//!
//! Its mean over data and noise is least at (Bao et al. 2022, theorem 1)
//!
//! > r* = v + c² m(λ_t),  m = E‖x₀ − x̂₀‖²/d,
//!
//! for any denoiser, exact or not, and any step: one curve m(λ) serves all pairs (t, s). For the exact denoiser m is
//! the mean variance of x₀ given x_t. The fixed variances are r* for data at a point, m = 0, and for data N(0, I) (Ho
//! et al. 2020, sec. 3.2).

use crate::denoise::LevelError;
use crate::process::Level;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The variance of a step's noise as a function of the step's two levels.
pub trait ReverseVariance: std::fmt::Debug + Send + Sync {
    /// The variance, per column, of a step from `from` to the cleaner level `to`; positive unless `to` is clean.
    fn between(&self, from: &Level, to: &Level) -> f64;
}

impl<V: ReverseVariance + ?Sized> ReverseVariance for Arc<V> {
    fn between(&self, from: &Level, to: &Level) -> f64 {
        (**self).between(from, to)
    }
}

/// The variance of an ancestral step's noise (Ho et al. 2020, sec. 3.2): exact for data at a point, or for data
/// N(0, I).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variance {
    /// The variance of q(x_s | x_t, x₀).
    #[default]
    Small,
    /// σ²_{t|s}, the variance of q(x_t | x_s): β in one step of a chain.
    Large,
}

impl Variance {
    /// The variance of a step from `t` to the cleaner level `s`.
    pub fn of(self, t: &Level, s: &Level) -> f64 {
        match self {
            Variance::Large if s.sigma > 0.0 => t.given(s).variance,
            _ => t.posterior(s).variance,
        }
    }
}

impl ReverseVariance for Variance {
    fn between(&self, from: &Level, to: &Level) -> f64 {
        self.of(from, to)
    }
}

/// The variance of the steps of [`Ancestral`](super::Ancestral) by name: fixed, or the network's own output o.
///
/// ```
/// use tweedie::solve::{Ancestral, AncestralVariance, AnySolver};
/// let toml = "name = \"ancestral\"\nvariance = \"learned-range\"";
/// let solver: AnySolver = toml::from_str(toml).unwrap();
/// assert_eq!(solver, Ancestral { variance: AncestralVariance::LearnedRange }.into());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AncestralVariance {
    /// [`Variance::Small`].
    #[default]
    Small,
    /// [`Variance::Large`].
    Large,
    /// The geometric mean large^v small^{1 − v} of the fixed variances with the weight v = (1 + o)/2 of each value
    /// (Nichol & Dhariwal 2021, *Improved Denoising Diffusion Probabilistic Models*, eq. 15).
    LearnedRange,
    /// o itself, for the steps of the training chain; a negative o counts as 0.
    Learned,
}

impl AncestralVariance {
    /// The fixed variance; `None` if the network's output enters.
    pub fn fixed(self) -> Option<Variance> {
        match self {
            Self::Small => Some(Variance::Small),
            Self::Large => Some(Variance::Large),
            Self::LearnedRange | Self::Learned => None,
        }
    }
}

/// The optimal variance of each step, v + c² m(λ), from a denoiser's errors m at some levels; see the module
/// documentation.
///
/// Between two levels ln m is linear in λ. Beyond the noisiest level m is constant, as for pure noise; beyond the
/// cleanest it falls as 1/SNR, as for data with a density. Steps to noise-free data add no noise.
///
/// ```
/// use tweedie::process::Level;
/// use tweedie::solve::{AnalyticVariance, ReverseVariance, Variance};
/// // Of data N(0, 1): m = 1/(1 + SNR), and the best variance is the larger of the fixed ones.
/// let lambdas = (-100..=100).map(|i| 0.1 * f64::from(i));
/// let curve = lambdas.map(|lambda| (lambda, 1.0 / (1.0 + lambda.exp()))).collect();
/// let best = AnalyticVariance::new(curve)?;
/// let [t, s] = [-2.0, 3.0].map(|lambda| Level::variance_preserving(0.0, lambda));
/// assert!((best.between(&t, &s) / Variance::Large.of(&t, &s) - 1.0).abs() < 1e-9);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct AnalyticVariance {
    /// Pairs of λ, rising, and ln m.
    points: Vec<(f64, f64)>,
}

impl AnalyticVariance {
    /// The variance for pairs (λ, m) in any order.
    ///
    /// # Errors
    /// [`Error::Config`] if `points` is empty, a number is not finite, an m is not positive or a λ occurs twice.
    pub fn new(mut points: Vec<(f64, f64)>) -> Result<Self> {
        let wrong = |(lambda, m): &&(f64, f64)| !(lambda.is_finite() && m.is_finite() && *m > 0.0);
        if let Some((lambda, m)) = points.iter().find(wrong) {
            let found = format!("{m} at log-SNR {lambda}");
            return Err(Error::config("mean squared errors", found, "positive, at finite levels"));
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let twice = points.iter().zip(points.iter().skip(1)).find(|(a, b)| a.0 == b.0);
        if let Some(((lambda, _), _)) = twice {
            let found = format!("two at log-SNR {lambda}");
            return Err(Error::config("mean squared errors", found, "one at each level"));
        }
        if points.is_empty() {
            return Err(Error::config("mean squared errors", "none", "at least one"));
        }
        points.iter_mut().for_each(|(_, m)| *m = m.ln());
        Ok(Self { points })
    }

    /// The variance for errors measured by [`level_errors`](crate::denoise::level_errors).
    ///
    /// # Errors
    /// The errors of [`AnalyticVariance::new`].
    pub fn measured(errors: &[LevelError]) -> Result<Self> {
        Self::new(errors.iter().map(|error| (error.level.lambda, error.mean)).collect())
    }

    /// m at the log-SNR `lambda`.
    pub fn error(&self, lambda: f64) -> f64 {
        let next = self.points.partition_point(|(at, _)| *at < lambda);
        let before = next.checked_sub(1).and_then(|i| self.points.get(i));
        let log = match (before, self.points.get(next)) {
            (Some((a, low)), Some((b, high))) => low + (lambda - a) / (b - a) * (high - low),
            (Some((a, last)), None) => last - (lambda - a),
            (None, Some((_, first))) => *first,
            (None, None) => f64::NEG_INFINITY,
        };
        log.exp()
    }
}

impl ReverseVariance for AnalyticVariance {
    fn between(&self, from: &Level, to: &Level) -> f64 {
        if to.sigma == 0.0 {
            return 0.0;
        }
        let posterior = from.posterior(to);
        posterior.variance + posterior.from_data.powi(2) * self.error(from.lambda)
    }
}
