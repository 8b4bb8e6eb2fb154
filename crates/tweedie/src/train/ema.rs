//! The exponential moving average of a model's parameters.
//!
//! θ̄ ← β_k θ̄ + (1 − β_k) θ with β_k = min(β, (1 + k)/(10 + k)) after step k: the early average forgets the initial
//! values quickly instead of dragging them along, and is a convex combination throughout, so that no bias correction
//! is needed.

use super::Gradients;
use super::adamw::{put_flat, take_flat};
use crate::nn::{EachParam, MapParam, State, each_param, map_each};
use crate::tensor::detached;
use crate::{Error, Result};
use burn::module::Module;
use burn::tensor::Tensor;
use std::path::Path;

/// The exponential moving average.
#[derive(Debug, Clone)]
pub struct Ema {
    decay: f64,
    average: Gradients,
}

struct Blend<'a> {
    average: &'a mut Gradients,
    decay: f64,
}

impl EachParam for Blend<'_> {
    fn each<const D: usize>(&mut self, path: &str, tensor: Tensor<D>) {
        let tensor = detached(tensor);
        let len = tensor.shape().num_elements();
        let value = tensor.reshape([len]);
        let new = match self.average.remove(path) {
            Some(old) => old.mul_scalar(self.decay) + value.mul_scalar(1.0 - self.decay),
            None => value,
        };
        self.average.insert(path.to_string(), new);
    }
}

struct Place<'a>(&'a Gradients);

impl MapParam for Place<'_> {
    fn map<const D: usize>(&mut self, path: &str, tensor: Tensor<D>) -> Tensor<D> {
        match self.0.get(path) {
            Some(average) => average.clone().reshape(tensor.dims()),
            None => tensor,
        }
    }
}

impl Ema {
    /// An average that starts at the parameters of a module; `decay` is β, and 0 keeps the parameters themselves.
    pub fn new<M: Module>(module: &M, decay: f64) -> Self {
        let mut average = Gradients::new();
        each_param(module, Blend { average: &mut average, decay: 0.0 });
        Self { decay, average }
    }

    /// Updates the average after step `step` (from 0), if [`AdamW::step`](super::AdamW::step) has not done so.
    pub fn update<M: Module>(&mut self, module: &M, step: u64) {
        let decay = self.decay(step);
        each_param(module, Blend { average: &mut self.average, decay });
    }

    /// The decay β_k of step `step` (from 0).
    fn decay(&self, step: u64) -> f64 {
        self.decay.min((1.0 + step as f64) / (10.0 + step as f64))
    }

    /// Removes the average of a parameter, for [`AdamW`](super::AdamW) to update and put back; returns it with the
    /// decay of step `step` (from 0).
    pub(crate) fn take(&mut self, path: &str, step: u64) -> Option<(Tensor<1>, f64)> {
        let decay = self.decay(step);
        Some((self.average.remove(path)?, decay))
    }

    pub(crate) fn put(&mut self, path: &str, average: Tensor<1>) {
        self.average.insert(path.to_string(), average);
    }

    /// The module with the average as its parameters.
    pub fn apply<M: Module>(&self, module: M) -> M {
        map_each(module, Place(&self.average)).0
    }

    /// Adds the average as arrays named `ema.…` behind `prefix`.
    ///
    /// # Errors
    /// [`Error::Device`] if a tensor cannot be read.
    pub fn save(&self, prefix: &str, into: &mut State) -> Result<()> {
        put_flat(into, &format!("{prefix}ema."), &self.average)
    }

    /// Restores the arrays of [`Ema::save`] for the parameters of `module`, and removes them from `from`; `origin`
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
        let average = take_flat(from, &format!("{prefix}ema."), module, origin)?;
        if let Some((path, own)) =
            self.average.iter().find(|(path, _)| !average.contains_key(*path))
        {
            let expected = format!("shape {:?}", own.dims());
            return Err(Error::file(origin, format!("{prefix}ema.{path}"), "missing", expected));
        }
        self.average = average;
        Ok(())
    }
}
