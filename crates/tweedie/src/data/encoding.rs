//! Encodings of rows for models: centres of bins, dequantisation, binarisation.
//!
//! Integers v of a column with limits low and high are encoded at the centres of their bins, or uniformly spread over
//! them. Data may be binarised before,
//!
//! > b ~ Bernoulli((v − low)/(high − low)),
//!
//! as in Salakhutdinov and Murray ("On the quantitative analysis of deep belief networks", 2008, sec. 6.2) for the
//! pixels of MNIST. Figures for static and for dynamic binarisation are not comparable, so that a run records its
//! kind.

use super::dataset::Grey;
use super::{Coordinate, Dataset, Kind, Rows, Space, Split};
use crate::draws::Draws;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The seed of binarisations drawn once.
const PINNED: u64 = 0;

/// The encoding of rows for a model.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::data::{Encoding, Rows, Space};
/// let space = Space::image(1, 1, 2, 256)?;
/// let pixels = Rows::new(vec![0.0, 255.0], 2)?;
/// let centres = Encoding::Centres.encode(&space, &pixels, &Draws::new(0), &[0])?;
/// assert_eq!(centres.row(0), [-0.99609375, 0.99609375]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Integers at the centres of their bins.
    Centres,
    /// Integers spread uniformly over their bins, so that they have a density.
    Dequantised,
}

/// The binarisation of integers.
///
/// ```
/// use tweedie::data::{Binarisation, shipped};
/// let bits = shipped::digits()?.binarised(Binarisation::Threshold)?;
/// assert!(bits.train.rows().values().iter().all(|v| *v == 0.0 || *v == 1.0));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binarisation {
    /// Training rows are drawn anew each time they enter a batch; held-out rows are drawn once.
    Dynamic,
    /// All rows are drawn once.
    Static,
    /// Values in the upper half of their range, its middle included, become 1.
    Threshold,
}

impl Binarisation {
    /// Rows of zeros and ones. Random number j of row `ids[i]` of `draws` decides column j of row i; a threshold needs
    /// no random numbers.
    ///
    /// # Errors
    /// As [`Space::binarised`]; [`Error::Shape`] if widths differ or there is not one id for each row.
    pub fn bits(self, space: &Space, raw: &Rows, draws: &Draws, ids: &[u64]) -> Result<Rows> {
        space.validate(raw)?;
        if ids.len() != raw.len() {
            return Err(Error::shape("row numbers to binarise with", ids.len(), raw.len()));
        }
        let limits = (0..space.width()).map(|j| limits(space.coordinate(j)));
        let limits = limits.collect::<Result<Vec<(f64, f64)>>>()?;
        let uniforms = match self {
            Binarisation::Threshold => None,
            Binarisation::Dynamic | Binarisation::Static => {
                Some(draws.uniforms_for(ids, raw.width()))
            }
        };
        let bit = |(i, value): (usize, &f32)| {
            let (low, high) = limits[i % raw.width()];
            let probability = (f64::from(*value) - low) / (high - low);
            f32::from(match &uniforms {
                Some(uniforms) => f64::from(uniforms.values()[i]) < probability,
                None => probability >= 0.5,
            })
        };
        Rows::new(raw.values().iter().enumerate().map(bit).collect(), raw.width())
    }

    /// Binarises the rows of a split once, each by its number in the split; `part` is the name of the split.
    fn pinned(self, space: &Space, split: &Split, part: &str) -> Result<Split> {
        let draws = Draws::new(PINNED).purpose("binarise").purpose(part);
        let ids: Vec<u64> = (0..split.len() as u64).collect();
        let bits = self.bits(space, split.rows(), &draws, &ids)?;
        Split::new(bits, split.labels().map(<[u32]>::to_vec))
    }
}

impl Encoding {
    /// Rows in model units. Integers to be spread over their bins use random number j of row `ids[i]` of `draws` for
    /// column j of row i.
    ///
    /// # Errors
    /// As [`Space::encode_dequantised`].
    pub fn encode(self, space: &Space, rows: &Rows, draws: &Draws, ids: &[u64]) -> Result<Rows> {
        match self {
            Encoding::Dequantised => space.encode_dequantised(rows, draws, ids),
            Encoding::Centres => space.encode(rows),
        }
    }
}

impl Dataset {
    /// The data as zeros and ones. All rows are drawn once, by a fixed seed; with [`Binarisation::Dynamic`] a
    /// [`Feed`](super::Feed) draws the training rows anew each time they enter a batch.
    ///
    /// # Errors
    /// As [`Space::binarised`].
    pub fn binarised(self, how: Binarisation) -> Result<Self> {
        let space = self.space.binarised()?;
        let train = how.pinned(&self.space, &self.train, "train")?;
        let held_out = how.pinned(&self.space, &self.held_out, "held out")?;
        let grey = (how == Binarisation::Dynamic)
            .then(|| Grey { space: self.space.clone(), train: self.train.clone() });
        Ok(Self { space, train, held_out, grey, ..self })
    }
}

impl Space {
    /// The space of rows of zeros and ones, with the columns and classes of this space.
    ///
    /// # Errors
    /// [`Error::Config`] naming a column that is not of integers between two limits.
    pub fn binarised(&self) -> Result<Space> {
        let bit = |coordinate: &Coordinate| {
            limits(coordinate)?;
            let kind = Kind::Quantised { low: Some(0), high: Some(1) };
            // The bins [0, 1) and [1, 2) fill [−1, 1] in model units.
            Ok(Coordinate { unit: None, shift: 1.0, scale: 1.0, kind, ..coordinate.clone() })
        };
        let coordinates = self.coordinates().iter().map(bit).collect::<Result<Vec<_>>>()?;
        Ok(Space::new(self.layout(), coordinates)?.with_classes(self.classes().to_vec()))
    }
}

/// The limits of a column of integers.
fn limits(coordinate: &Coordinate) -> Result<(f64, f64)> {
    match coordinate.kind {
        Kind::Quantised { low: Some(low), high: Some(high) } if low < high => {
            Ok((low as f64, high as f64))
        }
        _ => {
            let problem = format!("binarised, and column '{}' has no two limits", coordinate.name);
            Err(Error::config("binarise", problem, "columns of integers between two limits"))
        }
    }
}
