//! `--features`: the classifier by whose features pictures are judged.

use crate::Settings;
use std::path::Path;
use tweedie::Result;
use tweedie::data::Dataset;
use tweedie::metric::Classifier;

/// The classifier that a file describes, refused before there are samples if it does not take pictures of this size.
pub fn open(
    path: &Path,
    weights: Option<&Path>,
    data: &Dataset,
    settings: &Settings,
) -> Result<Classifier> {
    let found = Classifier::open(path, weights, &settings.device)?;
    found.features(&data.train.rows().slice(0..0), &data.space)?;
    Ok(found)
}
