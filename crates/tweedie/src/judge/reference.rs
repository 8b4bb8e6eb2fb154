//! The rows that samples are compared with: data, or exact draws of the target distribution of a model.

use super::samples::HEADINGS;
use crate::Result;
use crate::data::{Dataset, Split};
use crate::family::{Model, Setting};
use crate::metric::judge::{Score, distances, judge};
use crate::metric::regression::learnt_column;

/// The most exact draws of either set, as for metrics over all pairs.
const MOST_EXACT: u64 = 10_000;

/// The kind of the rows whose metrics are the floors of samples' metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// The rows that the model was trained on.
    Training,
    /// Rows that the model has not seen, from the same source as the reference rows.
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

/// The reference rows of samples, as held-out part, and the rows of the floors, as training part.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Both parts.
    pub data: Dataset,
    /// The kind of the rows of the floors.
    pub floor: Floor,
    /// The column of numbers that a forest learns from samples, as in [`crate::metric::regression`].
    pub target: Option<String>,
}

impl Reference {
    /// Two sets of `n` exact draws each, at most 10,000, of a model's target distribution; none if the model has no
    /// exact draws.
    ///
    /// # Errors
    /// As [`Model::reference`].
    pub fn exact(model: &dyn Model, n: u64, at: &Setting) -> Result<Option<Self>> {
        let data = model.reference(n.min(MOST_EXACT), at)?;
        Ok(data.map(|data| Self { data, floor: Floor::Exact, target: None }))
    }

    /// Metrics of samples; memorisation only if the training part is what the model learnt from.
    ///
    /// # Errors
    /// As [`judge`] and [`learnt_column`].
    pub fn scores(&self, samples: &Split) -> Result<Vec<Score>> {
        let mut scores = match self.floor {
            Floor::Training => judge(samples, &self.data, 0),
            Floor::Unseen | Floor::Exact => distances(samples, &self.data, 0),
        }?;
        if let Some(target) = &self.target {
            scores.extend(learnt_column(samples, &self.data, target)?);
        }
        Ok(scores)
    }
}

/// The headings of a table of scores, with the name of the floors.
pub fn headings(reference: Option<&Reference>) -> [&'static str; 7] {
    let floor = reference.map_or("floor", |reference| reference.floor.name());
    HEADINGS.map(|name| if name == "floor" { floor } else { name })
}
