//! Samplers of the reverse SDE.

use super::{Context, NoiseUse, ReverseVariance, Solver, State, Variance, check_share};
use crate::Result;
use crate::process::Levels;
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
/// use tweedie::solve::{Ancestral, AnySolver, Sampler, Variance};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::Ancestral(Ancestral { variance: Variance::Large });
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(20);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ancestral<V = Variance> {
    /// The variance of a step's noise.
    pub variance: V,
}

impl Default for Ancestral {
    fn default() -> Self {
        Self { variance: Variance::default() }
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
        let State { x, step, .. } = state;
        let data = context.denoise(x.clone(), from)?;
        let of_x = Levels::pair(from, to, &x, |t, s| t.posterior(s).from_x)?;
        let of_data = Levels::pair(from, to, &x, |t, s| t.posterior(s).from_data)?;
        let of_noise = Levels::pair(from, to, &x, |t, s| self.variance.between(t, s).sqrt())?;
        let noise = context.noise_between(step, from, to, &x)?;
        let x = x * of_x + data * of_data + noise * of_noise;
        Ok(State { x, history: Vec::new(), step: step + 1 })
    }
}
