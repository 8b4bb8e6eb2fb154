//! Dequantisation shared by the densities of all families.

use super::{DensityEntry, Integers, Judge, Loader, Setting, Task};
use crate::data::{Condition, Rows, Space};
use crate::density::{Density, Dequantise, Dequantiser, InSpace, LogProb, RawDensity, Uniform};
use crate::error::one_of;
use crate::objective::LogDensity;
use crate::tensor::Divergence;
use crate::train::{DequantiserFit, fit_dequantiser};
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use std::collections::BTreeMap;
use std::sync::Mutex;
use toml::{Table, Value};

/// The number of channels or hidden units of a dequantiser.
const HIDDEN: usize = 32;
/// The number of evaluations of an adaptive solver's path, approximately.
pub(super) const OF_A_PATH: f64 = 100.0;

/// Dequantisers fitted to a model, by their steps and seed.
pub(super) type Dequantisers = Mutex<BTreeMap<(u64, u64), Dequantiser>>;

/// The treatments of a space's integers by a density of real rows, the default first.
pub(super) fn spread_integers(space: &Space) -> Vec<Integers> {
    match (0..space.width()).any(|j| space.coordinate(j).is_quantised()) {
        true => vec![Integers::Uniform, Integers::Variational],
        false => vec![Integers::None],
    }
}

/// The dequantiser fitted to a density on the training rows, in `steps` steps or the usual number; fitted once for each
/// number of steps and seed.
pub(super) fn fitted_dequantiser(
    fitted: &Dequantisers,
    log_p: LogDensity,
    (space, data): (&Space, &Loader),
    steps: Option<u64>,
    at: &Setting,
) -> Result<Dequantiser> {
    let steps = steps.unwrap_or(DequantiserFit::default().steps);
    let key = (steps, at.seed);
    let kept = || fitted.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(found) = kept().get(&key) {
        return Ok(found.clone());
    }
    let train = data()?.fit_rows();
    let fit = DequantiserFit { steps, seed: at.seed, ..DequantiserFit::default() };
    let initial = Draws::new(fit.seed).purpose("initial");
    let fresh = Dequantiser::new(space, HIDDEN, &initial, at.device)?;
    let mut smooth = None;
    let found = fit_dequantiser(fresh, log_p, (&train, space), fit, |step, loss| {
        let mean: f64 = smooth.map_or(loss, |s: f64| s + 0.02 * (loss - s));
        smooth = Some(mean);
        (at.observe)(Task {
            what: "fitting".into(),
            unit: "steps",
            done: step,
            total: fit.steps,
            note: format!("{:.4} nats a column", mean / space.width() as f64),
        });
    })?;
    kept().insert(key, found.clone());
    Ok(found)
}

/// The number of rows computed at once.
pub(super) fn chunk(space: &Space) -> usize {
    ((1 << 17) / space.model_width()).clamp(64, 4096)
}

/// A density of raw rows, with integers dequantised.
pub(super) struct DequantisedDensity<'a> {
    density: Box<dyn Density + 'a>,
    space: &'a Space,
    dequantise: Box<dyn Dequantise>,
    draws: Draws,
    device: Device,
}

impl<'a> DequantisedDensity<'a> {
    pub fn new(
        density: Box<dyn Density + 'a>,
        space: &'a Space,
        dequantise: Box<dyn Dequantise>,
        draws: Draws,
        device: &Device,
    ) -> Self {
        Self { density, space, dequantise, draws, device: device.clone() }
    }
}

impl RawDensity for DequantisedDensity<'_> {
    fn log_prob(
        &self,
        raw: &Rows,
        condition: &Condition,
        observe: &mut dyn FnMut(usize),
    ) -> Result<LogProb> {
        let density = InSpace {
            density: &*self.density,
            space: self.space,
            dequantise: &*self.dequantise,
            draws: self.draws,
            device: &self.device,
            chunk: chunk(self.space),
        };
        density.log_prob(raw, condition, observe)
    }
}

/// The list of a model's only and exact density; empty where a column is a category, which has no density.
pub(super) fn exact(space: &Space, name: &'static str, about: &'static str) -> Vec<DensityEntry> {
    if space.without_density().is_some() {
        return Vec::new();
    }
    let quantised = (0..space.width()).any(|j| space.coordinate(j).is_quantised());
    let integers = vec![if quantised { Integers::Uniform } else { Integers::None }];
    vec![DensityEntry { name, about, integers }]
}

/// The judge of an exact density, if `name` is one of `entries` and there are no options.
pub(super) fn judge_exact<'a>(
    entries: &[DensityEntry],
    (name, options): (&str, &Table),
    density: Box<dyn Density + 'a>,
    space: &'a Space,
    at: &Setting,
) -> Result<Judge<'a>> {
    let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
    if !names.contains(&name) {
        return Err(Error::config("density", name, one_of(name, &names)));
    }
    no_keys(options, "no option: this density is exact")?;
    let draws = Draws::new(at.seed).purpose("log p");
    let density =
        Box::new(DequantisedDensity::new(density, space, Box::new(Uniform), draws, at.device));
    Ok(Judge { density, how: "in closed form".into(), evaluations: 1.0 })
}

/// Fails, naming the first key, unless a table is empty.
pub(super) fn no_keys(table: &Table, expected: &str) -> Result<()> {
    match table.keys().next() {
        None => Ok(()),
        Some(key) => Err(Error::config(key, "unknown key", expected)),
    }
}

/// A number from 1 to `most`, or none for the word `word`.
pub(super) fn number(
    key: &str,
    value: &Value,
    most: usize,
    word: Option<&str>,
) -> Result<Option<usize>> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
    if word == Some(text.as_str()) {
        return Ok(None);
    }
    let found = text.parse().ok().filter(|n| (1..=most).contains(n));
    let expected = match word {
        Some(word) => format!("`{word}` or a number from 1 to {most}"),
        None => format!("a number from 1 to {most}"),
    };
    found.map(Some).ok_or_else(|| Error::config(key, text, expected))
}

/// The estimator of the divergence.
pub(super) fn divergence(value: Option<&Value>, space: &Space) -> Result<Divergence> {
    let given = value.map(|value| number("probes", value, 10_000, Some("exact"))).transpose()?;
    Ok(match given {
        Some(None) => Divergence::Exact,
        Some(Some(probes)) => Divergence::hutchinson(probes),
        None => Divergence::usual(space.model_width(), 4),
    })
}

/// `n` of `what`, in words.
pub(super) fn plural(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
