//! The 2-Wasserstein distance, W₂² = min E‖X − Y‖² over all couplings of the two samples' uniform distributions.
//!
//! - Exact, n = m: an optimal coupling is a permutation, so W₂² = (1/n) min_π Σᵢ ‖xᵢ − y_π(i)‖² (Peyré and Cuturi,
//!   "Computational optimal transport", 2019, Proposition 2.1).
//! - On the line, any n and m: W₂² = ∫₀¹ (F_X⁻¹(u) − F_Y⁻¹(u))² du (ibid., Remark 2.30), whose integrand is constant
//!   between neighbouring multiples of 1/n and 1/m.
//! - Sliced: SW₂² = E_θ W₂²(⟨θ, X⟩, ⟨θ, Y⟩), θ uniform on the unit sphere (Bonneel, Rabin, Peyré and Pfister, "Sliced
//!   and Radon Wasserstein barycenters of measures", JMIV 51 (2015)).
//!
//! All are in the units of the data. W₂ between two samples of one distribution is not zero but of the order
//! n^(−1/d) in d > 4 dimensions: set it against W₂ between two real samples of the same size.

use super::distance::fold_rows;
use super::{check, check_pair, check_sizes};
use crate::data::Rows;
use crate::draws::Draws;
use crate::transport::assignment::assign;
use crate::{Error, Result};
use rayon::prelude::*;

/// How far the squared length of a direction may be from 1.
const UNIT: f64 = 1e-4;

/// The exact W₂ between two samples of the same size n. Needs 8n² bytes twice over, and time between n² and n³.
/// On the line (`width` 1) it is [`line()`], which takes samples of any sizes.
///
/// ```
/// use tweedie::{data::Rows, metric::wasserstein};
/// let x = Rows::new(vec![0.0, 0.0, 10.0, 0.0], 2)?;
/// let y = Rows::new(vec![13.0, 4.0, 3.0, 4.0], 2)?;
/// assert_eq!(wasserstein::exact(&x, &y)?, 5.0);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the widths or the sizes differ (take a random subset of the larger sample), or the samples are
/// empty; [`Error::Config`] naming the row of a value that is not finite.
pub fn exact(x: &Rows, y: &Rows) -> Result<f64> {
    let named = [("first sample", x), ("second sample", y)];
    check_pair(named, 1)?;
    if x.width() == 1 {
        return line(x, y);
    }
    check_sizes(named)?;
    let cost = fold_rows(x, y, |_, row| row.to_vec()).concat();
    Ok((assign(&cost, x.len(), y.len())?.cost / x.len() as f64).sqrt())
}

/// The exact W₂ between two samples of numbers (`width` 1), of any sizes.
///
/// # Errors
/// [`Error::Shape`] if a width is not 1 or a sample is empty; [`Error::Config`] naming the row of a value that is
/// not finite.
pub fn line(x: &Rows, y: &Rows) -> Result<f64> {
    check_pair([("first sample", x), ("second sample", y)], 1)?;
    if x.width() != 1 {
        return Err(Error::shape("width of samples on the line", x.width(), 1));
    }
    Ok(line_squared(&projected(x, &[1.0]), &projected(y, &[1.0])).sqrt())
}

/// The sliced W₂, averaged over some directions.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Sliced {
    /// The root of the mean of W₂² over the directions.
    pub distance: f64,
    /// The standard error of `distance` that comes from the choice of directions, if they were drawn independently
    /// and uniformly (by the delta method from the spread of W₂²); none if there is only one.
    pub standard_error: Option<f64>,
    /// How many directions there were.
    pub directions: usize,
}

/// The sliced W₂ between two samples of any sizes, along the given directions, a unit vector a row.
///
/// ```
/// use tweedie::{data::Rows, metric::wasserstein};
/// let x = Rows::new(vec![0.0, 0.0, 10.0, 0.0], 2)?;
/// let y = Rows::new(vec![13.0, 4.0, 3.0, 4.0], 2)?;
/// let axes = Rows::new(vec![1.0, 0.0, 0.0, 1.0], 2)?;
/// let found = wasserstein::sliced(&x, &y, &axes)?;
/// assert_eq!(found.distance, (0.5 * (9.0f64 + 16.0)).sqrt());
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the widths differ, or a sample or the directions are empty; [`Error::Config`] naming the row
/// of a value that is not finite or of a direction that is not of length 1.
pub fn sliced(x: &Rows, y: &Rows, directions: &Rows) -> Result<Sliced> {
    check_pair([("first sample", x), ("second sample", y)], 1)?;
    check_pair([("samples", x), ("directions", directions)], 1)?;
    let length = |v: &[f32]| v.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
    if let Some(at) = directions.iter().position(|v| (length(v) - 1.0).abs() > UNIT) {
        let problem = format!("row {at} has length {}", length(directions.row(at)).sqrt());
        return Err(Error::config("directions", problem, "unit vectors"));
    }
    let along = |k: usize| {
        let direction = directions.row(k);
        line_squared(&projected(x, direction), &projected(y, direction))
    };
    let squared: Vec<f64> = (0..directions.len()).into_par_iter().map(along).collect();
    Ok(Sliced::from_squares(&squared))
}

/// The sliced W₂ along `directions` random directions, which `seed` determines.
///
/// ```
/// use tweedie::{data::Rows, metric::wasserstein};
/// let x = Rows::new(vec![0.0, 0.0, 10.0, 0.0], 2)?;
/// let y = Rows::new(vec![13.0, 4.0, 3.0, 4.0], 2)?;
/// // A shift by 5 has E⟨θ, shift⟩² = 5² / 2 in two dimensions.
/// let found = wasserstein::sliced_random(&x, &y, 7, 1000)?;
/// assert!((found.distance - 5.0 / 2f64.sqrt()).abs() < 0.3);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// Those of [`sliced`]; no direction is [`Error::Shape`].
pub fn sliced_random(x: &Rows, y: &Rows, seed: u64, directions: usize) -> Result<Sliced> {
    check("first sample", x, 1)?;
    let normals = Draws::new(seed).purpose("slices").normals(0..directions as u64, x.width());
    sliced(x, y, &on_sphere(normals))
}

impl Sliced {
    fn from_squares(squared: &[f64]) -> Self {
        let count = squared.len() as f64;
        let mean = squared.iter().sum::<f64>() / count;
        let deviations = squared.iter().map(|s| (s - mean).powi(2)).sum::<f64>();
        let error = (deviations / (count - 1.0) / count).sqrt();
        let distance = mean.sqrt();
        let scaled = if distance > 0.0 { error / (2.0 * distance) } else { 0.0 };
        Self {
            distance,
            standard_error: (squared.len() > 1).then_some(scaled),
            directions: squared.len(),
        }
    }
}

/// Standard normal rows scaled to length 1: uniform on the sphere. A row of zeros becomes the first axis.
fn on_sphere(mut normals: Rows) -> Rows {
    let width = normals.width();
    for row in normals.values_mut().chunks_exact_mut(width) {
        let length = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        if length > 0.0 {
            row.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
        } else {
            row[0] = 1.0;
        }
    }
    normals
}

/// ⟨direction, xᵢ⟩ for every row, in increasing order.
fn projected(x: &Rows, direction: &[f32]) -> Vec<f64> {
    let product = |(a, b): (&f32, &f32)| f64::from(*a) * f64::from(*b);
    let along = |row: &[f32]| row.iter().zip(direction).map(product).sum::<f64>();
    let mut values: Vec<f64> = x.iter().map(along).collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// W₂² between two sorted samples of numbers. Positions are counted in units of 1 / nm, so that they are exact.
fn line_squared(x: &[f64], y: &[f64]) -> f64 {
    let (mut i, mut j, mut at, mut total) = (0, 0, 0, 0.0);
    while i < x.len() && j < y.len() {
        let (x_end, y_end) = ((i + 1) * y.len(), (j + 1) * x.len());
        let end = x_end.min(y_end);
        total += (end - at) as f64 * (x[i] - y[j]).powi(2);
        at = end;
        i += usize::from(x_end == end);
        j += usize::from(y_end == end);
    }
    total / at as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::peer::{Peer, first_coordinate};

    #[test]
    fn agrees_with_pot_and_scipy() -> Result<()> {
        let peer = Peer::read();
        let (x, y, directions) = (peer.rows("x"), peer.rows("y"), peer.rows("directions"));
        let as_many = x.slice(0..y.len());
        peer.agrees("/exact", exact(&as_many, &y)?);
        peer.agrees("/exact_by_scipy", exact(&as_many, &y)?);
        peer.agrees("/line", line(&first_coordinate(&x), &first_coordinate(&y))?);
        peer.agrees("/sliced", sliced(&x, &y, &directions)?.distance);
        peer.agrees("/sliced_equal_sizes", sliced(&as_many, &y, &directions)?.distance);
        Ok(())
    }

    #[test]
    fn a_translate_is_as_far_as_the_shift() -> Result<()> {
        // Multiples of 2⁻¹⁰, so that adding the shift is exact in single precision.
        let grid = |v: &f32| (v * 1024.0).round() / 1024.0;
        let x = Draws::new(2).normals(0..200, 3);
        let x = Rows::new(x.values().iter().map(grid).collect(), 3)?;
        let shift = [0.5, -2.0, 1.25];
        let mut y = x.clone();
        y.values_mut().iter_mut().zip(shift.iter().cycle()).for_each(|(v, s)| *v += s);
        let shifted_by = shift.iter().map(|s| f64::from(s * s)).sum::<f64>();
        assert!((exact(&x, &y)? - shifted_by.sqrt()).abs() < 1e-12);
        // E⟨θ, shift⟩² = ‖shift‖² / 3; 6 standard errors are a false alarm in 10⁸.
        let found = sliced_random(&x, &y, 4, 4000)?;
        let error = found.standard_error.unwrap_or(0.0);
        assert!((found.distance - (shifted_by / 3.0).sqrt()).abs() < 6.0 * error, "{found:?}");
        assert!(error > 0.0 && error < 0.02, "{found:?}");
        Ok(())
    }

    #[test]
    fn the_line_agrees_with_assignment_and_with_repeated_rows() -> Result<()> {
        let x = Draws::new(3).purpose("x").normals(0..6, 1);
        let y = Draws::new(3).purpose("y").normals(0..4, 1);
        // Each row of x twice and of y three times: the same distributions, of equal sizes.
        let x12 = x.select(&(0..12).map(|i| i / 2).collect::<Vec<_>>());
        let y12 = y.select(&(0..12).map(|i| i / 3).collect::<Vec<_>>());
        let cost = fold_rows(&x12, &y12, |_, row| row.to_vec()).concat();
        let by_assignment = (assign(&cost, 12, 12)?.cost / 12.0).sqrt();
        assert!((line(&x, &y)? - by_assignment).abs() < 1e-12);
        assert!((exact(&x, &y)? - by_assignment).abs() < 1e-12);
        Ok(())
    }

    #[test]
    fn directions_are_unit_vectors_and_one_has_no_error() -> Result<()> {
        let unit = on_sphere(Rows::new(vec![3.0, 4.0, 0.0, 0.0], 2)?);
        assert_eq!(unit.values(), [0.6, 0.8, 1.0, 0.0]);
        let found = sliced(&unit, &unit, &unit.slice(0..1))?;
        assert_eq!((found.distance, found.standard_error, found.directions), (0.0, None, 1));
        Ok(())
    }
}
