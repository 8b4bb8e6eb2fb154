//! Diffusion models: a network as denoiser, on a schedule of noise levels.

mod density;
mod model;
mod pictures;
mod recipe;
mod resolved;
mod sampling;

pub use model::DiffusionModel;
pub use recipe::{
    AdaptiveRecipe, Diffusion, ModelRecipe, NoiseSource, ObjectiveRecipe, SamplingRecipe,
    VarianceSource,
};

use super::{Family, Model, Opening, Start};
use crate::data::{Rows, Space};
use crate::train::{Learner, State};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

impl Family for Diffusion {
    const NAME: &'static str = "diffusion";
    const ABOUT: &'static str = "a denoiser of a network at every noise level; the default";

    fn check(&self) -> Result<()> {
        self.check_values()
    }

    fn check_space(&self, space: &Space) -> Result<()> {
        if self.network_for(space)? == self.network {
            return Ok(());
        }
        Err(Error::config("network", "a width of 0", "every width resolved"))
    }

    fn resolve(mut self, at: &Start) -> Result<Self> {
        self.training.check_with(at.training)?;
        self.network = self.network_for(at.space)?;
        // A network that was trained elsewhere may have what training here does not do, such as dropout.
        if at.data.is_some() {
            self.check_batch(&self.network)?;
        }
        if self.model.sigma_data.is_none() {
            self.model.sigma_data = Some(root_mean_square(at.space, at.data()?.fit_rows().rows())?);
        }
        Ok(self)
    }

    fn inputs(&self) -> Vec<PathBuf> {
        self.sampling.weak.clone().into_iter().collect()
    }

    fn learner(&self, at: &Start) -> Result<Box<dyn Learner>> {
        self.learner_of(at)
    }

    fn weights(&self, checkpoint: State) -> Result<State> {
        self.averages(&checkpoint)
    }

    fn model(&self, at: &Opening, weights: &State, origin: &Path) -> Result<Box<dyn Model>> {
        Ok(Box::new(DiffusionModel::new(self.clone(), at, weights, origin)?))
    }
}

/// The root mean square √(mean x²) of rows in model units, encoded in parts.
fn root_mean_square(space: &Space, raw: &Rows) -> Result<f64> {
    let (mut sum, mut count) = (0.0, 0.0);
    for start in (0..raw.len()).step_by(4096) {
        let part = space.encode(&raw.slice(start..(start + 4096).min(raw.len())))?;
        sum = part.values().iter().fold(sum, |sum, v| sum + f64::from(*v).powi(2));
        count += part.values().len() as f64;
    }
    Ok((sum / count).sqrt().clamp(1e-6, 1e6))
}
