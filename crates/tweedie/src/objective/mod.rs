//! Objectives: the functions that training minimises.

mod any;
mod bound;
mod denoising;
mod dequantisation;
mod gradient;
mod histogram;
mod likelihood;
mod martingale;
mod noising;
mod scheduled;
mod score_matching;
mod score_model;
mod variance;
mod weighting;

pub use any::{AnyObjective, ObjectiveConfig, Objectives};
pub use bound::{Bound, VariationalBound};
pub use denoising::{Denoising, DenoisingScoreMatching};
pub use dequantisation::{Dequantisation, LogDensity};
pub use gradient::{grad_norm_penalty, of_gradient};
pub use histogram::Histogram;
pub use likelihood::{Likelihood, OdeLikelihood};
pub use martingale::{Martingale, RegularisedObjective};
pub use noising::Noising;
pub use scheduled::ScheduledLoss;
pub use score_matching::{
    ExplicitScoreMatching, Implicit, ImplicitScoreMatching, SlicedScoreMatching, Slices,
};
pub use score_model::{AsEnergy, Functional, Inputs, ScoreModel};
pub(crate) use score_model::{slice_along, slice_of_energy};
pub use variance::LearnedVariance;
pub use weighting::Weighting;

use crate::data::Batch;
use crate::tensor::{detached, host_column, mean_and_error};
use crate::{Draws, Result};
use burn::tensor::Tensor;

/// The value of an objective for each sample.
#[derive(Debug, Clone)]
pub struct Loss {
    /// The reported value, `[n, 1]`.
    pub value: Tensor<2>,
    /// The differentiated value, `[n, 1]`; for most objectives the same tensor.
    pub surrogate: Tensor<2>,
}

impl From<Tensor<2>> for Loss {
    fn from(value: Tensor<2>) -> Self {
        Self { surrogate: value.clone(), value }
    }
}

impl Loss {
    /// The mean of the reported values and the standard error of the mean.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if the values cannot be read.
    pub fn mean(&self) -> Result<(f64, f64)> {
        Ok(mean_and_error(&host_column(&detached(self.value.clone()))?))
    }
}

/// An objective: (model, batch, draws) ↦ a loss for each sample.
pub trait Objective<M>: Send + Sync {
    /// The loss of each row; row i uses the draws of row i.
    ///
    /// # Errors
    /// The errors of the model.
    fn loss(&self, model: &M, batch: &Batch, draws: &Draws) -> Result<Loss>;
}
