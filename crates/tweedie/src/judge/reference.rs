//! What samples are judged by: rows of data, or exact draws of the distribution that a model is to sample.

use super::samples::HEADINGS;
use crate::Result;
use crate::data::{Dataset, Split};
use crate::family::{Model, Setting};
use crate::metric::judge::{Score, distances, judge};

/// Most exact draws of either set, as many as metrics of all pairs take.
const MOST_EXACT: u64 = 10_000;

/// The rows whose metrics are the floors of metrics of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// The rows that the model has learnt from.
    Training,
    /// Rows that the model has not seen, from the same source as the rows to judge by.
    Unseen,
    /// A second set of exact draws.
    Exact,
}

impl Floor {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Floor::Training => "training data",
            Floor::Unseen => "other rows",
            Floor::Exact => "exact draws",
        }
    }
}

/// Rows to judge by, its held-out part, and rows for the floors, its training part.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Both parts.
    pub data: Dataset,
    /// What the rows for the floors are.
    pub floor: Floor,
}

impl Reference {
    /// Two sets of `n` exact draws each, 10,000 at most, of the distribution that a model is to sample; none if the
    /// model knows no exact draws.
    ///
    /// # Errors
    /// As [`Model::reference`].
    pub fn exact(model: &dyn Model, n: u64, at: &Setting) -> Result<Option<Self>> {
        let data = model.reference(n.min(MOST_EXACT), at)?;
        Ok(data.map(|data| Self { data, floor: Floor::Exact }))
    }

    /// Metrics of samples; memorisation only where the model has learnt from the training part.
    ///
    /// # Errors
    /// As [`judge`].
    pub fn scores(&self, samples: &Split) -> Result<Vec<Score>> {
        match self.floor {
            Floor::Training => judge(samples, &self.data, 0),
            Floor::Unseen | Floor::Exact => distances(samples, &self.data, 0),
        }
    }
}

/// The headings of a table of scores, with the floors by their name.
pub fn headings(reference: Option<&Reference>) -> [&'static str; 7] {
    let floor = reference.map_or("floor", |reference| reference.floor.name());
    HEADINGS.map(|name| if name == "floor" { floor } else { name })
}
