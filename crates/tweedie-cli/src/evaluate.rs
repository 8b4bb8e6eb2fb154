//! `tweedie evaluate`.

use crate::features as by_classifier;
use crate::sample::Sampling;
use crate::{Settings, log_p, output};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use tweedie::data::{Dataset, Kind, Layout, Space};
use tweedie::files::AtomicFile;
use tweedie::judge::copies::{Nearest, nearest};
use tweedie::judge::samples::HEADINGS;
use tweedie::judge::{LogP, generate, score_rows};
use tweedie::metric::features::{self, FeatureScores};
use tweedie::metric::judge::{Score, judge};
use tweedie::run::Run;
use tweedie::{Error, Result};

/// What can be measured.
const METRICS: [&str; 3] = ["samples", "logp", "features"];

/// Options of `tweedie evaluate`.
#[derive(clap::Args)]
pub struct Options {
    /// The run directory.
    run: PathBuf,
    /// Judge against this file in place of the run's own held-out rows; a table needs the run's columns.
    #[arg(long)]
    data: Option<String>,
    /// Only these: samples, logp, features; may be repeated. By default the first two, and features if a classifier is
    /// given.
    #[arg(long)]
    metric: Vec<String>,
    /// Judge pictures by the features of the classifier that this file describes (see data/classifiers): Fréchet and
    /// kernel distance, precision, recall, label accuracy.
    #[arg(long, value_name = "FILE.toml")]
    features: Option<PathBuf>,
    /// The classifier's weights, where they are not as its file says.
    #[arg(long, value_name = "FILE.safetensors", requires = "features")]
    weights: Option<PathBuf>,
    /// Write a picture of the samples most like copies beside the training pictures nearest to them: by the
    /// classifier's features if there is one, else by pixels.
    #[arg(long, value_name = "FILE.png")]
    nearest: Option<PathBuf>,
    /// How many samples to compare.
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

/// Everything measured.
#[derive(Serialize)]
struct Evaluated {
    run: String,
    scores: Vec<Score>,
    features: Option<FeatureScores>,
    nearest: Option<Nearest>,
    /// Where the picture of samples and their nearest is.
    picture: Option<String>,
    /// One for each density asked for; empty where there is none.
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
    let wants = |name: &str| options.metric.is_empty() || options.metric.iter().any(|m| m == name);
    let run = Run::open(&options.run)?;
    let model = run.model(&settings.device)?;
    let asked = options.log_p.asked(Some(run.info.recipe.evaluation.log_p_rows));
    let lines =
        if wants("logp") { asked.lines(&*model).map_err(Sampling::as_option)? } else { Vec::new() };
    let data = match options.data.as_deref() {
        None => run.data()?,
        Some(other) => run.data_of(other)?,
    };
    let n = options.n.unwrap_or(run.info.recipe.evaluation.samples as u64);
    let classifier = options
        .features
        .as_deref()
        .map(|path| by_classifier::open(path, options.weights.as_deref(), &data, settings))
        .transpose()?;
    let picture = options.nearest.as_deref().map(|path| picture(path, &data.space)).transpose()?;
    let by_features = classifier.as_ref().filter(|_| wants("features"));
    let (mut scores, mut of_features, mut beside) = (Vec::new(), None, None);
    if wants("samples") || by_features.is_some() || picture.is_some() {
        let samples = settings.with(options.seed, |at| {
            let generator = model.generator(&options.sampling.table(), at);
            let generator = generator.map_err(Sampling::as_option)?;
            generate(&*model, &*generator, n, Some(data.judged()), at)
        })?;
        if let (Some(mut file), Some(path)) = (picture, &options.nearest) {
            let (png, found) = nearest(&samples, &data, classifier.as_ref())?;
            file.write_all(&png).map_err(|e| Error::io(path, e))?;
            file.finish()?;
            beside = Some(found);
        }
        if let Some(classifier) = by_features {
            of_features = features::judge(&samples, &data, classifier)?;
            if of_features.is_none() {
                eprintln!("no scores by features: there are fewer than 4 pictures of a kind");
            }
        }
        if wants("samples") {
            scores = judge(&samples, &data, 0)?;
            if scores.is_empty() {
                eprintln!("no scores: there are fewer than two held-out rows");
            }
        }
    }
    let log_p = settings
        .with(options.seed, |at| asked.measure(&lines, &*model, &data, at))
        .map_err(Sampling::as_option)?;
    if wants("logp") && log_p.is_empty() {
        eprintln!("no log p: {}", why_none(&data));
    }
    let done = Evaluated {
        run: options.run.display().to_string(),
        scores,
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

/// Why there is no log p of held-out rows.
fn why_none(data: &Dataset) -> String {
    let space = &data.space;
    let category = |j: &usize| matches!(space.coordinate(*j).kind, Kind::Category { .. });
    match (0..space.width()).find(category) {
        _ if data.held_out.is_empty() => "there are no held-out rows".into(),
        Some(j) => format!("column {} is categorical", space.column_name(j)),
        None => "the model has no density".into(),
    }
}

/// The file to be of a picture, refused before anything is computed for it.
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
    AtomicFile::create(path)
}

fn print(done: &Evaluated) {
    if !done.scores.is_empty() {
        output::table(&HEADINGS, &score_rows(&done.scores));
    }
    if let Some(by) = &done.features {
        let of = format!("features of {} ({} numbers a picture)", by.classifier, by.width);
        output::line(&format!("\nby {of}"));
        output::table(&HEADINGS, &score_rows(&by.scores));
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
