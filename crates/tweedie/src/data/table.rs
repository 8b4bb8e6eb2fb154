//! Tables: cells separated by commas, semicolons, tabs, bars or blanks, plain or compressed by gzip.
//!
//! Reading. The first line is a header if a column goes from text there to a number in the second line, if it holds no
//! number at all, if its texts do not occur again and its numbers look like names (years), or if it counts the columns;
//! without a header the columns are `x1`, `x2`, …. A name may end in a unit: `alcohol [%]`. Columns of numbers become
//! integers between limits, or reals between limits with their decimals, or one of two numbers where there are no
//! others; dates, times and durations become numbers, and so do numbers with signs of money or per cent and separated
//! thousands. Numbers may be missing. All other columns become categories; numbers that begin with a zero, such as post
//! codes, or with a plus, such as telephone numbers, are texts.
//!
//! Writing is the inverse: the names, units and categories of the table, numbers and dates in their form, or else in
//! the fewest digits that single precision reads back.

mod cell;
mod column;
mod identifier;
mod lines;
mod sheet;
mod text;
mod writer;

use super::{Coordinate, Layout, Rows, Space, Split};
use crate::{Error, Result};
use sheet::Sheet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

pub(super) use cell::is_missing;
pub use writer::TableWriter;

/// The most bytes of a table, so that a small compressed file cannot fill the memory.
const MOST_BYTES: u64 = 1 << 31;

/// The share of the rows from which on there are too many classes, and the rows of too few to tell.
const MANY: f64 = 0.5;
const FEW: usize = 20;

/// Options of reading a table: its columns of labels, conditions and values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// The label column by its name, or `last`; no labels if not given.
    pub label: Option<String>,
    /// The columns that rows are conditioned on, in this order; none if not given.
    pub condition: Option<Vec<String>>,
    /// The columns to keep, in this order; all others if not given.
    pub columns: Option<Vec<String>>,
    /// Columns of identifiers, which are drawn new for each sample and are no part of the model.
    pub id: Option<Vec<String>>,
    /// Whether the first line names the columns; found out if not given.
    pub header: Option<bool>,
    /// Leaves samples free to pass the least and greatest value of a column of numbers.
    pub unlimited: bool,
    /// Whether columns are pixels of pictures, which are numbers of one kind even where a pixel has only two.
    pub pixels: bool,
}

/// A table that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The meaning of a row: numbers in raw units, and categories.
    pub space: Space,
    /// The rows with their labels.
    pub rows: Split,
    /// Remarks for the user: columns that are passed over or look like identifiers.
    pub notes: Vec<String>,
}

/// The endings of tables, in lower case.
pub const ENDINGS: [&str; 8] =
    [".csv", ".csv.gz", ".tsv", ".tsv.gz", ".tab", ".txt", ".txt.gz", ".dat"];

/// Whether a path has the ending of a table, in upper or lower case.
pub fn is_table(path: &str) -> bool {
    let path = path.to_lowercase();
    ENDINGS.iter().any(|ending| path.ends_with(ending))
}

/// Reads a table. Classes are in the order of their names, numbers as numbers.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened; [`Error::File`] naming line and column for anything else.
pub fn read(path: impl AsRef<Path>, options: &TableOptions) -> Result<Table> {
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
pub(crate) fn parse(bytes: impl Read, path: &Path, options: &TableOptions) -> Result<Table> {
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
    let names = sheet.take_names(options.header)?;
    let label = options.label.as_ref().map(|name| sheet.label_column(&names, name)).transpose()?;
    let given =
        options.condition.as_deref().map(|given| sheet.find_all(&names, given)).transpose()?;
    let beside: Vec<usize> = given.iter().flatten().copied().chain(label).collect();
    let columns = sheet.value_columns(&names, options.columns.as_deref(), &beside)?;
    let id = options.id.as_deref().map(|id| sheet.find_all(&names, id)).transpose()?;
    let id = id.unwrap_or_default();
    if columns.iter().all(|column| id.contains(column)) {
        return Err(Error::file(
            path,
            "header",
            "all columns are identifiers",
            "a column to model",
        ));
    }
    let (mut space, rows) = columns_of(&mut sheet, &names, &columns, &id, options)?;
    let mut rows = Split::new(rows, None)?;
    if let Some(label) = label {
        let (classes, labels) = sheet.labels(label, &names[label].name)?;
        if sheet.lines.len() >= FEW && classes.len() as f64 >= MANY * sheet.lines.len() as f64 {
            let (name, rows) = (&names[label].name, sheet.lines.len());
            sheet.notes.push(format!(
                "the label '{name}' has {} classes in {rows} rows: without --label it is a column like others",
                classes.len()
            ));
        }
        space = space.with_classes(classes);
        rows = Split::new(rows.rows().clone(), Some(labels))?;
    }
    if let Some(given) = given {
        let (own, values) = columns_of(&mut sheet, &names, &given, &[], options)?;
        (space, rows) = (space.with_given(own), rows.with_given(values)?);
    }
    Ok(Table { space, rows, notes: sheet.notes })
}

/// Columns of a sheet as rows, with what they mean; those of `id` are identifiers.
fn columns_of(
    sheet: &mut Sheet,
    names: &[Coordinate],
    columns: &[usize],
    id: &[usize],
    options: &TableOptions,
) -> Result<(Space, Rows)> {
    let mut coordinates = Vec::with_capacity(columns.len());
    let mut values = Vec::with_capacity(columns.len());
    for &column in columns {
        let (coordinate, numbers) = match id.contains(&column) {
            true => sheet.identifiers(column, &names[column]),
            false => sheet.column(column, &names[column], options)?,
        };
        coordinates.push(coordinate);
        values.push(numbers);
    }
    let space = Space::new(Layout::Vector { width: columns.len() }, coordinates)?;
    let rows = interleave(&values, &space)?;
    Ok((space, rows))
}

/// Columns of equal length side by side.
fn interleave(columns: &[Vec<f64>], space: &Space) -> Result<Rows> {
    let len = columns.first().map_or(0, Vec::len);
    let values =
        (0..len).flat_map(|i| columns.iter().map(move |column| column[i])).collect::<Vec<_>>();
    Rows::with_rest(&values, columns.len(), |j| space.coordinate(j).is_wide())
}
