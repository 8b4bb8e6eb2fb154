//! What training and sampling pass around: a batch with its conditions, and anything that generates one.

use super::Condition;
use crate::{Draws, Result};
use burn::tensor::{Device, Tensor};
use std::ops::Range;

/// A training batch in model units.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[n, width]`.
    pub x: Tensor<2>,
    /// One condition per row.
    pub condition: Condition,
}

/// n, condition, seed ↦ batch: what every generative family can do.
pub trait Generate {
    /// Rows `rows` of the endless sample that `draws` addresses, `[len, width]` in model units: row i depends on
    /// `draws` and i, not on the range.
    ///
    /// # Errors
    /// [`Error::Shape`] if the condition does not fit; [`Error::Diverged`] if a value is not finite.
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>>;
}
