//! The selection of real rows that samples are compared with, and the labels of samples.
//!
//! Rows may be sorted, by class or by day, so that the first rows are no random sample. A metric that cannot take every
//! row takes the same random rows each time, and samples bear the labels of these rows.

use crate::data::{Condition, Rows, Space, Split};
use crate::{Draws, Result};
use burn::tensor::Device;
use std::ops::Range;

/// `n` random indices below `len`, in ascending order: the rows of a sample that metrics take. They depend on `len` and
/// `n` alone, and a larger `n` adds to them; all indices if `len` is at most `n`.
///
/// ```
/// use tweedie::metric::evaluation_rows;
/// let (few, more) = (evaluation_rows(1000, 3), evaluation_rows(1000, 30));
/// assert!(few.is_sorted() && few.iter().all(|row| more.contains(row)));
/// assert_eq!(evaluation_rows(4, 9), [0, 1, 2, 3]);
/// ```
pub fn evaluation_rows(len: usize, n: usize) -> Vec<usize> {
    if n >= len {
        return (0..len).collect();
    }
    let mut chosen = order(len);
    chosen.truncate(n);
    chosen.sort_unstable();
    chosen
}

/// For each of `n` samples, the index of the real row, below `len`, whose label or other condition it bears: the
/// [`evaluation_rows`] in random order, or all rows in turn if `n` is above `len`. The index for sample i does not
/// depend on `n`. Empty if `len` is 0.
///
/// ```
/// use tweedie::metric::{condition_rows, evaluation_rows};
/// let mut rows = condition_rows(100, 20);
/// assert_eq!(rows[..5], condition_rows(100, 5));
/// rows.sort();
/// assert_eq!(rows, evaluation_rows(100, 20));
/// ```
pub fn condition_rows(len: usize, n: usize) -> Vec<usize> {
    order(len).into_iter().cycle().take(n).collect()
}

/// Labels for `n` samples to compare with `real` rows: the labels of the [`condition_rows`], so that classes are as
/// frequent as among the real rows. None without labels.
///
/// ```
/// use tweedie::{data::{Rows, Split}, metric::sample_labels};
/// let real = Split::new(Rows::new(vec![0.0; 4], 1)?, Some(vec![0, 0, 1, 1]))?;
/// let labels = sample_labels(&real, 400).unwrap();
/// assert_eq!(labels.iter().filter(|label| **label == 1).count(), 200);
/// # Ok::<(), tweedie::Error>(())
/// ```
pub fn sample_labels(real: &Split, n: usize) -> Option<Vec<u32>> {
    let labels = real.labels().filter(|labels| !labels.is_empty())?;
    Some(condition_rows(labels.len(), n).into_iter().map(|row| labels[row]).collect())
}

/// The conditions of `n` samples to compare with real rows: the conditions of the [`condition_rows`].
#[derive(Debug, Clone)]
pub struct SampleConditions {
    labels: Option<Vec<u32>>,
    given: Option<Rows>,
}

impl SampleConditions {
    /// The conditions of `n` samples to compare with the rows of `real`.
    pub fn of(real: &Split, n: usize) -> Self {
        let given = real.given().filter(|values| !values.is_empty());
        let given = given.map(|values| values.select(&condition_rows(values.len(), n)));
        Self { labels: sample_labels(real, n), given }
    }

    /// The condition of the samples with the numbers `rows`, each below `n`.
    ///
    /// # Errors
    /// As [`Space::condition`] and [`Space::given_condition`].
    pub fn condition(&self, rows: Range<u64>, space: &Space, device: &Device) -> Result<Condition> {
        let rows = rows.start as usize..rows.end as usize;
        match (&self.given, &self.labels) {
            (Some(values), _) => space.given_condition(&values.slice(rows), device),
            (_, Some(labels)) => {
                space.condition(labels[rows].iter().map(|label| Some(*label)).collect())
            }
            _ => space.condition(vec![None; rows.len()]),
        }
    }

    /// The split of the samples with their conditions.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] unless there are `n` samples.
    pub fn with(self, samples: Rows) -> Result<Split> {
        let samples = Split::new(samples, self.labels)?;
        match self.given {
            Some(values) => samples.with_given(values),
            None => Ok(samples),
        }
    }
}

/// All indices below `len` in one random order.
fn order(len: usize) -> Vec<usize> {
    Draws::new(0).purpose("judged rows").permutation(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 10,000 rows in the order of two classes, 1,000 at random have 500 ± 15 of each: 6 of these errors.
    #[test]
    fn evaluation_rows_do_not_follow_the_order_of_rows() {
        let rows = evaluation_rows(10_000, 1000);
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
    fn samples_bear_the_labels_of_the_evaluation_rows() -> crate::Result<()> {
        let rows = Rows::new(vec![0.0; 50], 1)?;
        let real = Split::new(rows.clone(), Some((0..50).collect()))?;
        let mut labels = sample_labels(&real, 30).expect("labels");
        labels.sort_unstable();
        let judged: Vec<u32> = evaluation_rows(50, 30).into_iter().map(|row| row as u32).collect();
        assert_eq!(labels, judged);
        assert_eq!(sample_labels(&real.clone().without_labels(), 30), None);
        assert_eq!(sample_labels(&real.select(&[]), 30), None);
        Ok(())
    }
}
