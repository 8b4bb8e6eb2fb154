//! The squared maximum mean discrepancy, MMD² = E k(X, X′) + E k(Y, Y′) − 2 E k(X, Y), in any kernel, or in a sum of
//! Gaussian kernels
//!
//! k(x, y) = Σ_σ exp(−‖x − y‖² / 2σ²).
//!
//! A. Gretton, K. Borgwardt, M. Rasch, B. Schölkopf and A. Smola, "A kernel two-sample test", JMLR 13 (2012), Eqs. 3
//! (unbiased) and 5 (biased); the median heuristic for σ is in its Section 8. A sum over several σ is characteristic,
//! as each of its terms, and detects differences of several sizes at once (Y. Li, K. Swersky and R. Zemel, "Generative
//! moment matching networks", ICML 2015).

use super::discrepancy::discrepancy;
use super::distance::{Pairs, fold_rows};
use super::{Discrepancy, check_pair, evaluation_rows};
use crate::data::Rows;
use crate::{Error, Result};

/// The most rows of the median heuristic, of both samples together.
const MEDIAN_ROWS: usize = 2000;

/// MMD² between two samples, in the sum of Gaussian kernels of the given `bandwidths` σ > 0, in the units of the data.
/// Its biased estimate is between 0 and twice the number of bandwidths. The time is that of (n + m)² kernels.
///
/// ```
/// use tweedie::{data::Rows, metric::mmd};
/// let x = Rows::new(vec![0.0, 1.0, 2.0, 3.0], 1)?;
/// let y = Rows::new(vec![5.0, 6.0, 7.0], 1)?;
/// let sigma = mmd::median_bandwidth(&x, &y)?;
/// assert_eq!(sigma, 3.0);
/// let found = mmd::gaussian(&x, &y, &[sigma / 2.0, sigma, 2.0 * sigma])?;
/// assert!(found.unbiased > 3.0 * found.standard_error);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the widths differ or a sample has fewer than 2 rows; [`Error::Config`] naming the row of a
/// value that is not finite, or if `bandwidths` is empty or has one that is not a positive finite number.
pub fn gaussian(x: &Rows, y: &Rows, bandwidths: &[f64]) -> Result<Discrepancy> {
    let usable = |s: f64| s > 0.0 && rate(s).is_finite();
    if bandwidths.is_empty() || !bandwidths.iter().all(|&s| usable(s)) {
        let expected = "one or more positive numbers";
        return Err(Error::config("bandwidths", format!("{bandwidths:?}"), expected));
    }
    let rates: Vec<f64> = bandwidths.iter().copied().map(rate).collect();
    discrepancy(Pairs::SquaredDistances, x, y, |squared| {
        rates.iter().map(|rate| (rate * squared).exp()).sum()
    })
}

/// MMD² between two samples in any symmetric, positive definite kernel of two rows. The unbiased estimate does not
/// depend on k(x, x). The time is that of (n + m)² kernels.
///
/// ```
/// use tweedie::{data::Rows, metric::mmd};
/// let x = Rows::new(vec![0.0, 2.0], 1)?;
/// let y = Rows::new(vec![1.0, 3.0], 1)?;
/// // In the kernel x y, MMD² is the squared difference of the means.
/// let product = |a: &[f32], b: &[f32]| f64::from(a[0] * b[0]);
/// assert_eq!(mmd::with_kernel(&x, &y, product)?.biased, 1.0);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the widths differ or a sample has fewer than 2 rows; [`Error::Config`] naming the row of a
/// value that is not finite; [`Error::Undefined`] if a sum of kernels is not finite.
pub fn with_kernel(
    x: &Rows,
    y: &Rows,
    kernel: impl Fn(&[f32], &[f32]) -> f64 + Sync,
) -> Result<Discrepancy> {
    let found = discrepancy(Pairs::Function(&kernel), x, y, |value| value)?;
    if found.biased.is_finite() {
        return Ok(found);
    }
    Err(Error::undefined("MMD²", format!("the kernels add up to {}", found.biased)))
}

/// −1/2σ², the factor on the squared distance in the exponent of the Gaussian kernel.
pub(super) fn rate(bandwidth: f64) -> f64 {
    -0.5 / (bandwidth * bandwidth)
}

/// The median of the distances between all pairs of different rows of the two samples taken together, the usual
/// bandwidth for [`gaussian`]. Beyond 2,000 rows it takes 2,000 random ones, the same each time.
///
/// # Errors
/// [`Error::Shape`] if the widths differ or a sample is empty; [`Error::Config`] naming the row of a value that is
/// not finite; [`Error::Undefined`] if the median is zero, as most rows are equal.
pub fn median_bandwidth(x: &Rows, y: &Rows) -> Result<f64> {
    check_pair([("first sample", x), ("second sample", y)], 1)?;
    let mut of_x = evaluation_rows(x.len() + y.len(), MEDIAN_ROWS);
    let of_y = of_x.split_off(of_x.partition_point(|row| *row < x.len()));
    let of_y: Vec<usize> = of_y.into_iter().map(|row| row - x.len()).collect();
    let mut pooled = x.select(&of_x);
    pooled.extend(&y.select(&of_y))?;
    let mut squared = fold_rows(&pooled, &pooled, |i, row| row[..i].to_vec()).concat();
    let middle = squared.len() / 2;
    let (below, &mut upper, _) = squared.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let odd = !squared.len().is_multiple_of(2);
    let median = if odd { upper.sqrt() } else { 0.5 * (lower.sqrt() + upper.sqrt()) };
    if median > 0.0 {
        return Ok(median);
    }
    let why = "at least half of the pairs of rows are equal; give the bandwidth in numbers";
    Err(Error::undefined("median bandwidth", why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::peer::Peer;

    #[test]
    fn agrees_with_scikit_learn() -> Result<()> {
        let peer = Peer::read();
        let (x, y) = (peer.rows("x"), peer.rows("y"));
        for name in ["mmd", "mmd_sum"] {
            let bandwidths: Vec<f64> = peer.get(&format!("/{name}/bandwidths"));
            let found = gaussian(&x, &y, &bandwidths)?;
            peer.agrees(&format!("/{name}/biased"), found.biased);
            peer.agrees(&format!("/{name}/unbiased"), found.unbiased);
        }
        Ok(())
    }

    /// The same kernel as a function of rows and of distances: equal up to rounding. A larger diagonal changes the
    /// biased estimate by its means alone, and no bit of the unbiased one.
    #[test]
    fn any_kernel_is_the_fast_one_and_the_diagonal_does_not_count() -> Result<()> {
        let peer = Peer::read();
        let (x, y) = (peer.rows("x"), peer.rows("y"));
        let square = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
        };
        let fast = gaussian(&x, &y, &[0.8])?;
        let plain = with_kernel(&x, &y, |a, b| (square(a, b) * rate(0.8)).exp())?;
        for (a, b) in [
            (fast.biased, plain.biased),
            (fast.unbiased, plain.unbiased),
            (fast.standard_error, plain.standard_error),
        ] {
            assert!((a - b).abs() < 1e-13, "{a} {b}");
        }
        let heavy = |a: &[f32], b: &[f32]| {
            let squared = square(a, b);
            (squared * rate(0.8)).exp() + if squared == 0.0 { 7.0 } else { 0.0 }
        };
        let heavy = with_kernel(&x, &y, heavy)?;
        assert_eq!(heavy.unbiased, plain.unbiased);
        let added = 7.0 / x.len() as f64 + 7.0 / y.len() as f64;
        assert!((heavy.biased - plain.biased - added).abs() < 1e-12, "{}", heavy.biased);
        let refused = with_kernel(&x, &y, |_, _| f64::NAN);
        assert!(matches!(refused, Err(Error::Undefined { .. })));
        Ok(())
    }

    /// Between equal distributions the unbiased estimate has mean 0 and is negative as it likes, never set to 0: of 200
    /// pairs of samples, fewer than 30 or more than 195 negative ones are a false alarm in 10⁹ at a share of 0.4 to
    /// 0.8.
    #[test]
    fn negative_estimates_are_kept() -> Result<()> {
        let (mut negative, mut values) = (0, Vec::new());
        for seed in 0..200 {
            let draws = crate::draws::Draws::new(seed);
            let [x, y] = ["x", "y"].map(|name| draws.purpose(name).normals(0..60, 2));
            let found = gaussian(&x, &y, &[1.0])?;
            assert!(found.biased >= 0.0);
            negative += u32::from(found.unbiased < 0.0);
            values.push(found.unbiased);
        }
        assert!((30..=195).contains(&negative), "{negative} of 200 are negative");
        let (mean, error) = crate::tensor::mean_and_error(&values);
        assert!(mean.abs() < 6.0 * error, "{mean} ± {error}");
        Ok(())
    }

    #[test]
    fn median_agrees_with_numpy() -> Result<()> {
        let peer = Peer::read();
        peer.agrees("/median", median_bandwidth(&peer.rows("x"), &peer.rows("y"))?);
        let three = Rows::new(vec![0.0, 1.0, 5.0], 1)?;
        let one = Rows::new(vec![6.0], 1)?;
        // The distances are 1, 1, 4, 5, 5, 6.
        assert_eq!(median_bandwidth(&three, &one)?, 4.5);
        Ok(())
    }

    /// E k for x and y from N(0, 1) and N(2, 1) and σ = 1: k(x, x′) has mean 1/√3, k(x, y) has e^(−4/6)/√3.
    /// The tolerance is 6 standard errors, a false alarm in 10⁸.
    #[test]
    fn approaches_the_closed_form_for_two_gaussians() -> Result<()> {
        let x = crate::draws::Draws::new(5).purpose("x").normals(0..2000, 1);
        let mut y = crate::draws::Draws::new(5).purpose("y").normals(0..1500, 1);
        y.values_mut().iter_mut().for_each(|v| *v += 2.0);
        let truth = 2.0 * (1.0 - (-4.0f64 / 6.0).exp()) / 3f64.sqrt();
        let found = gaussian(&x, &y, &[1.0])?;
        assert!(found.standard_error < 0.03);
        assert!((found.unbiased - truth).abs() < 6.0 * found.standard_error, "{found:?}");
        Ok(())
    }
}
