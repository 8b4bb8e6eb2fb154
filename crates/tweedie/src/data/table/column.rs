//! The kind of a column, out of its cells.

use super::TableOptions;
use super::cell::{Numbers, dates, is_missing, is_number, numbers};
use super::sheet::Sheet;
use crate::data::{Coordinate, Form, Kind};
use crate::{Error, Result};
use std::collections::BTreeSet;

/// Most distinct values of a text column that is a category or a label.
const MOST_NAMES: usize = 1000;
/// The integers up to which double precision is exact.
const EXACT: u128 = 1 << 53;
/// The integers up to which single precision is exact.
const SINGLE: f64 = 16_777_216.0;
/// Whole numbers over a range below this are a [`Kind::Quantised`] column.
const QUANTISED: f64 = 4_194_304.0;
/// The share of distinct texts from which on a column of at least [`FEW`] rows looks like one of identifiers.
const DISTINCT: f64 = 0.9;
/// Rows of too few texts to tell identifiers from names.
const FEW: usize = 20;
/// The least number of values of which all are one of two, so that there are no others.
const TWO_VALUED: usize = 10;
/// The share of dates from which on the other texts of a column are wrong dates.
const DATED: f64 = 0.9;
/// Texts that say which pattern a column of dates has.
const SOME: usize = 10;

impl Sheet<'_> {
    /// A column's meaning, with its values: numbers counted from the origin of their form, or indices of categories;
    /// NaN where a number is missing.
    pub fn column(
        &mut self,
        column: usize,
        named: &Coordinate,
        options: &TableOptions,
    ) -> Result<(Coordinate, Vec<f64>)> {
        let cells: Vec<&str> = self.lines.iter().map(|(_, cells)| &cells[column]).collect();
        if let Some(found) = numbers(&cells, self.free_commas) {
            let missing =
                found.values.iter().position(Option::is_none).map(|i| cells[i].to_string());
            self.check_numbers(column, &named.name, &found)?;
            if let Some((own, other)) = found.form.date.clone().zip(found.other.clone()) {
                let [own, other] = [own, other].map(String::from);
                let name = &named.name;
                self.notes.push(format!(
                    "dates in column '{name}' are read as {own}; {other} would fit as well"
                ));
            }
            return Ok(numeric(named, found, missing, options));
        }
        self.refuse_mixture(&cells, &named.name)?;
        let (names, indices) = self.names_in(column, &named.name, true)?;
        if names.len() as f64 >= DISTINCT * cells.len() as f64 && cells.len() >= FEW {
            let (name, names, rows) = (&named.name, names.len(), cells.len());
            let note = format!(
                "column '{name}' has {names} different texts in {rows} rows, as identifiers have: samples copy \
                 them from the rows; data.id = [\"{name}\"] draws new ones instead"
            );
            self.notes.push(note);
        }
        let kind = Kind::Category { names };
        Ok((Coordinate { kind, ..named.clone() }, indices.into_iter().map(|k| k as f64).collect()))
    }

    /// Fails for a number that is not finite, too large, or an integer that double precision does not hold.
    fn check_numbers(&self, column: usize, name: &str, found: &Numbers) -> Result<()> {
        for ((line, cells), value) in self.lines.iter().zip(&found.values) {
            let (cell, Some(value)) = (&cells[column], *value) else { continue };
            let digits = cell.contains(|c: char| c.is_ascii_digit());
            let (problem, expected) = match value.abs() {
                size if !size.is_finite() && !digits => {
                    (format!("the value is {cell}"), "a finite number")
                }
                size if size > f64::from(f32::MAX) => {
                    (format!("{cell} is too large for single precision"), "a finite number")
                }
                _ if cell.trim_start_matches('-').parse().is_ok_and(|n: u128| n > EXACT) => {
                    let expected = "whole numbers up to 2^53, or data.id if these are identifiers";
                    (format!("{cell} loses digits in double precision"), expected)
                }
                _ => continue,
            };
            return Err(Error::file(self.path, place(*line, name), problem, expected));
        }
        Ok(())
    }

    /// Fails for a column of numbers with a text among them, and for one of dates with few others.
    fn refuse_mixture(&self, cells: &[&str], name: &str) -> Result<()> {
        self.refuse_odd_dates(cells, name)?;
        let is_code = |cell: &&str| is_number(cell) && numbers(&[cell], self.free_commas).is_none();
        if !cells.iter().any(|cell| is_number(cell)) || cells.iter().any(is_code) {
            return Ok(());
        }
        let odd = cells.iter().position(|cell| !is_number(cell) && !is_missing(cell));
        let Some(odd) = odd else { return Ok(()) };
        let problem = format!("'{}' is not a number, as others here are", cells[odd]);
        Err(Error::file(self.path, place(self.lines[odd].0, name), problem, "a finite number"))
    }

    /// Fails for a column of dates with a few other texts, naming the first of these.
    fn refuse_odd_dates(&self, cells: &[&str], name: &str) -> Result<()> {
        let there: Vec<usize> = (0..cells.len()).filter(|&i| !is_missing(cells[i])).collect();
        for &i in there.iter().take(SOME) {
            let Some(pattern) = dates(&cells[i..=i]).into_iter().next() else { continue };
            let odd: Vec<usize> =
                there.iter().copied().filter(|&i| pattern.read(cells[i]).is_none()).collect();
            let dated = there.len() - odd.len();
            let Some(&first) = odd.first() else { continue };
            if there.len() >= FEW && dated as f64 >= DATED * there.len() as f64 {
                let problem = format!("'{}' is not a date, as others here are", cells[first]);
                let expected = format!("a date like {}", String::from(pattern));
                let place = place(self.lines[first].0, name);
                return Err(Error::file(self.path, place, problem, expected));
            }
        }
        Ok(())
    }

    /// The classes in a column, in the order of names or numbers, and the class of each line.
    pub fn labels(&self, column: usize, name: &str) -> Result<(Vec<String>, Vec<u32>)> {
        let (names, indices) = self.names_in(column, name, false)?;
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

    /// The distinct texts in a column in alphabetic order, and the index of each line. A missing value is a text of its
    /// own, if it `may_miss`.
    fn names_in(
        &self,
        column: usize,
        name: &str,
        may_miss: bool,
    ) -> Result<(Vec<String>, Vec<usize>)> {
        let mut distinct = BTreeSet::new();
        for (line, cells) in &self.lines {
            let cell = &cells[column];
            let fault = |problem, expected| {
                Err(Error::file(self.path, place(*line, name), problem, expected))
            };
            if is_missing(cell) && !may_miss {
                let problem = match cell {
                    "" => "the value is missing".into(),
                    cell => format!("the value is missing: '{cell}'"),
                };
                return fault(problem, "a label".to_string());
            }
            distinct.insert(cell);
            if distinct.len() > MOST_NAMES {
                let expected = format!(
                    "numbers or dates to model, at most {MOST_NAMES} different names, or data.id = [\"{name}\"] for \
                     identifiers, which are drawn new"
                );
                return fault("there are too many different names up to here".into(), expected);
            }
        }
        let names: Vec<&str> = distinct.into_iter().collect();
        let index = |cell: &str| names.partition_point(|n| *n < cell);
        let indices = self.lines.iter().map(|(_, cells)| index(&cells[column])).collect();
        Ok((names.into_iter().map(String::from).collect(), indices))
    }
}

/// A column of numbers, with its values counted from the origin.
fn numeric(
    named: &Coordinate,
    found: Numbers,
    missing: Option<String>,
    options: &TableOptions,
) -> (Coordinate, Vec<f64>) {
    let limits = !options.unlimited;
    let there = || found.values.iter().flatten().copied();
    let (low, high) =
        there().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let mut form = found.form;
    let power = 10_f64.powi(form.decimals.unwrap_or(0).into());
    let whole = there().all(|value| value.fract() == 0.0);
    if form.date.is_some() {
        form.origin = low;
    } else if (whole || form.decimals.is_some()) && low.abs().max(high.abs()) * power > SINGLE {
        // Single precision holds differences from the middle better, if they are small.
        let (range, most) = (high - low, low.abs().max(high.abs()));
        let nearer = range * power <= 2.0 * SINGLE || range < 0.5 * most;
        form.origin = if nearer { (0.5 * (low + high)).round() } else { 0.0 };
    }
    if whole && form.decimals.is_none() {
        form.decimals = Some(0);
    }
    let apart = !(whole && high - low == 1.0);
    if limits && !options.pixels && apart && is_two_valued(there(), low, high) {
        (form.origin, form.step) = (low, Some(high - low));
    }
    let raw = |number: f64| form.raw(number);
    let (whole, [low, high]) = (whole || form.step.is_some(), [low, high].map(raw));
    let kind = match (whole && high - low < QUANTISED, limits) {
        (true, true) => Kind::Quantised { low: Some(low as i64), high: Some(high as i64) },
        (true, false) => Kind::Quantised { low: None, high: None },
        (false, true) => Kind::Bounded { low, high },
        (false, false) => Kind::Real,
    };
    // Whole numbers are written without a form of their own.
    if form == (Form { decimals: Some(0), ..Form::default() })
        && matches!(kind, Kind::Quantised { .. })
    {
        form.decimals = None;
    }
    let value = |value: Option<f64>| value.map_or(f64::NAN, |value| form.raw(value));
    let values = found.values.iter().copied().map(value).collect();
    (Coordinate { kind, form, missing, ..named.clone() }, values)
}

/// Whether many values are all one of two.
fn is_two_valued(mut values: impl Iterator<Item = f64> + Clone, low: f64, high: f64) -> bool {
    low < high
        && values.clone().count() >= TWO_VALUED
        && values.all(|value| value == low || value == high)
}

pub(super) fn place(line: u64, column: &str) -> String {
    format!("line {line}, column '{column}'")
}
