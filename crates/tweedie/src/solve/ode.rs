//! Fixed-step solvers of the probability-flow ODE in t.

use super::{Context, Solver, State};
use crate::Result;
use crate::denoise::Prediction;
use crate::process::Levels;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The velocity dx/dt = f x − ½ g² ∇log p_t(x) of the probability-flow ODE (Song et al. 2021, eq. 13; *An Introduction
/// …*, eq. 6.27), computed as (dα/dt) x̂₀ + (dσ/dt) ε̂, `[n, width]`.
///
/// # Errors
/// The errors of the denoiser.
pub fn velocity(x: &Tensor<2>, levels: &Levels, context: &Context) -> Result<Tensor<2>> {
    let data = context.denoise(x.clone(), levels)?;
    let velocity = Prediction::Data.convert_batch(
        Prediction::Velocity,
        data.into(),
        x.clone().into(),
        levels,
        context.schedule,
        1.0,
    )?;
    Ok(velocity.value)
}

/// Euler's method on the probability-flow ODE: order 1, one evaluation per step.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::{AnySolver, Euler, Sampler};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::Euler(Euler {});
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(200);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Euler {}

impl Solver for Euler {
    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        let State { x, step, .. } = state;
        let dt = Levels::pair(from, to, &x, |a, b| b.t - a.t)?;
        let u = velocity(&x, from, context)?;
        Ok(State { x: x + u * dt, history: Vec::new(), step: step + 1 })
    }
}

/// Heun's method on the probability-flow ODE (Karras et al. 2022, algorithm 1): order 2, two evaluations per step.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::{AnySolver, Heun, Sampler};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::Heun(Heun {});
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(100);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heun {}

impl Solver for Heun {
    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        let State { x, step, .. } = state;
        let dt = Levels::pair(from, to, &x, |a, b| b.t - a.t)?;
        let u = velocity(&x, from, context)?;
        let euler = x.clone() + u.clone() * dt.clone();
        let v = velocity(&euler, to, context)?;
        Ok(State { x: x + (u + v) * dt.mul_scalar(0.5), history: Vec::new(), step: step + 1 })
    }
}
