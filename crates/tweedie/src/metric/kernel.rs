//! The kernel distance: MMD² in the cubic kernel k(x, y) = (⟨x, y⟩/d + 1)³, d being the width.
//!
//! M. Bińkowski, D. J. Sutherland, M. Arbel and A. Gretton, "Demystifying MMD GANs", ICLR 2018, Sec. 4. Only on the
//! features of Inception-v3 is it called KID. Unlike the Fréchet distance its unbiased estimate has no bias at any
//! number of rows, so that values at different n can be compared; it depends on the first three moments alone.
//!
//! Published values are means over random subsets, since all pairs of 50,000 rows were too many ([`over_subsets`]).
//! Their "±" is the spread between subsets, which overlap: no standard error. [`distance`] takes every pair once, has
//! the smaller variance, needs no seed, and has a standard error.

use super::discrepancy::discrepancy;
use super::distance::Pairs;
use super::{Discrepancy, check_pair};
use crate::data::Rows;
use crate::{Draws, Error, Result};

/// The kernel distance between two samples of 2 rows or more, over all pairs. The time is that of (n + m)² inner
/// products.
///
/// ```
/// use tweedie::{data::Rows, metric::kernel};
/// let x = Rows::new(vec![0.0, 1.0], 1)?;
/// let y = Rows::new(vec![1.0, 2.0], 1)?;
/// let found = kernel::distance(&x, &y)?;
/// // k(0, 1) = 1, k(1, 2) = 27, and across 1, 1, 8 and 27.
/// assert_eq!(found.unbiased, 1.0 + 27.0 - 2.0 * (1.0 + 1.0 + 8.0 + 27.0) / 4.0);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the widths differ or a sample has fewer than 2 rows; [`Error::Config`] naming the row of a
/// value that is not finite.
pub fn distance(x: &Rows, y: &Rows) -> Result<Discrepancy> {
    let scale = 1.0 / x.width() as f64;
    discrepancy(Pairs::Products, x, y, |product| (product * scale + 1.0).powi(3))
}

/// The mean kernel distance over random subsets, for comparison with published values.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct SubsetMean {
    /// The mean of the unbiased estimates.
    pub mean: f64,
    /// The standard deviation between the subsets, with their number as divisor; it is not an error of `mean`.
    pub spread: f64,
}

/// The kernel distance as usually published: the mean over `subsets` (100, as a rule) of the unbiased estimate between
/// `size` (1,000, as a rule) rows of each sample, drawn without replacement.
///
/// # Errors
/// As [`distance`]; [`Error::Config`] if `subsets` is 0, or if `size` is below 2 or above the rows of a sample.
pub fn over_subsets(
    x: &Rows,
    y: &Rows,
    subsets: usize,
    size: usize,
    seed: u64,
) -> Result<SubsetMean> {
    check_pair([("first sample", x), ("second sample", y)], 2)?;
    let most = x.len().min(y.len());
    if subsets == 0 || !(2..=most).contains(&size) {
        let problem = format!("{subsets} of {size} rows");
        let expected = format!("at least one, of 2 to {most} rows");
        return Err(Error::config("subsets", problem, expected));
    }
    let draws = Draws::new(seed).purpose("subsets");
    let drawn = |purpose: &str, rows: &Rows, k: usize| {
        let order = draws.purpose(purpose).at(k as u64).permutation(rows.len());
        rows.select(&order[..size])
    };
    mean_over((0..subsets).map(|k| (drawn("first", x, k), drawn("second", y, k))))
}

/// Mean and spread of the unbiased estimates of pairs of samples.
fn mean_over(pairs: impl Iterator<Item = (Rows, Rows)>) -> Result<SubsetMean> {
    let values: Vec<f64> =
        pairs.map(|(x, y)| Ok(distance(&x, &y)?.unbiased)).collect::<Result<_>>()?;
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    Ok(SubsetMean { mean, spread: variance.sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::peer::Peer;

    #[test]
    fn agrees_with_torch_fidelity() -> Result<()> {
        let peer = Peer::of_images();
        let (x, y) = (peer.rows("x"), peer.rows("y"));
        let (shorter, n) = (x.slice(0..y.len()), y.len());
        peer.agrees_to(1e-10, "/kernel/all/biased", distance(&shorter, &y)?.biased);
        peer.agrees_to(1e-10, "/kernel/all/unbiased", distance(&shorter, &y)?.unbiased);
        assert!(n < x.len());
        peer.agrees_to(1e-10, "/kernel/unequal", distance(&x, &y)?.unbiased);
        let chosen: [Vec<Vec<usize>>; 2] =
            ["/kernel/subsets/x", "/kernel/subsets/y"].map(|at| peer.get(at));
        let pairs = chosen[0].iter().zip(&chosen[1]).map(|(i, j)| (x.select(i), y.select(j)));
        let found = mean_over(pairs)?;
        peer.agrees_to(1e-10, "/kernel/subsets/mean", found.mean);
        peer.agrees_to(1e-10, "/kernel/subsets/spread", found.spread);
        Ok(())
    }

    /// The mean of an unbiased estimate over random subsets is the estimate over all rows: 6 standard errors of 400
    /// subsets, a false alarm in 10⁸. Subsets of all rows are all of them.
    #[test]
    fn subsets_agree_with_all_pairs() -> Result<()> {
        let peer = Peer::of_images();
        let (x, y) = (peer.rows("x"), peer.rows("y"));
        let all = distance(&x, &y)?.unbiased;
        let found = over_subsets(&x, &y, 400, 12, 1)?;
        assert!((found.mean - all).abs() < 6.0 * found.spread / 20.0, "{found:?} {all}");
        let whole = over_subsets(&y, &y, 3, y.len(), 1)?;
        assert!((whole.mean - distance(&y, &y)?.unbiased).abs() < 1e-10 && whole.spread < 1e-10);
        for (subsets, size) in [(0, 5), (5, 1), (5, y.len() + 1)] {
            let refused = over_subsets(&x, &y, subsets, size, 1);
            assert!(matches!(refused, Err(Error::Config { .. })));
        }
        Ok(())
    }
}
