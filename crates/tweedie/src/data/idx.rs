//! IDX files, the format of MNIST and its relatives (LeCun, Cortes and Burges, "The MNIST database of handwritten
//! digits"): plain or compressed by gzip.
//!
//! ```text
//! 0, 0, 8 (bytes), number of axes, length of each axis (4 bytes big-endian), values, the last axis fastest
//! ```
//! `NAME-images-idx3-ubyte` holds pictures and `NAME-labels-idx1-ubyte` beside it their labels. A folder of
//! `train-…` and `t10k-…` is a training and a held-out part.

use super::parts::{self, MOST_BYTES, Part, Parts};
use super::{Rows, Space};
use crate::{Error, Result};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Whether a file's name marks pictures in this format.
pub(super) fn is_pictures(path: &Path) -> bool {
    labels_name(path).is_some()
}

/// The file of training pictures in a folder, if there is one.
pub(super) fn in_folder(folder: &Path) -> Option<PathBuf> {
    pictures_of(folder, "train")
}

/// Reads a file of pictures with the labels beside it, and with the held-out part if it is a training part.
///
/// # Errors
/// [`Error::Io`] if a file cannot be read; [`Error::File`] if it is not in this format, is shorter or longer than its
/// header says or too large, or if the parts or labels do not belong together.
pub(super) fn read(path: &Path, with_held_out: bool) -> Result<Parts> {
    let (train, axes) = part(path)?;
    let test = path.parent().filter(|_| with_held_out).and_then(|f| pictures_of(f, "t10k"));
    let held_out = match test {
        None => None,
        Some(test) => {
            let (part, others) = part(&test)?;
            if others != axes {
                let problem = format!("the pictures are {others:?}");
                let expected = format!("{axes:?}, as in {}", path.display());
                return Err(Error::file(test, "header", problem, expected));
            }
            Some(part)
        }
    };
    let [channels, height, width] = axes;
    Parts::numbered(Space::image(channels, height, width, 256)?, train, [None, held_out], path)
}

/// The file of pictures in a folder whose name begins with `stem`.
fn pictures_of(folder: &Path, stem: &str) -> Option<PathBuf> {
    let names = ["-images-idx3-ubyte", "-images.idx3-ubyte", "-images-idx4-ubyte"];
    let paths = names
        .iter()
        .flat_map(|name| ["", ".gz"].map(|packed| folder.join(format!("{stem}{name}{packed}"))));
    paths.into_iter().find(|path| path.is_file())
}

/// The name of the file of labels of a file of pictures, without `.gz`.
fn labels_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let stem = name.strip_suffix("idx3-ubyte").or(name.strip_suffix("idx4-ubyte"))?;
    let stem = stem.strip_suffix("images-").or(stem.strip_suffix("images."))?;
    Some(format!("{stem}labels{}idx1-ubyte", &name[stem.len() + 6..stem.len() + 7]))
}

/// Pictures, with their labels if a file of labels exists, and their channels, height and width.
fn part(path: &Path) -> Result<(Part, [usize; 3])> {
    let (axes, bytes) = values(path)?;
    let (count, inner, last) = match *axes {
        [n, height, width] => (n, [1, height, width], false),
        [n, a, b, c] => {
            let (inner, last) = parts::picture_axes([a, b, c]);
            (n, inner, last)
        }
        _ => {
            let problem = format!("there are {} axes", axes.len());
            return Err(Error::file(path, "header", problem, "3, or 4 with channels"));
        }
    };
    let mut rows: Rows = parts::byte_rows(&bytes, inner.iter().product())?;
    if last {
        parts::channels_first(&mut rows, inner[0]);
    }
    let name = labels_name(path).unwrap_or_default();
    let beside = [path.with_file_name(&name), path.with_file_name(name + ".gz")];
    let labels = match beside.into_iter().find(|labels| labels.is_file()) {
        None => None,
        Some(labels) => {
            let (axes, bytes) = values(&labels)?;
            if axes != [count] {
                let problem = format!("the axes are {axes:?} long");
                let expected = format!("[{count}], a label for each picture of {}", path.display());
                return Err(Error::file(labels, "header", problem, expected));
            }
            Some(bytes.iter().map(|&label| u32::from(label)).collect())
        }
    };
    Ok((Part { rows, labels }, inner))
}

/// The lengths of the axes, and the values, of which there is at least one.
fn values(path: &Path) -> Result<(Vec<usize>, Vec<u8>)> {
    let fault =
        |place: &str, problem: String, expected: &str| Error::file(path, place, problem, expected);
    let mut file = parts::open(path)?;
    let mut word = [0; 4];
    let mut next = || match file.read_exact(&mut word) {
        Ok(()) => Ok(word),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
            Err(fault("header", "the file ends within it".into(), "a whole IDX file"))
        }
        Err(e) => Err(fault("header", format!("reading fails: {e}"), "a whole IDX file")),
    };
    let magic = next()?;
    let [0, 0, 8, count] = magic else {
        let problem = format!("the file begins with the bytes {magic:?}");
        return Err(fault("header", problem, "an IDX file of bytes: 0, 0, 8, number of axes"));
    };
    let axes = (0..count).map(|_| next().map(|w| u64::from(u32::from_be_bytes(w))));
    let axes: Vec<u64> = axes.collect::<Result<_>>()?;
    let size = axes.iter().try_fold(1u64, |product, &n| product.checked_mul(n));
    let size = match size {
        Some(0) => return Err(fault("header", format!("{axes:?} holds no value"), "values")),
        Some(size) if size <= MOST_BYTES => size,
        _ => {
            let expected = format!("at most {MOST_BYTES} values");
            return Err(fault("header", format!("{axes:?} is too large"), &expected));
        }
    };
    let mut bytes = Vec::new();
    let place = "values";
    file.take(size + 1).read_to_end(&mut bytes).map_err(|e| {
        let problem = format!("reading fails after {} of {size} bytes: {e}", bytes.len());
        fault(place, problem, "a whole IDX file")
    })?;
    match (bytes.len() as u64).cmp(&size) {
        std::cmp::Ordering::Equal => Ok((axes.iter().map(|&n| n as usize).collect(), bytes)),
        std::cmp::Ordering::Less => {
            let problem = format!("the file ends after {} of them", bytes.len());
            Err(fault(place, problem, &format!("{size}, by its header")))
        }
        std::cmp::Ordering::Greater => {
            Err(fault(place, "there are more".into(), &format!("{size}, by the file's header")))
        }
    }
}
