//! Learners, and the loop that runs any of them: curves, checkpoints, resuming, stopping on NaN.

use super::{Curves, load_checkpoint, save_checkpoint};
use crate::nn::{Params, not_finite};
use crate::{Error, Result};
use std::path::Path;
use std::time::{Duration, Instant};

/// Something that learns by steps: it owns its modules, optimisers, averages and buffers.
///
/// A step depends on the learner's state and the step's number alone, so that a resumed run equals an uninterrupted
/// one.
pub trait Learner {
    /// Takes step number `step` (from 0) and reports named values, the loss first.
    ///
    /// # Errors
    /// [`Error::Diverged`] if a value or gradient is not finite.
    fn step(&mut self, step: u64) -> Result<Vec<(&'static str, f64)>>;

    /// Named values on held-out data; empty if there are none.
    ///
    /// # Errors
    /// The model's.
    fn held_out(&mut self) -> Result<Vec<(&'static str, f64)>>;

    /// Everything needed to go on, as named arrays.
    fn save(&self) -> Params;

    /// Takes back what [`Learner::save`] gave; `origin` names the file, for errors.
    ///
    /// # Errors
    /// [`Error::File`] naming what is missing or does not fit.
    fn load(&mut self, state: Params, origin: &Path) -> Result<()>;

    /// The parameters to sample with, as named arrays.
    fn weights(&self) -> Result<Params>;
}

/// How the loop runs.
#[derive(Debug, Clone)]
pub struct Loop {
    /// Steps in all.
    pub steps: u64,
    /// Curves are written and checkpoints considered every so many steps.
    pub log_every: u64,
    /// The held-out values are computed every so many steps; 0 for never.
    pub held_out_every: u64,
    /// Samples are asked for every so many steps, and before the first of these after 10, 30, 100, 300, … steps; 0 for
    /// never.
    pub sample_every: u64,
    /// A checkpoint is written when so much time has passed since the last.
    pub checkpoint_after: Duration,
}

/// What the loop tells its observer.
pub enum Event<'a> {
    /// A resumed run starts from this step.
    Resumed(u64),
    /// So many steps are done, the last with this loss.
    Step(u64, f64),
    /// Held-out values after so many steps.
    HeldOut(u64, &'a [(&'static str, f64)]),
    /// Time for samples after so many steps.
    Sample(u64, &'a mut dyn Learner),
}

/// Runs a learner in a folder, from its checkpoint there if it has one.
///
/// The folder holds `checkpoint.safetensors`, `curves.jsonl` and a TensorBoard event file, the last two cut back to
/// the checkpoint on resuming. `observe` may stop the run by an error, which loses nothing written.
///
/// # Errors
/// The learner's and the observer's; [`Error::Diverged`] if the loss or the state to be saved is not finite, with the
/// last checkpoint kept.
pub fn train(
    learner: &mut dyn Learner,
    folder: &Path,
    config: &Loop,
    mut observe: impl FnMut(Event) -> Result<()>,
) -> Result<()> {
    let path = folder.join("checkpoint.safetensors");
    let mut start = 0;
    if path.exists() {
        let (state, step) = load_checkpoint(&path)?;
        learner.load(state, &path)?;
        start = step;
        observe(Event::Resumed(step))?;
    }
    if start > config.steps {
        let expected = format!("at most {}, the steps of the run", config.steps);
        return Err(Error::file(&path, "step", start.to_string(), expected));
    }
    let mut curves = Curves::open(folder, (start > 0).then_some(start))?;
    let mut saved = Instant::now();
    let mut window = Window::default();
    for step in start..config.steps {
        let values = learner.step(step)?;
        let done = step + 1;
        let due = |every: u64| every > 0 && (done.is_multiple_of(every) || done == config.steps);
        let loss = values.first().map_or(0.0, |(_, loss)| *loss);
        if !loss.is_finite() {
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
            let named: Vec<(&str, f64)> = values.iter().map(|(name, v)| (*name, *v)).collect();
            if !named.is_empty() {
                curves.log(done, &named)?;
                observe(Event::HeldOut(done, &values))?;
            }
        }
        if due(config.sample_every) || (done < config.sample_every && is_early(done)) {
            observe(Event::Sample(done, learner))?;
        }
        // Only between windows, so that a resumed run logs the same means.
        let overdue = due(config.log_every) && saved.elapsed() >= config.checkpoint_after;
        if overdue || done == config.steps {
            curves.flush()?;
            let state = learner.save();
            if let Some((name, _)) = state.iter().find(|(_, (_, values))| not_finite(values)) {
                let what = format!("{name} became NaN or infinite");
                return Err(Error::Diverged { what, step: done });
            }
            save_checkpoint(state, done, &path)?;
            saved = Instant::now();
        }
    }
    Ok(())
}

/// 10, 30, 100, 300, …: a model changes fastest at first.
fn is_early(step: u64) -> bool {
    let power = step.checked_ilog10().unwrap_or(0);
    power > 0 && [1, 3].iter().any(|digit| step == digit * 10u64.pow(power))
}

/// The means of reported values since the last log.
#[derive(Default)]
struct Window {
    count: f64,
    sums: Vec<(&'static str, f64)>,
}

impl Window {
    fn add(&mut self, values: &[(&'static str, f64)]) {
        self.count += 1.0;
        for (name, value) in values {
            match self.sums.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += value,
                None => self.sums.push((name, *value)),
            }
        }
    }

    fn means(&self) -> Vec<(&str, f64)> {
        self.sums.iter().map(|(name, sum)| (*name, sum / self.count)).collect()
    }
}
