//! Metrics of generated samples: distances from a reference sample, collapse, copies.
//!
//! Every metric takes host batches ([`Rows`]), computes in double precision, and adds in an order that does not depend
//! on the number of threads, so that its result has the same bits for any number.
//!
//! - [`wasserstein`]: the 2-Wasserstein distance, exact and sliced;
//! - [`mmd`] and [`energy`]: kernel two-sample statistics, both a [`Discrepancy`];
//! - [`judge`]: all of these at once, each with its floor;
//! - [`evaluation_rows`], [`SampleConditions`]: the real rows that samples are compared with, and the conditions of the
//!   samples;
//! - [`neighbours`]: nearest neighbours: the 1-NN two-sample test, label agreement;
//! - [`memorisation`]: the share of samples nearer to training rows than to held-out rows;
//! - [`copies`]: samples beside their nearest training rows;
//! - [`Columns`]: shapes of the columns of tables, and trends of their pairs;
//! - [`Forest`]: a classifier that learns from samples and is tested on real rows;
//! - [`regression`]: the same for a column of numbers;
//! - [`Classifier`]: a network trained elsewhere, whose features take the place of pixels;
//! - [`frechet`], [`kernel`], [`precision`], [`labels`]: metrics of features;
//! - [`features`]: all metrics of features, each with its floor.

pub mod copies;
pub mod energy;
pub mod features;
pub mod frechet;
pub mod judge;
pub mod kernel;
pub mod labels;
pub mod mmd;
pub mod neighbours;
pub mod precision;
pub mod regression;
pub mod wasserstein;

mod classifier;
mod columns;
mod discrepancy;
mod distance;
mod forest;
mod line;
mod memorisation;
#[cfg(test)]
pub(crate) mod peer;
mod selection;
#[cfg(test)]
mod tests;

pub use classifier::{Classifier, Outputs};
pub use columns::Columns;
pub(crate) use columns::correlation;
pub use discrepancy::Discrepancy;
pub use forest::Forest;
pub use memorisation::{Memorisation, memorisation};
pub use selection::{SampleConditions, condition_rows, evaluation_rows, sample_labels};

use crate::data::Rows;
use crate::{Error, Result};

/// Fails if two samples have different widths, fewer than `least` rows, or values that are not finite.
pub(crate) fn check_pair(named: [(&str, &Rows); 2], least: usize) -> Result<()> {
    let [(a, x), (b, y)] = named;
    if x.width() != y.width() {
        return Err(Error::shape(
            format!("width of {b}"),
            y.width(),
            format!("{}, the width of {a}", x.width()),
        ));
    }
    named.iter().try_for_each(|(name, rows)| check(name, rows, least))
}

/// Fails if a sample has fewer than `least` rows or a value that is not finite.
fn check(name: &str, rows: &Rows, least: usize) -> Result<()> {
    if rows.len() < least {
        let found = format!("{} rows", rows.len());
        return Err(Error::shape(name, found, format!("at least {least}")));
    }
    match rows.values().iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let (row, column) = (at / rows.width(), at % rows.width());
            let problem = format!("{} at row {row}, column {column}", rows.values()[at]);
            Err(Error::config(name, problem, "finite values"))
        }
    }
}

/// Fails if two samples have different sizes.
fn check_sizes(named: [(&str, &Rows); 2]) -> Result<()> {
    let [(a, x), (b, y)] = named;
    if x.len() == y.len() {
        return Ok(());
    }
    Err(Error::shape(
        format!("{a} and {b}"),
        format!("{} and {} rows", x.len(), y.len()),
        "equally many rows: take a random subset of the larger sample",
    ))
}
