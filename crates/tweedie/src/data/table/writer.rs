//! Writing of tables: see [`super`].

use super::identifier;
use crate::data::{Kind, Rows, Space};
use crate::{Error, Result};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A writer of rows as a table, chunk by chunk.
///
/// ```
/// use tweedie::data::{table::TableWriter, Rows, Space};
/// let space = Space::vector(&["a", "b"])?;
/// let mut table = TableWriter::new(Vec::new(), "out.csv", &space, None)?;
/// table.write(&Rows::new(vec![0.5, 3.0], 2)?, None)?;
/// assert_eq!(table.finish()?, b"a,b\n0.5,3\n");
/// # Ok::<(), tweedie::Error>(())
/// ```
pub struct TableWriter<W: Write> {
    out: csv::Writer<W>,
    path: PathBuf,
    space: Space,
    label: bool,
    written: u64,
}

impl<W: Write> TableWriter<W> {
    /// Writes the header: the columns' names with their units and, if labels will be written, the name of their column,
    /// which comes last. `path` names the output in errors; cells are separated by tabs if it ends in `.tsv`, else by
    /// commas.
    ///
    /// # Errors
    /// [`Error::Io`] if writing fails.
    pub fn new(out: W, path: impl AsRef<Path>, space: &Space, label: Option<&str>) -> Result<Self> {
        let shared = space.coordinates().len() != space.width();
        let titles = (0..space.width())
            .map(|j| if shared { space.column_name(j) } else { space.coordinate(j).title() });
        let header: Vec<String> = titles.chain(label.map(String::from)).collect();
        let path = path.as_ref().to_path_buf();
        let tabs = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tsv"));
        let delimiter = if tabs { b'\t' } else { b',' };
        let mut table = Self {
            out: csv::WriterBuilder::new().delimiter(delimiter).from_writer(out),
            path,
            space: space.clone(),
            label: label.is_some(),
            written: 0,
        };
        table.record(&header)?;
        Ok(table)
    }

    /// Writes rows in raw units.
    ///
    /// # Errors
    /// As [`Space::validate`]; [`Error::Shape`] if labels are missing where the header announces them, or there is not
    /// one for each row; [`Error::Config`] if a label has no class; [`Error::Io`] if writing fails.
    pub fn write(&mut self, rows: &Rows, labels: Option<&[u32]>) -> Result<()> {
        self.space.validate(rows)?;
        let found = labels.map_or(0, <[u32]>::len);
        let expected = if self.label { rows.len() } else { 0 };
        if found != expected {
            return Err(Error::shape("labels to write", found, expected));
        }
        for (i, row) in rows.iter().enumerate() {
            let mut cells: Vec<String> =
                (0..rows.width()).map(|j| self.cell(j, rows.exact(i, j), row)).collect();
            if let Some(labels) = labels.filter(|_| self.label) {
                cells.push(self.class(labels[i])?);
            }
            self.record(&cells)?;
            self.written += 1;
        }
        Ok(())
    }

    /// Flushes and returns the writer.
    ///
    /// # Errors
    /// [`Error::Io`] if writing fails.
    pub fn finish(self) -> Result<W> {
        let path = self.path;
        self.out.into_inner().map_err(|e| Error::io(&path, e.into_error()))
    }

    fn cell(&self, column: usize, value: f64, row: &[f32]) -> String {
        let coordinate = self.space.coordinate(column);
        match &coordinate.kind {
            Kind::Identifier { pattern } => identifier::new(pattern, row, self.written, column),
            _ => coordinate.text(value),
        }
    }

    fn class(&self, label: u32) -> Result<String> {
        let classes = self.space.classes();
        classes.get(label as usize).cloned().ok_or_else(|| {
            let expected = format!("a label below {}, the classes", classes.len());
            Error::config("label", label.to_string(), expected)
        })
    }

    fn record(&mut self, cells: &[String]) -> Result<()> {
        self.out.write_record(cells).map_err(|e| match e.into_kind() {
            csv::ErrorKind::Io(error) => Error::io(&self.path, error),
            kind => Error::io(&self.path, std::io::Error::other(format!("{kind:?}"))),
        })
    }
}
