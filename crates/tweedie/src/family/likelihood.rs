//! Maximum likelihood training by AdamW of any model with a log-density.

use super::Start;
use super::arrays::none_left;
use crate::data::{Batch, Condition, Encoding, Feed, Rows, Space};
use crate::latent::{Matcher, MatcherStep, Multiplier};
use crate::nn::flow::Take;
use crate::nn::{State, collect_params};
use crate::tensor::{host_column, mean_and_error};
use crate::train::{
    Block, Choice, Fit, Learner, MOST_PARAMETERS, Optimiser, Trainee, Values, averages, chosen,
    gradients_in_blocks,
};
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use std::path::Path;

/// A model that [`LikelihoodLearner`] trains by its log p, or by a bound of it.
pub(super) trait Likelihood {
    /// Computes the gradients of the loss, the mean of (−log p + penalty) · `scale` over the rows of `x`, `[n, width]`,
    /// and calls `take` with them: once, or once for each of several parts, with a factor for each part. If a mean is
    /// not finite, `take` is not called.
    fn descend(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        scale: f64,
        at: &Moment,
        take: Take,
    ) -> Result<Found>;

    /// What the parts of [`Likelihood::divergences`] are, in words.
    fn parts(&self) -> &'static str {
        "latent dimensions"
    }

    /// The multiplier of a constraint on the likelihood term, before the first step; none by default.
    fn multiplier(&self) -> Option<Multiplier> {
        None
    }

    /// A network that learns beside the model and before it in each step; none by default.
    fn matcher(&self, optimiser: Optimiser, at: &Start) -> Result<Option<Matcher>> {
        let _ = (optimiser, at);
        Ok(None)
    }

    /// Lets that network learn from some rows. Returns its mean loss and the mean norm of its gradient.
    fn teach(&self, matcher: &mut Matcher, of: &MatcherStep, factor: f64) -> Result<[f64; 2]> {
        let _ = (matcher, of, factor);
        Ok([0.0; 2])
    }

    /// log p of held-out rows, `[n, 1]`, a lower bound or unbiased estimates of it by `draws`.
    fn held_out(&self, x: Tensor<2>, condition: &Condition, draws: &Draws) -> Result<Tensor<2>>;

    /// KL of the posterior to the prior in parts, such as latent dimensions, in nats, `[n, parts]`; none without a
    /// latent variable.
    fn divergences(&self, x: Tensor<2>, condition: &Condition) -> Result<Option<Tensor<2>>> {
        let _ = (x, condition);
        Ok(None)
    }
}

/// The moment of a batch in training.
pub(super) struct Moment<'a> {
    /// The number of the step, from 0.
    pub step: u64,
    /// Random numbers of the batch.
    pub draws: Draws,
    /// The multiplier of a constraint; 1 without one.
    pub multiplier: f64,
    /// The network that learns beside the model.
    pub matcher: Option<&'a Matcher>,
}

/// What [`Likelihood::descend`] finds: means over the rows of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// log p, a bound of it or an estimate.
    pub log_p: f64,
    /// The penalty.
    pub penalty: f64,
    /// The terms of a bound in nats, ln p(x | z) and ln q(z | x)/p(z); none without a latent variable.
    pub terms: Option<[f64; 2]>,
}

impl Found {
    /// The sum of the means over several batches, each with its share of the rows.
    fn sum(all: &[(f64, Self)]) -> Self {
        let of = |value: fn(&Self) -> f64| all.iter().map(|(share, own)| share * value(own)).sum();
        let term = |k: usize| -> Option<f64> {
            all.iter().map(|(share, own)| own.terms.map(|terms| share * terms[k])).sum()
        };
        let terms = term(0).zip(term(1)).map(|(a, b)| [a, b]);
        Self { log_p: of(|own| own.log_p), penalty: of(|own| own.penalty), terms }
    }
}

/// [`Likelihood::descend`] by reverse mode: `log_p` of each row, `[n, 1]`, and an expression of the same shape with its
/// derivatives.
pub(super) fn by_reverse_mode(
    log_p: &Tensor<2>,
    with_derivatives: Tensor<2>,
    scale: f64,
    take: Take,
) -> Result<Found> {
    let mean = mean_and_error(&host_column(log_p)?).0;
    if mean.is_finite() {
        take(&with_derivatives.mean().mul_scalar(-scale).backward(), 1.0);
    }
    Ok(Found { log_p: mean, penalty: 0.0, terms: None })
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
    /// The multiplier of a constraint on the likelihood term.
    multiplier: Option<Multiplier>,
    /// The network that learns beside the model.
    matcher: Option<Matcher>,
    /// The mean KL of each part of the latent variable when held-out rows were seen last; empty before, and without a
    /// latent variable.
    divergences: Vec<f64>,
}

/// The name of a constraint's multiplier in a checkpoint.
const MULTIPLIER: &str = "multiplier";
/// The beginning of the names of the second network's arrays in a checkpoint.
const MATCHER: &str = "matcher.";

/// The nats below which a part of a latent variable tells nothing of a row.
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
            multiplier: model.multiplier(),
            matcher: model.matcher(fit.optimiser(), at)?,
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

    /// The mean KL of each part of the latent variable on held-out rows; empty without a latent variable.
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
        let columns = self.units.columns;
        let multiplier = self.multiplier.map_or(1.0, |multiplier| multiplier.value());
        let factor = self.fit.decay.factor(step, self.steps, self.fit.warmup);
        let (mut all, mut taught) = (Vec::new(), [0.0; 2]);
        for part in 0..parts as u64 {
            let batch = self.train.batch(step, part, &device)?;
            let draws = self.draws.purpose("probes").at(step).at(part);
            if let Some(matcher) = &mut self.matcher {
                let (x, draws) = (batch.x.clone().inner(), draws.purpose("matcher"));
                let of = MatcherStep { x: &x, condition: &batch.condition, draws: &draws, step };
                let found = self.model.module.teach(matcher, &of, factor)?;
                taught.iter_mut().zip(found).for_each(|(sum, own)| *sum += own / parts as f64);
            }
            let matcher = self.matcher.as_ref();
            let (sum, found) =
                gradients_in_blocks(&self.model.module, batch, |module, block, take| {
                    let Block { batch: Batch { x, condition }, share, number } = block;
                    let draws = if number == 0 { draws } else { draws.at(number) };
                    let at = Moment { step, draws, multiplier, matcher };
                    let scale = share / columns as f64;
                    Ok((share, module.descend(x, &condition, scale, &at, take)?))
                })?;
            let found = Found::sum(&found);
            let loss = (found.penalty - found.log_p) / columns as f64;
            if !loss.is_finite() {
                let what = format!("the loss became {loss}");
                return Err(Error::Diverged { what, step: step + 1 });
            }
            self.model.take_in_sum(sum);
            all.push((1.0 / parts as f64, found));
        }
        let found = Found::sum(&all);
        let (norm, rate) = (self.model.step(factor)?, self.fit.learning_rate * factor);
        let mut values = vec![
            ("train/loss", (found.penalty - found.log_p) / columns as f64),
            ("train/gradient_norm", norm),
            ("train/learning_rate", rate),
        ];
        if let Some([likelihood, divergence]) = found.terms {
            values.extend([("train/log_likelihood", likelihood), ("train/kl", divergence)]);
            if let Some(multiplier) = self.multiplier {
                values.push(("train/multiplier", multiplier.value()));
                self.multiplier = Some(multiplier.after(likelihood, columns)?);
            }
        }
        if self.matcher.is_some() {
            let [loss, norm] = taught;
            values.extend([("train/matcher", loss), ("train/matcher_gradient_norm", norm)]);
        }
        Ok(values.into_iter().collect())
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
        self.matcher.iter().try_for_each(|matcher| matcher.save(MATCHER, &mut state))?;
        self.choice.save(&mut state);
        if let Some(multiplier) = self.multiplier {
            state.insert(MULTIPLIER.to_string(), TensorData::new(multiplier.state().to_vec(), [3]));
        }
        Ok(state)
    }

    fn load(&mut self, mut state: State, origin: &Path) -> Result<()> {
        self.choice.load(&mut state, origin)?;
        if let Some(multiplier) = &mut self.multiplier {
            let found = state.remove(MULTIPLIER).and_then(|data| data.try_to_vec::<f64>().ok());
            let found = found.and_then(|own| <[f64; 3]>::try_from(own).ok());
            let expected = "the three numbers of a constraint's multiplier";
            let missing =
                || Error::file(origin, MULTIPLIER, "missing or of another kind", expected);
            *multiplier = multiplier.with_state(found.ok_or_else(missing)?);
        }
        if let Some(matcher) = &mut self.matcher {
            matcher.load(MATCHER, &mut state, origin)?;
        }
        self.model.load("", &mut state, origin)?;
        none_left(&state, origin)
    }

    fn notes(&self) -> Vec<String> {
        let constraint = self.multiplier.map(|multiplier| multiplier.note(self.units.columns));
        let divergence = (!self.divergences.is_empty()).then(|| {
            let sum: f64 = self.divergences.iter().sum();
            let unused = self.divergences.iter().filter(|nats| **nats < UNUSED).count();
            let (all, parts) = (self.divergences.len(), self.model.module.parts());
            let used = format!("{unused} of {all} {parts} have less than {UNUSED} nats");
            format!("KL(posterior ‖ prior) of held-out rows: {sum:.2} nats a row; {used}")
        });
        divergence.into_iter().chain(constraint).collect()
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
