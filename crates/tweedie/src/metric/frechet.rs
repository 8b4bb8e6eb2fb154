//! The Fréchet distance between Gaussian fits of two samples,
//!
//! d² = ‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½).
//!
//! D. C. Dowson and B. V. Landau, "The Fréchet distance between multivariate normal distributions", J. Multivar. Anal.
//! 12 (1982); for generated pictures by M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler and S. Hochreiter, "GANs
//! trained by a two time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017, Eq. 6. As there, d² is
//! reported, and Σ has the divisor n − 1. Only on the features of Inception-v3 is it called FID.
//!
//! No square root of a matrix is taken. With Σ = Rᵀ R, R being triangular, from the QR factorisation of the centred
//! rows, the eigenvalues of Σ₁ Σ₂ are the squared singular values of R₁ R₂ᵀ, so that
//!
//! Tr (Σ₁ Σ₂)^½ = Σᵢ sᵢ(R₁ R₂ᵀ).
//!
//! The covariances are never formed. A singular product Σ₁ Σ₂, as from features that are always 0, loses no digits,
//! while a square root of its rounding errors would lose half of them.
//!
//! The fit has d (d + 3)/2 numbers, and the distance of two finite samples is biased upwards by a term of order 1/n
//! that depends on the model (M. J. Chong and D. Forsyth, "Effectively unbiased FID and Inception Score", CVPR 2020):
//! compare at equal n only, and with the floor.

use super::check_pair;
use crate::data::Rows;
use crate::{Error, Result};
use faer::Mat;

/// The number of rows factorised at once, so that memory does not grow with their number.
const CHUNK: usize = 1024;

/// The squared Fréchet distance between Gaussian fits of two samples of 2 rows or more, in squared units of the data; 0
/// between a sample and itself, up to rounding, and never negative.
///
/// ```
/// use tweedie::{data::Rows, metric::frechet};
/// let x = Rows::new(vec![0.0, 2.0], 1)?; // mean 1, standard deviation √2
/// let y = Rows::new(vec![2.0, 6.0], 1)?; // mean 4, standard deviation √8
/// assert!((frechet::distance(&x, &y)? - (9.0 + 2.0)).abs() < 1e-12);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the widths differ or a sample has fewer than 2 rows; [`Error::Config`] naming the row of a
/// value that is not finite; [`Error::Undefined`] if the values are too large to be squared.
pub fn distance(x: &Rows, y: &Rows) -> Result<f64> {
    check_pair([("first sample", x), ("second sample", y)], 2)?;
    let (x, y) = rayon::join(|| Fit::new(x), || Fit::new(y));
    let apart: f64 = x.mean.iter().zip(&y.mean).map(|(a, b)| (a - b).powi(2)).sum();
    let product = &x.factor * y.factor.transpose();
    let undefined = || Error::undefined("Fréchet distance", "the covariances are not finite");
    let common: f64 = product.singular_values().map_err(|_| undefined())?.iter().sum();
    let squared = apart + x.trace() + y.trace() - 2.0 * common;
    if squared.is_finite() { Ok(squared.max(0.0)) } else { Err(undefined()) }
}

/// A Gaussian with covariance Rᵀ R.
struct Fit {
    mean: Vec<f64>,
    factor: Mat<f64>,
}

impl Fit {
    fn new(rows: &Rows) -> Self {
        let (n, width) = (rows.len() as f64, rows.width());
        let mut mean = vec![0.0; width];
        for row in rows.iter() {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        mean.iter_mut().for_each(|sum| *sum /= n);
        let chunk = CHUNK.max(width);
        let mut factor = Mat::<f64>::zeros(0, width);
        for start in (0..rows.len()).step_by(chunk) {
            // The factor of the rows so far stands for these rows.
            let (above, more) = (factor.nrows(), chunk.min(rows.len() - start));
            let stacked = Mat::from_fn(above + more, width, |i, j| match i.checked_sub(above) {
                None => factor[(i, j)],
                Some(i) => f64::from(rows.row(start + i)[j]) - mean[j],
            });
            factor = stacked.qr().thin_R().to_owned();
        }
        let scale = 1.0 / (n - 1.0).sqrt();
        Self { mean, factor: faer::Scale(scale) * factor }
    }

    /// The trace of the covariance.
    fn trace(&self) -> f64 {
        self.factor.col_iter().flat_map(|column| column.iter()).map(|v| v * v).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Draws;
    use crate::metric::peer::Peer;

    #[test]
    fn agrees_with_torch_fidelity_and_scipy() -> Result<()> {
        let peer = Peer::of_images();
        let (x, y) = (peer.rows("x"), peer.rows("y"));
        let found = distance(&x, &y)?;
        peer.agrees_to(1e-6, "/frechet/torch_fidelity", found);
        peer.agrees_to(1e-10, "/frechet/eigenvalues", found);
        // Two of the columns are constant in either sample, and there are fewer rows than columns.
        let (x, y) = (peer.rows("flat_x"), peer.rows("flat_y"));
        peer.agrees_to(1e-8, "/frechet/singular", distance(&x, &y)?);
        Ok(())
    }

    /// Chunks do not matter, nor does a rotation: for independent columns of known spread the distance is a sum.
    #[test]
    fn many_rows_have_the_distance_of_their_moments() -> Result<()> {
        let n = 3 * CHUNK as u64 + 5;
        let x = Draws::new(1).purpose("x").normals(0..n, 2);
        let mut y = x.clone();
        // y = x S + m, so that both covariances are exact functions of one.
        for row in y.values_mut().chunks_exact_mut(2) {
            row[0] = 3.0 * row[0] + 1.0;
            row[1] *= 3.0;
        }
        // Tr(Σ + 9 Σ − 2 · 3 Σ) = 4 Tr Σ, and the means differ by 2 m + (1, 0).
        let (mut mean, mut square) = ([0.0; 2], 0.0);
        for row in x.iter() {
            for (sum, value) in mean.iter_mut().zip(row) {
                *sum += f64::from(*value) / n as f64;
                square += f64::from(*value).powi(2);
            }
        }
        let trace = (square - n as f64 * (mean[0].powi(2) + mean[1].powi(2))) / (n as f64 - 1.0);
        let truth = (2.0 * mean[0] + 1.0).powi(2) + (2.0 * mean[1]).powi(2) + 4.0 * trace;
        assert!((distance(&x, &y)? - truth).abs() < 1e-5 * truth);
        assert!(distance(&x, &x)? < 1e-12);
        assert!(distance(&x, &x.select(&[0, 1]))? > 0.0);
        Ok(())
    }
}
