//! A generator with its weights, as a model.

use super::AdversarialRecipe;
use crate::data::{Generate, Space};
use crate::family::counter::RowCounter;
use crate::family::density::no_keys;
use crate::family::{Model, Opening, Setting};
use crate::nn::game::Player;
use crate::nn::map_params;
use crate::train::State;
use crate::{Draws, Result};
use std::any::Any;
use std::path::Path;
use toml::Table;

/// The most activations of the rows generated at once.
const MOST_AT_ONCE: usize = 1 << 24;

/// A trained generator: samples in one pass, and no density.
pub struct AdversarialModel {
    /// The resolved recipe.
    pub recipe: AdversarialRecipe,
    /// The generator of rows in model units, with averaged weights.
    pub generator: Player,
    space: Space,
    rows_at_once: u64,
}

impl AdversarialModel {
    /// The model of a resolved recipe with its weights; `origin` is the name of their file in errors.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) if the weights do not fit the generator.
    pub fn new(
        recipe: AdversarialRecipe,
        at: &Opening,
        weights: &State,
        origin: &Path,
    ) -> Result<Self> {
        let network = &recipe.generator.network;
        let generator = network.init(recipe.role(), &at.space, &Draws::new(0), &at.device)?;
        let activations = network.activations(&at.space).max(1);
        Ok(Self {
            generator: map_params(generator, weights, origin)?,
            rows_at_once: (MOST_AT_ONCE / activations).clamp(1, 1024) as u64,
            recipe,
            space: at.space.clone(),
        })
    }
}

impl Model for AdversarialModel {
    fn space(&self) -> &Space {
        &self.space
    }

    fn generator(&self, sampling: &Table, _: &Setting) -> Result<Box<dyn Generate + '_>> {
        no_keys(sampling, "no option: each row is made of its own noise in one pass")?;
        Ok(Box::new(RowCounter::new(&self.generator, self.rows_at_once)))
    }

    fn any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
