//! A diffusion model with its weights.

use super::sampling::Sampling;
use super::{Diffusion, density, pictures};
use crate::data::{Generate, LogDensity, Space};
use crate::denoise::{Denoiser, Diffusing};
use crate::density::PfOde;
use crate::family::density::Dequantisers;
use crate::family::{
    DensityEntry, Integers, Judge, Loader, Model, Opener, Opening, Picture, Setting, Showing,
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

/// A denoiser with its schedule, and what samples and densities of it need.
pub struct DiffusionModel {
    /// The resolved recipe.
    pub recipe: Diffusion,
    /// What a row means.
    pub space: Space,
    /// The standard deviation of the data in model units.
    pub sigma_data: f64,
    /// E[x₀ | x_t].
    pub denoiser: Arc<dyn Denoiser>,
    /// The schedule, with its trained weights if it is a learned one.
    pub schedule: Arc<dyn Schedule>,
    /// The device of the network.
    pub device: Device,
    /// How many training rows each class has; empty without classes.
    pub(super) classes: Vec<usize>,
    /// The data that the run was trained on.
    pub(super) data: Loader,
    /// Opens other runs.
    pub(super) open: Opener,
    /// Dequantisers fitted to the model, by their steps and seed.
    pub(super) fitted: Dequantisers,
}

impl DiffusionModel {
    /// The model of a resolved recipe with the weights given; `origin` names them, for errors.
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

    /// The denoiser with its process.
    pub fn diffusing(&self) -> Diffusing {
        Diffusing {
            denoiser: self.denoiser.clone(),
            schedule: self.schedule.clone(),
            sigma_data: self.sigma_data,
        }
    }

    /// A sampler as the recipe says.
    ///
    /// # Errors
    /// As [`Model::generator`].
    pub fn sampler(&self) -> Result<Sampler> {
        self.sampler_with(&Table::new())
    }

    /// A sampler as the recipe says but for the keys of its `sampling` table in `sampling`.
    ///
    /// # Errors
    /// As [`Model::generator`].
    pub fn sampler_with(&self, sampling: &Table) -> Result<Sampler> {
        let setting = Setting { device: &self.device, seed: 0, observe: &|_| {} };
        Sampling::new(self, sampling)?.sampler(self, &setting)
    }

    /// The density of the probability-flow ODE, which depends on a learned schedule's ends alone.
    pub fn pf_ode(&self) -> PfOde {
        let schedule = Arc::new(self.recipe.schedule.clone());
        Diffusing { schedule, ..self.diffusing() }.into()
    }

    /// How many rows to sample at once, so that a large network's activations stay within some 512 MiB.
    pub fn rows_at_once(&self) -> u64 {
        const MOST: usize = 1 << 27;
        // An energy's gradient keeps them all.
        let kept = if self.recipe.model.energy { 4 } else { 1 };
        (MOST / kept / self.recipe.network.activations()).clamp(1, 256) as u64
    }
}

/// Which of its noised densities a target is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    /// The log-SNR.
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

    fn pictures<'a>(&'a self, at: &'a Showing<'a>) -> Vec<Picture<'a>> {
        pictures::all(self, at)
    }

    fn any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
