//! `tweedie evaluate`.

use crate::features as by_classifier;
use crate::rows::JudgedRows;
use crate::sample::Sampling;
use crate::{Settings, log_p, output, runs};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use tweedie::data::{Dataset, Layout, Space};
use tweedie::family::Model;
use tweedie::files::AtomicFile;
use tweedie::judge::copies::{Nearest, nearest};
use tweedie::judge::{Floor, LogP, Reference, generate, headings, score_rows};
use tweedie::metric::features::{self, FeatureScores};
use tweedie::metric::judge::Score;
use tweedie::run::Run;
use tweedie::{Error, Result};

/// Names of `--metric`.
const METRICS: [&str; 3] = ["samples", "logp", "features"];

/// Options of `tweedie evaluate`.
#[derive(clap::Args)]
pub struct Options {
    /// The run directory.
    run: PathBuf,
    /// Judge against this data source in place of the held-out rows of the run; a table needs the columns of the run.
    /// If the run's own data were moved, their present path.
    #[arg(long)]
    data: Option<String>,
    #[command(flatten)]
    split: JudgedRows,
    /// Metrics to compute: samples, logp, features; may be repeated. By default the first two, and features with a
    /// classifier; for a run that learns without data, samples, against exact draws where there are some.
    #[arg(long)]
    metric: Vec<String>,
    /// Judge pictures by the features of the classifier that this file describes (see data/classifiers): Fréchet and
    /// kernel distance, precision, recall, label accuracy.
    #[arg(long, value_name = "FILE.toml")]
    features: Option<PathBuf>,
    /// Weights of the classifier, replacing the file that its description names.
    #[arg(long, value_name = "FILE.safetensors", requires = "features")]
    weights: Option<PathBuf>,
    /// Write a picture of the samples most like copies beside the nearest training pictures, by features of the
    /// classifier if there is one, else by pixels.
    #[arg(long, value_name = "FILE.png")]
    nearest: Option<PathBuf>,
    /// Number of samples; `evaluation.samples` of the recipe by default.
    #[arg(short, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    n: Option<u64>,
    #[command(flatten)]
    sampling: Sampling,
    /// The seed of samples, dequantisation and probes.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    seed: u64,
    #[command(flatten)]
    log_p: log_p::Options,
}

/// All results.
#[derive(Serialize)]
struct Evaluation {
    run: String,
    /// The step of the checkpoint, if training has not finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u64>,
    /// Metrics of the model alone and of its samples.
    scores: Vec<Score>,
    /// The headings of a table of them.
    #[serde(skip)]
    headings: [&'static str; 7],
    features: Option<FeatureScores>,
    nearest: Option<Nearest>,
    /// The path of the picture of samples beside their nearest training pictures.
    picture: Option<String>,
    /// log p by each chosen density; empty for a model without densities.
    log_p: Vec<LogP>,
}

/// Judges a run.
pub fn run(options: &Options, settings: &Settings) -> Result<()> {
    for metric in &options.metric {
        if !METRICS.contains(&metric.as_str()) {
            let expected = tweedie::error::one_of(metric, &METRICS);
            return Err(Error::config("--metric", metric, expected));
        }
        if metric == "features" && options.features.is_none() {
            let expected = "a classifier, by --features FILE.toml";
            return Err(Error::config("--metric", "features", expected));
        }
    }
    log_p::check_count("-n", options.n, 1 << 20)?;
    options.log_p.check()?;
    let (run, moved) = options.open()?;
    let (model, step) = runs::model(&run, settings)?;
    let alone = run.learns_without_data() && options.data.is_none();
    let wants = |name: &str| match options.metric.is_empty() {
        // log p of exact draws says nothing about chains.
        true => name != "logp" || !alone,
        false => options.metric.iter().any(|m| m == name),
    };
    let asked = options.log_p.asked(run.info.recipe.evaluation.log_p_rows);
    let lines =
        if wants("logp") { asked.lines(&*model).map_err(Sampling::as_option)? } else { Vec::new() };
    let n = options.samples(&run);
    let reference = options.reference(&run, moved, &*model, settings)?;
    let reference = reference.as_ref();
    let data = reference.map(|reference| &reference.data);
    let classifier = options
        .features
        .as_deref()
        .map(|path| {
            let data = data.ok_or_else(|| without("--features"))?;
            by_classifier::open(path, options.weights.as_deref(), data, settings)
        })
        .transpose()?;
    let picture =
        options.nearest.as_deref().map(|path| picture(path, &run.info.space)).transpose()?;
    if picture.is_some() && alone {
        return Err(without("--nearest"));
    }
    let by_features = classifier.as_ref().filter(|_| wants("features"));
    let (mut scores, mut of_features, mut beside) = (Vec::new(), None, None);
    if wants("samples") || by_features.is_some() || picture.is_some() {
        let samples = settings.with(options.seed, |at| {
            let generator = model.generator(&options.sampling.table(), at);
            let generator = generator.map_err(Sampling::as_option)?;
            generate(&*model, &*generator, n, data.map(Dataset::judged), at)
        })?;
        if let (Some(mut file), Some(path), Some(data)) = (picture, &options.nearest, data) {
            let (png, found) = nearest(&samples, data, classifier.as_ref())?;
            file.write_all(&png).map_err(|e| Error::io(path, e))?;
            file.finish()?;
            beside = Some(found);
        }
        if let (Some(classifier), Some(data)) = (by_features, data) {
            of_features = features::judge(&samples, data, classifier)?;
            if of_features.is_none() {
                eprintln!("no scores by features: there are fewer than 4 pictures of a kind");
            }
        }
        if wants("samples") {
            scores = model.diagnostics()?;
            let of_samples = reference.map_or(Ok(Vec::new()), |rows| rows.scores(&samples))?;
            if of_samples.is_empty() {
                eprintln!("no scores of samples: {}", why_no_scores(data));
            }
            scores.extend(of_samples);
        }
    }
    let log_p = match data {
        Some(data) => settings
            .with(options.seed, |at| asked.measure(&lines, &*model, data, at))
            .map_err(Sampling::as_option)?,
        None => Vec::new(),
    };
    if wants("logp") && log_p.is_empty() {
        eprintln!("no log p: {}", data.map_or(NO_ROWS.into(), why_none));
    }
    let done = Evaluation {
        run: options.run.display().to_string(),
        step,
        scores,
        headings: headings(reference),
        features: of_features,
        nearest: beside,
        picture: options.nearest.as_ref().map(|path| path.display().to_string()),
        log_p,
    };
    if settings.json {
        output::json(&done);
    } else {
        print(&done);
    }
    Ok(())
}

impl Options {
    /// Opens the run, and says whether `--data` has the run's own data, which are no longer where they were.
    fn open(&self) -> Result<(Run, bool)> {
        let run = runs::open(&self.run)?;
        let lost = !run.is_without_data() && !run.finds_its_data();
        match self.data.as_deref().filter(|_| lost) {
            None => Ok((run, false)),
            Some(data) => Ok((run.with_data(data), true)),
        }
    }

    /// The number of samples.
    fn samples(&self, run: &Run) -> u64 {
        self.n.unwrap_or(run.info.recipe.evaluation.samples as u64)
    }

    /// The rows that samples are judged by: rows of `--data`, the run's data, or exact draws from the target of a model
    /// without data, if it has any.
    fn reference(
        &self,
        run: &Run,
        moved: bool,
        model: &dyn Model,
        settings: &Settings,
    ) -> Result<Option<Reference>> {
        let n = self.samples(run);
        let (data, floor) = match self.data.as_deref().filter(|_| !moved) {
            None if run.learns_without_data() => {
                return settings.with(self.seed, |at| Reference::exact(model, n, at));
            }
            None => (run.data()?.judged_on(self.split.part()), Floor::Training),
            Some(other) if run.learns_without_data() => (run.data_of(other)?, Floor::Unseen),
            Some(other) => (run.data_of(other)?, Floor::Training),
        };
        let target = run.info.recipe.evaluation.target.clone();
        Ok(Some(Reference { data, floor, target }))
    }
}

/// An option that needs data where there are none.
fn without(option: &str) -> Error {
    Error::config(option, "given for a run that learns without data", "--data with it")
}

/// The reason where there is nothing to judge by.
const NO_ROWS: &str = "the target has no exact draws to judge by, and there is no --data";

/// The reason why samples have no scores.
fn why_no_scores(data: Option<&Dataset>) -> &'static str {
    data.map_or(NO_ROWS, |_| "there are fewer than two held-out rows")
}

/// The reason why there is no log p of held-out rows.
fn why_none(data: &Dataset) -> String {
    let space = &data.space;
    match space.without_density() {
        _ if data.held_out.is_empty() => "there are no held-out rows".into(),
        Some(problem) => problem,
        None => "the model has no density".into(),
    }
}

/// Creates the file of the picture; fails before any computation if there can be none.
fn picture(path: &Path, space: &Space) -> Result<AtomicFile> {
    let name = path.display().to_string();
    if !name.ends_with(".png") {
        return Err(Error::config("--nearest", name, "a file that ends in .png"));
    }
    if !matches!(space.layout(), Layout::Image { .. }) {
        return Err(Error::config(
            "--nearest",
            "the run's rows are no pictures",
            "a run on pictures",
        ));
    }
    output::make_folder_of(path)?;
    AtomicFile::create(path)
}

fn print(done: &Evaluation) {
    if !done.scores.is_empty() {
        output::table(&done.headings, &score_rows(&done.scores));
    }
    if let Some(by) = &done.features {
        let of = format!("features of {} ({} numbers a picture)", by.classifier, by.width);
        output::line(&format!("\nby {of}"));
        output::table(&done.headings, &score_rows(&by.scores));
        if let Some(share) = by.held_out_accuracy {
            let right = 100.0 * share.value;
            output::line(&format!("{} finds the label of {right:.1} % held out", by.classifier));
        }
        output::line("");
    }
    if let (Some(found), Some(path)) = (&done.nearest, &done.picture) {
        output::line(&found.sentence());
        output::line(&format!("nearest  {path}"));
    }
    log_p::print(&done.log_p);
}
