//! Batches with their conditions, and generators of rows.

use super::Condition;
use crate::{Draws, Result};
use burn::tensor::{Device, Tensor};
use std::ops::Range;

/// A training batch in model units.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The rows, `[n, width]`.
    pub x: Tensor<2>,
    /// One condition per row.
    pub condition: Condition,
}

/// A generator of rows in model units, addressed by number.
pub trait Generate {
    /// Rows `rows` of the endless sample that `draws` addresses, `[len, width]` in model units: row i depends on
    /// `draws` and i, not on the range.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the condition does not fit; [`crate::Error::Diverged`] if a value is not finite.
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>>;

    /// The name of the method, such as a solver's.
    fn name(&self) -> String {
        "exact".into()
    }

    /// The number of network evaluations so far, counted in rows; 0 without a network.
    fn network_evaluations(&self) -> u64 {
        0
    }

    /// The number of rows of a finite sample; none for an endless one.
    fn most_rows(&self) -> Option<u64> {
        None
    }

    /// The number of rows to generate at once, so that memory stays bounded.
    fn rows_at_once(&self) -> u64 {
        256
    }
}
