//! Tests of spaces, data sets, files and toys.

mod dataset;
mod hostile;
mod npy;
mod space;
mod table;
mod toy;

use super::{Rows, Space};

pub fn rows(width: usize, values: &[f32]) -> Rows {
    Rows::new(values.to_vec(), width).unwrap()
}

/// The names of a space's coordinates.
pub fn names(space: &Space) -> Vec<&str> {
    space.coordinates().iter().map(|c| c.name.as_str()).collect()
}
