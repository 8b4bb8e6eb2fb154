//! The tables of a comparison: of models, of the differences of their log p, and of samples.

use super::{ComparisonResult, Contender, Point, SHOWN, STEPS};
use crate::judge::densities::filled;
use crate::metric::judge::Score;
use toml::Value;

/// The headings of a table, and its lines.
pub type Lines = (Vec<String>, Vec<Vec<String>>);

/// The metric `name` of a point.
pub(super) fn score<'a>(point: &'a Point, name: &str) -> Option<&'a Score> {
    point.scores.iter().find(|score| score.name == name)
}

/// A time in seconds or minutes.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.1} s"),
        s => format!("{:.1} min", s / 60.0),
    }
}

/// A value with its standard error.
fn with_error(value: f64, error: f64, digits: usize) -> String {
    format!("{value:.digits$} ± {error:.digits$}")
}

/// The cells of a line of models.
fn model(label: &str, run: &Contender) -> Vec<String> {
    let log_p = run.log_p.as_ref();
    let pair = |of: Option<(f64, f64)>| of.map_or(String::new(), |(v, e)| with_error(v, e, 3));
    vec![
        label.to_string(),
        run.family.to_string(),
        pair(log_p.map(|p| (p.mean, p.standard_error))),
        log_p.map_or(String::new(), |p| p.kind_name()),
        pair(log_p.and_then(|p| p.bits_per_dimension.zip(p.bits_per_dimension_error))),
        pair(log_p.and_then(|p| p.divergence.zip(p.divergence_error))),
        run.parameters.to_string(),
        run.training_seconds.map_or(String::new(), duration),
        run.peak_memory_mb.map_or(String::new(), |mb| format!("{mb:.0} MB")),
    ]
}

impl ComparisonResult {
    /// The name of a run in tables and plots: its folder without the folders that all runs share.
    pub fn label<'a>(&self, run: &'a str) -> &'a str {
        let shared = |a: &str, b: &str| {
            let pairs = a.char_indices().zip(b.chars());
            let same = pairs.take_while(|((_, a), b)| a == b).last();
            same.map_or(0, |((at, letter), _)| at + letter.len_utf8())
        };
        let first = self.runs.first().map_or("", |first| &first.run);
        let length = self.runs.iter().map(|other| shared(first, &other.run)).min().unwrap_or(0);
        let folder = first[..length].rfind(['/', '\\']).map_or(0, |at| at + 1);
        run.get(folder..).unwrap_or(run)
    }

    /// A line for each run: its log p, what it cost to train, its size.
    pub fn models(&self) -> Lines {
        let headings = [
            "run",
            "family",
            "log p, nats a row",
            "kind",
            "bits per dimension",
            "KL(data ‖ model)",
            "parameters",
            "training",
            "peak memory",
        ];
        let rows = self.runs.iter().map(|run| model(self.label(&run.run), run)).collect();
        filled(&headings.map(String::from), rows)
    }

    /// The mean difference of log p on the same rows, of the run of a line less the run of a column; none unless two
    /// runs have log p.
    pub fn log_p_differences(&self) -> Option<Lines> {
        if self.differences.is_empty() {
            return None;
        }
        let known: Vec<&str> =
            self.runs.iter().filter(|r| r.log_p.is_some()).map(|r| r.run.as_str()).collect();
        let cell = |run: &str, other: &str| {
            let found = self.differences.iter().find_map(|d| match (&d.run, &d.other) {
                (a, b) if (&a[..], &b[..]) == (run, other) => Some((d.mean, d.standard_error)),
                (a, b) if (&a[..], &b[..]) == (other, run) => Some((-d.mean, d.standard_error)),
                _ => None,
            });
            found.map_or(String::new(), |(mean, error)| with_error(mean, error, 3))
        };
        let line = |run: &&str| {
            let cells = known.iter().map(|other| match run == other {
                true => "–".to_string(),
                false => cell(run, other),
            });
            [self.label(run).to_string()].into_iter().chain(cells).collect()
        };
        let minus = known.iter().map(|run| format!("− {}", self.label(run)));
        Some((["run".into()].into_iter().chain(minus).collect(), known.iter().map(line).collect()))
    }

    /// The metrics to show: those that some point has.
    pub(super) fn shown(&self) -> Vec<&'static str> {
        let has = |name: &&str| self.points.iter().any(|p| score(p, name).is_some());
        SHOWN.into_iter().filter(has).collect()
    }

    /// A line of metrics for each point, with standard errors if `errors`, and for the floors.
    pub fn samples(&self, errors: bool) -> Lines {
        let metrics = self.shown();
        let swept = self.key != STEPS && self.points.iter().any(|point| point.value.is_some());
        let mut headings = ["run", "solver", "evaluations", "samples/s"].map(String::from).to_vec();
        headings.extend(swept.then(|| self.key.clone()));
        let before = headings.len();
        headings.extend(metrics.iter().map(|name| name.to_string()));
        let cell = |score: Option<&Score>| match score.map(|s| (s.value, s.standard_error)) {
            None => String::new(),
            Some((value, Some(error))) if errors => with_error(value, error, 4),
            Some((value, _)) => format!("{value:.4}"),
        };
        let mut rows: Vec<Vec<String>> = Vec::new();
        for point in &self.points {
            let mut row = vec![
                self.label(&point.run).to_string(),
                point.solver.clone(),
                format!("{:.0}", point.evaluations),
                format!("{:.0}", point.samples_per_second),
            ];
            let value = point.value.as_ref().map_or(String::new(), Value::to_string);
            row.extend(swept.then_some(value));
            row.extend(metrics.iter().map(|name| cell(score(point, name))));
            rows.push(row);
        }
        if let Some(point) = self.points.first() {
            let floor = |name: &&str| score(point, name)?.floor.map(|v| format!("{v:.4}"));
            let mut row = vec![String::new(); before];
            row[0] = self.floor.to_string();
            row.extend(metrics.iter().map(|name| floor(name).unwrap_or_default()));
            rows.push(row);
        }
        (headings, rows)
    }
}
