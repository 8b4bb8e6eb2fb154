//! The learner of diffusion models: denoising score matching with AdamW and an average of the weights.

use super::criterion::{Criterion, Objectives};
use super::{Choice, Fit, Learner, Trainee, Training, Values};
use crate::data::{Dataset, Feed};
use crate::denoise::NeuralDenoiser;
use crate::nn::{Network, State, collect_params};
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use std::path::Path;

/// Trains a [`NeuralDenoiser`] on the rows of a data set.
pub struct DenoiserLearner<N: Network> {
    /// The denoiser around the current network.
    denoiser: NeuralDenoiser<N>,
    network: Trainee<N>,
    criterion: Box<dyn Criterion<N>>,
    train: Feed,
    /// Rows for the held-out loss, if any.
    held_out: Option<Feed>,
    choice: Choice,
    config: Fit,
    steps: u64,
    draws: Draws,
    device: Device,
}

impl<N: Network> DenoiserLearner<N> {
    /// A learner that starts from the weights of `denoiser` and drops no labels. `seed` gives batches and noise;
    /// `device` is the device of the network, without automatic differentiation.
    ///
    /// # Errors
    /// [`Error::Config`] if batch or data are empty, for mirrored rows that are no pictures, or if held-out losses are
    /// to choose the weights and there are none.
    pub fn new(
        denoiser: NeuralDenoiser<N>,
        objective: Objectives<N>,
        data: &Dataset,
        (training, config): (&Training, &Fit),
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        if config.accumulate == 0 {
            return Err(Error::config("training.accumulate", "0", "at least 1"));
        }
        config.check_for(&data.space)?;
        config.check_with(training)?;
        let network = Trainee::new(denoiser.network.clone(), &config.optimiser());
        let (batch, encoding) = (config.batch, config.encoding());
        let train = Feed::training(data, encoding, batch, seed)?.with_parts(config.accumulate);
        let held_out = Feed::held_out(data, encoding, batch.max(256), training.held_out_rows)?;
        let choice = Choice::new(config, held_out.is_some());
        Ok(Self {
            denoiser,
            network,
            criterion: Box::new(objective),
            train: train.with_mirroring(config.flip).with_augmentation(config.augmentation),
            held_out,
            choice,
            config: config.clone(),
            steps: training.steps,
            draws: Draws::new(seed),
            device: device.clone(),
        })
    }

    /// Sets the probability of dropping a row's condition, for classifier-free guidance.
    pub fn with_label_dropout(mut self, label_dropout: f64) -> Self {
        self.train = self.train.with_label_dropout(label_dropout);
        self
    }

    /// Replaces the objective by a criterion with a state of its own.
    pub(crate) fn with_criterion(mut self, criterion: impl Criterion<N> + 'static) -> Self {
        self.criterion = Box::new(criterion);
        self
    }

    /// The denoiser with the averaged weights, outside any graph.
    pub fn denoiser(&self) -> NeuralDenoiser<N> {
        self.denoiser.with_network(self.network.averaged())
    }

    /// The mean loss of a network on held-out rows. The noise is the same each time, so that a curve shows the model
    /// alone.
    fn held_out_loss(&self, network: N, feed: &Feed) -> Result<f64> {
        let (denoiser, objective) =
            (self.denoiser.with_network(network), self.criterion.held_out()?);
        let first = self.draws.purpose("held out");
        let (mut sum, mut count) = (0.0, 0.0);
        for pass in 0..self.choice.passes(feed.len()) {
            let draws = if pass == 0 { first } else { first.purpose("pass").at(pass) };
            for (k, batch) in feed.all(&draws, &self.device).enumerate() {
                let batch = batch?;
                let (mean, _) = objective.loss(&denoiser, &batch, &draws.at(k as u64))?.mean()?;
                let rows = batch.x.dims()[0] as f64;
                sum += mean * rows;
                count += rows;
            }
        }
        Ok(sum / count)
    }

    /// A network's parameters and those of the criterion.
    fn weights_with(&self, network: &N) -> Result<State> {
        let mut weights = collect_params(network)?;
        weights.extend(self.criterion.weights()?);
        Ok(weights)
    }
}

impl<N: Network> Learner for DenoiserLearner<N> {
    fn step(&mut self, step: u64) -> Result<Values> {
        let device = self.device.clone().autodiff();
        let mut loss = 0.0;
        let parts = self.config.accumulate;
        for part in 0..parts as u64 {
            let (batch, description) = self.train.described(step, part, &device)?;
            let draws = self.train.draws(step, part);
            let network = self.network.module.clone();
            let network = network.in_training(&draws.purpose("dropout"), description)?;
            let denoiser = self.denoiser.with_network(network);
            let value = self.criterion.training_loss(&denoiser, &batch, &draws)?;
            loss += value.mean()?.0 / parts as f64;
            if !loss.is_finite() {
                return Err(Error::Diverged {
                    what: format!("the loss became {loss}"),
                    step: step + 1,
                });
            }
            let backward = value.surrogate.mean().backward();
            self.network.take_in(&backward);
            self.criterion.take_in(&backward)?;
        }
        let factor = self.config.decay.factor(step, self.steps, self.config.warmup);
        let norm = self.network.step(factor)?;
        self.criterion.step(factor)?;
        let rate = self.config.learning_rate * factor;
        Ok([("train/loss", loss), ("train/gradient_norm", norm), ("train/learning_rate", rate)]
            .into())
    }

    fn held_out(&mut self) -> Result<Values> {
        let Some(feed) = &self.held_out else { return Ok(Values::default()) };
        self.choice.begin();
        let mut losses = Vec::new();
        for network in self.network.averages() {
            let loss = self.held_out_loss(network.clone(), feed)?;
            if self.choice.takes(loss) {
                let weights = self.weights_with(&network)?;
                self.choice.take(loss, weights);
            }
            losses.push(loss);
        }
        let least = losses.into_iter().fold(f64::NAN, f64::min);
        let chosen = self.choice.loss().map(|loss| ("held_out/chosen", loss));
        Ok([("held_out/loss", least)].into_iter().chain(chosen).collect())
    }

    fn save(&self) -> Result<State> {
        let mut state = State::new();
        self.network.save("", &mut state)?;
        self.criterion.save(&mut state)?;
        self.choice.save(&mut state);
        Ok(state)
    }

    fn load(&mut self, mut state: State, origin: &Path) -> Result<()> {
        self.choice.load(&mut state, origin)?;
        self.criterion.load(&mut state, origin)?;
        self.network.load("", &mut state, origin)?;
        match state.keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::file(origin, name, "unknown", "only what a learner saves")),
        }
    }

    fn weights(&self) -> Result<State> {
        match self.choice.weights() {
            Some(weights) => Ok(weights),
            None => self.weights_with(&self.network.averaged()),
        }
    }
}
