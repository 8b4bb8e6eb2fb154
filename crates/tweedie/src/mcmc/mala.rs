//! The Metropolis-adjusted Langevin algorithm: a step of [`Ula`](super::Ula) as a proposal, with
//!
//! > ln q(y | x) = −‖y − x − ε ∇log p(x)‖²/(4 ε) + const
//!
//! (Roberts & Tweedie, "Exponential convergence of Langevin distributions and their discrete approximations", 1996).

use super::metropolis::{Proposal, metropolis, refusal};
use super::target_values::Needs;
use super::ula::langevin;
use super::warm_up::{WarmUp, check_step_size};
use super::{Chains, Info, Transition};
use crate::data::LogDensity;
use crate::{Draws, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The Metropolis-adjusted Langevin algorithm: leaves its target invariant at any step size.
///
/// For many independent coordinates an acceptance of 0.574 mixes fastest (Roberts & Rosenthal 1998).
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::mcmc::{Banana, Mala, Transition};
/// let kernel = Mala { step_size: 1.0, warm_up: 200, ..Mala::default() };
/// let mut chains = kernel.init(Tensor::zeros([8, 2], &Device::flex()), &Banana::default())?;
/// for _ in 0..300 {
///     chains = kernel.step(chains, &Banana::default(), &Draws::new(0))?.0;
/// }
/// assert!(chains.step_size().iter().all(|eps| *eps != 1.0));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mala {
    /// ε, the time of a step of dx = ∇log p dt + √2 dw; the initial value if there is a warm-up.
    pub step_size: f64,
    /// The number of steps during which each chain adapts its ε; 0 for no warm-up.
    pub warm_up: u64,
    /// The acceptance probability that warm-up aims at, in (0, 1).
    pub acceptance: f64,
}

impl Default for Mala {
    fn default() -> Self {
        Self { step_size: 0.1, warm_up: 0, acceptance: 0.574 }
    }
}

impl Mala {
    /// The name in recipes.
    pub const NAME: &'static str = "mala";

    fn adaptation(&self) -> WarmUp {
        WarmUp { steps: self.warm_up, acceptance: self.acceptance }
    }
}

/// ln q(y | x) up to a constant.
fn log_proposal(y: &[f64], x: &[f64], score: &[f64], eps: f64) -> f64 {
    let off = y.iter().zip(x).zip(score).map(|((y, x), s)| (y - x - eps * s).powi(2));
    -off.sum::<f64>() / (4.0 * eps)
}

impl Transition for Mala {
    fn init(&self, x: Tensor<2>, target: &dyn LogDensity) -> Result<Chains> {
        self.check()?;
        Chains::start(x, self.step_size, target, Needs::Both).map_err(refusal(Self::NAME))
    }

    fn step(
        &self,
        chains: Chains,
        target: &dyn LogDensity,
        draws: &Draws,
    ) -> Result<(Chains, Info)> {
        let refuse = refusal(Self::NAME);
        let chains = chains.knowing(target, Needs::Both).map_err(&refuse)?;
        let x = langevin(&chains, draws);
        let known = chains.at(&x, target, Needs::Both).map_err(&refuse)?;
        let row = |i: usize| i * chains.width..(i + 1) * chains.width;
        let ratio = |i: usize| {
            let (from, to, eps) = (&chains.x[row(i)], &x[row(i)], chains.step_size[i]);
            let back = log_proposal(from, to, &known.score[row(i)], eps);
            let forth = log_proposal(to, from, &chains.known.score[row(i)], eps);
            known.log_density[i] - chains.known.log_density[i] + back - forth
        };
        let log_ratio = (0..chains.len()).map(ratio).collect();
        Ok(metropolis(chains, Proposal { x, known, log_ratio }, self.adaptation(), draws))
    }

    fn check(&self) -> Result<()> {
        check_step_size(self.step_size)?;
        self.adaptation().check()
    }

    fn warm_up(&self) -> u64 {
        self.warm_up
    }

    fn good_acceptance(&self) -> Option<f64> {
        Some(self.acceptance)
    }
}
