//! How noise becomes data: solvers, time grids and the one loop that runs them.

mod annealed;
mod clip;
mod corrector;
mod ddim;
mod deis;
mod dormand_prince;
mod dpm;
mod edm;
mod exponential;
mod grid;
mod integrate;
mod ode;
mod sde;
mod unipc;
mod variance;

pub use crate::process::Noise;
pub use annealed::AnnealedLangevin;
pub use clip::Clip;
pub use corrector::{Corrector, Langevin, Metropolis, Predictor, PredictorCorrector};
pub use ddim::Ddim;
pub use deis::Deis;
pub(crate) use dormand_prince::Clock;
pub use dormand_prince::{DormandPrince, Tolerance, integrate_adaptive};
pub use dpm::{DpmSolver, DpmSolverPp2M, DpmSolverPp2S, DpmSolverPp3M};
pub use edm::StochasticHeun;
pub use grid::{GRIDS, Grid};
pub use integrate::{Last, Moment, Progress, Sampler, integrate};
pub use ode::{Euler, Heun, velocity};
pub use sde::{Ancestral, EulerMaruyama};
pub use unipc::{B, Of, UniPc};
pub use variance::{AnalyticVariance, ReverseVariance, Variance};

use crate::data::Condition;
use crate::denoise::Denoiser;
use crate::process::{Level, Levels, Schedule};
use crate::tensor::select_rows;
use crate::{Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// What a step may ask: the model, its process, the condition and the noise of each row.
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
    /// E[x₀ | x_t].
    pub denoiser: &'a dyn Denoiser,
    /// The process that is reversed.
    pub schedule: &'a dyn Schedule,
    /// One condition per row.
    pub condition: &'a Condition,
    /// Noise, addressed by step and global row, or by time and global row.
    pub noise: &'a dyn Noise,
    /// The global index of each row.
    pub rows: &'a [u64],
    /// How denoised batches are held in range, if at all.
    pub clip: Option<Clip>,
}

impl Context<'_> {
    /// E[x₀ | x] without a tangent, held in range.
    ///
    /// # Errors
    /// As the denoiser's.
    pub fn denoise(&self, x: Tensor<2>, levels: &Levels) -> Result<Tensor<2>> {
        Ok(self.clipped(self.denoise_unclipped(x, levels)?))
    }

    /// E[x₀ | x] without a tangent, as the denoiser gives it.
    ///
    /// # Errors
    /// As the denoiser's.
    pub fn denoise_unclipped(&self, x: Tensor<2>, levels: &Levels) -> Result<Tensor<2>> {
        Ok(self.denoiser.denoise(x.into(), levels, self.condition)?.value)
    }

    /// A denoised batch held in range.
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

    /// Standard normal noise for step `step`, which goes from one level to another: where the noise is that of a path in
    /// time, its increment between the two times over its standard deviation.
    ///
    /// # Errors
    /// As [`Levels::host`].
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

/// A batch on its way from noise to data, with what a multistep solver remembers.
#[derive(Debug, Clone)]
pub struct State {
    /// x at the current level, `[n, width]`.
    pub x: Tensor<2>,
    /// Earlier levels and what the solver keeps of their evaluations, data or noise, the latest last.
    pub history: Vec<(Levels, Tensor<2>)>,
    /// How many steps were taken; addresses the noise.
    pub step: u64,
}

impl State {
    /// The state of the rows with the given indices, each below the number of rows.
    ///
    /// # Errors
    /// As [`Levels::select`].
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

/// More steps than this are a mistake.
const MOST_STEPS: usize = 100_000;

/// One step from a noisier to a cleaner level.
pub trait Solver: std::fmt::Debug + Send + Sync {
    /// The state that starts at `x`.
    fn init(&self, x: Tensor<2>) -> State {
        State { x, history: Vec::new(), step: 0 }
    }

    /// The state at `to`, from the state at `from`; levels may differ between rows.
    ///
    /// # Errors
    /// The denoiser's, and [`Error::Diverged`] from adaptive solvers.
    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State>;
}

/// Every solver by name, with one line on what it is.
pub const SOLVERS: &[(&str, &str)] = &[
    (
        "dpm++2m",
        "DPM-Solver++(2M): order 2, 1 evaluation a step; eta = 1 is its SDE form; the default",
    ),
    ("dpm++3m", "DPM-Solver++(3M): order 3, 1 evaluation a step; eta = 1 is its SDE form"),
    ("dpm++2s", "DPM-Solver++(2S): order 2, 2 evaluations a step; eta = 1 is its SDE form"),
    ("dpm", "DPM-Solver: order = 1 to 3, as many evaluations a step"),
    ("deis", "DEIS in ln(σ/α): order = 1 to 3, 1 evaluation a step"),
    (
        "unipc",
        "UniPC: order = 1 to 3, b = \"bh1\" or \"bh2\", of = \"data\" or \"noise\", 1 evaluation a step",
    ),
    ("ddim", "DDIM; eta = 0 is deterministic, order 1"),
    ("ancestral", "ancestral sampling from the posterior for any (t, s), as VDM's and DDPM's"),
    (
        "euler-maruyama",
        "reverse SDE, weak order 1; churn from 1 down to 0, the probability-flow ODE",
    ),
    (
        "predictor-corrector",
        "ancestral sampling and Langevin steps at each level; predictor, corrector.snr, .steps",
    ),
    ("annealed-langevin", "annealed Langevin dynamics (NCSN, NCSNv2); steps = 5 at each level"),
    ("euler", "probability-flow ODE, order 1"),
    ("heun", "probability-flow ODE, order 2, 2 evaluations a step"),
    ("edm", "EDM's stochastic Heun in σ/α with churn, 2 evaluations a step"),
    ("dopri5", "probability-flow ODE, order 5, adaptive steps for each row"),
];

/// Any named solver, as recipes and the program write it: `{ name = "ddim", eta = 0.5 }`.
///
/// ```
/// use tweedie::solve::{AnySolver, Ddim};
/// let solver: AnySolver = toml::from_str("name = \"ddim\"\neta = 0.5").unwrap();
/// assert_eq!(solver, AnySolver::Ddim(Ddim { eta: 0.5 }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name")]
pub enum AnySolver {
    /// [`DpmSolverPp2M`].
    #[serde(rename = "dpm++2m")]
    DpmSolverPp2M(DpmSolverPp2M),
    /// [`DpmSolverPp3M`].
    #[serde(rename = "dpm++3m")]
    DpmSolverPp3M(DpmSolverPp3M),
    /// [`DpmSolverPp2S`].
    #[serde(rename = "dpm++2s")]
    DpmSolverPp2S(DpmSolverPp2S),
    /// [`DpmSolver`].
    #[serde(rename = "dpm")]
    DpmSolver(DpmSolver),
    /// [`Deis`].
    #[serde(rename = "deis")]
    Deis(Deis),
    /// [`UniPc`].
    #[serde(rename = "unipc")]
    UniPc(UniPc),
    /// [`Ddim`].
    #[serde(rename = "ddim")]
    Ddim(Ddim),
    /// [`Ancestral`].
    #[serde(rename = "ancestral")]
    Ancestral(Ancestral),
    /// [`EulerMaruyama`].
    #[serde(rename = "euler-maruyama")]
    EulerMaruyama(EulerMaruyama),
    /// [`PredictorCorrector`].
    #[serde(rename = "predictor-corrector")]
    PredictorCorrector(PredictorCorrector),
    /// [`AnnealedLangevin`].
    #[serde(rename = "annealed-langevin")]
    AnnealedLangevin(AnnealedLangevin),
    /// [`Euler`].
    #[serde(rename = "euler")]
    Euler(Euler),
    /// [`Heun`].
    #[serde(rename = "heun")]
    Heun(Heun),
    /// [`StochasticHeun`].
    #[serde(rename = "edm")]
    StochasticHeun(StochasticHeun),
    /// [`DormandPrince`].
    #[serde(rename = "dopri5")]
    DormandPrince(DormandPrince),
}

impl Default for AnySolver {
    fn default() -> Self {
        Self::DpmSolverPp2M(DpmSolverPp2M::default())
    }
}

impl AnySolver {
    /// The solver of a given name with its default options.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown name.
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "dpm++2m" => Self::default(),
            "dpm++3m" => Self::DpmSolverPp3M(DpmSolverPp3M::default()),
            "dpm++2s" => Self::DpmSolverPp2S(DpmSolverPp2S::default()),
            "dpm" => Self::DpmSolver(DpmSolver::default()),
            "deis" => Self::Deis(Deis::default()),
            "unipc" => Self::UniPc(UniPc::default()),
            "ddim" => Self::Ddim(Ddim::default()),
            "ancestral" => Self::Ancestral(Ancestral::default()),
            "euler-maruyama" => Self::EulerMaruyama(EulerMaruyama::default()),
            "predictor-corrector" => Self::PredictorCorrector(PredictorCorrector::default()),
            "annealed-langevin" => Self::AnnealedLangevin(AnnealedLangevin::default()),
            "euler" => Self::Euler(Euler {}),
            "heun" => Self::Heun(Heun {}),
            "edm" => Self::StochasticHeun(StochasticHeun::default()),
            "dopri5" => Self::DormandPrince(DormandPrince::default()),
            _ => {
                let names: Vec<&str> = SOLVERS.iter().map(|(name, _)| *name).collect();
                return Err(Error::config("solver", name, crate::error::one_of(name, &names)));
            }
        })
    }

    /// Whether the solver chooses its own steps, so that the grid's inner levels do not matter.
    pub fn is_adaptive(&self) -> bool {
        matches!(self, Self::DormandPrince(_))
    }

    /// Fails unless all of its noise is that of steps between two times, as a path in time has it.
    ///
    /// # Errors
    /// [`Error::Config`] for a solver without noise, and for those that add noise at one level.
    pub fn check_path_noise(&self) -> Result<()> {
        let found = match self {
            Self::Ddim(Ddim { eta })
            | Self::DpmSolverPp2S(DpmSolverPp2S { eta })
            | Self::DpmSolverPp2M(DpmSolverPp2M { eta })
            | Self::DpmSolverPp3M(DpmSolverPp3M { eta })
                if *eta > 0.0 =>
            {
                return Ok(());
            }
            Self::EulerMaruyama(EulerMaruyama { churn }) if *churn > 0.0 => return Ok(()),
            Self::Ancestral(_) => return Ok(()),
            Self::PredictorCorrector(_) | Self::AnnealedLangevin(_) => {
                "a solver that adds noise at one level, where no time passes"
            }
            Self::StochasticHeun(StochasticHeun { churn, .. }) if *churn > 0.0 => {
                "a solver that adds noise before its step, against time"
            }
            _ => "a solver that adds no noise",
        };
        let expected =
            "euler-maruyama, ancestral, or ddim, dpm++2s, dpm++2m or dpm++3m with eta above 0";
        Err(Error::config("noise", found, expected))
    }

    /// Fails, naming the key, unless every option makes sense.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Ddim(Ddim { eta })
            | Self::DpmSolverPp2S(DpmSolverPp2S { eta })
            | Self::DpmSolverPp2M(DpmSolverPp2M { eta })
            | Self::DpmSolverPp3M(DpmSolverPp3M { eta })
                if !(0.0..=1.0).contains(eta) =>
            {
                Err(Error::config("solver.eta", eta.to_string(), "a number from 0 to 1"))
            }
            Self::EulerMaruyama(EulerMaruyama { churn }) if !(0.0..=1.0).contains(churn) => {
                Err(Error::config("solver.churn", churn.to_string(), "a number from 0 to 1"))
            }
            Self::PredictorCorrector(s) => s.corrector.check(),
            Self::AnnealedLangevin(s) => s.check(),
            Self::DpmSolver(DpmSolver { order })
            | Self::Deis(Deis { order })
            | Self::UniPc(UniPc { order, .. })
                if !(1..=3).contains(order) =>
            {
                Err(Error::config("solver.order", order.to_string(), "1, 2 or 3"))
            }
            Self::StochasticHeun(solver) => solver.check(),
            Self::DormandPrince(DormandPrince { tolerance: Tolerance { atol, rtol } })
                if !(1e-12..=1.0).contains(atol) || !(1e-12..=1.0).contains(rtol) =>
            {
                let found = format!("atol {atol:?} and rtol {rtol:?}");
                Err(Error::config("solver.tolerance", found, "numbers from 1e-12 to 1"))
            }
            _ => Ok(()),
        }
    }

    /// The levels of a grid that it visits in `steps` steps, the last denoising, if there is one, included.
    ///
    /// On a chain's own grid each step starts at a level that the grid visits, and the last one leads to clean data
    /// ([`Last::Denoise`]) or to level 0 ([`Last::Stop`], the same level twice where the grid ends there).
    ///
    /// # Errors
    /// [`Error::Config`] if there are too few or too many steps; as [`Grid::levels`].
    pub fn levels(
        &self,
        grid: Grid,
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

    fn inner(&self) -> &dyn Solver {
        match self {
            Self::DpmSolverPp2M(s) => s,
            Self::DpmSolverPp3M(s) => s,
            Self::DpmSolverPp2S(s) => s,
            Self::DpmSolver(s) => s,
            Self::Deis(s) => s,
            Self::UniPc(s) => s,
            Self::Ddim(s) => s,
            Self::Ancestral(s) => s,
            Self::EulerMaruyama(s) => s,
            Self::PredictorCorrector(s) => s,
            Self::AnnealedLangevin(s) => s,
            Self::Euler(s) => s,
            Self::Heun(s) => s,
            Self::StochasticHeun(s) => s,
            Self::DormandPrince(s) => s,
        }
    }
}

impl Solver for AnySolver {
    fn init(&self, x: Tensor<2>) -> State {
        self.inner().init(x)
    }
    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        self.inner().step(state, from, to, context)
    }
}

/// ε̂ = (x − α x̂₀)/σ.
pub(crate) fn noise_of(x: &Tensor<2>, data: &Tensor<2>, levels: &Levels) -> Result<Tensor<2>> {
    let of_x = levels.column(x, |l| 1.0 / l.sigma)?;
    let of_data = levels.column(x, |l| -l.alpha / l.sigma)?;
    Ok(x.clone() * of_x + data.clone() * of_data)
}
