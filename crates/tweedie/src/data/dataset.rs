//! Data sets: rows with labels, split into training and held-out rows, and cut into batches.
//!
//! Both are functions of a seed alone, by [`Draws`]: the split is stratified (each class is held out in the same
//! proportion, by the method of largest remainders), and batch k holds positions kB, …, kB + B − 1 of the endless
//! sequence of epochs, each a fresh permutation of the rows.

use super::{Rows, Space, Validation};
use crate::draws::Draws;
use crate::{Error, Result};
use std::sync::Arc;

/// Rows in raw units, with a label for each row if the data are labelled. Clones share the rows.
///
/// ```
/// use tweedie::data::{Rows, Split};
/// let split = Split::new(Rows::new(vec![0.5, 1.5], 1)?, Some(vec![0, 1]))?;
/// assert_eq!(split.len(), 2);
/// assert_eq!(split.select(&[1]).labels(), Some(&[1][..]));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    rows: Arc<Rows>,
    labels: Option<Vec<u32>>,
    /// The values of the columns that rows are conditioned on.
    pub(super) given: Option<Arc<Rows>>,
}

impl Split {
    /// Rows with or without labels.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is not one label for each row.
    pub fn new(rows: Rows, labels: Option<Vec<u32>>) -> Result<Self> {
        match &labels {
            Some(labels) if labels.len() != rows.len() => {
                Err(Error::shape("labels", labels.len(), rows.len()))
            }
            _ => Ok(Self { rows: Arc::new(rows), labels, given: None }),
        }
    }

    /// The rows, in raw units.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The label of each row, an index into the space's classes.
    pub fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows with the given indices, each below [`len`](Self::len), with their labels.
    pub fn select(&self, indices: &[usize]) -> Self {
        let labels = self.labels.as_ref().map(|all| indices.iter().map(|&i| all[i]).collect());
        let given = self.given.as_ref().map(|all| Arc::new(all.select(indices)));
        Self { rows: Arc::new(self.rows.select(indices)), labels, given }
    }

    /// `most` random rows with their labels, in order; all rows if there are no more.
    pub fn sample(&self, most: usize, draws: &Draws) -> Self {
        if self.len() <= most {
            return self.clone();
        }
        let mut chosen = draws.permutation(self.len());
        chosen.truncate(most);
        chosen.sort_unstable();
        self.select(&chosen)
    }

    /// The same rows without labels.
    pub fn without_labels(self) -> Self {
        Self { labels: None, ..self }
    }

    /// These rows followed by the rows of `other`, with labels and conditions if both have them.
    ///
    /// # Errors
    /// [`Error::Shape`] if the widths differ.
    pub fn followed_by(mut self, other: &Split) -> Result<Self> {
        Arc::make_mut(&mut self.rows).extend(&other.rows)?;
        self.labels = self.labels.zip(other.labels.as_deref()).map(|(mut all, more)| {
            all.extend_from_slice(more);
            all
        });
        self.given = match (self.given, &other.given) {
            (Some(mut all), Some(more)) => {
                Arc::make_mut(&mut all).extend(more)?;
                Some(all)
            }
            _ => None,
        };
        Ok(self)
    }

    /// A hash of the content: 32 hexadecimal digits of 128-bit FNV-1a (Fowler, Noll and Vo) over width,
    /// number of rows, the values' bits, the labels and the conditions, each little-endian.
    ///
    /// It distinguishes splits, but is no protection against forgery.
    pub fn hash(&self) -> String {
        let mut hash = Fnv::new();
        hash.add(&(self.rows.width() as u64).to_le_bytes());
        hash.add(&(self.rows.len() as u64).to_le_bytes());
        self.rows.values().iter().for_each(|value| hash.add(&value.to_le_bytes()));
        if let Some(rest) = self.rows.rest() {
            hash.add(b"rest");
            rest.iter().for_each(|value| hash.add(&value.to_le_bytes()));
        }
        if let Some(labels) = &self.labels {
            hash.add(b"labels");
            labels.iter().for_each(|label| hash.add(&label.to_le_bytes()));
        }
        if let Some(given) = &self.given {
            hash.add(b"given");
            hash.add(&(given.width() as u64).to_le_bytes());
            given.values().iter().for_each(|value| hash.add(&value.to_le_bytes()));
        }
        format!("{:032x}", hash.0)
    }
}

/// The hash of bytes, in the form of [`Split::hash`].
pub fn content_hash(bytes: &[u8]) -> String {
    let mut hash = Fnv::new();
    hash.add(bytes);
    format!("{:032x}", hash.0)
}

/// The 128-bit FNV-1a hash.
pub(super) struct Fnv(pub u128);

impl Fnv {
    pub(super) fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 =
                (self.0 ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
}

/// A data set: training rows, held-out rows, and their space.
///
/// ```
/// use tweedie::data::shipped;
/// let digits = shipped::digits()?;
/// assert_eq!((digits.train.len(), digits.held_out.len()), (1197, 600));
/// assert_eq!(digits.space.classes()[3], "3");
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The name of the data.
    pub name: String,
    /// The meaning of a row.
    pub space: Space,
    /// The training rows.
    pub train: Split,
    /// The held-out rows, for evaluation only; may be empty.
    pub held_out: Split,
    pub(super) view: Option<Validation>,
    pub(super) published: bool,
    /// The training rows before binarisation, if each batch draws them anew.
    pub(super) grey: Option<Grey>,
    /// Remarks for the user on how the data were read.
    pub notes: Vec<String>,
}

/// Training rows of integers, to be binarised anew for each batch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grey {
    pub space: Space,
    pub train: Split,
}

impl Dataset {
    /// A data set of given training and held-out rows.
    ///
    /// # Errors
    /// [`Error::Config`] if there are no training rows, if a value is not in the space, or if a label has no class or
    /// is missing; [`Error::Shape`] if a width is not the space's.
    pub fn new(
        name: impl Into<String>,
        space: Space,
        train: Split,
        held_out: Split,
    ) -> Result<Self> {
        if train.is_empty() {
            return Err(Error::config("data", "there are no rows to train on", "at least one row"));
        }
        for part in [&train, &held_out] {
            space.validate(part.rows())?;
            check_labels(&space, part)?;
            space.check_given(part)?;
        }
        let (view, published, grey, notes) = (None, false, None, Vec::new());
        Ok(Self { name: name.into(), space, train, held_out, view, published, grey, notes })
    }

    /// The same data, with the held-out rows marked as a published test set.
    pub fn published(self) -> Self {
        Self { published: true, ..self }
    }

    /// Whether the held-out rows are a published test set.
    pub fn is_published(&self) -> bool {
        self.published
    }

    /// A data set with a share of rows held out by [`split`](Self::split). The real coordinates of the space are
    /// standardised on the training rows, and the limits of its integers include all rows.
    ///
    /// # Errors
    /// As [`split`](Self::split) and [`new`](Self::new).
    pub fn divided(
        name: impl Into<String>,
        space: Space,
        all: &Split,
        held_out: f64,
        seed: u64,
    ) -> Result<Self> {
        let wanted = (held_out * all.len() as f64).round() as usize;
        let (train, held_out) = Self::split(all, held_out, seed)?;
        let space = space.fitted(train.rows())?.covering(held_out.rows())?;
        let space = space.fitted_given(&train, &held_out)?;
        let data = Self::new(name, space, train, held_out)?;
        let found = data.held_out.len();
        let note = (found < wanted).then(|| {
            let reason = "since each class keeps a row to train on";
            format!("{}: {found} rows are held out in place of {wanted}, {reason}", data.name)
        });
        Ok(Self { notes: note.into_iter().collect(), ..data })
    }

    /// Splits rows into training and held-out rows, each in the given order. Of `n` rows, `fraction · n`, rounded, are
    /// held out, of each label in proportion, but never the only row of a label.
    ///
    /// # Errors
    /// [`Error::Config`] if `fraction` is not in [0, 1) or leaves no training rows.
    pub fn split(all: &Split, fraction: f64, seed: u64) -> Result<(Split, Split)> {
        let len = all.len();
        let inside = (0.0..1.0).contains(&fraction);
        let held = if inside { (fraction * len as f64).round() as usize } else { len };
        if held >= len {
            let problem = format!("{fraction} of {len} rows leaves none to train on");
            let expected = "a share of at least 0, and below 1 by enough for one row";
            return Err(Error::config("held_out", problem, expected));
        }
        let draws = Draws::new(seed).purpose("split");
        let is_held = stratified(len, all.labels(), held, &draws, true);
        let (held, kept): (Vec<usize>, Vec<usize>) = (0..len).partition(|&i| is_held[i]);
        Ok((all.select(&kept), all.select(&held)))
    }

    /// The rows to compare samples with: the held-out rows, or the training rows if none are held out.
    pub fn judged(&self) -> &Split {
        if self.held_out.is_empty() { &self.train } else { &self.held_out }
    }

    /// The same data without classes and labels.
    pub fn without_labels(self) -> Self {
        Self {
            space: self.space.with_classes(Vec::new()),
            train: self.train.without_labels(),
            held_out: self.held_out.without_labels(),
            grey: self.grey.map(|grey| Grey {
                space: grey.space.with_classes(Vec::new()),
                train: grey.train.without_labels(),
            }),
            ..self
        }
    }
}

fn check_labels(space: &Space, part: &Split) -> Result<()> {
    let classes = space.classes().len();
    let Some(labels) = part.labels() else {
        return if classes == 0 || part.is_empty() {
            Ok(())
        } else {
            let problem = format!("there are {classes} classes but the rows have no labels");
            Err(Error::config("labels", problem, "a label for each row"))
        };
    };
    match labels.iter().position(|&label| label as usize >= classes) {
        None => Ok(()),
        Some(row) => {
            let problem = format!("the label of row {row} is {}", labels[row]);
            Err(Error::config("labels", problem, format!("a label below {classes}, the classes")))
        }
    }
}

/// The row numbers of each label that occurs, in ascending order of labels; without labels all rows as one class.
fn by_label(len: usize, labels: Option<&[u32]>) -> Vec<Vec<usize>> {
    let mut classes = std::collections::BTreeMap::<u32, Vec<usize>>::new();
    for i in 0..len {
        classes.entry(labels.map_or(0, |labels| labels[i])).or_default().push(i);
    }
    classes.into_values().collect()
}

/// Whether each of `len` rows is among `count` random ones, of each label in proportion. With `keep_one`, one row of
/// each label is not, though fewer than `count` rows then are.
pub(super) fn stratified(
    len: usize,
    labels: Option<&[u32]>,
    count: usize,
    draws: &Draws,
    keep_one: bool,
) -> Vec<bool> {
    let classes = by_label(len, labels);
    let quotas = largest_remainders(&classes, count, len, usize::from(keep_one));
    let mut chosen = vec![false; len];
    for (k, (class, quota)) in classes.iter().zip(quotas).enumerate() {
        let order = draws.at(k as u64).permutation(class.len());
        order[..quota].iter().for_each(|&i| chosen[class[i]] = true);
    }
    chosen
}

/// The number of each class among `held < total`: exact shares rounded down, and one more for the classes that lost
/// most, the first among equals, as far as `kept` rows of each class remain.
fn largest_remainders(
    classes: &[Vec<usize>],
    held: usize,
    total: usize,
    kept: usize,
) -> Vec<usize> {
    let share = |class: &Vec<usize>| class.len() as u128 * held as u128;
    let most = |k: usize| classes[k].len().saturating_sub(kept);
    let whole = |k: usize| (share(&classes[k]) / total as u128) as usize;
    let mut quotas: Vec<usize> = (0..classes.len()).map(|k| whole(k).min(most(k))).collect();
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order.sort_by_key(|&k| std::cmp::Reverse(share(&classes[k]) % total as u128));
    let mut missing = held - quotas.iter().sum::<usize>();
    while missing > 0 {
        let before = missing;
        for &k in &order {
            if missing > 0 && quotas[k] < most(k) {
                quotas[k] += 1;
                missing -= 1;
            }
        }
        if missing == before {
            break;
        }
    }
    quotas
}

/// Full batches of training rows, each epoch in a fresh order; batch `k` depends on `k` alone, not on earlier batches,
/// so that training resumes at any step.
///
/// ```
/// use tweedie::data::Batches;
/// let mut batches = Batches::new(10, 4, 7)?;
/// let third = batches.batch(2); // two rows of the first epoch, two of the second
/// assert_eq!(third.len(), 4);
/// assert_eq!(Batches::new(10, 4, 7)?.batch(2), third);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Batches {
    rows: usize,
    size: usize,
    draws: Draws,
    /// The epoch last used and its order, which the next batch most likely needs.
    order: Option<(u64, Vec<usize>)>,
}

impl Batches {
    /// Batches of `size` out of `rows` rows; `size` may exceed `rows`.
    ///
    /// # Errors
    /// [`Error::Config`] if `rows` or `size` is 0.
    pub fn new(rows: usize, size: usize, seed: u64) -> Result<Self> {
        if rows == 0 || size == 0 {
            let problem = format!("batches of {size} out of {rows} rows");
            return Err(Error::config("batch", problem, "at least one of each"));
        }
        Ok(Self { rows, size, draws: Draws::new(seed).purpose("batches"), order: None })
    }

    /// The row numbers of batch `k`.
    pub fn batch(&mut self, k: u64) -> Vec<usize> {
        let start = u128::from(k) * self.size as u128;
        (0..self.size as u128).map(|i| self.row_at(start + i)).collect()
    }

    fn row_at(&mut self, position: u128) -> usize {
        let (epoch, place) = (position / self.rows as u128, position % self.rows as u128);
        self.order_of(epoch as u64)[place as usize]
    }

    fn order_of(&mut self, epoch: u64) -> &[usize] {
        let (draws, rows) = (self.draws, self.rows);
        let fresh = || (epoch, draws.at(epoch).permutation(rows));
        if self.order.as_ref().is_some_and(|(kept, _)| *kept != epoch) {
            self.order = None;
        }
        &self.order.get_or_insert_with(fresh).1
    }
}
