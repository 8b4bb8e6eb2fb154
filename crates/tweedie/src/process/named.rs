//! Any named schedule, as recipes and runs write it.

use super::level::MOST_LOG_SNR;
use super::{
    Chain, Cosine, Edm, Learned, Level, OrnsteinUhlenbeck, Rate, Schedule, Straight, SubVp, Ve,
    VpLinear,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Any named schedule, as recipes and runs write it: `{ name = "cosine", side = 32 }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum AnySchedule {
    /// [`VpLinear`].
    VpLinear(VpLinear),
    /// [`Ve`].
    Ve(Ve),
    /// [`SubVp`].
    SubVp(SubVp),
    /// [`OrnsteinUhlenbeck`].
    Ou(OrnsteinUhlenbeck),
    /// [`Cosine`].
    Cosine(Cosine),
    /// [`Edm`].
    Edm(Edm),
    /// [`Straight`].
    Straight(Straight),
    /// [`Chain`].
    Chain(Chain),
    /// [`Learned`].
    Learned(Learned),
}

/// Every schedule by name, with one line on what it is.
pub const SCHEDULES: &[(&str, &str)] = &[
    ("vp-linear", "variance preserving, linear β (DDPM's limit); t in [1e-5, 1]"),
    ("ve", "variance exploding, geometric σ; t in [0, 1]"),
    ("sub-vp", "sub-VP, σ = 1 − α²; t in [1e-3, 1]"),
    ("ou", "Ornstein–Uhlenbeck; t in [1e-5, 5]"),
    ("cosine", "cosine log-SNR with resolution shift; t in [0, 1]"),
    ("edm", "α = 1, σ = t; t in [0.002, 80]"),
    ("straight", "α = 1 − t, σ = t (rectified flow); t in [0.001, 0.999]"),
    ("chain", "DDPM's discrete chain, from a table of β; t the index, 0 to steps − 1"),
    (
        "learned",
        "monotone λ with weights that lower the bound's variance, for `bound`; t in [0, 1]",
    ),
];

impl AnySchedule {
    fn inner(&self) -> &dyn Schedule {
        match self {
            Self::VpLinear(s) => s,
            Self::Ve(s) => s,
            Self::SubVp(s) => s,
            Self::Ou(s) => s,
            Self::Cosine(s) => s,
            Self::Edm(s) => s,
            Self::Straight(s) => s,
            Self::Chain(s) => s,
            Self::Learned(s) => s,
        }
    }

    /// Fails, naming the key, unless every parameter makes sense.
    pub fn check(&self) -> Result<()> {
        let positive = |key: &str, value: f64| {
            if value > 0.0 && value.is_finite() {
                Ok(())
            } else {
                Err(Error::config(
                    format!("schedule.{key}"),
                    format!("{value}"),
                    "a positive number",
                ))
            }
        };
        let rising = |low: &str, a: f64, high: &str, b: f64| {
            if a < b && a.is_finite() && b.is_finite() {
                Ok(())
            } else {
                Err(Error::config(
                    format!("schedule.{high}"),
                    format!("{b} with {low} = {a}"),
                    format!("a finite number above {low}"),
                ))
            }
        };
        match self {
            Self::VpLinear(s) | Self::SubVp(SubVp { beta: s }) => {
                positive("beta_min", s.beta_min)?;
                rising("beta_min", s.beta_min, "beta_max", s.beta_max)
            }
            Self::Ve(Ve { sigma_min, sigma_max }) | Self::Edm(Edm { sigma_min, sigma_max }) => {
                positive("sigma_min", *sigma_min)?;
                rising("sigma_min", *sigma_min, "sigma_max", *sigma_max)
            }
            Self::Ou(s) => {
                positive("theta", s.theta)?;
                positive("t_max", s.t_max - 1e-5)
            }
            Self::Cosine(s) => {
                positive("side", s.side)?;
                rising("lambda_min", s.lambda_min, "lambda_max", s.lambda_max)
            }
            Self::Straight(s) => {
                positive("delta", s.delta)?;
                rising("delta", s.delta, "1 - delta", 1.0 - s.delta)
            }
            // It cannot be made otherwise, and its end may be pure noise.
            Self::Chain(_) => return Ok(()),
            Self::Learned(s) => s.check(),
        }?;
        let (first, last) = self.range();
        let (high, low) = (self.level(first).lambda, self.level(last).lambda);
        if high <= MOST_LOG_SNR && low >= -MOST_LOG_SNR && low < high {
            return Ok(());
        }
        let problem = format!("its log-SNR falls from {high:.4e} to {low:.4e}");
        let expected = format!("a fall within ±{MOST_LOG_SNR}");
        Err(Error::config("schedule", problem, expected))
    }
}

impl Schedule for AnySchedule {
    fn level(&self, t: f64) -> Level {
        self.inner().level(t)
    }
    fn drift(&self, t: f64) -> f64 {
        self.inner().drift(t)
    }
    fn lambda_rate(&self, t: f64) -> f64 {
        self.inner().lambda_rate(t)
    }
    fn range(&self) -> (f64, f64) {
        self.inner().range()
    }
    fn time(&self, lambda: f64) -> f64 {
        self.inner().time(lambda)
    }
    fn diffusion_squared(&self, t: f64) -> f64 {
        self.inner().diffusion_squared(t)
    }
    fn rate(&self, t: f64) -> Rate {
        self.inner().rate(t)
    }
    fn chain_len(&self) -> Option<usize> {
        self.inner().chain_len()
    }
}
