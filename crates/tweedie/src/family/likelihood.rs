//! Maximum likelihood training by AdamW of any model with a log-density.

use super::Start;
use crate::data::{Batch, Condition, Encoding, Feed, Rows, Space};
use crate::nn::flow::Take;
use crate::nn::{State, collect_params};
use crate::tensor::{host_column, mean_and_error};
use crate::train::{
    Block, Choice, Fit, Learner, MOST_PARAMETERS, Trainee, Values, averages, chosen,
    gradients_in_blocks,
};
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use std::path::Path;

/// A model that [`LikelihoodLearner`] trains by its log p, or by a bound of it.
pub(super) trait Likelihood {
    /// Computes the gradients of the loss, the mean of (−log p + penalty) · `scale` over the rows of `x`, `[n, width]`,
    /// and calls `take` with them: once, or once for each of several parts, with a factor for each part. Returns the
    /// means of log p and of the penalty over the rows. If one of them is not finite, `take` is not called. `draws` are
    /// random numbers of the batch.
    fn descend(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        scale: f64,
        draws: &Draws,
        take: Take,
    ) -> Result<(f64, f64)>;

    /// log p of held-out rows, `[n, 1]`, a lower bound or unbiased estimates of it by `draws`.
    fn held_out(&self, x: Tensor<2>, condition: &Condition, draws: &Draws) -> Result<Tensor<2>>;

    /// KL of the posterior to the prior of each latent dimension, in nats, `[n, dimensions]`; none without a latent
    /// variable.
    fn divergences(&self, x: Tensor<2>, condition: &Condition) -> Result<Option<Tensor<2>>> {
        let _ = (x, condition);
        Ok(None)
    }
}

/// [`Likelihood::descend`] by reverse mode: `log_p` of each row, `[n, 1]`, and an expression of the same shape with its
/// derivatives.
pub(super) fn by_reverse_mode(
    log_p: &Tensor<2>,
    with_derivatives: Tensor<2>,
    scale: f64,
    take: Take,
) -> Result<(f64, f64)> {
    let mean = mean_and_error(&host_column(log_p)?).0;
    if mean.is_finite() {
        take(&with_derivatives.mean().mul_scalar(-scale).backward(), 1.0);
    }
    Ok((mean, 0.0))
}

/// The data and the units of a model trained by [`LikelihoodLearner`].
pub(super) struct Units {
    /// The encoding of integers.
    pub encoding: Encoding,
    /// The number of columns that a loss is divided by.
    pub columns: usize,
    /// What log p of rows in model units is less in the data's own units.
    pub log_volumes: fn(&Space, &Rows) -> Result<Vec<f64>>,
}

/// Maximum likelihood training of a model on the rows of a data set.
pub(super) struct LikelihoodLearner<M: Module> {
    model: Trainee<M>,
    train: Feed,
    /// The batches of held-out rows, if there are any.
    held_out: Option<Feed>,
    choice: Choice,
    fit: Fit,
    /// The number of steps in all.
    steps: u64,
    space: Space,
    units: Units,
    draws: Draws,
    device: Device,
    /// The mean KL of each latent dimension when held-out rows were seen last; empty before, and without a latent
    /// variable.
    divergences: Vec<f64>,
}

/// The nats below which a latent dimension tells nothing of a row.
const UNUSED: f64 = 0.01;

impl<M: Module + Likelihood + Sync> LikelihoodLearner<M> {
    /// The learner of a model before its first step.
    pub fn new(model: M, fit: &Fit, units: Units, at: &Start) -> Result<Self> {
        let (data, batch, encoding) = (at.data()?, fit.batch, units.encoding);
        let train = Feed::training(data, encoding, batch, at.seed)?.with_parts(fit.accumulate);
        let most = at.training.held_out_rows;
        let held_out = Feed::held_out(data, encoding, batch.max(256), most)?;
        let choice = Choice::new(fit, held_out.is_some());
        Ok(Self {
            model: Trainee::new(model, &fit.optimiser()),
            train,
            held_out,
            choice,
            fit: fit.clone(),
            steps: at.training.steps,
            space: at.space.clone(),
            units,
            draws: Draws::new(at.seed),
            device: at.device.clone(),
            divergences: Vec::new(),
        })
    }

    /// The mean KL of each latent dimension on held-out rows; empty without a latent variable.
    fn mean_divergences(&self, model: &M, feed: &Feed) -> Result<Vec<f64>> {
        let (mut sums, mut count) = (Vec::new(), 0.0);
        for batch in feed.all(&self.draws.purpose("held out"), &self.device) {
            let batch = batch?;
            let Some(found) = model.divergences(batch.x, &batch.condition)? else { break };
            let [n, d] = found.dims();
            sums.resize(d, 0.0);
            count += n as f64;
            let found = host_column(&found.sum_dim(0).reshape([d, 1]))?;
            sums.iter_mut().zip(found).for_each(|(sum, own)| *sum += own);
        }
        Ok(sums.into_iter().map(|sum| sum / count).collect())
    }

    /// The loss of a model on held-out rows, and the mean log p of a row. The noise is the same each time, so that a
    /// curve depends on the model alone.
    fn held_out_loss(&self, model: &M, feed: &Feed) -> Result<(f64, f64)> {
        let (mut all, mut volumes) = (Vec::new(), Vec::new());
        let draws = self.draws.purpose("held out");
        for batch in feed.all(&draws, &self.device) {
            let batch = batch?;
            volumes.extend((self.units.log_volumes)(&self.space, &Rows::from_tensor(&batch.x)?)?);
            let probes = draws.purpose("probes");
            all.extend(host_column(&model.held_out(batch.x, &batch.condition, &probes)?)?);
        }
        let (log_p, volume) = (mean_and_error(&all).0, mean_and_error(&volumes).0);
        Ok((-log_p / self.units.columns as f64, log_p - volume))
    }
}

impl<M: Module + Likelihood + Sync> Learner for LikelihoodLearner<M> {
    fn step(&mut self, step: u64) -> Result<Values> {
        let (device, parts) = (self.device.clone().autodiff(), self.fit.accumulate);
        let mut loss = 0.0;
        for part in 0..parts as u64 {
            let batch = self.train.batch(step, part, &device)?;
            let columns = self.units.columns as f64;
            let draws = self.draws.purpose("probes").at(step).at(part);
            let (sum, found) =
                gradients_in_blocks(&self.model.module, batch, |module, block, take| {
                    let Block { batch: Batch { x, condition }, share, number } = block;
                    let draws = if number == 0 { draws } else { draws.at(number) };
                    let (log_p, penalty) =
                        module.descend(x, &condition, share / columns, &draws, take)?;
                    Ok(share * (log_p - penalty))
                })?;
            loss -= found.iter().sum::<f64>() / columns / parts as f64;
            if !loss.is_finite() {
                let what = format!("the loss became {loss}");
                return Err(Error::Diverged { what, step: step + 1 });
            }
            self.model.take_in_sum(sum);
        }
        let factor = self.fit.decay.factor(step, self.steps, self.fit.warmup);
        let (norm, rate) = (self.model.step(factor)?, self.fit.learning_rate * factor);
        Ok([("train/loss", loss), ("train/gradient_norm", norm), ("train/learning_rate", rate)]
            .into())
    }

    /// The held-out loss in nats per column and model units, the mean log p of a row in nats and the data's own units,
    /// and with a latent variable the KL of the averaged weights' posterior to the prior.
    fn held_out(&mut self) -> Result<Values> {
        let Some(feed) = &self.held_out else { return Ok(Values::default()) };
        self.choice.begin();
        let mut least = (f64::NAN, f64::NAN);
        for model in self.model.averages() {
            let (loss, log_p) = self.held_out_loss(&model, feed)?;
            if self.choice.takes(loss) {
                self.choice.take(loss, collect_params(&model)?);
            }
            if least.0.is_nan() || loss < least.0 {
                least = (loss, log_p);
            }
        }
        self.divergences = self.mean_divergences(&self.model.averaged(), feed)?;
        let divergence = (!self.divergences.is_empty()).then(|| self.divergences.iter().sum());
        let divergence = divergence.map(|sum: f64| ("held_out/kl", sum));
        let chosen = self.choice.loss().map(|loss| ("held_out/chosen", loss));
        let values = [("held_out/loss", least.0), ("held_out/log_p", least.1)];
        Ok(values.into_iter().chain(divergence).chain(chosen).collect())
    }

    fn save(&self) -> Result<State> {
        let mut state = State::new();
        self.model.save("", &mut state)?;
        self.choice.save(&mut state);
        Ok(state)
    }

    fn load(&mut self, mut state: State, origin: &Path) -> Result<()> {
        self.choice.load(&mut state, origin)?;
        self.model.load("", &mut state, origin)?;
        match state.keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::file(origin, name, "unknown", "only what a learner saves")),
        }
    }

    fn notes(&self) -> Vec<String> {
        if self.divergences.is_empty() {
            return Vec::new();
        }
        let sum: f64 = self.divergences.iter().sum();
        let unused = self.divergences.iter().filter(|nats| **nats < UNUSED).count();
        let all = self.divergences.len();
        let used = format!("{unused} of {all} latent dimensions have less than {UNUSED} nats");
        vec![format!("KL(posterior ‖ prior) of held-out rows: {sum:.2} nats a row; {used}")]
    }

    fn weights(&self) -> Result<State> {
        self.choice.weights().map_or_else(|| collect_params(&self.model.averaged()), Ok)
    }
}

/// The learner of a model of the columns of a space, integers as integers.
pub(super) fn learner_of_columns<M>(model: M, fit: &Fit, at: &Start) -> Result<Box<dyn Learner>>
where
    M: Module + Likelihood + Sync + 'static,
{
    let units = Units {
        encoding: Encoding::Centres,
        columns: at.space.width(),
        log_volumes: Space::log_volumes_of_reals,
    };
    Ok(Box::new(LikelihoodLearner::new(model, fit, units, at)?))
}

/// The weights to sample with, from a checkpoint of [`LikelihoodLearner`]: the chosen ones, or else the average.
pub(super) fn weights(checkpoint: &State) -> Result<State> {
    chosen(checkpoint).map_or_else(|| averages(checkpoint), Ok)
}

/// Fails, naming `key`, for more parameters than a model may have.
pub(super) fn check_size(key: &str, parameters: u128) -> Result<()> {
    if parameters <= MOST_PARAMETERS {
        return Ok(());
    }
    let expected = format!("at most {MOST_PARAMETERS}");
    Err(Error::config(key, format!("{parameters} parameters"), expected))
}

/// Fails, naming the key, if training changes rows, so that a model would not be `what` of the rows as they are.
pub(super) fn of_rows_as_they_are(training: &Fit, what: &str) -> Result<()> {
    if training.flip {
        let expected = format!("false: {what} is of the rows as they are");
        return Err(Error::config("training.flip", "true", expected));
    }
    if training.augmentation.is_some() {
        let expected = format!("no such key: {what} is of the rows as they are");
        return Err(Error::config("training.augmentation", "given", expected));
    }
    Ok(())
}
