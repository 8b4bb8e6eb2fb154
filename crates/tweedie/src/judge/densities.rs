//! log p of held-out rows: of the same rows under each chosen density.

use crate::data::{Dataset, Split, Toy};
use crate::density::{Kind, LogProb, Measure};
use crate::error::one_of;
use crate::family::{DensityEntry, Integers, Judge, Model, Setting, Task};
use crate::metric::evaluation_rows;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use toml::Table;

/// The most work for all held-out rows, as rows × columns × network evaluations per row; beyond it random rows are
/// taken.
const MOST_WORK: f64 = 2e8;
/// The least number of rows, whatever the work.
const LEAST_ROWS: usize = 64;

/// A choice of densities, treatments of integers, and rows.
#[derive(Debug, Clone, Default)]
pub struct LogPOptions {
    /// The names of densities, `all` for every one; the model's first if empty.
    pub densities: Vec<String>,
    /// The names of treatments of integers, `all` for every one; each density's default if empty.
    pub integers: Vec<String>,
    /// Options of the densities, such as `probes = 16`.
    pub options: Table,
    /// The most held-out rows, chosen at random if there are more; by the work if absent.
    pub rows: Option<usize>,
}

/// A density with a treatment of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    density: &'static str,
    integers: Integers,
}

/// log p of held-out rows by one density.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogP {
    /// The density.
    pub density: Cow<'static, str>,
    /// The computation, in words.
    pub how: String,
    /// The treatment of integers.
    pub integers: Integers,
    /// The number of rows.
    pub rows: usize,
    /// The mean, in nats per row.
    pub mean: f64,
    /// The standard error of the mean, for rows as a random sample.
    pub standard_error: f64,
    /// The unit of the mean and its error.
    pub unit: Cow<'static, str>,
    /// The kind of the log-probability.
    pub kind: Kind,
    /// The measure of the density.
    pub measure: Measure,
    /// The mean in bits per dimension, for integers.
    pub bits_per_dimension: Option<f64>,
    /// The standard error of `bits_per_dimension`.
    pub bits_per_dimension_error: Option<f64>,
    /// The mean of true log p − model log p over the same rows, where the true density is known.
    pub divergence: Option<f64>,
    /// The standard error of `divergence`.
    pub divergence_error: Option<f64>,
    /// log p of each row; it is not part of the JSON.
    #[serde(skip)]
    pub by_row: Option<LogProb>,
}

impl LogP {
    /// The name of the kind, as in JSON.
    pub fn kind_name(&self) -> String {
        match serde_json::to_value(self.kind) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::new(),
        }
    }
}

/// The names of `given` in the order of `names`, without repetition; `all` means every name.
fn named<'a>(key: &str, given: &[String], names: &[&'a str]) -> Result<Vec<&'a str>> {
    let unknown = |name: &&String| !names.contains(&name.as_str()) && *name != "all";
    if let Some(bad) = given.iter().find(unknown) {
        return Err(Error::config(key, bad, format!("{}, or all", one_of(bad, names))));
    }
    let wanted = |name: &&str| given.iter().any(|given| given == name || given == "all");
    Ok(names.iter().copied().filter(wanted).collect())
}

impl LogPOptions {
    /// The lines of the table for a model; none for a model without a density, unless one is given by name.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown name, or a treatment that no density has; [`Error::Undefined`] for a density of
    /// a model without one.
    pub fn lines(&self, model: &dyn Model) -> Result<Vec<Line>> {
        let entries = model.densities();
        if entries.is_empty() {
            return match self.densities.first() {
                None => Ok(Vec::new()),
                Some(name) => {
                    let what = format!("the density `{name}`");
                    Err(Error::undefined(what, "the model of this run has no density"))
                }
            };
        }
        let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        let mut densities = named("density", &self.densities, &names)?;
        if densities.is_empty() {
            densities = names[..1].to_vec();
        }
        let mut lines = Vec::new();
        for entry in entries.iter().filter(|entry| densities.contains(&entry.name)) {
            let ways = self.ways(entry)?;
            let line = |integers| Line { density: entry.name, integers };
            lines.extend(ways.into_iter().map(line));
        }
        if lines.is_empty() {
            let found = format!("{} with {}", self.integers.join(", "), densities.join(", "));
            let chosen = entries.iter().filter(|entry| densities.contains(&entry.name));
            let known: Vec<&str> = chosen.flat_map(|e| &e.integers).map(|way| way.name()).collect();
            let has = |entry: &&DensityEntry| {
                entry.integers.iter().any(|way| self.integers.iter().any(|name| name == way.name()))
            };
            let others: Vec<&str> = entries.iter().filter(has).map(|entry| entry.name).collect();
            let expected = match (known.iter().all(|name| name.is_empty()), others.is_empty()) {
                (true, _) => "a run on integers".to_string(),
                (_, true) => format!("one of {}", distinct(&known).join(", ")),
                _ => format!(
                    "one of {}, or the density {}",
                    distinct(&known).join(", "),
                    others.join(" or ")
                ),
            };
            return Err(Error::config("dequantise", found, expected));
        }
        Ok(lines)
    }

    /// The chosen treatments of integers by a density; its default if none is chosen.
    fn ways(&self, entry: &DensityEntry) -> Result<Vec<Integers>> {
        let names = Integers::NAMES.map(|(name, _)| name);
        let wanted = named("dequantise", &self.integers, &names)?;
        if self.integers.is_empty() {
            return Ok(entry.integers.first().copied().into_iter().collect());
        }
        let there = |(name, way): (&str, Integers)| {
            (wanted.contains(&name) && entry.integers.contains(&way)).then_some(way)
        };
        Ok(Integers::NAMES.into_iter().filter_map(there).collect())
    }

    /// log p of held-out rows by each line, for the same rows.
    ///
    /// # Errors
    /// Errors of the densities.
    pub fn measure(
        &self,
        lines: &[Line],
        model: &dyn Model,
        data: &Dataset,
        at: &Setting,
    ) -> Result<Vec<LogP>> {
        if lines.is_empty() || data.held_out.is_empty() {
            return Ok(Vec::new());
        }
        let judges = self.judges(lines, model, at)?;
        let rows = self.rows(&judges, model, data);
        let held_out = data.held_out.select(&evaluation_rows(data.held_out.len(), rows));
        let truth = known(data, &held_out);
        let pairs = lines.iter().zip(&judges);
        pairs.map(|(line, judge)| measured(line, judge, model, &held_out, &truth, at)).collect()
    }

    /// The number of held-out rows that [`LogPOptions::measure`] takes.
    ///
    /// # Errors
    /// As [`Model::density`].
    pub fn count(
        &self,
        lines: &[Line],
        model: &dyn Model,
        data: &Dataset,
        at: &Setting,
    ) -> Result<usize> {
        Ok(self.rows(&self.judges(lines, model, at)?, model, data))
    }

    /// The density of each line.
    fn judges<'a>(
        &self,
        lines: &[Line],
        model: &'a dyn Model,
        at: &Setting,
    ) -> Result<Vec<Judge<'a>>> {
        let of = |line: &Line| model.density(line.density, &self.options, line.integers, at);
        lines.iter().map(of).collect()
    }

    /// The number of rows to evaluate.
    fn rows(&self, judges: &[Judge], model: &dyn Model, data: &Dataset) -> usize {
        let all = data.held_out.len();
        if let Some(rows) = self.rows {
            return rows.min(all);
        }
        let work = judges.iter().map(|judge| judge.evaluations).fold(1.0, f64::max);
        let most = MOST_WORK / (work * model.space().model_width() as f64);
        all.min((most as usize).max(LEAST_ROWS))
    }
}

/// The names in their order, without repetition and without the empty name.
fn distinct<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut all: Vec<&str> = Vec::new();
    for name in names.iter().filter(|name| !name.is_empty()) {
        if !all.contains(name) {
            all.push(name);
        }
    }
    all
}

/// log p of rows by one density, as a line of the table.
fn measured(
    line: &Line,
    judge: &Judge,
    model: &dyn Model,
    rows: &Split,
    truth: &Option<LogProb>,
    at: &Setting,
) -> Result<LogP> {
    let space = model.space();
    let mut observe = |done: usize| {
        let (what, total) = (line.density.to_string(), rows.len() as u64);
        let done = done as u64;
        (at.observe)(Task { what, unit: "rows", done, total, note: String::new() });
    };
    let log_p =
        judge.density.log_prob(rows.rows(), &rows.condition(space, at.device)?, &mut observe)?;
    let divergence = truth.as_ref().map(|truth| truth.mean_difference(&log_p)).transpose()?;
    let (mean, standard_error) = log_p.mean();
    let per_bit = 1.0 / (space.width() as f64 * std::f64::consts::LN_2);
    let bits = space.bits_per_dimension(mean);
    Ok(LogP {
        density: line.density.into(),
        how: judge.how.clone(),
        integers: line.integers,
        rows: rows.len(),
        mean,
        standard_error,
        unit: "nats".into(),
        kind: log_p.kind,
        measure: log_p.measure,
        bits_per_dimension: bits,
        bits_per_dimension_error: bits.map(|_| standard_error * per_bit),
        divergence: divergence.map(|d| d.0),
        divergence_error: divergence.map(|d| d.1),
        by_row: Some(log_p),
    })
}

/// The true log p of rows of a toy without labels; with labels the model's density is of another distribution.
fn known(data: &Dataset, rows: &Split) -> Option<LogProb> {
    let toy: Toy =
        data.name.parse().ok().filter(|_| rows.labels().is_none() && rows.given().is_none())?;
    let of = |r: &[f32]| toy.log_density([r[0].into(), r[1].into()]);
    let value = rows.rows().iter().map(of).collect();
    Some(LogProb { value, kind: Kind::Exact, standard_error: None, measure: Measure::Raw })
}

/// The heading of a table of log p: the number of rows, and the measure.
pub fn heading(found: &LogP) -> String {
    format!("log p of {} held-out rows, {}", found.rows, found.measure.words())
}

/// A line for each density and the headings, without empty columns.
pub fn table(found: &[LogP]) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let pair = |value: Option<f64>, error: Option<f64>| {
        let both = value.zip(error);
        both.map_or(String::new(), |(value, error)| format!("{value:.4} ± {error:.4}"))
    };
    let row = |p: &LogP| {
        vec![
            p.density.to_string(),
            p.how.clone(),
            p.integers.name().to_string(),
            p.kind_name(),
            pair(Some(p.mean), Some(p.standard_error)),
            pair(p.bits_per_dimension, p.bits_per_dimension_error),
            pair(p.divergence, p.divergence_error),
        ]
    };
    let headings = [
        "density",
        "how",
        "integers",
        "kind",
        "nats a row",
        "bits per dimension",
        "KL(data ‖ model)",
    ];
    filled(&headings, found.iter().map(row).collect())
}

/// A table without its empty columns.
pub(super) fn filled<H: Clone>(
    headings: &[H],
    rows: Vec<Vec<String>>,
) -> (Vec<H>, Vec<Vec<String>>) {
    let kept: Vec<usize> =
        (0..headings.len()).filter(|&j| rows.iter().any(|row| !row[j].is_empty())).collect();
    let headings = kept.iter().map(|&j| headings[j].clone()).collect();
    let cut = |row: &Vec<String>| kept.iter().map(|&j| row[j].clone()).collect();
    (headings, rows.iter().map(cut).collect())
}
