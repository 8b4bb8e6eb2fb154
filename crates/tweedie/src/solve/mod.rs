//! Sampling, from noise to data: solvers, time grids and the loop that runs them.

mod annealed;
mod clip;
mod corrector;
mod ddim;
mod deis;
mod dormand_prince;
mod dpm;
mod edm;
mod exponential;
pub mod grid;
mod integrate;
mod lms;
mod ode;
pub mod pndm;
mod sde;
pub mod unipc;
mod variance;

pub use crate::process::Noise;
pub use crate::tensor::{Tolerance, integrate_adaptive};
pub use annealed::AnnealedLangevin;
pub use clip::Clip;
pub use corrector::{Corrector, Langevin, Mcmc, Predictor, PredictorCorrector};
pub use ddim::Ddim;
pub use deis::Deis;
pub(crate) use dormand_prince::Clock;
pub use dormand_prince::DormandPrince;
pub use dpm::{DpmSolver, DpmSolverPp2M, DpmSolverPp2S, DpmSolverPp3M};
pub use edm::StochasticHeun;
pub use grid::{AnyGrid, Grid};
pub use integrate::{Last, Moment, Progress, Sampler, integrate};
pub use lms::Lms;
pub use ode::{Euler, Heun, velocity};
pub use pndm::Pndm;
pub use sde::{Ancestral, EulerMaruyama};
pub use unipc::UniPc;
pub use variance::{AnalyticVariance, AncestralVariance, ReverseVariance, Variance};

use crate::data::Condition;
use crate::denoise::Denoiser;
use crate::process::{Level, Levels, Schedule};
use crate::registry::registry;
use crate::tensor::select_rows;
use crate::{Error, Result};
use burn::tensor::Tensor;
use std::sync::Arc;

/// The inputs of a step: the model, its process, the condition and the noise of each row.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::Condition;
/// use tweedie::process::{Cosine, Schedule};
/// use tweedie::solve::{Context, Ddim, Solver};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-6)])?;
/// let (schedule, draws) = (Cosine::default(), tweedie::Draws::new(7));
/// let context = Context {
///     denoiser: &point,
///     schedule: &schedule,
///     condition: &Condition::None,
///     noise: &draws,
///     rows: &[0],
///     clip: None,
/// };
/// // One step of DDIM from any noise to nearly clean data.
/// let solver = Ddim::default();
/// let start = solver.init(Tensor::from_floats([[0.8]], &Device::flex()));
/// let (from, to) = (schedule.level(0.9).into(), schedule.level(1e-3).into());
/// let end = solver.step(start, &from, &to, &context)?.x;
/// assert!((end.into_scalar::<f32>() - 3.0).abs() < 0.05);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The denoiser, E[x₀ | x_t].
    pub denoiser: &'a dyn Denoiser,
    /// The process to reverse.
    pub schedule: &'a dyn Schedule,
    /// The condition of each row.
    pub condition: &'a Condition,
    /// The source of noise, addressed by step and global row, or by time and global row.
    pub noise: &'a dyn Noise,
    /// The global index of each row.
    pub rows: &'a [u64],
    /// The clipping of denoised batches.
    pub clip: Option<Clip>,
}

impl Context<'_> {
    /// E[x₀ | x] without a tangent, clipped, `[n, width]`.
    ///
    /// # Errors
    /// The errors of the denoiser.
    pub fn denoise(&self, x: Tensor<2>, levels: &Levels) -> Result<Tensor<2>> {
        Ok(self.clipped(self.denoise_unclipped(x, levels)?))
    }

    /// E[x₀ | x] without a tangent and without clipping, `[n, width]`.
    ///
    /// # Errors
    /// The errors of the denoiser.
    pub fn denoise_unclipped(&self, x: Tensor<2>, levels: &Levels) -> Result<Tensor<2>> {
        Ok(self.denoiser.denoise(x.into(), levels, self.condition)?.value)
    }

    /// E[x₀ | x] without a tangent, clipped, and the network's output for the variances of a reverse step; both
    /// `[n, width]`.
    ///
    /// # Errors
    /// The errors of the denoiser; [`Error::Undefined`] if it has no such output.
    pub fn denoise_with_variance(
        &self,
        x: Tensor<2>,
        levels: &Levels,
    ) -> Result<(Tensor<2>, Tensor<2>)> {
        let (data, variance) = self.denoiser.denoise_with_variance(x, levels, self.condition)?;
        let why = "the network predicts none for this schedule; `small` and `large` are fixed ones";
        let variance = variance.ok_or_else(|| Error::undefined("a learned variance", why))?;
        Ok((self.clipped(data), variance))
    }

    /// The clipped batch of denoised data.
    pub fn clipped(&self, data: Tensor<2>) -> Tensor<2> {
        match self.clip {
            Some(clip) => clip.apply(data),
            None => data,
        }
    }

    /// Standard normal noise for step `step`, in the shape and type of `like`.
    pub fn noise(&self, step: u64, like: &Tensor<2>) -> Tensor<2> {
        let rows = self.noise.normals(step, self.rows, like.dims()[1]);
        rows.to_tensor(&like.device()).cast(like.dtype())
    }

    /// Standard normal noise for step `step` between two levels. For noise from a path in time it is the path's
    /// increment between the two times, divided by its standard deviation.
    ///
    /// # Errors
    /// The errors of [`Levels::host`].
    pub fn noise_between(
        &self,
        step: u64,
        from: &Levels,
        to: &Levels,
        like: &Tensor<2>,
    ) -> Result<Tensor<2>> {
        let [n, width] = like.dims();
        let spans = match (from, to) {
            (Levels::All(a), Levels::All(b)) => vec![(a.t, b.t)],
            _ => (0..n).map(|i| Ok((from.host(i)?.t, to.host(i)?.t))).collect::<Result<_>>()?,
        };
        let rows = self.noise.increments(step, &spans, self.rows, width);
        Ok(rows.to_tensor(&like.device()).cast(like.dtype()))
    }
}

/// A batch on its way from noise to data, with the history of a multistep solver.
#[derive(Debug, Clone)]
pub struct State {
    /// x at the current level, `[n, width]`.
    pub x: Tensor<2>,
    /// Earlier levels and the solver's evaluations there, data or noise, the latest last.
    pub history: Vec<(Levels, Tensor<2>)>,
    /// The number of steps so far; addresses the noise.
    pub step: u64,
}

impl State {
    /// The state of the rows with the given indices, each below the number of rows.
    ///
    /// # Errors
    /// The errors of [`Levels::select`].
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        let history = self.history.iter();
        Ok(Self {
            x: select_rows(&self.x, rows),
            history: history
                .map(|(levels, x)| Ok((levels.select(rows)?, select_rows(x, rows))))
                .collect::<Result<_>>()?,
            step: self.step,
        })
    }
}

/// The largest number of steps; more are taken for a mistake.
const MOST_STEPS: usize = 100_000;

/// The kind of noise that the steps of a solver add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoiseUse {
    /// No noise: the solver is deterministic.
    None,
    /// Noise of steps between two times, as the increments of a path in time.
    Steps,
    /// Noise at one level, at one time.
    Level,
    /// Noise before the step, against the direction of time.
    Before,
}

impl NoiseUse {
    /// Noise of steps, or none if its share is 0.
    fn in_steps(share: f64) -> Self {
        if share > 0.0 { Self::Steps } else { Self::None }
    }
}

/// One step from a noisier to a cleaner level.
pub trait Solver: std::fmt::Debug + Send + Sync {
    /// Fails, naming the key, unless every option is in its range.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The kind of noise that the solver's steps add.
    fn noise_use(&self) -> NoiseUse {
        NoiseUse::None
    }

    /// Whether the solver chooses its own steps and ignores the grid's inner levels.
    fn is_adaptive(&self) -> bool {
        false
    }

    /// The same solver with another variance of its steps' noise; `None` if the solver has no such option.
    fn with_variance(&self, _variance: Arc<dyn ReverseVariance>) -> Option<Box<dyn Solver>> {
        None
    }

    /// The initial state at the batch `x`, `[n, width]`.
    fn init(&self, x: Tensor<2>) -> State {
        State { x, history: Vec::new(), step: 0 }
    }

    /// The state at `to`, given the state at `from`; levels may differ between rows.
    ///
    /// # Errors
    /// The errors of the denoiser, and [`Error::Diverged`] from adaptive solvers.
    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State>;

    /// The batch at clean data, `[n, width]`, given the state at the grid's last level: by default E[x₀ | x].
    ///
    /// # Errors
    /// The errors of [`Solver::step`].
    fn finish(&self, state: State, from: &Level, context: &Context) -> Result<Tensor<2>> {
        context.denoise(state.x, &(*from).into())
    }
}

registry! {
    /// Any named solver, as recipes and the program write it: `ddim`, or `{ name = "ddim", eta = 0.5 }`.
    ///
    /// ```
    /// use tweedie::solve::{AnySolver, Ddim};
    /// let solver: AnySolver = toml::from_str("name = \"ddim\"\neta = 0.5").unwrap();
    /// assert_eq!(solver, Ddim { eta: 0.5 }.into());
    /// ```
    #[derive(Copy)]
    pub enum AnySolver: Solver = DpmSolverPp2M, "solver" {
        "dpm++2m" DpmSolverPp2M(DpmSolverPp2M)
            "DPM-Solver++(2M): order 2, 1 evaluation a step; eta = 1 is its SDE form; the default",
        "dpm++3m" DpmSolverPp3M(DpmSolverPp3M)
            "DPM-Solver++(3M): order 3, 1 evaluation a step; eta = 1 is its SDE form",
        "dpm++2s" DpmSolverPp2S(DpmSolverPp2S)
            "DPM-Solver++(2S): order 2, 2 evaluations a step; eta = 1 is its SDE form",
        "dpm" DpmSolver(DpmSolver) "DPM-Solver: order = 1 to 3, as many evaluations a step",
        "deis" Deis(Deis) "DEIS in ln(σ/α): order = 1 to 3, 1 evaluation a step",
        "unipc" UniPc(UniPc)
            "UniPC: order = 1 to 3, b = \"bh1\" or \"bh2\", of = \"data\" or \"noise\", 1 evaluation a step",
        "lms" Lms(Lms) "linear multistep in σ/α: order = 1 to 4, 1 evaluation a step",
        "pndm" Pndm(Pndm)
            "PNDM: Adams–Bashforth's mean of noises, order 2; start = \"runge-kutta\" or \"heun\"",
        "ddim" Ddim(Ddim) "DDIM; eta = 0 is deterministic, order 1",
        "ancestral" Ancestral(Ancestral)
            "ancestral sampling from the posterior for any (t, s), as in VDM and DDPM",
        "euler-maruyama" EulerMaruyama(EulerMaruyama)
            "reverse SDE, weak order 1; churn from 1 down to 0, the probability-flow ODE",
        "predictor-corrector" PredictorCorrector(PredictorCorrector)
            "ancestral sampling and Langevin steps at each level; predictor, corrector.snr, .steps",
        "annealed-langevin" AnnealedLangevin(AnnealedLangevin)
            "annealed Langevin dynamics (NCSN, NCSNv2); steps = 5 at each level",
        "euler" Euler(Euler) "probability-flow ODE, order 1",
        "heun" Heun(Heun) "probability-flow ODE, order 2, 2 evaluations a step",
        "edm" StochasticHeun(StochasticHeun)
            "EDM's stochastic Heun in σ/α with churn, 2 evaluations a step",
        "dopri5" DormandPrince(DormandPrince)
            "probability-flow ODE, order 5, adaptive steps for each row",
    }
}

impl AnySolver {
    /// Fails unless all of the solver's noise is noise of steps between two times, which a path in time can provide.
    ///
    /// # Errors
    /// [`Error::Config`] for a solver without noise, or with noise at one level or before the step.
    pub fn check_path_noise(&self) -> Result<()> {
        let found = match self.noise_use() {
            NoiseUse::Steps => return Ok(()),
            NoiseUse::None => "a solver that adds no noise",
            NoiseUse::Level => "a solver that adds noise at one level, where no time passes",
            NoiseUse::Before => "a solver that adds noise before its step, against time",
        };
        let named = Self::named_with(|solver| solver.noise_use() == NoiseUse::Steps);
        let expected = format!("{named}, or eta above 0 where a solver has it");
        Err(Error::config("noise", found, expected))
    }

    /// Fails unless the variance of the solver's noise is an option.
    ///
    /// # Errors
    /// [`Error::Config`] for any other solver.
    pub fn check_variance(&self) -> Result<()> {
        let chooses = |solver: &Self| solver.with_variance(Arc::new(Variance::Small)).is_some();
        if chooses(self) {
            return Ok(());
        }
        let named = Self::named_with(chooses);
        let expected = format!("the solver {named}, whose steps have a variance to choose");
        Err(Error::config("variance", format!("given for the solver {}", self.name()), expected))
    }

    /// The names of the solvers that, with their default options, satisfy `so`.
    fn named_with(so: impl Fn(&Self) -> bool) -> String {
        let all = Self::NAMES.iter().map(|(name, _)| *name);
        let named: Vec<&str> = all.filter(|name| Self::parse(name).is_ok_and(|s| so(&s))).collect();
        named.join(", ")
    }

    /// The levels that the solver visits on `grid` in `steps` steps, including the last denoising if `last` has it.
    ///
    /// On a chain's own grid each step starts at a level of the grid, and the last one leads to clean data
    /// ([`Last::Denoise`]) or to level 0 ([`Last::Stop`], which repeats the level if the grid ends there).
    ///
    /// # Errors
    /// [`Error::Config`] if `steps` is too small or too large; the errors of [`Grid::levels`].
    pub fn levels(
        &self,
        grid: &dyn Grid,
        schedule: &dyn Schedule,
        steps: usize,
        last: Last,
    ) -> Result<Vec<Level>> {
        let ending = usize::from(last == Last::Denoise);
        let least = if grid.is_of_chain() { 1 } else { ending + 1 };
        if steps < least || steps > MOST_STEPS {
            let expected = format!("from {least} to {MOST_STEPS}");
            return Err(Error::config("steps", steps.to_string(), expected));
        }
        if !grid.is_of_chain() {
            return grid.levels(schedule, if self.is_adaptive() { 1 } else { steps - ending });
        }
        let mut levels = grid.levels(schedule, steps)?;
        levels.truncate(levels.len() - ending);
        if self.is_adaptive() && levels.len() > 2 {
            levels.drain(1..levels.len() - 1);
        }
        Ok(levels)
    }
}

/// Fails unless `share` lies in [0, 1].
fn check_share(key: &str, share: f64) -> Result<()> {
    if (0.0..=1.0).contains(&share) {
        return Ok(());
    }
    Err(Error::config(format!("solver.{key}"), share.to_string(), "a number from 0 to 1"))
}

/// Fails unless `order` lies between 1 and `most`.
fn check_order(order: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&order) {
        return Ok(());
    }
    Err(Error::config("solver.order", order.to_string(), format!("from 1 to {most}")))
}

/// ε̂ = (x − α x̂₀)/σ, `[n, width]`.
pub(crate) fn noise_of(x: &Tensor<2>, data: &Tensor<2>, levels: &Levels) -> Result<Tensor<2>> {
    let of_x = levels.column(x, |l| 1.0 / l.sigma)?;
    let of_data = levels.column(x, |l| -l.alpha / l.sigma)?;
    Ok(x.clone() * of_x + data.clone() * of_data)
}
