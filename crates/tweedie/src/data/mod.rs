//! Data sets, the meaning of their rows, and their files.
//!
//! A [`Source`] names data in a recipe; loading it gives a [`Dataset`]: training and held-out [`Rows`] in raw units,
//! with the [`Space`] that converts them to model units and back.

mod absent;
mod adopt;
mod augmentation;
mod cifar;
mod columns;
mod condition;
mod conditioning;
mod coordinate;
mod dataset;
mod encoding;
mod feed;
mod filter;
mod form;
mod generate;
mod idx;
mod log_density;
mod monotone;
pub mod npy;
pub mod npz;
mod parts;
mod pattern;
mod pictures;
mod pile;
pub mod shipped;
mod source;
mod space;
pub mod table;
#[cfg(test)]
mod tests;
mod toy;
mod validation;

pub use crate::rows::Rows;
pub use augmentation::Augmentation;
pub use condition::Condition;
pub use coordinate::{Coordinate, Kind};
pub use dataset::{Batches, Dataset, Split, content_hash};
pub use encoding::{Binarisation, Encoding};
pub use feed::Feed;
pub use filter::Filter;
pub use form::Form;
pub use generate::{Batch, Generate};
pub use log_density::{Blocks, ConditionalDensity, LogDensity, RowDensity, row_by_row};
pub(crate) use log_density::{doubles, each_row, of_rows, with_score_of_rows};
pub use monotone::Monotone;
pub use pattern::Pattern;
pub use source::{ColumnMap, Source, list};
pub use space::{Layout, Space};
pub use toy::{Toy, eight_gaussians};
pub use validation::{Origin, Part, Validation};
