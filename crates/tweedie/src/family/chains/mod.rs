//! Markov chains on a target density, many side by side. They need no data, but a density known up to its integral, or
//! its score alone.
//!
//! A training step is one transition of every chain. Draws of the chains are kept, thinned so that their number stays
//! bounded however long the chains run; they are the samples of the model.

mod learner;
mod mixing;
mod model;
mod place;
mod target;
mod thinning;
mod toys;

pub use model::ChainsModel;
pub use place::{AnyPlace, Exact, Normal, Place};
pub use target::{AnyTarget, Target, TrainedRun};
pub use toys::{
    Checkerboard, EightGaussians, Moons, MoonsTorchcfm, Pinwheel, SCurve, Spirals, SwissRoll,
};

use super::{Family, Model, Opener, Opening, Start};
use crate::data::Space;
use crate::error::{count, inside};
use crate::mcmc::AnyKernel;
use crate::train::{Learner, State};
use crate::{Error, Result};
use learner::ChainsLearner;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The most values of the kept draws, 512 MiB of them.
const MOST_VALUES: usize = 1 << 26;

/// The recipe of chains: `family = "chains"`.
///
/// ```
/// use tweedie::family::Family;
/// use tweedie::family::chains::ChainsRecipe;
/// let text = "target = 'funnel, width = 2'\n[chains]\nkernel = 'mala, warm_up = 500'\nrows = 16";
/// let table: toml::Table = text.parse().expect("TOML");
/// let recipe: ChainsRecipe = tweedie::registry::read(toml::Value::Table(table), "")?;
/// recipe.check()?;
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainsRecipe {
    /// The target.
    pub target: AnyTarget,
    /// The chains.
    pub chains: ChainsOptions,
}

/// The kernel of chains, their start, and the thinning of their draws.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainsOptions {
    /// The kernel.
    pub kernel: AnyKernel,
    /// The number of chains.
    pub rows: usize,
    /// The distribution of their start.
    pub start: AnyPlace,
    /// The most kept draws of each chain; when there are more, every other one is dropped, and from then on half as
    /// many draws are kept.
    pub keep: usize,
    /// The number of steps before the first kept draw. If absent, the steps of the kernel's warm-up, and at least half
    /// of all steps unless chains start from exact draws.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discard: Option<u64>,
}

impl Default for ChainsOptions {
    fn default() -> Self {
        let (kernel, start) = (AnyKernel::default(), AnyPlace::default());
        Self { kernel, rows: 64, start, keep: 1000, discard: None }
    }
}

impl ChainsOptions {
    /// Fails, naming the key, unless every value is valid.
    fn check(&self) -> Result<()> {
        count("rows", self.rows as u64, 1 << 20)?;
        if self.keep < 4 {
            return Err(Error::config("keep", self.keep.to_string(), "at least 4 draws"));
        }
        self.kernel.check()?;
        self.start.check().map_err(|error| inside("start", error))
    }

    /// The number of steps before the first kept draw, in a run of `steps` steps.
    fn discarded(&self, steps: u64) -> u64 {
        let settling = if self.start.is_exact() { 0 } else { steps / 2 };
        self.discard.unwrap_or(settling.max(self.kernel.warm_up()))
    }
}

impl Family for ChainsRecipe {
    const NAME: &'static str = "chains";
    const ABOUT: &'static str =
        "Markov chains on a target: random-walk Metropolis, ULA and MALA, with their diagnostics";

    fn check(&self) -> Result<()> {
        self.target.check()?;
        self.chains.check().map_err(|error| inside("chains", error))
    }

    fn space(&self, open: &Opener) -> Result<Space> {
        self.target.space(open)
    }

    /// The recipe with its number of discarded steps resolved.
    fn resolve(mut self, at: &Start) -> Result<Self> {
        if at.data.is_some() {
            let expected = "none: chains have a target";
            return Err(Error::config("data", "given", expected));
        }
        let values = self.chains.rows.saturating_mul(at.space.model_width());
        if values.saturating_mul(self.chains.keep) > MOST_VALUES {
            let most = (MOST_VALUES / values).max(1);
            let expected = format!("at most {most} draws of so many chains of this width");
            return Err(Error::config("chains.keep", self.chains.keep.to_string(), expected));
        }
        self.chains.discard = Some(self.chains.discarded(at.training.steps));
        Ok(self)
    }

    fn inputs(&self) -> Vec<PathBuf> {
        self.target.run().map(Path::to_path_buf).into_iter().collect()
    }

    fn learner(&self, at: &Start) -> Result<Box<dyn Learner>> {
        Ok(Box::new(ChainsLearner::new(self, at)?))
    }

    fn weights(&self, checkpoint: State) -> Result<State> {
        Ok(learner::weights(checkpoint))
    }

    fn model(&self, at: &Opening, weights: &State, origin: &Path) -> Result<Box<dyn Model>> {
        Ok(Box::new(ChainsModel::new(self, at, weights, origin)?))
    }
}
