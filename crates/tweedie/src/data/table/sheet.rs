//! The cells of a table and the names of its columns.

use super::cell::{is_missing, is_number};
use super::lines::{self, Lines};
use super::text::Text;
use crate::data::Coordinate;
use crate::error::one_of;
use crate::{Error, Result};
use csv::StringRecord;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;

/// Whole numbers in a header that look like years.
const YEARS: RangeInclusive<f64> = 1800.0..=2200.0;
/// The name of a column without a name that numbers the rows.
const INDEX: &str = "index";
/// A first line of numbers 0, 1, 2, … is a header if fewer than one in so many other lines count up like it.
const COUNTING: usize = 10;

/// The cells of a file, each line as long as the first.
pub(super) struct Sheet<'a> {
    pub path: &'a Path,
    /// Lines with their numbers in the file, from 1.
    pub lines: Lines,
    /// Whether a comma may be a decimal point.
    pub free_commas: bool,
    /// Columns that are passed over unless they are named.
    hidden: Vec<usize>,
    /// Remarks for the user.
    pub notes: Vec<String>,
}

impl<'a> Sheet<'a> {
    /// The cells of a text.
    pub fn read(bytes: &[u8], path: &'a Path) -> Result<Self> {
        let text = Text::new(bytes, path)?;
        let (mut lines, free_commas) = (text.records()?, text.has_free_commas());
        let notes = lines::leave_out_others(&mut lines);
        lines::check(&lines, path)?;
        Ok(Sheet { path, lines, free_commas, hidden: Vec::new(), notes })
    }

    /// The names and units of the columns, from the header, which is removed; without a header the columns are
    /// numbered. A column without a name that counts the rows is hidden.
    pub fn take_names(&mut self, header: Option<bool>) -> Result<Vec<Coordinate>> {
        let counts = header.is_none() && self.counts_columns();
        if counts {
            let names = "the numbers of the first line are the names of the columns";
            self.notes.push(format!("{names}; data.header = false makes them a row"));
        }
        if !header.unwrap_or_else(|| counts || self.has_header()) {
            let width = self.lines[0].1.len();
            return Ok((1..=width).map(|j| Coordinate::real(format!("x{j}"))).collect());
        }
        let (line, header) = self.lines.remove(0);
        if self.lines.is_empty() {
            let place = format!("line {}", line + 1);
            return Err(Error::file(self.path, place, "there is only a header", "rows of values"));
        }
        let mut names: Vec<Coordinate> = header.iter().map(named).collect();
        let nameless: Vec<usize> = (0..names.len()).filter(|&j| names[j].name.is_empty()).collect();
        for j in nameless {
            let free = |name: &String| names.iter().all(|other| other.name != *name);
            let counts = self.counts_rows(j);
            let base = if counts { INDEX.to_string() } else { format!("column {}", j + 1) };
            let name = (0..)
                .map(|_| base.clone())
                .take(1)
                .chain((2..).map(|k| format!("{base} {k}")))
                .find(free);
            names[j].name = name.unwrap_or(base);
            let name = &names[j].name;
            self.notes.push(match counts {
                true => format!("column {} has no name and counts the rows: it is left out", j + 1),
                false => format!("column {} has no name: it is called '{name}'", j + 1),
            });
            self.hidden.extend(counts.then_some(j));
        }
        for (j, name) in names.iter().enumerate() {
            if let Some(other) = names[..j].iter().position(|n| n.name == name.name) {
                let place = format!("line {line}, column {}", j + 1);
                let problem = format!("'{}' is also the name of column {}", name.name, other + 1);
                return Err(Error::file(self.path, place, problem, "a name of its own"));
            }
        }
        Ok(names)
    }

    /// Whether the first line names the columns: a column goes from text there to a number in the second line, no cell
    /// is a number, or its texts do not occur again and its numbers look like names.
    fn has_header(&self) -> bool {
        let first = &self.lines[0].1;
        let becomes_number = self.lines.get(1).is_some_and(|(_, second)| {
            first.iter().zip(second).any(|(a, b)| !is_number(a) && !is_missing(a) && is_number(b))
        });
        becomes_number || !first.iter().any(is_number) || self.names_numbers()
    }

    /// Whether the first line has a text, no text of it occurs again in its column, and each number of it is whole,
    /// differs from the others, and is a year or out of the range of its column.
    fn names_numbers(&self) -> bool {
        let first = &self.lines[0].1;
        let rest = &self.lines[1..];
        let distinct: BTreeSet<&str> = first.iter().collect();
        let new = |j: usize| rest.iter().all(|(_, cells)| cells[j] != first[j]);
        let names = |j: usize| match first[j].parse::<f64>() {
            Ok(number) => {
                let values = rest.iter().filter_map(|(_, cells)| cells[j].parse::<f64>().ok());
                let (low, high) = values.fold((number, number), |(l, h), v| (l.min(v), h.max(v)));
                let outside = (number == low) != (number == high) && new(j);
                number.fract() == 0.0 && (YEARS.contains(&number) || outside)
            }
            Err(_) => new(j),
        };
        rest.len() > 1
            && distinct.len() == first.len()
            && first.iter().any(|cell| !is_number(cell) && !is_missing(cell))
            && (0..first.len()).all(names)
    }

    /// Whether the first line counts the columns: 0, 1, 2, …, or 1, 2, 3, …, or years, three or more, or two if all
    /// other cells have decimals, or one behind an empty cell, as pandas names columns without names; and
    /// few other lines count up like it.
    fn counts_columns(&self) -> bool {
        let counted = |cells: &StringRecord| {
            let index = usize::from(cells.len() > 1 && cells[0].is_empty());
            let numbers = cells.iter().skip(index).map(|cell| cell.parse::<u32>().ok());
            let numbers: Vec<u32> = numbers.collect::<Option<_>>()?;
            let all = numbers.windows(2).all(|two| Some(two[1]) == two[0].checked_add(1));
            numbers.first().copied().filter(|_| all)
        };
        let (first, rest) = (&self.lines[0].1, &self.lines[1..]);
        let decimals = || rest.iter().all(|(_, cells)| cells.iter().all(|cell| cell.contains('.')));
        let enough = |columns: usize| columns > 2 || columns == 2 && decimals();
        let starts = |k: u32| k < 2 || YEARS.contains(&f64::from(k));
        counted(first).is_some_and(starts)
            && (enough(first.len()) || first.get(0) == Some(""))
            && !rest.is_empty()
            && rest.iter().filter(|(_, cells)| counted(cells).is_some()).count() * COUNTING
                < rest.len()
    }

    /// Whether a column holds 0, 1, 2, … or 1, 2, 3, ….
    fn counts_rows(&self, column: usize) -> bool {
        let start = self.lines[0].1[column].parse::<usize>().unwrap_or(2);
        let counts =
            |(i, (_, cells)): (usize, &(u64, StringRecord))| cells[column].parse() == Ok(start + i);
        start < 2 && self.lines.iter().enumerate().all(counts)
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

    /// The numbers of the columns with the names `wanted`, which are one or more without repetition.
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

    /// The columns of the rows themselves: the wanted ones, or all except `beside`, the columns of labels and
    /// conditions.
    pub fn value_columns(
        &self,
        names: &[Coordinate],
        wanted: Option<&[String]>,
        beside: &[usize],
    ) -> Result<Vec<usize>> {
        let columns = match wanted {
            None => {
                let left = |j: &usize| !beside.contains(j) && !self.hidden.contains(j);
                (0..names.len()).filter(left).collect()
            }
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

    /// The error of columns that cannot be used as requested.
    fn fault<T>(&self, problem: String) -> Result<T> {
        Err(Error::file(self.path, "header", problem, "other columns"))
    }
}

/// Parses `name [unit]` as a coordinate; whole numbers in brackets, as in `acc[0]`, belong to the name.
fn named(title: &str) -> Coordinate {
    let parts = title.strip_suffix(']').and_then(|rest| rest.rsplit_once('['));
    match parts {
        Some((name, unit))
            if !name.trim().is_empty()
                && !unit.trim().is_empty()
                && unit.trim().parse::<u64>().is_err() =>
        {
            Coordinate { unit: Some(unit.trim().into()), ..Coordinate::real(name.trim()) }
        }
        _ => Coordinate::real(title),
    }
}
