//! UniPC: a predictor and a corrector that share their evaluations.

use super::exponential::{Integrand, Node, Slope};
use super::{Context, Solver, State, check_order};
use crate::Result;
use crate::process::Levels;
use serde::{Deserialize, Serialize};

/// UniPC-p (Zhao et al. 2023, algorithms 1 and 2), in its multistep form with varying coefficients.
///
/// The evaluation at a step's end x̃ first corrects x̃ by the polynomial through it and p earlier evaluations (UniC-p).
/// It then serves the next step's prediction from the last p evaluations (UniP-p). The method has one evaluation per
/// step and order p + 1, except in the last step, which is not corrected. The correction needs only the difference of
/// the two integrals:
///
/// > x = x̃ + c Σ_j (w_j − w̃_j) f_j, f the noise or the data, c as in their exponential integrals.
///
/// For linear polynomials B(h) replaces the integral of the slope, as in diffusers. The paper's λ is half of ours.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::unipc::{Bh, Integrates};
/// use tweedie::solve::{AnySolver, Sampler, UniPc};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::UniPc(UniPc { order: 3, b: Bh::Bh1, of: Integrates::Data });
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(20);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UniPc {
    /// The order p of the predictor, 1 to 3.
    pub order: usize,
    /// The function B(h).
    pub b: Bh,
    /// The output of the network that the polynomial interpolates.
    pub of: Integrates,
}

impl Default for UniPc {
    fn default() -> Self {
        Self { order: 2, b: Bh::Bh2, of: Integrates::Data }
    }
}

/// The function B(h) of UniPC, for h the step in ℓ = ln(α/σ) with the sign of the integral's exponent (Zhao et al.
/// 2023).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bh {
    /// B₁(h) = h.
    Bh1,
    /// B₂(h) = eʰ − 1.
    #[default]
    Bh2,
}

/// The integrand of UniPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Integrates {
    /// x̂₀.
    #[default]
    Data,
    /// ε̂.
    Noise,
}

impl Solver for UniPc {
    fn check(&self) -> Result<()> {
        check_order(self.order, 3)
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        let State { mut x, mut history, step } = state;
        let slope = match self.b {
            Bh::Bh1 => Slope::Plain,
            Bh::Bh2 => Slope::Half,
        };
        let integrand = match self.of {
            Integrates::Data => Integrand::Data { eta: 0.0 },
            Integrates::Noise => Integrand::Noise,
        };
        let (data, value) = integrand.evaluate(&x, from, context)?;
        if let Some((start, _)) = history.last() {
            let nodes: Vec<&Node> = history.iter().rev().collect();
            x = integrand.correct(&x, &value, start, from, &nodes, slope)?;
        }
        history.push((from.clone(), value));
        history.drain(..history.len().saturating_sub(self.order));
        let nodes: Vec<&Node> = history.iter().rev().collect();
        let x = integrand.step(&x, &data, from, to, &nodes, slope)?;
        Ok(State { x, history, step: step + 1 })
    }
}
