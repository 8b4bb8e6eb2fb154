//! Validation rows, for choices of settings: a view into the splits of a data set, which stay unchanged.
//!
//! Figures on rows that served to choose settings are too good, so that a part of the rows is set aside for the choice.
//! It comes from the held-out rows; training rows, and weights learnt from them, stay. A published test set stays
//! whole, for comparison with published figures; the part then comes from the training rows, as is usual, unless
//! validation rows were published as well.

use super::dataset::stratified;
use super::{Dataset, Split};
use crate::draws::Draws;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The default of the most validation rows: they give a share to 0.7 %, a mean to 1.4 % of the standard deviation
/// between rows. Choices among settings that differ by less hardly matter.
const MOST: usize = 5_000;

/// The choice of validation rows, as runs record it: a function of these numbers and the splits.
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
    /// The split of the rows.
    pub from: Origin,
    /// The number of rows, of each class in proportion.
    pub rows: usize,
    /// The seed of the choice.
    pub seed: u64,
}

/// The split that validation rows are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The held-out rows.
    HeldOut,
    /// The training rows.
    Train,
    /// The first of the held-out rows, which were published for validation.
    Published,
}

/// The part of the rows that a model is evaluated on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Test rows, for figures to report.
    #[default]
    Test,
    /// Validation rows, for choices of settings.
    Validation,
}

impl Part {
    /// Every part by its name as an option.
    pub const NAMES: [(&'static str, Part); 2] =
        [("test", Part::Test), ("validation", Part::Validation)];

    /// The name as an option.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, part)| *part == self).map_or("", |(name, _)| name)
    }
}

impl Validation {
    /// The default view of a data set: the rows published for validation; without such rows, a third of the held-out
    /// rows, or, with a published test set, a tenth of the training rows; at most 5,000, and none if there are too few.
    pub fn of(data: &Dataset) -> Option<Self> {
        if let Some(view) = data.view().filter(|view| view.from == Origin::Published) {
            return Some(view);
        }
        let (from, rows) = match data.is_published() {
            true => (Origin::Train, data.train.len() / 10),
            false => (Origin::HeldOut, data.held_out.len() / 3),
        };
        (rows > 0).then_some(Self { from, rows: rows.min(MOST), seed: 0 })
    }

    /// Divides the rows of its split into the view's rows and the others, each in order.
    fn parts(&self, split: &Split) -> (Split, Split) {
        if self.from == Origin::Published {
            let all: Vec<usize> = (0..split.len()).collect();
            let (view, rest) = all.split_at(self.rows.min(all.len()));
            return (split.select(view), split.select(rest));
        }
        let draws = Draws::new(self.seed).purpose("validation");
        let keep_one = self.from == Origin::Train;
        let chosen = stratified(split.len(), split.labels(), self.rows, &draws, keep_one);
        let (view, rest): (Vec<usize>, Vec<usize>) = (0..split.len()).partition(|&i| chosen[i]);
        (split.select(&view), split.select(&rest))
    }
}

impl Dataset {
    /// The same splits with another view, or with none.
    ///
    /// # Errors
    /// [`Error::Config`] if the view is empty, or leaves no row in its split.
    pub fn with_validation(mut self, view: Option<Validation>) -> Result<Self> {
        if let Some(Validation { from, rows, .. }) = view {
            let all = match from {
                Origin::HeldOut | Origin::Published => self.held_out.len(),
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

    /// The view of validation rows, if there is one.
    pub fn view(&self) -> Option<Validation> {
        self.view
    }

    /// The validation rows: the rows of the view, or all held-out rows without a view.
    pub fn validation(&self) -> Split {
        match self.view {
            None => self.held_out.clone(),
            Some(view) => view.parts(self.origin(view)).0,
        }
    }

    /// The test rows: the held-out rows without the rows of the view.
    pub fn test(&self) -> Split {
        match self.view {
            Some(view) if view.from != Origin::Train => view.parts(&self.held_out).1,
            _ => self.held_out.clone(),
        }
    }

    /// The rows for training: the training rows without the rows of the view.
    pub fn fit_rows(&self) -> Split {
        self.fit_rows_of(&self.train)
    }

    /// The rows for training, taken from `train`: all training rows in another form, such as binarised.
    pub(super) fn fit_rows_of(&self, train: &Split) -> Split {
        match self.view {
            Some(view) if view.from == Origin::Train => view.parts(train).1,
            _ => train.clone(),
        }
    }

    /// The data to evaluate a model on: the rows for training, with the rows of `part` as held-out rows.
    pub fn judged_on(&self, part: Part) -> Dataset {
        let held_out = match part {
            Part::Test => self.test(),
            Part::Validation => self.validation(),
        };
        Dataset { train: self.fit_rows(), held_out, view: None, ..self.clone() }
    }

    fn origin(&self, view: Validation) -> &Split {
        match view.from {
            Origin::HeldOut | Origin::Published => &self.held_out,
            Origin::Train => &self.train,
        }
    }
}
