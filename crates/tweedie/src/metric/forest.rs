//! The use of samples: a forest of trees learns labels from samples, and is tested on real rows.
//!
//! Trained on synthetic and tested on real (C. Esteban, S. L. Hyland and G. Rätsch, "Real-valued (medical) time series
//! generation with recurrent conditional GANs", 2017), beside a forest that is trained on as many real rows. Samples
//! that serve as well as real rows give the same accuracy. The forest is that of L. Breiman, "Random forests", Machine
//! Learning 45 (2001): trees on bootstrapped rows, each split chosen among √d random columns.

use crate::data::Rows;
use crate::{Error, Result};
use rayon::prelude::*;
use smartcore::ensemble::random_forest_classifier::{
    RandomForestClassifier, RandomForestClassifierParameters,
};
use smartcore::linalg::basic::matrix::DenseMatrix;
use std::collections::BTreeMap;

/// Trees of a forest, and of each part of it that a thread trains.
const TREES: u64 = 100;
const PART: u16 = 10;

/// A forest of trees that tells the labels of rows.
///
/// ```
/// use tweedie::data::Rows;
/// use tweedie::metric::Forest;
/// let rows = Rows::new((0..200).map(|i| i as f32).collect(), 1)?;
/// let labels: Vec<u32> = (0..200).map(|i| u32::from(i >= 100)).collect();
/// let forest = Forest::fit(&rows, &labels, 0)?;
/// assert!(forest.accuracy(&rows, &labels)? > 0.98);
/// # Ok::<(), tweedie::Error>(())
/// ```
pub struct Forest(Vec<RandomForestClassifier<f32, u32, DenseMatrix<f32>, Vec<u32>>>);

impl Forest {
    /// A forest of 100 trees for rows in model units and their labels.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not as many labels as rows; [`Error::Undefined`] if all labels are equal.
    pub fn fit(rows: &Rows, labels: &[u32], seed: u64) -> Result<Self> {
        let matrix = matrix(rows, labels)?;
        let labels = labels.to_vec();
        if labels.iter().all(|label| Some(label) == labels.first()) {
            return Err(Error::undefined("a forest", "all rows have the same label"));
        }
        let columns = (rows.width() as f64).sqrt().round().max(1.0) as usize;
        let part = |k: u64| {
            let parameters = RandomForestClassifierParameters::default();
            let parameters = parameters
                .with_n_trees(PART)
                .with_m(columns)
                .with_seed(seed.wrapping_mul(TREES).wrapping_add(k));
            RandomForestClassifier::fit(&matrix, &labels, parameters)
                .map_err(|e| Error::undefined("a forest", e.to_string()))
        };
        let parts = (0..TREES / u64::from(PART)).into_par_iter().map(part);
        Ok(Self(parts.collect::<Result<_>>()?))
    }

    /// The share of rows whose labels the majority of the forest's parts finds.
    ///
    /// # Errors
    /// As [`Forest::fit`]; [`Error::Undefined`] without rows.
    pub fn accuracy(&self, rows: &Rows, labels: &[u32]) -> Result<f64> {
        let matrix = matrix(rows, labels)?;
        let predict = |part: &RandomForestClassifier<_, _, _, _>| {
            part.predict(&matrix).map_err(|e| Error::undefined("a forest", e.to_string()))
        };
        let votes: Vec<Vec<u32>> = self.0.par_iter().map(predict).collect::<Result<_>>()?;
        let found = |row: usize| {
            let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
            votes.iter().for_each(|part| *counts.entry(part[row]).or_default() += 1);
            counts.into_iter().max_by_key(|(_, count)| *count).map(|(label, _)| label)
        };
        let right = (0..rows.len()).filter(|&row| found(row) == Some(labels[row])).count();
        Ok(right as f64 / rows.len() as f64)
    }
}

fn matrix(rows: &Rows, labels: &[u32]) -> Result<DenseMatrix<f32>> {
    if labels.len() != rows.len() {
        return Err(Error::shape("labels", labels.len(), rows.len()));
    }
    DenseMatrix::new(rows.len(), rows.width(), rows.values().to_vec(), false)
        .map_err(|e| Error::undefined("a forest", e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Draws;

    /// Two normals of unit variance, 2 apart along the diagonal: the best rule is right in Φ(1) = 84.1 % of the cases.
    #[test]
    fn a_forest_nearly_reaches_the_best_rule_and_not_more() {
        let draw = |n: u64, purpose: &str| {
            let mut rows = Draws::new(3).purpose(purpose).normals(0..n, 2);
            let labels: Vec<u32> = (0..n as u32).map(|i| i % 2).collect();
            let side = |label: u32| if label == 0 { -0.5_f32.sqrt() } else { 0.5_f32.sqrt() };
            for (row, label) in rows.values_mut().chunks_mut(2).zip(&labels) {
                row.iter_mut().for_each(|x| *x += side(*label));
            }
            (rows, labels)
        };
        let (train, test) = (draw(2000, "train"), draw(4000, "test"));
        let forest = Forest::fit(&train.0, &train.1, 0).unwrap();
        let found = forest.accuracy(&test.0, &test.1).unwrap();
        let error = (0.841_f64 * 0.159 / 4000.0).sqrt();
        assert!(found < 0.8413 + 4.9 * error && found > 0.80, "{found}");
        let again = Forest::fit(&train.0, &train.1, 0).unwrap().accuracy(&test.0, &test.1).unwrap();
        assert_eq!(found, again);
    }

    #[test]
    fn labels_of_one_kind_are_refused() {
        let rows = Rows::new(vec![0.0, 1.0], 1).unwrap();
        assert!(matches!(Forest::fit(&rows, &[1, 1], 0), Err(Error::Undefined { .. })));
        assert!(matches!(Forest::fit(&rows, &[1], 0), Err(Error::Shape { .. })));
    }
}
