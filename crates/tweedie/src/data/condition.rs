//! Conditions: a class, vector, image or sequence for each row, each possibly "none".

use crate::{Error, Result};
use burn::tensor::{Int, Tensor, TensorData};

/// What a batch is conditioned on, row by row; "none" is the unconditional model of classifier-free guidance.
///
/// ```
/// use tweedie::data::Condition;
/// let condition = Condition::Class(vec![Some(3), None]);
/// assert_eq!(condition.dropped(&[true, false]), Condition::Class(vec![None, None]));
/// ```
#[derive(Debug, Clone, Default)]
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
        /// Which rows have one.
        present: Vec<bool>,
    },
    /// An image per row, `[rows, channels × height × width]`.
    Image {
        /// The images, channels first.
        values: Tensor<2>,
        /// Channels, height, width.
        shape: [usize; 3],
        /// Which rows have one.
        present: Vec<bool>,
    },
    /// A sequence of vectors per row, `[rows, length × width]`.
    Sequence {
        /// The sequences, step after step.
        values: Tensor<2>,
        /// The width of one step.
        width: usize,
        /// How many steps each row has; 0 for none.
        lengths: Vec<usize>,
    },
}

impl From<Option<&[u32]>> for Condition {
    /// A label for every row, or none where data have none.
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
            (
                Condition::Image { values: a, shape: s, present: p },
                Condition::Image { values: b, shape: t, present: q },
            ) => s == t && p == q && a.to_data() == b.to_data(),
            (
                Condition::Sequence { values: a, width: v, lengths: p },
                Condition::Sequence { values: b, width: w, lengths: q },
            ) => v == w && p == q && a.to_data() == b.to_data(),
            _ => false,
        }
    }
}

impl Condition {
    /// The same class for `rows` rows.
    pub fn class(label: u32, rows: usize) -> Self {
        Condition::Class(vec![Some(label); rows])
    }

    /// The kind's name, for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Condition::None => "none",
            Condition::Class(_) => "class",
            Condition::Vector { .. } => "vector",
            Condition::Image { .. } => "image",
            Condition::Sequence { .. } => "sequence",
        }
    }

    fn len(&self) -> Option<usize> {
        match self {
            Condition::None => None,
            Condition::Class(labels) => Some(labels.len()),
            Condition::Vector { values, .. }
            | Condition::Image { values, .. }
            | Condition::Sequence { values, .. } => Some(values.dims()[0]),
        }
    }

    /// Fails unless there is one condition per row, and every part of it agrees.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn check(&self, rows: usize) -> Result<()> {
        if let Some(found) = self.len().filter(|found| *found != rows) {
            return Err(Error::shape(
                format!("{} condition", self.kind()),
                found,
                format!("{rows} rows"),
            ));
        }
        let flags = match self {
            Condition::Vector { present, .. } | Condition::Image { present, .. } => present.len(),
            Condition::Sequence { lengths, .. } => lengths.len(),
            _ => rows,
        };
        if flags != rows {
            return Err(Error::shape(format!("{} condition's flags", self.kind()), flags, rows));
        }
        match self {
            Condition::Image { values, shape, .. }
                if values.dims()[1] != shape.iter().product::<usize>() =>
            {
                Err(Error::shape("image condition", values.dims()[1], format!("{shape:?}")))
            }
            Condition::Sequence { values, width, lengths } => {
                let steps = values.dims()[1] / (*width).max(1);
                match lengths.iter().find(|l| **l > steps) {
                    Some(bad) => {
                        Err(Error::shape("sequence length", bad, format!("at most {steps}")))
                    }
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// The conditions of the rows with the given indices, each below the number of rows.
    pub fn select(&self, rows: &[usize]) -> Self {
        let pick = |values: &Tensor<2>| {
            let indices: Vec<i64> = rows.iter().map(|&i| i as i64).collect();
            let data = TensorData::new(indices, [rows.len()]);
            values.clone().select(0, Tensor::<1, Int>::from_data(data, &values.device()))
        };
        match self {
            Condition::None => Condition::None,
            Condition::Class(labels) => Condition::Class(rows.iter().map(|&i| labels[i]).collect()),
            Condition::Vector { values, present } => Condition::Vector {
                values: pick(values),
                present: rows.iter().map(|&i| present[i]).collect(),
            },
            Condition::Image { values, shape, present } => Condition::Image {
                values: pick(values),
                shape: *shape,
                present: rows.iter().map(|&i| present[i]).collect(),
            },
            Condition::Sequence { values, width, lengths } => Condition::Sequence {
                values: pick(values),
                width: *width,
                lengths: rows.iter().map(|&i| lengths[i]).collect(),
            },
        }
    }

    /// The condition with "none" in the rows where `drop` is true: label dropout (Ho & Salimans 2022).
    pub fn dropped(&self, drop: &[bool]) -> Self {
        let keep = |present: &[bool]| present.iter().zip(drop).map(|(p, d)| *p && !d).collect();
        let mut copy = self.clone();
        match &mut copy {
            Condition::None => {}
            Condition::Class(labels) => {
                labels.iter_mut().zip(drop).filter(|(_, d)| **d).for_each(|(l, _)| *l = None);
            }
            Condition::Vector { present, .. } | Condition::Image { present, .. } => {
                *present = keep(present);
            }
            Condition::Sequence { lengths, .. } => {
                lengths.iter_mut().zip(drop).filter(|(_, d)| **d).for_each(|(l, _)| *l = 0);
            }
        }
        copy
    }

    /// "None" for every row.
    pub fn none(&self) -> Self {
        self.dropped(&vec![true; self.len().unwrap_or(0)])
    }
}
