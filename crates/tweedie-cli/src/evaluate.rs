//! `tweedie evaluate`.

use crate::log_p::{self, LogP};
use crate::nearest::{Nearest, nearest};
use crate::report::{HEADINGS, generate, score_rows};
use crate::sample::Sampling;
use crate::{Settings, output};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use tweedie::data::{Dataset, Kind, Layout, Source, Space, Split, Toy};
use tweedie::files::AtomicFile;
use tweedie::metric::Classifier;
use tweedie::metric::features::{self, FeatureScores};
use tweedie::metric::judge::{Score, judge};
use tweedie::train::Run;
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
    let mut lines = options.log_p.lines(&run)?;
    lines.retain(|_| wants("logp"));
    let data = data(&run, options.data.as_deref())?;
    let n = options.n.unwrap_or(run.info.recipe.evaluation.samples as u64);
    let classifier = options.features.as_deref().map(|path| {
        let found = Classifier::open(path, options.weights.as_deref(), &settings.device)?;
        // Pictures of another size are refused before there are samples.
        found.features(&data.train.rows().slice(0..0), &data.space)?;
        Ok::<_, Error>(found)
    });
    let classifier = classifier.transpose()?;
    let picture = options.nearest.as_deref().map(|path| picture(path, &data.space)).transpose()?;
    let by_features = classifier.as_ref().filter(|_| wants("features"));
    let (mut scores, mut by_classifier, mut beside) = (Vec::new(), None, None);
    if wants("samples") || by_features.is_some() || picture.is_some() {
        let sampler = options.sampling.sampler(&run, settings)?;
        let real = if data.held_out.is_empty() { &data.train } else { &data.held_out };
        let samples = generate(&run, &sampler, n, real, options.seed, settings)?;
        if let (Some(mut file), Some(path)) = (picture, &options.nearest) {
            let (png, found) = nearest(&samples, &data, classifier.as_ref())?;
            file.write_all(&png).map_err(|e| Error::io(path, e))?;
            file.finish()?;
            beside = Some(found);
        }
        if let Some(classifier) = by_features {
            by_classifier = features::judge(&samples, &data, classifier)?;
            if by_classifier.is_none() {
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
    let log_p = options.log_p.measure(&lines, &run, &data, options.seed, settings)?;
    let done = Evaluated {
        run: options.run.display().to_string(),
        scores,
        features: by_classifier,
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

/// The run's data, its held-out rows replaced by those of another source: what is held out of a data set that is known by
/// name or whose parts are recorded, or all rows of a file.
fn data(run: &Run, other: Option<&str>) -> Result<Dataset> {
    let Some(other) = other else { return run.data() };
    let (loaded, rows) = if tweedie::data::list().iter().any(|(name, _)| *name == other) {
        let mut source = Source::named(other);
        source.label = run.info.recipe.data.label.clone().filter(|_| other.parse::<Toy>().is_ok());
        let loaded = source.load()?;
        let rows = loaded.held_out.clone();
        (loaded, rows)
    } else {
        let mut source = run.info.recipe.data.clone();
        (source.source, source.held_out, source.n) = (other.to_string(), Some(0.0), None);
        source.seed = 0;
        match source.load() {
            // Its parts are as recorded.
            Err(Error::Config { key, .. }) if key == "held_out" => {
                let loaded = Source { held_out: None, ..source }.load()?;
                let rows = loaded.held_out.clone();
                (loaded, rows)
            }
            loaded => {
                let loaded = loaded?;
                let rows = loaded.train.clone();
                (loaded, rows)
            }
        }
    };
    let space = run.info.space.clone();
    let train = match run.is_imported() {
        // What it was trained on is not known: the data's own training rows stand in.
        true => in_space(&space, &loaded.space, &loaded.train, other)?,
        false => run.data()?.train,
    };
    let held_out = in_space(&space, &loaded.space, &rows, other)?;
    Dataset::new(other, space, train, held_out).map_err(|error| match error {
        Error::Config { key, problem, expected } => Error::file(other, key, problem, expected),
        error => error,
    })
}

/// Rows of another space in this one, checked to have its columns, categories and classes.
fn in_space(own: &Space, other: &Space, rows: &Split, file: &str) -> Result<Split> {
    let names = |s: &Space| (0..s.width()).map(|j| s.column_name(j)).collect::<Vec<_>>();
    if names(own) != names(other) {
        let columns = |s: &Space| {
            let more = if s.width() > 8 { ", …" } else { "" };
            let first = names(s)[..s.width().min(8)].join(", ");
            format!("{} columns: {first}{more}", s.width())
        };
        return Err(Error::file(file, "header", columns(other), columns(own)));
    }
    let (mut raw, width) = (rows.rows().clone(), own.width());
    for j in 0..width {
        let place = || format!("column '{}'", own.column_name(j));
        match (&own.coordinate(j).kind, &other.coordinate(j).kind) {
            (Kind::Category { names: own }, Kind::Category { names: other }) => {
                let index = places(other, own, file, place)?;
                for value in raw.values_mut().iter_mut().skip(j).step_by(width) {
                    *value = index[*value as usize] as f32;
                }
            }
            (Kind::Category { .. }, _) => {
                return Err(Error::file(file, place(), "numbers", "categories"));
            }
            (_, Kind::Category { .. }) => {
                return Err(Error::file(file, place(), "categories", "numbers"));
            }
            _ => {}
        }
    }
    let classes = places(other.classes(), own.classes(), file, || "label".into())?;
    let labels = rows.labels().map(|labels| labels.iter().map(|&k| classes[k as usize]).collect());
    Split::new(raw, labels)
}

/// Where each name stands among the model's own.
fn places(
    names: &[String],
    own: &[String],
    file: &str,
    place: impl Fn() -> String,
) -> Result<Vec<u32>> {
    let known: Vec<&str> = own.iter().map(String::as_str).collect();
    let place_of = |name: &String| {
        let found = own.iter().position(|known| known == name).map(|at| at as u32);
        found.ok_or_else(|| {
            Error::file(file, place(), name.as_str(), tweedie::error::one_of(name, &known))
        })
    };
    names.iter().map(place_of).collect()
}
