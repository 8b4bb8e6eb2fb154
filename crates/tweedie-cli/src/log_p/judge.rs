//! log p of rows by one density, and the table of all.

use super::{Ask, Integers, Line};
use crate::{Settings, output, progress};
use serde::Serialize;
use std::sync::Arc;
use tweedie::burn::tensor::Tensor;
use tweedie::data::{Condition, Dataset, Split, Toy};
use tweedie::denoise::Denoiser;
use tweedie::density::{
    Bound, Density, Dequantise, Dequantiser, Kind as LogKind, LogProb, Measure, RawDensity,
    ReverseSde, Uniform,
};
use tweedie::process::Schedule;
use tweedie::train::{DequantiserFit, Run, fit_dequantiser};
use tweedie::{Draws, Error, Result};

/// Channels or hidden units of a dequantiser.
const HIDDEN: usize = 32;

/// log p of held-out rows.
#[derive(Serialize)]
pub struct LogP {
    density: &'static str,
    /// How it was computed.
    how: String,
    integers: Integers,
    rows: usize,
    mean: f64,
    standard_error: f64,
    unit: &'static str,
    kind: LogKind,
    measure: Measure,
    bits_per_dimension: Option<f64>,
    bits_per_dimension_error: Option<f64>,
    /// The mean of true log p − model log p over the same rows, where the true density is known.
    divergence: Option<f64>,
    divergence_error: Option<f64>,
}

/// The rows that are judged, and what judges them.
pub(super) struct Judge<'a> {
    pub run: &'a Run,
    pub held_out: Split,
    pub denoiser: Arc<dyn Denoiser>,
    pub schedule: Arc<dyn Schedule>,
    pub draws: Draws,
    pub dequantiser: Option<Dequantiser>,
    pub settings: &'a Settings,
}

impl Judge<'_> {
    /// The variational bound in so many steps, or in continuous time.
    fn bound(&self, steps: Option<usize>) -> Bound {
        let (denoiser, schedule) = (self.denoiser.clone(), self.schedule.clone());
        let bound = match steps {
            Some(steps) => Bound::discrete(denoiser, schedule, steps),
            None => Bound::continuous(denoiser, schedule),
        };
        bound.with_sigma_data(self.run.info.sigma_data).with_draws(self.draws)
    }

    /// A dequantiser fitted to the variational bound on the training rows, under a progress bar.
    pub fn fit(&self, train: &Split, fit: DequantiserFit) -> Result<Dequantiser> {
        let space = &self.run.info.space;
        let initial = Draws::new(fit.seed).purpose("initial");
        let fresh = Dequantiser::new(space, HIDDEN, &initial, &self.settings.device)?;
        let bar = progress::bar(fit.steps, "steps", self.settings.json);
        bar.set_prefix("fitting");
        let (bound, mut smooth) = (self.bound(None), None);
        let log_p = |x: Tensor<2>, of: &Condition, draws: &Draws| bound.estimate(x, of, draws);
        let fitted = fit_dequantiser(fresh, &log_p, (train, space), fit, |step, loss| {
            let mean: f64 = smooth.map_or(loss, |s: f64| s + 0.02 * (loss - s));
            smooth = Some(mean);
            bar.set_position(step);
            bar.set_message(format!("{:.4} nats a column", mean / space.width() as f64));
        })?;
        bar.finish_and_clear();
        Ok(fitted)
    }

    /// log p of the rows by one line of the table; `truth` is the known one.
    pub fn line(&self, line: &Line, truth: Option<&LogProb>) -> Result<LogP> {
        let (run, space) = (self.run, &self.run.info.space);
        let bar = progress::bar(self.held_out.len() as u64, "rows", self.settings.json);
        bar.set_prefix(line.density);
        let observe = |done| bar.set_position(done as u64);
        let dequantise: &dyn Dequantise = match (line.integers, &self.dequantiser) {
            (Integers::Variational, Some(learnt)) => learnt,
            _ => &Uniform,
        };
        let raw = |density: &dyn Density| {
            let (device, chunk) = (&self.settings.device, self.chunk());
            let raw = RawDensity { density, space, dequantise, draws: self.draws, device, chunk };
            raw.log_prob(self.held_out.rows(), &self.held_out.labels().into(), observe)
        };
        let log_p = match line.ask {
            Ask::Ode(divergence) => {
                raw(&run.density(self.denoiser.clone()).with_divergence(divergence, self.draws))?
            }
            Ask::Sde(paths) => {
                let density = ReverseSde::new(self.denoiser.clone(), self.schedule.clone());
                let density = density.with_sigma_data(run.info.sigma_data);
                raw(&density.with_draws(self.draws).with_paths(paths))?
            }
            Ask::Elbo { draws, steps } => {
                let bound = self.bound(steps).with_probes(draws);
                match line.integers.decoder() {
                    Some(decoder) => self.decoded(&bound.with_decoder(decoder), observe)?,
                    None => raw(&bound)?,
                }
            }
        };
        bar.finish_and_clear();
        let divergence = truth.map(|truth| truth.mean_difference(&log_p)).transpose()?;
        let (mean, standard_error) = log_p.mean();
        let per_bit = 1.0 / (space.width() as f64 * std::f64::consts::LN_2);
        let bits = space.bits_per_dimension(mean);
        Ok(LogP {
            density: line.density,
            how: line.how(),
            integers: line.integers,
            rows: self.held_out.len(),
            mean,
            standard_error,
            unit: "nats",
            kind: log_p.kind,
            measure: log_p.measure,
            bits_per_dimension: bits,
            bits_per_dimension_error: bits.map(|_| standard_error * per_bit),
            divergence: divergence.map(|d| d.0),
            divergence_error: divergence.map(|d| d.1),
        })
    }

    /// The true log p of a toy's rows; a class's density is not the toy's, so only without labels.
    pub fn known_density(&self, data: &Dataset) -> Option<LogProb> {
        let rows = &self.held_out;
        let toy: Toy = data.name.parse().ok().filter(|_| rows.labels().is_none())?;
        let of = |r: &[f32]| toy.log_density([r[0].into(), r[1].into()]);
        let value = rows.rows().iter().map(of).collect();
        let (kind, measure) = (LogKind::Exact, Measure::Raw);
        Some(LogProb { value, kind, standard_error: None, measure })
    }

    /// How many rows are in memory at once.
    fn chunk(&self) -> usize {
        ((1 << 17) / self.run.info.space.model_width()).clamp(64, 4096)
    }

    /// The bound of integers as they are.
    fn decoded(&self, bound: &Bound, observe: impl Fn(usize)) -> Result<LogProb> {
        let (space, device) = (&self.run.info.space, &self.settings.device);
        let mut all: Option<LogProb> = None;
        in_parts(&self.held_out, self.chunk(), observe, |part, condition| {
            let more = bound.integers(part.rows(), space, condition, device)?.log_prob();
            all = Some(match all.take() {
                Some(earlier) => earlier.followed_by(more)?,
                None => more,
            });
            Ok(())
        })?;
        all.ok_or_else(|| Error::shape("data", "0 rows", "at least one row"))
    }
}

/// `each` of the rows at most `chunk` at once, with their condition; `observe` hears how many are done.
pub fn in_parts(
    rows: &Split,
    chunk: usize,
    observe: impl Fn(usize),
    mut each: impl FnMut(&Split, &Condition) -> Result<()>,
) -> Result<()> {
    for start in (0..rows.len()).step_by(chunk) {
        let indices: Vec<usize> = (start..(start + chunk).min(rows.len())).collect();
        let part = rows.select(&indices);
        each(&part, &part.labels().into())?;
        observe(start + indices.len());
    }
    Ok(())
}

/// Prints the table.
pub fn print(found: &[LogP]) {
    let Some(first) = found.first() else { return };
    let measure = match first.measure {
        Measure::Counting => "probabilities of integers",
        Measure::Raw => "densities in the data's units",
        Measure::Standardised => "densities in model units",
    };
    output::line(&format!("log p of {} held-out rows, {measure}", first.rows));
    let (headings, rows) = table(found);
    output::table(&headings, &rows);
}

/// A line for each under their headings, without columns that would be empty.
pub fn table(found: &[LogP]) -> (Vec<&'static str>, Vec<Vec<String>>) {
    // Integers and kinds have the names that JSON gives them.
    let name = |value: serde_json::Result<serde_json::Value>| match value {
        Ok(serde_json::Value::String(name)) if name != "none" => name,
        _ => String::new(),
    };
    let pair = |value: Option<f64>, error: Option<f64>| {
        let both = value.zip(error);
        both.map_or(String::new(), |(value, error)| format!("{value:.4} ± {error:.4}"))
    };
    let row = |p: &LogP| {
        vec![
            p.density.to_string(),
            p.how.clone(),
            name(serde_json::to_value(p.integers)),
            name(serde_json::to_value(p.kind)),
            pair(Some(p.mean), Some(p.standard_error)),
            pair(p.bits_per_dimension, p.bits_per_dimension_error),
            pair(p.divergence, p.divergence_error),
        ]
    };
    let headings = [
        "density",
        "how",
        "integers",
        "kind",
        "nats a row",
        "bits per dimension",
        "KL(data ‖ model)",
    ];
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    let kept: Vec<usize> =
        (0..headings.len()).filter(|&j| rows.iter().any(|row| !row[j].is_empty())).collect();
    let headings: Vec<&'static str> = kept.iter().map(|&j| headings[j]).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| kept.iter().map(|&j| row[j].clone()).collect()).collect();
    (headings, rows)
}
