//! The objectives that a recipe can name: one line each, with its options.

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

/// An objective of a predicting network, and the same objective of an energy, the sum of a network's outputs, if it
/// exists.
pub struct Objectives {
    /// The objective of a network.
    pub of_network: Arc<dyn Objective<NeuralDenoiser<AnyNetwork>>>,
    /// The objective of an energy; `None` if the objective does not accept energies.
    pub of_energy: Option<Arc<dyn Objective<EnergyDenoiser<AnyNetwork>>>>,
}

impl Objectives {
    /// Builds both from one objective of networks and energies.
    pub fn both<O>(objective: O) -> Self
    where
        O: Objective<NeuralDenoiser<AnyNetwork>> + Objective<EnergyDenoiser<AnyNetwork>> + 'static,
    {
        let objective = Arc::new(objective);
        Self { of_network: objective.clone(), of_energy: Some(objective) }
    }
}

/// The largest width at which a divergence is exact in every step of training.
pub(super) const MOST_EXACT: usize = 64;

/// The options of an objective, as in recipes, and its requirements on other keys.
pub trait ObjectiveConfig: std::fmt::Debug + Send + Sync {
    /// Fails, naming the key, unless every option is in its range.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Fails, naming the key, unless the objective accepts the levels and the weighting of a recipe.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check_levels(&self, _levels: &NoiseLevels, _weighting: Option<Weighting>) -> Result<()> {
        Ok(())
    }

    /// Whether levels may be drawn where the loss is large.
    fn is_adaptive(&self) -> bool {
        true
    }

    /// Whether a schedule can be trained by this objective.
    fn learns_schedule(&self) -> bool {
        false
    }

    /// The largest width of rows in training; `None` without a limit.
    fn most_width(&self) -> Option<usize> {
        None
    }

    /// The number of network values and tangents in memory for a row's loss, for rows of `width` values.
    fn passes(&self, width: usize) -> usize;

    /// The objective under `noising`.
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
    /// Fails unless the objective accepts rows of `width` values.
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
