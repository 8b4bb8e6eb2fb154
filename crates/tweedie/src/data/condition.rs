//! Conditions: a class or a vector for each row, each possibly "none".

use crate::tensor::select_rows;
use crate::{Error, Result};
use burn::tensor::Tensor;
use std::ops::Range;

/// The conditions of a batch, one for each row; "none" is the unconditional model of classifier-free guidance.
///
/// ```
/// use tweedie::data::Condition;
/// let condition = Condition::Class(vec![Some(3), None]);
/// assert_eq!(condition.dropped(&[true, false]), Condition::Class(vec![None, None]));
/// ```
#[derive(Debug, Clone, Default)]
#[expect(clippy::large_enum_variant, reason = "a batch has one")]
pub enum Condition {
    /// No row has a condition.
    #[default]
    None,
    /// A class label per row.
    Class(Vec<Option<u32>>),
    /// A vector per row, `[rows, length]`.
    Vector {
        /// The vectors; the values of absent rows do not matter.
        values: Tensor<2>,
        /// Whether each row has a condition.
        present: Vec<bool>,
    },
}

impl From<Option<&[u32]>> for Condition {
    /// The labels as conditions of every row; no conditions where data have no labels.
    fn from(labels: Option<&[u32]>) -> Self {
        match labels {
            Some(labels) => Condition::Class(labels.iter().map(|label| Some(*label)).collect()),
            None => Condition::None,
        }
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Condition::None, Condition::None) => true,
            (Condition::Class(a), Condition::Class(b)) => a == b,
            (
                Condition::Vector { values: a, present: p },
                Condition::Vector { values: b, present: q },
            ) => p == q && a.to_data() == b.to_data(),
            _ => false,
        }
    }
}

impl Condition {
    /// The condition of `rows` rows of one class.
    pub fn class(label: u32, rows: usize) -> Self {
        Condition::Class(vec![Some(label); rows])
    }

    /// The condition of rows with a vector each, `[rows, length]`.
    pub fn vector(values: Tensor<2>) -> Self {
        let present = vec![true; values.dims()[0]];
        Condition::Vector { values, present }
    }

    /// The kind's name, for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Condition::None => "none",
            Condition::Class(_) => "class",
            Condition::Vector { .. } => "vector",
        }
    }

    fn len(&self) -> Option<usize> {
        match self {
            Condition::None => None,
            Condition::Class(labels) => Some(labels.len()),
            Condition::Vector { values, .. } => Some(values.dims()[0]),
        }
    }

    /// Fails unless there is one condition per row, with parts of equal lengths.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn check(&self, rows: usize) -> Result<()> {
        let expected = || format!("{rows} rows");
        if let Some(found) = self.len().filter(|found| *found != rows) {
            return Err(Error::shape(format!("{} condition", self.kind()), found, expected()));
        }
        match self {
            Condition::Vector { present, .. } if present.len() != rows => {
                Err(Error::shape("vector condition's flags", present.len(), expected()))
            }
            _ => Ok(()),
        }
    }

    /// The conditions of the rows with the given indices, each below the number of rows.
    pub fn select(&self, rows: &[usize]) -> Self {
        match self {
            Condition::None => Condition::None,
            Condition::Class(labels) => Condition::Class(rows.iter().map(|&i| labels[i]).collect()),
            Condition::Vector { values, present } => Condition::Vector {
                values: select_rows(values, rows),
                present: rows.iter().map(|&i| present[i]).collect(),
            },
        }
    }

    /// The conditions of neighbouring rows.
    ///
    /// ```
    /// use tweedie::data::Condition;
    /// let condition = Condition::Class(vec![Some(3), None, Some(1)]);
    /// assert_eq!(condition.slice(1..3), Condition::Class(vec![None, Some(1)]));
    /// ```
    ///
    /// # Panics
    /// If a row lies beyond the last.
    pub fn slice(&self, rows: Range<usize>) -> Self {
        match self {
            Condition::None => Condition::None,
            Condition::Class(labels) => Condition::Class(labels[rows].to_vec()),
            Condition::Vector { values, present } => Condition::Vector {
                values: values.clone().narrow(0, rows.start, rows.len()),
                present: present[rows].to_vec(),
            },
        }
    }

    /// The condition with "none" in the rows where `drop` is true: label dropout (Ho & Salimans 2022).
    pub fn dropped(&self, drop: &[bool]) -> Self {
        let mut copy = self.clone();
        match &mut copy {
            Condition::None => {}
            Condition::Class(labels) => {
                labels.iter_mut().zip(drop).filter(|(_, d)| **d).for_each(|(l, _)| *l = None);
            }
            Condition::Vector { present, .. } => {
                present.iter_mut().zip(drop).for_each(|(p, d)| *p &= !d);
            }
        }
        copy
    }

    /// "None" for every row.
    pub fn none(&self) -> Self {
        self.dropped(&vec![true; self.len().unwrap_or(0)])
    }
}
