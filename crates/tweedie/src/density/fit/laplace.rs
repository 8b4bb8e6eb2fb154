//! The Laplace distribution with independent columns,
//!
//! > p(x) = Πⱼ exp(−|xⱼ − mⱼ|/bⱼ)/(2 bⱼ).
//!
//! The likelihood is greatest where mⱼ is the column's median and bⱼ its mean absolute deviation from the median (R. M.
//! Norton, "The double exponential distribution: using calculus to find a maximum likelihood estimator", Am. Stat. 38
//! (1984)).

use super::{Distribution, Points};
use crate::{Draws, Error, Result};
use rayon::prelude::*;

/// Independent Laplace columns.
///
/// ```
/// use tweedie::density::fit::{Distribution, Laplace, Points};
/// let laplace = Laplace::fit(&Points::new(vec![0.0, 1.0, 5.0], 1)?)?;
/// assert_eq!((laplace.locations(), laplace.scales()), (&[1.0][..], &[5.0 / 3.0][..]));
/// assert!((laplace.log_density(&[1.0]) + (10.0_f64 / 3.0).ln()).abs() < 1e-14);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Laplace {
    locations: Vec<f64>,
    scales: Vec<f64>,
}

impl Laplace {
    /// Columns with these locations mⱼ and scales bⱼ, in the units of the data.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no column or not one scale for each; [`Error::Config`] for a location that is not
    /// finite or a scale that is not positive and finite.
    pub fn new(locations: Vec<f64>, scales: Vec<f64>) -> Result<Self> {
        check(&locations, &scales)?;
        Ok(Self { locations, scales })
    }

    /// The columns of greatest likelihood. For an even number of rows the location is the mean of the two middle
    /// values.
    ///
    /// # Errors
    /// [`Error::Undefined`] if a column is constant, so that the likelihood has no maximum.
    pub fn fit(points: &Points) -> Result<Self> {
        let column = |j: usize| {
            let values = points.column(j);
            let (location, scale) = median_and_deviation(&values);
            if scale > 0.0 { Ok((location, scale)) } else { Err(constant("Laplace", j)) }
        };
        let fitted = (0..points.width()).into_par_iter().map(column).collect::<Result<Vec<_>>>()?;
        let (locations, scales) = fitted.into_iter().unzip();
        Self::new(locations, scales)
    }

    /// The locations mⱼ, one for each column.
    pub fn locations(&self) -> &[f64] {
        &self.locations
    }

    /// The scales bⱼ, one for each column; the standard deviation is √2 bⱼ.
    pub fn scales(&self) -> &[f64] {
        &self.scales
    }

    /// The number of free parameters.
    pub fn parameters(&self) -> usize {
        2 * self.scales.len()
    }

    fn columns(&self) -> impl Iterator<Item = (&f64, &f64)> {
        self.locations.iter().zip(&self.scales)
    }
}

impl Distribution for Laplace {
    fn width(&self) -> usize {
        self.scales.len()
    }

    fn log_density(&self, x: &[f64]) -> f64 {
        let terms = x.iter().zip(self.columns());
        terms.map(|(x, (m, b))| -(x - m).abs() / b - (2.0 * b).ln()).sum()
    }

    /// At a location, where the density has a cusp, the score of that column is 0.
    fn score(&self, x: &[f64], out: &mut [f64]) {
        for ((out, x), (m, b)) in out.iter_mut().zip(x).zip(self.columns()) {
            *out = if x == m { 0.0 } else { -(x - m).signum() / b };
        }
    }

    fn sample(&self, draws: &Draws, row: u64, out: &mut [f64]) {
        let (size, side) = (draws.purpose("size"), draws.purpose("side"));
        for ((j, out), (m, b)) in (0..).zip(out).zip(self.columns()) {
            // |x − m|/b is exponential: by the inverse of its distribution function.
            let size = -(-size.uniform_f64(row, j)).ln_1p();
            *out = if side.uniform_f64(row, j) < 0.5 { m - b * size } else { m + b * size };
        }
    }
}

/// The median and the mean absolute deviation from it.
pub(super) fn median_and_deviation(values: &[f64]) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    let median = if low == high { low } else { 0.5 * low + 0.5 * high };
    (median, values.iter().map(|x| (x - median).abs()).sum::<f64>() / values.len() as f64)
}

/// The error of a constant column.
pub(super) fn constant(name: &str, column: usize) -> Error {
    let why = format!("column {column} is constant, so that the likelihood grows without bound");
    Error::undefined(format!("the {name} distribution of greatest likelihood"), why)
}

/// Fails unless locations and scales are in range.
pub(super) fn check(locations: &[f64], scales: &[f64]) -> Result<()> {
    if locations.is_empty() || locations.len() != scales.len() {
        let found = format!("{} locations and {} scales", locations.len(), scales.len());
        return Err(Error::shape("columns", found, "one of each for each column, at least 1"));
    }
    if let Some(j) = locations.iter().position(|m| !m.is_finite()) {
        let key = format!("location of column {j}");
        return Err(Error::config(key, locations[j].to_string(), "a finite number"));
    }
    if let Some(j) = scales.iter().position(|b| !(*b > 0.0 && b.is_finite())) {
        let key = format!("scale of column {j}");
        return Err(Error::config(key, scales[j].to_string(), "a positive finite number"));
    }
    Ok(())
}
