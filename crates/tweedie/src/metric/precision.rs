//! Improved precision and recall.
//!
//! T. Kynkäänniemi, T. Karras, S. Laine, J. Lehtinen and T. Aila, "Improved precision and recall metric for assessing
//! generative models", NeurIPS 2019, Eqs. 1 and 2. A sample's support is estimated by balls around its rows, each
//! reaching to the row's k-th nearest other row, k = 3 in the paper:
//!
//! - precision: the share of generated rows within the support of the real ones (fidelity);
//! - recall: the share of real rows within the support of the generated ones (coverage).
//!
//! Between two samples of one distribution neither is 1, and both depend on the number of rows: compare at equal sizes,
//! and with the floor.

use super::check_pair;
use super::distance::fold_rows;
use super::neighbours::Proportion;
use crate::data::Rows;
use crate::{Error, Result};

/// Precision and recall. Their standard errors are over the rows tested, for a fixed support.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct PrecisionRecall {
    /// The share of generated rows within the support of the real ones.
    pub precision: Proportion,
    /// The share of real rows within the support of the generated ones.
    pub recall: Proportion,
}

/// Precision and recall with balls that reach to the `k`-th nearest neighbour. At most 16 rows of distances per thread
/// exist at a time; the time is that of (n + m)² distances.
///
/// ```
/// use tweedie::{data::Rows, metric::precision};
/// let real = Rows::new(vec![0.0, 1.0, 2.0, 10.0], 1)?; // balls of radius 1, 1, 1 and 8
/// let fake = Rows::new(vec![0.5, -2.0, 0.6, 0.7], 1)?; // balls of radius 0.1, 2.5, 0.1 and 0.1
/// let found = precision::improved(&real, &fake, 1)?;
/// assert_eq!((found.precision.value, found.recall.value), (0.75, 0.25));
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] if `k` is 0, or naming the row of a value that is not finite; [`Error::Shape`] if the widths
/// differ or a sample does not have more than `k` rows.
pub fn improved(real: &Rows, fake: &Rows, k: usize) -> Result<PrecisionRecall> {
    if k == 0 {
        return Err(Error::config("k", "0", "at least 1, the nearest neighbour"));
    }
    check_pair([("real", real), ("fake", fake)], k.saturating_add(1))?;
    Ok(PrecisionRecall { precision: covered(fake, real, k), recall: covered(real, fake, k) })
}

/// The share of `rows` within the support of `reference`.
fn covered(rows: &Rows, reference: &Rows, k: usize) -> Proportion {
    let radii = fold_rows(reference, reference, |i, row| kth_least(row, i, k));
    let within = fold_rows(rows, reference, |_, row| row.iter().zip(&radii).any(|(d, r)| d <= r));
    Proportion::new(within.iter().filter(|within| **within).count() as f64, rows.len())
}

/// The `k`-th least distance, leaving out the one at `own`.
fn kth_least(distances: &[f64], own: usize, k: usize) -> f64 {
    let mut least = vec![f64::INFINITY; k];
    for (j, &distance) in distances.iter().enumerate() {
        if j != own && distance < least[k - 1] {
            let at = least.partition_point(|nearer| *nearer <= distance);
            least[at..].rotate_right(1);
            least[at] = distance;
        }
    }
    least[k - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::peer::Peer;

    #[test]
    fn agrees_with_torch_fidelity_and_scikit_learn() -> Result<()> {
        let peer = Peer::of_images();
        let (real, fake) = (peer.rows("x"), peer.rows("y"));
        for (k, at) in
            [(3, "/precision/torch_fidelity"), (3, "/precision/three"), (5, "/precision/five")]
        {
            let found = improved(&real, &fake, k)?;
            peer.agrees_to(1e-6, &format!("{at}/precision"), found.precision.value);
            peer.agrees_to(1e-6, &format!("{at}/recall"), found.recall.value);
        }
        Ok(())
    }

    #[test]
    fn the_kth_least_is_that_of_a_sorted_list() {
        let distances = crate::draws::Draws::new(2).uniforms(0..1, 40);
        let distances: Vec<f64> =
            distances.values().iter().map(|v| (8.0 * f64::from(*v)).floor()).collect();
        for own in [0, 7, 39] {
            let mut others = [&distances[..own], &distances[own + 1..]].concat();
            others.sort_by(f64::total_cmp);
            for k in 1..40 {
                assert_eq!(kth_least(&distances, own, k), others[k - 1]);
            }
        }
    }

    #[test]
    fn a_sample_covers_itself_and_nothing_far_away() -> Result<()> {
        let real = crate::draws::Draws::new(1).normals(0..50, 2);
        let own = improved(&real, &real, 3)?;
        assert_eq!((own.precision.value, own.recall.value), (1.0, 1.0));
        let mut far = real.clone();
        far.values_mut().iter_mut().for_each(|v| *v += 100.0);
        let none = improved(&real, &far, 3)?;
        assert_eq!((none.precision.value, none.recall.value), (0.0, 0.0));
        // A collapsed sample is precise and recalls nothing.
        let mut collapsed = real.clone();
        collapsed.values_mut().iter_mut().for_each(|v| *v *= 1e-3);
        let collapsed = improved(&real, &collapsed, 3)?;
        assert!(collapsed.precision.value == 1.0 && collapsed.recall.value < 0.1);
        for (k, rows) in [(0, 50), (3, 3), (usize::MAX, 50)] {
            assert!(improved(&real, &real.slice(0..rows), k).is_err());
        }
        Ok(())
    }
}
