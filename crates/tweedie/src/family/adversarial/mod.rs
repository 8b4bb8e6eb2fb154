//! Adversarial models: a generator of rows from noise, trained against a critic.
//!
//! In each step the critic takes some steps on rows of the data and of the generator, and the generator then takes one.
//! Both read the class or the columns that rows are conditioned on. Rows are in model units: integers are spread over
//! their bins (`training.dequantise`), and names are vectors of zeros and ones, of which the generator gives any real
//! numbers, the greatest of which is the name. There is no density: `compare` judges such a model by its samples.

mod learner;
mod model;

pub use model::AdversarialModel;

use super::likelihood::check_size;
use super::{Family, Model, Opening, Start};
use crate::data::Space;
use crate::error::{count, inside};
use crate::game::AdversaryConfig;
use crate::nn::game::{AnyPlayerConfig, Role};
use crate::train::{AdamWConfig, Fit, Learner, State, averages};
use crate::{Error, Result};
use learner::GameLearner;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The most numbers of a row's noise.
const MOST_LATENT: u64 = 1 << 12;

/// The adversarial family's part of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdversarialRecipe {
    /// The generator.
    pub generator: GeneratorRecipe,
    /// The critic, and the losses of both.
    pub critic: AdversaryConfig,
    /// The training of both networks; averaged weights and the learning rate are the generator's.
    pub training: Fit,
}

/// A generator in a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GeneratorRecipe {
    /// The width of the noise z ~ N(0, I) that the generator maps to a row.
    pub latent: usize,
    /// The network.
    pub network: AnyPlayerConfig,
}

impl Default for GeneratorRecipe {
    fn default() -> Self {
        Self { latent: 16, network: AnyPlayerConfig::default() }
    }
}

impl Default for AdversarialRecipe {
    /// AdamW without a mean of gradients, whose pull lags behind the other player.
    fn default() -> Self {
        let adamw = AdamWConfig { beta_1: 0.0, beta_2: 0.99, clip: 0.0, ..AdamWConfig::default() };
        let training = Fit { adamw, ..Fit::default() };
        Self { generator: GeneratorRecipe::default(), critic: AdversaryConfig::default(), training }
    }
}

impl AdversarialRecipe {
    /// The role of the generator's network.
    fn role(&self) -> Role {
        Role::Generator(self.generator.latent)
    }

    /// Fails, naming the key, for a key of training that means nothing to a game.
    fn check_training(&self) -> Result<()> {
        let refuse = |key: &str, found: String, expected: &str| {
            Err(Error::config(format!("training.{key}"), found, expected))
        };
        if self.training.accumulate != 1 {
            let found = self.training.accumulate.to_string();
            return refuse("accumulate", found, "1: a game takes whole batches");
        }
        if self.training.augmentation.is_some() {
            return refuse("augmentation", "given".into(), "no such key: samples would show it");
        }
        if self.training.chooses() {
            let key = if self.training.averages.is_empty() { "selection" } else { "averages" };
            return refuse(key, "given".into(), "no such key: no loss of a game ranks its steps");
        }
        Ok(())
    }

    /// Fails, naming the key, unless both networks fit rows of `space`.
    fn check_networks(&self, space: &Space) -> Result<()> {
        let generator = &self.generator.network;
        generator.check_space(space).map_err(|e| inside("generator.network", e))?;
        check_size("generator.network", generator.parameters(self.role(), space))?;
        let mut activations = generator.activations(space);
        if let Some(role) = self.critic.role() {
            let critic = &self.critic.network;
            critic.check_space(space).map_err(|e| inside("critic.network", e))?;
            check_size("critic.network", critic.parameters(role, space))?;
            // Rows of the data and of the generator, with their tangents.
            activations += 4 * critic.activations(space);
        }
        self.training.check_batch(activations).map_err(|e| inside("training", e))
    }
}

impl Family for AdversarialRecipe {
    const NAME: &'static str = "adversarial";
    const ABOUT: &'static str =
        "generator against a critic (GAN, WGAN, MMD-GAN, R3GAN): rows in one pass, no density";

    fn check(&self) -> Result<()> {
        count("generator.latent", self.generator.latent as u64, MOST_LATENT)?;
        self.generator.network.check().map_err(|e| inside("generator.network", e))?;
        self.critic.check().map_err(|e| inside("critic", e))?;
        self.training.check().map_err(|e| inside("training", e))?;
        self.check_training()
    }

    fn check_space(&self, space: &Space) -> Result<()> {
        self.check_networks(space)
    }

    fn resolve(self, at: &Start) -> Result<Self> {
        at.data()?;
        self.check_networks(at.space)?;
        self.training.check_for(at.space)?;
        Ok(self)
    }

    fn learner(&self, at: &Start) -> Result<Box<dyn Learner>> {
        Ok(Box::new(GameLearner::new(self, at)?))
    }

    fn weights(&self, checkpoint: State) -> Result<State> {
        averages(&checkpoint)
    }

    fn model(&self, at: &Opening, weights: &State, origin: &Path) -> Result<Box<dyn Model>> {
        Ok(Box::new(AdversarialModel::new(self.clone(), at, weights, origin)?))
    }
}
