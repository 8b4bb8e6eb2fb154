//! The unadjusted Langevin algorithm: x ← x + ε ∇log p(x) + √(2ε) z (*An Introduction to Generative Modeling with Flows
//! and Diffusion Models*, eq. 6.62, with γ² = 2 ε).
//!
//! It is the Euler scheme of Langevin dynamics, and its invariant density is off by O(ε): for the target N(0, s²) it is
//! N(0, s²/(1 − ε/(2 s²))), and the chain diverges from ε = 2 s² on.

use super::target_values::Needs;
use super::warm_up::check_step_size;
use super::{Chains, Info, Transition};
use crate::data::LogDensity;
use crate::{Draws, Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The unadjusted Langevin algorithm: needs the score alone; its invariant density is off by O(ε).
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::data::Toy;
/// use tweedie::mcmc::{Transition, Ula};
/// let kernel = Ula { step_size: 0.01 };
/// let chains = kernel.init(Tensor::zeros([8, 2], &Device::flex()), &Toy::Moons)?;
/// let (chains, info) = kernel.step(chains, &Toy::Moons, &Draws::new(0))?;
/// assert!(chains.log_density().is_none() && info.acceptance() == 1.0);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ula {
    /// ε, the time of a step of dx = ∇log p dt + √2 dw.
    pub step_size: f64,
}

impl Default for Ula {
    fn default() -> Self {
        Self { step_size: 0.01 }
    }
}

impl Ula {
    /// The name in recipes.
    pub const NAME: &'static str = "ula";
}

/// The rows after a Langevin step of each chain, with its noise.
pub(super) fn langevin(chains: &Chains, draws: &Draws) -> Vec<f64> {
    let w = chains.width;
    let mut x = chains.noise(draws);
    let rows = x.chunks_mut(w).zip(chains.x.chunks(w)).zip(chains.known.score.chunks(w));
    for (((to, from), score), eps) in rows.zip(&chains.step_size) {
        let spread = (2.0 * eps).sqrt();
        let from = from.iter().zip(score);
        to.iter_mut().zip(from).for_each(|(to, (x, s))| *to = x + eps * s + spread * *to);
    }
    chains.round(&mut x);
    x
}

impl Transition for Ula {
    fn init(&self, x: Tensor<2>, target: &dyn LogDensity) -> Result<Chains> {
        self.check()?;
        Chains::start(x, self.step_size, target, Needs::Score)
    }

    fn step(
        &self,
        chains: Chains,
        target: &dyn LogDensity,
        draws: &Draws,
    ) -> Result<(Chains, Info)> {
        let mut chains = chains.knowing(target, Needs::Score)?;
        chains.x = langevin(&chains, draws);
        chains.known = chains.at(&chains.x, target, Needs::Score)?;
        chains.steps += 1;
        let n = chains.len();
        for (i, x) in chains.x.chunks(chains.width).enumerate() {
            if chains.known.fault(i).is_some() || !x.iter().all(|v| v.is_finite()) {
                let what =
                    format!("chain {} of {} left the finite numbers", chains.rows[i], Self::NAME);
                return Err(Error::Diverged { what, step: chains.steps });
            }
        }
        Ok((chains, Info { accepted: vec![true; n], log_ratio: vec![0.0; n] }))
    }

    fn check(&self) -> Result<()> {
        check_step_size(self.step_size)
    }
}
