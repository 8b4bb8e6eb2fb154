//! `tweedie reproduce`: figures that take long, from their recipes to a page of the docs.

use crate::compare::{Asked, Compared, Point};
use crate::log_p::in_parts;
use crate::{Settings, output, progress, train};
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tweedie::data::{Dataset, Split};
use tweedie::denoise::{Condition, Denoiser};
use tweedie::files::write_atomically;
use tweedie::likelihood::{Bound, mean_and_error};
use tweedie::objective::LevelDistribution;
use tweedie::process::Schedule;
use tweedie::show::{picture, save_png};
use tweedie::train::Run;
use tweedie::{Draws, Error, Result};

/// Every figure by name, with one line on what it shows.
const FIGURES: [(&str, &str); 1] = [(
    "mnist-diffusion",
    "seven diffusion models of one size on MNIST: quality against evaluations, bits per dimension",
)];

/// The recipes of `mnist-diffusion`.
const MODELS: [&str; 7] =
    ["mnist-ddpm", "mnist-vdm", "mnist-edm", "mnist-vp", "mnist-sub-vp", "mnist-ve", "mnist-ncsn"];

/// Those of them that know the integers, whose probabilities are bounded.
const BOUNDED: [&str; 2] = ["mnist-ddpm", "mnist-vdm"];

/// The steps of a bound in discrete time where the schedule has none of its own.
const STEPS: usize = 1000;

/// Draws of the loss by which two schedules are compared.
const DRAWS: usize = 10_000;

/// Options of `tweedie reproduce`.
#[derive(clap::Args)]
pub struct Options {
    /// The figure; all are listed if absent.
    figure: Option<String>,
    /// The folder of its data.
    #[arg(long)]
    data: Option<String>,
    /// The folder of its runs; what is trained there already is used, what has stopped goes on.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    #[command(flatten)]
    asked: Asked,
    /// How many held-out rows are given their bits per dimension.
    #[arg(long, default_value_t = 1000, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    rows: usize,
    /// The page to write, a .md file; its pictures go to `images` beside it.
    #[arg(short, long, default_value = "docs/mnist-diffusion.md")]
    output: PathBuf,
}

/// What was found.
#[derive(Serialize)]
struct Found {
    bits: Vec<Bits>,
    variances: Vec<Variances>,
    compared: Compared,
    page: String,
}

/// A run's bound in bits per dimension.
#[derive(Serialize)]
struct Bits {
    run: String,
    /// Steps in discrete time; continuous if absent.
    steps: Option<usize>,
    rows: usize,
    bits_per_dimension: f64,
    standard_error: f64,
    /// Its parts, which add up to it.
    prior: f64,
    diffusion: f64,
    reconstruction: f64,
}

/// The variance of one draw of a trained network's loss.
#[derive(Serialize)]
struct Variances {
    run: String,
    draws: usize,
    learned: f64,
    linear: f64,
    /// By what factor the learned one is lower, and its standard error.
    ratio: f64,
    ratio_error: f64,
}

/// Trains what is not trained, measures, and writes the page.
pub fn run(options: &Options, settings: &Settings) -> Result<()> {
    let Some(figure) = &options.figure else {
        let rows: Vec<Vec<String>> =
            FIGURES.iter().map(|(name, what)| vec![name.to_string(), what.to_string()]).collect();
        output::table(&["figure", "what it shows"], &rows);
        return Ok(());
    };
    let names = FIGURES.map(|(name, _)| name);
    if !names.contains(&figure.as_str()) {
        return Err(Error::config("figure", figure, tweedie::error::one_of(figure, &names)));
    }
    if options.output.extension().is_none_or(|e| e != "md") {
        let found = options.output.display().to_string();
        return Err(Error::config("--output", found, "a file that ends in .md"));
    }
    if options.rows == 0 {
        return Err(Error::config("--rows", "0", "at least 1"));
    }
    let Some(source) = options.data.as_deref() else {
        return Err(Error::config("--data", "absent", "the folder of MNIST's files"));
    };
    let paths = MODELS.map(|name| options.runs.join(name));
    options.asked.check()?;
    for (name, path) in MODELS.iter().zip(&paths) {
        train::finished(name, source, path, settings)?;
    }
    let (mut bits, mut variances) = (Vec::new(), Vec::new());
    for name in BOUNDED {
        let run = Run::open(&options.runs.join(name))?;
        let data = run.data()?;
        let judge = Judge { name, run: &run, data: &data, settings };
        let own = run.info.recipe.schedule.chain_len().map_or(STEPS, |steps| steps - 1);
        for steps in [None, Some(own)] {
            bits.push(judge.bits(steps, options.rows)?);
        }
        variances.extend(judge.variances()?);
    }
    let (mut compared, data) = options.asked.compare(&paths, settings)?;
    for point in &mut compared.points {
        let name = Path::new(&point.run).file_name().map(|name| name.to_string_lossy().into());
        point.run = name.unwrap_or_default();
    }
    let page = page(&bits, &variances, &compared, &data, options)?;
    write_atomically(&options.output, page.as_bytes())?;
    let page = options.output.display().to_string();
    let found = Found { bits, variances, compared, page };
    if settings.json {
        output::json(&found);
    } else {
        output::line(&format!("page  {}", found.page));
    }
    Ok(())
}

/// A run to be judged.
struct Judge<'a> {
    name: &'a str,
    run: &'a Run,
    data: &'a Dataset,
    settings: &'a Settings,
}

impl Judge<'_> {
    /// The first held-out rows in parts that fit into memory, each with its condition, under a bar.
    fn parts(
        &self,
        rows: usize,
        what: &str,
        each: impl FnMut(&Split, &Condition) -> Result<()>,
    ) -> Result<usize> {
        let held_out = &self.data.held_out;
        let rows: Vec<usize> = (0..rows.min(held_out.len())).collect();
        let bar = progress::bar(rows.len() as u64, "rows", self.settings.json);
        bar.set_prefix(format!("{}: {what}", self.name));
        let observe = |done| bar.set_position(done as u64);
        in_parts(&held_out.select(&rows), self.run.rows_at_once() as usize, observe, each)?;
        bar.finish_and_clear();
        Ok(rows.len())
    }

    /// The variational bound of integers.
    fn bits(&self, steps: Option<usize>, rows: usize) -> Result<Bits> {
        let (space, device) = (&self.run.info.space, &self.settings.device);
        let (denoiser, schedule) = (self.run.denoiser(device)?, self.run.schedule()?);
        let bound = match steps {
            None => Bound::continuous(denoiser, schedule),
            Some(steps) => Bound::discrete(denoiser, schedule, steps),
        };
        let bound = bound.with_sigma_data(self.run.info.sigma_data).with_probes(32);
        // In nats a row: the bound, and its parts.
        let mut values: [Vec<f64>; 4] = Default::default();
        let rows = self.parts(rows, "bits per dimension", |part, condition| {
            let terms = bound.integers(part.rows(), space, condition, device)?;
            let all = [terms.bound(), terms.prior, terms.diffusion, terms.reconstruction];
            values.iter_mut().zip(all).for_each(|(values, more)| values.extend(more));
            Ok(())
        })?;
        let per_bit = (space.width() as f64 * std::f64::consts::LN_2).recip();
        let [bound, prior, diffusion, reconstruction] =
            values.map(|values| mean_and_error(&values)).map(|(m, e)| (m * per_bit, e * per_bit));
        Ok(Bits {
            run: self.name.into(),
            steps,
            rows,
            bits_per_dimension: -bound.0,
            standard_error: bound.1,
            prior: prior.0,
            diffusion: diffusion.0,
            reconstruction: -reconstruction.0,
        })
    }

    /// The variance of the loss under the learned schedule and under λ linear in t between its ends, one draw for each of 10,000
    /// rows; none where the schedule is not learned.
    fn variances(&self) -> Result<Option<Variances>> {
        let linear: Arc<dyn Schedule> = Arc::new(self.run.info.recipe.schedule.clone());
        if !matches!(self.run.info.recipe.schedule, tweedie::process::AnySchedule::Learned(_)) {
            return Ok(None);
        }
        let denoiser = self.run.denoiser(&self.settings.device)?;
        let [learned, linear] =
            [self.run.schedule()?, linear].map(|schedule| self.losses(denoiser.clone(), schedule));
        let ((learned, error), (linear, other)) = (spread(&learned?), spread(&linear?));
        let ratio = linear / learned;
        let ratio_error = ratio * (error / learned).hypot(other / linear);
        let run = self.name.to_string();
        Ok(Some(Variances { run, draws: DRAWS, learned, linear, ratio, ratio_error }))
    }

    /// One draw of the diffusion loss, at uniform time, for each row.
    fn losses(&self, denoiser: Arc<dyn Denoiser>, schedule: Arc<dyn Schedule>) -> Result<Vec<f64>> {
        let bound = Bound::continuous(denoiser, schedule).with_levels(LevelDistribution::Uniform);
        let bound = bound.with_probes(1).with_draws(Draws::new(1));
        let mut losses = Vec::new();
        self.parts(DRAWS, "variance of the loss", |part, condition| {
            let x = self.run.info.space.encode(part.rows())?;
            let x = x.to_tensor(&self.settings.device);
            losses.extend(bound.terms(x, condition)?.diffusion);
            Ok(())
        })?;
        Ok(losses)
    }
}

/// The variance and its standard error.
fn spread(values: &[f64]) -> (f64, f64) {
    let (mean, _) = mean_and_error(values);
    let squares: Vec<f64> = values.iter().map(|v| (v - mean).powi(2)).collect();
    mean_and_error(&squares)
}

/// The page, its pictures written beside it.
fn page(
    bits: &[Bits],
    variances: &[Variances],
    compared: &Compared,
    data: &Dataset,
    options: &Options,
) -> Result<String> {
    let images = options.output.parent().unwrap_or(Path::new("")).join("images");
    std::fs::create_dir_all(&images).map_err(|e| Error::io(&images, e))?;
    let mut text = format!(
        "# Diffusion models on MNIST\n\nWritten by `tweedie reproduce mnist-diffusion --data FOLDER -n {} --rows {}`. One UNet of 16, 32 and \
         64 channels, conditional on the class, trained for the same number of steps on the same pictures by each recipe; only the process, the \
         objective, the clock and the sampler differ, and in `mnist-vdm` the Fourier features of the input; `mnist-ddpm` and `mnist-vdm` train on \
         integers as they are, the others on dequantised ones. Values are ± one standard error.\n\n## Bits per dimension\n\nThe \
         variational bound of the held-out integers given their labels (which differ from unlabelled ones by at most log₂ 10/784 = 0.004), in \
         continuous time and in steps, and its parts. Reconstruction is by the noise of the cleanest level alone, without the network: \
         a schedule whose cleanest level does not tell neighbouring integers apart, as DDPM's, pays for it.\n\n| run | time | rows | bits per dimension, at most | prior | diffusion | reconstruction |\n\
         |---|---|---:|---:|---:|---:|---:|\n",
        compared.samples, options.rows
    );
    for row in bits {
        let time = row.steps.map_or("continuous".into(), |steps| format!("{steps} steps"));
        let (value, error) = (row.bits_per_dimension, row.standard_error);
        let parts = [row.prior, row.diffusion, row.reconstruction].map(|v| format!("{v:.4}"));
        let (name, rows, parts) = (&row.run, row.rows, parts.join(" | "));
        let _ = writeln!(text, "| {name} | {time} | {rows} | {value:.4} ± {error:.4} | {parts} |");
    }
    for v in variances {
        let _ = writeln!(
            text,
            "\nWith the trained network frozen, one draw of the loss of `{}` has {:.2} ± {:.2} times less variance under the schedule that it \
             learnt than under λ linear in time between the same ends ({:.3e} against {:.3e} nats², {} draws).",
            v.run, v.ratio, v.ratio_error, v.learned, v.linear, v.draws
        );
    }
    let _ = writeln!(
        text,
        "\n## Quality against evaluations\n\n{} samples of each at each number of steps, by the recipe's own solver; the last line \
         is training pictures in their place.\n",
        compared.samples
    );
    let (headings, rows) = compared.table();
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    text += &line(&headings);
    text += &line(&vec!["---".to_string(); headings.len()]);
    rows.iter().for_each(|row| text += &line(row));
    for (name, plot) in compared.plots() {
        let file = format!("mnist-diffusion-{}.png", slug(name));
        save_png(&plot.draw()?, images.join(&file))?;
        let _ = writeln!(text, "\n![{name} against network evaluations](images/{file})");
    }
    text += "\n## Samples\n";
    for last in compared.by_run().into_iter().filter_map(<[Point]>::last) {
        let file = format!("{}.png", slug(&last.run));
        let drawn = picture(&data.space, &last.samples, Some(data.held_out.rows()))?;
        save_png(&drawn, images.join(&file))?;
        let (run, evaluations) = (&last.run, last.evaluations);
        let _ = writeln!(
            text,
            "\n{run}, {evaluations:.0} evaluations:\n\n![Samples of {run}](images/{file})"
        );
    }
    Ok(text)
}

/// A name as part of a file's.
fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.replace('é', "e").chars().map(plain).collect()
}
