//! DDIM: a family of non-Markovian samplers with the same marginals.

use super::{Context, NoiseUse, Solver, State, check_share, noise_of};
use crate::Result;
use crate::process::Levels;
use serde::{Deserialize, Serialize};

/// DDIM (Song et al. 2021; *An Introduction …*, eqs. 6.63–6.68):
///
/// > x_s = α_s x̂₀ + √(σ_s² − η² v) ε̂ + η √v z, v = σ²_{t|s} σ_s²/σ_t².
///
/// η = 0 is the exponential Euler step of the probability-flow ODE (order 1); η = 1 is ancestral sampling. Where x̂₀ is
/// clipped, ε̂ is still computed from the unclipped x̂₀, as in the samplers of published models.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::{AnySolver, Ddim, Sampler};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::Ddim(Ddim { eta: 0.5 });
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(20);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ddim {
    /// η, the share of noise, in [0, 1].
    pub eta: f64,
}

impl Solver for Ddim {
    fn check(&self) -> Result<()> {
        check_share("eta", self.eta)
    }

    fn noise_use(&self) -> NoiseUse {
        NoiseUse::in_steps(self.eta)
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        let State { x, step, .. } = state;
        let data = context.denoise_unclipped(x.clone(), from)?;
        let eta2 = self.eta * self.eta;
        let of_data = Levels::pair(from, to, &x, |_, s| s.alpha)?;
        let of_eps = Levels::pair(from, to, &x, |t, s| {
            (s.sigma * s.sigma - eta2 * t.posterior(s).variance).max(0.0).sqrt()
        })?;
        let eps = noise_of(&x, &data, from)?;
        let mut next = context.clipped(data) * of_data + eps * of_eps;
        if self.eta > 0.0 {
            let of_noise =
                Levels::pair(from, to, &x, |t, s| self.eta * t.posterior(s).variance.sqrt())?;
            next = next + context.noise_between(step, from, to, &x)? * of_noise;
        }
        Ok(State { x: next, history: Vec::new(), step: step + 1 })
    }
}
