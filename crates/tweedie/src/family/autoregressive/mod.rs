//! Autoregressive models, trained by maximum likelihood.
//!
//! The loss is −log p of a row, in nats per column; integers, names, missing values and piles have probabilities, real
//! numbers have densities in model units. For data with classes the model is conditional on the class.

mod model;
mod picture;

pub use model::AutoregressiveModel;

use super::likelihood::{
    Found, Likelihood, Moment, by_reverse_mode, check_size, learner_of_columns,
    of_rows_as_they_are, weights,
};
use super::{Family, Model, Opening, Start};
use crate::data::{Condition, LogDensity, Space};
use crate::error::inside;
use crate::nn::autoregressive::{Autoregressive, AutoregressiveConfig};
use crate::nn::flow::Take;
use crate::train::{Fit, Learner, State};
use crate::{Draws, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The autoregressive family's part of a recipe. Integers are learnt as integers, whatever `training.dequantise`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoregressiveRecipe {
    /// The order, the network and the conditional distributions.
    pub autoregressive: AutoregressiveConfig,
    /// The training of the network.
    pub training: Fit,
}

/// The table that [`AutoregressiveConfig`] is read from.
const TABLE: &str = "autoregressive";

impl Likelihood for Autoregressive {
    fn descend(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        scale: f64,
        at: &Moment,
        take: Take,
    ) -> Result<Found> {
        let log_p = self.training_log_p(x, condition, &at.draws)?;
        by_reverse_mode(&log_p, log_p.clone(), scale, take)
    }

    fn held_out(&self, x: Tensor<2>, condition: &Condition, _: &Draws) -> Result<Tensor<2>> {
        Ok(self.log_density(x.into(), condition)?.value)
    }
}

impl Family for AutoregressiveRecipe {
    const NAME: &'static str = "autoregressive";
    const ABOUT: &'static str =
        "autoregressive model: column by column, exact log p of numbers, integers and names";

    fn check(&self) -> Result<()> {
        self.autoregressive.check().map_err(|e| inside(TABLE, e))?;
        self.training.check().map_err(|e| inside("training", e))
    }

    fn check_space(&self, space: &Space) -> Result<()> {
        self.autoregressive.fits(space).map_err(|e| inside(TABLE, e))
    }

    fn resolve(self, at: &Start) -> Result<Self> {
        at.data()?;
        self.training.check_with(at.training)?;
        self.check_space(at.space)?;
        let parameters = self.autoregressive.parameters(at.space)?;
        check_size("autoregressive.network", parameters)?;
        let batch = self.training.check_batch(self.autoregressive.activations(at.space)?);
        batch.map_err(|e| inside("training", e))?;
        of_rows_as_they_are(&self.training, "an autoregressive model")?;
        Ok(self)
    }

    fn learner(&self, at: &Start) -> Result<Box<dyn Learner>> {
        let draws = Draws::new(at.seed).purpose("initial");
        let model = self.autoregressive.init(at.space, &draws, at.device)?;
        learner_of_columns(model, &self.training, at)
    }

    fn weights(&self, checkpoint: State) -> Result<State> {
        weights(&checkpoint)
    }

    fn model(&self, at: &Opening, weights: &State, origin: &Path) -> Result<Box<dyn Model>> {
        Ok(Box::new(AutoregressiveModel::new(self.clone(), at, weights, origin)?))
    }
}
