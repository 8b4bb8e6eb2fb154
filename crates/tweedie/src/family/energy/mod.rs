//! Energies: networks and Boltzmann machines, p(x) = exp(−E(x))/Z.
//!
//! The gradient of −log p of a row by the weights is ∇E of the row minus the mean of ∇E under the model, whose draws
//! Markov chains give: k steps from the data (contrastive divergence), or from where they were (persistent chains, in a
//! buffer that is part of the checkpoint). Score matching needs no chains, and small machines enumerate Z.
//!
//! Samples are ends of chains. log p needs ln Z: enumerated where the machine is small, or by annealed importance
//! sampling in both directions, of which the larger estimate is used.

mod chains;
mod generator;
mod learner;
mod model;
mod normaliser;
mod objective;
mod score;

pub use model::EnergyModel;
pub use objective::{
    AnyEnergyObjective, Contrastive, Denoising, Enumerated, Implicit, Persistent, Sliced,
};

use super::likelihood::{check_size, of_rows_as_they_are};
use super::{Family, Model, Opening, Start};
use crate::data::Space;
use crate::error::{count, inside};
use crate::mcmc::{AnyKernel, Gibbs, Mala};
use crate::nn::energy::AnyEnergyConfig;
use crate::train::{Fit, Learner, State};
use crate::{Error, Result};
use learner::EnergyLearner;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The most values of a buffer, 256 MiB of them.
const MOST_VALUES: usize = 1 << 26;

/// The energy family's part of a recipe.
///
/// ```
/// use tweedie::family::Family;
/// use tweedie::family::energy::EnergyRecipe;
/// let text = "energy = 'rbm, hidden = 16'\nobjective = 'contrastive, steps = 1'";
/// let table: toml::Table = text.parse().expect("TOML");
/// let recipe: EnergyRecipe = tweedie::registry::read(toml::Value::Table(table), "")?;
/// recipe.check()?;
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnergyRecipe {
    /// The energy.
    pub energy: AnyEnergyConfig,
    /// The objective, and the chains of training.
    pub objective: AnyEnergyObjective,
    /// The training of the energy.
    pub training: Fit,
    /// The chains that generate rows.
    pub sampling: EnergySampling,
}

crate::registry::registry! {
    /// The start of chains that generate rows.
    pub word ChainStart = Buffer {
        "buffer" Buffer "rows of the buffer of persistent chains, where there is one",
        "base" Base "independent columns with the moments of the training rows",
    }
}

/// The defaults of the chains that generate rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnergySampling {
    /// The number of steps from a chain's start to its row.
    pub steps: usize,
    /// The start of chains.
    pub start: ChainStart,
    /// The kernel of the Markov chains. By default it is the kernel of training; Langevin steps then get a Metropolis
    /// test (MALA).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<AnyKernel>,
}

impl Default for EnergySampling {
    fn default() -> Self {
        Self { steps: 200, start: ChainStart::default(), kernel: None }
    }
}

impl EnergySampling {
    /// Fails, naming the key inside `sampling`, unless every value is valid.
    fn check(&self) -> Result<()> {
        count("steps", self.steps as u64, 1 << 24)?;
        self.kernel.iter().try_for_each(check_kernel)
    }
}

/// Fails, naming the key, for a kernel that cannot continue chains with the same steps.
fn check_kernel(kernel: &AnyKernel) -> Result<()> {
    kernel.check()?;
    match kernel.warm_up() {
        0 => Ok(()),
        steps => {
            let expected = "0: chains go on from where they were";
            Err(Error::config("kernel.warm_up", steps.to_string(), expected))
        }
    }
}

impl EnergyRecipe {
    /// The kernel of rows: that of `sampling`, or that of training with a Metropolis test.
    fn resolved_kernel(&self) -> AnyKernel {
        let of_training = || self.objective.kernel().map(with_test);
        let own = self.sampling.kernel.or_else(of_training);
        own.unwrap_or_else(|| default_kernel(&self.energy))
    }
}

/// A kernel that leaves its target invariant: the same one, with a Metropolis test where it lacks one.
fn with_test(kernel: AnyKernel) -> AnyKernel {
    match kernel {
        AnyKernel::Ula(own) => Mala { step_size: own.step_size, ..Mala::default() }.into(),
        other => other,
    }
}

/// The kernel for an energy where a recipe has none.
fn default_kernel(energy: &AnyEnergyConfig) -> AnyKernel {
    match energy {
        AnyEnergyConfig::Network(_) => Mala { step_size: 0.01, ..Mala::default() }.into(),
        _ => Gibbs.into(),
    }
}

/// Fails, naming the key, for data that an energy is not of.
fn check_data(recipe: &EnergyRecipe, space: &Space) -> Result<()> {
    if space.given().is_some() {
        let expected = "no such key: energies are of rows without a condition";
        return Err(Error::config("data.condition", "columns", expected));
    }
    if !space.classes().is_empty() {
        let expected = "\"none\": energies are of rows without their classes";
        return Err(Error::config("data.label", "classes", expected));
    }
    if let Some(problem) = space.without_density() {
        let expected = "real numbers or integers: `data.columns` chooses columns";
        return Err(Error::config("data", problem, expected));
    }
    if !recipe.energy.is_discrete() && !recipe.training.dequantise {
        let expected = "true: integers as they are have no density";
        return Err(Error::config("training.dequantise", "false", expected));
    }
    Ok(())
}

impl Family for EnergyRecipe {
    const NAME: &'static str = "energy";
    const ABOUT: &'static str =
        "energies: networks and Boltzmann machines, by chains or score matching; ln Z by annealing";

    fn check(&self) -> Result<()> {
        self.energy.check().map_err(|e| inside("energy", e))?;
        self.objective.check().map_err(|e| inside("objective", e))?;
        self.training.check().map_err(|e| inside("training", e))?;
        self.sampling.check().map_err(|e| inside("sampling", e))
    }

    fn needs_density(&self) -> bool {
        true
    }

    fn resolve(mut self, at: &Start) -> Result<Self> {
        at.data()?;
        check_data(&self, at.space)?;
        let width = at.space.model_width();
        self.objective = self.objective.resolve(&self.energy, width)?;
        self.sampling.kernel = Some(self.resolved_kernel());
        self.training.check_with(at.training)?;
        if self.training.chooses()
            && !(self.objective.is_comparable() || self.energy.is_enumerable(width))
        {
            let expected = "last, and no `averages`: chains give no loss that could be compared";
            return Err(Error::config("training.selection", "best", expected));
        }
        check_size("energy.hidden", self.energy.parameters(width))?;
        let batch = self.training.check_batch(self.energy.activations(width));
        batch.map_err(|e| inside("training", e))?;
        if self.objective.buffer().saturating_mul(width) > MOST_VALUES {
            let expected = format!("at most {}", MOST_VALUES / width);
            let found = self.objective.buffer().to_string();
            return Err(Error::config("objective.buffer", found, expected));
        }
        if (1..self.training.batch).contains(&self.objective.buffer()) {
            let expected = format!("at least {}, the rows of a batch", self.training.batch);
            let found = self.objective.buffer().to_string();
            return Err(Error::config("objective.buffer", found, expected));
        }
        of_rows_as_they_are(&self.training, "an energy")?;
        Ok(self)
    }

    fn learner(&self, at: &Start) -> Result<Box<dyn Learner>> {
        Ok(Box::new(EnergyLearner::new(self, at)?))
    }

    fn weights(&self, checkpoint: State) -> Result<State> {
        learner::weights(checkpoint)
    }

    fn model(&self, at: &Opening, weights: &State, origin: &Path) -> Result<Box<dyn Model>> {
        Ok(Box::new(EnergyModel::new(self.clone(), at, weights, origin)?))
    }
}
