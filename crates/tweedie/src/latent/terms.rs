//! The weights of the terms of a bound in training, and constraints on them.
//!
//! The evidence lower bound has two terms, L = E ln p(x | z) and D = KL(q(z | x) ‖ p(z)). Training maximises
//!
//! > λ L − β Σ_g max(D_g, free)
//!
//! over the mean of a batch: β rises from 0 to its value over the first steps (KL warm-up; Bowman et al. 2016,
//! *Generating sentences from a continuous space*, sec. 3.1; Sønderby et al. 2016), other values of β are those of
//! Higgins et al. 2017, *β-VAE*; the part of each group g of dimensions below `free` nats costs nothing (free bits;
//! Kingma et al. 2016, *Improved variational inference with inverse autoregressive flow*, appendix C.8). A group is a
//! dimension where its divergence has a closed form, otherwise a layer.
//!
//! With a constraint L ≥ −R, λ is its multiplier, learnt while D is minimised (Rezende & Viola 2018, *Taming VAEs*,
//! algorithm 1): after each step
//!
//! > c ← 0.9 c + 0.1 (−L − R)/columns,  ln λ ← ln λ + rate · clamp(c, −1, 1).

use super::Bound;
use crate::error::within;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How much of the mean violation of a constraint is kept in a step.
const KEPT: f64 = 0.9;
/// The bound on |ln λ|, beyond which a constraint counts as impossible.
const MOST_LOG_MULTIPLIER: f64 = 14.0;

/// A lower limit of the mean ln p(x | z), in place of a fixed weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    /// The mean −ln p(x | z) of a row to reach, in nats; below 0 for dense data.
    pub nats: f64,
    /// The rate at which the logarithm of the multiplier changes.
    #[serde(default = "Constraint::default_rate")]
    pub rate: f64,
}

impl Constraint {
    fn default_rate() -> f64 {
        0.01
    }
}

/// The weights of the terms of a bound in training; see the module's head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Terms {
    /// The weight β of the divergence.
    pub divergence: f64,
    /// The number of steps over which the weight of the divergence rises from 0.
    pub warmup: u64,
    /// The nats of each group of dimensions that cost nothing.
    pub free: f64,
    /// The constraint on the likelihood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { divergence: 1.0, warmup: 0, free: 0.0, constraint: None }
    }
}

impl Terms {
    /// Fails, naming the key, unless every value is valid, and goes with the bound.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self, bound: &Bound) -> Result<()> {
        within("divergence", self.divergence, 0.0, 1e6)?;
        within("free", self.free, 0.0, 1e6)?;
        if let Some(constraint) = self.constraint {
            within("constraint.nats", constraint.nats, -1e12, 1e12)?;
            within("constraint.rate", constraint.rate, 1e-9, 1.0)?;
        }
        let apart = [("free", self.free > 0.0), ("constraint", self.constraint.is_some())];
        if let Some((key, _)) = apart.into_iter().find(|(_, given)| *given && bound.k > 1) {
            let expected = "no such key: for latent.bound.k above 1 the terms do not come apart";
            return Err(Error::config(key, "given", expected));
        }
        if self.constraint.is_some() && (self.divergence, self.warmup) != (1.0, 0) {
            let expected = "no other weight: the constraint's multiplier is the weight";
            return Err(Error::config("constraint", "given with divergence or warmup", expected));
        }
        Ok(())
    }

    /// The weights at a step, from 0, with a constraint's multiplier.
    pub fn factors(&self, step: u64, multiplier: f64) -> Factors {
        let risen = if step < self.warmup { step as f64 / self.warmup as f64 } else { 1.0 };
        Factors { likelihood: multiplier, divergence: self.divergence * risen, free: self.free }
    }
}

/// The weights λ and β of a bound's terms, and the nats of each group that cost nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factors {
    /// λ.
    pub likelihood: f64,
    /// β.
    pub divergence: f64,
    /// The free nats of each group of dimensions.
    pub free: f64,
}

impl Default for Factors {
    /// Those of the bound itself.
    fn default() -> Self {
        Self { likelihood: 1.0, divergence: 1.0, free: 0.0 }
    }
}

/// The multiplier of a constraint in training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Multiplier {
    constraint: Constraint,
    /// ln λ.
    log: f64,
    /// The mean violation c.
    violation: f64,
    /// The number of steps taken.
    steps: u64,
}

impl Multiplier {
    /// The multiplier 1 of a constraint, before the first step.
    pub fn new(constraint: Constraint) -> Self {
        Self { constraint, log: 0.0, violation: 0.0, steps: 0 }
    }

    /// λ.
    pub fn value(&self) -> f64 {
        self.log.exp()
    }

    /// The multiplier after a step with a mean ln p(x | z) of `likelihood` nats a row, of `columns` columns.
    ///
    /// # Errors
    /// [`Error::Config`] if it passes every bound: the constraint cannot be met.
    pub fn after(self, likelihood: f64, columns: usize) -> Result<Self> {
        let now = (-likelihood - self.constraint.nats) / columns as f64;
        // The first mean is the first value.
        let kept = if self.steps == 0 { 0.0 } else { KEPT };
        let violation = kept * self.violation + (1.0 - kept) * now;
        let log = self.log + self.constraint.rate * violation.clamp(-1.0, 1.0);
        let steps = self.steps + 1;
        if log > MOST_LOG_MULTIPLIER {
            let problem = format!(
                "{}, and −ln p(x | z) is still {:.4} nats a row at step {steps}, while the multiplier rose from 1 to {:.3e}",
                self.constraint.nats,
                -likelihood,
                log.exp()
            );
            let expected = "more nats, or a larger model";
            return Err(Error::config("latent.terms.constraint.nats", problem, expected));
        }
        Ok(Self { log: log.max(-MOST_LOG_MULTIPLIER), violation, steps, ..self })
    }

    /// The state of the constraint, in words.
    pub fn note(&self, columns: usize) -> String {
        let Constraint { nats, .. } = self.constraint;
        let found = nats + self.violation * columns as f64;
        let value = self.value();
        format!(
            "constraint: −ln p(x | z) is {found:.4} of {nats} nats a row, by a multiplier of {value:.4}"
        )
    }

    /// ln λ, c and the number of steps, for a checkpoint.
    pub fn state(&self) -> [f64; 3] {
        [self.log, self.violation, self.steps as f64]
    }

    /// The multiplier with the state of a checkpoint.
    pub fn with_state(self, [log, violation, steps]: [f64; 3]) -> Self {
        Self { log, violation, steps: steps as u64, ..self }
    }
}
