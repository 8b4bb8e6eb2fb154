//! Every objective that a recipe can name: one line for each, with its options.

use super::bound::Bound;
use super::denoising::Denoising;
use super::likelihood::Likelihood;
use super::score_matching::Implicit;
use super::{Noising, Objective, Slices, Weighting};
use crate::denoise::{EnergyDenoiser, NeuralDenoiser};
use crate::nn::AnyNetwork;
use crate::process::NoiseLevels;
use crate::registry::registry;
use crate::{Error, Result};
use std::sync::Arc;

/// An objective of a network that predicts, and the same of an energy, which is the sum of a network's outputs, if
/// there is one.
pub struct Objectives {
    /// Of a network.
    pub of_network: Arc<dyn Objective<NeuralDenoiser<AnyNetwork>>>,
    /// Of an energy.
    pub of_energy: Option<Arc<dyn Objective<EnergyDenoiser<AnyNetwork>>>>,
}

impl Objectives {
    /// An objective of both.
    pub fn both<O>(objective: O) -> Self
    where
        O: Objective<NeuralDenoiser<AnyNetwork>> + Objective<EnergyDenoiser<AnyNetwork>> + 'static,
    {
        let objective = Arc::new(objective);
        Self { of_network: objective.clone(), of_energy: Some(objective) }
    }
}

/// Up to this width a divergence is computed exactly at every step of training.
pub(super) const MOST_EXACT: usize = 64;

/// The options of an objective as recipes write them, and what it needs of their other keys.
pub trait ObjectiveConfig: std::fmt::Debug + Send + Sync {
    /// Fails, naming the key, unless every option makes sense.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Fails, naming the key, unless the levels and the weighting of a recipe go with it.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check_levels(&self, _levels: &NoiseLevels, _weighting: Option<Weighting>) -> Result<()> {
        Ok(())
    }

    /// Whether its levels can be drawn where the loss is large.
    fn is_adaptive(&self) -> bool {
        true
    }

    /// Whether a schedule can be learned by it.
    fn learns_schedule(&self) -> bool {
        false
    }

    /// The widest rows that it can be trained on, if there is such a width.
    fn most_width(&self) -> Option<usize> {
        None
    }

    /// How many values and tangents of the network a row's loss holds in memory, for rows of `width` values.
    fn passes(&self, width: usize) -> usize;

    /// The objective, for data noised so.
    fn build(&self, noising: Noising) -> Objectives;
}

registry! {
    /// Any named objective, as recipes write it: `denoising`, or `{ name = "sliced", slices = 2 }`.
    pub enum AnyObjective: ObjectiveConfig = Denoising, "objective.kind" {
        "denoising" Denoising(Denoising) "denoising score matching; the default",
        "implicit" Implicit(Implicit)
            "implicit score matching, with the exact divergence; up to 64 columns",
        "sliced" Sliced(Slices)
            "sliced score matching along random vectors; with `step`, by finite differences",
        "likelihood" Likelihood(Likelihood)
            "log p by the probability-flow ODE, with the exact divergence; for a few columns",
        "bound" Bound(Bound)
            "the variational bound of log p, best with log-snr levels; with `steps`, discrete",
    }
}

impl AnyObjective {
    /// Fails unless rows of `width` values can be trained on.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check_width(&self, width: usize) -> Result<()> {
        let Some(most) = self.most_width().filter(|most| width > *most) else { return Ok(()) };
        let problem = format!("{}, on rows of {width} columns", self.name());
        let expected = format!("`denoising` or `sliced`, or at most {most} columns");
        Err(Error::config("objective.kind", problem, expected))
    }
}
