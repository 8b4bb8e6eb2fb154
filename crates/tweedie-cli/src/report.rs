//! Judging a finished run, and the report on it.

use crate::nearest::nearest;
use crate::{Settings, output, progress};
use serde::Serialize;
use tweedie::Result;
use tweedie::data::{Dataset, Split};
use tweedie::metric::judge::{Score, judge};
use tweedie::metric::judged_labels;
use tweedie::show::{self, Report, picture, png_bytes, save_png};
use tweedie::solve::Sampler;
use tweedie::train::{Run, curves};

/// What a run is worth, and where it is.
#[derive(Serialize)]
pub struct Judged {
    run: String,
    samples: String,
    report: String,
    scores: Vec<Score>,
}

impl Judged {
    /// Prints the table and the places.
    pub fn print(&self) {
        if !self.scores.is_empty() {
            output::table(&HEADINGS, &score_rows(&self.scores));
            output::line("");
        }
        output::line(&format!("run      {}", self.run));
        output::line(&format!("samples  {}", self.samples));
        output::line(&format!("report   {}", self.report));
    }
}

/// What the columns of [`score_rows`] are.
pub const HEADINGS: [&str; 7] =
    ["metric", "samples", "±", "training data", "good", "of rows", "against"];

/// Scores as rows of text.
pub fn score_rows(scores: &[Score]) -> Vec<Vec<String>> {
    let small = |v: f64| v != 0.0 && v.abs() < 1e-3;
    let number = |v: f64| if small(v) { format!("{v:.1e}") } else { format!("{v:.4}") };
    scores
        .iter()
        .map(|s| {
            vec![
                s.name.to_string(),
                number(s.value),
                s.standard_error.map_or(String::new(), number),
                s.floor.map_or(String::new(), number),
                s.good.to_string(),
                s.rows.to_string(),
                if s.reference_rows > 0 { s.reference_rows.to_string() } else { String::new() },
            ]
        })
        .collect()
}

/// `n` samples with the labels that samples judged against `real` rows should bear, made under a progress bar.
pub fn generate(
    run: &Run,
    sampler: &Sampler,
    n: u64,
    real: &Split,
    seed: u64,
    settings: &Settings,
) -> Result<Split> {
    let labels = judged_labels(real, n as usize);
    let label = |row: u64| labels.as_ref()?.get(row as usize).copied();
    let bar = progress::bar(n, "samples", settings.json);
    bar.set_prefix("sampling");
    let done = |rows| bar.set_position(rows);
    let rows = run.generate(sampler, 0..n, label, seed, &settings.device, done)?;
    bar.finish_and_clear();
    Split::new(rows, labels)
}

const TRAJECTORY: &str = "From pure noise to the sample, at noise levels σ/α. xₜ is scaled to the spread of the data; \
     E[x₀ | xₜ] is what the model expects to come out of it.";
const PROGRESS: &str = "What the averaged weights made of the same noise as training went on.";

/// Samples and judges a finished run; writes `samples.png`, `report.html` and, for pictures, `nearest.png`.
pub fn finish(run: &Run, data: &Dataset, settings: &Settings) -> Result<Judged> {
    let recipe = &run.info.recipe;
    let denoiser = run.denoiser(&settings.device)?;
    let sampler = run.sampler(denoiser.clone(), recipe.sampling.guidance)?;
    let n = recipe.evaluation.samples as u64;
    let before = sampler.evaluations();
    let real = if data.held_out.is_empty() { &data.train } else { &data.held_out };
    let samples = generate(run, &sampler, n, real, recipe.seed, settings)?;
    let per_sample = (sampler.evaluations() - before) as f64 / n as f64;
    let scores = judge(&samples, data, 0)?;
    let space = &run.info.space;
    let generated_png = picture(space, &samples, Some(real.rows()))?;
    save_png(&generated_png, run.file("samples.png"))?;
    let mut report = Report::new(&format!("tweedie: {}", run.folder().display()));
    report.paragraph(&format!(
        "{} training and {} held-out rows of {}; {} samples at {per_sample:.1} network evaluations each.",
        data.train.len(),
        data.held_out.len(),
        data.name,
        samples.len(),
    ));
    report.heading("Samples");
    let generated_png = png_bytes(&generated_png)?;
    if matches!(space.layout(), tweedie::data::Layout::Image { .. }) {
        let real_png = png_bytes(&picture(space, real, None)?)?;
        report.pictures(&[(&real_png, "Real, held out"), (&generated_png, "Generated")])?;
    } else {
        report.picture(&generated_png, "Real and generated")?;
    }
    let shown = show::run::Shown {
        run,
        denoiser,
        sampler,
        data: Ok(data),
        seed: recipe.seed,
        device: &settings.device,
    };
    if let Some(parts) = show::run::if_any(shown.trajectory())? {
        report.heading("From noise to samples").paragraph(TRAJECTORY);
        let parts = parts
            .iter()
            .map(|(heading, picture)| Ok((png_bytes(picture)?, *heading)))
            .collect::<Result<Vec<_>>>()?;
        let parts: Vec<(&[u8], &str)> = parts.iter().map(|(png, h)| (&png[..], *h)).collect();
        report.pictures(&parts)?;
    }
    if let Some(picture) = show::run::if_any(shown.draw("progress"))? {
        report.heading("While it learnt").picture(&png_bytes(&picture)?, PROGRESS)?;
    }
    if !scores.is_empty() {
        report.heading("How good it is");
        report.paragraph(
            "Each metric compares samples with held-out data, in model units; beside it the same metric with \
             training data in place of the samples, and how many rows it is of.",
        );
        report.table(&HEADINGS, &score_rows(&scores))?;
    }
    if matches!(space.layout(), tweedie::data::Layout::Image { .. }) && data.train.len() > 1 {
        let (png, found) = nearest(&samples, data, None)?;
        tweedie::files::write_atomically(run.file("nearest.png"), &png)?;
        report.heading("Samples and their nearest training pictures").paragraph(&found.sentence());
        report.picture(&png, crate::nearest::CAPTION)?;
    }
    report.heading("Training");
    for (name, plot) in show::loss_curves(&curves::read(run.file("curves.jsonl"))?) {
        report.picture(&png_bytes(&plot.draw()?)?, &name)?;
    }
    report.heading("Recipe");
    report.preformatted(&recipe.to_toml()?);
    report.save(run.file("report.html"))?;
    Ok(Judged {
        run: run.folder().display().to_string(),
        samples: run.file("samples.png").display().to_string(),
        report: run.file("report.html").display().to_string(),
        scores,
    })
}
