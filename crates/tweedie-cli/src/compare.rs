//! `tweedie compare`: runs on the same data beside each other, quality against network evaluations.

use crate::report::generate;
use crate::sample::Sampling;
use crate::{Settings, output};
use serde::Serialize;
use std::path::PathBuf;
use tweedie::data::{Dataset, Split};
use tweedie::metric::Classifier;
use tweedie::metric::features;
use tweedie::metric::judge::{Score, judge};
use tweedie::show::{Plot, Report, picture, png_bytes};
use tweedie::train::Run;
use tweedie::{Error, Result};

/// The metrics that are shown, by name, the first that there is plotted; all are in the JSON.
const SHOWN: [&str; 5] =
    ["Fréchet distance", "label accuracy", "sliced W2", "energy distance", "label agreement"];

/// A metric whose values differ by more than this factor is plotted on a logarithmic axis.
const WIDE: f64 = 10.0;

/// Options of `tweedie compare`.
#[derive(clap::Args)]
pub struct Options {
    /// The run directories, of runs on the same data.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    asked: Asked,
    /// Write a report with the table, a plot of each metric and each run's samples to this file.
    #[arg(short, long, value_name = "FILE.html")]
    output: Option<PathBuf>,
}

/// How runs are compared.
#[derive(clap::Args)]
pub struct Asked {
    /// Steps of the samplers, the last denoising included: several numbers, with commas.
    #[arg(
        long,
        value_delimiter = ',',
        default_values_t = [5, 10, 20, 50],
        allow_negative_numbers = true,
        value_parser = crate::whole::<usize>
    )]
    steps: Vec<usize>,
    /// How many samples of each run at each number of steps.
    #[arg(short, default_value_t = 500, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    n: u64,
    /// The weight of classifier-free guidance in place of each recipe's; 1 is none.
    #[arg(long, allow_negative_numbers = true)]
    guidance: Option<f64>,
    /// Judge pictures by the features of the classifier that this file describes, too.
    #[arg(long, value_name = "FILE.toml")]
    features: Option<PathBuf>,
    /// The classifier's weights, where they are not as its file says.
    #[arg(long, value_name = "FILE.safetensors", requires = "features")]
    weights: Option<PathBuf>,
    /// The seed of samples.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    seed: u64,
}

/// One run at one number of steps.
#[derive(Serialize)]
pub struct Point {
    pub run: String,
    solver: String,
    steps: usize,
    /// Network evaluations a sample.
    pub evaluations: f64,
    scores: Vec<Score>,
    #[serde(skip)]
    pub samples: Split,
}

/// What was compared.
#[derive(Serialize)]
pub struct Compared {
    data: String,
    pub samples: u64,
    pub points: Vec<Point>,
    report: Option<String>,
}

/// Compares runs.
pub fn run(options: &Options, settings: &Settings) -> Result<()> {
    options.asked.check()?;
    if let Some(path) =
        options.output.as_deref().filter(|p| p.extension().is_none_or(|e| e != "html"))
    {
        let expected = "a file that ends in .html";
        return Err(Error::config("--output", path.display().to_string(), expected));
    }
    let (mut compared, data) = options.asked.compare(&options.runs, settings)?;
    if let Some(path) = options.output.as_deref() {
        report_on(&compared, &data)?.save(path)?;
        compared.report = Some(path.display().to_string());
    }
    if settings.json {
        output::json(&compared);
    } else {
        print(&compared);
    }
    Ok(())
}

impl Asked {
    /// Fails, naming the option, unless every number makes sense.
    pub fn check(&self) -> Result<()> {
        if self.n < 2 || self.n > 1 << 20 {
            let expected = format!("from 2 to {}", 1 << 20);
            return Err(Error::config("-n", self.n.to_string(), expected));
        }
        Ok(())
    }

    /// Compares the runs in these folders, and gives the data that they share.
    pub fn compare(&self, paths: &[PathBuf], settings: &Settings) -> Result<(Compared, Dataset)> {
        let runs = paths.iter().map(|path| Run::open(path)).collect::<Result<Vec<_>>>()?;
        let data = same_data(&runs, paths)?;
        let classifier = self.features.as_deref().map(|path| {
            let found = Classifier::open(path, self.weights.as_deref(), &settings.device)?;
            found.features(&data.train.rows().slice(0..0), &data.space)?;
            Ok::<_, Error>(found)
        });
        let classifier = classifier.transpose()?;
        let mut points = Vec::new();
        for (run, path) in runs.iter().zip(paths) {
            for &steps in &self.steps {
                let mut point = self.point(run, steps, &data, classifier.as_ref(), settings)?;
                point.run = path.display().to_string();
                points.push(point);
            }
        }
        let name = data.name.clone();
        Ok((Compared { data: name, samples: self.n, points, report: None }, data))
    }

    fn point(
        &self,
        run: &Run,
        steps: usize,
        data: &Dataset,
        classifier: Option<&Classifier>,
        settings: &Settings,
    ) -> Result<Point> {
        let sampling =
            Sampling { steps: Some(steps), guidance: self.guidance, ..Sampling::default() };
        let sampler = sampling.sampler(run, settings)?;
        let before = sampler.evaluations();
        let samples = generate(run, &sampler, self.n, &data.held_out, self.seed, settings)?;
        let evaluations = (sampler.evaluations() - before) as f64 / self.n as f64;
        let mut scores = judge(&samples, data, 0)?;
        if let Some(classifier) = classifier {
            scores.extend(
                features::judge(&samples, data, classifier)?.into_iter().flat_map(|f| f.scores),
            );
        }
        let solver = serde_json::to_value(run.info.recipe.sampling.solver).unwrap_or_default();
        let solver = solver["name"].as_str().unwrap_or_default().to_string();
        Ok(Point { run: String::new(), solver, steps, evaluations, scores, samples })
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

fn print(compared: &Compared) {
    let (headings, rows) = compared.table();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    output::table(&headings, &rows);
    output::line(&format!(
        "\n{} samples each, against held-out rows of {}",
        compared.samples, compared.data
    ));
    if let Some(path) = &compared.report {
        output::line(&format!("report  {path}"));
    }
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

fn report_on(compared: &Compared, data: &Dataset) -> Result<Report> {
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
