//! Random-walk Metropolis: the proposal y = x + σ z, symmetric, so that the ratio is p(y)/p(x).

use super::metropolis::{Proposal, metropolis, refusal};
use super::target_values::Needs;
use super::warm_up::{WarmUp, check_step_size};
use super::{Chains, Info, Transition};
use crate::data::LogDensity;
use crate::{Draws, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Random-walk Metropolis (Metropolis et al. 1953) with Gaussian steps; leaves its target invariant at any step size.
///
/// For many independent coordinates of unit variance σ = 2.38/√d mixes fastest, at an acceptance of 0.234 (Roberts,
/// Gelman & Gilks 1997).
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::data::Toy;
/// use tweedie::mcmc::{RandomWalk, Transition};
/// let kernel = RandomWalk { warm_up: 200, ..RandomWalk::default() };
/// let mut chains = kernel.init(Tensor::zeros([8, 2], &Device::flex()), &Toy::Moons)?;
/// for _ in 0..300 {
///     chains = kernel.step(chains, &Toy::Moons, &Draws::new(0))?.0;
/// }
/// assert!(chains.step_size().iter().all(|sd| (1.0..10.0).contains(sd)));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomWalk {
    /// σ, the standard deviation of a step in each coordinate; the initial value if there is a warm-up.
    pub step_size: f64,
    /// The number of steps during which each chain adapts its σ; 0 for no warm-up.
    pub warm_up: u64,
    /// The acceptance probability that warm-up aims at, in (0, 1).
    pub acceptance: f64,
}

impl Default for RandomWalk {
    fn default() -> Self {
        Self { step_size: 1.0, warm_up: 0, acceptance: 0.234 }
    }
}

impl RandomWalk {
    /// The name in recipes.
    pub const NAME: &'static str = "random-walk";

    fn adaptation(&self) -> WarmUp {
        WarmUp { steps: self.warm_up, acceptance: self.acceptance }
    }
}

impl Transition for RandomWalk {
    fn init(&self, x: Tensor<2>, target: &dyn LogDensity) -> Result<Chains> {
        self.check()?;
        Chains::start(x, self.step_size, target, Needs::LogDensity).map_err(refusal(Self::NAME))
    }

    fn step(
        &self,
        chains: Chains,
        target: &dyn LogDensity,
        draws: &Draws,
    ) -> Result<(Chains, Info)> {
        let refuse = refusal(Self::NAME);
        let chains = chains.knowing(target, Needs::LogDensity).map_err(&refuse)?;
        let mut x = chains.noise(draws);
        let rows = x.chunks_mut(chains.width).zip(chains.x.chunks(chains.width));
        for ((to, from), sd) in rows.zip(&chains.step_size) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from + sd * *to);
        }
        chains.round(&mut x);
        let known = chains.at(&x, target, Needs::LogDensity).map_err(&refuse)?;
        let pairs = known.log_density.iter().zip(&chains.known.log_density);
        let log_ratio = pairs.map(|(there, here)| there - here).collect();
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
