//! The learner of diffusion models: denoising score matching with AdamW and an average of the weights.

use super::adaptive::AdaptiveLevels;
use super::schedule::ScheduleLearner;
use super::{AdamW, Ema, Fit, Gradients, Learner, Training};
use crate::data::{Batch, Batches, Condition, Dataset, Layout, Rows, Space, Split};
use crate::denoise::NeuralDenoiser;
use crate::nn::{Network, Params, collect_params, map_params};
use crate::objective::{Loss, Objective};
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use std::path::Path;
use std::sync::Arc;

/// Trains a [`NeuralDenoiser`] on the rows of a data set.
pub struct DenoiserLearner<N: Network> {
    denoiser: NeuralDenoiser<N>,
    ema: Ema,
    adamw: AdamW,
    objective: Arc<dyn Objective<NeuralDenoiser<N>>>,
    space: Space,
    train: Split,
    held_out: Split,
    batches: Batches,
    config: Fit,
    steps: u64,
    label_dropout: f64,
    schedule: Option<ScheduleLearner>,
    levels: Option<AdaptiveLevels<N>>,
    draws: Draws,
    device: Device,
}

impl<N: Network> DenoiserLearner<N> {
    /// A learner that starts from `denoiser`'s weights and drops no labels; `seed` is that of batches and noise, `device`
    /// the plain device of its network.
    ///
    /// # Errors
    /// [`Error::Config`] if batch or data are empty, or if pictures are to be mirrored and the data are none.
    pub fn new(
        denoiser: NeuralDenoiser<N>,
        objective: Arc<dyn Objective<NeuralDenoiser<N>>>,
        data: &Dataset,
        (training, config): (&Training, &Fit),
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        if config.accumulate == 0 {
            return Err(Error::config("training.accumulate", "0", "at least 1"));
        }
        config.check_for(&data.space)?;
        let batches = Batches::new(data.train.len(), config.batch * config.accumulate, seed)?;
        let ema = Ema::new(&denoiser.network, config.ema);
        let network = denoiser.network.clone().train();
        let judged: Vec<usize> = (0..data.held_out.len().min(training.held_out_rows)).collect();
        Ok(Self {
            denoiser: denoiser.with_network(network),
            ema,
            adamw: AdamW::new(config.adamw),
            objective,
            space: data.space.clone(),
            train: data.train.clone(),
            held_out: data.held_out.select(&judged),
            batches,
            config: config.clone(),
            steps: training.steps,
            label_dropout: 0.0,
            schedule: None,
            levels: None,
            draws: Draws::new(seed),
            device: device.clone(),
        })
    }

    /// The probability that a row's condition is dropped, so that the unconditional model is learnt too.
    pub fn with_label_dropout(mut self, label_dropout: f64) -> Self {
        self.label_dropout = label_dropout;
        self
    }

    /// Trains a schedule beside the network, by the variational bound in place of the objective.
    pub(crate) fn with_schedule(mut self, schedule: ScheduleLearner) -> Self {
        self.schedule = Some(schedule);
        self
    }

    /// Draws the levels of training where the loss is large.
    pub(crate) fn with_levels(mut self, levels: AdaptiveLevels<N>) -> Self {
        self.levels = Some(levels);
        self
    }

    /// The loss of a batch outside training.
    fn loss(&self, model: &NeuralDenoiser<N>, batch: &Batch, draws: &Draws) -> Result<Loss> {
        match &self.schedule {
            Some(schedule) => schedule.objective()?.loss(model, batch, draws),
            None => self.objective.loss(model, batch, draws),
        }
    }

    /// The denoiser with the averaged weights, outside any graph.
    pub fn denoiser(&self) -> NeuralDenoiser<N> {
        let plain = self.denoiser.valid();
        let network = self.ema.apply(plain.network.clone());
        plain.with_network(network)
    }

    /// Rows `indices` of a split in model units, dequantised unless integers are taken as they are, with their labels; pictures are mirrored by chance if
    /// `flip` says so.
    fn batch(
        &self,
        split: &Split,
        indices: &[usize],
        flip: bool,
        draws: &Draws,
        device: &Device,
    ) -> Result<Batch> {
        let mut rows = split.rows().select(indices);
        if flip {
            mirror(&mut rows, self.space.layout(), &draws.purpose("flip"));
        }
        let x = if self.config.dequantise {
            let ids: Vec<u64> = (0..indices.len() as u64).collect();
            self.space.encode_dequantised(&rows, &draws.purpose("dequantise"), &ids)?
        } else {
            self.space.encode(&rows)?
        };
        let condition = match split.labels() {
            Some(labels) => Condition::Class(indices.iter().map(|&i| Some(labels[i])).collect()),
            None => Condition::None,
        };
        Ok(Batch { x: x.to_tensor(device), condition })
    }
}

impl<N: Network> Learner for DenoiserLearner<N> {
    fn step(&mut self, step: u64) -> Result<Vec<(&'static str, f64)>> {
        let indices = self.batches.batch(step);
        let device = self.device.clone().autodiff();
        let mut gradients = Gradients::new();
        let mut loss = 0.0;
        let parts = self.config.accumulate;
        for (part, indices) in indices.chunks(self.config.batch).enumerate() {
            let draws = self.draws.purpose("train").at(step).at(part as u64);
            let mut batch = self.batch(&self.train, indices, self.config.flip, &draws, &device)?;
            let coins = draws.purpose("label dropout");
            let dropped: Vec<bool> = (0..indices.len() as u64)
                .map(|i| coins.uniform_f64(i, 0) < self.label_dropout)
                .collect();
            batch.condition = batch.condition.dropped(&dropped);
            let scheduled = self.schedule.as_ref();
            let scheduled =
                scheduled.map(|s| s.loss(&self.denoiser, &batch, &draws)).transpose()?;
            let value = match (&self.schedule, &scheduled, &self.levels) {
                (Some(s), Some(loss), _) => s.reported(loss, &batch, self.denoiser.sigma_data)?,
                (_, _, Some(levels)) => levels.objective().loss(&self.denoiser, &batch, &draws)?,
                _ => self.objective.loss(&self.denoiser, &batch, &draws)?,
            };
            loss += value.mean()?.0 / parts as f64;
            if !loss.is_finite() {
                return Err(Error::Diverged {
                    what: format!("the loss became {loss}"),
                    step: step + 1,
                });
            }
            if let Some(levels) = &mut self.levels {
                levels.observe(&value, &draws)?;
            }
            let backward = value.surrogate.mean().backward();
            let more = AdamW::gradients(&self.denoiser.network, &backward);
            AdamW::accumulate(&mut gradients, more);
            if let (Some(schedule), Some(loss)) = (&mut self.schedule, &scheduled) {
                schedule.take_in(loss, &backward)?;
            }
        }
        let factor = self.config.decay.factor(step, self.steps, self.config.warmup);
        let rate = self.config.learning_rate * factor;
        let network = self.denoiser.network.clone();
        let (scale, ema) = (1.0 / parts as f64, Some(&mut self.ema));
        let (network, norm) = self.adamw.step(network, &gradients, scale, rate, ema)?;
        self.denoiser.network = network;
        if let Some(schedule) = &mut self.schedule {
            schedule.step(parts, factor)?;
        }
        Ok(vec![("train/loss", loss), ("train/gradient_norm", norm), ("train/learning_rate", rate)])
    }

    fn held_out(&mut self) -> Result<Vec<(&'static str, f64)>> {
        if self.held_out.is_empty() {
            return Ok(Vec::new());
        }
        let denoiser = self.denoiser();
        let (mut sum, mut count) = (0.0, 0.0);
        let all: Vec<usize> = (0..self.held_out.len()).collect();
        for (k, indices) in all.chunks(self.config.batch.max(256)).enumerate() {
            // The same noise each time, so that the curve shows the model alone.
            let draws = self.draws.purpose("held out").at(k as u64);
            let batch = self.batch(&self.held_out, indices, false, &draws, &self.device)?;
            let (mean, _) = self.loss(&denoiser, &batch, &draws)?.mean()?;
            sum += mean * indices.len() as f64;
            count += indices.len() as f64;
        }
        Ok(vec![("held_out/loss", sum / count)])
    }

    fn save(&self) -> Params {
        let mut state = Params::new();
        for (path, array) in collect_params(&self.denoiser.network) {
            state.insert(format!("network.{path}"), array);
        }
        self.adamw.save(&mut state);
        self.ema.save(&mut state);
        self.schedule.iter().for_each(|schedule| schedule.save(&mut state));
        self.levels.iter().for_each(|levels| levels.save(&mut state));
        state
    }

    fn load(&mut self, mut state: Params, origin: &Path) -> Result<()> {
        if let Some(schedule) = &mut self.schedule {
            schedule.load(&mut state, origin)?;
        }
        if let Some(levels) = &mut self.levels {
            levels.load(&mut state, origin)?;
        }
        let sizes = collect_params(&self.denoiser.network)
            .into_iter()
            .map(|(path, (_, values))| (path, values.len()))
            .collect();
        self.adamw.load(&mut state, &sizes, origin, &self.device)?;
        self.ema.load(&mut state, &sizes, origin, &self.device)?;
        let mut params = Params::new();
        for (name, array) in state {
            let Some(path) = name.strip_prefix("network.") else {
                return Err(Error::file(origin, name, "unknown", "only what a learner saves"));
            };
            params.insert(path.to_string(), array);
        }
        self.denoiser.network = map_params(self.denoiser.network.clone(), &params, origin)?;
        Ok(())
    }

    fn weights(&self) -> Result<Params> {
        let mut weights = collect_params(&self.denoiser().network);
        weights.extend(self.schedule.iter().flat_map(ScheduleLearner::weights));
        Ok(weights)
    }
}

/// Mirrors each picture left to right with probability ½: row i if uniform number 0 of row i is below it.
fn mirror(rows: &mut Rows, layout: Layout, draws: &Draws) {
    let (Layout::Image { width: side, .. }, width) = (layout, rows.width()) else { return };
    for (i, picture) in (0..).zip(rows.values_mut().chunks_exact_mut(width)) {
        if draws.uniform_f64(i, 0) < 0.5 {
            picture.chunks_exact_mut(side).for_each(<[f32]>::reverse);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_pictures_are_mirrored_and_the_same_ones_each_time() {
        let layout = Layout::Image { channels: 2, height: 2, width: 3 };
        let picture: Vec<f32> = (0..12u8).map(f32::from).collect();
        let mirrored = [2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9].map(|v: u8| f32::from(v));
        let all = Rows::new(picture.repeat(4000), 12).unwrap();
        let draws = Draws::new(3).purpose("train").at(7);
        let (mut once, mut again, mut other) = (all.clone(), all.clone(), all.clone());
        mirror(&mut once, layout, &draws.purpose("flip"));
        mirror(&mut again, layout, &draws.purpose("flip"));
        mirror(&mut other, layout, &Draws::new(3).purpose("train").at(8).purpose("flip"));
        assert!(once == again && once != other);
        let count = once.iter().filter(|row| **row == mirrored).count();
        assert_eq!(once.iter().filter(|row| **row == picture[..]).count(), 4000 - count);
        // Five standard deviations: a false alarm in two million.
        assert!(count.abs_diff(2000) < 158, "{count}");
    }
}
