//! Results of readers: bytes of pictures as rows, labels by class, training and held-out parts.

use super::{Dataset, Origin, Rows, Space, Split, Validation};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// The most bytes unpacked from a file, so that a small compressed file cannot fill the memory.
pub(super) const MOST_BYTES: u64 = 1 << 32;

/// The rows of a file or folder, already divided into training and held-out rows or still to be divided.
#[derive(Debug)]
pub(super) struct Parts {
    pub space: Space,
    pub train: Split,
    pub held_out: Option<Split>,
    /// Rows that are published for validation.
    pub validation: Option<Split>,
    /// Remarks on how they were read.
    pub notes: Vec<String>,
}

impl Parts {
    /// The parts with labels that are any whole numbers: these become classes, named by number, in ascending order.
    /// The training part is followed by the rows for validation and the held-out rows.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is not one label for each row; [`Error::File`] if the held-out part has a label that
    /// the training part lacks, or only one of the parts is labelled.
    pub fn numbered(
        space: Space,
        train: Part,
        [validation, held_out]: [Option<Part>; 2],
        path: &Path,
    ) -> Result<Self> {
        let classes: BTreeSet<u32> = train.labels.iter().flatten().copied().collect();
        let labelled = |part: &Part| part.labels.is_some();
        let others = validation.iter().chain(&held_out);
        if others.into_iter().any(|part| labelled(part) != labelled(&train)) {
            let problem =
                "one of the training and the held-out part has labels, the other has none";
            return Err(Error::file(path, "labels", problem, "labels for all parts, or for none"));
        }
        let classes: Vec<u32> = classes.into_iter().collect();
        let split = |part: Part| -> Result<Split> {
            let index = |label: &u32| {
                classes.binary_search(label).map(|class| class as u32).map_err(|_| {
                    let problem = format!("label {label} is held out and not trained on");
                    Error::file(path, "labels", problem, "the training part's labels")
                })
            };
            let labels = part.labels.as_deref().map(|all| all.iter().map(index).collect());
            Split::new(part.rows, labels.transpose()?)
        };
        Ok(Self {
            train: split(train)?,
            held_out: held_out.map(split).transpose()?,
            validation: validation.map(split).transpose()?,
            space: space.with_classes(classes.iter().map(u32::to_string).collect()),
            notes: Vec::new(),
        })
    }

    /// A training part with labels that are indices of classes.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is not one label for each row; [`Error::File`] for a label without a class.
    pub fn named(space: Space, train: Part, classes: Vec<String>, path: &Path) -> Result<Self> {
        let without = train.labels.iter().flatten().find(|label| **label as usize >= classes.len());
        if let Some(label) = without {
            let expected = format!("a label below {}, the number of classes", classes.len());
            return Err(Error::file(path, "labels", format!("the label {label}"), expected));
        }
        let (train, space) = (Split::new(train.rows, train.labels)?, space.with_classes(classes));
        Ok(Self { train, held_out: None, space, validation: None, notes: Vec::new() })
    }

    /// The data set of these parts; without a held-out part, a share is held out. Validation rows are held out with the
    /// test rows, before them; without test rows they are held out in their place.
    ///
    /// # Errors
    /// As [`Dataset::divided`] and [`Dataset::new`].
    pub fn dataset(self, name: &str, share: f64, seed: u64) -> Result<Dataset> {
        let Self { space, train, held_out, validation, notes } = self;
        let rows = validation.as_ref().map_or(0, Split::len);
        let (published, both) = (held_out.is_some(), held_out.is_some() && validation.is_some());
        let held_out = match (validation, held_out) {
            (Some(first), Some(then)) => Some(first.followed_by(&then)?),
            (first, then) => first.or(then),
        };
        let Some(held_out) = held_out else {
            let data = Dataset::divided(name, space, &train, share, seed)?;
            return Ok(Dataset { notes: [notes, data.notes].concat(), ..data });
        };
        let space = space.fitted(train.rows())?.covering(held_out.rows())?;
        let data = Dataset { notes, published, ..Dataset::new(name, space, train, held_out)? };
        let view = Validation { from: Origin::Published, rows, seed: 0 };
        data.with_validation(both.then_some(view))
    }
}

/// Rows with labels by their numbers in the file.
pub(super) struct Part {
    pub rows: Rows,
    pub labels: Option<Vec<u32>>,
}

/// Bytes as rows.
pub(super) fn byte_rows(bytes: &[u8], width: usize) -> Result<Rows> {
    Rows::new(bytes.iter().map(|&byte| f32::from(byte)).collect(), width)
}

/// Channels, height and width of pictures of bytes whose axes have these lengths, and whether the channels come last.
/// They do if the last axis has a length of at most 4 and the first has more.
pub(super) fn picture_axes(axes: [usize; 3]) -> ([usize; 3], bool) {
    match axes {
        [height, width, channels] if channels <= 4 && height > 4 => {
            ([channels, height, width], true)
        }
        _ => (axes, false),
    }
}

/// Brings the channels of each picture from the last axis to the first.
pub(super) fn channels_first(rows: &mut Rows, channels: usize) {
    let width = rows.width();
    let pixels = width / channels.max(1);
    let mut picture = vec![0.0; width];
    for row in rows.values_mut().chunks_exact_mut(width) {
        for (i, pixel) in row.chunks_exact(channels).enumerate() {
            pixel.iter().enumerate().for_each(|(c, &value)| picture[c * pixels + i] = value);
        }
        row.copy_from_slice(&picture);
    }
}

/// Opens a file, unpacked if it begins as a gzip file.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read>> {
    let mut file = BufReader::new(File::open(path).map_err(|e| Error::io(path, e))?);
    let begin = file.fill_buf().map_err(|e| Error::io(path, e))?;
    let packed = begin.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { Box::new(flate2::bufread::MultiGzDecoder::new(file)) } else { Box::new(file) })
}
