//! The 2-Wasserstein distance, W₂² = min E‖X − Y‖² over all couplings of the two samples' uniform distributions, and
//! the 1-Wasserstein distance, W₁ = min E‖X − Y‖.
//!
//! - Exact, n = m: an optimal coupling is a permutation, so W₂² = (1/n) min_π Σᵢ ‖xᵢ − y_π(i)‖² (Peyré and Cuturi,
//!   "Computational optimal transport", 2019, Proposition 2.1).
//! - On the line, any n and m: W₂² = ∫₀¹ (F_X⁻¹(u) − F_Y⁻¹(u))² du (ibid., Remark 2.30), whose integrand is constant
//!   between neighbouring multiples of 1/n and 1/m.
//! - Sliced: SW₂² = E_θ W₂²(⟨θ, X⟩, ⟨θ, Y⟩), θ uniform on the unit sphere (Bonneel, Rabin, Peyré and Pfister, "Sliced
//!   and Radon Wasserstein barycenters of measures", JMIV 51 (2015)).
//!
//! All are in the units of the data. W₂ between two samples of one distribution is not zero but of the order n^(−1/d)
//! in d > 4 dimensions: compare it with W₂ between two real samples of the same size.

use super::distance::fold_rows;
use super::line::{self, SortedSample};
use super::{check, check_pair, check_sizes};
use crate::data::Rows;
use crate::draws::Draws;
use crate::transport::assignment::assign;
use crate::{Error, Result};
use rayon::prelude::*;

/// The tolerance of the squared length of a direction.
const UNIT: f64 = 1e-4;

/// The number of directions whose potentials are in memory at once.
const SLICES: usize = 32;

/// The exact W₂ between two samples of the same size n. Takes 16n² bytes, and time between n² and n³. On the line
/// (`width` 1) it is [`line()`], for samples of any sizes.
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
    Ok(mean_cost(x, y, |squared| squared)?.sqrt())
}

/// The exact W₁ between two samples of the same size n, or on the line (`width` 1) of any sizes. Takes 16n² bytes, and
/// time between n² and n³. By its dual, from samples of any size: [`divergence::wasserstein`][dual].
///
/// [dual]: crate::divergence::wasserstein()
///
/// ```
/// use tweedie::{data::Rows, metric::wasserstein};
/// let x = Rows::new(vec![0.0, 0.0, 10.0, 0.0], 2)?;
/// let y = Rows::new(vec![10.0, 1.0, 3.0, 4.0], 2)?;
/// assert_eq!(wasserstein::exact_w1(&x, &y)?, (5.0 + 1.0) / 2.0);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// As [`exact`].
pub fn exact_w1(x: &Rows, y: &Rows) -> Result<f64> {
    let named = [("first sample", x), ("second sample", y)];
    check_pair(named, 1)?;
    if x.width() == 1 {
        return Ok(line::first(&projected(x, &[1.0]), &projected(y, &[1.0])));
    }
    check_sizes(named)?;
    mean_cost(x, y, f64::sqrt)
}

/// The least mean cost of a squared distance over all assignments.
fn mean_cost(x: &Rows, y: &Rows, cost: fn(f64) -> f64) -> Result<f64> {
    let costs = fold_rows(x, y, |_, row| row.iter().map(|d| cost(*d)).collect::<Vec<_>>()).concat();
    Ok(assign(&costs, x.len(), y.len())?.cost / x.len() as f64)
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
    Ok(line::squared(&projected(x, &[1.0]), &projected(y, &[1.0])).sqrt())
}

/// The sliced W₂ over some directions, with its standard errors.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct SlicedDistance {
    /// The root of the mean of W₂² over the directions. W₂² of two samples exceeds that of their distributions by a
    /// term of order 1/n + 1/m, the whole value between equal distributions.
    pub distance: f64,
    /// The standard error of `distance` from the choice of rows at given directions: by the delta method from the
    /// spread of the potentials of rows, averaged over the directions. Between equal distributions the first order
    /// vanishes, and this is only the order of magnitude of the spread (1.3 to 1.5 times it for normal samples of 300
    /// and 1,000 rows).
    pub row_error: f64,
    /// The standard error of `distance` from the choice of directions, if they are independent and uniform (by the
    /// delta method from the spread of W₂²); none for a single direction.
    pub direction_error: Option<f64>,
    /// The number of directions.
    pub directions: usize,
}

impl SlicedDistance {
    /// The standard error of `distance` by rows and directions together. It does not include the bias of `distance`.
    pub fn standard_error(&self) -> f64 {
        self.row_error.hypot(self.direction_error.unwrap_or(0.0))
    }
}

/// The sliced W₂ between two samples of any sizes, along `directions`: a unit vector in each row.
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
pub fn sliced(x: &Rows, y: &Rows, directions: &Rows) -> Result<SlicedDistance> {
    check_pair([("first sample", x), ("second sample", y)], 1)?;
    check_pair([("samples", x), ("directions", directions)], 1)?;
    let length = |v: &[f32]| v.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
    if let Some(at) = directions.iter().position(|v| (length(v) - 1.0).abs() > UNIT) {
        let problem = format!("row {at} has length {}", length(directions.row(at)).sqrt());
        return Err(Error::config("directions", problem, "unit vectors"));
    }
    let along = |k: usize| {
        let direction = directions.row(k);
        line::transport(&projected(x, direction), &projected(y, direction))
    };
    let (mut first, mut second) = (vec![0.0; x.len()], vec![0.0; y.len()]);
    let mut squared = Vec::with_capacity(directions.len());
    for start in (0..directions.len()).step_by(SLICES) {
        let chunk = start..directions.len().min(start + SLICES);
        let found: Vec<line::Transport> = chunk.into_par_iter().map(along).collect();
        for found in found {
            squared.push(found.squared);
            for (sums, potential) in [(&mut first, found.first), (&mut second, found.second)] {
                sums.iter_mut().zip(potential).for_each(|(sum, value)| *sum += value);
            }
        }
    }
    Ok(SlicedDistance::new(&squared, [&first, &second]))
}

/// The sliced W₂ along `directions` random directions, determined by `seed`.
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
/// Errors of [`sliced`]; [`Error::Shape`] for 0 directions.
pub fn sliced_random(x: &Rows, y: &Rows, seed: u64, directions: usize) -> Result<SlicedDistance> {
    check("first sample", x, 1)?;
    let normals = Draws::new(seed).purpose("slices").normals(0..directions as u64, x.width());
    sliced(x, y, &on_sphere(normals))
}

impl SlicedDistance {
    /// The distance with its errors, from W₂² along each direction, and from the sums over the directions of the
    /// potentials at the rows of each sample.
    fn new(squared: &[f64], potentials: [&[f64]; 2]) -> Self {
        let directions = squared.len();
        let count = directions as f64;
        let distance = (squared.iter().sum::<f64>() / count).sqrt();
        let scaled = |variance: f64| {
            if distance > 0.0 { variance.sqrt() / (2.0 * distance) } else { 0.0 }
        };
        let of_rows: f64 = potentials.iter().map(|sums| variance_of_mean(sums)).sum();
        Self {
            distance,
            row_error: scaled(of_rows / (count * count)),
            direction_error: (directions > 1).then(|| scaled(variance_of_mean(squared))),
            directions,
        }
    }
}

/// The variance of the mean of independent values: s²/n, and 0 for one value.
fn variance_of_mean(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviations = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    deviations / (n - 1.0).max(1.0) / n
}

/// Standard normal rows scaled to length 1: uniform on the sphere. A row of zeros becomes the first unit vector.
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

/// The products ⟨direction, xᵢ⟩ of all rows, sorted.
fn projected(x: &Rows, direction: &[f32]) -> SortedSample {
    let product = |(a, b): (&f32, &f32)| f64::from(*a) * f64::from(*b);
    SortedSample::new(x.iter().map(|row| row.iter().zip(direction).map(product).sum::<f64>()))
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
        assert!((exact_w1(&x, &y)? - shifted_by.sqrt()).abs() < 1e-12);
        // E⟨θ, shift⟩² = ‖shift‖² / 3; 6 standard errors are a false alarm in 10⁸.
        let found = sliced_random(&x, &y, 4, 4000)?;
        let error = found.direction_error.unwrap_or(0.0);
        assert!((found.distance - (shifted_by / 3.0).sqrt()).abs() < 6.0 * error, "{found:?}");
        assert!(error > 0.0 && error < 0.02, "{found:?}");
        // Potentials are linear: the mean of 2 ⟨θ, shift⟩ ⟨θ, x⟩ over θ is 2/3 ⟨shift, x⟩.
        let (n, expected) = (200.0f64, 2.0 / 3.0 * shifted_by.sqrt());
        let rows = found.row_error * 2.0 * found.distance / (2.0 * expected.powi(2) / n).sqrt();
        assert!((rows - 1.0).abs() < 0.25, "{rows}");
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
        assert!((exact_w1(&x, &y)? - mean_cost(&x12, &y12, f64::sqrt)?).abs() < 1e-12);
        assert!((line(&x, &y)? - by_assignment).abs() < 1e-12);
        assert!((exact(&x, &y)? - by_assignment).abs() < 1e-12);
        Ok(())
    }

    #[test]
    fn directions_are_unit_vectors_and_one_has_no_error() -> Result<()> {
        let unit = on_sphere(Rows::new(vec![3.0, 4.0, 0.0, 0.0], 2)?);
        assert_eq!(unit.values(), [0.6, 0.8, 1.0, 0.0]);
        let found = sliced(&unit, &unit, &unit.slice(0..1))?;
        assert_eq!((found.distance, found.direction_error, found.directions), (0.0, None, 1));
        assert_eq!((found.row_error, found.standard_error()), (0.0, 0.0));
        Ok(())
    }

    /// Two normal samples in the plane, N(0, 1) and N((1, 0), 1.5²): SW₂² = 1/2 + 1/4. Of 2,000 pairs of samples, each
    /// with directions of its own, ± 1.96 errors are to cover the truth in 95 ± 3 %, the bar being 6 of its own errors.
    #[test]
    fn the_error_covers_the_distance_of_two_gaussians() -> Result<()> {
        let truth = 0.75f64.sqrt();
        let (mut covered, mut errors, mut values) = (0, 0.0, Vec::new());
        for seed in 0..2000 {
            let draws = Draws::new(seed);
            let x = draws.purpose("x").normals(0..300, 2);
            let mut y = draws.purpose("y").normals(0..400, 2);
            for row in y.values_mut().chunks_exact_mut(2) {
                row[0] = 1.5 * row[0] + 1.0;
                row[1] *= 1.5;
            }
            let found = sliced_random(&x, &y, seed, 64)?;
            assert!(found.row_error > found.direction_error.unwrap_or(0.0));
            covered += u32::from((found.distance - truth).abs() < 1.96 * found.standard_error());
            errors += found.standard_error();
            values.push(found.distance);
        }
        let spread = (2000.0 * variance_of_mean(&values)).sqrt();
        let (share, ratio) = (f64::from(covered) / 2000.0, errors / 2000.0 / spread);
        assert!((share - 0.95).abs() < 0.03, "coverage {share}");
        assert!((ratio - 1.0).abs() < 0.1, "error over spread {ratio}");
        Ok(())
    }
}
