//! A diffusion model before it has weights: the recipe with every width and unit known.

use crate::data::{Dataset, Space};
use crate::denoise::{Denoiser, EnergyDenoiser, NeuralDenoiser};
use crate::nn::{AnyNetwork, AnyNetworkConfig, Params, map_params};
use crate::process::{AnySchedule, Schedule};
use crate::train::{
    AdaptiveLevels, DenoiserLearner, Learner, LevelObjective, Recipe, SCHEDULE, ScheduleLearner,
    take_schedule,
};
use crate::{Draws, Result};
use burn::tensor::Device;
use std::path::Path;
use std::sync::Arc;

/// A recipe of a diffusion model with every width and unit known.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The recipe.
    pub recipe: Recipe,
    /// The network, every width resolved.
    pub network: AnyNetworkConfig,
    /// The standard deviation of the data in model units.
    pub sigma_data: f64,
    /// What a row means.
    pub space: Space,
}

impl Resolved {
    /// The learner at its first step.
    ///
    /// # Errors
    /// As [`DenoiserLearner::new`].
    pub fn learner(&self, data: &Dataset, device: &Device) -> Result<Box<dyn Learner>> {
        let draws = Draws::new(self.recipe.seed).purpose("initial");
        let network = self.network.init(&draws, device)?;
        let recipe = &self.recipe;
        let (denoiser, objective) = (self.denoiser_of(network), recipe.objective(recipe.noising()));
        let learner =
            DenoiserLearner::new(denoiser, objective, data, &recipe.training, recipe.seed, device)?;
        let mut learner = learner.with_label_dropout(recipe.objective.label_dropout);
        if let Some(config) = recipe.objective.adaptive {
            let of: LevelObjective<AnyNetwork> = Box::new({
                let recipe = recipe.clone();
                move |noising| recipe.objective(noising)
            });
            learner = learner.with_levels(AdaptiveLevels::new(config, recipe.noising(), of)?);
        }
        let AnySchedule::Learned(config) = recipe.schedule else { return Ok(Box::new(learner)) };
        let draws = Draws::new(recipe.seed).purpose("initial schedule");
        let even = recipe.objective.levels.low_discrepancy;
        let schedule = ScheduleLearner::new(config, even, &draws, device)?;
        Ok(Box::new(learner.with_schedule(schedule)))
    }

    /// The weights to sample with, out of a checkpoint of the learner: the averages, in the parameters' shapes.
    pub fn weights(&self, mut checkpoint: Params) -> Params {
        let mut weights = Params::new();
        let names: Vec<String> = checkpoint.keys().cloned().collect();
        for name in names.iter().filter_map(|name| name.strip_prefix("network.")) {
            // The average is kept flat.
            let average = checkpoint.remove(&format!("ema.{name}"));
            if let (Some((shape, _)), Some((_, values))) =
                (checkpoint.remove(&format!("network.{name}")), average)
            {
                weights.insert(name.to_string(), (shape, values));
            }
        }
        let own = |name: &String| name.starts_with(SCHEDULE) && !name.contains(".adam.");
        weights.extend(checkpoint.into_iter().filter(|(name, _)| own(name)));
        weights
    }

    /// The schedule, with the weights given if it is a learned one; `origin` names them, for errors.
    ///
    /// # Errors
    /// [`crate::Error::File`] if a learned schedule's weights are missing or do not fit.
    pub fn schedule(&self, weights: &Params, origin: &Path) -> Result<Arc<dyn Schedule>> {
        let AnySchedule::Learned(config) = &self.recipe.schedule else {
            return Ok(Arc::new(self.recipe.schedule.clone()));
        };
        let schedule = config.init(&Draws::new(0), &Device::flex())?;
        let mut weights = weights.clone();
        Ok(Arc::new(map_params(schedule, &take_schedule(&mut weights), origin)?.fixed()?))
    }

    /// The denoiser with the weights given; `origin` names them, for errors.
    ///
    /// # Errors
    /// [`crate::Error::File`] if they do not fit the network.
    pub fn denoiser(
        &self,
        weights: &Params,
        origin: &Path,
        device: &Device,
    ) -> Result<Arc<dyn Denoiser>> {
        let draws = Draws::new(0);
        let mut weights = weights.clone();
        if let AnySchedule::Learned(_) = self.recipe.schedule {
            take_schedule(&mut weights);
        }
        let network = self.network.init(&draws, device)?;
        let denoiser = self.denoiser_of(map_params(network, &weights, origin)?);
        if self.recipe.model.energy {
            return Ok(Arc::new(EnergyDenoiser::new(denoiser)));
        }
        Ok(Arc::new(denoiser))
    }

    /// The denoiser around a network.
    fn denoiser_of(&self, network: AnyNetwork) -> NeuralDenoiser<AnyNetwork> {
        let model = &self.recipe.model;
        NeuralDenoiser::new(network, model.prediction, self.recipe.schedule.clone())
            .with_sigma_data(self.sigma_data)
            .with_clock(model.clock.unwrap_or(self.network.clock()))
    }
}
