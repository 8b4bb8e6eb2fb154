//! Kernel two-sample statistics, written once for every kernel κ, fast where it depends on the distance or the product:
//!
//! Δ = E κ(X, X′) + E κ(Y, Y′) − 2 E κ(X, Y).
//!
//! With κ positive definite Δ is the squared maximum mean discrepancy (Gretton et al., "A kernel two-sample test",
//! JMLR 13 (2012), Eq. 3 unbiased, Eq. 5 biased); with κ = −‖x − y‖ it is the energy distance (Sejdinovic et al.,
//! "Equivalence of distance-based and RKHS-based statistics in hypothesis testing", Ann. Stat. 41 (2013)).
//!
//! Standard error: a U-statistic is, to first order in 1/n, the sum of its projections on single observations
//! (W. Hoeffding, "A class of statistics with asymptotically normal distribution", Ann. Math. Stat. 19 (1948)). With
//! h(xᵢ) = meanⱼ≠ᵢ κ(xᵢ, xⱼ) − meanⱼ κ(xᵢ, yⱼ), and g(yⱼ) likewise,
//!
//! Var Δ̂ ≈ 4 Var h / n + 4 Var g / m.

use super::distance::{Pairs, fold_pairs};
use super::{check, check_pair};
use crate::Result;
use crate::data::Rows;
use std::array;

/// A kernel two-sample statistic, with its two usual estimators and a standard error.
///
/// ```
/// use tweedie::{data::Rows, metric::energy};
/// let x = Rows::new(vec![0.0, 2.0], 1)?;
/// let y = Rows::new(vec![1.0, 3.0], 1)?;
/// let found = energy::distance(&x, &y)?;
/// assert_eq!(found.biased, 2.0 * 1.5 - 1.0 - 1.0);
/// assert_eq!(found.unbiased, 2.0 * 1.5 - 2.0 - 2.0);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Discrepancy {
    /// The V-statistic: over all pairs, including each observation with itself. Not negative, up to rounding, and zero
    /// between a sample and itself; its expectation exceeds the truth by a term of order 1/n.
    pub biased: f64,
    /// The U-statistic: over pairs of different observations. Its expectation is the true value, so that it is as often
    /// negative as positive when the true value is zero.
    pub unbiased: f64,
    /// The standard error of `unbiased`, to first order in the projections. Between equal distributions the first order
    /// vanishes, and this is only the order of magnitude of the spread (about 1.3 times it for two normal samples of
    /// 100 rows in the plane): it gives no exact test of equality.
    pub standard_error: f64,
}

/// The discrepancy in the kernel κ = `kernel(pair)`, of the quantity of each pair by `pairs`.
pub(super) fn discrepancy(
    pairs: Pairs,
    x: &Rows,
    y: &Rows,
    kernel: impl Fn(f64) -> f64 + Sync,
) -> Result<Discrepancy> {
    check_pair([("first sample", x), ("second sample", y)], 2)?;
    let [found] = Against::new(pairs, y, |pair| [kernel(pair)])?.discrepancies(x)?;
    Ok(found)
}

/// A reference sample under K kernels: pairs within it, and distances between two rows, are computed once.
pub(super) struct Against<'a, const K: usize, F> {
    pairs: Pairs<'a>,
    y: &'a Rows,
    kernel: F,
    within: Within<K>,
}

impl<'a, const K: usize, F: Fn(f64) -> [f64; K] + Sync> Against<'a, K, F> {
    /// Fails for fewer than 2 rows or a value that is not finite.
    pub fn new(pairs: Pairs<'a>, y: &'a Rows, kernel: F) -> Result<Self> {
        check("second sample", y, 2)?;
        let within = Within::new(pairs, y, &kernel);
        Ok(Self { pairs, y, kernel, within })
    }

    /// The discrepancies between `x` and the sample.
    pub fn discrepancies(&self, x: &Rows) -> Result<[Discrepancy; K]> {
        check_pair([("first sample", x), ("second sample", self.y)], 2)?;
        let across = |x, y| fold_pairs(self.pairs, x, y, |_, row| sum(&self.kernel, row));
        let (x_within, y_within) = (&Within::new(self.pairs, x, &self.kernel), &self.within);
        let (x_across, y_across) = (across(x, self.y), across(self.y, x));
        let (n, m) = (x.len() as f64, self.y.len() as f64);
        Ok(array::from_fn(|k| {
            let across = x_across.iter().map(|row| row[k]).sum::<f64>() / (n * m);
            let (x_others, y_others) = (x_within.total(k), y_within.total(k));
            Discrepancy {
                biased: (x_others + x_within.own[k]) / (n * n)
                    + (y_others + y_within.own[k]) / (m * m)
                    - 2.0 * across,
                unbiased: x_others / (n * (n - 1.0)) + y_others / (m * (m - 1.0)) - 2.0 * across,
                standard_error: 2.0
                    * (projected_variance(k, &x_within.others, &x_across, m) / n
                        + projected_variance(k, &y_within.others, &y_across, n) / m)
                        .sqrt(),
            }
        }))
    }
}

/// Sums of each kernel over the pairs of an observation with the others of its sample, and over the pairs of each
/// observation with itself.
struct Within<const K: usize> {
    others: Vec<[f64; K]>,
    own: [f64; K],
}

impl<const K: usize> Within<K> {
    fn new(pairs: Pairs, x: &Rows, kernel: &(impl Fn(f64) -> [f64; K] + Sync)) -> Self {
        let found = fold_pairs(pairs, x, x, |i, row| {
            let (before, after) = (sum(kernel, &row[..i]), sum(kernel, &row[i + 1..]));
            (array::from_fn(|k| before[k] + after[k]), kernel(row[i]))
        });
        let own = array::from_fn(|k| found.iter().map(|(_, own)| own[k]).sum());
        Self { others: found.into_iter().map(|(others, _)| others).collect(), own }
    }

    fn total(&self, k: usize) -> f64 {
        self.others.iter().map(|row| row[k]).sum()
    }
}

/// The sum of each kernel over some pairs.
fn sum<const K: usize>(kernel: &impl Fn(f64) -> [f64; K], pairs: &[f64]) -> [f64; K] {
    let mut sums = [0.0; K];
    for &pair in pairs {
        sums.iter_mut().zip(kernel(pair)).for_each(|(sum, value)| *sum += value);
    }
    sums
}

/// The sample variance of the projections h in kernel `k`, where the other sample has `others` observations.
fn projected_variance<const K: usize>(
    k: usize,
    within: &[[f64; K]],
    across: &[[f64; K]],
    others: f64,
) -> f64 {
    let n = within.len() as f64;
    let projected = |(a, b): (&[f64; K], &[f64; K])| a[k] / (n - 1.0) - b[k] / others;
    let values: Vec<f64> = within.iter().zip(across).map(projected).collect();
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Draws;

    /// The standard deviation over 2,000 pairs of samples against the mean standard error. The estimate of a standard
    /// deviation has a relative error of about 1/√4000 = 0.016: 0.1 more than covers 6 of them.
    #[test]
    fn standard_error_is_the_spread_over_samples() -> Result<()> {
        let repeats = 2000;
        let (mut values, mut errors) = (Vec::new(), 0.0);
        for seed in 0..repeats {
            let x = Draws::new(seed).purpose("x").normals(0..40, 2);
            let mut y = Draws::new(seed).purpose("y").normals(0..30, 2);
            y.values_mut().iter_mut().for_each(|v| *v = 1.5 * *v + 1.0);
            let found =
                discrepancy(Pairs::SquaredDistances, &x, &y, |squared| (-0.5 * squared).exp())?;
            values.push(found.unbiased);
            errors += found.standard_error;
        }
        let count = repeats as f64;
        let mean = values.iter().sum::<f64>() / count;
        let spread = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt();
        let ratio = errors / count / spread;
        assert!((ratio - 1.0).abs() < 0.1, "standard error over spread: {ratio}");
        Ok(())
    }
}
