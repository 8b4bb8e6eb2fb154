//! Adaptation of step sizes to an acceptance probability, before the chain proper begins.
//!
//! Robbins & Monro's recursion for a root of E[a(ε)] = a* (Andrieu & Thoms, "A tutorial on adaptive MCMC", 2008, eq.
//! 19):
//!
//! > ln ε ← ln ε + (k + 1)^(−0.6) (a_k − a*),  k = 0, 1, …
//!
//! with the acceptance probability a_k of step k. A chain whose step size depends on its past does not leave its target
//! exactly invariant; after the last step of warm-up ε is constant, and the chain does.

use super::probability;
use crate::{Error, Result};

/// The length of the adaptation and the acceptance probability that it aims at.
#[derive(Debug, Clone, Copy)]
pub(super) struct WarmUp {
    pub(super) steps: u64,
    pub(super) acceptance: f64,
}

/// The exponent of the gain: above ½, so that the noise averages out, and below 1, so that any start is left.
const DECAY: f64 = 0.6;

impl WarmUp {
    /// Updates each row's step size after step `step`, by the log-ratios of its proposals.
    pub(super) fn adapt(self, step_size: &mut [f64], step: u64, log_ratio: &[f64]) {
        if step >= self.steps {
            return;
        }
        let gain = (step as f64 + 1.0).powf(-DECAY);
        for (size, ratio) in step_size.iter_mut().zip(log_ratio) {
            *size *= (gain * (probability(*ratio) - self.acceptance)).exp();
        }
    }

    /// Fails unless the acceptance is a probability that can be reached: in (0, 1).
    pub(super) fn check(self) -> Result<()> {
        if self.acceptance > 0.0 && self.acceptance < 1.0 {
            return Ok(());
        }
        let problem = self.acceptance.to_string();
        Err(Error::config("kernel.acceptance", problem, "a number above 0 and below 1"))
    }
}

/// Fails unless a step size is positive and finite.
pub(super) fn check_step_size(step_size: f64) -> Result<()> {
    if step_size > 0.0 && step_size.is_finite() {
        return Ok(());
    }
    Err(Error::config("kernel.step_size", step_size.to_string(), "a positive finite number"))
}
