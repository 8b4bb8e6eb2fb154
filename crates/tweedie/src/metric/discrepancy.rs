//! Kernel two-sample statistics, written once for every kernel κ that depends on the distance or the inner product:
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

use super::check_pair;
use super::distance::{Pairs, fold_pairs};
use crate::Result;
use crate::data::Rows;

/// A kernel two-sample statistic, by both of its usual estimators.
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
    /// The V-statistic: all pairs, each observation with itself too. Not negative, up to rounding, and zero between
    /// a sample and itself; its expectation is above the truth by a term of order 1/n.
    pub biased: f64,
    /// The U-statistic: pairs of different observations. Its expectation is the truth, so that it is as often
    /// negative as positive when that is zero.
    pub unbiased: f64,
    /// The standard error of `unbiased`, to first order in the projections. Where the two distributions are equal
    /// the first order vanishes and this is no more than the order of magnitude of the spread (about 1.3 times it for
    /// two normal samples of 100 rows in the plane): the test of equality by it is not exact.
    pub standard_error: f64,
}

/// The discrepancy in the kernel κ = `kernel(pair)`, `pairs` saying whether of the squared distance or of the product.
pub(super) fn discrepancy(
    pairs: Pairs,
    x: &Rows,
    y: &Rows,
    kernel: impl Fn(f64) -> f64 + Sync,
) -> Result<Discrepancy> {
    check_pair([("first sample", x), ("second sample", y)], 2)?;
    let x_sums = Sums::new(pairs, x, y, &kernel);
    let y_sums = Sums::new(pairs, y, x, &kernel);
    let (n, m) = (x.len() as f64, y.len() as f64);
    let across = x_sums.across.iter().sum::<f64>() / (n * m);
    let within =
        |sums: &Sums, own: f64, pairs: f64| (sums.within.iter().sum::<f64>() + own) / pairs;
    Ok(Discrepancy {
        biased: within(&x_sums, x_sums.own, n * n) + within(&y_sums, y_sums.own, m * m)
            - 2.0 * across,
        unbiased: within(&x_sums, 0.0, n * (n - 1.0)) + within(&y_sums, 0.0, m * (m - 1.0))
            - 2.0 * across,
        standard_error: 2.0
            * (x_sums.projected_variance(m) / n + y_sums.projected_variance(n) / m).sqrt(),
    })
}

/// For each observation of one sample, the kernel summed over the others of that sample, and over the other sample;
/// and the sum of the kernel between each observation and itself.
struct Sums {
    within: Vec<f64>,
    across: Vec<f64>,
    own: f64,
}

impl Sums {
    fn new(pairs: Pairs, x: &Rows, y: &Rows, kernel: &(impl Fn(f64) -> f64 + Sync)) -> Self {
        let sum = |row: &[f64]| row.iter().map(|&d| kernel(d)).sum::<f64>();
        let within =
            fold_pairs(pairs, x, x, |i, row| (sum(&row[..i]) + sum(&row[i + 1..]), kernel(row[i])));
        let own = within.iter().map(|(_, own)| own).sum();
        Self {
            within: within.into_iter().map(|(others, _)| others).collect(),
            across: fold_pairs(pairs, x, y, |_, row| sum(row)),
            own,
        }
    }

    /// The sample variance of the projections h, the other sample having `others` observations.
    fn projected_variance(&self, others: f64) -> f64 {
        let n = self.within.len() as f64;
        let projected = |(a, b): (&f64, &f64)| a / (n - 1.0) - b / others;
        let values: Vec<f64> = self.within.iter().zip(&self.across).map(projected).collect();
        let mean = values.iter().sum::<f64>() / n;
        values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)
    }
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
