//! All metrics of a classifier's features, each with its floor: the same metric between real pictures.
//!
//! Values by different classifiers are not comparable.

use super::judge::{MOST_PAIRED, Score};
use super::neighbours::Proportion;
use super::{Classifier, Outputs, evaluation_rows, frechet, kernel, labels, precision};
use crate::Result;
use crate::data::{Dataset, Rows, Space, Split};
use serde::Serialize;
use std::borrow::Cow;

/// The rank of the neighbour that sets the radius of balls in precision and recall.
const NEIGHBOURS: usize = 3;

/// Metrics of generated pictures by the features of a classifier.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureScores {
    /// The name of the classifier.
    pub classifier: String,
    /// The number of features of a picture.
    pub width: usize,
    /// The share of held-out pictures whose label the classifier predicts, if they are labelled.
    pub held_out_accuracy: Option<Proportion>,
    /// The metrics.
    pub scores: Vec<Score>,
}

/// Compares generated pictures with held-out ones by a classifier's features. Every [`Score`] has its numbers of
/// pictures; a metric that does not take all takes the [`evaluation_rows`].
///
/// - Fréchet distance, which is biased by the number of rows: as many generated as training pictures, 10,000 at most,
///   against all held-out ones, 10,000 at most. Compare distances of equal numbers only.
/// - Kernel distance, unbiased at any sizes: generated and held-out pictures, 10,000 of each at most.
/// - Precision and recall: equally many generated, training and held-out pictures, 10,000 at most.
/// - Label accuracy: all generated pictures. It is left out where they have no labels, or the classifier does not know
///   all of the data's classes (by name, or by number if its file gives no names).
///
/// None if there are fewer than 4 pictures of a kind, too few for precision and recall.
///
/// # Errors
/// As [`Classifier::forward`]; [`crate::Error::Config`] for features that are not finite.
pub fn judge(
    generated: &Split,
    data: &Dataset,
    classifier: &Classifier,
) -> Result<Option<FeatureScores>> {
    let space = &data.space;
    let some = |split: &Split, n: usize| split.select(&evaluation_rows(split.len(), n));
    let train = some(&data.train, generated.len().min(MOST_PAIRED));
    let held_out = some(&data.held_out, MOST_PAIRED);
    if generated.len().min(train.len()).min(held_out.len()) <= NEIGHBOURS {
        return Ok(None);
    }
    let see = |split: &Split| classifier.forward(split.rows(), space);
    let (seen, seen_train, seen_real) = (see(generated)?, see(&train)?, see(&held_out)?);
    let mut scores = compared(&seen.features, &seen_train.features, &seen_real.features)?;
    let places = places(classifier, space);
    let accuracy = |seen: &Outputs, split: &Split| -> Result<Option<Proportion>> {
        let (Some(places), Some(logits), Some(wanted)) = (&places, &seen.logits, split.labels())
        else {
            return Ok(None);
        };
        let wanted: Vec<u32> = wanted.iter().map(|label| places[*label as usize]).collect();
        labels::accuracy(logits, &wanted).map(Some)
    };
    let held_out_accuracy = accuracy(&seen_real, &held_out)?;
    if let (Some(value), Some(least)) =
        (accuracy(&seen, generated)?, accuracy(&seen_train, &train)?)
    {
        scores.push(Score {
            name: "label accuracy".into(),
            value: value.value,
            standard_error: Some(value.standard_error),
            rows: generated.len(),
            reference_rows: 0,
            floor: Some(least.value),
            good: "at the floor or above".into(),
        });
    }
    Ok(Some(FeatureScores {
        classifier: classifier.name(),
        width: classifier.width(),
        held_out_accuracy,
        scores,
    }))
}

/// The metrics between two sets of features or other rows, with floors by training rows, at most as many as the others;
/// none if there are fewer than 4 rows of a kind.
pub(super) fn compared(fake: &Rows, train: &Rows, real: &Rows) -> Result<Vec<Score>> {
    if fake.len().min(train.len()).min(real.len()) <= NEIGHBOURS {
        return Ok(Vec::new());
    }
    let some = |rows: &Rows, n: usize| rows.select(&evaluation_rows(rows.len(), n));
    let mut scores = Vec::new();
    let mut add = |name, value, standard_error, [rows, reference_rows]: [usize; 2], floor, good| {
        let (name, floor, good) = (Cow::Borrowed(name), Some(floor), Cow::Borrowed(good));
        scores.push(Score { name, value, standard_error, rows, reference_rows, floor, good });
    };
    let value = frechet::distance(&some(fake, train.len()), real)?;
    let least = frechet::distance(train, real)?;
    add("Fréchet distance", value, None, [train.len(), real.len()], least, "near the floor");
    let fake = some(fake, MOST_PAIRED);
    let (value, least) = (kernel::distance(&fake, real)?, kernel::distance(train, real)?);
    let (error, rows) = (Some(value.standard_error), [fake.len(), real.len()]);
    add("kernel distance", value.unbiased, error, rows, least.unbiased, "near 0");
    let n = train.len().min(real.len());
    let real = some(real, n);
    let value = precision::improved(&real, &some(&fake, n), NEIGHBOURS)?;
    let least = precision::improved(&real, &some(train, n), NEIGHBOURS)?;
    for (name, value, least) in
        [("precision", value.precision, least.precision), ("recall", value.recall, least.recall)]
    {
        let error = Some(value.standard_error);
        add(name, value.value, error, [n, n], least.value, "near the floor");
    }
    Ok(scores)
}

/// The classifier's output for each class of the space, if it has all of them.
fn places(classifier: &Classifier, space: &Space) -> Option<Vec<u32>> {
    let (known, classes) = (classifier.classes(), space.classes());
    if known.is_empty() {
        let same = classifier.outputs() == Some(classes.len());
        return same.then(|| (0..classes.len() as u32).collect());
    }
    let place = |name: &String| known.iter().position(|known| known == name).map(|at| at as u32);
    classes.iter().map(place).collect()
}
