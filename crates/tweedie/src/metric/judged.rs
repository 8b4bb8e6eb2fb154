//! The real rows that samples are judged by, and the labels of the samples.
//!
//! Rows may lie in an order, by class or by day, so that the first of them are no sample of all. Whatever cannot look at
//! every row looks at the same random ones each time, and samples bear the labels of these rows.

use crate::Draws;
use crate::data::Split;

/// Random indices below `len`, `n` of them in ascending order: the rows that stand for all where not all can be looked
/// at. They depend on `len` and `n` alone, and a larger `n` adds to them; all indices where there are not more than `n`.
///
/// ```
/// use tweedie::metric::judged_rows;
/// let (few, more) = (judged_rows(1000, 3), judged_rows(1000, 30));
/// assert!(few.is_sorted() && few.iter().all(|row| more.contains(row)));
/// assert_eq!(judged_rows(4, 9), [0, 1, 2, 3]);
/// ```
pub fn judged_rows(len: usize, n: usize) -> Vec<usize> {
    if n >= len {
        return (0..len).collect();
    }
    let mut chosen = order(len);
    chosen.truncate(n);
    chosen.sort_unstable();
    chosen
}

/// For each of `n` samples to be judged, the real row of `len` whose label, or other condition, it bears: the
/// [`judged_rows`] in random order, all rows in turn where `n` is above `len`. Sample i's does not depend on `n`. Empty
/// if `len` is 0.
///
/// ```
/// use tweedie::metric::{condition_rows, judged_rows};
/// let mut rows = condition_rows(100, 20);
/// assert_eq!(rows[..5], condition_rows(100, 5));
/// rows.sort();
/// assert_eq!(rows, judged_rows(100, 20));
/// ```
pub fn condition_rows(len: usize, n: usize) -> Vec<usize> {
    order(len).into_iter().cycle().take(n).collect()
}

/// The labels that `n` samples to be judged against `real` rows should bear: those of its [`condition_rows`], so that
/// classes are as frequent as among the rows that they are compared with. None where there are no labels.
///
/// ```
/// use tweedie::{data::{Rows, Split}, metric::judged_labels};
/// let real = Split::new(Rows::new(vec![0.0; 4], 1)?, Some(vec![0, 0, 1, 1]))?;
/// let labels = judged_labels(&real, 400).unwrap();
/// assert_eq!(labels.iter().filter(|label| **label == 1).count(), 200);
/// # Ok::<(), tweedie::Error>(())
/// ```
pub fn judged_labels(real: &Split, n: usize) -> Option<Vec<u32>> {
    let labels = real.labels().filter(|labels| !labels.is_empty())?;
    Some(condition_rows(labels.len(), n).into_iter().map(|row| labels[row]).collect())
}

/// All indices below `len` in one random order.
fn order(len: usize) -> Vec<usize> {
    Draws::new(0).purpose("judged rows").permutation(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Rows;

    /// Of 10,000 rows in the order of two classes, 1,000 at random have 500 ± 15 of each: 6 of these errors.
    #[test]
    fn judged_rows_are_no_part_of_the_order_of_rows() {
        let rows = judged_rows(10_000, 1000);
        assert!(rows.windows(2).all(|pair| pair[0] < pair[1]) && rows.len() == 1000);
        for share in [
            rows.iter().filter(|row| **row < 5000).count(),
            rows.iter().filter(|row| **row % 2 == 0).count(),
        ] {
            assert!(share.abs_diff(500) < 90, "{share}");
        }
    }

    #[test]
    fn every_row_is_a_condition_equally_often() {
        let rows = condition_rows(7, 21);
        for row in 0..7 {
            assert_eq!(rows.iter().filter(|found| **found == row).count(), 3);
        }
        assert!(condition_rows(0, 5).is_empty() && condition_rows(5, 0).is_empty());
    }

    #[test]
    fn samples_bear_the_labels_of_the_rows_that_judge_them() -> crate::Result<()> {
        let rows = Rows::new(vec![0.0; 50], 1)?;
        let real = Split::new(rows.clone(), Some((0..50).collect()))?;
        let mut labels = judged_labels(&real, 30).expect("labels");
        labels.sort_unstable();
        let judged: Vec<u32> = judged_rows(50, 30).into_iter().map(|row| row as u32).collect();
        assert_eq!(labels, judged);
        assert_eq!(judged_labels(&real.clone().without_labels(), 30), None);
        assert_eq!(judged_labels(&real.select(&[]), 30), None);
        Ok(())
    }
}
