//! AdamW with state by parameter path, learning rates, and clipping by the global norm.
//!
//! Loshchilov & Hutter (2019), algorithm 2: with m, v the exponential means of g and g², m̂ = m/(1 − β₁ᵏ),
//! v̂ = v/(1 − β₂ᵏ),
//!
//! > θ ← θ − η (m̂/(√v̂ + ε) + w θ).

use super::Ema;
use super::checkpoint::{count, take_count};
use crate::nn::{EachParam, MapParam, State, each_param, fitted, map_each};
use crate::tensor::host_data;
use crate::{Error, Result};
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use tweedie_ops::{AdamW as Step, State as Moments, adamw};

/// Flat gradients by parameter path.
pub type Gradients = BTreeMap<String, Tensor<1>>;

/// The course of the learning rate after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LearningRate {
    /// A constant rate.
    Constant,
    /// Half a cosine, which reaches zero at the last step.
    #[default]
    Cosine,
}

impl LearningRate {
    /// The factor on the peak rate at step `step` (from 0) of `steps`, rising linearly over the first `warmup`.
    pub fn factor(self, step: u64, steps: u64, warmup: u64) -> f64 {
        let rise = ((step + 1) as f64 / (warmup.max(1)) as f64).min(1.0);
        let fall = match self {
            LearningRate::Constant => 1.0,
            LearningRate::Cosine => {
                let done =
                    step.saturating_sub(warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
                0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
            }
        };
        rise * fall
    }
}

/// Configuration of [`AdamW`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// The decay of the mean gradient.
    pub beta_1: f64,
    /// The decay of the mean squared gradient.
    pub beta_2: f64,
    /// ε, added to the root of the mean square.
    pub epsilon: f64,
    /// Decoupled weight decay, on parameters of two dimensions or more.
    pub weight_decay: f64,
    /// The largest global norm of a gradient; larger ones are scaled down. 0 never clips.
    pub clip: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.0, clip: 1.0 }
    }
}

/// The optimiser.
#[derive(Debug, Clone)]
pub struct AdamW {
    config: AdamWConfig,
    steps: u64,
    mean: Gradients,
    square: Gradients,
}

struct Collect<'a> {
    gradients: &'a burn::tensor::Gradients,
    found: Gradients,
}

impl EachParam for Collect<'_> {
    fn each<const D: usize>(&mut self, path: &str, tensor: Tensor<D>) {
        if let Some(gradient) = tensor.grad(self.gradients) {
            let len = gradient.shape().num_elements();
            self.found.insert(path.to_string(), gradient.reshape([len]));
        }
    }
}

impl AdamW {
    /// An optimiser that has not stepped yet.
    pub fn new(config: AdamWConfig) -> Self {
        Self { config, steps: 0, mean: Gradients::new(), square: Gradients::new() }
    }

    /// The gradients of a module's parameters after a backward pass.
    pub fn gradients<M: Module>(module: &M, gradients: &burn::tensor::Gradients) -> Gradients {
        each_param(module, Collect { gradients, found: Gradients::new() }).found
    }

    /// The number of steps taken.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Adds the gradients of a micro-batch to a sum.
    pub fn accumulate(sum: &mut Gradients, more: Gradients) {
        for (path, gradient) in more {
            let total = match sum.remove(&path) {
                Some(earlier) => earlier + gradient,
                None => gradient,
            };
            sum.insert(path, total);
        }
    }

    /// Takes a step with gradients multiplied by `scale`, at learning rate `rate`. Returns the module and the global
    /// norm of the gradient before clipping. The same pass updates `ema`, if given.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the norm is not finite; the state then stays unchanged, but the caller has lost the
    /// module.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        gradients: &Gradients,
        scale: f64,
        rate: f64,
        ema: Option<&mut Ema>,
    ) -> Result<(M, f64)> {
        let mut square = 0.0;
        for gradient in gradients.values() {
            square += tweedie_ops::square_sum(gradient);
        }
        let norm = square.sqrt() * scale;
        if !norm.is_finite() {
            return Err(Error::Diverged {
                what: "the gradient became NaN or infinite".into(),
                step: self.steps + 1,
            });
        }
        self.steps += 1;
        let clip = self.config.clip;
        let factor = if clip > 0.0 && norm > clip { scale * clip / norm } else { scale };
        let AdamWConfig { beta_1, beta_2, epsilon, weight_decay, .. } = self.config;
        let step = Step { factor, beta_1, beta_2, epsilon, rate, weight_decay, step: self.steps };
        let (module, _) = map_each(module, Update { adam: self, gradients, step, ema });
        Ok((module, norm))
    }

    /// Adds the state as arrays named `adam.m.…` and `adam.v.…` behind `prefix`.
    ///
    /// # Errors
    /// [`Error::Device`] if a tensor cannot be read.
    pub fn save(&self, prefix: &str, into: &mut State) -> Result<()> {
        into.insert(format!("{prefix}adam.steps"), count(self.steps));
        put_flat(into, &format!("{prefix}adam.m."), &self.mean)?;
        put_flat(into, &format!("{prefix}adam.v."), &self.square)
    }

    /// Restores the arrays of [`AdamW::save`] for the parameters of `module`, and removes them from `from`; `origin`
    /// names their file, for errors.
    ///
    /// # Errors
    /// [`Error::File`] naming the array that is missing or does not fit.
    pub fn load<M: Module>(
        &mut self,
        prefix: &str,
        from: &mut State,
        module: &M,
        origin: &Path,
    ) -> Result<()> {
        self.steps = take_count(from, &format!("{prefix}adam.steps"), origin)?;
        self.mean = take_flat(from, &format!("{prefix}adam.m."), module, origin)?;
        self.square = take_flat(from, &format!("{prefix}adam.v."), module, origin)?;
        // A parameter without any gradient so far has neither.
        let without_square = self.mean.keys().find(|path| !self.square.contains_key(*path));
        let without_mean = || self.square.keys().find(|path| !self.mean.contains_key(*path));
        match without_square.or_else(without_mean) {
            None => Ok(()),
            Some(path) => {
                let name = format!("{prefix}adam.m.{path}");
                Err(Error::file(origin, name, "one mean is missing", "both means of a gradient"))
            }
        }
    }
}

/// Adds flat tensors as arrays whose names begin with `prefix`.
pub(super) fn put_flat(into: &mut State, prefix: &str, flat: &Gradients) -> Result<()> {
    for (path, tensor) in flat {
        into.insert(format!("{prefix}{path}"), host_data(tensor.clone())?);
    }
    Ok(())
}

/// Removes the arrays whose names begin with `prefix`. Gives flat tensors of the parameters' types, under the rest of
/// their names, which must be paths of parameters.
pub(super) fn take_flat<M: Module>(
    from: &mut State,
    prefix: &str,
    module: &M,
    origin: &Path,
) -> Result<Gradients> {
    let take = each_param(module, Take { from, prefix, taken: Gradients::new(), error: None });
    if let Some((name, problem, expected)) = take.error {
        return Err(Error::file(origin, name, problem, expected));
    }
    let taken = take.taken;
    match from.keys().find(|name| name.starts_with(prefix)) {
        None => Ok(taken),
        Some(extra) => {
            let expected = "only the network's own parameters";
            Err(Error::file(origin, extra, "unknown parameter", expected))
        }
    }
}

struct Take<'a> {
    from: &'a mut State,
    prefix: &'a str,
    taken: Gradients,
    error: Option<(String, String, String)>,
}

impl EachParam for Take<'_> {
    fn each<const D: usize>(&mut self, path: &str, tensor: Tensor<D>) {
        let name = format!("{}{path}", self.prefix);
        let Some(data) = self.from.remove(&name) else { return };
        let len = tensor.shape().num_elements();
        let device = tensor.device();
        let plain = if tensor.is_autodiff() { device.inner() } else { device };
        match fitted(&data, [len], (tensor.dtype(), &plain)) {
            Ok(flat) => drop(self.taken.insert(path.to_string(), flat)),
            Err(problem) => {
                self.error.get_or_insert((name, problem, format!("shape [{len}]")));
            }
        }
    }
}

struct Update<'a> {
    adam: &'a mut AdamW,
    gradients: &'a Gradients,
    step: Step,
    ema: Option<&'a mut Ema>,
}

impl MapParam for Update<'_> {
    fn map<const D: usize>(&mut self, path: &str, tensor: Tensor<D>) -> Tensor<D> {
        let average = self.ema.as_mut().and_then(|ema| ema.take(path, self.step.step - 1));
        let Some(gradient) = self.gradients.get(path) else {
            // Without a gradient the parameter stays.
            if let (Some(ema), Some((average, _))) = (self.ema.as_mut(), average) {
                ema.put(path, average);
            }
            return tensor;
        };
        // Weight decay acts on matrices, not on biases and scales.
        let weight_decay = if D > 1 { self.step.weight_decay } else { 0.0 };
        let zeros = |old: Option<Tensor<1>>| old.unwrap_or_else(|| gradient.zeros_like());
        let state = Moments {
            mean: zeros(self.adam.mean.remove(path)),
            square: zeros(self.adam.square.remove(path)),
            average,
        };
        let step = Step { weight_decay, ..self.step };
        let (tensor, state) = adamw(&step, gradient.clone(), tensor, state);
        self.adam.mean.insert(path.to_string(), state.mean);
        self.adam.square.insert(path.to_string(), state.square);
        if let (Some(ema), Some((average, _))) = (self.ema.as_mut(), state.average) {
            ema.put(path, average);
        }
        tensor
    }
}
