//! Writing of archives: rows in `x`, their labels in `labels`, the names of classes in `classes`.

use crate::data::npy::{NpyWriter, header};
use crate::data::{Layout, Rows};
use crate::{Error, Result};
use std::io::Write;
use std::path::{Path, PathBuf};
use zip::write::{SimpleFileOptions, StreamWriter, ZipWriter};
use zip::{CompressionMethod, DateTime};

/// Bytes above which an entry of an archive needs sizes of 64 bits.
const LARGE: u64 = 0xF000_0000;

/// A writer of rows as an uncompressed `.npz` archive, chunk by chunk, as `numpy.savez` writes one: arrays `x`, and of
/// labelled rows `labels` and `classes`.
///
/// ```
/// use tweedie::data::{npz::NpzWriter, Layout, Rows};
/// let mut archive = NpzWriter::new(Vec::new(), "out.npz", 2, Layout::Vector { width: 1 })?;
/// archive.write(&Rows::new(vec![0.5, 1.5], 1)?, Some(&[1, 0]))?;
/// let bytes = archive.finish(&["oak".into(), "yew".into()])?;
/// assert!(bytes.starts_with(b"PK"));
/// # Ok::<(), tweedie::Error>(())
/// ```
pub struct NpzWriter<W: Write> {
    rows: NpyWriter<ZipWriter<StreamWriter<W>>>,
    labels: Vec<i64>,
    path: PathBuf,
}

impl<W: Write> NpzWriter<W> {
    /// Writes the beginning for `rows` rows; `path` names the output in errors.
    ///
    /// # Errors
    /// [`Error::Io`] if writing fails.
    pub fn new(out: W, path: impl AsRef<Path>, rows: usize, layout: Layout) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let mut archive = ZipWriter::new_stream(out);
        let large = 4 * (rows as u64).saturating_mul(layout.width() as u64) > LARGE;
        begin(&mut archive, "x", large, &path)?;
        let rows = NpyWriter::new(archive, &path, rows, layout)?;
        Ok(Self { rows, labels: Vec::new(), path })
    }

    /// Writes the next rows.
    ///
    /// # Errors
    /// As [`NpyWriter::write`]; [`Error::Shape`] if there is not one label for each row.
    pub fn write(&mut self, rows: &Rows, labels: Option<&[u32]>) -> Result<()> {
        if let Some(labels) = labels {
            if labels.len() != rows.len() {
                return Err(Error::shape("labels to write", labels.len(), rows.len()));
            }
            self.labels.extend(labels.iter().map(|label| i64::from(*label)));
        }
        self.rows.write(rows)
    }

    /// Writes labels and names of classes, if rows are labelled, ends the archive and returns the writer.
    ///
    /// # Errors
    /// As [`NpyWriter::finish`].
    pub fn finish(self, classes: &[String]) -> Result<W> {
        let Self { rows, labels, path } = self;
        let mut archive = rows.finish()?;
        if !labels.is_empty() {
            let values = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
            array(&mut archive, "labels", ("<i8", labels.len()), values, &path)?;
            let length = classes.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(1);
            // Each letter is a code point of 4 bytes; short names end in zeros.
            let letters = |name: &String| {
                let points = name.chars().map(u32::from).chain(std::iter::repeat(0));
                points.take(length).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()
            };
            let values = classes.iter().flat_map(letters).collect();
            array(&mut archive, "classes", (&format!("<U{length}"), classes.len()), values, &path)?;
        }
        let done = archive.finish().map_err(|e| Error::io(&path, e.into()))?;
        Ok(done.into_inner())
    }
}

/// Begins an array of an archive.
fn begin<W: Write>(
    archive: &mut ZipWriter<StreamWriter<W>>,
    name: &str,
    large: bool,
    path: &Path,
) -> Result<()> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .large_file(large);
    let begun = archive.start_file(format!("{name}.npy"), options);
    begun.map_err(|e| Error::io(path, e.into()))
}

/// Writes an array of one axis.
fn array<W: Write>(
    archive: &mut ZipWriter<StreamWriter<W>>,
    name: &str,
    (kind, len): (&str, usize),
    values: Vec<u8>,
    path: &Path,
) -> Result<()> {
    begin(archive, name, values.len() as u64 > LARGE, path)?;
    let mut write = |bytes: &[u8]| archive.write_all(bytes).map_err(|e| Error::io(path, e));
    write(&header(kind, &format!("({len},)")))?;
    write(&values)
}
