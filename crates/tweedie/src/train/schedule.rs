//! The variational bound with a learned schedule, trained by the same passes as the network.

use super::criterion::{Criterion, Objectives};
use super::{AdamWConfig, Optimiser, Trainee};
use crate::data::Batch;
use crate::denoise::NeuralDenoiser;
use crate::nn::{Network, State, collect_params};
use crate::objective::{Loss, ScheduledLoss, VariationalBound};
use crate::process::{LearnedSchedule, LearnedScheduleConfig};
use crate::tensor::column;
use crate::{Draws, Result};
use burn::tensor::{Device, Gradients, TensorData};
use std::path::Path;
use std::sync::Arc;

/// The beginning of names of the schedule's arrays in checkpoints and among the weights.
pub(crate) const PREFIX: &str = "schedule.";

/// A learned schedule in training, with the loss of the step under way.
pub(crate) struct ScheduleLearner {
    config: LearnedScheduleConfig,
    schedule: Trainee<LearnedSchedule>,
    low_discrepancy: bool,
    pending: Option<ScheduledLoss>,
}

impl ScheduleLearner {
    /// A learned schedule with initial values from `draws`.
    pub fn new(
        config: LearnedScheduleConfig,
        low_discrepancy: bool,
        draws: &Draws,
        device: &Device,
    ) -> Result<Self> {
        // No clipping: squared losses have no scale that a fixed norm would fit.
        let adamw = AdamWConfig { clip: 0.0, ..AdamWConfig::default() };
        let optimiser =
            Optimiser { learning_rate: config.learning_rate, adamw, ema: None, powers: vec![] };
        let schedule = Trainee::new(config.init(draws, device)?, &optimiser).with_bare_names();
        Ok(Self { config, schedule, low_discrepancy, pending: None })
    }
}

impl<N: Network> Criterion<N> for ScheduleLearner {
    /// The gradient belongs to the diffusion loss; the reported value is the whole bound.
    fn training_loss(
        &mut self,
        model: &NeuralDenoiser<N>,
        batch: &Batch,
        draws: &Draws,
    ) -> Result<Loss> {
        let schedule = &self.schedule.module;
        let loss = ScheduledLoss::new(schedule, model, batch, self.low_discrepancy, draws)?;
        let bound = VariationalBound::new(Arc::new(self.config));
        let rest = bound.constants(&batch.x, model.sigma_data)?;
        let surrogate = loss.value.clone();
        self.pending = Some(loss);
        Ok(Loss { value: surrogate.clone() + column(&surrogate, rest.into_iter()), surrogate })
    }

    fn held_out(&self) -> Result<Objectives<N>> {
        Ok(Arc::new(VariationalBound::new(Arc::new(self.schedule.module.fixed()?))))
    }

    fn take_in(&mut self, backward: &Gradients) -> Result<()> {
        if let Some(loss) = self.pending.take() {
            let surrogate = loss.surrogate(&self.schedule.module, backward)?;
            self.schedule.take_in(&surrogate.backward());
        }
        Ok(())
    }

    fn step(&mut self, factor: f64) -> Result<()> {
        self.schedule.step(factor).map(drop)
    }

    fn save(&self, into: &mut State) -> Result<()> {
        self.schedule.save(PREFIX, into)
    }

    fn load(&mut self, from: &mut State, origin: &Path) -> Result<()> {
        self.schedule.load(PREFIX, from, origin)
    }

    fn weights(&self) -> Result<State> {
        let named = |(path, data)| (format!("{PREFIX}{path}"), data);
        Ok(collect_params(&self.schedule.module)?.into_iter().map(named).collect())
    }
}

/// The weights of the schedule among those of a run, under their paths, without the state of its optimiser.
pub(crate) fn weights_among(all: &State) -> State {
    let own = |(name, data): (&String, &TensorData)| {
        let path = name.strip_prefix(PREFIX).filter(|path| !path.starts_with("adam."))?;
        Some((path.to_string(), data.clone()))
    };
    all.iter().filter_map(own).collect()
}
