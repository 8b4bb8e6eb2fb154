//! The learner of a resolved recipe of a diffusion model, and its schedule and denoiser with given weights.

use super::Diffusion;
use crate::denoise::{Denoiser, EnergyDenoiser, NeuralDenoiser};
use crate::family::Start;
use crate::nn::{AnyNetwork, map_params};
use crate::process::{AnySchedule, Schedule};
use crate::train::{
    AdaptiveLevels, ByNoising, DenoiserLearner, Learner, SCHEDULE, ScheduleLearner, State,
    averages, chosen, weights_among,
};
use crate::{Draws, Result};
use burn::tensor::Device;
use std::path::Path;
use std::sync::Arc;

impl Diffusion {
    /// The learner before its first step.
    pub(super) fn learner_of(&self, at: &Start) -> Result<Box<dyn Learner>> {
        let (seed, device, training) = (at.seed, at.device, (at.training, &self.training));
        let network = self.network.init(&Draws::new(seed).purpose("initial"), device)?;
        let (denoiser, objective) = (self.denoiser_of(network), self.objective(self.noising()));
        let learner =
            DenoiserLearner::new(denoiser, objective, at.data()?, training, seed, device)?;
        let learner = learner.with_label_dropout(self.objective.label_dropout);
        if let Some(config) = self.objective.adaptive {
            let recipe = self.clone();
            let of: ByNoising<AnyNetwork> = Box::new(move |noising| recipe.objective(noising));
            let levels =
                AdaptiveLevels::new(config.histogram(&*self.schedule)?, self.noising(), of);
            return Ok(Box::new(learner.with_criterion(levels)));
        }
        let AnySchedule::Learned(config) = self.schedule else { return Ok(Box::new(learner)) };
        let draws = Draws::new(seed).purpose("initial schedule");
        let even = self.objective.levels.low_discrepancy;
        let schedule = ScheduleLearner::new(config, even, &draws, device)?;
        Ok(Box::new(learner.with_criterion(schedule)))
    }

    /// The weights to sample with, from a checkpoint of the learner: those chosen on validation rows, or the
    /// parameters' averages.
    pub(super) fn averages(&self, checkpoint: &State) -> Result<State> {
        if let Some(weights) = chosen(checkpoint) {
            return Ok(weights);
        }
        let mut weights = averages(checkpoint)?;
        let own = |name: &String| name.starts_with(SCHEDULE) && !name.contains(".adam.");
        let others = checkpoint.iter().filter(|(name, _)| own(name));
        weights.extend(others.map(|(name, data)| (name.clone(), data.clone())));
        Ok(weights)
    }

    /// The schedule; a learned schedule takes its weights from the state. `origin` is the name of their file in errors.
    ///
    /// # Errors
    /// [`crate::Error::File`] if a learned schedule's weights are missing or do not fit.
    pub(super) fn schedule_with(
        &self,
        weights: &State,
        origin: &Path,
    ) -> Result<Arc<dyn Schedule>> {
        let AnySchedule::Learned(config) = &self.schedule else {
            return Ok(Arc::new(self.schedule.clone()));
        };
        let schedule = config.init(&Draws::new(0), &Device::flex())?;
        Ok(Arc::new(map_params(schedule, &weights_among(weights), origin)?.fixed()?))
    }

    /// The denoiser with its weights; `origin` is the name of their file in errors.
    ///
    /// # Errors
    /// [`crate::Error::File`] if they do not fit the network.
    pub(super) fn denoiser_with(
        &self,
        weights: &State,
        origin: &Path,
        device: &Device,
    ) -> Result<Arc<dyn Denoiser>> {
        let draws = Draws::new(0);
        let mut weights = weights.clone();
        if let AnySchedule::Learned(_) = self.schedule {
            weights.retain(|name, _| !name.starts_with(SCHEDULE));
        }
        let network = self.network.init(&draws, device)?;
        let denoiser = self.denoiser_of(map_params(network, &weights, origin)?);
        if self.model.energy {
            return Ok(Arc::new(EnergyDenoiser::new(denoiser)));
        }
        Ok(Arc::new(denoiser))
    }

    /// The standard deviation of the data in model units; 1 where an unresolved recipe leaves it open.
    pub fn sigma_data(&self) -> f64 {
        self.model.sigma_data.unwrap_or(1.0)
    }

    /// The denoiser around a network.
    fn denoiser_of(&self, network: AnyNetwork) -> NeuralDenoiser<AnyNetwork> {
        let model = &self.model;
        NeuralDenoiser::new(network, model.prediction, self.schedule.clone())
            .with_sigma_data(self.sigma_data())
            .with_scaled_input(model.scale_input)
            .with_clock(model.clock.unwrap_or(self.network.clock()))
    }
}
