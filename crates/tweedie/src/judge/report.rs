//! The report of a finished run.

use super::copies::{self, nearest};
use super::reference::{Floor, Reference, headings};
use super::samples::{generate, score_rows};
use crate::data::{Dataset, Layout, Part, Split};
use crate::draw::{Report, picture, png_bytes, save_png, training_curves};
use crate::family::{Drawing, PictureSetting, Setting};
use crate::files::write_atomically;
use crate::metric::judge::Score;
use crate::run::{Run, pictures};
use crate::train::curves;
use crate::{Error, Result};
use serde::Serialize;
use toml::Table;

/// The metrics of a run, and the paths of its files.
#[derive(Debug, Clone, Serialize)]
pub struct Judgement {
    /// The run's folder.
    pub run: String,
    /// The path of the picture of samples.
    pub samples: String,
    /// The path of the report.
    pub report: String,
    /// The metrics of the model and of its samples.
    pub scores: Vec<Score>,
    /// The headings of a table of the metrics.
    #[serde(skip)]
    pub headings: [&'static str; 7],
}

/// The pictures in a report, each with its heading and caption.
const SHOWN: [(&str, &str, &str); 2] = [
    (
        "trajectory",
        "From noise to samples",
        "From pure noise to the sample, at noise levels σ/α. xₜ is scaled to the spread of the data; E[x₀ | xₜ] is \
         what the model expects to come out of it.",
    ),
    (
        "progress",
        "While it learnt",
        "What the averaged weights made of the same noise as training went on.",
    ),
];

/// Samples a finished run, evaluates it on the test rows of `data`, or on exact draws if it learns without data, and
/// writes `samples.png`, `report.html` and, for pictures, `nearest.png`.
///
/// # Errors
/// Errors of sampling, of the metrics and of drawing; [`Error::Io`] if a file cannot be written.
pub fn finish(run: &Run, data: Option<&Dataset>, at: &Setting) -> Result<Judgement> {
    let (recipe, judged) = (&run.info.recipe, data.map(|data| data.judged_on(Part::Test)));
    let data = judged.as_ref();
    let (model, sampling) = (run.model(at.device)?, Table::new());
    let at = &Setting { device: at.device, seed: recipe.seed, observe: at.observe };
    let n = recipe.evaluation.samples as u64;
    let reference = match data {
        Some(data) => {
            let target = recipe.evaluation.target.clone();
            Some(Reference { data: data.clone(), floor: Floor::Training, target })
        }
        None => Reference::exact(&*model, n, at)?,
    };
    let reference = reference.as_ref();
    let real = reference.map(|reference| reference.data.judged());
    let generator = model.generator(&sampling, at)?;
    let samples = generate(&*model, &*generator, n, real, at)?;
    let n = samples.len();
    let per_sample = generator.network_evaluations() as f64 / n as f64;
    let mut scores = model.diagnostics()?;
    if let Some(reference) = reference {
        scores.extend(reference.scores(&samples)?);
    }
    let space = model.space();
    let image = matches!(space.layout(), Layout::Image { .. });
    let generated = picture(space, &samples, real.map(Split::rows))?;
    save_png(&generated, run.file("samples.png"))?;
    let mut report = Report::new(&format!("tweedie: {}", run.folder().display()));
    report.paragraph(&match data {
        Some(data) => format!(
            "{} training and {} test rows of {}; {n} samples at {per_sample:.1} network evaluations each.",
            data.train.len(),
            data.held_out.len(),
            data.name,
        ),
        None => format!("{n} samples at {per_sample:.1} network evaluations each."),
    });
    report.heading("Samples");
    let generated = png_bytes(&generated)?;
    match real {
        Some(real) if image => {
            let real = png_bytes(&picture(space, real, None)?)?;
            let name = if data.is_some() { "Real, held out" } else { "Exact draws" };
            report.pictures(&[(&real, name), (&generated, "Generated")])?;
        }
        Some(_) => drop(report.picture(&generated, "Real and generated")?),
        None => drop(report.picture(&generated, "Generated")?),
    }
    let (device, seed) = (at.device, recipe.seed);
    let data_or = data.ok_or_else(|| "the run has no data".to_string());
    let showing = PictureSetting { sampling: &sampling, data: data_or, seed, device };
    let all = pictures::pictures(run, &*model, &showing);
    for (name, heading, caption) in SHOWN {
        let Some(shown) = all.iter().find(|picture| picture.name == name) else { continue };
        match (shown.draw)() {
            Ok(Drawing::Still(image)) => {
                report.heading(heading).picture(&png_bytes(&image)?, caption)?;
            }
            Ok(Drawing::Moving(_)) | Err(Error::Undefined { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if !scores.is_empty() {
        report.heading("How good it is");
        report.paragraph(match reference.map(|reference| reference.floor) {
            None => "The model's own metrics, and how many rows they are of.",
            Some(Floor::Exact) => {
                "The model's own metrics, then metrics that compare samples with exact draws, in model units; beside \
                 each the same metric with other exact draws in place of the samples, and how many rows it is of."
            }
            Some(_) => {
                "Each metric compares samples with held-out data, in model units; beside it the same metric with \
                 training data in place of the samples, and how many rows it is of."
            }
        });
        report.table(&headings(reference), &score_rows(&scores))?;
    }
    if let Some(data) = data.filter(|data| image && data.train.len() > 1) {
        let (png, found) = nearest(&samples, data, None)?;
        write_atomically(run.file("nearest.png"), &png)?;
        report.heading("Samples and their nearest training pictures").paragraph(&found.sentence());
        report.picture(&png, copies::CAPTION)?;
    }
    report.heading("Training");
    for (name, plot) in training_curves(&curves::read(run.file("curves.jsonl"))?) {
        report.picture(&png_bytes(&plot.draw()?)?, &name)?;
    }
    report.heading("Recipe");
    report.preformatted(&recipe.to_toml()?);
    report.save(run.file("report.html"))?;
    Ok(Judgement {
        run: run.folder().display().to_string(),
        samples: run.file("samples.png").display().to_string(),
        report: run.file("report.html").display().to_string(),
        scores,
        headings: headings(reference),
    })
}
