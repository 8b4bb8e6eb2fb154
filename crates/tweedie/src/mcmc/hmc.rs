//! Hamiltonian Monte Carlo: momenta p ~ N(0, I), then L leapfrog steps of the dynamics of H(x, p) = −ln γ(x) + ‖p‖²/2,
//!
//! > p ← p + (ε/2) ∇ln γ(x),  x ← x + ε p,  p ← p + (ε/2) ∇ln γ(x),
//!
//! and the test of Metropolis with the ratio e^{H(x, p) − H(x′, p′)}: the steps keep volumes and, with the sign of p
//! turned, lead back (Duane et al., "Hybrid Monte Carlo", 1987; Neal, "MCMC using Hamiltonian dynamics", 2011, sec.
//! 3.2). One leapfrog step is a step of the Metropolis-adjusted Langevin algorithm of time ε²/2.
//!
//! On a normal distribution of standard deviation s the dynamics turn by the angle L ε/s, and near a multiple of π a
//! proposal is where the chain was, or opposite. Each proposal has an ε of its own, so that no chain keeps to such an
//! angle (Neal 2011, sec. 4.2; Mackenzie 1989).

use super::metropolis::{Proposal, metropolis, refusal};
use super::target_values::Needs;
use super::warm_up::{WarmUp, check_step_size};
use super::{Chains, Info, Transition};
use crate::data::LogDensity;
use crate::error::{count, within};
use crate::{Draws, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The most leapfrog steps.
const MOST_STEPS: u64 = 1 << 16;

/// Hamiltonian Monte Carlo; leaves its target invariant at any step size.
///
/// For many independent coordinates an acceptance of 0.651 costs least (Beskos et al. 2013); 0.8 is safer where scales
/// differ.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::mcmc::{Banana, Hmc, Transition};
/// let kernel = Hmc { step_size: 0.5, warm_up: 200, ..Hmc::default() };
/// let mut chains = kernel.init(Tensor::zeros([8, 2], &Device::flex()), &Banana::default())?;
/// for _ in 0..300 {
///     chains = kernel.step(chains, &Banana::default(), &Draws::new(0))?.0;
/// }
/// assert!(chains.step_size().iter().all(|eps| *eps != 0.5));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hmc {
    /// ε, the time of a leapfrog step; the initial value if there is a warm-up.
    pub step_size: f64,
    /// The greatest change of ε in a proposal, as a share of it: uniform between (1 − jitter) ε and (1 + jitter) ε.
    pub jitter: f64,
    /// L, the number of leapfrog steps of a proposal.
    pub leapfrog: usize,
    /// The number of steps during which each chain adapts its ε; 0 for no warm-up.
    pub warm_up: u64,
    /// The acceptance probability that warm-up aims at, in (0, 1).
    pub acceptance: f64,
}

impl Default for Hmc {
    fn default() -> Self {
        Self { step_size: 0.1, jitter: 0.3, leapfrog: 10, warm_up: 0, acceptance: 0.8 }
    }
}

impl Hmc {
    /// The name in recipes.
    pub const NAME: &'static str = "hmc";

    fn adaptation(&self) -> WarmUp {
        WarmUp { steps: self.warm_up, acceptance: self.acceptance }
    }
}

/// Adds `share` of the step of each row along `by` to `to`.
fn advance(to: &mut [f64], by: &[f64], steps: &[f64], share: f64) {
    let w = to.len() / steps.len().max(1);
    for ((to, by), eps) in to.chunks_mut(w).zip(by.chunks(w)).zip(steps) {
        to.iter_mut().zip(by).for_each(|(to, by)| *to += share * eps * by);
    }
}

/// ‖p‖²/2 of each chain.
fn kinetic(momenta: &[f64], width: usize) -> Vec<f64> {
    let of = |p: &[f64]| 0.5 * p.iter().map(|v| v * v).sum::<f64>();
    momenta.chunks(width).map(of).collect()
}

impl Transition for Hmc {
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
        let mut momenta = chains.noise(draws);
        let lengths = draws.at(chains.steps).purpose("length");
        let length = |(eps, row): (&f64, &u64)| {
            eps * (1.0 + self.jitter * (2.0 * lengths.uniform_f64(*row, 0) - 1.0))
        };
        let steps: Vec<f64> = chains.step_size.iter().zip(&chains.rows).map(length).collect();
        let before = kinetic(&momenta, chains.width);
        let (mut x, mut known) = (chains.x.clone(), chains.known.clone());
        for _ in 0..self.leapfrog {
            advance(&mut momenta, &known.score, &steps, 0.5);
            advance(&mut x, &momenta, &steps, 1.0);
            chains.round(&mut x);
            known = chains.at(&x, target, Needs::Both).map_err(&refuse)?;
            advance(&mut momenta, &known.score, &steps, 0.5);
        }
        let after = kinetic(&momenta, chains.width);
        let ratio = |i: usize| {
            let here = chains.known.log_density[i] - before[i];
            known.log_density[i] - after[i] - here
        };
        let log_ratio = (0..chains.len()).map(ratio).collect();
        Ok(metropolis(chains, Proposal { x, known, log_ratio }, self.adaptation(), draws))
    }

    fn check(&self) -> Result<()> {
        check_step_size(self.step_size)?;
        within("kernel.jitter", self.jitter, 0.0, 0.999)?;
        count("kernel.leapfrog", self.leapfrog as u64, MOST_STEPS)?;
        self.adaptation().check()
    }

    fn warm_up(&self) -> u64 {
        self.warm_up
    }

    fn good_acceptance(&self) -> Option<f64> {
        Some(self.acceptance)
    }
}
