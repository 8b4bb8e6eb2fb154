//! Comparison of runs on the same data: quality of samples against network evaluations.

use super::reference::{Floor, Reference};
use super::samples::generate;
use super::{LogP, LogPOptions};
use crate::data::{Dataset, Layout, Part, Split};
use crate::draw::{Plot, Report, picture, png_bytes};
use crate::family::{Model, Setting};
use crate::metric::judge::Score;
use crate::metric::{Classifier, features};
use crate::run::Run;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Instant;
use toml::{Table, Value};

/// The metrics in tables and plots, by name; the JSON has all metrics.
const SHOWN: [&str; 5] =
    ["Fréchet distance", "label accuracy", "sliced W2", "energy distance", "label agreement"];

/// The swept key that is drawn as network evaluations.
const STEPS: &str = "steps";

/// A metric whose values differ by more than this factor is plotted on a logarithmic axis.
const WIDE: f64 = 10.0;

/// Options of a comparison.
pub struct Comparison<'a> {
    /// A swept key of `sampling` and its values, such as numbers of `steps`; a run whose sampling lacks the key is a
    /// single point.
    pub sweep: (&'a str, &'a [Value]),
    /// Overrides of each run's `sampling` table.
    pub sampling: &'a Table,
    /// The number of samples of each run for each value.
    pub n: u64,
    /// The part of the data that samples are compared with, for runs on data.
    pub part: Part,
    /// A classifier whose features serve further metrics of pictures.
    pub classifier: Option<&'a Classifier>,
    /// The number of rows that log p by each run's first density is computed for. If absent, all rows where that is
    /// quick, else random ones, and none for pictures.
    pub log_p_rows: Option<usize>,
}

/// A run of a comparison.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Contender {
    /// The run's folder.
    pub run: String,
    /// The run's family.
    pub family: Cow<'static, str>,
    /// The step of the checkpoint, if training has not finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// The number of parameters.
    pub parameters: usize,
    /// Seconds of training, where they were measured.
    pub training_seconds: Option<f64>,
    /// log p of the rows, if the model has a density and the rows are not skipped as pictures.
    pub log_p: Option<LogP>,
}

/// A run with one value of the swept key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Point {
    /// The run's folder.
    pub run: String,
    /// The solver, or another name of the generator.
    pub solver: String,
    /// The value of the swept key, if the run's sampling has the key.
    pub value: Option<Value>,
    /// The network evaluations per sample.
    pub evaluations: f64,
    /// The samples per second on this machine.
    pub samples_per_second: f64,
    /// Metrics of the samples.
    pub scores: Vec<Score>,
    /// The samples; they are not part of the JSON.
    #[serde(skip)]
    pub samples: Option<Split>,
}

/// The result of a comparison of runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ComparisonResult {
    /// The name of the training data, or of the target, of all runs.
    pub data: String,
    /// The part of the data that samples are compared with; none for exact draws of a target.
    pub part: Option<Part>,
    /// The name of the rows of the floors.
    pub floor: Cow<'static, str>,
    /// The number of samples of each point; a run with fewer gives all.
    pub samples: u64,
    /// The swept key of `sampling`.
    pub key: String,
    /// The runs.
    pub runs: Vec<Contender>,
    /// The points, run by run.
    pub points: Vec<Point>,
    /// The path of the report, if one was written.
    pub report: Option<String>,
}

impl Comparison<'_> {
    /// Compares runs; returns the result and the reference rows.
    ///
    /// # Errors
    /// [`Error::File`] if the runs were trained on different data, or have different targets; errors of sampling and of
    /// the metrics.
    pub fn compare(&self, runs: &[Run], at: &Setting) -> Result<(ComparisonResult, Reference)> {
        let paths: Vec<PathBuf> = runs.iter().map(|run| run.folder().to_path_buf()).collect();
        let reference = self.shared(runs, &paths, at)?;
        let data = &reference.data;
        if data.held_out.len() < 2 {
            let problem = format!("{} rows to judge by", data.held_out.len());
            return Err(Error::file(&paths[0], "data", problem, "at least two"));
        }
        let (mut points, mut contenders) = (Vec::new(), Vec::new());
        for (run, path) in runs.iter().zip(&paths) {
            let (weights, origin, step) = run.weights_so_far()?;
            let model = run.model_with(&weights, &origin, at.device)?;
            let name = path.display().to_string();
            for value in self.sweep(&*model, at)? {
                let point = self.point(&*model, value, &reference, at)?;
                points.push(Point { run: name.clone(), ..point });
            }
            contenders.push(Contender {
                run: name,
                family: run.info.recipe.plan.family().into(),
                step,
                parameters: weights.values().map(|data| data.num_elements()).sum(),
                training_seconds: run.training_seconds()?,
                log_p: self.log_p(&*model, data, at)?,
            });
        }
        let compared = ComparisonResult {
            data: reference.data.name.clone(),
            part: (reference.floor != Floor::Exact).then_some(self.part),
            floor: reference.floor.name().into(),
            samples: self.n,
            key: self.sweep.0.into(),
            runs: contenders,
            points,
            report: None,
        };
        Ok((compared, reference))
    }

    /// The reference rows of all runs: their data, or exact draws of their target.
    fn shared(&self, runs: &[Run], paths: &[PathBuf], at: &Setting) -> Result<Reference> {
        match runs.first() {
            Some(first) if first.learns_without_data() => self.same_target(runs, paths, at),
            _ => {
                let data = same_data(runs, paths)?.judged_on(self.part);
                let target = runs.iter().find_map(|run| run.info.recipe.evaluation.target.clone());
                Ok(Reference { data, floor: Floor::Training, target })
            }
        }
    }

    /// Exact draws of the target of all runs.
    fn same_target(&self, runs: &[Run], paths: &[PathBuf], at: &Setting) -> Result<Reference> {
        let mut shared: Option<Reference> = None;
        for (run, path) in runs.iter().zip(paths) {
            let own = Reference::exact(&*run.model_so_far(at.device)?.0, self.n, at)?.ok_or_else(
                || {
                    let what = format!("a comparison with {}", path.display());
                    Error::undefined(what, "its target has no exact draws to judge by")
                },
            )?;
            match &shared {
                None => shared = Some(own),
                // Equal targets have equal draws for the same seed.
                Some(first) if first.data.held_out == own.data.held_out => {}
                Some(_) => {
                    let expected = format!("the target of {}", paths[0].display());
                    return Err(Error::file(path.join("run.json"), "target", "another", expected));
                }
            }
        }
        shared.ok_or_else(|| Error::config("runs", "none", "at least one run"))
    }

    /// log p of the rows by the model's first density, if it has one.
    fn log_p(&self, model: &dyn Model, data: &Dataset, at: &Setting) -> Result<Option<LogP>> {
        let picture = matches!(model.space().layout(), Layout::Image { .. });
        if self.log_p_rows == Some(0) || self.log_p_rows.is_none() && picture {
            return Ok(None);
        }
        let asked = LogPOptions { rows: self.log_p_rows, ..LogPOptions::default() };
        let lines = asked.lines(model)?;
        Ok(asked.measure(&lines, model, data, at)?.into_iter().next())
    }

    /// The overrides of a run's sampling with a value of the swept key.
    fn sampling(&self, value: Option<&Value>) -> Table {
        let mut table = self.sampling.clone();
        table.extend(value.map(|value| (self.sweep.0.to_string(), value.clone())));
        table
    }

    /// The values of a model's points: none, once, if its sampling lacks the key.
    fn sweep(&self, model: &dyn Model, at: &Setting) -> Result<Vec<Option<&Value>>> {
        let Some(first) = self.sweep.1.first() else { return Ok(vec![None]) };
        match model.generator(&self.sampling(Some(first)), at) {
            Err(Error::Config { key, problem, .. })
                if key == self.sweep.0 && problem == "unknown key" =>
            {
                Ok(vec![None])
            }
            Err(error) => Err(error),
            Ok(_) => Ok(self.sweep.1.iter().map(Some).collect()),
        }
    }

    fn point(
        &self,
        model: &dyn Model,
        value: Option<&Value>,
        reference: &Reference,
        at: &Setting,
    ) -> Result<Point> {
        let data = &reference.data;
        let generator = model.generator(&self.sampling(value), at)?;
        let started = Instant::now();
        let samples = generate(model, &*generator, self.n, Some(&data.held_out), at)?;
        let n = samples.len() as f64;
        let samples_per_second = n / started.elapsed().as_secs_f64();
        let mut scores = model.diagnostics()?;
        scores.extend(reference.scores(&samples)?);
        if let Some(classifier) = self.classifier {
            let by_features = features::judge(&samples, data, classifier)?;
            scores.extend(by_features.into_iter().flat_map(|found| found.scores));
        }
        Ok(Point {
            run: String::new(),
            solver: generator.name(),
            value: value.cloned(),
            evaluations: generator.network_evaluations() as f64 / n,
            samples_per_second,
            scores,
            samples: Some(samples),
        })
    }
}

/// The training data of all runs, which must be the same.
fn same_data(runs: &[Run], paths: &[PathBuf]) -> Result<Dataset> {
    let Some((first, rest)) = runs.split_first() else {
        return Err(Error::config("runs", "none", "at least one run"));
    };
    let data = first.data()?;
    for (run, path) in rest.iter().zip(&paths[1..]) {
        let (found, own) = (&run.info, &first.info);
        if [&found.held_out, &found.train] != [&own.held_out, &own.train]
            || (found.validation, &found.space) != (own.validation, &own.space)
        {
            let problem = format!("trained on {}, other rows or another split", found.data);
            let expected = format!("the data of {}: {}", paths[0].display(), own.data);
            return Err(Error::file(path.join("run.json"), "data", problem, expected));
        }
    }
    Ok(data)
}

fn score<'a>(point: &'a Point, name: &str) -> Option<&'a Score> {
    point.scores.iter().find(|score| score.name == name)
}

/// A time in seconds or minutes.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.1} s"),
        s => format!("{:.1} min", s / 60.0),
    }
}

impl ComparisonResult {
    /// The metrics to show: those that some point has.
    fn shown(&self) -> Vec<&'static str> {
        let has = |name: &&str| self.points.iter().any(|p| score(p, name).is_some());
        SHOWN.into_iter().filter(has).collect()
    }

    /// The headings, and a line for each point and for the floors.
    pub fn table(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let metrics = self.shown();
        let swept = self.key != STEPS && self.points.iter().any(|point| point.value.is_some());
        let mut headings: Vec<String> = [
            "run",
            "family",
            "parameters",
            "training",
            "log p",
            "solver",
            "evaluations",
            "samples/s",
        ]
        .map(String::from)
        .to_vec();
        headings.extend(swept.then(|| self.key.clone()));
        let before = headings.len();
        headings.extend(metrics.iter().map(|name| name.to_string()));
        let number = |v: f64| format!("{v:.4}");
        let cell = |score: Option<&Score>| score.map_or(String::new(), |s| number(s.value));
        let mut rows: Vec<Vec<String>> = Vec::new();
        for point in &self.points {
            let run = self.runs.iter().find(|run| run.run == point.run);
            let log_p = run.and_then(|run| run.log_p.as_ref());
            let mut row = vec![
                point.run.clone(),
                run.map_or(String::new(), |run| run.family.to_string()),
                run.map_or(String::new(), |run| run.parameters.to_string()),
                run.and_then(|run| run.training_seconds).map_or(String::new(), duration),
                log_p.map_or(String::new(), |p| {
                    format!("{:.3} ± {:.3} {}", p.mean, p.standard_error, p.kind_name())
                }),
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
            let floor = |name: &&str| score(point, name)?.floor.map(number);
            let mut row = vec![String::new(); before];
            row[0] = self.floor.to_string();
            row.extend(metrics.iter().map(|name| floor(name).unwrap_or_default()));
            rows.push(row);
        }
        (headings, rows)
    }

    /// The points of each run, in the order of the runs.
    pub fn by_run(&self) -> Vec<&[Point]> {
        self.points.chunk_by(|a, b| a.run == b.run).collect()
    }

    /// The plots of each metric against evaluations, with a line for each run and for the floors; empty if samples need
    /// no evaluations.
    pub fn plots(&self) -> Vec<(&'static str, Plot)> {
        if self.points.iter().all(|point| point.evaluations == 0.0) {
            return Vec::new();
        }
        self.shown().into_iter().map(|name| (name, self.plot(name))).collect()
    }

    /// The position of a point on the horizontal axis: its evaluations, or its value of the swept key if that is not
    /// `steps`.
    fn place(&self, point: &Point) -> Option<f64> {
        match &point.value {
            _ if self.key == STEPS => Some(point.evaluations),
            Some(Value::Integer(value)) => Some(*value as f64),
            Some(Value::Float(value)) => Some(*value),
            _ => None,
        }
    }

    fn plot(&self, name: &str) -> Plot {
        let by_steps = self.key == STEPS;
        let what = if by_steps { "network evaluations a sample" } else { &self.key };
        let mut plot = Plot::new(name).x_name(what).y_name(name);
        if by_steps && self.points.iter().all(|point| point.evaluations > 0.0) {
            plot = plot.log_x();
        }
        let values = self.points.iter().filter_map(|p| score(p, name)).map(|score| score.value);
        let (least, most) = values.fold((f64::INFINITY, 0.0f64), |(l, m), v| (l.min(v), m.max(v)));
        if least > 0.0 && most > WIDE * least {
            plot = plot.log_y();
        }
        for points in self.by_run() {
            let marked = points.iter().filter_map(|p| {
                let score = score(p, name)?;
                Some((self.place(p)?, score.value, 2.0 * score.standard_error.unwrap_or(0.0)))
            });
            let label = points.first().map_or("", |p| p.run.as_str());
            plot = plot.line_with_errors(label, &marked.collect::<Vec<_>>());
        }
        let floor = self.points.first().and_then(|p| score(p, name)?.floor);
        let ends = self.points.iter().filter_map(|p| self.place(p));
        let (low, high) = ends.fold((f64::INFINITY, 0.0f64), |(l, h), e| (l.min(e), h.max(e)));
        match floor {
            Some(floor) if low < high => plot.line(&self.floor, &[(low, floor), (high, floor)]),
            _ => plot,
        }
    }
}

/// A page with the table, a plot of each metric and each run's samples.
///
/// # Errors
/// Errors of drawing.
pub fn page(compared: &ComparisonResult, data: &Dataset) -> Result<Report> {
    let mut report = Report::new(&format!("tweedie: runs on {}", data.name));
    let rows = compared.part.map_or("exact draws".into(), |part| format!("{} rows", part.name()));
    report.paragraph(&format!(
        "{} samples of each run at each value of {}, against {} {rows}; {} in their place for comparison. Bars are two \
         standard errors.",
        compared.samples,
        compared.key,
        data.held_out.len(),
        compared.floor,
    ));
    let (headings, rows) = compared.table();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    report.table(&headings, &rows)?;
    let plots = compared.plots();
    if !plots.is_empty() {
        report.heading(match compared.key.as_str() {
            STEPS => "Quality against evaluations",
            _ => "Quality",
        });
    }
    for (name, plot) in plots {
        report.picture(&png_bytes(&plot.draw()?)?, name)?;
    }
    report.heading("Samples");
    let real = png_bytes(&picture(&data.space, &data.held_out, None)?)?;
    let mut pictures = vec![(
        real,
        if compared.part.is_some() { "held-out data" } else { "exact draws" }.to_string(),
    )];
    for last in compared.by_run().into_iter().filter_map(<[Point]>::last) {
        let Some(samples) = &last.samples else { continue };
        let drawn = picture(&data.space, samples, Some(data.held_out.rows()))?;
        let caption = format!("{}, {:.0} evaluations", last.run, last.evaluations);
        pictures.push((png_bytes(&drawn)?, caption));
    }
    let pictures: Vec<(&[u8], &str)> = pictures.iter().map(|(png, c)| (&png[..], &c[..])).collect();
    report.pictures(&pictures)?;
    Ok(report)
}
