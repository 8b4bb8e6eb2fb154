//! Batches of encoded rows for training.
//!
//! A batch is a function of seed, step and part alone, so that training resumes at any step. The [`Draws`] of a part
//! are addressed by (purpose `train`, step, part); row i of the part has number i of the purposes `flip`, `binarise`,
//! `dequantise`, `augment` and `label dropout`.

use super::dataset::Grey;
use super::{
    Augmentation, Batch, Batches, Binarisation, Condition, Dataset, Encoding, Layout, Rows, Space,
    Split,
};
use crate::Result;
use crate::draws::Draws;
use burn::tensor::{Device, Tensor};

/// The batches of a split: random rows, mirrored, encoded, with labels dropped.
///
/// ```
/// use tweedie::burn::tensor::Device;
/// use tweedie::data::{Encoding, Feed, shipped};
/// let data = shipped::digits()?;
/// let mut feed = Feed::training(&data, Encoding::Dequantised, 32, 7)?;
/// let batch = feed.batch(100, 0, &Device::flex())?;
/// assert_eq!(batch.x.dims(), [32, 64]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Feed {
    split: Split,
    /// The space of the model's rows.
    space: Space,
    /// The space of the split's rows, if each batch binarises them anew.
    grey: Option<Space>,
    encoding: Encoding,
    rows: usize,
    parts: u64,
    mirror: bool,
    augmentation: Option<Augmentation>,
    label_dropout: f64,
    batches: Batches,
    draws: Draws,
}

impl Feed {
    /// A feed of batches of `rows` rows from a split of the model's `space`, with one part per step.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if the split is empty or `rows` is 0.
    pub fn new(
        split: Split,
        space: Space,
        encoding: Encoding,
        rows: usize,
        seed: u64,
    ) -> Result<Self> {
        Ok(Self {
            batches: Batches::new(split.len(), rows, seed)?,
            draws: Draws::new(seed),
            grey: None,
            parts: 1,
            mirror: false,
            augmentation: None,
            label_dropout: 0.0,
            split,
            space,
            encoding,
            rows,
        })
    }

    /// A feed of the training rows; each batch binarises them anew for dynamic binarisation.
    ///
    /// # Errors
    /// As [`Feed::new`].
    pub fn training(data: &Dataset, encoding: Encoding, rows: usize, seed: u64) -> Result<Self> {
        let (split, grey) = match &data.grey {
            Some(Grey { space, train }) => (data.fit_rows_of(train), Some(space.clone())),
            None => (data.fit_rows(), None),
        };
        Ok(Self { grey, ..Self::new(split, data.space.clone(), encoding, rows, seed)? })
    }

    /// A feed for the held-out loss: at most `most` random validation rows, the same for every seed of training; none
    /// without validation rows.
    ///
    /// # Errors
    /// As [`Feed::training`].
    pub fn held_out(
        data: &Dataset,
        encoding: Encoding,
        rows: usize,
        most: usize,
    ) -> Result<Option<Self>> {
        let chosen = data.validation().sample(most, &Draws::new(0).purpose("held-out loss"));
        if chosen.is_empty() {
            return Ok(None);
        }
        Self::new(chosen, data.space.clone(), encoding, rows, 0).map(Some)
    }

    /// The number of rows of the split.
    #[expect(clippy::len_without_is_empty, reason = "a feed has rows")]
    pub fn len(&self) -> usize {
        self.split.len()
    }

    /// Sets the number of parts (micro-batches) of a step.
    pub fn with_parts(mut self, parts: usize) -> Self {
        self.parts = parts as u64;
        self
    }

    /// Mirrors each picture left to right with probability ½ each time it enters a batch.
    pub fn with_mirroring(mut self, mirror: bool) -> Self {
        self.mirror = mirror;
        self
    }

    /// Augments pictures each time they enter a batch, if `augmentation` is given.
    pub fn with_augmentation(mut self, augmentation: Option<Augmentation>) -> Self {
        self.augmentation = augmentation;
        self
    }

    /// Drops the condition of a row with this probability each time it enters a batch.
    pub fn with_label_dropout(mut self, label_dropout: f64) -> Self {
        self.label_dropout = label_dropout;
        self
    }

    /// The random numbers of a part of a step; objectives use them too, under purposes of their own.
    pub fn draws(&self, step: u64, part: u64) -> Draws {
        self.draws.purpose("train").at(step).at(part)
    }

    /// Part `part` of the batch of step `step`, both from 0.
    ///
    /// # Errors
    /// As [`Space::encode`].
    pub fn batch(&mut self, step: u64, part: u64, device: &Device) -> Result<Batch> {
        Ok(self.described(step, part, device)?.0)
    }

    /// [`Feed::batch`], with the description of the changes of its pictures, `[n, 8]`, if it augments them.
    ///
    /// # Errors
    /// As [`Space::encode`].
    pub fn described(
        &mut self,
        step: u64,
        part: u64,
        device: &Device,
    ) -> Result<(Batch, Option<Tensor<2>>)> {
        let indices = self.batches.batch(step * self.parts + part);
        let draws = self.draws(step, part);
        let mut rows = self.split.rows().select(&indices);
        if self.mirror {
            mirror(&mut rows, self.space.layout(), &draws.purpose("flip"));
        }
        let ids: Vec<u64> = (0..indices.len() as u64).collect();
        let mut x = self.encoded(rows, &draws, &ids)?;
        let description = match &self.augmentation {
            None => None,
            Some(augmentation) => {
                let draws = draws.purpose("augment");
                let numbers = augmentation.apply(&mut x, self.space.layout(), &draws)?;
                Some(numbers.to_tensor(device))
            }
        };
        let mut batch = self.conditioned(&x, &indices, device)?;
        if self.label_dropout > 0.0 {
            let coins = draws.purpose("label dropout");
            let dropped = (0..indices.len() as u64).map(|i| coins.uniform_f64(i, 0));
            let dropped: Vec<bool> = dropped.map(|u| u < self.label_dropout).collect();
            batch.condition = batch.condition.dropped(&dropped);
        }
        Ok((batch, description))
    }

    /// All rows in order, not mirrored and with their labels, in batches of the feed's size; batch k uses the random
    /// numbers of child k of `draws`.
    pub fn all<'a>(
        &'a self,
        draws: &'a Draws,
        device: &'a Device,
    ) -> impl Iterator<Item = Result<Batch>> + 'a {
        let starts = (0..self.split.len()).step_by(self.rows);
        starts.zip(0..).map(move |(start, k)| {
            let end = (start + self.rows).min(self.split.len());
            let indices: Vec<usize> = (start..end).collect();
            let rows = self.split.rows().slice(start..end);
            let ids: Vec<u64> = (0..indices.len() as u64).collect();
            self.conditioned(&self.encoded(rows, &draws.at(k), &ids)?, &indices, device)
        })
    }

    /// Rows in model units, with the random numbers of the given rows of `draws`.
    fn encoded(&self, mut rows: Rows, draws: &Draws, ids: &[u64]) -> Result<Rows> {
        if let Some(grey) = &self.grey {
            rows = Binarisation::Dynamic.bits(grey, &rows, &draws.purpose("binarise"), ids)?;
        }
        self.encoding.encode(&self.space, &rows, &draws.purpose("dequantise"), ids)
    }

    /// A batch of rows in model units with the conditions of rows `indices` of the split.
    fn conditioned(&self, x: &Rows, indices: &[usize], device: &Device) -> Result<Batch> {
        let condition = match (self.split.given(), self.split.labels()) {
            (Some(values), _) => self.space.given_condition(&values.select(indices), device)?,
            (_, Some(labels)) => {
                Condition::Class(indices.iter().map(|&i| Some(labels[i])).collect())
            }
            _ => Condition::None,
        };
        Ok(Batch { x: x.to_tensor(device), condition })
    }
}

/// Mirrors each picture left to right with probability ½: row i if its uniform number 0 is below ½.
fn mirror(rows: &mut Rows, layout: Layout, draws: &Draws) {
    let (Layout::Image { width: side, .. }, width) = (layout, rows.width()) else { return };
    for (i, picture) in (0..).zip(rows.values_mut().chunks_exact_mut(width)) {
        if draws.uniform_f64(i, 0) < 0.5 {
            picture.chunks_exact_mut(side).for_each(<[f32]>::reverse);
        }
    }
}
