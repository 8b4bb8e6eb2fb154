//! The densities of a diffusion model: of its probability-flow ODE, and of its reverse SDE by weighted paths and by its
//! variational bound.

use super::DiffusionModel;
use crate::data::{Condition, Kind, Rows, Space};
use crate::density::{
    Bound, Decoder, Dequantise, LogProb, RawDensity, ReverseSde, Uniform, in_parts,
};
use crate::family::density::{
    DequantisedDensity, OF_A_PATH, chunk, divergence, fitted_dequantiser, number, plural,
};
use crate::family::{DensityEntry, Integers, Judge, Setting};
use crate::registry::read;
use crate::tensor::Divergence;
use crate::{Draws, Error, Result};
use burn::tensor::{Device, Tensor};
use serde::Deserialize;
use toml::{Table, Value};

/// The number of steps of the reverse SDE's paths.
const OF_WEIGHTS: f64 = 200.0;

/// Options of a density.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The number of paths per row of `sde`.
    paths: Option<usize>,
    /// The number of probes of the divergence, or `exact`; the number of noise levels per row of `elbo`.
    probes: Option<Value>,
    /// The number of levels of `elbo`, or `continuous`.
    levels: Option<Value>,
    /// The number of steps of fitting a dequantiser.
    dequantise_steps: Option<u64>,
}

/// The densities of a model, with their treatments of integers; the first is the default. A model trained on integers
/// as they are has learnt their bound, and no density between them.
pub(super) fn entries(of: &DiffusionModel) -> Vec<DensityEntry> {
    let space = &of.space;
    if space.without_density().is_some() {
        return Vec::new();
    }
    let quantised = (0..space.width()).any(|j| space.coordinate(j).is_quantised());
    let entry = |name, about, decodes: bool| {
        let mut integers = Vec::new();
        match (quantised, decodes) {
            (false, _) => integers.push(Integers::None),
            // A model trained at the centres of bins has no density of places within them.
            (true, true) if !of.recipe.training.dequantise => {
                integers.extend([Integers::Decoder, Integers::NetworkDecoder, Integers::Uniform]);
            }
            (true, true) => {
                integers.extend([Integers::Uniform, Integers::Decoder, Integers::NetworkDecoder]);
            }
            (true, false) => integers.push(Integers::Uniform),
        }
        // The denoiser of an energy has no derivative for the fit of a dequantiser.
        if quantised && !of.recipe.model.energy {
            integers.push(Integers::Variational);
        }
        DensityEntry { name, about, integers }
    };
    let limited =
        |j| matches!(space.coordinate(j).kind, Kind::Quantised { low: Some(_), high: Some(_) });
    let decodes = (0..space.width()).all(limited);
    let mut all = vec![
        entry("ode", "the probability-flow ODE's log p", false),
        entry("sde", "the reverse SDE's, by weighted paths: a lower bound", false),
        entry("elbo", "the reverse SDE's, by its variational bound", decodes),
    ];
    if decodes && !of.recipe.training.dequantise {
        all.rotate_right(1);
    }
    all
}

/// The density `name` of a model, with its options and a treatment of integers.
pub(super) fn judge<'a>(
    model: &'a DiffusionModel,
    name: &str,
    options: &Table,
    integers: Integers,
    at: &Setting,
) -> Result<Judge<'a>> {
    let options: Options = read(Value::Table(options.clone()), "")?;
    let draws = Draws::new(at.seed).purpose("log p");
    let dequantise = match integers {
        Integers::Variational => dequantiser(model, &options, draws, at)?,
        _ => Box::new(Uniform),
    };
    let space = &model.space;
    let spread =
        |density| Box::new(DequantisedDensity::new(density, space, dequantise, draws, at.device));
    Ok(match name {
        "ode" => {
            let divergence = divergence(options.probes.as_ref(), space)?;
            let (how, cost) = match divergence {
                Divergence::Exact => ("exact divergence".into(), space.model_width() as f64),
                Divergence::Hutchinson { probes, .. } => (plural(probes, "probe"), probes as f64),
            };
            let density = model.pf_ode().with_divergence(divergence, draws);
            let density = spread(Box::new(density));
            Judge { density, how, evaluations: OF_A_PATH * (1.0 + cost) }
        }
        "sde" => {
            let paths = options.paths.unwrap_or(1);
            let density = ReverseSde::from(model.diffusing());
            let density = spread(Box::new(density.with_draws(draws).with_paths(paths)));
            let evaluations = OF_WEIGHTS * paths as f64;
            Judge { density, how: plural(paths, "path"), evaluations }
        }
        "elbo" => {
            let (probes, steps) = (probes(options.probes.as_ref())?, steps(model, &options)?);
            let how = match steps {
                None => format!("{}, continuous time", plural(probes, "draw")),
                Some(steps) => format!("{} of {} levels", plural(probes, "draw"), steps + 1),
            };
            let bound = bound(model, steps, draws).with_probes(probes);
            let decoder = match integers {
                Integers::Decoder => Some(Decoder::Noise),
                Integers::NetworkDecoder => Some(Decoder::Network),
                _ => None,
            };
            let density: Box<dyn RawDensity + 'a> = match decoder {
                None => spread(Box::new(bound)),
                Some(decoder) => {
                    let (bound, device) = (bound.with_decoder(decoder), at.device.clone());
                    Box::new(DecoderBound { bound, space, device, chunk: chunk(space) })
                }
            };
            Judge { density, how, evaluations: probes as f64 }
        }
        _ => {
            let names: Vec<&str> = entries(model).iter().map(|e| e.name).collect();
            return Err(Error::config("density", name, crate::error::one_of(name, &names)));
        }
    })
}

/// The variational bound in `steps` steps, or in continuous time.
fn bound(model: &DiffusionModel, steps: Option<usize>, draws: Draws) -> Bound {
    Bound::from(model.diffusing()).with_steps(steps).with_draws(draws)
}

/// The number of noise levels that the bound draws per row; `exact`, an option of the ODE, gives the default.
fn probes(value: Option<&Value>) -> Result<usize> {
    let Some(value) = value else { return Ok(64) };
    Ok(number("probes", value, 1_000_000, Some("exact"))?.unwrap_or(64))
}

/// The number of steps of the discrete bound; none in continuous time.
fn steps(model: &DiffusionModel, options: &Options) -> Result<Option<usize>> {
    let Some(value) = &options.levels else {
        return Ok(model.schedule.chain_len().map(|levels| levels - 1));
    };
    match number("levels", value, 1_000_000, Some("continuous"))? {
        Some(1) => {
            let expected = "`continuous` or a number from 2 to 1000000";
            Err(Error::config("levels", "1", expected))
        }
        levels => Ok(levels.map(|levels| levels - 1)),
    }
}

/// A dequantiser fitted to the variational bound on the training rows.
fn dequantiser(
    model: &DiffusionModel,
    options: &Options,
    draws: Draws,
    at: &Setting,
) -> Result<Box<dyn Dequantise>> {
    let bound = bound(model, None, draws);
    let log_p = |x: Tensor<2>, of: &Condition, draws: &Draws| bound.estimate(x, of, draws);
    let of = (&model.space, &model.data);
    let fitted = fitted_dequantiser(&model.fitted, &log_p, of, options.dequantise_steps, at)?;
    Ok(Box::new(fitted))
}

/// The bound of integers as they are.
struct DecoderBound<'a> {
    bound: Bound,
    space: &'a Space,
    device: Device,
    chunk: usize,
}

impl RawDensity for DecoderBound<'_> {
    fn log_prob(
        &self,
        raw: &Rows,
        condition: &Condition,
        observe: &mut dyn FnMut(usize),
    ) -> Result<LogProb> {
        condition.check(raw.len())?;
        in_parts(raw.len(), self.chunk, observe, |rows| {
            let (part, condition) = (raw.slice(rows.clone()), condition.slice(rows));
            Ok(self.bound.integers(&part, self.space, &condition, &self.device)?.log_prob())
        })
    }
}
