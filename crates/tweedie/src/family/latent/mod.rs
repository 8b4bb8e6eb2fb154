//! Latent-variable models: variational and importance-weighted autoencoders.
//!
//! The loss is minus the bound of log p of a row, in nats per column; integers, names, missing values and piles have
//! probabilities, real numbers have densities in model units. For data with classes, encoder and decoder take the
//! class.

mod aggregate;
mod model;
mod picture;

pub use model::LatentModel;

use super::likelihood::{
    Found, Likelihood, Moment, by_reverse_mode, check_size, learner_of_columns,
    of_rows_as_they_are, weights,
};
use super::{Family, Model, Opening, Start};
use crate::data::Condition;
use crate::error::inside;
use crate::latent::{LatentConfig, LatentVariable, Matcher, MatcherStep, Multiplier};
use crate::nn::flow::Take;
use crate::nn::{collect_params, map_params};
use crate::tensor::{host_column, mean_and_error};
use crate::train::{Fit, Learner, Optimiser, State};
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The latent-variable family's part of a recipe. Integers are learnt as integers, whatever `training.dequantise`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatentRecipe {
    /// A trained run of the family, with the same networks, whose weights training starts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<PathBuf>,
    /// The networks, the distributions of columns and the bound.
    pub latent: LatentConfig,
    /// The training of the networks.
    pub training: Fit,
}

/// The table that [`LatentConfig`] is read from.
const TABLE: &str = "latent";

impl Likelihood for LatentVariable {
    fn descend(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        scale: f64,
        at: &Moment,
        take: Take,
    ) -> Result<Found> {
        let factors = self.terms().factors(at.step, at.multiplier);
        let found = self.bound_by(&x, condition, &at.draws, &factors, at.matcher)?;
        let mean = |of: &Tensor<2>| Ok::<_, Error>(mean_and_error(&host_column(of)?).0);
        let terms = Some([mean(&found.likelihood)?, mean(&found.divergence)?]);
        let descent = by_reverse_mode(&found.value, found.expression, scale, take)?;
        Ok(Found { terms, ..descent })
    }

    fn parts(&self) -> &'static str {
        LatentVariable::parts(self)
    }

    fn matcher(&self, optimiser: Optimiser, at: &Start) -> Result<Option<Matcher>> {
        let draws = Draws::new(at.seed).purpose("matcher");
        let matching = self.matching();
        let found = matching.matcher(self.latent_width(), at.space, optimiser, &draws, at.device);
        found.map_err(|e| inside("latent.matching", e))
    }

    fn teach(&self, matcher: &mut Matcher, of: &MatcherStep, factor: f64) -> Result<[f64; 2]> {
        matcher.learn(&self.valid(), of, factor)
    }

    fn multiplier(&self) -> Option<Multiplier> {
        self.terms().constraint.map(Multiplier::new)
    }

    fn held_out(&self, x: Tensor<2>, condition: &Condition, draws: &Draws) -> Result<Tensor<2>> {
        let [value, _] = self.bound(&x, condition, draws)?;
        Ok(value)
    }

    fn divergences(&self, x: Tensor<2>, condition: &Condition) -> Result<Option<Tensor<2>>> {
        self.divergences_of(x, condition, &Draws::new(0).purpose("divergences")).map(Some)
    }
}

/// The model with the weights of a run.
fn of_run(model: LatentVariable, run: &Path, at: &Start) -> Result<LatentVariable> {
    let other = (at.open)(run)?;
    let Some(other) = other.any().downcast_ref::<LatentModel>() else {
        let found = format!("{}, of another family", run.display());
        return Err(Error::config("start", found, "a run of a latent-variable model"));
    };
    map_params(model, &collect_params(&other.network)?, run)
}

impl Family for LatentRecipe {
    const NAME: &'static str = "latent";
    const ABOUT: &'static str =
        "latent-variable model: encoder and decoder (VAE, IWAE), lower bounds of log p";

    fn check(&self) -> Result<()> {
        self.latent.check().map_err(|e| inside(TABLE, e))?;
        self.training.check().map_err(|e| inside("training", e))
    }

    fn resolve(self, at: &Start) -> Result<Self> {
        at.data()?;
        self.training.check_with(at.training)?;
        let parameters = self.latent.parameters(at.space).map_err(|e| inside(TABLE, e))?;
        check_size("latent.decoder", parameters)?;
        let batch = self.training.check_batch(self.latent.activations(at.space)?);
        batch.map_err(|e| inside("training", e))?;
        of_rows_as_they_are(&self.training, "a latent-variable model")?;
        if let Some(run) = &self.start {
            of_run(self.latent.init(at.space, &Draws::new(0), at.device)?, run, at)?;
        }
        Ok(self)
    }

    fn inputs(&self) -> Vec<PathBuf> {
        self.start.iter().cloned().collect()
    }

    fn learner(&self, at: &Start) -> Result<Box<dyn Learner>> {
        let draws = Draws::new(at.seed).purpose("initial");
        let model = self.latent.init(at.space, &draws, at.device)?;
        let train = at.data()?.train.rows();
        let rows = |numbers: &[usize]| at.space.encode(&train.select(numbers));
        let model = match &self.start {
            None => model.start(train.len(), &rows).map_err(|e| inside(TABLE, e))?,
            Some(run) => of_run(model, run, at)?,
        };
        learner_of_columns(model, &self.training, at)
    }

    fn weights(&self, checkpoint: State) -> Result<State> {
        weights(&checkpoint)
    }

    fn model(&self, at: &Opening, weights: &State, origin: &Path) -> Result<Box<dyn Model>> {
        Ok(Box::new(LatentModel::new(self.clone(), at, weights, origin)?))
    }
}
