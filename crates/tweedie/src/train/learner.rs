//! Learners, and the loop that runs any of them: curves, checkpoints, resuming, stopping on NaN.

use super::checkpoint::{load_whole, save_checkpoint};
use super::window::Window;
use super::{Curves, State};
use crate::nn::not_finite;
use crate::{Error, Result};
use std::ops::Deref;
use std::path::Path;
use std::time::{Duration, Instant};

/// Named values of a step or of held-out data, in the order of the curves.
///
/// ```
/// use tweedie::train::Values;
/// let values = Values::from([("train/loss", 0.5), ("train/learning_rate", 1e-3)]);
/// assert_eq!(values.loss(), Some(0.5));
/// assert_eq!(Values::from([("chains/acceptance", 0.6)]).loss(), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(Vec<(&'static str, f64)>);

impl Values {
    /// The value with the name `loss`, alone or after the name of a group as in `train/loss`.
    pub fn loss(&self) -> Option<f64> {
        let is_loss = |name: &str| name.rsplit('/').next() == Some("loss");
        self.0.iter().find(|(name, _)| is_loss(name)).map(|(_, value)| *value)
    }
}

impl<const N: usize> From<[(&'static str, f64); N]> for Values {
    fn from(values: [(&'static str, f64); N]) -> Self {
        Self(values.to_vec())
    }
}

impl FromIterator<(&'static str, f64)> for Values {
    fn from_iter<T: IntoIterator<Item = (&'static str, f64)>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Deref for Values {
    type Target = [(&'static str, f64)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A model in training: it owns modules, optimisers, averages and buffers.
///
/// A step depends on the state of the learner and on the number of the step alone, so that a resumed run equals an
/// uninterrupted one.
pub trait Learner: Send {
    /// Takes step number `step` (from 0) and reports named values, including the loss if it has one.
    ///
    /// # Errors
    /// [`Error::Diverged`] if a value or gradient is not finite.
    fn step(&mut self, step: u64) -> Result<Values>;

    /// Named values on held-out data; empty without such data.
    ///
    /// # Errors
    /// Errors of the model.
    fn held_out(&mut self) -> Result<Values>;

    /// The whole state as named arrays, none of which is empty.
    ///
    /// # Errors
    /// [`Error::Device`] if an array cannot be read.
    fn save(&self) -> Result<State>;

    /// Restores the arrays of [`Learner::save`]; `origin` names their file, for errors.
    ///
    /// # Errors
    /// [`Error::File`] naming the array that is missing or does not fit.
    fn load(&mut self, state: State, origin: &Path) -> Result<()>;

    /// The parameters to sample with, as named arrays.
    ///
    /// # Errors
    /// [`Error::Device`] if an array cannot be read.
    fn weights(&self) -> Result<State>;

    /// What a user should know of the training since this value was made, each in a line; nothing by default.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Options of the training loop.
#[derive(Debug, Clone)]
pub struct Loop {
    /// The total number of steps.
    pub steps: u64,
    /// The number of steps between points of the curves; checkpoints fall on these steps.
    pub log_every: u64,
    /// The number of steps between held-out values; 0 for never.
    pub held_out_every: u64,
    /// The number of steps between [`Event::Sample`]s, which also come after the first 10, 30, 100, 300, … steps; 0 for
    /// never.
    pub sample_every: u64,
    /// The number of steps between [`Event::Keep`]s; 0 for never.
    pub keep_every: u64,
    /// The least time between checkpoints.
    pub checkpoint_after: Duration,
}

/// An event of the training loop.
pub enum Event<'a> {
    /// A resumed run, with its first step.
    Resumed(u64),
    /// The number of steps done, and the last loss if known.
    Step(u64, Option<f64>),
    /// The number of steps done, and the held-out values.
    HeldOut(u64, &'a Values),
    /// The number of steps after which samples are due.
    Sample(u64, &'a mut dyn Learner),
    /// The number of steps whose weights are to be kept.
    Keep(u64, &'a mut dyn Learner),
}

/// Trains a learner in a folder, from its checkpoint if the folder has one.
///
/// The folder holds `checkpoint.safetensors`, `curves.jsonl` and a TensorBoard event file; resuming cuts the last two
/// back to the checkpoint. An error of `observe` stops the run and keeps all files.
///
/// # Errors
/// Errors of the learner and of `observe`; [`Error::Diverged`] if the loss or the state is not finite, with the last
/// checkpoint kept.
pub fn train(
    learner: &mut dyn Learner,
    folder: &Path,
    config: &Loop,
    observe: impl FnMut(Event) -> Result<()>,
) -> Result<()> {
    train_until(learner, folder, config, || false, observe).map(drop)
}

/// Trains as [`train`], until `stop`, which is called after each step, is true: the run then has a checkpoint of that
/// step, and goes on from it as though it had never stopped. Gives the step if the run stopped before its end.
///
/// # Errors
/// As [`train`].
pub fn train_until(
    learner: &mut dyn Learner,
    folder: &Path,
    config: &Loop,
    stop: impl Fn() -> bool,
    mut observe: impl FnMut(Event) -> Result<()>,
) -> Result<Option<u64>> {
    let path = folder.join("checkpoint.safetensors");
    let (mut start, mut window) = (0, Window::default());
    if path.exists() {
        let (state, step, begun) = load_whole(&path)?;
        learner.load(state, &path)?;
        (start, window) = (step, begun);
        observe(Event::Resumed(step))?;
    }
    if start > config.steps {
        let expected = format!("at most {}, the steps of the run", config.steps);
        return Err(Error::file(&path, "step", start.to_string(), expected));
    }
    let mut curves = Curves::open(folder, (start > 0).then_some(start))?;
    let mut saved = Instant::now();
    for step in start..config.steps {
        let values = learner.step(step)?;
        let done = step + 1;
        let due = |every: u64| every > 0 && (done.is_multiple_of(every) || done == config.steps);
        let loss = values.loss();
        if let Some(loss) = loss.filter(|loss| !loss.is_finite()) {
            return Err(Error::Diverged { what: format!("the loss became {loss}"), step: done });
        }
        window.add(&values);
        observe(Event::Step(done, loss))?;
        if due(config.log_every) {
            curves.log(done, &window.means())?;
            window = Window::default();
        }
        if due(config.held_out_every) {
            let values = learner.held_out()?;
            if !values.is_empty() {
                curves.log(done, &values)?;
                observe(Event::HeldOut(done, &values))?;
            }
        }
        if due(config.sample_every) || (done < config.sample_every && is_early(done)) {
            observe(Event::Sample(done, learner))?;
        }
        if config.keep_every > 0 && done.is_multiple_of(config.keep_every) {
            observe(Event::Keep(done, learner))?;
        }
        let stopped = done < config.steps && stop();
        let overdue = due(config.log_every) && saved.elapsed() >= config.checkpoint_after;
        if overdue || stopped || done == config.steps {
            curves.flush()?;
            let mut state = learner.save()?;
            check(&state, done)?;
            window.save(&mut state);
            save_checkpoint(state, done, &path)?;
            saved = Instant::now();
        }
        if stopped {
            return Ok(Some(done));
        }
    }
    Ok(None)
}

/// Fails unless every array of a state has values, all of them finite.
fn check(state: &State, step: u64) -> Result<()> {
    if let Some((name, _)) = state.iter().find(|(_, data)| data.num_elements() == 0) {
        return Err(Error::shape(format!("array `{name}` of a checkpoint"), "no value", "values"));
    }
    match state.iter().find(|(_, data)| not_finite(data)) {
        None => Ok(()),
        Some((name, _)) => {
            Err(Error::Diverged { what: format!("{name} became NaN or infinite"), step })
        }
    }
}

/// Whether a number is one of 10, 30, 100, 300, …: a model changes fastest at first.
fn is_early(step: u64) -> bool {
    let power = step.checked_ilog10().unwrap_or(0);
    power > 0 && [1, 3].iter().any(|digit| step == digit * 10u64.pow(power))
}
