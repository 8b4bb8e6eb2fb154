//! Samplers of the reverse SDE.

use super::{
    AncestralVariance, Context, NoiseUse, ReverseVariance, Solver, State, Variance, check_share,
};
use crate::Result;
use crate::process::{Level, Levels};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Euler–Maruyama on the reverse SDE dx = (f x − g² ∇log p_t) dt + g dW̄ (Anderson 1982; *Generative Modeling with
/// Diffusion Models*, eq. 60; *An Introduction …*, eq. 6.26, evaluated at T − i). Weak order 1; strong order 1 on one
/// path of noise ([`BrownianTree`](crate::process::BrownianTree)).
///
/// The churn η selects from the family of reverse processes with the same marginals (*An Introduction …*, sec. 6.3.1.6,
/// whose λ is 1 − η; Huang et al. 2021):
///
/// > dx = (f x − ½ (1 + η) g² ∇log p_t) dt + √η g dW̄,
///
/// from the SDE at η = 1 to the probability-flow ODE at η = 0.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::{AnySolver, EulerMaruyama, Sampler};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::EulerMaruyama(EulerMaruyama { churn: 0.5 });
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(200);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EulerMaruyama {
    /// η, the share of the noise's variance, in [0, 1].
    pub churn: f64,
}

impl Default for EulerMaruyama {
    fn default() -> Self {
        Self { churn: 1.0 }
    }
}

impl Solver for EulerMaruyama {
    fn check(&self) -> Result<()> {
        check_share("churn", self.churn)
    }

    fn noise_use(&self) -> NoiseUse {
        NoiseUse::in_steps(self.churn)
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        let State { x, step, .. } = state;
        let data = context.denoise(x.clone(), from)?;
        let s = context.schedule;
        let of_score = 0.5 * (1.0 + self.churn);
        // x + (f x − ½ (1 + η) g² s) Δt with s = (α x̂₀ − x)/σ², Δt < 0.
        let of_x = Levels::pair(from, to, &x, |a, b| {
            let g2 = of_score * s.diffusion_squared(a.t);
            1.0 + (b.t - a.t) * (s.drift(a.t) + g2 / (a.sigma * a.sigma))
        })?;
        let of_data = Levels::pair(from, to, &x, |a, b| {
            -(b.t - a.t) * of_score * s.diffusion_squared(a.t) * a.alpha / (a.sigma * a.sigma)
        })?;
        let of_noise = Levels::pair(from, to, &x, |a, b| {
            (self.churn * s.diffusion_squared(a.t) * (b.t - a.t).abs()).sqrt()
        })?;
        let noise = context.noise_between(step, from, to, &x)?;
        let x = x * of_x + data * of_data + noise * of_noise;
        Ok(State { x, history: Vec::new(), step: step + 1 })
    }
}

/// Ancestral sampling from q(x_s | x_t, x̂₀) for any s < t (*Demystifying Variational Diffusion Models*, eq. A.23; *An
/// Introduction …*, eq. 6.55 corrected; Ho et al. 2020, algorithm 2, when the levels are a chain's indices). A step to
/// noise-free data adds no noise.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::{Ancestral, AncestralVariance, AnySolver, Sampler};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::Ancestral(Ancestral { variance: AncestralVariance::Large });
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(20);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ancestral<V = AncestralVariance> {
    /// The variance of a step's noise.
    pub variance: V,
}

impl Default for Ancestral {
    fn default() -> Self {
        Self { variance: AncestralVariance::default() }
    }
}

impl<V: ReverseVariance> Solver for Ancestral<V> {
    fn noise_use(&self) -> NoiseUse {
        NoiseUse::Steps
    }

    fn with_variance(&self, variance: Arc<dyn ReverseVariance>) -> Option<Box<dyn Solver>> {
        Some(Box::new(Ancestral { variance }))
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        let data = context.denoise(state.x.clone(), from)?;
        let deviation =
            Levels::pair(from, to, &state.x, |t, s| self.variance.between(t, s).sqrt())?;
        ancestral(state, data, deviation, from, to, context)
    }
}

impl Solver for Ancestral {
    fn noise_use(&self) -> NoiseUse {
        NoiseUse::Steps
    }

    fn with_variance(&self, variance: Arc<dyn ReverseVariance>) -> Option<Box<dyn Solver>> {
        Some(Box::new(Ancestral { variance }))
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        if let Some(variance) = self.variance.fixed() {
            return Ancestral { variance }.step(state, from, to, context);
        }
        let (data, output) = context.denoise_with_variance(state.x.clone(), from)?;
        let deviation = match self.variance {
            AncestralVariance::Learned => output.clamp_min(0.0).sqrt(),
            _ => geometric_mean(output, from, to)?,
        };
        let noisy = Levels::pair(from, to, &state.x, |_, s| f64::from(s.sigma > 0.0))?;
        ancestral(state, data, deviation * noisy, from, to, context)
    }
}

/// A step to the mean of q(x_s | x_t, x̂₀), with noise of the given standard deviation.
fn ancestral(
    state: State,
    data: Tensor<2>,
    deviation: Tensor<2>,
    from: &Levels,
    to: &Levels,
    context: &Context,
) -> Result<State> {
    let State { x, step, .. } = state;
    let of_x = Levels::pair(from, to, &x, |t, s| t.posterior(s).from_x)?;
    let of_data = Levels::pair(from, to, &x, |t, s| t.posterior(s).from_data)?;
    let noise = context.noise_between(step, from, to, &x)?;
    let x = x * of_x + data * of_data + noise * deviation;
    Ok(State { x, history: Vec::new(), step: step + 1 })
}

/// The square root of the fixed variances' geometric mean with the weight (1 + o)/2, `[n, width]`.
fn geometric_mean(output: Tensor<2>, from: &Levels, to: &Levels) -> Result<Tensor<2>> {
    // A step of no length has no variance, and its logarithm must be finite.
    let ln = |kind: Variance, t: &Level, s: &Level| kind.of(t, s).max(1e-20).ln();
    let small = Levels::pair(from, to, &output, |t, s| ln(Variance::Small, t, s))?;
    let large = Levels::pair(from, to, &output, |t, s| ln(Variance::Large, t, s))?;
    let weight = output.add_scalar(1.0).mul_scalar(0.5);
    Ok((weight * (large - small.clone()) + small).mul_scalar(0.5).exp())
}
