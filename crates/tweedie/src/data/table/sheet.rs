//! The cells of a table, and the kinds of its columns.

use crate::data::{Coordinate, Kind};
use crate::error::one_of;
use crate::{Error, Result};
use csv::StringRecord;
use std::collections::BTreeSet;
use std::path::Path;

/// Most distinct values of a text column that is a category or a label.
const MOST_NAMES: usize = 1000;
/// Texts of missing values, in upper or lower case.
const MISSING: [&str; 7] = ["", "?", "na", "n/a", "nan", "null", "<null>"];

/// The cells of a file, each line as long as the first.
pub(super) struct Sheet<'a> {
    path: &'a Path,
    lines: Vec<(u64, StringRecord)>,
}

impl<'a> Sheet<'a> {
    /// The cells of a text.
    pub fn read(text: &[u8], path: &'a Path) -> Result<Self> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        check_text(text, path)?;
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .comment(Some(b'@'))
            .from_reader(text);
        let mut sheet = Sheet { path, lines: Vec::new() };
        let mut here = Cursor { text, at: 0, line: 1 };
        for record in reader.records() {
            let record = record.map_err(|e| {
                let place = format!("after line {}", here.line);
                Error::file(path, place, e.to_string(), "comma-separated values")
            })?;
            let start = record.position().map_or(here.at, |p| p.byte() as usize);
            let line = here.line_of_record(start);
            sheet.check_length(line, &record)?;
            sheet.lines.push((line, record));
        }
        if sheet.lines.is_empty() {
            return Err(Error::file(path, "line 1", "the file is empty", "a table"));
        }
        Ok(sheet)
    }

    fn check_length(&self, line: u64, record: &StringRecord) -> Result<()> {
        let width = self.lines.first().map_or(record.len(), |(_, first)| first.len());
        if record.len() == 1 && record[0].contains([';', '\t']) {
            let problem = "the cells are separated by semicolons or tabs";
            return Err(Error::file(self.path, format!("line {line}"), problem, "commas"));
        }
        if record.len() != width {
            let problem = format!("there are {} columns", record.len());
            let expected = format!("{width}, as in the first line");
            return Err(Error::file(self.path, format!("line {line}"), problem, expected));
        }
        Ok(())
    }

    /// The names and units of the columns, from the header, which is removed; without a header the columns are
    /// numbered.
    pub fn take_names(&mut self) -> Result<Vec<Coordinate>> {
        let first = &self.lines[0].1;
        let becomes_number = self.lines.get(1).is_some_and(|(_, second)| {
            first.iter().zip(second).any(|(a, b)| !is_number(a) && !is_missing(a) && is_number(b))
        });
        if !becomes_number && first.iter().any(is_number) {
            return Ok((1..=first.len()).map(|j| Coordinate::real(format!("x{j}"))).collect());
        }
        let (line, header) = self.lines.remove(0);
        if self.lines.is_empty() {
            let place = format!("line {}", line + 1);
            return Err(Error::file(self.path, place, "there is only a header", "rows of values"));
        }
        let names: Vec<Coordinate> = header.iter().map(named).collect();
        for (j, name) in names.iter().enumerate() {
            let place = format!("line {line}, column {}", j + 1);
            if name.name.is_empty() {
                return Err(Error::file(self.path, place, "the column has no name", "a name"));
            }
            if let Some(other) = names[..j].iter().position(|n| n.name == name.name) {
                let problem = format!("'{}' is also the name of column {}", name.name, other + 1);
                return Err(Error::file(self.path, place, problem, "a name of its own"));
            }
        }
        Ok(names)
    }

    /// The index of the column with the name `wanted`.
    fn find(&self, names: &[Coordinate], wanted: &str) -> Result<usize> {
        let found = names.iter().position(|n| n.name == wanted || n.title() == wanted);
        found.ok_or_else(|| {
            let known: Vec<&str> = names.iter().map(|n| n.name.as_str()).collect();
            let problem = format!("there is no column '{wanted}'");
            Error::file(self.path, "header", problem, one_of(wanted, &known))
        })
    }

    pub fn label_column(&self, names: &[Coordinate], wanted: &str) -> Result<usize> {
        let named_last = names.iter().any(|n| n.name == "last");
        if wanted == "last" && !named_last { Ok(names.len() - 1) } else { self.find(names, wanted) }
    }

    /// The numbers of columns that are named once each, at least one.
    pub fn find_all(&self, names: &[Coordinate], wanted: &[String]) -> Result<Vec<usize>> {
        let columns: Vec<usize> =
            wanted.iter().map(|name| self.find(names, name)).collect::<Result<_>>()?;
        let again = (1..columns.len()).find(|&i| columns[..i].contains(&columns[i]));
        match again {
            Some(i) => self.fault(format!("'{}' is kept twice", names[columns[i]].name)),
            None if columns.is_empty() => self.fault("no column is named".into()),
            None => Ok(columns),
        }
    }

    /// The columns of the rows themselves: those wanted, or all others than those `beside` them, the label's and those
    /// of conditions.
    pub fn value_columns(
        &self,
        names: &[Coordinate],
        wanted: Option<&[String]>,
        beside: &[usize],
    ) -> Result<Vec<usize>> {
        let columns = match wanted {
            None => (0..names.len()).filter(|j| !beside.contains(j)).collect(),
            Some(wanted) => self.find_all(names, wanted)?,
        };
        if columns.is_empty() {
            return self.fault("no column but the label and conditions is left".into());
        }
        match columns.iter().find(|column| beside.contains(column)) {
            Some(&column) => {
                let name = &names[column].name;
                self.fault(format!("'{name}' is kept and is the label or a condition"))
            }
            None => Ok(columns),
        }
    }

    /// The error of columns that cannot be as they are wanted.
    fn fault<T>(&self, problem: String) -> Result<T> {
        Err(Error::file(self.path, "header", problem, "other columns"))
    }

    /// The kind of a column, and its values: numbers, or indices of categories.
    pub fn column(&self, column: usize, name: &str) -> Result<(Kind, Vec<f32>)> {
        if self.lines.iter().any(|(_, cells)| is_number(&cells[column])) {
            let numbers = self.lines.iter().map(|(line, cells)| {
                number(&cells[column]).map_err(|problem| {
                    Error::file(self.path, place(*line, name), problem, "a finite number")
                })
            });
            return Ok((Kind::Real, numbers.collect::<Result<_>>()?));
        }
        let (names, indices) = self.names_in(column, name)?;
        Ok((Kind::Category { names }, indices.into_iter().map(|k| k as f32).collect()))
    }

    /// The classes in a column, in the order of names or numbers, and the class of each line.
    pub fn labels(&self, column: usize, name: &str) -> Result<(Vec<String>, Vec<u32>)> {
        let (names, indices) = self.names_in(column, name)?;
        let mut order: Vec<usize> = (0..names.len()).collect();
        let numbers: Vec<f64> = names.iter().filter_map(|n| n.parse().ok()).collect();
        if numbers.len() == names.len() {
            order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
        }
        let mut rank = vec![0; names.len()];
        order.iter().enumerate().for_each(|(r, &k)| rank[k] = r as u32);
        let classes = order.iter().map(|&k| names[k].clone()).collect();
        Ok((classes, indices.into_iter().map(|k| rank[k]).collect()))
    }

    /// The distinct texts in a column in alphabetic order, and the index of each line.
    fn names_in(&self, column: usize, name: &str) -> Result<(Vec<String>, Vec<usize>)> {
        let mut distinct = BTreeSet::new();
        for (line, cells) in &self.lines {
            let cell = &cells[column];
            let fault = |problem, expected| {
                Err(Error::file(self.path, place(*line, name), problem, expected))
            };
            if is_missing(cell) {
                return fault(missing(cell), "a value".into());
            }
            distinct.insert(cell);
            if distinct.len() > MOST_NAMES {
                let expected = format!("numbers to model, or at most {MOST_NAMES} different names");
                return fault("there are too many different names up to here".into(), expected);
            }
        }
        let names: Vec<&str> = distinct.into_iter().collect();
        let index = |cells: &StringRecord| names.partition_point(|n| *n < &cells[column]);
        let indices = self.lines.iter().map(|(_, cells)| index(cells)).collect();
        Ok((names.into_iter().map(String::from).collect(), indices))
    }
}

/// The start of a record in a text, found in a forward pass.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Cursor<'_> {
    /// The line of the first cell of the next record after `start`, past blank lines and comments.
    fn line_of_record(&mut self, start: usize) -> u64 {
        while self.at < start {
            self.step();
        }
        loop {
            match self.text.get(self.at) {
                Some(b'\n' | b'\r') => self.step(),
                Some(b'@') => self.skip_line(),
                _ => return self.line,
            }
        }
    }

    fn step(&mut self) {
        let next = self.text.get(self.at + 1);
        match self.text.get(self.at) {
            Some(b'\n') => self.line += 1,
            Some(b'\r') if next != Some(&b'\n') => self.line += 1,
            _ => {}
        }
        self.at += 1;
    }

    fn skip_line(&mut self) {
        while !matches!(self.text.get(self.at), None | Some(b'\n' | b'\r')) {
            self.at += 1;
        }
    }
}

/// Fails unless bytes are text in UTF-8.
fn check_text(text: &[u8], path: &Path) -> Result<()> {
    let (at, problem) = match (std::str::from_utf8(text), text.iter().position(|&b| b == 0)) {
        (_, Some(zero)) => (zero, "there is a zero byte, as in binary files"),
        (Err(error), None) => (error.valid_up_to(), "the text is not UTF-8"),
        (Ok(_), None) => return Ok(()),
    };
    let before = &text[..at];
    let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    let column = before[line_start..].iter().filter(|&&b| b == b',').count() + 1;
    Err(Error::file(path, format!("line {line}, column {column}"), problem, "a table in UTF-8"))
}

fn place(line: u64, column: &str) -> String {
    format!("line {line}, column '{column}'")
}

fn is_number(cell: &str) -> bool {
    cell.parse::<f64>().is_ok() && !is_missing(cell)
}

fn is_missing(cell: &str) -> bool {
    MISSING.iter().any(|missing| cell.eq_ignore_ascii_case(missing))
}

fn missing(cell: &str) -> String {
    if cell.is_empty() {
        "the value is missing".into()
    } else {
        format!("the value is missing: '{cell}'")
    }
}

fn number(cell: &str) -> std::result::Result<f32, String> {
    if is_missing(cell) {
        return Err(missing(cell));
    }
    let value: f32 =
        cell.parse().map_err(|_| format!("'{cell}' is not a number, as others here are"))?;
    match value.is_finite() {
        true => Ok(value),
        false if cell.contains(|c: char| c.is_ascii_digit()) => {
            Err(format!("{cell} is too large for single precision"))
        }
        false => Err(format!("the value is {cell}")),
    }
}

/// Parses `name [unit]` as a coordinate.
fn named(title: &str) -> Coordinate {
    let parts = title.strip_suffix(']').and_then(|rest| rest.rsplit_once('['));
    match parts {
        Some((name, unit)) if !name.trim().is_empty() && !unit.trim().is_empty() => {
            Coordinate { unit: Some(unit.trim().into()), ..Coordinate::real(name.trim()) }
        }
        _ => Coordinate::real(title),
    }
}
