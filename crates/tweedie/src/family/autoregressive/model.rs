//! An autoregressive network with its weights, as a model.

use super::AutoregressiveRecipe;
use super::picture::filling;
use crate::data::{Condition, Generate, LogDensity, Rows, Space};
use crate::density::{Kind, LogProb, Measure, NormalisedDensity, RawDensity, in_parts};
use crate::error::one_of;
use crate::family::counter::RowCounter;
use crate::family::density::{chunk, no_keys};
use crate::family::plane::Plane;
use crate::family::{
    DensityEntry, Drawing, Integers, Judge, Model, Opening, Picture, PictureSetting, Setting,
    draws_of_samples, sample,
};
use crate::nn::autoregressive::Autoregressive;
use crate::nn::map_params;
use crate::tensor::host_column;
use crate::train::State;
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use std::any::Any;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use toml::Table;

/// The name of the only density.
const EXACT: &str = "exact";
/// The most activations of the rows generated at once.
const MOST_AT_ONCE: usize = 1 << 24;

/// A trained autoregressive model: samples and exact probabilities.
pub struct AutoregressiveModel {
    /// The resolved recipe.
    pub recipe: AutoregressiveRecipe,
    /// The network: probabilities and densities of rows in model units.
    pub network: Autoregressive,
    space: Space,
    classes: Vec<usize>,
    rows_at_once: u64,
    device: Device,
}

impl AutoregressiveModel {
    /// The model of a resolved recipe with its weights; `origin` is the name of their file in errors.
    ///
    /// # Errors
    /// [`Error::File`] if the weights do not fit the network.
    pub fn new(
        recipe: AutoregressiveRecipe,
        at: &Opening,
        weights: &State,
        origin: &Path,
    ) -> Result<Self> {
        let network = recipe.autoregressive.init(&at.space, &Draws::new(0), &at.device)?;
        let activations = recipe.autoregressive.activations(&at.space)?.max(1);
        Ok(Self {
            network: map_params(network, weights, origin)?,
            rows_at_once: (MOST_AT_ONCE / activations).clamp(1, 1024) as u64,
            recipe,
            space: at.space.clone(),
            classes: at.classes.clone(),
            device: at.device.clone(),
        })
    }

    /// Fails, saying `what` it cannot be, unless rows have an unconditional density in model units.
    fn check_real(&self, what: &str) -> Result<()> {
        if let Some(problem) = self.space.without_density() {
            return Err(Error::undefined(what, problem));
        }
        if let Some(j) = (0..self.space.width()).find(|j| self.space.coordinate(*j).is_discrete()) {
            let column = self.space.column_name(j);
            return Err(Error::undefined(what, format!("column '{column}' has probabilities")));
        }
        let given = match (self.space.classes().is_empty(), self.space.given()) {
            (true, None) => return Ok(()),
            (false, _) => "class: train one without labels (data.label)",
            (true, Some(_)) => "condition: train one without (data.condition)",
        };
        Err(Error::undefined(what, format!("the run's density is of a row given its {given}")))
    }
}

impl Model for AutoregressiveModel {
    fn space(&self) -> &Space {
        &self.space
    }

    fn generator(&self, sampling: &Table, _: &Setting) -> Result<Box<dyn Generate + '_>> {
        no_keys(sampling, "no option: every column is drawn from its distribution")?;
        Ok(Box::new(RowCounter::new(&self.network, self.rows_at_once)))
    }

    fn densities(&self) -> Vec<DensityEntry> {
        let about = "log p as the sum over columns";
        vec![DensityEntry { name: EXACT, about, integers: vec![Integers::None] }]
    }

    fn density(&self, name: &str, options: &Table, _: Integers, _: &Setting) -> Result<Judge<'_>> {
        if name != EXACT {
            return Err(Error::config("density", name, one_of(name, &[EXACT])));
        }
        no_keys(options, "no option: this density is exact")?;
        let how = "sum over columns".into();
        Ok(Judge { density: Box::new(ExactDensity(self)), how, evaluations: 1.0 })
    }

    fn target(&self, options: &Table) -> Result<Arc<dyn LogDensity>> {
        no_keys(options, "no key: the target is the model's density")?;
        self.check_real("a target of chains")?;
        Ok(Arc::new(self.network.clone()))
    }

    fn exact(&self) -> Result<Box<dyn Generate + '_>> {
        self.check_real("exact draws of a run")?;
        Ok(Box::new(RowCounter::new(&self.network, self.rows_at_once)))
    }

    fn pictures<'a>(&'a self, at: &'a PictureSetting<'a>) -> Vec<Picture<'a>> {
        let draw = move || {
            let density = &NormalisedDensity::new(Arc::new(self.network.clone()))?;
            let (space, classes) = (&self.space, &self.classes[..]);
            let plane = Plane { space, classes, density, title: "Density of the model" };
            plane.draw(at).map(Drawing::Still)
        };
        let filled = move || {
            let setting = Setting { device: at.device, seed: at.seed, observe: &|_| {} };
            let generator = self.generator(at.sampling, &setting)?;
            let classes = self.space.classes().len() as u64;
            let given = |rows: Range<u64>| match classes {
                0 => Ok(Condition::None),
                _ => Ok(Condition::Class(rows.map(|i| Some((i % classes) as u32)).collect())),
            };
            let samples = sample(self, &*generator, 0..6, given, at.seed, at.device, |_| {})?;
            let (network, space) = (&self.network, &self.space);
            let draws = draws_of_samples(at.seed);
            filling(network, space, &samples, &draws, at.real(), at.device).map(Drawing::Still)
        };
        vec![
            Picture {
                name: "density",
                about: "the data and the model's density",
                draw: Box::new(draw),
            },
            Picture {
                name: "filling",
                about: "samples in the order of their columns, and the surprise of each pixel",
                draw: Box::new(filled),
            },
        ]
    }

    fn any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// The probabilities, or densities in the data's units, of raw rows.
struct ExactDensity<'a>(&'a AutoregressiveModel);

impl RawDensity for ExactDensity<'_> {
    fn log_prob(
        &self,
        raw: &Rows,
        condition: &Condition,
        observe: &mut dyn FnMut(usize),
    ) -> Result<LogProb> {
        condition.check(raw.len())?;
        let model = self.0;
        let discrete = model.network.is_discrete();
        let measure = if discrete { Measure::Counting } else { Measure::Raw };
        in_parts(raw.len(), chunk(&model.space), observe, |rows| {
            let x = model.space.encode(&raw.slice(rows.clone()))?;
            let volumes = model.space.log_volumes_of_reals(&x)?;
            let x = x.to_tensor(&model.device);
            let log_p = model.network.log_density(x.into(), &condition.slice(rows))?;
            let log_p = host_column(&log_p.value)?;
            let value = log_p.iter().zip(volumes).map(|(log_p, volume)| log_p - volume).collect();
            Ok(LogProb { value, kind: Kind::Exact, standard_error: None, measure })
        })
    }
}
