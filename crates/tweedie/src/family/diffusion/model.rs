//! A diffusion model with its weights, as a model.

use super::sampling::Sampling;
use super::{Diffusion, density, pictures};
use crate::data::{Generate, LogDensity, Space};
use crate::denoise::{Denoiser, Diffusing};
use crate::density::PfOde;
use crate::family::density::Dequantisers;
use crate::family::{
    DensityEntry, Integers, Judge, Loader, Model, Opener, Opening, Picture, PictureSetting, Setting,
};
use crate::mcmc::AtLevel;
use crate::process::Schedule;
use crate::solve::Sampler;
use crate::train::State;
use crate::{Error, Result, registry};
use burn::tensor::Device;
use serde::Deserialize;
use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use toml::Table;

/// A trained diffusion model: a denoiser with its schedule; samples, densities and pictures of it.
pub struct DiffusionModel {
    /// The resolved recipe.
    pub recipe: Diffusion,
    /// The meaning of a row's columns.
    pub space: Space,
    /// The standard deviation of the data in model units.
    pub sigma_data: f64,
    /// The denoiser E[x₀ | x_t].
    pub denoiser: Arc<dyn Denoiser>,
    /// The schedule; a learned schedule has its trained weights.
    pub schedule: Arc<dyn Schedule>,
    /// The device of the network.
    pub device: Device,
    /// The number of training rows of each class; empty without classes.
    pub(super) classes: Vec<usize>,
    /// The data that the run was trained on.
    pub(super) data: Loader,
    /// A function that opens other runs.
    pub(super) open: Opener,
    /// Dequantisers fitted to the model, by their steps and seed.
    pub(super) fitted: Dequantisers,
}

impl DiffusionModel {
    /// The model of a resolved recipe with its weights; `origin` is the name of their file in errors.
    ///
    /// # Errors
    /// [`crate::Error::File`] if the weights do not fit the network.
    pub fn new(recipe: Diffusion, at: &Opening, weights: &State, origin: &Path) -> Result<Self> {
        Ok(Self {
            denoiser: recipe.denoiser_with(weights, origin, &at.device)?,
            schedule: recipe.schedule_with(weights, origin)?,
            sigma_data: recipe.sigma_data(),
            recipe,
            space: at.space.clone(),
            device: at.device.clone(),
            classes: at.classes.clone(),
            data: at.data.clone(),
            open: at.open.clone(),
            fitted: Dequantisers::default(),
        })
    }

    /// The denoiser with its schedule and the scale of the data.
    pub fn diffusing(&self) -> Diffusing {
        Diffusing {
            denoiser: self.denoiser.clone(),
            schedule: self.schedule.clone(),
            sigma_data: self.sigma_data,
        }
    }

    /// The sampler of the recipe.
    ///
    /// # Errors
    /// As [`Model::generator`].
    pub fn sampler(&self) -> Result<Sampler> {
        self.sampler_with(&Table::new())
    }

    /// The sampler of the recipe, with keys of its `sampling` table overridden by `sampling`.
    ///
    /// # Errors
    /// As [`Model::generator`].
    pub fn sampler_with(&self, sampling: &Table) -> Result<Sampler> {
        let setting = Setting { device: &self.device, seed: 0, observe: &|_| {} };
        Sampling::new(self, sampling)?.sampler(self, &setting)
    }

    /// The density of the probability-flow ODE, which depends on a learned schedule only by its ends.
    pub fn pf_ode(&self) -> PfOde {
        let schedule = Arc::new(self.recipe.schedule.clone());
        Diffusing { schedule, ..self.diffusing() }.into()
    }

    /// The number of rows to sample at once, so that a large network's activations stay within some 512 MiB.
    pub fn rows_at_once(&self) -> u64 {
        const MOST: usize = 1 << 27;
        // An energy's gradient keeps the activations of all layers.
        let kept = if self.recipe.model.energy { 4 } else { 1 };
        (MOST / kept / self.recipe.network.activations()).clamp(1, 256) as u64
    }
}

/// The choice among the model's noised densities.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    /// The log-SNR of the noise level.
    level: Option<f64>,
}

impl Model for DiffusionModel {
    fn space(&self) -> &Space {
        &self.space
    }

    fn generator(&self, sampling: &Table, at: &Setting) -> Result<Box<dyn Generate + '_>> {
        Ok(Box::new(Sampling::new(self, sampling)?.generator(self, at)?))
    }

    fn densities(&self) -> Vec<DensityEntry> {
        density::entries(self)
    }

    fn density(
        &self,
        name: &str,
        options: &Table,
        integers: Integers,
        at: &Setting,
    ) -> Result<Judge<'_>> {
        density::judge(self, name, options, integers, at)
    }

    fn target(&self, options: &Table) -> Result<Arc<dyn LogDensity>> {
        let Target { level } = registry::read(toml::Value::Table(options.clone()), "")?;
        let ends = self.schedule.range();
        let (high, low) = (self.schedule.level(ends.0).lambda, self.schedule.level(ends.1).lambda);
        let Some(log_snr) = level.filter(|level| (low..=high).contains(level)) else {
            let found = level.map_or("absent".into(), |level| level.to_string());
            let expected = format!("a log-SNR from {low:.4} to {high:.4}, those of the run");
            return Err(Error::config("level", found, expected));
        };
        let level = self.schedule.level(self.schedule.time(log_snr));
        Ok(Arc::new(AtLevel::new(self.denoiser.clone(), level)?))
    }

    fn pictures<'a>(&'a self, at: &'a PictureSetting<'a>) -> Vec<Picture<'a>> {
        pictures::all(self, at)
    }

    fn any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
