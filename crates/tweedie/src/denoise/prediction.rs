//! Predictions of a network, and the conversions between them.
//!
//! With x_t = α x₀ + σ ε, every prediction is a linear combination p x₀ + q ε in expectation given x_t:
//!
//! | prediction | p | q |
//! |---|---|---|
//! | data x₀ | 1 | 0 |
//! | noise ε | 0 | 1 |
//! | score ∇log p_t | 0 | −1/σ |
//! | v (Salimans & Ho 2022) | −σ | α |
//! | velocity dx_t/dt | dα/dt | dσ/dt |
//! | EDM's F (Karras et al. 2022, eq. 7) | σ/(S σ_d) | −α σ_d/S, S² = σ² + α² σ_d² |
//!
//! Two of x_t, p x₀ + q ε determine a third by a 2 × 2 determinant: with Δ = α q₁ − σ p₁,
//!
//! > P₂ = [(p₂ q₁ − q₂ p₁) x_t + (α q₂ − σ p₂) P₁]/Δ.
//!
//! This is Table 6.1 of *An Introduction to Generative Modeling with Flows and Diffusion Models* (whose column x_θ
//! lacks α) for every pair at once. Where Δ = 0 the conversion does not exist — data from noise at α = 0, noise from
//! data at σ = 0 — unless the two predictions are multiples of each other. The score exists only for σ > 0.

use crate::process::{Level, Levels, Rate, Schedule};
use crate::registry::registry;
use crate::tensor::Dual;
use crate::{Error, Result};
use burn::tensor::Tensor;

registry! {
    /// The quantity that a network predicts.
    pub word Prediction = Edm {
        "noise" Noise "E[ε | x_t]",
        "data" Data "E[x₀ | x_t]",
        "score" Score "∇log p_t(x_t)",
        "v" V "E[α ε − σ x₀ | x_t]",
        /// The velocity of flow matching; depends on the rates of the schedule.
        "velocity" Velocity "E[dx_t/dt | x_t]",
        /// The preconditioned F of EDM for data of the given standard deviation.
        "edm" Edm "EDM's F, unit variance at every level",
    }
}

/// The coefficients of a converted prediction, `of_x` · x_t + `of_prediction` · P.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficients {
    /// The factor of x_t.
    pub of_x: f64,
    /// The factor of the source prediction P.
    pub of_prediction: f64,
}

impl Prediction {
    /// (p, q) with prediction = p x₀ + q ε. The velocity needs `rate`; the F of EDM needs `sigma_data`.
    ///
    /// # Errors
    /// [`Error::Undefined`] for the score at σ = 0 and for the velocity without a finite rate.
    pub fn mixture(self, level: &Level, rate: Option<Rate>, sigma_data: f64) -> Result<(f64, f64)> {
        let Level { alpha, sigma, .. } = *level;
        match self {
            Prediction::Noise => Ok((0.0, 1.0)),
            Prediction::Data => Ok((1.0, 0.0)),
            Prediction::Score if sigma == 0.0 => Err(Error::undefined(
                "the score at σ = 0",
                "noise-free data need not have a density",
            )),
            Prediction::Score => Ok((0.0, -1.0 / sigma)),
            Prediction::V => Ok((-sigma, alpha)),
            Prediction::Velocity => match rate {
                Some(rate) if rate.alpha.is_finite() && rate.sigma.is_finite() => {
                    Ok((rate.alpha, rate.sigma))
                }
                Some(_) => Err(Error::undefined(
                    format!("the velocity at t = {}", level.t),
                    "the schedule's dα/dt or dσ/dt is infinite there",
                )),
                None => {
                    Err(Error::undefined("the velocity", "it needs the schedule's dα/dt and dσ/dt"))
                }
            },
            Prediction::Edm => {
                let s = sigma.hypot(alpha * sigma_data);
                Ok((sigma / (s * sigma_data), -alpha * sigma_data / s))
            }
        }
    }

    /// The coefficients of the prediction `to` from x_t and this prediction at one level.
    ///
    /// # Errors
    /// [`Error::Undefined`] where the conversion does not exist; see the module documentation.
    pub fn convert(
        self,
        to: Prediction,
        level: &Level,
        rate: Option<Rate>,
        sigma_data: f64,
    ) -> Result<Coefficients> {
        if self == to {
            return Ok(Coefficients { of_x: 0.0, of_prediction: 1.0 });
        }
        let (p1, q1) = self.mixture(level, rate, sigma_data)?;
        let (p2, q2) = to.mixture(level, rate, sigma_data)?;
        let of_x = p2 * q1 - q2 * p1;
        if of_x == 0.0 {
            // One is a multiple of the other at every level.
            let of_prediction = if q1 != 0.0 { q2 / q1 } else { p2 / p1 };
            return Ok(Coefficients { of_x: 0.0, of_prediction });
        }
        let det = level.alpha * q1 - level.sigma * p1;
        if det == 0.0 {
            return Err(Error::undefined(
                format!("{to:?} from {self:?} at α = {}, σ = {}", level.alpha, level.sigma),
                "x_t and the prediction are then the same information",
            ));
        }
        let of_prediction = (level.alpha * q2 - level.sigma * p2) / det;
        Ok(Coefficients { of_x: of_x / det, of_prediction })
    }

    /// Converts a batch: `value` is this prediction at `x`, both `[n, width]`.
    ///
    /// Tracked levels convert through their own columns of α and σ, for every prediction but the velocity.
    ///
    /// # Errors
    /// The errors of [`Prediction::convert`].
    pub fn convert_batch(
        self,
        to: Prediction,
        value: Dual<2>,
        x: Dual<2>,
        levels: &Levels,
        schedule: &dyn Schedule,
        sigma_data: f64,
    ) -> Result<Dual<2>> {
        if self == to {
            return Ok(value);
        }
        let [of_x, of_prediction] = self.columns(to, &x.value, levels, schedule, sigma_data)?;
        Ok(x * of_x + value * of_prediction)
    }

    /// The factors of x and of this prediction as columns, on the device and in the type of `like`.
    pub(crate) fn columns(
        self,
        to: Prediction,
        like: &Tensor<2>,
        levels: &Levels,
        schedule: &dyn Schedule,
        sigma_data: f64,
    ) -> Result<[Tensor<2>; 2]> {
        if let Levels::Tracked { .. } = levels {
            return self.columns_tracked(to, like, levels, sigma_data);
        }
        let needs_rate = self == Prediction::Velocity || to == Prediction::Velocity;
        let at = |level: &Level| {
            let rate = needs_rate.then(|| schedule.rate(level.t));
            self.convert(to, level, rate, sigma_data)
        };
        match levels {
            Levels::All(level) => at(level).map(drop)?,
            Levels::Rows(rows) => rows.iter().try_for_each(|level| at(level).map(drop))?,
            Levels::Tracked { .. } => {}
        }
        let nothing = Coefficients { of_x: f64::NAN, of_prediction: f64::NAN };
        let of_x = levels.column(like, |l| at(l).unwrap_or(nothing).of_x)?;
        let of_prediction = levels.column(like, |l| at(l).unwrap_or(nothing).of_prediction)?;
        Ok([of_x, of_prediction])
    }

    /// The same coefficients, with α and σ as columns of the graph.
    fn columns_tracked(
        self,
        to: Prediction,
        like: &Tensor<2>,
        levels: &Levels,
        sigma_data: f64,
    ) -> Result<[Tensor<2>; 2]> {
        let alpha = levels.alpha(like)?;
        let sigma = levels.sigma(like)?;
        let mixture = |prediction: Prediction| {
            let (zero, one) = (alpha.zeros_like(), alpha.ones_like());
            let s = (sigma.clone().square() + alpha.clone().mul_scalar(sigma_data).square()).sqrt();
            match prediction {
                Prediction::Noise => Ok((zero, one)),
                Prediction::Data => Ok((one, zero)),
                Prediction::Score => Ok((zero, sigma.clone().recip().neg())),
                Prediction::V => Ok((sigma.clone().neg(), alpha.clone())),
                Prediction::Edm => Ok((
                    sigma.clone() / s.clone().mul_scalar(sigma_data),
                    alpha.clone().mul_scalar(-sigma_data) / s,
                )),
                Prediction::Velocity => Err(Error::undefined(
                    "the velocity at tracked levels",
                    "the schedule's rates are learned",
                )),
            }
        };
        let (p1, q1) = mixture(self)?;
        let (p2, q2) = mixture(to)?;
        let det = alpha.clone() * q1.clone() - sigma.clone() * p1.clone();
        let of_x = (p2.clone() * q1 - q2.clone() * p1) / det.clone();
        let of_prediction = (alpha * q2 - sigma * p2) / det;
        Ok([of_x, of_prediction])
    }
}
