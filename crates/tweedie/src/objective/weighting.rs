//! Weightings of noise levels, in a common form.
//!
//! With p(λ) the density of the drawn levels and f the factor on the squared error of the noise, the expected loss is,
//! up to 1/width (Kingma & Gao 2023, eq. 9),
//!
//! > ½ ∫ w(λ) E‖ε − ε̂‖² dλ, w(λ) = 2 p(λ) f(λ);
//!
//! [`Noising::implied_weight`] computes w. Weights are of two kinds. Weights of a draw leave p in w, so that a change
//! of the levels changes the objective. Weights of dλ are divided by p, so that levels change only the variance:
//!
//! | weighting | of | factor on the squared error of the noise | published as |
//! |---|---|---|---|
//! | own, noise, data, v, velocity, edm | a draw | the factor of the unit error | |
//! | min-snr | a draw | min(1, γ e^{−λ}) | Hang et al. 2023, sec. 3.4 |
//! | p2 | a draw | (k + e^λ)^{−γ} | Choi et al. 2022, eq. 8 |
//! | likelihood | dλ | w = 1: g² on the score, per dt | Song et al. 2021, *Maximum likelihood training* |
//! | sigmoid | dλ | w = sigmoid(b − λ) | Kingma & Gao 2023, table 1; Hoogeboom et al. 2024 |
//!
//! `likelihood` is the weight in *Generative Modeling with Diffusion Models*, eqs. 46–50. *An Introduction to
//! Generative Modeling with Flows and Diffusion Models*, cor. 6.3, has it with the factor ½.
//!
//! Where w falls as λ grows, the loss is an evidence bound of data with Gaussian noise added, averaged over the noise
//! (Kingma & Gao 2023, theorem 1); [`Noising::rises`] finds where it does not.

use super::Noising;
use crate::denoise::Prediction;
use crate::process::{Level, Schedule, finite_log_snrs};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The weight of a level in the loss.
///
/// At equal x_t the errors of two predictions differ by a factor that depends only on the level, so that a weight of 1
/// in one prediction applies in any other.
///
/// ```
/// use tweedie::denoise::Prediction;
/// use tweedie::objective::Weighting;
/// use tweedie::process::{Cosine, Schedule};
/// let schedule = Cosine::default();
/// let level = schedule.level(schedule.time(3.0)); // SNR = e³
/// let weighting = Weighting::MinSnr { gamma: 5.0 };
/// let on_data = weighting.factor(Prediction::Data, &level, &schedule, 1.0)?;
/// assert!((on_data - 5.0).abs() < 1e-9);
/// let on_noise = weighting.factor(Prediction::Noise, &level, &schedule, 1.0)?;
/// assert!((on_noise - 5.0 / level.lambda.exp()).abs() < 1e-9);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Weighting {
    /// 1 in the network's own prediction.
    Own,
    /// 1 in noise prediction: DDPM's simple loss.
    Noise,
    /// 1 in data prediction.
    Data,
    /// 1 in v prediction.
    V,
    /// 1 in the velocity: conditional flow matching.
    Velocity,
    /// 1 in EDM's F: EDM's weight (σ² + σ_d²)/(σ σ_d)² on the denoised data, for any α.
    Edm,
    /// min(SNR, γ) on the data.
    MinSnr {
        /// γ, 5 in the paper.
        #[serde(default = "five")]
        gamma: f64,
    },
    /// 1/(k + SNR)^γ on the noise.
    P2 {
        /// k, 1 in the paper.
        #[serde(default = "one")]
        k: f64,
        /// γ, 0.5 or 1 in the paper.
        #[serde(default = "one")]
        gamma: f64,
    },
    /// The weight of the bound of the log-likelihood: 1 for each ½ dλ, for any levels.
    Likelihood,
    /// sigmoid(b − λ) for each ½ dλ, for any levels.
    Sigmoid {
        /// b, 2 in the paper.
        #[serde(default = "two")]
        bias: f64,
    },
}

fn one() -> f64 {
    1.0
}

fn two() -> f64 {
    2.0
}

fn five() -> f64 {
    5.0
}

impl Weighting {
    /// Fails, naming the key, unless every number is in its range.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(self) -> Result<()> {
        let found = |name: &str, value: f64, expected: &str| {
            Err(Error::config(format!("weighting.{name}"), format!("{value:?}"), expected))
        };
        let positive = |v: f64| v > 0.0 && v <= 1e6;
        match self {
            Weighting::MinSnr { gamma } if !positive(gamma) => {
                found("min-snr.gamma", gamma, "a number above 0, at most 1e6")
            }
            Weighting::P2 { k, .. } if !positive(k) => {
                found("p2.k", k, "a number above 0, at most 1e6")
            }
            Weighting::P2 { gamma, .. } if !(0.0..=10.0).contains(&gamma) => {
                found("p2.gamma", gamma, "a number from 0 to 10")
            }
            Weighting::Sigmoid { bias } if !(-40.0..=40.0).contains(&bias) => {
                found("sigmoid.bias", bias, "a number from -40 to 40")
            }
            _ => Ok(()),
        }
    }

    /// Whether the weight applies to dλ, not to a draw.
    pub fn is_of_log_snr(self) -> bool {
        matches!(self, Weighting::Likelihood | Weighting::Sigmoid { .. })
    }

    /// The factor on the squared error of the prediction `own` at a level: per draw, or per dλ.
    ///
    /// # Errors
    /// The errors of [`Prediction::convert`].
    pub fn factor(
        self,
        own: Prediction,
        level: &Level,
        schedule: &dyn Schedule,
        sigma_data: f64,
    ) -> Result<f64> {
        let (unit, times) = match self {
            Weighting::Own => return Ok(1.0),
            Weighting::Noise => (Prediction::Noise, 1.0),
            Weighting::Data => (Prediction::Data, 1.0),
            Weighting::V => (Prediction::V, 1.0),
            Weighting::Velocity => (Prediction::Velocity, 1.0),
            Weighting::Edm => (Prediction::Edm, 1.0),
            Weighting::MinSnr { gamma } => {
                (Prediction::Noise, (gamma * (-level.lambda).exp()).min(1.0))
            }
            Weighting::P2 { k, gamma } => {
                (Prediction::Noise, (k + level.lambda.exp()).powf(-gamma))
            }
            Weighting::Likelihood => (Prediction::Noise, 0.5),
            Weighting::Sigmoid { bias } => {
                (Prediction::Noise, 0.5 / (1.0 + (level.lambda - bias).exp()))
            }
        };
        let rate = Some(schedule.rate(level.t));
        Ok(times * own.convert(unit, level, rate, sigma_data)?.of_prediction.powi(2))
    }

    /// The factor on the squared error of the score at a level, for a network with prediction `own`.
    ///
    /// # Errors
    /// The errors of [`Prediction::convert`].
    pub fn on_score(
        self,
        own: Prediction,
        level: &Level,
        schedule: &dyn Schedule,
        sigma_data: f64,
    ) -> Result<f64> {
        let rate = Some(schedule.rate(level.t));
        let of_score = Prediction::Score.convert(own, level, rate, sigma_data)?.of_prediction;
        Ok(of_score.powi(2) * self.factor(own, level, schedule, sigma_data)?)
    }
}

impl Noising {
    /// The weight w(λ) on ½ dλ E‖ε − ε̂‖² in the expected loss of a network with prediction `own`; see the module
    /// documentation.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tweedie::denoise::Prediction;
    /// use tweedie::objective::{Noising, Weighting};
    /// use tweedie::process::{Schedule, Straight};
    /// // Flow matching at uniform t weights by t/(1 − t) = e^{−λ/2}.
    /// let schedule = Straight { delta: 1e-6, ..Straight::default() };
    /// let noising = Noising::from(Arc::new(schedule)).with_weighting(Weighting::Velocity);
    /// let weight = noising.implied_weight(Prediction::Velocity, &schedule.level(0.25), 1.0)?;
    /// assert!((weight - 1.0 / 3.0).abs() < 1e-5);
    /// # Ok::<(), tweedie::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`crate::process::LevelDistribution::density`] and [`Prediction::convert`].
    pub fn implied_weight(&self, own: Prediction, level: &Level, sigma_data: f64) -> Result<f64> {
        let schedule = &*self.schedule;
        let weighting = self.weighting.unwrap_or(Weighting::Own);
        let of_noise =
            Prediction::Noise.convert(own, level, Some(schedule.rate(level.t)), sigma_data)?;
        let factor = weighting.factor(own, level, schedule, sigma_data)?;
        let density = if weighting.is_of_log_snr() { 1.0 } else { self.drawn_as(level)? };
        Ok(2.0 * density * factor * of_noise.of_prediction.powi(2))
    }

    /// The first of 1,000 log-SNRs, from the noisiest, at which [`Noising::implied_weight`] rises with λ; `None` if it
    /// never does. Where it rises, the loss is not an evidence bound of augmented data.
    ///
    /// # Errors
    /// As [`Noising::implied_weight`].
    pub fn rises(&self, own: Prediction, sigma_data: f64) -> Result<Option<f64>> {
        let (high, low) = finite_log_snrs(&*self.schedule);
        let mut least = f64::INFINITY;
        for k in 0..1000 {
            let lambda = low + (f64::from(k) + 0.5) * (high - low) / 1000.0;
            let level = self.schedule.level(self.schedule.time(lambda));
            let weight = self.implied_weight(own, &level, sigma_data)?;
            // A constant weight has rounding errors.
            if weight > least * (1.0 + 1e-9) {
                return Ok(Some(lambda));
            }
            least = weight;
        }
        Ok(None)
    }
}
