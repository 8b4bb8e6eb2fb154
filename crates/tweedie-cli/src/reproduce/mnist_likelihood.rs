//! Likelihoods of MNIST's test pictures under diffusion models.

use super::{Asked, Figure, Measured, Options, for_machines, table};
use crate::log_p;
use crate::{Settings, progress::Progress};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use tweedie::data::{Condition, Dataset, Part, Split};
use tweedie::denoise::Denoiser;
use tweedie::density::{Bound, Decoder};
use tweedie::family::diffusion::DiffusionModel;
use tweedie::judge::LogP;
use tweedie::judge::densities;
use tweedie::metric::evaluation_rows;
use tweedie::process::{LevelDistribution, Schedule};
use tweedie::run::Run;
use tweedie::tensor::mean_and_error;
use tweedie::{Draws, Result};

pub const FIGURE: Figure = Figure {
    name: "mnist-likelihood",
    what: "bits per dimension of three diffusion models on MNIST, by every density that there is",
    models: &["mnist-ddpm", "mnist-vdm", DENSE],
    needs_data: true,
    measure,
};

/// Runs on integers without dequantisation: their bound is of probabilities.
const BOUNDED: [&str; 2] = ["mnist-ddpm", "mnist-vdm"];

/// A run on dequantised pictures, which has a density.
const DENSE: &str = "mnist-vp";

/// Steps of the bound in discrete time for a schedule in continuous time.
const STEPS: usize = 1000;

/// Draws of noise and time for the bound of a row. Its expectation does not depend on their number; with all pictures,
/// the spread over pictures is the larger error.
const PROBES: usize = 8;

/// The most rows of densities, whose probability-flow ODE takes seconds a row.
const DENSE_ROWS: usize = 200;

/// Draws of the loss for the comparison of two schedules.
const DRAWS: usize = 10_000;

/// All results.
#[derive(Serialize)]
struct Results {
    bits: Vec<Bits>,
    variances: Vec<Variances>,
    densities: Vec<LogP>,
}

/// The bound of a run in bits per dimension.
#[derive(Serialize, Deserialize)]
struct Bits {
    run: String,
    /// Steps in discrete time; continuous if absent.
    steps: Option<usize>,
    /// The decoder of integers at the cleanest level.
    decoder: Cow<'static, str>,
    rows: usize,
    bits_per_dimension: f64,
    standard_error: f64,
    /// The parts that add up to `bits_per_dimension`.
    prior: f64,
    diffusion: f64,
    reconstruction: f64,
}

/// The variance of one draw of a trained network's loss.
#[derive(Serialize, Deserialize)]
struct Variances {
    run: String,
    draws: usize,
    learned: f64,
    linear: f64,
    /// `linear` / `learned`, and its standard error.
    ratio: f64,
    ratio_error: f64,
}

fn measure(options: &Options, settings: &Settings) -> Result<Option<Measured>> {
    let (mut bits, mut variances) = (Vec::new(), Vec::new());
    let asked = |recipe, name, rows: usize| {
        let options = format!("{rows} rows");
        Asked { recipe, name, options, settings }
    };
    for name in BOUNDED {
        let asked = asked(name, "bits", options.rows);
        let found = options.kept(FIGURE.name, asked, |folder| {
            let run = Run::open(folder)?;
            let data = run.data()?.judged_on(Part::Test);
            let model = run.model_as::<DiffusionModel>(&settings.device)?;
            let judge = Judge { name, model: &model, data: &data, settings };
            let own = model.recipe.schedule.chain_len().map_or(STEPS, |steps| steps - 1);
            let mut bits = Vec::new();
            for decoder in [Decoder::Noise, Decoder::Network] {
                for steps in [None, Some(own)] {
                    bits.push(judge.bits(steps, decoder, options.rows)?);
                }
            }
            Ok((bits, judge.variances()?))
        })?;
        if let Some((of_run, spread)) = found {
            bits.extend(of_run);
            variances.extend(spread);
        }
    }
    let rows = options.rows.min(DENSE_ROWS);
    let asked = asked(DENSE, "densities", rows);
    let densities = options.kept(FIGURE.name, asked, |folder| {
        let run = Run::open(folder)?;
        let (model, data) = (run.model(&settings.device)?, run.data()?.judged_on(Part::Test));
        let mut found = Vec::new();
        for (density, probes) in [("ode", Some(1)), ("sde", None), ("elbo", None)] {
            let asked = log_p::Options::dequantised(density, probes, rows).asked(None);
            let lines = asked.lines(&*model)?;
            found.extend(settings.with(0, |at| asked.measure(&lines, &*model, &data, at))?);
        }
        Ok(found)
    })?;
    let Some(densities) = densities.filter(|_| options.only.is_empty()) else { return Ok(None) };
    let found = Results { bits, variances, densities };
    Ok(Some((page(&found, options.rows), for_machines(&found)?)))
}

/// A run with the data that judge it.
struct Judge<'a> {
    name: &'a str,
    model: &'a DiffusionModel,
    data: &'a Dataset,
    settings: &'a Settings,
}

impl Judge<'_> {
    /// Calls `each` with random held-out rows, in parts that fit into memory, each with its condition, under a progress
    /// bar.
    fn parts(
        &self,
        rows: usize,
        what: &str,
        each: impl FnMut(&Split, &Condition) -> Result<()>,
    ) -> Result<usize> {
        let held_out = &self.data.held_out;
        let rows = evaluation_rows(held_out.len(), rows);
        let what = format!("{}: {what}", self.name);
        let bar = Progress::new(&what, rows.len() as u64, "rows", self.settings.json);
        let observe = |done| bar.set(done as u64);
        in_parts(&held_out.select(&rows), self.model.rows_at_once() as usize, observe, each)?;
        bar.clear();
        Ok(rows.len())
    }

    /// The variational bound of `rows` rows of integers.
    fn bits(&self, steps: Option<usize>, decoder: Decoder, rows: usize) -> Result<Bits> {
        let (space, device) = (&self.model.space, &self.settings.device);
        let bound = Bound::from(self.model.diffusing()).with_steps(steps).with_probes(PROBES);
        let bound = bound.with_decoder(decoder);
        // The bound and its parts, in nats a row.
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
            decoder: match decoder {
                Decoder::Noise => "noise".into(),
                Decoder::Network => "network".into(),
            },
            rows,
            bits_per_dimension: -bound.0,
            standard_error: bound.1,
            prior: prior.0,
            diffusion: diffusion.0,
            reconstruction: -reconstruction.0,
        })
    }

    /// The variance of the loss under the learned schedule and under λ linear in t between its ends, one draw for each
    /// of 10,000 rows; none where the schedule is not learned.
    fn variances(&self) -> Result<Option<Variances>> {
        let linear: Arc<dyn Schedule> = Arc::new(self.model.recipe.schedule.clone());
        if !matches!(self.model.recipe.schedule, tweedie::process::AnySchedule::Learned(_)) {
            return Ok(None);
        }
        let denoiser = self.model.denoiser.clone();
        let [learned, linear] = [self.model.schedule.clone(), linear]
            .map(|schedule| self.losses(denoiser.clone(), schedule));
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
            let x = self.model.space.encode(part.rows())?;
            let x = x.to_tensor(&self.settings.device);
            losses.extend(bound.terms(x, condition)?.diffusion);
            Ok(())
        })?;
        Ok(losses)
    }
}

/// Calls `each` with the rows, at most `chunk` at once, and their condition; `observe` takes the number of rows done.
fn in_parts(
    rows: &Split,
    chunk: usize,
    observe: impl Fn(usize),
    mut each: impl FnMut(&Split, &Condition) -> Result<()>,
) -> Result<()> {
    for start in (0..rows.len()).step_by(chunk) {
        let indices: Vec<usize> = (start..(start + chunk).min(rows.len())).collect();
        let part = rows.select(&indices);
        each(&part, &Condition::from(part.labels()))?;
        observe(start + indices.len());
    }
    Ok(())
}

/// The variance of values, and its standard error.
fn spread(values: &[f64]) -> (f64, f64) {
    let (mean, _) = mean_and_error(values);
    let squares: Vec<f64> = values.iter().map(|v| (v - mean).powi(2)).collect();
    mean_and_error(&squares)
}

/// The page in Markdown.
fn page(Results { bits, variances, densities }: &Results, rows: usize) -> String {
    let mut text = format!(
        "# Likelihoods of diffusion models on MNIST\n\nWritten by `tweedie reproduce mnist-likelihood --data FOLDER \
         --rows {rows}`. The models are those of [diffusion models on MNIST](mnist-diffusion.md). All are conditional \
         on the class, and judge held-out pictures given their labels, which differ from unlabelled ones by at most \
         log₂ 10/784 = 0.004 bits per dimension. Values are ± one standard error of the mean over the pictures, which \
         are the same in every line of a table.\n\n## Integers\n\nThe variational bound of the integers, in \
         continuous time and in steps, and its parts. Reconstruction recovers the integers at the cleanest level, \
         from its noise alone, as VDM does, or from the network's mean there, as DDPM does. A schedule whose cleanest \
         level does not separate neighbouring integers, as that of DDPM, pays for it.\n\n"
    );
    let of = |row: &Bits| {
        let time = row.steps.map_or("continuous".into(), |steps| format!("{steps} steps"));
        let value = format!("{:.4} ± {:.4}", row.bits_per_dimension, row.standard_error);
        let parts = [row.prior, row.diffusion, row.reconstruction].map(|v| format!("{v:.4}"));
        let first = [row.run.clone(), time, row.decoder.to_string(), row.rows.to_string(), value];
        first.into_iter().chain(parts).collect()
    };
    let headings = [
        "run",
        "time",
        "integers decoded by",
        "rows",
        "bits per dimension, at most",
        "prior",
        "diffusion",
        "reconstruction",
    ];
    text += &table(&headings, &bits.iter().map(of).collect::<Vec<_>>());
    for v in variances {
        let _ = writeln!(
            text,
            "\nWith the trained network frozen, one draw of the loss of `{}` has {:.2} ± {:.2} times less variance \
             under the schedule that it learnt than under λ linear in time between the same ends ({:.3e} against \
             {:.3e} nats², {} draws).",
            v.run, v.ratio, v.ratio_error, v.learned, v.linear, v.draws
        );
    }
    let _ = write!(
        text,
        "\n## Densities\n\n`{DENSE}` is trained on integers with noise. Its probability-flow ODE, and the reverse SDE \
         by weighted paths and by its bound, judge {} of the pictures, with uniform noise and with noise that a small \
         network has learnt for the bound. An estimate may lie on either side of the model's log p; a lower bound's \
         mean is never above it.\n\n",
        rows.min(DENSE_ROWS)
    );
    let (headings, rows) = densities::table(densities);
    text += &table(&headings, &rows);
    text
}
