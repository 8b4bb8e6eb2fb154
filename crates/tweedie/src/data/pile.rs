//! Piles: columns of real numbers with many rows of exactly one value, such as 0 of amounts of rain.
//!
//! Their distribution has an atom, p(v) = π δ(v − v₀) + (1 − π) q(v), as in the two-part model of N. Duan, W. G.
//! Manning, C. N. Morris and J. P. Newhouse, "A comparison of alternative models for the demand for medical care",
//! 1983. In model units a column with a pile has an indicator, 1 at v₀ and −1 elsewhere, and x = 0 at v₀, so that
//! shift, scale and map are of q. There is no density then, as with missing values.

use super::{Coordinate, Dataset, Kind, Space};
use crate::Result;

/// The least share of rows in a pile, and the least number of other values.
const SHARE: f64 = 0.05;
const OTHERS: usize = 20;
/// The share of rows at one value from which a density is said to have no upper bound.
const ATOM: f64 = 0.01;

/// The indicator of a missing value or a pile, and of any other.
const YES: f32 = 1.0;
const NO: f32 = -1.0;

impl Coordinate {
    /// Whether its raw values are real numbers on a line.
    pub(super) fn is_real(&self) -> bool {
        matches!(self.kind, Kind::Real | Kind::Bounded { .. })
    }

    /// Whether a value is neither missing nor in the pile.
    pub(super) fn is_apart(&self, value: f32) -> bool {
        !value.is_nan() && self.pile != Some(value)
    }

    /// The coordinate with the pile of its values, if they have one, standardised anew without it.
    fn piled(mut self, values: impl Iterator<Item = f32> + Clone) -> Self {
        let wide = self.is_wide() && self.form.decimals == Some(0);
        if self.is_real() && !wide && self.map.is_none() {
            self.pile = pile(values.clone());
            if self.pile.is_some() {
                (self.shift, self.scale) = (0.0, 1.0);
                return self.fitted(values);
            }
        }
        self
    }

    /// Appends the model values of a number: x, and the indicators that there are. `x` is not used for a missing value
    /// and in the pile.
    pub(super) fn push(&self, value: f32, x: f32, to: &mut Vec<f32>) {
        let sign = |yes: bool| if yes { YES } else { NO };
        to.push(if self.is_apart(value) { x } else { 0.0 });
        to.extend(self.missing.as_ref().map(|_| sign(value.is_nan())));
        to.extend(self.pile.map(|pile| sign(value == pile)));
    }

    /// The raw value of a number's model values, NaN if it is missing. Of two indicators above 0 the greater counts.
    pub(super) fn take(&self, own: &[f32]) -> f64 {
        let (missing, pile) = match (self.missing.is_some(), self.pile) {
            (true, Some(pile)) => (own[1], Some((own[2], pile))),
            (true, None) => (own[1], None),
            (false, pile) => (NO, pile.map(|pile| (own[1], pile))),
        };
        match pile {
            Some((sign, pile)) if sign > 0.0 && sign > missing => pile.into(),
            _ if missing > 0.0 => f64::NAN,
            _ => self.decode(own[0]),
        }
    }
}

impl Dataset {
    /// The data set with a note on each column of real numbers whose density has no upper bound, because more than a
    /// hundredth of the training rows are one value, or all of them.
    pub(crate) fn noting_atoms(mut self) -> Self {
        let rows = self.train.len();
        let note = |j: usize| {
            let coordinate = self.space.coordinate(j);
            let (value, count, distinct) = most_common(self.train.rows().iter().map(|row| row[j]))?;
            let share = count as f64 / rows as f64;
            if !coordinate.is_real() || coordinate.pile.is_some() || count < 10 || share <= ATOM {
                return None;
            }
            let (name, value) = (self.space.column_name(j), coordinate.text(value.into()));
            let what = match distinct {
                1 => format!("all rows are {value}"),
                _ => format!("{:.1} % of the rows are {value}", 100.0 * share),
            };
            Some(format!(
                "column '{name}': {what}, so that its density has no upper bound and log p says little; \
                 `data.columns` leaves it out"
            ))
        };
        let notes: Vec<String> = (0..self.space.width()).filter_map(note).collect();
        self.notes.extend(notes);
        self
    }
}

/// The most common value, how often it occurs, and the number of different values.
fn most_common(values: impl Iterator<Item = f32>) -> Option<(f32, usize, usize)> {
    // −0 and 0 are one value.
    let mut sorted: Vec<f32> = values.filter(|value| !value.is_nan()).map(|v| v + 0.0).collect();
    sorted.sort_by(f32::total_cmp);
    let (mut most, mut distinct) = (None, 0);
    for equal in sorted.chunk_by(|a, b| a == b) {
        distinct += 1;
        if most.is_none_or(|(_, count)| equal.len() > count) {
            most = Some((equal[0], equal.len()));
        }
    }
    most.map(|(value, count)| (value, count, distinct))
}

/// The value of at least a twentieth of the values, the missing ones included, if there are many other values.
fn pile(values: impl Iterator<Item = f32> + Clone) -> Option<f32> {
    let rows = values.clone().count();
    let (value, count, distinct) = most_common(values)?;
    let many = count as f64 >= SHARE * rows as f64 && count > 1 && distinct > OTHERS;
    many.then_some(value)
}

impl Space {
    /// The same space without indicators of piles.
    pub(super) fn without_piles(mut self) -> Self {
        self.coordinates.iter_mut().for_each(|coordinate| coordinate.pile = None);
        self
    }
}

impl Dataset {
    /// The same data with an indicator for each column of real numbers that has a pile among the training rows.
    ///
    /// # Errors
    /// As [`Space::validate`].
    pub(super) fn with_piles(mut self) -> Result<Self> {
        self.space.validate(self.train.rows())?;
        self.space.map_coordinates(self.train.rows(), Coordinate::piled);
        Ok(self)
    }
}
