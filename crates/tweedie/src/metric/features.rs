//! All metrics of a classifier's features at once, each beside its floor: the same metric between real pictures.
//!
//! They judge by what the classifier sees, and are numbers of that classifier: those of one cannot be compared with those
//! of another.

use super::judge::{Score, some};
use super::neighbours::Share;
use super::{Classifier, Seen, frechet, kernel, labels, precision};
use crate::Result;
use crate::data::{Dataset, Space, Split};
use serde::Serialize;

/// Neighbours that precision and recall reach to.
const NEIGHBOURS: usize = 3;

/// What a classifier's features say of generated pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureScores {
    /// Whose features they are.
    pub classifier: String,
    /// How many numbers the features of a picture are.
    pub width: usize,
    /// How many generated, held-out and training pictures are compared with each other.
    pub rows: usize,
    /// The share of held-out pictures whose label the classifier finds, if they are labelled.
    pub held_out_accuracy: Option<Share>,
    /// The metrics.
    pub scores: Vec<Score>,
}

/// Judges generated pictures against held-out ones by a classifier's features.
///
/// As many held-out, training and generated pictures are compared as the smallest of the three has: the first generated
/// ones and random real ones. The label accuracy is that of all generated pictures; it is left out
/// where they have no labels, or the classifier does not know all of the data's classes (by name, or by number if its
/// file gives no names). None if there are fewer than 4 of a kind, too few for precision and recall.
///
/// # Errors
/// As [`Classifier::see`]; [`crate::Error::Config`] for features that are not finite.
pub fn judge(
    generated: &Split,
    data: &Dataset,
    classifier: &Classifier,
) -> Result<Option<FeatureScores>> {
    let n = generated.len().min(data.train.len()).min(data.held_out.len());
    if n <= NEIGHBOURS {
        return Ok(None);
    }
    let space = &data.space;
    let spread = |split: &Split| split.select(&some(split.len(), n));
    let (train, held_out) = (spread(&data.train), spread(&data.held_out));
    let see = |split: &Split| classifier.see(split.rows(), space);
    let (seen, seen_train, seen_real) = (see(generated)?, see(&train)?, see(&held_out)?);
    let fake = seen.features.slice(0..n);
    let (floor, real) = (&seen_train.features, &seen_real.features);
    let mut scores = Vec::new();
    let mut add = |name, value, standard_error, floor, good| {
        scores.push(Score { name, value, standard_error, floor: Some(floor), good });
    };
    add(
        "Fréchet distance",
        frechet::distance(&fake, real)?,
        None,
        frechet::distance(floor, real)?,
        "near the floor",
    );
    let (value, least) = (kernel::distance(&fake, real)?, kernel::distance(floor, real)?);
    add("kernel distance", value.unbiased, Some(value.standard_error), least.unbiased, "near 0");
    let value = precision::improved(real, &fake, NEIGHBOURS)?;
    let least = precision::improved(real, floor, NEIGHBOURS)?;
    for (name, value, least) in
        [("precision", value.precision, least.precision), ("recall", value.recall, least.recall)]
    {
        add(name, value.value, Some(value.standard_error), least.value, "near the floor");
    }
    let places = places(classifier, space);
    let accuracy = |seen: &Seen, split: &Split| -> Result<Option<Share>> {
        let (Some(places), Some(logits), Some(wanted)) = (&places, &seen.logits, split.labels())
        else {
            return Ok(None);
        };
        let wanted: Vec<u32> = wanted.iter().map(|label| places[*label as usize]).collect();
        labels::accuracy(logits, &wanted).map(Some)
    };
    if let (Some(value), Some(least)) =
        (accuracy(&seen, generated)?, accuracy(&seen_train, &train)?)
    {
        let error = Some(value.standard_error);
        add("label accuracy", value.value, error, least.value, "at the floor or above");
    }
    Ok(Some(FeatureScores {
        classifier: classifier.name(),
        width: classifier.width(),
        rows: n,
        held_out_accuracy: accuracy(&seen_real, &held_out)?,
        scores,
    }))
}

/// The classifier's number of each of the space's classes, if it knows them all.
fn places(classifier: &Classifier, space: &Space) -> Option<Vec<u32>> {
    let (known, classes) = (classifier.classes(), space.classes());
    if known.is_empty() {
        let same = classifier.outputs() == Some(classes.len());
        return same.then(|| (0..classes.len() as u32).collect());
    }
    let place = |name: &String| known.iter().position(|known| known == name).map(|at| at as u32);
    classes.iter().map(place).collect()
}
