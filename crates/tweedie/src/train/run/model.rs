//! What a run makes of its weights: denoisers, schedules, samplers, samples, densities.

use super::super::load_checkpoint;
use super::super::schedule::{PREFIX, weights_among};
use super::{Run, WEIGHTS};
use crate::data::{Condition, Generate, Rows};
use crate::denoise::{Denoiser, EnergyDenoiser, Guided, NeuralDenoiser};
use crate::density::PfOde;
use crate::nn::{Network, Params, array, load_safetensors, map_params};
use crate::process::{AnySchedule, Schedule};
use crate::solve::{Moment, Sampler};
use crate::train::NetworkRecipe;
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

impl Run {
    /// The trained denoiser.
    ///
    /// # Errors
    /// As [`Run::weights`]; [`Error::File`] if the weights do not fit the network.
    pub fn denoiser(&self, device: &Device) -> Result<Arc<dyn Denoiser>> {
        self.denoiser_with(&self.weights()?, &self.file(WEIGHTS), device)
    }

    /// The schedule, with its trained weights if it is a learned one: those of the checkpoint if training has not finished,
    /// and λ linear in t before there is one.
    ///
    /// # Errors
    /// [`Error::File`] if the weights are damaged.
    pub fn schedule(&self) -> Result<Arc<dyn Schedule>> {
        let schedule = &self.info.recipe.schedule;
        let (finished, checkpoint) = (self.file(WEIGHTS), self.file("checkpoint.safetensors"));
        if !matches!(schedule, AnySchedule::Learned(_)) {
            return Ok(Arc::new(schedule.clone()));
        }
        match (finished.exists(), checkpoint.exists()) {
            (true, _) => self.schedule_with(&load_safetensors(&finished)?, &finished),
            (false, true) => self.schedule_with(&load_checkpoint(&checkpoint)?.0, &checkpoint),
            (false, false) => Ok(Arc::new(schedule.clone())),
        }
    }

    /// The schedule with the given weights, of a learner or a checkpoint; `origin` names them, for errors.
    ///
    /// # Errors
    /// [`Error::File`] if a learned schedule's are missing or do not fit.
    pub fn schedule_with(&self, weights: &Params, origin: &Path) -> Result<Arc<dyn Schedule>> {
        let AnySchedule::Learned(config) = &self.info.recipe.schedule else {
            return Ok(Arc::new(self.info.recipe.schedule.clone()));
        };
        let schedule = config.init(&Draws::new(0), &Device::flex())?;
        Ok(Arc::new(map_params(schedule, &weights_among(weights), origin)?.fixed()?))
    }

    /// The denoiser as far as it is trained, and, if training has not finished, the step of the checkpoint that its
    /// averaged weights come from.
    ///
    /// # Errors
    /// [`Error::File`] if there is no checkpoint either, or the weights do not fit the network.
    pub fn denoiser_so_far(&self, device: &Device) -> Result<(Arc<dyn Denoiser>, Option<u64>)> {
        let path = self.file("checkpoint.safetensors");
        if self.file("model.safetensors").exists() || !path.exists() {
            return Ok((self.denoiser(device)?, None));
        }
        let (mut state, step) = load_checkpoint(&path)?;
        let mut weights = Params::new();
        let names: Vec<String> = state.keys().cloned().collect();
        for name in names.iter().filter_map(|name| name.strip_prefix("network.")) {
            // The average is kept flat.
            let average = state.remove(&format!("ema.{name}"));
            if let (Some(own), Some(average)) = (state.get(&format!("network.{name}")), average) {
                let (bytes, _, kind) = average.into_parts();
                let data = array(bytes.to_vec(), own.shape().to_vec(), kind, (&path, name))?;
                weights.insert(name.to_string(), data);
            }
        }
        Ok((self.denoiser_with(&weights, &path, device)?, Some(step)))
    }

    /// The denoiser with the given weights; `origin` names them, for errors.
    ///
    /// # Errors
    /// [`Error::File`] if they do not fit the network.
    pub fn denoiser_with(
        &self,
        weights: &Params,
        origin: &Path,
        device: &Device,
    ) -> Result<Arc<dyn Denoiser>> {
        let draws = Draws::new(0);
        let mut weights = weights.clone();
        if let AnySchedule::Learned(_) = self.info.recipe.schedule {
            weights.retain(|name, _| !name.starts_with(PREFIX));
        }
        Ok(match &self.info.network {
            NetworkRecipe::Mlp(mlp) => {
                let network = map_params(mlp.init(&draws, device), &weights, origin)?;
                self.shared_denoiser(network)
            }
            NetworkRecipe::Unet(unet) => {
                let network = map_params(unet.init(&draws, device)?, &weights, origin)?;
                self.shared_denoiser(network)
            }
        })
    }

    /// A sampler as the recipe says, with guidance if its weight is not 1.
    ///
    /// # Errors
    /// [`Error::Config`] if the guidance weight is not a number from -1000 to 1000; as [`Run::schedule`].
    pub fn sampler(&self, denoiser: Arc<dyn Denoiser>, guidance: f64) -> Result<Sampler> {
        self.sampler_on(self.schedule()?, denoiser, guidance)
    }

    /// [`Run::sampler`] on another schedule.
    ///
    /// # Errors
    /// As [`Run::sampler`].
    pub(crate) fn sampler_on(
        &self,
        schedule: Arc<dyn Schedule>,
        denoiser: Arc<dyn Denoiser>,
        guidance: f64,
    ) -> Result<Sampler> {
        let recipe = &self.info.recipe;
        if !(-1e3..=1e3).contains(&guidance) {
            let expected = "a number from -1000 to 1000";
            return Err(Error::config("guidance", format!("{guidance:?}"), expected));
        }
        let denoiser: Arc<dyn Denoiser> =
            if guidance == 1.0 { denoiser } else { Arc::new(Guided::new(denoiser, guidance)?) };
        Ok(Sampler::new(denoiser, schedule)
            .with_solver(recipe.sampling.solver)
            .with_grid(recipe.sampling.grid)
            .with_steps(recipe.sampling.steps)
            .with_last(recipe.sampling.last)
            .with_clip(recipe.sampling.clip)
            .with_sigma_data(self.info.sigma_data))
    }

    /// Rows `rows` of the endless sample of seed `seed`, decoded to raw units.
    ///
    /// `label` gives each row's class; `observe` hears how many rows are done, which are made [`Run::rows_at_once`].
    ///
    /// # Errors
    /// As [`Generate::generate`]; [`Error::Config`] if a label is not one of the model's classes.
    pub fn generate(
        &self,
        sampler: &Sampler,
        rows: Range<u64>,
        label: impl Fn(u64) -> Option<u32>,
        seed: u64,
        device: &Device,
        mut observe: impl FnMut(u64),
    ) -> Result<Rows> {
        let draws = Draws::new(seed).purpose("sample");
        let mut all = Rows::new(Vec::new(), self.info.space.width())?;
        let chunk = self.rows_at_once();
        for start in rows.clone().step_by(chunk as usize) {
            let part = start..start.saturating_add(chunk).min(rows.end);
            let condition = self.condition(part.clone().map(&label).collect())?;
            let x = sampler.generate(part.clone(), &condition, &draws, device)?;
            all.extend(&self.info.space.decode(&Rows::from_tensor(&x)?)?)?;
            observe(part.end - rows.start);
        }
        Ok(all)
    }

    /// The way of rows `rows` of [`Run::generate`]'s sample from noise to data, at `count` levels.
    ///
    /// # Errors
    /// As [`Run::generate`].
    pub fn path(
        &self,
        sampler: &Sampler,
        rows: Range<u64>,
        label: impl Fn(u64) -> Option<u32>,
        seed: u64,
        device: &Device,
        count: usize,
    ) -> Result<Vec<Moment>> {
        let condition = self.condition(rows.clone().map(label).collect())?;
        sampler.path(rows, &condition, &Draws::new(seed).purpose("sample"), device, count)
    }

    /// The condition that the labels of rows make.
    pub(crate) fn condition(&self, labels: Vec<Option<u32>>) -> Result<Condition> {
        let classes = self.info.space.classes().len();
        if let Some(bad) = labels.iter().flatten().find(|l| **l as usize >= classes) {
            let expected = match classes {
                0 => "no label: the model has no classes".to_string(),
                _ => format!("a label below {classes}"),
            };
            return Err(Error::config("label", bad.to_string(), expected));
        }
        Ok(if classes == 0 { Condition::None } else { Condition::Class(labels) })
    }

    /// How many rows to sample at once, so that a large network's activations stay within some 512 MiB.
    pub fn rows_at_once(&self) -> u64 {
        const MOST: usize = 1 << 27;
        // An energy's gradient keeps them all.
        let kept = if self.info.recipe.model.energy { 4 } else { 1 };
        (MOST / kept / self.info.network.activations()).clamp(1, 256) as u64
    }

    /// The density of the probability-flow ODE, which depends on a learned schedule's ends alone.
    pub fn density(&self, denoiser: Arc<dyn Denoiser>) -> PfOde {
        PfOde::new(denoiser, Arc::new(self.info.recipe.schedule.clone()))
            .with_sigma_data(self.info.sigma_data)
    }

    /// The denoiser around a network.
    pub(super) fn denoiser_of<N: Network>(&self, network: N) -> NeuralDenoiser<N> {
        let recipe = &self.info.recipe;
        NeuralDenoiser::new(network, recipe.model.prediction, recipe.schedule.clone())
            .with_sigma_data(self.info.sigma_data)
            .with_clock(recipe.model.clock.unwrap_or(self.info.network.clock()))
    }

    /// The same, or the energy that it is.
    fn shared_denoiser<N: Network>(&self, network: N) -> Arc<dyn Denoiser> {
        let denoiser = self.denoiser_of(network);
        if self.info.recipe.model.energy {
            return Arc::new(EnergyDenoiser::new(denoiser));
        }
        Arc::new(denoiser)
    }
}
