//! The training of an energy.

use super::EnergyRecipe;
use super::chains::start;
use super::objective::{AnyEnergyObjective, Outcome, Step};
use crate::data::{Encoding, Feed, Rows, Space};
use crate::family::Start;
use crate::family::arrays::{none_left, put_doubles, take_shaped};
use crate::family::likelihood;
use crate::nn::collect_params;
use crate::nn::energy::{AnyEnergy, Energy, Moments};
use crate::tensor::{host_column, mean_and_error};
use crate::train::{Choice, Fit, Learner, State, Trainee, Values};
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{DType, Device, TensorData};
use std::path::Path;

/// The names of what is beside the weights in a state.
pub(super) const BUFFER: &str = "buffer";
const MEAN: &str = "base.mean";
const VARIANCE: &str = "base.variance";
const EXTRAS: [&str; 3] = [BUFFER, MEAN, VARIANCE];
/// The least variance of a column of the base, in model units.
const LEAST_VARIANCE: f64 = 1e-6;
/// The most training rows whose moments are taken.
const MOST_ROWS: usize = 1 << 16;

/// An energy in training, with its persistent chains.
pub(super) struct EnergyLearner {
    model: Trainee<AnyEnergy>,
    objective: AnyEnergyObjective,
    buffer: Rows,
    base: Moments,
    train: Feed,
    held_out: Option<Feed>,
    choice: Choice,
    fit: Fit,
    steps: u64,
    space: Space,
    draws: Draws,
    device: Device,
}

impl EnergyLearner {
    /// The learner of a resolved recipe before its first step.
    pub fn new(recipe: &EnergyRecipe, at: &Start) -> Result<Self> {
        let (data, fit) = (at.data()?, &recipe.training);
        let encoding = match recipe.energy.is_discrete() {
            true => Encoding::Centres,
            false => fit.encoding(),
        };
        let train = Feed::training(data, encoding, fit.batch, at.seed)?.with_parts(fit.accumulate);
        let most = at.training.held_out_rows;
        let held_out = Feed::held_out(data, encoding, fit.batch.max(256), most)?;
        let draws = Draws::new(at.seed);
        let some = data.fit_rows().sample(MOST_ROWS, &draws.purpose("moments"));
        let base = moments(&at.space.encode(some.rows())?);
        let energy =
            recipe.energy.init(at.space, &draws.purpose("initial"), at.device)?.start(&base)?;
        let rows: Vec<u64> = (0..recipe.objective.buffer() as u64).collect();
        let buffer = match rows.is_empty() {
            true => Rows::new(Vec::new(), at.space.model_width())?,
            false => {
                let draws = draws.purpose("buffer");
                Rows::from_tensor(&start(&energy, &base, &rows, &draws, at.device)?)?
            }
        };
        Ok(Self {
            model: Trainee::new(energy, &fit.optimiser()),
            objective: recipe.objective.clone(),
            buffer,
            base,
            train,
            choice: Choice::new(fit, held_out.is_some()),
            held_out,
            fit: fit.clone(),
            steps: at.training.steps,
            space: at.space.clone(),
            draws,
            device: at.device.clone(),
        })
    }

    /// The outcome of a part of a step, whose gradient is taken in.
    fn part(&mut self, step: u64, part: u64) -> Result<Outcome> {
        let batch = self.train.batch(step, part, &self.device.clone().autodiff())?;
        let outcome = self.objective.loss(Step {
            energy: &self.model.module,
            x: batch.x,
            number: step + 1,
            draws: self.draws.purpose("energy").at(step).at(part),
            buffer: &mut self.buffer,
            base: &self.base,
        })?;
        if !outcome.loss.is_finite() {
            let what = format!("the loss became {}", outcome.loss);
            return Err(Error::Diverged { what, step: step + 1 });
        }
        self.model.take_in(&outcome.surrogate.clone().mean().backward());
        Ok(outcome)
    }

    /// The mean energy of rows, and what log p of a row in model units is more than in the data's.
    fn mean_energy(&self, energy: &AnyEnergy, feed: &Feed) -> Result<(f64, f64)> {
        let (mut all, mut volumes) = (Vec::new(), Vec::new());
        for batch in feed.all(&self.draws.purpose("held out"), &self.device) {
            let x = batch?.x;
            volumes.extend(self.space.log_volumes_of_reals(&Rows::from_tensor(&x)?)?);
            all.extend(host_column(&energy.energy(x.into())?.value)?);
        }
        Ok((mean_and_error(&all).0, mean_and_error(&volumes).0))
    }

    /// The objective's loss of held-out rows, with the same noise each time.
    fn matching_loss(&self, energy: &AnyEnergy, feed: &Feed) -> Result<f64> {
        let (draws, mut sum, mut count) = (self.draws.purpose("held out"), 0.0, 0.0);
        let live = energy.clone().train();
        for (batch, k) in feed.all(&draws, &self.device.clone().autodiff()).zip(0u64..) {
            let x = batch?.x;
            let n = x.dims()[0] as f64;
            let (buffer, base) = (&mut Rows::new(Vec::new(), x.dims()[1])?, &self.base);
            let draws = draws.purpose("noise").at(k);
            let step = Step { energy: &live, x, number: 0, draws, buffer, base };
            sum += n * self.objective.loss(step)?.loss;
            count += n;
        }
        Ok(sum / count)
    }

    /// The loss of held-out rows that weights are chosen by, with further values; none by chains.
    fn comparable(
        &self,
        energy: &AnyEnergy,
        feed: &Feed,
    ) -> Result<Option<Vec<(&'static str, f64)>>> {
        if energy.is_enumerable() {
            let (mean, volume) = self.mean_energy(energy, feed)?;
            let log_p = -mean - host_column(&energy.log_z()?)?[0];
            let loss = -log_p / self.space.width() as f64;
            return Ok(Some(vec![("held_out/loss", loss), ("held_out/log_p", log_p - volume)]));
        }
        match self.objective.is_comparable() {
            true => Ok(Some(vec![("held_out/loss", self.matching_loss(energy, feed)?)])),
            false => Ok(None),
        }
    }
}

/// The mean and the variance of each column.
fn moments(rows: &Rows) -> Moments {
    let column = |j: usize| {
        let values: Vec<f64> = rows.iter().map(|row| f64::from(row[j])).collect();
        let (mean, error) = mean_and_error(&values);
        (mean, (error * error * values.len() as f64).max(LEAST_VARIANCE))
    };
    let (mean, variance) = (0..rows.width()).map(column).unzip();
    Moments { mean, variance }
}

impl Learner for EnergyLearner {
    fn step(&mut self, step: u64) -> Result<Values> {
        let parts = self.fit.accumulate as u64;
        let (mut loss, mut values) = (0.0, Vec::new());
        for part in 0..parts {
            let outcome = self.part(step, part)?;
            loss += outcome.loss / parts as f64;
            values = outcome.values;
        }
        let factor = self.fit.decay.factor(step, self.steps, self.fit.warmup);
        let (norm, rate) = (self.model.step(factor)?, self.fit.learning_rate * factor);
        let own =
            [("train/loss", loss), ("train/gradient_norm", norm), ("train/learning_rate", rate)];
        Ok(own.into_iter().chain(values).collect())
    }

    /// The held-out loss: of score matching, or −log p per column where Z is enumerated. Contrastive divergence has no
    /// loss that two sets of weights could be compared by; for it these are the mean energy of held-out rows, and its
    /// difference from the mean energy of the persistent chains, near 0 for a model that fits.
    fn held_out(&mut self) -> Result<Values> {
        let Some(feed) = &self.held_out else { return Ok(Values::default()) };
        self.choice.begin();
        let mut least: Option<Vec<(&'static str, f64)>> = None;
        for energy in self.model.averages() {
            let Some(values) = self.comparable(&energy, feed)? else { break };
            let loss = values[0].1;
            if self.choice.takes(loss) {
                self.choice.take(loss, collect_params(&energy)?);
            }
            if least.as_ref().is_none_or(|best| loss < best[0].1) {
                least = Some(values);
            }
        }
        if let Some(values) = least {
            let chosen = self.choice.loss().map(|loss| ("held_out/chosen", loss));
            return Ok(values.into_iter().chain(chosen).collect());
        }
        let energy = self.model.averaged();
        let held_out = self.mean_energy(&energy, feed)?.0;
        if self.buffer.is_empty() {
            return Ok([("held_out/energy", held_out)].into());
        }
        let chains = energy.energy(self.buffer.to_tensor(&self.device).into())?.value;
        let gap = held_out - mean_and_error(&host_column(&chains)?).0;
        Ok([("held_out/energy", held_out), ("held_out/energy_gap", gap)].into())
    }

    fn save(&self) -> Result<State> {
        let mut state = State::new();
        self.model.save("", &mut state)?;
        self.choice.save(&mut state);
        self.put_extras(&mut state);
        Ok(state)
    }

    fn load(&mut self, mut state: State, origin: &Path) -> Result<()> {
        let size = [self.buffer.len(), self.buffer.width()];
        self.buffer = take_buffer(&mut state, size[1], origin)?;
        if self.buffer.len() != size[0] {
            let found = format!("{} chains", self.buffer.len());
            return Err(Error::file(origin, BUFFER, found, size[0].to_string()));
        }
        self.base = take_moments(&mut state, size[1], origin)?;
        self.choice.load(&mut state, origin)?;
        self.model.load("", &mut state, origin)?;
        none_left(&state, origin)
    }

    fn weights(&self) -> Result<State> {
        let own = self.choice.weights();
        let mut state = own.map_or_else(|| collect_params(&self.model.averaged()), Ok)?;
        self.put_extras(&mut state);
        Ok(state)
    }
}

impl EnergyLearner {
    /// Adds the buffer and the base.
    fn put_extras(&self, into: &mut State) {
        if !self.buffer.is_empty() {
            let shape = [self.buffer.len(), self.buffer.width()];
            let data = TensorData::new(self.buffer.values().to_vec(), shape);
            into.insert(BUFFER.into(), data);
        }
        let width = vec![self.base.mean.len()];
        put_doubles(into, MEAN, self.base.mean.clone(), width.clone());
        put_doubles(into, VARIANCE, self.base.variance.clone(), width);
    }
}

/// The weights to sample with, and what chains start from, out of a checkpoint.
pub(super) fn weights(mut checkpoint: State) -> Result<State> {
    let extras = EXTRAS.iter().filter_map(|name| checkpoint.remove_entry(*name));
    let extras: Vec<_> = extras.collect();
    let mut weights = likelihood::weights(&checkpoint)?;
    weights.extend(extras);
    Ok(weights)
}

/// Removes the buffer from a state; empty if there is none.
pub(super) fn take_buffer(from: &mut State, width: usize, origin: &Path) -> Result<Rows> {
    let Some(data) = from.remove(BUFFER) else { return Rows::new(Vec::new(), width) };
    let fault = |problem: String| {
        Error::file(origin, BUFFER, problem, format!("finite numbers, rows of {width}"))
    };
    let (shape, kind) = (data.shape().to_vec(), data.dtype());
    if kind != DType::F32 || shape.len() != 2 || shape[1] != width {
        return Err(fault(format!("{kind:?} {shape:?}")));
    }
    match data.try_into_vec::<f32>() {
        Ok(values) if values.iter().all(|v| v.is_finite()) => Rows::new(values, width),
        _ => Err(fault("values that are not finite".into())),
    }
}

/// Removes the moments of the training rows from a state.
pub(super) fn take_moments(from: &mut State, width: usize, origin: &Path) -> Result<Moments> {
    let [mean, variance] = [MEAN, VARIANCE].map(|name| take_shaped(from, name, &[width], origin));
    let moments = Moments { mean: mean?, variance: variance? };
    if moments.variance.iter().all(|v| *v > 0.0) {
        return Ok(moments);
    }
    Err(Error::file(origin, VARIANCE, "a variance of at most 0", "positive numbers"))
}
