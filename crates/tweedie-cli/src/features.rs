//! `--features`: the classifier whose features judge pictures.

use crate::Settings;
use std::path::Path;
use tweedie::Result;
use tweedie::data::Dataset;
use tweedie::metric::Classifier;

/// Opens the classifier that a file describes; fails before sampling if it does not take pictures of this size.
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
