//! Tables: comma-separated values, plain or compressed by gzip.
//!
//! Reading. The first line is a header if a column goes from text there to a number in the second line, or
//! if it holds no number at all; without a header the columns are `x1`, `x2`, …. A name may end in a unit:
//! `alcohol [%]`. Columns of text become categories, those of numbers stay real until a space is fitted to
//! the training rows ([`Space::fitted`]). Lines that begin with `@` are skipped (KEEL's `.dat`).
//!
//! Writing is the inverse: the names, units and categories of the table, and numbers in the fewest digits that single
//! precision reads back.

mod sheet;
mod writer;

use super::{Coordinate, Layout, Rows, Space, Split};
use crate::{Error, Result};
use sheet::Sheet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

pub use writer::TableWriter;

/// Most bytes of a table, so that a small compressed file cannot fill the memory.
const MOST_BYTES: u64 = 1 << 31;

/// The columns of a table to read, and the label column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// The label's column by its name, or `last`; no labels if not given.
    pub label: Option<String>,
    /// The columns that rows are conditioned on, in this order; none if not given.
    pub condition: Option<Vec<String>>,
    /// The columns to keep, in this order; all others if not given.
    pub columns: Option<Vec<String>>,
}

/// Reads `.csv`, `.csv.gz` or a comma-separated `.dat`: the space, with real coordinates in raw units and
/// categories, and the rows with their labels. Classes are in the order of their names, numbers as numbers.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened; [`Error::File`] naming line and column for anything else.
pub fn read(path: impl AsRef<Path>, options: &TableOptions) -> Result<(Space, Split)> {
    let path = path.as_ref();
    let file = BufReader::new(File::open(path).map_err(|e| Error::io(path, e))?);
    let compressed = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
    if compressed {
        parse(flate2::bufread::MultiGzDecoder::new(file), path, options)
    } else {
        parse(file, path, options)
    }
}

/// [`read`] from bytes, with the name `path` in errors.
pub(super) fn parse(
    bytes: impl Read,
    path: &Path,
    options: &TableOptions,
) -> Result<(Space, Split)> {
    let mut text = Vec::new();
    bytes.take(MOST_BYTES + 1).read_to_end(&mut text).map_err(|e| {
        let place = format!("after {} bytes of text", text.len());
        Error::file(path, place, format!("reading fails: {e}"), "a whole table")
    })?;
    if text.len() as u64 > MOST_BYTES {
        let problem = format!("the text is longer than {MOST_BYTES} bytes");
        return Err(Error::file(path, "table", problem, "a smaller table, or .npy"));
    }
    let mut sheet = Sheet::read(&text, path)?;
    let names = sheet.take_names()?;
    let label = options.label.as_ref().map(|name| sheet.label_column(&names, name)).transpose()?;
    let given =
        options.condition.as_deref().map(|given| sheet.find_all(&names, given)).transpose()?;
    let beside: Vec<usize> = given.iter().flatten().copied().chain(label).collect();
    let columns = sheet.value_columns(&names, options.columns.as_deref(), &beside)?;
    let (mut space, rows) = columns_of(&sheet, &names, &columns)?;
    let mut split = Split::new(rows, None)?;
    if let Some(label) = label {
        let (classes, labels) = sheet.labels(label, &names[label].name)?;
        space = space.with_classes(classes);
        split = Split::new(split.rows().clone(), Some(labels))?;
    }
    if let Some(given) = given {
        let (own, values) = columns_of(&sheet, &names, &given)?;
        (space, split) = (space.with_given(own), split.with_given(values)?);
    }
    Ok((space, split))
}

/// Columns of a sheet as rows, with what they mean.
fn columns_of(sheet: &Sheet, names: &[Coordinate], columns: &[usize]) -> Result<(Space, Rows)> {
    let mut coordinates = Vec::with_capacity(columns.len());
    let mut values = Vec::with_capacity(columns.len());
    for &column in columns {
        let (kind, numbers) = sheet.column(column, &names[column].name)?;
        coordinates.push(Coordinate { kind, ..names[column].clone() });
        values.push(numbers);
    }
    let space = Space::new(Layout::Vector { width: columns.len() }, coordinates)?;
    Ok((space, interleave(&values)?))
}

/// Columns of equal length side by side.
fn interleave(columns: &[Vec<f32>]) -> Result<Rows> {
    let len = columns.first().map_or(0, Vec::len);
    let values = (0..len).flat_map(|i| columns.iter().map(move |column| column[i])).collect();
    Rows::new(values, columns.len())
}
