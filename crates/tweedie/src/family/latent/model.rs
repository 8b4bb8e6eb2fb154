//! A latent-variable network with its weights, as a model.

use super::LatentRecipe;
use super::picture::{latent_layers, reconstructions};
use crate::data::{Condition, Generate, Rows, Space};
use crate::density::{Density, Kind, LogProb, Measure, RawDensity, in_parts};
use crate::error::{count, one_of};
use crate::family::counter::RowCounter;
use crate::family::density::{chunk, no_keys};
use crate::family::plane::Plane;
use crate::family::{
    DensityEntry, Drawing, Integers, Judge, Loader, Model, Opening, Picture, PictureSetting,
    Setting,
};
use crate::latent::{Importance, LatentVariable};
use crate::mcmc::{Annealing, Hmc};
use crate::metric::judge::Score;
use crate::nn::map_params;
use crate::registry::read;
use crate::train::State;
use crate::{Draws, Error, Result};
use burn::tensor::{Device, Tensor};
use serde::Deserialize;
use std::any::Any;
use std::path::Path;
use toml::{Table, Value};

/// The names of the densities.
const IMPORTANCE: &str = "importance";
const ELBO: &str = "elbo";
const ANNEALED: &str = "annealed";
/// The most activations of the rows generated at once.
const MOST_AT_ONCE: usize = 1 << 24;

/// The options of a density.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The number of draws from the posterior of each row.
    draws: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { draws: 128 }
    }
}

/// The options of the density by annealing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AnnealedOptions {
    /// The number of chains of each row.
    draws: usize,
    /// The number of temperatures from prior to posterior.
    temperatures: usize,
    /// The time of a leapfrog step.
    step_size: f64,
    /// The number of leapfrog steps at a temperature.
    leapfrog: usize,
}

impl Default for AnnealedOptions {
    fn default() -> Self {
        Self { draws: 16, temperatures: 100, step_size: 0.1, leapfrog: 5 }
    }
}

/// The estimator of log p from importance weights w, whose mean is p(x).
enum Weighing {
    /// ln of the mean w of draws from the posterior.
    Importance,
    /// The mean ln w of draws from the posterior: the evidence lower bound.
    Bound,
    /// ln of the mean w of annealed importance sampling from the prior.
    Annealed { kernel: Hmc, temperatures: usize },
}

/// A trained latent-variable model: samples, and bounds of log p.
pub struct LatentModel {
    /// The resolved recipe.
    pub recipe: LatentRecipe,
    /// The networks: distributions of rows in model units.
    pub network: LatentVariable,
    pub(super) space: Space,
    pub(super) classes: Vec<usize>,
    rows_at_once: u64,
    /// The training data, for the aggregate posterior.
    pub(super) data: Loader,
    pub(super) device: Device,
}

impl LatentModel {
    /// The model of a resolved recipe with its weights; `origin` is the name of their file in errors.
    ///
    /// # Errors
    /// [`Error::File`] if the weights do not fit the networks.
    pub fn new(recipe: LatentRecipe, at: &Opening, weights: &State, origin: &Path) -> Result<Self> {
        let network = recipe.latent.init(&at.space, &Draws::new(0), &at.device)?;
        let activations = recipe.latent.activations(&at.space)?.max(1);
        Ok(Self {
            network: map_params(network, weights, origin)?,
            rows_at_once: (MOST_AT_ONCE / activations).clamp(1, 1024) as u64,
            recipe,
            space: at.space.clone(),
            classes: at.classes.clone(),
            data: at.data.clone(),
            device: at.device.clone(),
        })
    }
}

impl Model for LatentModel {
    fn space(&self) -> &Space {
        &self.space
    }

    fn generator(&self, sampling: &Table, _: &Setting) -> Result<Box<dyn Generate + '_>> {
        no_keys(sampling, "no option: z is drawn from the prior, and each column given z")?;
        Ok(Box::new(RowCounter::new(&self.network, self.rows_at_once)))
    }

    fn densities(&self) -> Vec<DensityEntry> {
        let entry = |name, about| DensityEntry { name, about, integers: vec![Integers::None] };
        vec![
            entry(IMPORTANCE, "log p by importance sampling from the posterior, draws = 128"),
            entry(ELBO, "the evidence lower bound, the mean of draws = 128 estimates"),
            entry(
                ANNEALED,
                "log p by annealed importance sampling from the prior, draws = 16, temperatures = 100",
            ),
        ]
    }

    fn density(&self, name: &str, options: &Table, _: Integers, at: &Setting) -> Result<Judge<'_>> {
        let names = [IMPORTANCE, ELBO, ANNEALED];
        if !names.contains(&name) {
            return Err(Error::config("density", name, one_of(name, &names)));
        }
        let options = Value::Table(options.clone());
        let of = Draws::new(at.seed).purpose("importance");
        if name == ANNEALED {
            let AnnealedOptions { draws, temperatures, step_size, leapfrog } = read(options, "")?;
            count("draws", draws as u64, 1 << 16)?;
            let kernel = Hmc { step_size, leapfrog, ..Hmc::default() };
            Annealing { kernel: &kernel, temperatures, steps: 1 }.check()?;
            let by = Weighing::Annealed { kernel, temperatures };
            let density = Box::new(Weighted { model: self, draws, by, of });
            let how = format!("{draws} chains through {temperatures} temperatures");
            let evaluations = (draws * temperatures * leapfrog) as f64;
            return Ok(Judge { density, how, evaluations });
        }
        let Options { draws } = read(options, "")?;
        count("draws", draws as u64, 1 << 24)?;
        let by = if name == ELBO { Weighing::Bound } else { Weighing::Importance };
        let density = Box::new(Weighted { model: self, draws, by, of });
        Ok(Judge { density, how: format!("{draws} draws"), evaluations: draws as f64 })
    }

    fn diagnostics(&self) -> Result<Vec<Score>> {
        self.of_aggregate()
    }

    fn pictures<'a>(&'a self, at: &'a PictureSetting<'a>) -> Vec<Picture<'a>> {
        let draws = Draws::new(at.seed).purpose("pictures");
        let plane = move || {
            let density = &InPlane { model: self, draws };
            let (space, classes) = (&self.space, &self.classes[..]);
            let title = "Density of the model, estimated";
            Plane { space, classes, density, title }.draw(at).map(Drawing::Still)
        };
        let again = move || {
            let (network, space) = (&self.network, &self.space);
            reconstructions(network, space, at.real(), &draws, at.device).map(Drawing::Still)
        };
        let data = || {
            let why = |why: &String| Error::undefined("a picture of the aggregate posterior", why);
            at.data.as_ref().map_err(why)
        };
        let latents = move || self.plane_of_latents(data()?).map(Drawing::Still);
        let holes = move || self.holes(data()?, &draws).map(Drawing::Still);
        let layers = move || {
            latent_layers(&self.network, &self.space, &draws, at.device).map(Drawing::Still)
        };
        vec![
            Picture {
                name: "density",
                about: "the data and the model's density, by importance sampling",
                draw: Box::new(plane),
            },
            Picture {
                name: "reconstructions",
                about: "real pictures, and draws given latent variables from the posterior of each",
                draw: Box::new(again),
            },
            Picture {
                name: "latents",
                about: "two latent dimensions: the posteriors of all training rows beside the prior",
                draw: Box::new(latents),
            },
            Picture {
                name: "holes",
                about: "pictures from draws of the prior where no training row's posterior is, and elsewhere",
                draw: Box::new(holes),
            },
            Picture {
                name: "latent-layers",
                about: "pictures drawn below fixed upper layers of latent variables",
                draw: Box::new(layers),
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

/// The number of draws of a point for pictures of the plane.
const OF_POINTS: usize = 64;

/// Estimates of the density of rows in model units, for pictures.
struct InPlane<'a> {
    model: &'a LatentModel,
    draws: Draws,
}

impl Density for InPlane<'_> {
    fn log_prob(&self, x: Tensor<2>, condition: &Condition) -> Result<LogProb> {
        let found = self.model.network.importance(x, condition, OF_POINTS, &self.draws)?;
        Ok(LogProb {
            value: found.iter().map(|row| row.log_p).collect(),
            kind: Kind::LowerBound,
            standard_error: Some(found.iter().map(|row| row.standard_error).collect()),
            measure: Measure::Standardised,
        })
    }
}

/// Lower bounds of log p of raw rows, by importance weights.
struct Weighted<'a> {
    model: &'a LatentModel,
    /// The number of draws of a row.
    draws: usize,
    by: Weighing,
    of: Draws,
}

impl RawDensity for Weighted<'_> {
    fn log_prob(
        &self,
        raw: &Rows,
        condition: &Condition,
        observe: &mut dyn FnMut(usize),
    ) -> Result<LogProb> {
        condition.check(raw.len())?;
        let model = self.model;
        let discrete = model.network.product().is_discrete();
        let measure = if discrete { Measure::Counting } else { Measure::Raw };
        let at_once = chunk(&model.space).min(256);
        in_parts(raw.len(), at_once, observe, |rows| {
            let x = model.space.encode(&raw.slice(rows.clone()))?;
            let volumes = model.space.log_volumes_of_reals(&x)?;
            let (x, condition) = (x.to_tensor(&model.device), condition.slice(rows));
            let found = match &self.by {
                Weighing::Annealed { kernel, temperatures } => {
                    let by = Annealing { kernel, temperatures: *temperatures, steps: 1 };
                    model.network.annealed(&x, &condition, self.draws, &by, &self.of)?
                }
                _ => model.network.importance(x, &condition, self.draws, &self.of)?,
            };
            let of = |row: &Importance| match self.by {
                Weighing::Bound => (row.mean_log_weight, row.mean_error),
                _ => (row.log_p, row.standard_error),
            };
            let (value, errors): (Vec<f64>, Vec<f64>) = found.iter().map(of).unzip();
            Ok(LogProb {
                value: value.iter().zip(volumes).map(|(log_p, volume)| log_p - volume).collect(),
                kind: Kind::LowerBound,
                standard_error: (self.draws > 1).then_some(errors),
                measure,
            })
        })
    }
}
