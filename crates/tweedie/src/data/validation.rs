//! Rows to choose settings by: a view into the splits of a data set, which stay as they were loaded.
//!
//! Settings chosen by the rows that figures are reported on make these figures too good, so that a part is set aside for
//! the choice. It is taken from the held-out rows, and the rows to train on, with all weights learnt from them, stay. Only
//! a published test set stays whole, for the sake of figures published for it: then the part is taken from the training
//! rows, as is usual there.

use super::dataset::stratified;
use super::{Dataset, Split};
use crate::draws::Draws;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The most validation rows unless one says otherwise: a share of them is known to 0.7 %, a mean to 1.4 % of the spread
/// between rows, and choices among settings that differ by less hardly matter.
const MOST: usize = 5_000;

/// Which rows settings are chosen by, as a run records it: a function of these few numbers and the splits.
///
/// ```
/// use tweedie::data::{Validation, shipped};
/// let digits = shipped::digits()?;
/// let digits = digits.clone().with_validation(Validation::of(&digits))?;
/// assert_eq!((digits.validation().len(), digits.test().len()), (200, 400));
/// assert_eq!((digits.fit_rows().len(), digits.held_out.len()), (1197, 600));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// The split that the rows are taken from.
    pub from: Origin,
    /// How many they are, of each class in proportion.
    pub rows: usize,
    /// The seed by which they are drawn.
    pub seed: u64,
}

/// The split that validation rows are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The rows that are only judged on.
    HeldOut,
    /// The rows to train on.
    Train,
}

impl Validation {
    /// The view that a data set has unless one says otherwise: a third of the held-out rows, or where a published test set
    /// is held out a tenth of the training rows; at most 5,000, and none if there are too few.
    pub fn of(data: &Dataset) -> Option<Self> {
        let (from, rows) = match data.is_published() {
            true => (Origin::Train, data.train.len() / 10),
            false => (Origin::HeldOut, data.held_out.len() / 3),
        };
        (rows > 0).then_some(Self { from, rows: rows.min(MOST), seed: 0 })
    }

    /// The rows of its split in two parts, those of the view and the others, each in order.
    fn parts(&self, split: &Split) -> (Split, Split) {
        let draws = Draws::new(self.seed).purpose("validation");
        let chosen = stratified(split.len(), split.labels(), self.rows, &draws);
        let (view, rest): (Vec<usize>, Vec<usize>) = (0..split.len()).partition(|&i| chosen[i]);
        (split.select(&view), split.select(&rest))
    }
}

impl Dataset {
    /// The same splits with a view into them, or with none.
    ///
    /// # Errors
    /// [`Error::Config`] if the view has no row, or leaves none in its split.
    pub fn with_validation(mut self, view: Option<Validation>) -> Result<Self> {
        if let Some(Validation { from, rows, .. }) = view {
            let all = match from {
                Origin::HeldOut => self.held_out.len(),
                Origin::Train => self.train.len(),
            };
            if rows == 0 || rows >= all {
                let problem = format!("{rows} of {all} rows");
                return Err(Error::config("validation.rows", problem, "from 1 to all but one"));
            }
        }
        self.view = view;
        Ok(self)
    }

    /// The view by which settings are chosen, if there is one.
    pub fn view(&self) -> Option<Validation> {
        self.view
    }

    /// The rows to choose settings by: those of the view, or without one all held-out rows.
    pub fn validation(&self) -> Split {
        match self.view {
            None => self.held_out.clone(),
            Some(view) => view.parts(self.origin(view)).0,
        }
    }

    /// The rows to report figures on: the held-out rows without those of the view.
    pub fn test(&self) -> Split {
        match self.view {
            Some(view) if view.from == Origin::HeldOut => view.parts(&self.held_out).1,
            _ => self.held_out.clone(),
        }
    }

    /// The rows to train on: the training rows without those of the view.
    pub fn fit_rows(&self) -> Split {
        match self.view {
            Some(view) if view.from == Origin::Train => view.parts(&self.train).1,
            _ => self.train.clone(),
        }
    }

    fn origin(&self, view: Validation) -> &Split {
        match view.from {
            Origin::HeldOut => &self.held_out,
            Origin::Train => &self.train,
        }
    }
}
