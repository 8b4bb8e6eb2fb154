//! Importance sampling: expectations under P from draws of Q.
//!
//! With weights w = p/q at draws x₁, …, x_n of Q (*An Introduction to Generative Modeling with Flows and Diffusion
//! Models*, sec. 2.5.3):
//!
//! | estimate of E_P(h) | | variance |
//! |---|---|---|
//! | plain | (1/n) Σ wᵢ h(xᵢ), unbiased | (E_Q(w² h²) − E_P(h)²)/n (eq. 2.33) |
//! | self-normalised | Σ w̃ᵢ h(xᵢ), w̃ᵢ = wᵢ/Σ w: w up to a constant | Σ w̃ᵢ² (h(xᵢ) − mean)², to first order |
//!
//! The plain one's variance is least for q ∝ |h| p, where it is ((E_P|h|)² − E_P(h)²)/n: zero for h ≥ 0 alone (which
//! corrects eq. 2.34). The self-normalised one has the bias −Σ w̃ᵢ² (h(xᵢ) − mean) to first order (Owen, *Monte Carlo
//! theory, methods and examples*, ch. 9).
//!
//! The effective sample size is (Σ w)²/Σ w² (Kong 1992). Neither it nor a standard error shows weights that no draw has
//! met yet: the tail's shape k̂ does ([`psis_k`]). Above 0.7 no practical number of draws gives a reliable estimate
//! (Vehtari et al. 2024, sec. 3).

use super::{Estimate, psis_k};
use crate::tensor::mean_and_error;
use crate::{Error, Result};

/// The k̂ above which a warning is raised.
const RELIABLE: f64 = 0.7;

/// The least number of weights whose tail has a shape.
const LEAST: usize = 25;

/// Importance weights by their logarithms, of p/q or of γ/q with γ = Z p.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::divergence::Weights;
/// // P = N(1, 1) from draws of N(0, 1): ln w = x − ½.
/// let x: Vec<f64> = (0..4000).map(|i| Draws::new(1).normal_f64(i, 0)).collect();
/// let weights = Weights::new(x.iter().map(|x| x - 0.5).collect())?;
/// let mean = weights.self_normalised(&x)?;
/// assert!((mean.value - 1.0).abs() < 5.0 * mean.standard_error);
/// assert!((weights.ess() / 4000.0 - (-1.0f64).exp()).abs() < 0.1); // 1/E[w²] = e⁻¹
/// assert_eq!(weights.warning(), None);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The weights relative to the largest.
    relative: Vec<f64>,
    /// The logarithm of the largest weight.
    largest: f64,
    log: Vec<f64>,
}

/// A self-normalised estimate, a ratio of two means.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Ratio {
    /// The estimate.
    pub value: f64,
    /// The standard error of the estimate, to first order.
    pub standard_error: f64,
    /// The bias of the estimate, to first order in 1/n; `value` contains it.
    pub bias: f64,
}

impl Weights {
    /// Weights from their natural logarithms, −∞ for a weight of zero.
    ///
    /// # Errors
    /// [`Error::Shape`] for fewer than 2 weights; [`Error::Undefined`] naming a weight that is NaN or infinite, or if
    /// all are zero.
    pub fn new(log: Vec<f64>) -> Result<Self> {
        if log.len() < 2 {
            return Err(Error::shape("importance weights", log.len(), "at least 2"));
        }
        if let Some(at) = log.iter().position(|w| w.is_nan() || *w == f64::INFINITY) {
            let why = format!("the logarithm of weight {at} is {}", log[at]);
            return Err(Error::undefined("importance sampling", why));
        }
        let largest = log.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if largest == f64::NEG_INFINITY {
            return Err(Error::undefined("importance sampling", "all weights are zero"));
        }
        let relative = log.iter().map(|w| (w - largest).exp()).collect();
        Ok(Self { relative, largest, log })
    }

    /// E_P(h) from h at each draw, by plain importance sampling: Z E_P(h) for weights γ/q. `h` = 1 gives Z.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there is a value for each weight.
    pub fn mean(&self, h: &[f64]) -> Result<Estimate> {
        self.check(h)?;
        let products: Vec<f64> = self.relative.iter().zip(h).map(|(w, h)| w * h).collect();
        let (mean, error) = mean_and_error(&products);
        let scale = self.largest.exp();
        Ok(Estimate { value: mean * scale, standard_error: error * scale })
    }

    /// ln Z, the logarithm of the mean weight, with the standard error of the mean over the mean. Its expectation is at
    /// most ln Z.
    pub fn log_mean(&self) -> Estimate {
        let (mean, error) = mean_and_error(&self.relative);
        Estimate { value: self.largest + mean.ln(), standard_error: error / mean }
    }

    /// E_P(h) from h at each draw, self-normalised.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there is a value for each weight.
    pub fn self_normalised(&self, h: &[f64]) -> Result<Ratio> {
        self.check(h)?;
        let total: f64 = self.relative.iter().sum();
        let pairs = || self.relative.iter().zip(h).map(|(w, h)| (w / total, h));
        let value = pairs().map(|(w, h)| w * h).sum::<f64>();
        let variance = pairs().map(|(w, h)| (w * (h - value)).powi(2)).sum::<f64>();
        let bias = -pairs().map(|(w, h)| w * w * (h - value)).sum::<f64>();
        Ok(Ratio { value, standard_error: variance.sqrt(), bias })
    }

    /// The variance of the weights over their squared mean, an estimate of χ²(P‖Q).
    pub fn variance(&self) -> f64 {
        let (mean, error) = mean_and_error(&self.relative);
        (error / mean).powi(2) * self.relative.len() as f64
    }

    /// The effective sample size (Σ w)²/Σ w², from 1 to n.
    pub fn ess(&self) -> f64 {
        let square: f64 = self.relative.iter().map(|w| w * w).sum();
        self.relative.iter().sum::<f64>().powi(2) / square
    }

    /// The shape k̂ of the weights' tail; see [`psis_k`].
    pub fn pareto_k(&self) -> Option<f64> {
        psis_k(&self.log)
    }

    /// A warning if estimates by these weights cannot be relied on: k̂ is above 0.7, or there are fewer than 25
    /// weights.
    pub fn warning(&self) -> Option<String> {
        let n = self.log.len();
        if n < LEAST {
            return Some(format!(
                "{n} importance weights: the tail cannot be judged below {LEAST}"
            ));
        }
        let k = self.pareto_k().filter(|k| *k > RELIABLE)?;
        let ess = self.ess();
        Some(format!(
            "the importance weights have a tail of shape {k:.2}, above {RELIABLE}: estimates are not reliable, \
             whatever their standard error and effective sample size ({ess:.1} of {n})"
        ))
    }

    fn check(&self, h: &[f64]) -> Result<()> {
        if h.len() == self.log.len() {
            return Ok(());
        }
        Err(Error::shape("values at the draws", h.len(), self.log.len()))
    }
}
