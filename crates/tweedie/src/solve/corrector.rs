//! Correctors: steps at one noise level that leave its density as it is, and solvers corrected by them.

use super::{Ancestral, Context, Ddim, Euler, EulerMaruyama, NoiseUse, Solver, State};
use crate::denoise::GaussianMixture;
use crate::process::{Level, Levels};
use crate::{Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most noise batches of one solver step: their number shares 64 bits with that of the step.
pub(super) const MOST_STEPS_AT_A_LEVEL: usize = 10_000;

/// The address of the noise of Langevin step `k`, from 0, within solver step `step`; the solver's own is `step`.
fn address(step: u64, k: usize) -> u64 {
    step | (k as u64 + 1) << 32
}

/// `steps` unadjusted Langevin steps x ← x + ½ γ² ∇log p_t(x) + γ z (*An Introduction to Generative Modeling with Flows
/// and Diffusion Models*, eq. 6.62) at each row's level with γ² = u σ², so that ½ γ² ∇log p_t = ½ u (α x̂₀ − x); `relative`
/// is the column of u.
pub(super) fn langevin(
    mut x: Tensor<2>,
    levels: &Levels,
    relative: Tensor<2>,
    steps: usize,
    step: u64,
    context: &Context,
) -> Result<Tensor<2>> {
    let alpha = levels.alpha(&x)?;
    let of_noise = relative.clone().sqrt() * levels.sigma(&x)?;
    let half = relative.mul_scalar(0.5);
    for k in 0..steps {
        let data = context.denoise(x.clone(), levels)?;
        let noise = context.noise(address(step, k), &x);
        x = x.clone() + (data * alpha.clone() - x) * half.clone() + noise * of_noise.clone();
    }
    Ok(x)
}

/// Steps at one noise level that (nearly) leave its density invariant.
pub trait Corrector: std::fmt::Debug + Send + Sync {
    /// Fails, naming the key, unless every option makes sense.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The batch after its steps at `levels`; `step` is the number of the solver's step and addresses the noise.
    ///
    /// # Errors
    /// As the denoiser's.
    fn correct(
        &self,
        x: Tensor<2>,
        levels: &Levels,
        step: u64,
        context: &Context,
    ) -> Result<Tensor<2>>;
}

/// Langevin steps whose length a signal-to-noise ratio r gives (Song et al. 2021, algorithms 4 and 5):
///
/// > x ← x + ε ∇log p_t(x) + √(2ε) z, ε = 2 (r ‖z‖/‖∇log p_t‖)² with both norms at their root mean square given x₀, √d and
/// > √d/σ, so ε = 2 r² σ².
///
/// A step at a fixed ε leaves p_t invariant up to ε², and many of them a density that is off by O(ε).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Langevin {
    /// r, in (0, 1]; 0.16 in the paper.
    pub snr: f64,
    /// How many steps at each level; 1 in the paper.
    pub steps: usize,
}

impl Default for Langevin {
    fn default() -> Self {
        Self { snr: 0.16, steps: 1 }
    }
}

/// Fails unless there can be so many steps at a level.
pub(super) fn check_steps(key: &str, steps: usize) -> Result<()> {
    if (1..=MOST_STEPS_AT_A_LEVEL).contains(&steps) {
        return Ok(());
    }
    Err(Error::config(key, steps.to_string(), format!("from 1 to {MOST_STEPS_AT_A_LEVEL}")))
}

impl Corrector for Langevin {
    fn check(&self) -> Result<()> {
        if !(self.snr > 0.0 && self.snr <= 1.0) {
            let expected = "a number above 0 and at most 1";
            return Err(Error::config("solver.corrector.snr", self.snr.to_string(), expected));
        }
        check_steps("solver.corrector.steps", self.steps)
    }

    fn correct(
        &self,
        x: Tensor<2>,
        levels: &Levels,
        step: u64,
        context: &Context,
    ) -> Result<Tensor<2>> {
        let relative = levels.column(&x, |_| 4.0 * self.snr * self.snr)?;
        langevin(x, levels, relative, self.steps, step, context)
    }
}

/// Langevin steps accepted or refused by Metropolis and Hastings (MALA; Roberts & Tweedie 1996), for a model whose
/// log-density is known: p_t is left exactly as it is at any ε = 2 r² σ².
///
/// A proposal y from x is accepted where ln [p(y) q(x | y)/(p(x) q(y | x))] > ln u; −ln u is half a χ² of two degrees of
/// freedom, made of two normals of the same address.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::solve::{Ancestral, Langevin, Metropolis, PredictorCorrector};
/// let data = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0, 0.0], 0.01)])?;
/// let corrector = Metropolis { density: Arc::new(data), langevin: Langevin { snr: 0.5, steps: 4 } };
/// let solver = PredictorCorrector { predictor: Ancestral::default(), corrector };
/// # let _: &dyn tweedie::solve::Solver = &solver;
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Metropolis {
    /// The model, unconditional.
    pub density: Arc<GaussianMixture>,
    /// The lengths and the number of the steps.
    pub langevin: Langevin,
}

impl Metropolis {
    /// log p_t(x) and ∇log p_t(x), in the type of `x`.
    fn at(&self, x: &Tensor<2>, levels: &Levels) -> Result<(Tensor<2>, Tensor<2>)> {
        let log = self.density.log_density(x.clone(), levels)?;
        Ok((log.cast(x.dtype()), self.density.score(x.clone(), levels)?.cast(x.dtype())))
    }
}

impl Corrector for Metropolis {
    fn correct(
        &self,
        mut x: Tensor<2>,
        levels: &Levels,
        step: u64,
        context: &Context,
    ) -> Result<Tensor<2>> {
        let [n, width] = x.dims();
        let length = |l: &Level| 2.0 * (self.langevin.snr * l.sigma).powi(2);
        let eps = levels.column(&x, length)?;
        let spread = levels.column(&x, |l| (2.0 * length(l)).sqrt())?;
        let of_square = levels.column(&x, |l| -0.25 / length(l))?;
        let (mut log, mut score) = self.at(&x, levels)?;
        for k in 0..self.langevin.steps {
            let wider = Tensor::zeros([n, width + 2], (&x.device(), x.dtype()));
            let noise = context.noise(address(step, k), &wider);
            let proposed = x.clone()
                + score.clone() * eps.clone()
                + noise.clone().narrow(1, 0, width) * spread.clone();
            let (log_there, score_there) = self.at(&proposed, levels)?;
            // ln q(to | from) up to a constant.
            let way = |to: &Tensor<2>, from: &Tensor<2>, score: &Tensor<2>| {
                let off = to.clone() - from.clone() - score.clone() * eps.clone();
                off.square().sum_dim(1) * of_square.clone()
            };
            let ratio = log_there.clone() - log.clone() + way(&x, &proposed, &score_there)
                - way(&proposed, &x, &score);
            let level = noise.narrow(1, width, 2).square().sum_dim(1).mul_scalar(-0.5);
            let accepted = ratio.greater(level);
            log = log.mask_where(accepted.clone(), log_there);
            let wide = accepted.expand([n, width]);
            score = score.mask_where(wide.clone(), score_there);
            x = x.mask_where(wide, proposed);
        }
        Ok(x)
    }
}

/// Any solver followed at each level by a corrector (Song et al. 2021, algorithm 1; *An Introduction …*, sec. 6.3.3.3).
/// Multistep solvers lose their order: what they remember was evaluated before the correction.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::Draws;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Ve;
/// use tweedie::solve::{AnySolver, Sampler};
/// let unit = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0, 0.0], 0.01)])?;
/// let sampler = Sampler::new(Arc::new(unit), Arc::new(Ve::default()))
///     .with_solver(AnySolver::parse("predictor-corrector")?)
///     .with_steps(20);
/// let x = sampler.generate(0..8, &Condition::None, &Draws::new(7), &Device::flex())?;
/// assert_eq!(x.dims(), [8, 2]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[serde(bound(deserialize = "S: Deserialize<'de> + Default, C: Deserialize<'de> + Default"))]
pub struct PredictorCorrector<S = Predictor, C = Langevin> {
    /// The solver.
    pub predictor: S,
    /// The corrector.
    pub corrector: C,
}

impl<S: Solver, C: Corrector> Solver for PredictorCorrector<S, C> {
    fn check(&self) -> Result<()> {
        self.corrector.check()
    }

    fn noise_use(&self) -> NoiseUse {
        NoiseUse::Level
    }

    fn init(&self, x: Tensor<2>) -> State {
        self.predictor.init(x)
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        let number = state.step;
        let mut state = self.predictor.step(state, from, to, context)?;
        state.x = self.corrector.correct(state.x, to, number, context)?;
        Ok(state)
    }
}

/// The one-step solvers that a recipe may correct, with their default options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Predictor {
    /// [`Ancestral`].
    #[default]
    Ancestral,
    /// [`EulerMaruyama`].
    EulerMaruyama,
    /// [`Ddim`].
    Ddim,
    /// [`Euler`].
    Euler,
}

impl Solver for Predictor {
    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        match self {
            Self::Ancestral => Ancestral::default().step(state, from, to, context),
            Self::EulerMaruyama => EulerMaruyama::default().step(state, from, to, context),
            Self::Ddim => Ddim::default().step(state, from, to, context),
            Self::Euler => Euler {}.step(state, from, to, context),
        }
    }
}
