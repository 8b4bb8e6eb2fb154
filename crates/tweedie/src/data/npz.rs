//! NumPy's `.npz`: a ZIP archive (PKWARE, "APPNOTE.TXT: .ZIP file format specification", 6.3) of `.npy` arrays.
//!
//! Names of arrays: `images`, `x` or `arr_0` for pictures or rows, `labels`, `label` or `y` for their labels; or
//! `x_train`, `x_valid` and `x_test` with labels `y_train`, `y_valid` and `y_test`, or `train`, `valid` and `test`, of
//! which `train` is required (`val` and `validation` stand for `valid`). An array of texts, `classes`, names the
//! classes of labels 0, 1, ….

mod writer;

use super::npy::{self, Array};
use super::parts::{MOST_BYTES, Part, Parts};
use super::{Layout, Space};
use crate::{Error, Result};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use zip::ZipArchive;

pub use writer::NpzWriter;

/// The names of rows in an archive of one part.
const ROWS: [&str; 3] = ["images", "x", "arr_0"];
/// The names of labels in an archive of one part.
const LABELS: [&str; 3] = ["labels", "label", "y"];

/// The names of the parts of a divided archive: for training, for validation, for tests.
const PARTS: [&[&str]; 3] = [&["train"], &["valid", "val", "validation"], &["test"]];

/// An archive, open for reading.
struct Archive {
    archive: ZipArchive<BufReader<File>>,
    path: PathBuf,
}

impl Archive {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        match ZipArchive::new(BufReader::new(file)) {
            Ok(archive) => Ok(Self { archive, path: path.to_path_buf() }),
            Err(e) => Err(fault(path, "archive", e)),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.archive.index_for_name(name).is_some()
    }

    /// The name of the array of rows of a part, and that of its labels.
    fn part_of(&self, names: &[&str]) -> Option<(String, String)> {
        let full = names.iter().map(|name| (format!("x_{name}"), format!("y_{name}")));
        let short = names.iter().map(|name| (name.to_string(), format!("y_{name}")));
        full.chain(short).find(|(rows, _)| self.has(&format!("{rows}.npy")))
    }

    /// The content of an entry, checked by its checksum.
    fn read(&mut self, name: &str) -> Result<Vec<u8>> {
        let entry = self.archive.by_name(name).map_err(|e| fault(&self.path, name, e))?;
        let mut content = Vec::new();
        let read = entry.take(MOST_BYTES + 1).read_to_end(&mut content);
        read.map_err(|e| fault(&self.path, name, format!("unpacking fails: {e}")))?;
        if content.len() as u64 > MOST_BYTES {
            return Err(fault(&self.path, name, format!("longer than {MOST_BYTES} bytes")));
        }
        Ok(content)
    }
}

fn fault(path: &Path, place: &str, problem: impl ToString) -> Error {
    Error::file(path, place, problem.to_string(), "a whole .npz file as numpy.savez writes it")
}

/// Reads an archive.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] naming the array if the archive or an array in it is
/// damaged, or if arrays are missing or do not belong together.
pub(super) fn read(path: &Path) -> Result<Parts> {
    let mut archive = Archive::open(path)?;
    if archive.part_of(PARTS[0]).is_some() {
        return divided(&mut archive);
    }
    let Some(name) = ROWS.iter().find(|name| archive.has(&format!("{name}.npy"))) else {
        let names: Vec<_> = archive.archive.file_names().flatten().collect();
        let problem = match names.is_empty() {
            true => "there is no array".into(),
            false => format!("there are the arrays {}", names.join(", ")),
        };
        return Err(Error::file(
            path,
            "archive",
            problem,
            "images, x, arr_0, or x_train (or train) with x_valid and x_test",
        ));
    };
    let (space, part, note) = part(&mut archive, name, &LABELS)?;
    let names = part.labels.is_some().then(|| names(&mut archive)).transpose()?.flatten();
    let parts = match names {
        Some(names) => Parts::named(space, part, names, path)?,
        None => Parts::numbered(space, part, [None, None], path)?,
    };
    Ok(Parts { notes: note.into_iter().collect(), ..parts })
}

/// The parts of an archive that is divided into them.
fn divided(archive: &mut Archive) -> Result<Parts> {
    let path = archive.path.clone();
    let Some((name, labels)) = archive.part_of(PARTS[0]) else {
        return Err(fault(&path, "archive", "there is no array of training rows"));
    };
    let (space, train, note) = part(archive, &name, &[&labels])?;
    let mut like_train = |names: &[&str]| -> Result<Option<Part>> {
        let Some((other, labels)) = archive.part_of(names) else { return Ok(None) };
        let (found, part, _) = part(archive, &other, &[&labels])?;
        if found == space {
            return Ok(Some(part));
        }
        let problem = format!("a row is {}", shape(&found));
        let expected = format!("{} as in {name}, and of the same type", shape(&space));
        Err(Error::file(&path, other, problem, expected))
    };
    let (validation, test) = (like_train(PARTS[1])?, like_train(PARTS[2])?);
    let parts = Parts::numbered(space, train, [validation, test], &path)?;
    Ok(Parts { notes: note.into_iter().collect(), ..parts })
}

/// An array, with the first array of labels that is there, and the array's remark.
fn part(
    archive: &mut Archive,
    name: &str,
    labels: &[&str],
) -> Result<(Space, Part, Option<String>)> {
    let Array { space, rows, note } = array(archive, name)?;
    let labels = match labels.iter().find(|name| archive.has(&format!("{name}.npy"))) {
        None => None,
        Some(labels) => Some(numbers(archive, labels, rows.len())?),
    };
    Ok((space, Part { rows, labels }, note))
}

/// An array with a whole number for each of `count` rows.
fn numbers(archive: &mut Archive, name: &str, count: usize) -> Result<Vec<u32>> {
    let labels = array(archive, name)?.rows;
    if (labels.len(), labels.width()) != (count, 1) {
        let problem = format!("there are {} rows of {}", labels.len(), labels.width());
        let expected = format!("{count} labels");
        return Err(Error::file(&archive.path, name, problem, expected));
    }
    let number = |(row, &value): (usize, &f32)| {
        let whole = value.fract() == 0.0 && (0.0..=65_535.0).contains(&value);
        whole.then_some(value as u32).ok_or_else(|| {
            let problem = format!("the label of row {row} is {value}");
            Error::file(&archive.path, name, problem, "a whole number from 0 to 65535")
        })
    };
    labels.values().iter().enumerate().map(number).collect()
}

/// The names of classes; none where there are none, or where they are no texts.
fn names(archive: &mut Archive) -> Result<Option<Vec<String>>> {
    if !archive.has("classes.npy") {
        return Ok(None);
    }
    Ok(npy::texts(&archive.read("classes.npy")?))
}

fn array(archive: &mut Archive, name: &str) -> Result<Array> {
    let bytes = archive.read(&format!("{name}.npy"))?;
    npy::parse(&mut &bytes[..], bytes.len() as u64, &archive.path).map_err(|error| match error {
        Error::File { path, place, problem, expected } => {
            Error::file(path, format!("{name}: {place}"), problem, expected)
        }
        other => other,
    })
}

fn shape(space: &Space) -> String {
    match space.layout() {
        Layout::Vector { width } => format!("{width} values"),
        Layout::Image { channels, height, width } => format!("{channels}×{height}×{width}"),
    }
}
