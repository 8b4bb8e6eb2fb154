//! Gibbs sampling: each block of values is drawn from its distribution given the others (Geman & Geman, "Stochastic
//! relaxation, Gibbs distributions, and the Bayesian restoration of images", 1984).

use super::target_values::Needs;
use super::{Chains, Info, Transition};
use crate::data::{Blocks, LogDensity, doubles};
use crate::{Draws, Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Gibbs sampling: a step draws every block once. It needs a target whose blocks can be drawn from, such as a
/// Boltzmann machine's, and leaves it invariant.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::data::shipped;
/// use tweedie::mcmc::{Gibbs, Transition};
/// use tweedie::nn::energy::{EnergyConfig, EnergyDensity, RestrictedConfig};
/// let data = shipped::digits()?.binarised(tweedie::data::Binarisation::Threshold)?;
/// let machine = RestrictedConfig::default().init(&data.space, &Draws::new(0), &Device::flex())?;
/// let machine = EnergyDensity::new(machine);
/// let start = Tensor::full([8, 64], 0.5, &Device::flex());
/// let chains = Gibbs.init(start, &machine)?;
/// let (chains, info) = Gibbs.step(chains, &machine, &Draws::new(1))?;
/// assert!(chains.values().iter().all(|x| x.abs() == 0.5) && info.acceptance() == 1.0);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gibbs;

/// The blocks of a target.
fn blocks(target: &dyn LogDensity) -> Result<&dyn Blocks> {
    let why = "the distribution of a value given the others is not known";
    target.by_blocks().ok_or_else(|| Error::undefined("a step of gibbs", why))
}

impl Transition for Gibbs {
    fn init(&self, x: Tensor<2>, target: &dyn LogDensity) -> Result<Chains> {
        blocks(target)?;
        Chains::start(x, 1.0, target, Needs::Nothing)
    }

    fn step(
        &self,
        mut chains: Chains,
        target: &dyn LogDensity,
        draws: &Draws,
    ) -> Result<(Chains, Info)> {
        let draws = draws.at(chains.steps).purpose("gibbs");
        chains.x = doubles(&blocks(target)?.sweep(chains.x(), &chains.rows, &draws)?)?;
        chains.known =
            chains.at(&chains.x, target, chains.known.needs().unwrap_or(Needs::Nothing))?;
        chains.steps += 1;
        let n = chains.len();
        Ok((chains, Info { accepted: vec![true; n], log_ratio: vec![0.0; n] }))
    }
}
