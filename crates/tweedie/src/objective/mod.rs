//! What training minimises.

mod bound;
mod denoising;
mod dequantisation;
mod histogram;
mod likelihood;
mod martingale;
mod noise_levels;
mod noising;
mod scheduled;
mod score_matching;
mod score_model;
mod variance;
mod weighting;

pub use bound::VariationalBound;
pub use denoising::DenoisingScoreMatching;
pub use dequantisation::{Dequantisation, LogDensity};
pub use histogram::Histogram;
pub use likelihood::OdeLikelihood;
pub use martingale::{Martingale, Regularised};
pub use noise_levels::{LevelDistribution, NoiseLevels};
use noising::Noised;
pub use noising::Noising;
pub use scheduled::ScheduledLoss;
pub use score_matching::{
    ExplicitScoreMatching, ImplicitScoreMatching, SlicedScoreMatching, Slices,
};
pub use score_model::{AsEnergy, At, Functional, ScoreModel};
pub use variance::LearnedVariance;
pub use weighting::Weighting;

use crate::denoise::Condition;
use crate::likelihood::mean_and_error;
use crate::{Draws, Result};
use burn::tensor::Tensor;

/// A training batch in model units.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[n, width]`.
    pub x: Tensor<2>,
    /// One condition per row.
    pub condition: Condition,
}

/// An objective's value for each sample.
#[derive(Debug, Clone)]
pub struct Loss {
    /// What is reported, `[n, 1]`.
    pub value: Tensor<2>,
    /// What is differentiated, `[n, 1]`; the same tensor for most objectives.
    pub surrogate: Tensor<2>,
}

impl From<Tensor<2>> for Loss {
    fn from(value: Tensor<2>) -> Self {
        Self { surrogate: value.clone(), value }
    }
}

impl Loss {
    /// The mean of the reported values and its standard error.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if the values cannot be read.
    pub fn mean(&self) -> Result<(f64, f64)> {
        let value = self.value.clone();
        let value = if value.is_autodiff() { value.inner() } else { value };
        Ok(mean_and_error(&crate::solve::host_column(&value)?))
    }
}

/// (model, batch, draws) ↦ a loss for each sample.
pub trait Objective<M>: Send + Sync {
    /// The loss of each row; row i uses the draws of row i.
    ///
    /// # Errors
    /// The model's.
    fn loss(&self, model: &M, batch: &Batch, draws: &Draws) -> Result<Loss>;
}
