//! Markov chains that leave a density invariant: targets, kernels and diagnostics.
//!
//! A kernel K(y | x) leaves p invariant if ∫ p(x) K(y | x) dx = p(y). The Metropolis–Hastings test turns any proposal
//! q(y | x) into such a kernel: move to y with probability
//!
//! > min(1, p(y) q(x | y) / (p(x) q(y | x))),
//!
//! else stay. [`RandomWalk`] proposes x + σ z. [`Mala`] proposes a step of Langevin dynamics dx = ∇log p dt + √2 dw,
//! which [`Ula`] takes without the test (*An Introduction to Generative Modeling with Flows and Diffusion Models*, sec.
//! 3.3.3 and eq. 6.62; Roberts & Tweedie 1996), leaving a density that is off by O(ε). [`Hmc`] proposes the end of a
//! path of Hamiltonian dynamics. [`Gibbs`] draws each block of values given the others, where their distributions are
//! known. [`Annealing`] weighs chains whose density changes from one that can be drawn from to another, and so finds
//! the ratio of their integrals.
//!
//! Rows are independent chains: the noise of row i at step k is addressed by (draws, k, i), and each row adapts its own
//! step size. Log densities, scores, noise scales and acceptance are in double precision.

mod annealing;
mod any;
mod at_level;
mod chains;
mod diagnostics;
mod gibbs;
mod hmc;
mod mala;
mod metropolis;
mod random_walk;
mod target_values;
mod targets;
mod ula;
mod warm_up;

pub use annealing::{Annealing, AnnealingPath, GeometricPath};
pub use any::AnyKernel;
pub use at_level::AtLevel;
pub use chains::Chains;
pub use diagnostics::{bulk_ess, r_hat};
pub use gibbs::Gibbs;
pub use hmc::Hmc;
pub use mala::Mala;
pub use random_walk::RandomWalk;
pub use targets::{Banana, Funnel};
pub use ula::Ula;

use crate::data::LogDensity;
use crate::{Draws, Result};
use burn::tensor::Tensor;

/// A kernel: one step of all chains.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{DType, Device, Tensor};
/// use tweedie::mcmc::{Banana, Mala, Transition};
/// let (kernel, target) = (Mala { step_size: 0.5, ..Mala::default() }, Banana::default());
/// let start = Tensor::<2>::zeros([64, 2], (&Device::flex(), DType::F32)); // 64 chains
/// let mut chains = kernel.init(start, &target)?;
/// for _ in 0..100 {
///     let (next, info) = kernel.step(chains, &target, &Draws::new(7))?;
///     assert_eq!(info.accepted.len(), 64);
///     chains = next;
/// }
/// assert_eq!((chains.steps(), chains.x().dims()), (100, [64, 2]));
/// # Ok::<(), tweedie::Error>(())
/// ```
pub trait Transition: std::fmt::Debug + Send + Sync {
    /// Chains at the rows of `x`, `[n, width]`, numbered from 0, before their first step.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for an invalid option of the kernel, or a row whose log density or score, where the
    /// kernel needs it, is not finite; [`crate::Error::Shape`] if `x` does not fit the target;
    /// [`crate::Error::Undefined`] if the kernel needs a log density and the target has none.
    fn init(&self, x: Tensor<2>, target: &dyn LogDensity) -> Result<Chains>;

    /// The chains after one more step. Values of the target that the kernel needs and the chains lack are computed
    /// first.
    ///
    /// # Errors
    /// Errors of the target; [`crate::Error::Undefined`] as for [`Transition::init`]; [`crate::Error::Diverged`] if a
    /// row is no longer finite, which can happen only to kernels without an acceptance test.
    fn step(
        &self,
        chains: Chains,
        target: &dyn LogDensity,
        draws: &Draws,
    ) -> Result<(Chains, Info)>;

    /// Fails, naming the key, unless every option is valid.
    ///
    /// # Errors
    /// [`crate::Error::Config`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The number of steps during which step sizes adapt, so that chains do not leave their target invariant; 0 for
    /// none.
    fn warm_up(&self) -> u64 {
        0
    }

    /// The mean probability of acceptance to aim at; none for a kernel without an acceptance test.
    fn good_acceptance(&self) -> Option<f64> {
        None
    }
}

/// The outcome of a step, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// Whether each row moved to its proposal.
    pub accepted: Vec<bool>,
    /// The logarithm of each row's acceptance ratio; −∞ for an impossible proposal, 0 for a kernel without a test.
    pub log_ratio: Vec<f64>,
}

impl Info {
    /// The mean probability of acceptance over the rows.
    pub fn acceptance(&self) -> f64 {
        let total: f64 = self.log_ratio.iter().map(|ratio| probability(*ratio)).sum();
        total / self.log_ratio.len() as f64
    }
}

/// min(1, eʳ).
fn probability(log_ratio: f64) -> f64 {
    log_ratio.min(0.0).exp()
}
