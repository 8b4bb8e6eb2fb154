//! An energy with its weights, as a model.

use super::chains::Walk;
use super::generator::ChainEnds;
use super::learner::{take_buffer, take_moments};
use super::normaliser::{LogZ, anneal};
use super::{ChainStart, EnergyRecipe, EnergySampling, with_test};
use crate::data::{Condition, Generate, LogDensity, Rows, Space};
use crate::density::{Density, Kind, LogProb, Measure, RawDensity, Uniform, check_batch, in_parts};
use crate::error::{count, one_of};
use crate::family::density::{DequantisedDensity, chunk, no_keys, spread_integers};
use crate::family::plane::Plane;
use crate::family::{
    DensityEntry, Drawing, Integers, Judge, Model, Opening, Picture, PictureSetting, Setting, Task,
};
use crate::mcmc::{Annealing, AnyKernel};
use crate::nn::energy::{Energy, EnergyDensity, Moments};
use crate::nn::map_params;
use crate::registry::{read, read_over};
use crate::tensor::host_column;
use crate::train::State;
use crate::{Draws, Error, Result};
use burn::tensor::{Device, Tensor};
use serde::Deserialize;
use std::any::Any;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use toml::{Table, Value};

/// The names of the densities.
const ENUMERATED: &str = "enumerated";
const ANNEALED: &str = "annealed";

/// The options of annealing.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The number of temperatures.
    temperatures: usize,
    /// The number of chains in either direction.
    draws: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { temperatures: 1000, draws: 200 }
    }
}

/// ln Z of some options and a seed.
type Known = Mutex<Vec<((Options, u64), LogZ)>>;

/// A trained energy: samples, estimates of log p, and the energy as a target of chains.
pub struct EnergyModel {
    /// The resolved recipe.
    pub recipe: EnergyRecipe,
    /// exp(−E), without its normaliser, in model units.
    pub density: EnergyDensity,
    space: Space,
    buffer: Rows,
    base: Moments,
    device: Device,
    known: Known,
}

impl EnergyModel {
    /// The model of a resolved recipe with its weights; `origin` is the name of their file in errors.
    ///
    /// # Errors
    /// [`Error::File`] if the weights do not fit the energy.
    pub fn new(recipe: EnergyRecipe, at: &Opening, weights: &State, origin: &Path) -> Result<Self> {
        let (mut weights, width) = (weights.clone(), at.space.model_width());
        let buffer = take_buffer(&mut weights, width, origin)?;
        let base = take_moments(&mut weights, width, origin)?;
        let energy = recipe.energy.init(&at.space, &Draws::new(0), &at.device)?;
        Ok(Self {
            density: EnergyDensity::new(map_params(energy, &weights, origin)?),
            recipe,
            space: at.space.clone(),
            buffer,
            base,
            device: at.device.clone(),
            known: Known::default(),
        })
    }

    fn kernel(&self, sampling: &EnergySampling) -> AnyKernel {
        sampling.kernel.unwrap_or_else(|| self.recipe.resolved_kernel())
    }

    /// A generator of the ends of chains.
    fn ends(&self, sampling: EnergySampling) -> ChainEnds<'_> {
        let kernel = self.kernel(&sampling);
        ChainEnds {
            density: self.density.clone(),
            walk: Walk { kernel, steps: sampling.steps, temperature: 1.0 },
            start: if self.buffer.is_empty() { ChainStart::Base } else { sampling.start },
            buffer: &self.buffer,
            base: &self.base,
            evaluations: AtomicU64::new(0),
        }
    }

    /// ln Z by annealing in both directions; computed once for each seed.
    fn log_z(&self, options: Options, at: &Setting) -> Result<LogZ> {
        let known = || self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let key = (options, at.seed);
        if let Some((_, found)) = known().iter().find(|(own, _)| *own == key) {
            return Ok(found.clone());
        }
        count("temperatures", options.temperatures as u64, 1 << 24)?;
        count("draws", options.draws as u64, 1 << 20)?;
        if options.draws < 2 {
            return Err(Error::config(
                "draws",
                "1",
                "at least 2 chains, whose spread is the error",
            ));
        }
        let report = |done| {
            let (what, unit) = ("ln Z by annealing".to_string(), "directions");
            (at.observe)(Task { what, unit, done, total: 2, note: String::new() });
        };
        report(0);
        let (sampling, draws) = (self.recipe.sampling, Draws::new(at.seed).purpose("annealing"));
        let rows = 0..options.draws as u64;
        let ends = self.ends(sampling).generate(rows, &Condition::None, &draws, &self.device)?;
        let kernel = with_test(self.kernel(&sampling));
        let annealing =
            Annealing { kernel: &*kernel, temperatures: options.temperatures, steps: 1 };
        let found = anneal(&self.density, &self.base, annealing, ends, (&draws, &self.device))?;
        report(2);
        known().push((key, found.clone()));
        Ok(found)
    }

    /// log p with the normaliser of the density `name`, with words on it.
    fn normalised(
        &self,
        name: &str,
        options: Options,
        at: &Setting,
    ) -> Result<(Normalised<'_>, String)> {
        if name == ENUMERATED {
            let log_z = host_column(&self.density.energy().log_z()?)?[0];
            let own = Normalised { model: self, log_z, error: None };
            return Ok((own, format!("ln Z {log_z:.4} enumerated")));
        }
        let found = self.log_z(options, at)?;
        let larger = found.larger();
        let own =
            Normalised { model: self, log_z: larger.value, error: Some(larger.standard_error) };
        Ok((own, found.words()))
    }

    /// The name of the first density.
    fn first(&self) -> &'static str {
        if self.density.energy().is_enumerable() { ENUMERATED } else { ANNEALED }
    }
}

impl Model for EnergyModel {
    fn space(&self) -> &Space {
        &self.space
    }

    fn generator(&self, sampling: &Table, _: &Setting) -> Result<Box<dyn Generate + '_>> {
        let sampling: EnergySampling = read_over(&self.recipe.sampling, sampling)?;
        sampling.check()?;
        Ok(Box::new(self.ends(sampling)))
    }

    fn densities(&self) -> Vec<DensityEntry> {
        let integers = match self.recipe.energy.is_discrete() {
            true => vec![Integers::None],
            false => spread_integers(&self.space).into_iter().take(1).collect(),
        };
        let entry = |name, about| DensityEntry { name, about, integers: integers.clone() };
        let enumerated = entry(ENUMERATED, "log p with Z enumerated");
        let annealed = entry(
            ANNEALED,
            "log p by ln Z of annealing, the larger of two directions, temperatures = 1000, draws = 200",
        );
        match self.density.energy().is_enumerable() {
            true => vec![enumerated, annealed],
            false => vec![annealed],
        }
    }

    fn density(&self, name: &str, options: &Table, _: Integers, at: &Setting) -> Result<Judge<'_>> {
        let names: Vec<&str> = self.densities().iter().map(|entry| entry.name).collect();
        if !names.contains(&name) {
            return Err(Error::config("density", name, one_of(name, &names)));
        }
        let options: Options = read(Value::Table(options.clone()), "")?;
        let (own, how) = self.normalised(name, options, at)?;
        let density: Box<dyn RawDensity> = match self.recipe.energy.is_discrete() {
            true => Box::new(own),
            false => {
                let draws = Draws::new(at.seed).purpose("log p");
                let (own, way) = (Box::new(own), Box::new(Uniform));
                Box::new(DequantisedDensity::new(own, &self.space, way, draws, at.device))
            }
        };
        Ok(Judge { density, how, evaluations: 1.0 })
    }

    /// exp(−E) in model units; where integers were dequantised, their noise is included.
    fn target(&self, options: &Table) -> Result<Arc<dyn LogDensity>> {
        no_keys(options, "no key: the target is exp(−E)")?;
        Ok(Arc::new(self.density.clone()))
    }

    fn pictures<'a>(&'a self, at: &'a PictureSetting<'a>) -> Vec<Picture<'a>> {
        let plane = move || {
            let setting = Setting { device: at.device, seed: at.seed, observe: &|_| {} };
            let (density, _) = self.normalised(self.first(), Options::default(), &setting)?;
            let title = "Density of the model, by its estimate of ln Z";
            let (space, classes) = (&self.space, &[][..]);
            Plane { space, classes, density: &density, title }.draw(at).map(Drawing::Still)
        };
        vec![Picture {
            name: "density",
            about: "the data and the model's density, normalised by its estimate of ln Z",
            draw: Box::new(plane),
        }]
    }

    fn any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// log p = −E − ln Z.
struct Normalised<'a> {
    model: &'a EnergyModel,
    log_z: f64,
    /// The standard error of ln Z; none if it is exact.
    error: Option<f64>,
}

impl Density for Normalised<'_> {
    fn log_prob(&self, x: Tensor<2>, condition: &Condition) -> Result<LogProb> {
        let density = &self.model.density;
        check_batch(density.width(), &x, condition)?;
        let log = host_column(&density.log_density(x.into(), condition)?.value)?;
        Ok(LogProb {
            kind: if self.error.is_some() { Kind::Estimate } else { Kind::Exact },
            standard_error: self.error.map(|error| vec![error; log.len()]),
            value: log.into_iter().map(|log| log - self.log_z).collect(),
            measure: Measure::Standardised,
        })
    }
}

/// Probabilities of zeros and ones.
impl RawDensity for Normalised<'_> {
    fn log_prob(
        &self,
        raw: &Rows,
        condition: &Condition,
        observe: &mut dyn FnMut(usize),
    ) -> Result<LogProb> {
        condition.check(raw.len())?;
        let (space, device) = (&self.model.space, &self.model.device);
        in_parts(raw.len(), chunk(space), observe, |rows| {
            let x = space.encode(&raw.slice(rows.clone()))?.to_tensor(device);
            let own = Density::log_prob(self, x, &condition.slice(rows))?;
            Ok(LogProb { measure: Measure::Counting, ..own })
        })
    }
}
