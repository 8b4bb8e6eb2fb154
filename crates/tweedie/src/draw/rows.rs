//! The rows of samples in pictures.

use super::path::in_the_plane;
use super::samples::{PER_CLASS, UNLABELLED, chosen_classes};
use crate::data::{Layout, Space};

/// Points or rows of a table in a picture.
pub(crate) const POINTS: usize = 1000;
/// Rows kept at a step of training: about ten, whole rounds of the classes.
const KEPT: usize = 10;

/// The class of a row in a picture of samples: the shown classes in turn, for tables all classes in turn.
pub(crate) fn label_of(space: &Space, row: u64) -> Option<u32> {
    let classes = space.classes().len();
    let shown = match space.layout() {
        Layout::Image { .. } => chosen_classes(classes),
        Layout::Vector { .. } => (0..classes as u32).collect(),
    };
    shown.get((row % shown.len().max(1) as u64) as usize).copied()
}

/// About `wanted` rows: as many whole rounds of the shown classes as fit, at least one.
pub(crate) fn rows_in_turn(space: &Space, wanted: usize) -> usize {
    match chosen_classes(space.classes().len()).len() {
        0 => wanted,
        shown => (wanted / shown).max(1) * shown,
    }
}

/// The number of samples in a picture.
pub(crate) fn sample_size(space: &Space) -> usize {
    match (space.layout(), chosen_classes(space.classes().len()).len()) {
        (Layout::Image { .. }, 0) => UNLABELLED,
        (Layout::Image { .. }, shown) => PER_CLASS * shown,
        (Layout::Vector { .. }, _) => POINTS,
    }
}

/// The number of samples kept at a step of training; 0 for spaces without a picture of progress.
pub(crate) fn rows_kept(space: &Space) -> usize {
    match space.layout() {
        Layout::Image { .. } => rows_in_turn(space, KEPT),
        Layout::Vector { .. } if in_the_plane(space) => POINTS,
        Layout::Vector { .. } => 0,
    }
}

/// At most `most` of `n` indices, evenly spread.
pub(crate) fn spread(n: usize, most: usize) -> Vec<usize> {
    let count = n.min(most);
    (0..count).map(|i| i * n / count.max(1)).collect()
}
