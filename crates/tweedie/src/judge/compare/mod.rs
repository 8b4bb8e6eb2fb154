//! Comparison of runs on the same data: log p of the same rows, the quality of samples, and what both cost.

mod page;
mod plots;
mod tables;
mod words;

pub use page::{page, pictures};

use super::reference::{Floor, Reference};
use super::samples::generate;
use super::{LogP, LogPOptions};
use crate::data::{Dataset, Layout, Part, Split};
use crate::density::LogProb;
use crate::family::plane::{Window, judged};
use crate::family::{Integers, Model, Setting};
use crate::metric::judge::Score;
use crate::metric::{Classifier, features};
use crate::run::{Run, RunInfo};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Instant;
use toml::{Table, Value};

/// The metrics in tables and plots, by name; the JSON has all metrics.
const SHOWN: [&str; 12] = [
    "Fréchet distance",
    "kernel distance",
    "precision",
    "recall",
    "1-NN accuracy, real",
    "1-NN accuracy, generated",
    "W2",
    "sliced W2",
    "energy distance",
    "MMD²",
    "label accuracy",
    "label agreement",
];

/// The swept key that is drawn as network evaluations.
const STEPS: &str = "steps";

/// The share of the data's extent that a picture of densities reaches beyond them.
const MARGIN: f64 = 0.15;

/// The cells of a picture of a density in either direction where a row takes many evaluations of a network.
const COARSE: usize = 48;

/// The most evaluations of a row that are not many.
const FEW: f64 = 4.0;

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
    /// Whether densities in the plane are computed, for a page.
    pub densities: bool,
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
    /// The most memory of the process that trained, in MB (10⁶ bytes), where it was measured.
    #[serde(default)]
    pub peak_memory_mb: Option<f64>,
    /// log p of the rows, if the model has a density and the rows are not skipped as pictures.
    pub log_p: Option<LogP>,
    /// The density on a grid in the plane, for the page; it is not part of the JSON.
    #[serde(skip)]
    pub density: Option<Vec<f64>>,
}

/// The difference of log p between two runs on the same rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The folder of the first run.
    pub run: String,
    /// The folder of the other run.
    pub other: String,
    /// The mean over the rows of log p by the first run − log p by the other, in nats a row.
    pub mean: f64,
    /// The standard error of the mean, for rows as a random sample.
    pub standard_error: f64,
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
    /// The differences of log p of each run and those after it.
    #[serde(default)]
    pub differences: Vec<Difference>,
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
        let entrants = runs.iter().map(|run| Entrant::open(run, at)).collect::<Result<Vec<_>>>()?;
        let log_p = self.log_p(&entrants, data, at)?;
        let (mut points, mut contenders) = (Vec::new(), Vec::new());
        for (entrant, log_p) in entrants.iter().zip(log_p) {
            let Entrant { run, model, name, .. } = entrant;
            for value in self.sweep(&**model, at)? {
                let point = self.point(&**model, value, &reference, at)?;
                points.push(Point { run: name.clone(), ..point });
            }
            let cost = run.cost()?;
            contenders.push(Contender {
                run: name.clone(),
                family: run.info.recipe.plan.family().into(),
                step: entrant.step,
                parameters: entrant.parameters,
                training_seconds: cost.map(|cost| cost.seconds),
                peak_memory_mb: cost.and_then(|cost| cost.peak_memory_mb),
                log_p,
                density: self.density(entrant, data, at)?,
            });
        }
        let compared = ComparisonResult {
            data: reference.data.name.clone(),
            part: (reference.floor != Floor::Exact).then_some(self.part),
            floor: reference.floor.name().into(),
            samples: self.n,
            key: self.sweep.0.into(),
            differences: differences(&contenders)?,
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

    /// log p of the same rows by the first density of each model that has one: as many rows as the slowest one takes.
    fn log_p(
        &self,
        entrants: &[Entrant],
        data: &Dataset,
        at: &Setting,
    ) -> Result<Vec<Option<LogP>>> {
        let picture = matches!(data.space.layout(), Layout::Image { .. });
        if self.log_p_rows == Some(0) || self.log_p_rows.is_none() && picture {
            return Ok(vec![None; entrants.len()]);
        }
        let mut asked = LogPOptions { rows: self.log_p_rows, ..LogPOptions::default() };
        let mut least = data.held_out.len();
        for Entrant { model, .. } in entrants {
            let lines = asked.lines(&**model)?;
            least = least.min(asked.count(&lines, &**model, data, at)?);
        }
        asked.rows = Some(least);
        let of = |entrant: &Entrant| {
            let model = &*entrant.model;
            Ok(asked.measure(&asked.lines(model)?, model, data, at)?.into_iter().next())
        };
        entrants.iter().map(of).collect()
    }

    /// The density of a model by its first density on a grid in the plane; none if it has no density or rows are not
    /// points of real columns in the plane.
    fn density(&self, entrant: &Entrant, data: &Dataset, at: &Setting) -> Result<Option<Vec<f64>>> {
        let model = &*entrant.model;
        let window = plane(data);
        let (Some(window), Some(first), true) =
            (window, model.densities().into_iter().next(), self.densities)
        else {
            return Ok(None);
        };
        let integers = first.integers.first().copied().unwrap_or(Integers::None);
        let judge = model.density(first.name, &Table::new(), integers, at)?;
        let window = if judge.evaluations > FEW { window.divided(COARSE) } else { window };
        judged(&judge, &window.rows()?, &entrant.run.info.train.classes).map(Some)
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

/// A run with its model.
struct Entrant<'a> {
    run: &'a Run,
    model: Box<dyn Model>,
    /// The run's folder.
    name: String,
    /// The step of the checkpoint, if training has not finished.
    step: Option<u64>,
    parameters: usize,
}

impl<'a> Entrant<'a> {
    fn open(run: &'a Run, at: &Setting) -> Result<Self> {
        let (weights, origin, step) = run.weights_so_far()?;
        let model = run.model_with(&weights, &origin, at.device)?;
        let parameters = weights.values().map(|data| data.num_elements()).sum();
        Ok(Self { run, model, name: run.folder().display().to_string(), step, parameters })
    }
}

/// The rectangle of pictures of densities; none unless rows are points of real columns in the plane.
fn plane(data: &Dataset) -> Option<Window> {
    Window::around(data.train.rows(), &data.space, MARGIN, "a picture of densities").ok()
}

/// The differences of log p of each run and those after it.
///
/// # Errors
/// [`Error::File`] if two are against different measures, which cannot be compared.
fn differences(runs: &[Contender]) -> Result<Vec<Difference>> {
    let known = |run: &Contender| Some((run.run.clone(), run.log_p.as_ref()?.by_row.clone()?));
    let known: Vec<(String, LogProb)> = runs.iter().filter_map(known).collect();
    let mut all = Vec::new();
    for (i, (run, log_p)) in known.iter().enumerate() {
        for (other, theirs) in &known[i + 1..] {
            if log_p.measure != theirs.measure {
                let (found, own) = (theirs.measure.words(), log_p.measure.words());
                let expected = format!("{own}, as by {run}; `--log-p-rows 0` leaves log p out");
                return Err(Error::file(other, "log p", found, expected));
            }
            let (mean, standard_error) = log_p.mean_difference(theirs)?;
            let (run, other) = (run.clone(), other.clone());
            all.push(Difference { run, other, mean, standard_error });
        }
    }
    Ok(all)
}

/// What differs between the data of two runs, in words: none if they learnt from the same rows in the same space.
fn other_data(found: &RunInfo, own: &RunInfo) -> Option<String> {
    let labels = |info: &RunInfo| [info.train.classes.clone(), info.held_out.classes.clone()];
    let differs = [
        (found.held_out.hash != own.held_out.hash, "other held-out rows"),
        (found.train.hash != own.train.hash, "other training rows"),
        (found.validation != own.validation, "another choice of validation rows"),
        (labels(found) != labels(own), "other labels"),
        (found.space != own.space, "columns with other units, kinds or encodings"),
    ];
    let what: Vec<&str> = differs.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
    (!what.is_empty()).then(|| format!("{}: {}", found.data, what.join(", ")))
}

/// The training data of all runs, which must be the same.
fn same_data(runs: &[Run], paths: &[PathBuf]) -> Result<Dataset> {
    let Some((first, rest)) = runs.split_first() else {
        return Err(Error::config("runs", "none", "at least one run"));
    };
    let data = first.data()?;
    for (run, path) in rest.iter().zip(&paths[1..]) {
        if let Some(problem) = other_data(&run.info, &first.info) {
            let expected = format!("the data of {}: {}", paths[0].display(), first.info.data);
            return Err(Error::file(path.join("run.json"), "data", problem, expected));
        }
    }
    Ok(data)
}
