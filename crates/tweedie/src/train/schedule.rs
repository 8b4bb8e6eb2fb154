//! The part of a learner that trains its schedule, beside the network and by the same passes.

use super::{AdamW, AdamWConfig, Gradients};
use crate::data::Batch;
use crate::denoise::NeuralDenoiser;
use crate::nn::{Network, Params, collect_params, map_params};
use crate::objective::{Loss, Objective, ScheduledLoss, VariationalBound};
use crate::process::{Learned, LearnedSchedule};
use crate::tensor::column;
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::Device;
use std::path::Path;
use std::sync::Arc;

/// Names of the schedule's arrays in a checkpoint and beside a network's weights begin so.
pub(crate) const PREFIX: &str = "schedule.";

/// A learned schedule, its optimiser and the gradients of the step under way.
pub(crate) struct ScheduleLearner {
    config: Learned,
    schedule: LearnedSchedule,
    adamw: AdamW,
    gradients: Gradients,
    low_discrepancy: bool,
    device: Device,
}

impl ScheduleLearner {
    /// A schedule that begins as its recipe says; `draws` are those of initial values.
    pub fn new(
        config: Learned,
        low_discrepancy: bool,
        draws: &Draws,
        device: &Device,
    ) -> Result<Self> {
        // Squared losses have no scale that a fixed norm would fit.
        let adamw = AdamW::new(AdamWConfig { clip: 0.0, ..AdamWConfig::default() });
        let schedule = config.init(draws, device)?.train();
        let (gradients, device) = (Gradients::new(), device.clone());
        Ok(Self { config, schedule, adamw, gradients, low_discrepancy, device })
    }

    /// The loss of a batch at levels of the schedule.
    pub fn loss<N: Network>(
        &self,
        model: &NeuralDenoiser<N>,
        batch: &Batch,
        draws: &Draws,
    ) -> Result<ScheduledLoss> {
        ScheduledLoss::new(&self.schedule, model, batch, self.low_discrepancy, draws)
    }

    /// What is reported for a loss: the bound that it is part of.
    pub fn reported(&self, loss: &ScheduledLoss, batch: &Batch, sigma_data: f64) -> Result<Loss> {
        let bound = VariationalBound::new(Arc::new(self.config));
        let rest = bound.constants(&batch.x, sigma_data)?;
        let value = loss.value.clone() + column(&loss.value, rest.into_iter());
        Ok(Loss { value, surrogate: loss.value.clone() })
    }

    /// Takes in the backward pass of the mean of a loss.
    pub fn take_in(&mut self, loss: &ScheduledLoss, back: &burn::tensor::Gradients) -> Result<()> {
        let own = loss.surrogate(&self.schedule, back)?.backward();
        let more = AdamW::gradients(&self.schedule, &own);
        AdamW::accumulate(&mut self.gradients, more);
        Ok(())
    }

    /// One step of so many backward passes, at `factor` of its learning rate.
    pub fn step(&mut self, passes: usize, factor: f64) -> Result<()> {
        let gradients = std::mem::take(&mut self.gradients);
        let (schedule, scale) = (self.schedule.clone(), 1.0 / passes as f64);
        let rate = factor * self.config.learning_rate;
        (self.schedule, _) = self.adamw.step(schedule, &gradients, scale, rate, None)?;
        Ok(())
    }

    /// The bound at levels of the schedule as it stands.
    pub fn objective<N: Network>(&self) -> Result<impl Objective<NeuralDenoiser<N>> + use<N>> {
        Ok(VariationalBound::new(Arc::new(self.schedule.fixed()?)))
    }

    /// The weights.
    pub fn weights(&self) -> Params {
        let named = |(path, array)| (format!("{PREFIX}{path}"), array);
        collect_params(&self.schedule).into_iter().map(named).collect()
    }

    /// The whole state, under names that begin with [`PREFIX`].
    pub fn save(&self, into: &mut Params) {
        let mut adamw = Params::new();
        self.adamw.save(&mut adamw);
        into.extend(self.weights());
        into.extend(adamw.into_iter().map(|(name, array)| (format!("{PREFIX}{name}"), array)));
    }

    /// Takes back what [`ScheduleLearner::save`] gave, removing it from `from`.
    pub fn load(&mut self, from: &mut Params, origin: &Path) -> Result<()> {
        let mut own = take(from);
        let params = collect_params(&self.schedule);
        let sizes = params.into_iter().map(|(path, (_, values))| (path, values.len())).collect();
        self.adamw.load(&mut own, &sizes, origin, &self.device)?;
        self.schedule = map_params(self.schedule.clone(), &own, origin)?;
        Ok(())
    }
}

/// Removes the arrays of a schedule, under the rest of their names.
pub(crate) fn take(from: &mut Params) -> Params {
    let names: Vec<String> = from.keys().filter(|name| name.starts_with(PREFIX)).cloned().collect();
    let take = |name: String| from.remove(&name).map(|a| (name[PREFIX.len()..].to_string(), a));
    names.into_iter().filter_map(take).collect()
}
