//! The exponential moving average of a model's parameters.
//!
//! θ̄ ← β_k θ̄ + (1 − β_k) θ with β_k = min(β, (1 + k)/(10 + k)) after step k: the early average forgets the initial
//! values quickly instead of dragging them along, and is a convex combination throughout, so that no bias correction
//! is needed.
//!
//! A power-law average has β_k = (1 − 1/(k + 1))^(γ + 1), so that step j counts in proportion to about j^γ: its profile
//! widens with training. Its relative length is the profile's standard deviation as a share of the training so far,
//! σ = √((γ + 1)/((γ + 2)² (γ + 3))) (Karras et al. 2024, *Analyzing and Improving the Training Dynamics of Diffusion
//! Models*, eqs. 8 and 126).

use super::Gradients;
use super::adamw::{put_flat, take_flat};
use crate::nn::{EachParam, MapParam, State, each_param, map_each};
use crate::tensor::detached;
use crate::{Error, Result};
use burn::module::Module;
use burn::tensor::Tensor;
use std::path::Path;

/// The moving average of a module's parameters, exponential or by a power law.
#[derive(Debug, Clone)]
pub struct Ema {
    profile: Profile,
    average: Gradients,
}

/// How much each step counts in an average.
#[derive(Debug, Clone, Copy)]
enum Profile {
    /// The decay β.
    Exponential(f64),
    /// The exponent γ.
    Power(f64),
}

impl Profile {
    /// The decay of step `step` (from 0).
    fn decay(self, step: u64) -> f64 {
        let k = step as f64;
        match self {
            Profile::Exponential(decay) => decay.min((1.0 + k) / (10.0 + k)),
            Profile::Power(exponent) => (k / (k + 1.0)).powf(exponent + 1.0),
        }
    }
}

/// The exponent γ ≥ 0 of a power law of relative length `sigma`, by bisection: σ falls from 1/√12 at γ = 0.
fn exponent(sigma: f64) -> f64 {
    let length = |g: f64| ((g + 1.0) / ((g + 2.0).powi(2) * (g + 3.0))).sqrt();
    let (mut low, mut high) = (0.0, 1e8);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if length(middle) > sigma { low = middle } else { high = middle }
    }
    0.5 * (low + high)
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
        Self::of(module, Profile::Exponential(decay))
    }

    /// A power-law average of relative length `sigma`, above 0 and at most 1/√12 = 0.288, where all steps count alike.
    pub fn power<M: Module>(module: &M, sigma: f64) -> Self {
        Self::of(module, Profile::Power(exponent(sigma)))
    }

    fn of<M: Module>(module: &M, profile: Profile) -> Self {
        let mut average = Gradients::new();
        each_param(module, Blend { average: &mut average, decay: 0.0 });
        Self { profile, average }
    }

    /// Updates the average after step `step` (from 0), if [`AdamW::step`](super::AdamW::step) has not done so.
    pub fn update<M: Module>(&mut self, module: &M, step: u64) {
        let decay = self.profile.decay(step);
        each_param(module, Blend { average: &mut self.average, decay });
    }

    /// Removes the average of a parameter, for [`AdamW`](super::AdamW) to update and put back; returns it with the
    /// decay of step `step` (from 0).
    pub(crate) fn take(&mut self, path: &str, step: u64) -> Option<(Tensor<1>, f64)> {
        let decay = self.profile.decay(step);
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
