//! Runs on the same data beside each other: quality against network evaluations.

use super::samples::generate;
use crate::data::{Dataset, Split};
use crate::draw::{Plot, Report, picture, png_bytes};
use crate::family::{Model, Setting};
use crate::metric::judge::{Score, judge};
use crate::metric::{Classifier, features};
use crate::run::Run;
use crate::{Error, Result};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;
use toml::{Table, Value};

/// The metrics that are shown, by name, the first that there is plotted; all are in the JSON.
const SHOWN: [&str; 5] =
    ["Fréchet distance", "label accuracy", "sliced W2", "energy distance", "label agreement"];

/// A metric whose values differ by more than this factor is plotted on a logarithmic axis.
const WIDE: f64 = 10.0;

/// How runs are compared.
pub struct Comparison<'a> {
    /// Numbers of steps of the samplers; a run whose sampling has no such key is one point.
    pub steps: &'a [usize],
    /// Overrides of each run's `sampling` table.
    pub sampling: &'a Table,
    /// Samples of each run at each number of steps.
    pub n: u64,
    /// A classifier whose features judge pictures, too.
    pub classifier: Option<&'a Classifier>,
}

/// One run at one number of steps.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// The run's folder.
    pub run: String,
    /// The solver, or another word for how rows are generated.
    pub solver: String,
    /// Steps of the sampler, where it has them.
    pub steps: Option<usize>,
    /// Network evaluations a sample.
    pub evaluations: f64,
    /// Samples a second on this machine.
    pub samples_per_second: f64,
    /// Metrics of the samples.
    pub scores: Vec<Score>,
    /// The samples.
    #[serde(skip)]
    pub samples: Split,
}

/// Runs beside each other.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// The data that all runs were trained on.
    pub data: String,
    /// Samples of each point.
    pub samples: u64,
    /// The points, run by run.
    pub points: Vec<Point>,
    /// The report, where one was written.
    pub report: Option<String>,
}

impl Comparison<'_> {
    /// Compares the runs in these folders, and gives the data that they share.
    ///
    /// # Errors
    /// [`Error::File`] if the runs were trained on different data; those of sampling and of the metrics.
    pub fn compare(&self, paths: &[PathBuf], at: &Setting) -> Result<(Compared, Dataset)> {
        let runs = paths.iter().map(|path| Run::open(path)).collect::<Result<Vec<_>>>()?;
        let data = same_data(&runs, paths)?;
        let mut points = Vec::new();
        for (run, path) in runs.iter().zip(paths) {
            let model = run.model(at.device)?;
            for steps in self.sweep(&*model, at)? {
                let mut point = self.point(&*model, steps, &data, at)?;
                point.run = path.display().to_string();
                points.push(point);
            }
        }
        let data_name = data.name.clone();
        Ok((Compared { data: data_name, samples: self.n, points, report: None }, data))
    }

    /// The overrides of a run's sampling with a number of steps.
    fn sampling(&self, steps: Option<usize>) -> Table {
        let mut table = self.sampling.clone();
        table.extend(steps.map(|steps| ("steps".to_string(), Value::Integer(steps as i64))));
        table
    }

    /// The numbers of steps of a model's points: one point without, where its sampling has no steps.
    fn sweep(&self, model: &dyn Model, at: &Setting) -> Result<Vec<Option<usize>>> {
        let Some(first) = self.steps.first() else { return Ok(vec![None]) };
        match model.generator(&self.sampling(Some(*first)), at) {
            Err(Error::Config { key, problem, .. })
                if key == "steps" && problem == "unknown key" =>
            {
                Ok(vec![None])
            }
            Err(error) => Err(error),
            Ok(_) => Ok(self.steps.iter().map(|steps| Some(*steps)).collect()),
        }
    }

    fn point(
        &self,
        model: &dyn Model,
        steps: Option<usize>,
        data: &Dataset,
        at: &Setting,
    ) -> Result<Point> {
        let generator = model.generator(&self.sampling(steps), at)?;
        let started = Instant::now();
        let samples = generate(model, &*generator, self.n, Some(&data.held_out), at)?;
        let samples_per_second = self.n as f64 / started.elapsed().as_secs_f64();
        let mut scores = judge(&samples, data, 0)?;
        if let Some(classifier) = self.classifier {
            let by_features = features::judge(&samples, data, classifier)?;
            scores.extend(by_features.into_iter().flat_map(|found| found.scores));
        }
        Ok(Point {
            run: String::new(),
            solver: generator.name(),
            steps,
            evaluations: generator.network_evaluations() as f64 / self.n as f64,
            samples_per_second,
            scores,
            samples,
        })
    }
}

/// The data that all runs were trained on.
fn same_data(runs: &[Run], paths: &[PathBuf]) -> Result<Dataset> {
    let Some((first, rest)) = runs.split_first() else {
        return Err(Error::config("runs", "none", "at least one run"));
    };
    let data = first.data()?;
    for (run, path) in rest.iter().zip(&paths[1..]) {
        let (found, own) = (&run.info, &first.info);
        if found.held_out != own.held_out || found.space != own.space {
            let problem = format!("trained on {}, other rows or another split", found.data);
            let expected = format!("the data of {}: {}", paths[0].display(), own.data);
            return Err(Error::file(path.join("run.json"), "data", problem, expected));
        }
    }
    if data.held_out.len() < 2 {
        let problem = format!("{} held-out rows", data.held_out.len());
        return Err(Error::file(&paths[0], "data", problem, "at least two, to judge by"));
    }
    Ok(data)
}

fn score<'a>(point: &'a Point, name: &str) -> Option<&'a Score> {
    point.scores.iter().find(|score| score.name == name)
}

impl Compared {
    /// Metrics that are shown and that some point has.
    fn shown(&self) -> Vec<&'static str> {
        let has = |name: &&str| self.points.iter().any(|p| score(p, name).is_some());
        SHOWN.into_iter().filter(has).collect()
    }

    /// A line for each point, and one for the training data, under their headings.
    pub fn table(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let metrics = self.shown();
        let mut headings: Vec<String> = ["run", "solver", "evaluations"].map(String::from).to_vec();
        headings.extend(metrics.iter().map(|name| name.to_string()));
        let number = |v: f64| format!("{v:.4}");
        let cell = |score: Option<&Score>| score.map_or(String::new(), |s| number(s.value));
        let mut rows: Vec<Vec<String>> = Vec::new();
        for point in &self.points {
            let evaluations = format!("{:.0}", point.evaluations);
            let mut row = vec![point.run.clone(), point.solver.clone(), evaluations];
            row.extend(metrics.iter().map(|name| cell(score(point, name))));
            rows.push(row);
        }
        if let Some(point) = self.points.first() {
            let floor = |name: &&str| score(point, name)?.floor.map(number);
            let mut row = vec!["training data".to_string(), String::new(), String::new()];
            row.extend(metrics.iter().map(|name| floor(name).unwrap_or_default()));
            rows.push(row);
        }
        (headings, rows)
    }

    /// The runs in the order in which they were given, each with its points.
    pub fn by_run(&self) -> Vec<&[Point]> {
        self.points.chunk_by(|a, b| a.run == b.run).collect()
    }

    /// Each metric against evaluations, a line for each run and one for the training data.
    pub fn plots(&self) -> Vec<(&'static str, Plot)> {
        self.shown().into_iter().map(|name| (name, self.plot(name))).collect()
    }

    fn plot(&self, name: &str) -> Plot {
        let mut plot = Plot::new(name).x_name("network evaluations a sample").y_name(name).log_x();
        let values = self.points.iter().filter_map(|p| score(p, name)).map(|score| score.value);
        let (least, most) = values.fold((f64::INFINITY, 0.0f64), |(l, m), v| (l.min(v), m.max(v)));
        if least > 0.0 && most > WIDE * least {
            plot = plot.log_y();
        }
        for points in self.by_run() {
            let marked = points.iter().filter_map(|p| {
                let score = score(p, name)?;
                Some((p.evaluations, score.value, 2.0 * score.standard_error.unwrap_or(0.0)))
            });
            let label = points.first().map_or("", |p| p.run.as_str());
            plot = plot.line_with_errors(label, &marked.collect::<Vec<_>>());
        }
        let floor = self.points.first().and_then(|p| score(p, name)?.floor);
        let ends = self.points.iter().map(|p| p.evaluations);
        let (low, high) = ends.fold((f64::INFINITY, 0.0f64), |(l, h), e| (l.min(e), h.max(e)));
        match floor {
            Some(floor) if low < high => plot.line("training data", &[(low, floor), (high, floor)]),
            _ => plot,
        }
    }
}

/// A page with the table, a plot of each metric and each run's samples.
///
/// # Errors
/// Those of drawing.
pub fn page(compared: &Compared, data: &Dataset) -> Result<Report> {
    let mut report = Report::new(&format!("tweedie: runs on {}", data.name));
    report.paragraph(&format!(
        "{} samples of each run at each number of steps, against {} held-out rows; training data in their place \
         for comparison. Bars are two standard errors.",
        compared.samples,
        data.held_out.len()
    ));
    let (headings, rows) = compared.table();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    report.table(&headings, &rows)?;
    report.heading("Quality against evaluations");
    for (name, plot) in compared.plots() {
        report.picture(&png_bytes(&plot.draw()?)?, name)?;
    }
    report.heading("Samples");
    let real = png_bytes(&picture(&data.space, &data.held_out, None)?)?;
    let mut pictures = vec![(real, "held-out data".to_string())];
    for last in compared.by_run().into_iter().filter_map(<[Point]>::last) {
        let drawn = picture(&data.space, &last.samples, Some(data.held_out.rows()))?;
        let caption = format!("{}, {:.0} evaluations", last.run, last.evaluations);
        pictures.push((png_bytes(&drawn)?, caption));
    }
    let pictures: Vec<(&[u8], &str)> = pictures.iter().map(|(png, c)| (&png[..], &c[..])).collect();
    report.pictures(&pictures)?;
    Ok(report)
}
