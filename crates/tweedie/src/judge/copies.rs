//! Samples beside their nearest training pictures, of which they may be copies.

use crate::data::{Dataset, Rows, Space, Split};
use crate::draw::png_bytes;
use crate::metric::neighbours::Proportion;
use crate::metric::{Classifier, copies, evaluation_rows};
use crate::{Result, draw};
use serde::Serialize;
use std::borrow::Cow;

/// The most samples, and the most held-out pictures, to compare with all training pictures.
const MOST: usize = 1000;

/// The caption of the picture.
pub const CAPTION: &str = "The samples most like copies, each with the training picture nearest to it, and the other \
    training picture nearest to that one; their distance, and the distance of the two training pictures in brackets.";

/// The nearness of samples to training pictures.
#[derive(Serialize)]
pub struct Nearest {
    /// The space of distances: pixels, or the features of a classifier.
    by: String,
    samples: usize,
    /// The share of samples nearer to a training picture than any other training picture is.
    nearer: Proportion,
    /// The same share of held-out pictures.
    held_out: Option<Proportion>,
}

impl Nearest {
    /// The shares as a sentence.
    pub fn sentence(&self) -> String {
        let percent = |share: Proportion| format!("{:.1} %", 100.0 * share.value);
        let usual = self.held_out.map_or(String::new(), |share| {
            format!("; so are {} of held-out pictures", percent(share))
        });
        format!(
            "By {}, {} of {} samples are nearer to a training picture than any other training picture is{usual}.",
            self.by,
            percent(self.nearer),
            self.samples,
        )
    }
}

/// The picture, as PNG, of samples beside their nearest training pictures, with the shares; by pixels or by the
/// features of a classifier.
pub fn nearest(
    samples: &Split,
    data: &Dataset,
    classifier: Option<&Classifier>,
) -> Result<(Vec<u8>, Nearest)> {
    let compared = |rows| features(rows, &data.space, classifier);
    let some = |split: &Split| split.rows().select(&evaluation_rows(split.len(), MOST));
    let (shown, held_out) = (some(samples), some(&data.held_out));
    let training = compared(data.train.rows())?;
    let (ours, real) = (compared(&shown)?, compared(&held_out)?);
    let matches = copies::matches(&ours, &training)?;
    let usual = copies::matches(&real, &training)?;
    let picture = draw::nearest(&data.space, &shown, data.train.rows(), &matches)?;
    let found = Nearest {
        by: classifier.map_or("pixels".into(), |c| format!("features of {}", c.name())),
        samples: shown.len(),
        nearer: copies::nearer(&matches)?,
        held_out: (!usual.is_empty()).then(|| copies::nearer(&usual)).transpose()?,
    };
    Ok((png_bytes(&picture)?, found))
}

/// The features for distances between pictures: a classifier's, or pixels.
fn features<'a>(
    rows: &'a Rows,
    space: &Space,
    classifier: Option<&Classifier>,
) -> Result<Cow<'a, Rows>> {
    Ok(match classifier {
        Some(classifier) => Cow::Owned(classifier.features(rows, space)?),
        None => Cow::Borrowed(rows),
    })
}
