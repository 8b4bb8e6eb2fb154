//! Linear multistep: the noise as a polynomial in σ/α.

use super::dpm::multistep;
use super::exponential::{Integrand, Slope};
use super::{Context, Solver, State, check_order};
use crate::Result;
use crate::process::{Level, Levels};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The largest order.
const MOST_ORDER: usize = 4;

/// The linear multistep method of k-diffusion: Adams–Bashforth for dy = ε̂ dρ, y = x/α and ρ = σ/α (Karras et al. 2022,
/// eq. 3), on any levels:
///
/// > y_s = y_t + Σ_j ε̂_j ∫ L_j(ρ) dρ
///
/// with the Lagrange polynomials L_j through the last evaluations, integrated exactly. The order is 1 to 4 at one
/// evaluation per step. Order 1 is the step of DDIM, and so is any step from pure noise. [`Deis`](super::Deis) has
/// polynomials in ln ρ instead; in ρ the step to clean data is of finite length and keeps its order.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::{AnySolver, Lms, Sampler};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::Lms(Lms { order: 2 });
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(20);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lms {
    /// The order, 1 to 4: the number of evaluations that the polynomial interpolates.
    pub order: usize,
}

impl Default for Lms {
    fn default() -> Self {
        Self { order: MOST_ORDER }
    }
}

impl Solver for Lms {
    fn check(&self) -> Result<()> {
        check_order(self.order, MOST_ORDER)
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        multistep(Integrand::NoiseByRatio, self.order, Slope::Exact, state, from, to, context)
    }

    fn finish(&self, state: State, from: &Level, context: &Context) -> Result<Tensor<2>> {
        Ok(self.step(state, &(*from).into(), &Level::clean(from.t).into(), context)?.x)
    }
}
