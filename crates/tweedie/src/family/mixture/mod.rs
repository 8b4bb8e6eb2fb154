//! Distributions in closed form, fitted without gradients: mixtures of Gaussians, kernel estimates, single densities.
//!
//! For labelled data each class c has a distribution of its own, fitted with the same settings, and the whole is
//!
//! > p(x) = Σ_c π_c p(x | c), where π_c is the frequency of the class among the training rows.
//!
//! Fits are in model units, so that they do not depend on the data's units. Integers are dequantised once, with noise
//! addressed by the seed.

mod by_class;
mod em;
mod fits;
mod learner;
mod model;
mod one_step;
mod picture;

pub use by_class::ByClass;
pub use em::{Components, EmFit};
pub use fits::{AnyFit, AsArrays, Fit, Fitter};
pub use model::MixtureModel;
pub use one_step::{GaussianFit, KdeFit, LaplaceFit, OneStepFit, StudentFit};

use super::{Family, Model, Opening, Start};
use crate::data::Space;
use crate::error::inside;
use crate::train::{Learner, State};
use crate::{Error, Result};
use fits::STATE;
use learner::MixtureLearner;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The recipe of a distribution in closed form: `family = "mixture"`.
///
/// ```
/// use tweedie::family::Family;
/// use tweedie::family::mixture::MixtureRecipe;
/// let text = "[mixture]\nname = \"gaussian-mixture\"\ncomponents = 8\ncovariance = \"diagonal\"";
/// let table: toml::Table = text.parse().expect("TOML");
/// let recipe: MixtureRecipe = tweedie::registry::read(toml::Value::Table(table), "")?;
/// recipe.check()?;
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MixtureRecipe {
    /// The distribution and the options of its fit.
    pub mixture: AnyFit,
}

/// The table that [`AnyFit`] is read from.
const TABLE: &str = "mixture";

impl Family for MixtureRecipe {
    const NAME: &'static str = "mixture";
    const ABOUT: &'static str =
        "Gaussian mixtures by EM, kernel estimates, Gaussian, Laplace and Student-t densities";

    fn check(&self) -> Result<()> {
        self.mixture.check().map_err(|error| inside(TABLE, error))
    }

    fn needs_density(&self) -> bool {
        true
    }

    /// Categories and missing values have no density in model units.
    fn check_space(&self, space: &Space) -> Result<()> {
        if space.given().is_some() {
            let expected = "no such key: mixtures are conditioned on `data.label` alone";
            return Err(Error::config("data.condition", "columns", expected));
        }
        match space.without_density() {
            None => Ok(()),
            Some(problem) => {
                let expected = "real numbers or integers: `data.columns` chooses columns";
                Err(Error::config("data", problem, expected))
            }
        }
    }

    fn resolve(self, at: &Start) -> Result<Self> {
        at.data()?;
        self.check_space(at.space)?;
        Ok(self)
    }

    fn learner(&self, at: &Start) -> Result<Box<dyn Learner>> {
        Ok(Box::new(MixtureLearner::new(&*self.mixture, at)?))
    }

    fn weights(&self, mut checkpoint: State) -> Result<State> {
        checkpoint.retain(|name, _| !name.contains(STATE));
        Ok(checkpoint)
    }

    fn model(&self, at: &Opening, weights: &State, origin: &Path) -> Result<Box<dyn Model>> {
        let of = ByClass::take(&*self.mixture, &at.space, &mut weights.clone(), origin)?;
        let model = MixtureModel::new(at.space.clone(), of);
        Ok(Box::new(match &self.mixture {
            AnyFit::GaussianMixture(fit) => model.with_fit(fit.clone()),
            _ => model,
        }))
    }
}
