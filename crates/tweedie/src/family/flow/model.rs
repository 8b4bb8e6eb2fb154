//! A normalising flow with its weights, as a model.

use super::estimate::FlowEstimate;
use super::picture::layers;
use super::{Flow, FlowSampling};
use crate::data::{Condition, Generate, LogDensity, Space};
use crate::density::{Density, Dequantise, NormalisedDensity, Uniform};
use crate::error::one_of;
use crate::family::density::{
    DequantisedDensity, Dequantisers, OF_A_PATH, divergence, fitted_dequantiser, no_keys, plural,
    spread_integers,
};
use crate::family::plane::Plane;
use crate::family::{
    DensityEntry, Drawing, Integers, Judge, Loader, Model, Opening, Picture, PictureSetting,
    Setting,
};
use crate::nn::{self, map_params};
use crate::registry::{read, read_over};
use crate::tensor::Divergence;
use crate::train::State;
use crate::{Draws, Error, Result};
use burn::tensor::{Device, Tensor};
use serde::Deserialize;
use std::any::Any;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use toml::{Table, Value};

/// The name of the only density.
const EXACT: &str = "exact";
/// The most activations of the rows generated at once.
const MOST_AT_ONCE: usize = 1 << 24;

/// A trained flow: samples, densities and pictures of it.
pub struct FlowModel {
    /// The resolved recipe.
    pub recipe: Flow,
    /// The flow: a density of rows in model units, conditional on the class if there are classes.
    pub flow: nn::flow::Flow,
    space: Space,
    classes: Vec<usize>,
    data: Loader,
    fitted: Dequantisers,
}

/// Options of a density.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Steps of fitting a dequantiser; the usual number if absent.
    dequantise_steps: Option<u64>,
    /// The number of random vectors that estimate the divergence of a velocity, or `exact`.
    probes: Option<Value>,
}

impl FlowModel {
    /// The model of a resolved recipe with its weights; `origin` is the name of their file in errors.
    ///
    /// # Errors
    /// [`Error::File`] if the weights do not fit the flow.
    pub fn new(recipe: Flow, at: &Opening, weights: &State, origin: &Path) -> Result<Self> {
        let flow = recipe.flow.init(&Draws::new(0), &at.device)?;
        Ok(Self {
            flow: map_params(flow, weights, origin)?,
            recipe,
            space: at.space.clone(),
            classes: at.classes.clone(),
            data: at.data.clone(),
            fitted: Dequantisers::default(),
        })
    }

    /// A generator of rows from noise with standard deviation `temperature`.
    fn at_temperature(&self, temperature: f64) -> Box<dyn Generate + '_> {
        let rows_at_once = (MOST_AT_ONCE / self.recipe.flow.activations()).clamp(1, 4096) as u64;
        let evaluations = AtomicU64::new(0);
        Box::new(TemperedFlow { flow: &self.flow, temperature, rows_at_once, evaluations })
    }

    /// Fails for a flow whose density is conditional.
    fn check_unconditional(&self) -> Result<()> {
        let given = match (self.space.classes().is_empty(), self.space.given()) {
            (true, None) => return Ok(()),
            (false, _) => "class: train one without labels (data.label)",
            (true, Some(_)) => "condition: train one without (data.condition)",
        };
        let why = format!("the flow of this run is the density of a row given its {given}");
        Err(Error::undefined("a target of chains", why))
    }

    /// The exact density of rows in model units.
    fn exact(&self) -> Result<NormalisedDensity> {
        NormalisedDensity::new(Arc::new(self.flow.clone()))
    }

    /// The divergence of log p by velocities, exact for flows without them.
    fn divergence(&self, probes: Option<&Value>) -> Result<Divergence> {
        match (self.recipe.flow.probed_layers(), probes) {
            (0, Some(probes)) => {
                let expected = "no such key: no layer of this flow has a divergence";
                Err(Error::config("probes", probes.to_string(), expected))
            }
            (0, None) => Ok(Divergence::Exact),
            (_, probes) => divergence(probes, &self.space),
        }
    }

    /// A small network fitted to the flow that dequantises integers.
    fn dequantiser(&self, steps: Option<u64>, at: &Setting) -> Result<Box<dyn Dequantise>> {
        let log_p = |x: Tensor<2>, of: &Condition, _: &Draws| {
            self.flow.log_density(x.into(), of).map(|log_p| log_p.value)
        };
        let of = (&self.space, &self.data);
        Ok(Box::new(fitted_dequantiser(&self.fitted, &log_p, of, steps, at)?))
    }
}

impl Model for FlowModel {
    fn space(&self) -> &Space {
        &self.space
    }

    fn generator(&self, sampling: &Table, _: &Setting) -> Result<Box<dyn Generate + '_>> {
        let sampling: FlowSampling = read_over(&self.recipe.sampling, sampling)?;
        sampling.check()?;
        Ok(self.at_temperature(sampling.temperature))
    }

    fn densities(&self) -> Vec<DensityEntry> {
        let about = "log p by the change of variables";
        vec![DensityEntry { name: EXACT, about, integers: spread_integers(&self.space) }]
    }

    fn density(
        &self,
        name: &str,
        options: &Table,
        integers: Integers,
        at: &Setting,
    ) -> Result<Judge<'_>> {
        if name != EXACT {
            return Err(Error::config("density", name, one_of(name, &[EXACT])));
        }
        let options: Options = read(Value::Table(options.clone()), "")?;
        let dequantise: Box<dyn Dequantise> = match integers {
            Integers::Variational => self.dequantiser(options.dequantise_steps, at)?,
            _ => Box::new(Uniform),
        };
        let draws = Draws::new(at.seed).purpose("log p");
        let (mut how, mut cost) = ("change of variables".into(), self.space.model_width());
        let density: Box<dyn Density + '_> = match self.divergence(options.probes.as_ref())? {
            Divergence::Exact => Box::new(self.exact()?),
            Divergence::Hutchinson { probes, .. } => {
                (how, cost) = (format!("{how}, {}", plural(probes, "probe")), probes);
                Box::new(FlowEstimate { flow: &self.flow, probes, draws })
            }
        };
        let evaluations = self.recipe.flow.probed_layers() as f64 * OF_A_PATH * (1 + cost) as f64;
        let density = DequantisedDensity::new(density, &self.space, dequantise, draws, at.device);
        Ok(Judge { density: Box::new(density), how, evaluations: evaluations.max(1.0) })
    }

    /// The flow's density in model units; where integers were dequantised, their noise is included.
    fn target(&self, options: &Table) -> Result<Arc<dyn LogDensity>> {
        no_keys(options, "no key: the target is the flow's density")?;
        self.check_unconditional()?;
        Ok(Arc::new(self.flow.clone()))
    }

    fn exact(&self) -> Result<Box<dyn Generate + '_>> {
        self.check_unconditional()?;
        Ok(self.at_temperature(1.0))
    }

    fn pictures<'a>(&'a self, at: &'a PictureSetting<'a>) -> Vec<Picture<'a>> {
        let draw = move || {
            let (space, density) = (&self.space, &self.exact()?);
            let plane =
                Plane { space, classes: &self.classes, density, title: "Density of the model" };
            plane.draw(at).map(Drawing::Still)
        };
        let about = "the data and the model's density";
        let layers = move || layers(&self.flow, &self.space, at.device).map(Drawing::Still);
        let of_layers = "a grid of noise carried through the layers";
        vec![
            Picture { name: "density", about, draw: Box::new(draw) },
            Picture { name: "layers", about: of_layers, draw: Box::new(layers) },
        ]
    }

    fn any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// A generator of a flow's rows from noise with standard deviation `temperature`.
struct TemperedFlow<'a> {
    flow: &'a nn::flow::Flow,
    temperature: f64,
    rows_at_once: u64,
    /// The number of network evaluations so far.
    evaluations: AtomicU64,
}

impl Generate for TemperedFlow<'_> {
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        let noise = draws.normals(rows, self.flow.width()).to_tensor(device);
        let noise = noise.mul_scalar(self.temperature);
        let (x, evaluations) = self.flow.sample_with_evaluations(noise, condition)?;
        self.evaluations.fetch_add(evaluations, Ordering::Relaxed);
        Ok(x)
    }

    fn name(&self) -> String {
        self.flow.name()
    }

    fn network_evaluations(&self) -> u64 {
        self.evaluations.load(Ordering::Relaxed)
    }

    fn rows_at_once(&self) -> u64 {
        self.rows_at_once
    }
}
