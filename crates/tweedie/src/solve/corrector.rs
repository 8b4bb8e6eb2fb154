//! Correctors: steps at one noise level that preserve its density, and solvers followed by them.

use super::{
    Ancestral, AncestralVariance, Context, Ddim, Euler, EulerMaruyama, NoiseUse, Solver, State,
    noise_of,
};
use crate::data::{Condition, LogDensity};
use crate::mcmc::{Mala, Transition};
use crate::process::Levels;
use crate::tensor::Dual;
use crate::{Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The most noise batches of one solver step: the index of a batch shares 64 bits with the number of the step.
pub(super) const MOST_STEPS_AT_A_LEVEL: usize = 10_000;

/// The address of the noise of Langevin step `k`, from 0, within solver step `step`. The solver's own noise is at
/// `step`.
fn address(step: u64, k: usize) -> u64 {
    step | (k as u64 + 1) << 32
}

/// Takes `steps` unadjusted Langevin steps x ← x + ½ γ² ∇log p_t(x) + γ z (*An Introduction to Generative Modeling with
/// Flows and Diffusion Models*, eq. 6.62) at each row's level. γ² = u σ², so that ½ γ² ∇log p_t = ½ u (α x̂₀ − x);
/// `relative` is the column of u.
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

/// Steps at one noise level that leave its density invariant, exactly or nearly.
pub trait Corrector: std::fmt::Debug + Send + Sync {
    /// Fails, naming the key, unless every option is in its range.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The batch `x`, `[n, width]`, after the corrector's steps at `levels`. `step` is the number of the solver's step
    /// and addresses the noise.
    ///
    /// # Errors
    /// The errors of the denoiser.
    fn correct(
        &self,
        x: Tensor<2>,
        levels: &Levels,
        step: u64,
        context: &Context,
    ) -> Result<Tensor<2>>;
}

/// Langevin steps with a length set by a signal-to-noise ratio r (Song et al. 2021, algorithms 4 and 5):
///
/// > x ← x + ε ∇log p_t(x) + √(2ε) z, ε = 2 (r ‖z‖/‖∇log p_t‖)².
///
/// Both norms are taken at their root mean square given x₀, √d and √d/σ, so that ε = 2 r² σ². One step at a fixed ε
/// changes p_t by O(ε²); many steps converge to a density that is off by O(ε).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Langevin {
    /// r, in (0, 1]; 0.16 in the paper.
    pub snr: f64,
    /// The number of steps at each level; 1 in the paper.
    pub steps: usize,
}

impl Default for Langevin {
    fn default() -> Self {
        Self { snr: 0.16, steps: 1 }
    }
}

/// Fails unless `steps` lies between 1 and the most steps at a level.
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

/// Steps of a Markov kernel of [`mcmc`](crate::mcmc) on the denoiser's density at a level. [`Mala`] and
/// [`RandomWalk`](crate::mcmc::RandomWalk) leave p_t exactly invariant at any step size, for denoisers with a known log
/// p_t ([`Denoiser::log_noised`](crate::denoise::Denoiser::log_noised): energies and mixtures).
/// [`Ula`](crate::mcmc::Ula) takes any denoiser.
///
/// Chains run on x/σ, so that one step size fits all levels: ε = 2 r² is a step of [`Langevin`] at the signal-to-noise
/// ratio r. They run on the host in double precision. Their noise must be random draws, not a Brownian path. Clipping
/// is ignored: a clipped mean is not the score of any density.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::Draws;
/// use tweedie::burn::tensor::Tensor;
/// use tweedie::data::Condition;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::mcmc::Mala;
/// use tweedie::process::{Schedule, VpLinear};
/// use tweedie::solve::{Ancestral, Context, Mcmc, PredictorCorrector, Solver};
/// let (schedule, draws) = (VpLinear::default(), Draws::new(7));
/// let data = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0, 0.0], 0.01)])?;
/// let corrector = Mcmc { kernel: Mala { step_size: 0.5, ..Mala::default() }, steps: 4 };
/// let solver = PredictorCorrector { predictor: Ancestral::default(), corrector };
/// let context = Context {
///     denoiser: &data,
///     schedule: &schedule,
///     condition: &Condition::None,
///     noise: &draws,
///     rows: &[0, 1],
///     clip: None,
/// };
/// let start = solver.init(Tensor::zeros([2, 2], &tweedie::burn::tensor::Device::flex()));
/// let (from, to) = (schedule.level(0.9).into(), schedule.level(0.8).into());
/// assert_eq!(solver.step(start, &from, &to, &context)?.x.dims(), [2, 2]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mcmc<T = Mala> {
    /// The kernel, with its step size in units of the noise level.
    pub kernel: T,
    /// The number of steps at each level.
    pub steps: usize,
}

impl<T: Transition> Corrector for Mcmc<T> {
    fn check(&self) -> Result<()> {
        self.kernel.check()?;
        if self.kernel.warm_up() > 0 {
            let expected = "0: chains at a level are too short to adapt";
            let found = self.kernel.warm_up().to_string();
            return Err(Error::config("solver.corrector.kernel.warm_up", found, expected));
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
        let Some(draws) = context.noise.draws() else {
            let why = "its acceptance needs uniform numbers, and this noise has normal ones alone";
            return Err(Error::undefined("a corrector of mcmc on a path of noise", why));
        };
        let draws = draws.purpose("corrector").at(step);
        let (sigma, target) = (levels.sigma(&x)?, InUnits { levels, context });
        let chains = self.kernel.init(x / sigma.clone(), &target)?;
        let mut chains = chains.with_rows(context.rows.to_vec())?;
        for _ in 0..self.steps {
            chains = self.kernel.step(chains, &target, &draws)?.0;
        }
        Ok(chains.x() * sigma)
    }
}

/// The density of x_t/σ by a context's denoiser at the given levels, each row under its own condition.
struct InUnits<'a> {
    levels: &'a Levels,
    context: &'a Context<'a>,
}

impl LogDensity for InUnits<'_> {
    fn width(&self) -> usize {
        self.context.denoiser.width()
    }

    fn log_density(&self, x: Dual<2>, _: &Condition) -> Result<Dual<2>> {
        let sigma = self.levels.sigma(&x.value)?;
        self.context.denoiser.log_noised(x * sigma, self.levels, self.context.condition)
    }

    fn score(&self, x: Tensor<2>, _: &Condition) -> Result<Tensor<2>> {
        let x = x.inner();
        let x = x.clone() * self.levels.sigma(&x)?;
        let data = self.context.denoise_unclipped(x.clone(), self.levels)?;
        Ok(noise_of(&x, &data, self.levels)?.neg().inner())
    }

    fn log_z(&self) -> Option<f64> {
        None
    }
}

/// Any solver followed by a corrector at each level (Song et al. 2021, algorithm 1; *An Introduction …*, sec. 6.3.3.3).
/// Multistep solvers lose their order, because their history was evaluated before the correction.
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
    /// The solver that steps between levels.
    pub predictor: S,
    /// The corrector at the level reached.
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

/// One-step solvers that a recipe may correct, each with its default options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Predictor {
    /// [`Ancestral`].
    #[default]
    Ancestral,
    /// [`Ancestral`] with the larger variance: with α = 1 the reverse diffusion of Song et al. (2021, App. E).
    AncestralLarge,
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
            Self::AncestralLarge => {
                let solver = Ancestral { variance: AncestralVariance::Large };
                solver.step(state, from, to, context)
            }
            Self::EulerMaruyama => EulerMaruyama::default().step(state, from, to, context),
            Self::Ddim => Ddim::default().step(state, from, to, context),
            Self::Euler => Euler {}.step(state, from, to, context),
        }
    }
}
