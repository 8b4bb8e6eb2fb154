//! Rows in double precision, for fits.

use crate::data::Rows;
use crate::{Error, Result};
use rayon::prelude::*;

/// The number of rows in a block; sums are taken block by block.
pub(super) const BLOCK: usize = 256;

/// At least one row of finite values in double precision, row-major.
///
/// ```
/// use tweedie::data::Rows;
/// use tweedie::density::fit::Points;
/// let points = Points::new(vec![1.0, 2.0, 3.0, 4.0], 2)?;
/// assert_eq!((points.len(), points.row(1)), (2, &[3.0, 4.0][..]));
/// assert_eq!(Points::try_from(&Rows::new(vec![1.0, 2.0, 3.0, 4.0], 2)?)?, points);
/// assert!(Points::new(vec![f64::NAN], 1).is_err());
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    values: Vec<f64>,
    width: usize,
}

impl Points {
    /// Rows of `width` values each.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no row or `width` does not divide the number of values; [`Error::Config`] naming
    /// the row and column of a value that is not finite.
    pub fn new(values: Vec<f64>, width: usize) -> Result<Self> {
        if width == 0 || values.is_empty() || !values.len().is_multiple_of(width) {
            let found = format!("{} values", values.len());
            let expected = format!("one or more rows of width {width}, which must be at least 1");
            return Err(Error::shape("rows", found, expected));
        }
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            let problem = format!("{} at row {}, column {}", values[at], at / width, at % width);
            return Err(Error::config("rows", problem, "finite values"));
        }
        Ok(Self { values, width })
    }

    /// The number of rows, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "there is always a row")]
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// The number of values in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Row `i`; `i < self.len()`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.width..][..self.width]
    }

    /// The rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.width)
    }

    /// All values, row after row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The values of column `j`, from the first row to the last.
    pub(super) fn column(&self, j: usize) -> Vec<f64> {
        self.iter().map(|row| row[j]).collect()
    }

    /// The number of blocks of [`BLOCK`] rows, the last of which may be shorter.
    pub(super) fn blocks(&self) -> usize {
        self.len().div_ceil(BLOCK)
    }

    /// Block `b`: whole rows.
    pub(super) fn block(&self, b: usize) -> &[f64] {
        let size = BLOCK * self.width;
        &self.values[b * size..self.values.len().min((b + 1) * size)]
    }

    /// Applies `f` to every block in parallel; returns the results in the order of the blocks.
    pub(super) fn map_blocks<R: Send>(&self, f: impl Fn(&[f64]) -> R + Sync) -> Vec<R> {
        (0..self.blocks()).into_par_iter().map(|b| f(self.block(b))).collect()
    }

    /// Mean and variance (divisor n) of each column; the variance of equal values is exactly 0.
    pub(super) fn column_moments(&self) -> (Vec<f64>, Vec<f64>) {
        let n = self.len() as f64;
        let mut means = vec![0.0; self.width];
        for row in self.iter() {
            means.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        means.iter_mut().for_each(|sum| *sum /= n);
        let mut variances = vec![0.0; self.width];
        let mut constant = vec![true; self.width];
        for row in self.iter() {
            for (j, x) in row.iter().enumerate() {
                variances[j] += (x - means[j]).powi(2);
                constant[j] &= *x == self.values[j];
            }
        }
        for (variance, constant) in variances.iter_mut().zip(constant) {
            *variance = if constant { 0.0 } else { *variance / n };
        }
        (means, variances)
    }
}

impl TryFrom<&Rows> for Points {
    type Error = Error;

    /// The rows of a batch, in double precision.
    fn try_from(rows: &Rows) -> Result<Self> {
        Self::new(rows.values().iter().map(|v| f64::from(*v)).collect(), rows.width())
    }
}
