//! DEIS: the noise as a polynomial in ln(σ/α).

use super::dpm::multistep;
use super::exponential::{Integrand, Slope};
use super::{Context, Solver, State, check_order};
use crate::Result;
use crate::process::Levels;
use serde::{Deserialize, Serialize};

/// DEIS (Zhang & Chen 2023; *An Introduction …*, sec. 6.5.4), with polynomials in ln ρ, ρ = σ/α. With y = x/α the
/// probability flow is dy = ε̂ dρ, and
///
/// > y_s = y_t + Σ_j ε̂_j ∫ L_j(ln ρ) dρ
///
/// with the Lagrange polynomials L_j through the last evaluations, integrated exactly. The order is 1 to 3 at one
/// evaluation per step. Order 1 is the step of DDIM, and so is any step from pure noise or to clean data.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::{AnySolver, Deis, Sampler};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::Deis(Deis { order: 2 });
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(20);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deis {
    /// The order, 1 to 3: the number of evaluations that the polynomial interpolates.
    pub order: usize,
}

impl Default for Deis {
    fn default() -> Self {
        Self { order: 3 }
    }
}

impl Solver for Deis {
    fn check(&self) -> Result<()> {
        check_order(self.order, 3)
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        multistep(Integrand::Noise, self.order, Slope::Exact, state, from, to, context)
    }
}
