//! The DPM-Solver family: exponential integrators with several evaluations per step, or with a history of evaluations.

use super::exponential::{Integrand, Node, Slope, between};
use super::{Context, NoiseUse, Solver, State, check_order, check_share};
use crate::Result;
use crate::process::Levels;
use serde::{Deserialize, Serialize};

/// DPM-Solver-1, -2 and -3 (Lu et al. 2022a, algorithms 1 and 2; *An Introduction …*, eqs. 6.69–6.71 corrected). They
/// integrate the noise ε̂. The order is the number of evaluations per step; inner evaluations are at r₁ = ½ of the step
/// in log-SNR for order 2, at r₁ = ⅓ and r₂ = ⅔ for order 3.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::{AnySolver, DpmSolver, Sampler};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::DpmSolver(DpmSolver { order: 3 });
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(20);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpmSolver {
    /// The order, 1 to 3; 1 is the step of DDIM.
    pub order: usize,
}

impl Default for DpmSolver {
    fn default() -> Self {
        Self { order: 2 }
    }
}

impl Solver for DpmSolver {
    fn check(&self) -> Result<()> {
        check_order(self.order, 3)
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        singlestep(Integrand::Noise, self.order, state, from, to, context)
    }
}

/// DPM-Solver++(2S) (Lu et al. 2022b, algorithm 1): DPM-Solver-2 for the data x̂₀ in place of the noise. Order 2, two
/// evaluations per step.
///
/// With η > 0 both halves of a step add noise, and both noises reach the end. η = 1 is the SDE form that k-diffusion
/// calls DPM-Solver++ (stochastic), of weak order 2. A step to noise-free data or from pure noise is the step of DDIM,
/// with η = 1 the ancestral step.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::{AnySolver, DpmSolverPp2S, Sampler};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::DpmSolverPp2S(DpmSolverPp2S { eta: 1.0 });
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(20);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpmSolverPp2S {
    /// The share of noise, in [0, 1]: the rate of added noise relative to the reverse SDE.
    pub eta: f64,
}

impl Solver for DpmSolverPp2S {
    fn check(&self) -> Result<()> {
        check_share("eta", self.eta)
    }

    fn noise_use(&self) -> NoiseUse {
        NoiseUse::in_steps(self.eta)
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        let integrand = Integrand::Data { eta: self.eta };
        singlestep(integrand, 2, state, from, to, context)
    }
}

/// DPM-Solver++(2M) (Lu et al. 2022b, algorithm 2): the data x̂₀, linear in ℓ = λ/2 = ln(α/σ), extrapolated from the
/// last two evaluations. Order 2 at one evaluation per step:
///
/// > x_s = (σ_s/σ_t) x_t − α_s (e^{−h} − 1) [(1 + 1/(2r)) x̂₀ − 1/(2r) x̂₀⁻], h = ℓ_s − ℓ_t, r = h⁻/h.
///
/// η = 1 is SDE-DPM-Solver++(2M), of weak order 2. The first step is the step of DDIM (with η = 1 the ancestral step),
/// and so is a step to noise-free data, where h is infinite.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::{AnySolver, DpmSolverPp2M, Sampler};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::DpmSolverPp2M(DpmSolverPp2M { eta: 1.0 });
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(20);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpmSolverPp2M {
    /// The share of noise, in [0, 1]: the rate of added noise relative to the reverse SDE.
    pub eta: f64,
}

impl Solver for DpmSolverPp2M {
    fn check(&self) -> Result<()> {
        check_share("eta", self.eta)
    }

    fn noise_use(&self) -> NoiseUse {
        NoiseUse::in_steps(self.eta)
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        multistep(Integrand::Data { eta: self.eta }, 2, Slope::Half, state, from, to, context)
    }
}

/// DPM-Solver++(3M) (Lu et al. 2022b): the data x̂₀, quadratic in ℓ through the last three evaluations. Order 3 at one
/// evaluation per step; η as in [`DpmSolverPp2M`]. The first two steps are steps of 2M.
///
/// The factor of the second difference is that of the exact integral. diffusers has half of it, which has a measured
/// order of 2 (`docs/methods.md`).
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::{AnySolver, DpmSolverPp3M, Sampler};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::DpmSolverPp3M(DpmSolverPp3M::default());
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(20);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpmSolverPp3M {
    /// The share of noise, in [0, 1]: the rate of added noise relative to the reverse SDE.
    pub eta: f64,
}

impl Solver for DpmSolverPp3M {
    fn check(&self) -> Result<()> {
        check_share("eta", self.eta)
    }

    fn noise_use(&self) -> NoiseUse {
        NoiseUse::in_steps(self.eta)
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        multistep(Integrand::Data { eta: self.eta }, 3, Slope::Half, state, from, to, context)
    }
}

/// Takes a step with `order` new evaluations, at most two where noise is added. Steps of infinite length use only the
/// first evaluation.
///
/// Noise comes in two parts, before and after the inner level. Their step numbers are 2 `step` and 2 `step` + 1.
fn singlestep(
    integrand: Integrand,
    order: usize,
    state: State,
    from: &Levels,
    to: &Levels,
    context: &Context,
) -> Result<State> {
    let State { x, step, .. } = state;
    let (data, value) = integrand.evaluate(&x, from, context)?;
    let (first, mut inner): (Node, Option<Node>) = ((from.clone(), value), None);
    let (shares, slope): (&[f64], Slope) = match order {
        1 => (&[], Slope::Exact),
        2 => (&[0.5], Slope::Half),
        _ => (&[1.0 / 3.0, 2.0 / 3.0], Slope::Exact),
    };
    let mut noise = None;
    for &share in shares {
        let Some(place) = between(&x, from, to, share, context)? else { break };
        let nodes: Vec<&Node> = [&first].into_iter().chain(&inner).collect();
        let mut there = integrand.step(&x, &data, from, &place, &nodes, slope)?;
        if let Some(spread) = integrand.spread(&x, from, &place)? {
            let early = context.noise_between(2 * step, from, &place, &x)? * spread;
            there = there + early.clone();
            noise = Some(early * integrand.kept(&x, &place, to)?);
        }
        let (_, value) = integrand.evaluate(&there, &place, context)?;
        inner = Some((place, value));
    }
    let nodes: Vec<&Node> = [&first].into_iter().chain(&inner).collect();
    let mut x = integrand.step(&x, &data, from, to, &nodes, slope)?;
    let last = inner.as_ref().map_or(from, |(place, _)| place);
    if let Some(spread) = integrand.spread(&x, last, to)? {
        x = x.clone() + context.noise_between(2 * step + 1, last, to, &x)? * spread;
    }
    if let Some(noise) = noise {
        x = x + noise;
    }
    Ok(State { x, history: Vec::new(), step: step + 1 })
}

/// Takes a step with one new evaluation and up to `order` − 1 evaluations from earlier steps.
pub(super) fn multistep(
    integrand: Integrand,
    order: usize,
    slope: Slope,
    state: State,
    from: &Levels,
    to: &Levels,
    context: &Context,
) -> Result<State> {
    let State { x, mut history, step } = state;
    let (data, value) = integrand.evaluate(&x, from, context)?;
    history.push((from.clone(), value));
    let nodes: Vec<&Node> = history.iter().rev().take(order).collect();
    let mut next = integrand.step(&x, &data, from, to, &nodes, slope)?;
    if let Some(spread) = integrand.spread(&x, from, to)? {
        next = next + context.noise_between(step, from, to, &x)? * spread;
    }
    // The next step adds its own evaluation.
    history.drain(..(history.len() + 1).saturating_sub(order));
    Ok(State { x: next, history, step: step + 1 })
}
