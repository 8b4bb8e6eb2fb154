//! The loop over the levels of a grid, and the sampler that runs a solver on it.

use super::{AnyGrid, AnySolver, Clip, Context, Noise, ReverseVariance, Solver};
use crate::data::{Condition, Generate};
use crate::denoise::{Denoiser, Diffusing};
use crate::process::{BrownianTree, Corruption, Level, Schedule};
use crate::{Draws, Error, Result};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// The last operation at the cleanest level, which still has a little noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Last {
    /// Replaces x by E[x₀ | x], or takes a multistep solver's own step to clean data ([`Solver::finish`]): one more
    /// evaluation, no noise left.
    #[default]
    Denoise,
    /// Stops at the grid's last level.
    Stop,
}

/// Progress of an integration: the number of steps, the level and the batch there.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Steps taken, the last denoising included.
    pub step: usize,
    /// The total number of steps.
    pub steps: usize,
    /// The level reached.
    pub level: Level,
    /// The batch at this level, `[n, width]`.
    pub x: &'a Tensor<2>,
}

/// A batch at one level on its way from noise to data.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The level.
    pub level: Level,
    /// x_t at this level, `[n, width]`.
    pub x: Tensor<2>,
    /// E[x₀ | x_t], `[n, width]`; x itself at a level without noise.
    pub mean: Tensor<2>,
}

/// Runs `solver` over `levels`, from the first to the last, and returns the batch at the end, `[n, width]`.
///
/// Calls `observe` at the start and after every step.
///
/// # Errors
/// The errors of the solver, and [`Error::Diverged`] if the result is not finite.
pub fn integrate(
    solver: &dyn Solver,
    x: Tensor<2>,
    grid: &[Level],
    last: Last,
    context: &Context,
    mut observe: impl FnMut(Progress),
) -> Result<Tensor<2>> {
    let Some(&start) = grid.first() else {
        return Err(Error::config("grid", "no level", "at least one"));
    };
    let steps = grid.len() - 1 + usize::from(last == Last::Denoise);
    let mut state = solver.init(x);
    observe(Progress { step: 0, steps, level: start, x: &state.x });
    for (k, pair) in grid.windows(2).enumerate() {
        state = solver.step(state, &pair[0].into(), &pair[1].into(), context)?;
        observe(Progress { step: k + 1, steps, level: pair[1], x: &state.x });
    }
    let x = match last {
        Last::Denoise => {
            let end = grid[grid.len() - 1];
            let x = solver.finish(state, &end, context)?;
            observe(Progress { step: steps, steps, level: Level::clean(end.t), x: &x });
            x
        }
        Last::Stop => state.x,
    };
    if !x.clone().is_finite().all().into_scalar::<bool>() {
        return Err(Error::Diverged {
            what: "a sample became NaN or infinite".into(),
            step: steps as u64,
        });
    }
    Ok(x)
}

/// A sampler of a denoiser: prior noise, a solver, a grid and an explicit last operation.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::VpLinear;
/// use tweedie::solve::Sampler;
/// let unit = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0, 0.0], 0.01)])?;
/// let sampler = Sampler::new(Arc::new(unit), Arc::new(VpLinear::default())).with_steps(20);
/// let x = sampler.generate(0..8, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert_eq!(x.dims(), [8, 2]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone)]
pub struct Sampler {
    model: Diffusing,
    solver: AnySolver,
    grid: AnyGrid,
    steps: usize,
    last: Last,
    clip: Option<Clip>,
    path_noise: bool,
    /// The variance of ancestral steps; overrides the solver's own.
    variance: Option<Arc<dyn ReverseVariance>>,
}

impl From<Diffusing> for Sampler {
    /// DPM-Solver++(2M) with 32 evaluations on a grid uniform in the log-SNR.
    fn from(model: Diffusing) -> Self {
        Self {
            model,
            solver: AnySolver::default(),
            grid: AnyGrid::default(),
            steps: 32,
            last: Last::Denoise,
            clip: None,
            path_noise: false,
            variance: None,
        }
    }
}

impl Sampler {
    /// A sampler for data of unit variance; [`Diffusing`] sets another standard deviation.
    pub fn new(denoiser: Arc<dyn Denoiser>, schedule: Arc<dyn Schedule>) -> Self {
        Diffusing::new(denoiser, schedule).into()
    }

    /// Sets the solver.
    pub fn with_solver(mut self, solver: impl Into<AnySolver>) -> Self {
        self.solver = solver.into();
        self
    }

    /// Sets the spacing of the levels.
    pub fn with_grid(mut self, grid: impl Into<AnyGrid>) -> Self {
        self.grid = grid.into();
        self
    }

    /// Sets the number of steps, including the last denoising: at least 2 with it, at least 1 without it or on a
    /// chain's own grid. Adaptive solvers choose their own steps.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Sets the last operation at the cleanest level.
    pub fn with_last(mut self, last: Last) -> Self {
        self.last = last;
        self
    }

    /// Sets the clipping of denoised batches; none by default.
    pub fn with_clip(mut self, clip: impl Into<Option<Clip>>) -> Self {
        self.clip = clip.into();
        self
    }

    /// Replaces the schedule.
    pub fn with_schedule(mut self, schedule: Arc<dyn Schedule>) -> Self {
        self.model.schedule = schedule;
        self
    }

    /// Takes the noise of each row from one [`BrownianTree`], so that more steps refine the same path. Valid for
    /// solvers that pass [`AnySolver::check_path_noise`].
    pub fn with_path_noise(mut self) -> Self {
        self.path_noise = true;
        self
    }

    /// Sets the variance of ancestral steps, overriding the solver's own. Other solvers ignore it.
    pub fn with_reverse_variance(mut self, variance: Arc<dyn ReverseVariance>) -> Self {
        self.variance = Some(variance);
        self
    }

    /// The source of the noise of the solver's steps.
    fn noise(&self, draws: &Draws) -> Result<Box<dyn Noise>> {
        let draws = draws.purpose("solver");
        if !self.path_noise {
            return Ok(Box::new(draws));
        }
        self.solver.check_path_noise()?;
        Ok(Box::new(BrownianTree::new(draws, self.model.schedule.range())?))
    }

    /// The levels that the solver visits.
    ///
    /// # Errors
    /// The errors of [`AnySolver::levels`].
    pub fn levels(&self) -> Result<Vec<Level>> {
        self.solver.levels(&*self.grid, &*self.model.schedule, self.steps, self.last)
    }

    /// The number of network evaluations so far, in rows.
    pub fn evaluations(&self) -> u64 {
        self.model.denoiser.evaluations()
    }

    /// Generates rows as [`Generate::generate`] does, and calls `observe` after every step.
    ///
    /// # Errors
    /// The errors of [`Generate::generate`].
    pub fn generate_observed(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
        observe: impl FnMut(Progress),
    ) -> Result<Tensor<2>> {
        let rows: Vec<u64> = rows.collect();
        let x = self.prior(&rows, draws, device);
        self.generate_from(x, &rows, condition, draws, observe)
    }

    /// Samples from a given start at the noisiest level, `[n, width]`; `rows` are the global indices that address the
    /// noise.
    ///
    /// # Errors
    /// The errors of [`Generate::generate`].
    pub fn generate_from(
        &self,
        x: Tensor<2>,
        rows: &[u64],
        condition: &Condition,
        draws: &Draws,
        observe: impl FnMut(Progress),
    ) -> Result<Tensor<2>> {
        self.generate_with(x, rows, condition, &*self.noise(draws)?, observe)
    }

    /// Samples as [`Sampler::generate_from`] does, with the solver's noise from any source.
    ///
    /// # Errors
    /// The errors of [`Generate::generate`].
    pub fn generate_with(
        &self,
        x: Tensor<2>,
        rows: &[u64],
        condition: &Condition,
        noise: &dyn Noise,
        mut observe: impl FnMut(Progress),
    ) -> Result<Tensor<2>> {
        let levels = self.levels()?;
        let x = levels.first().map_or(x.clone(), |first| self.moved(&x, first, -1.0));
        let placed = |at: Progress| {
            observe(Progress { x: &self.moved(at.x, &at.level, 1.0), ..at });
        };
        let x = self.over(&levels, x, rows, condition, noise, placed)?;
        Ok(match (self.last, levels.last()) {
            (Last::Stop, Some(end)) => self.moved(&x, end, 1.0),
            _ => x,
        })
    }

    /// The batch plus `sign` times the process's offset at the level. Clean data have no offset.
    fn moved(&self, x: &Tensor<2>, level: &Level, sign: f64) -> Tensor<2> {
        match self.model.schedule.offset(level.t) {
            offset if offset != 0.0 && level.sigma > 0.0 => x.clone().add_scalar(sign * offset),
            _ => x.clone(),
        }
    }

    /// Samples the centred process over `levels`.
    fn over(
        &self,
        levels: &[Level],
        x: Tensor<2>,
        rows: &[u64],
        condition: &Condition,
        noise: &dyn Noise,
        observe: impl FnMut(Progress),
    ) -> Result<Tensor<2>> {
        let Diffusing { denoiser, schedule, .. } = &self.model;
        if x.dims()[1] != denoiser.width() {
            return Err(Error::shape("start", x.dims()[1], denoiser.width()));
        }
        condition.check(rows.len())?;
        let context = Context {
            denoiser: &**denoiser,
            schedule: &**schedule,
            condition,
            noise,
            rows,
            clip: self.clip,
        };
        let own = self.variance.clone().and_then(|variance| self.solver.with_variance(variance));
        let solver = own.as_deref().unwrap_or(&*self.solver);
        integrate(solver, x, levels, self.last, &context, observe)
    }

    /// The start of each row at the last time of the schedule.
    fn prior(&self, rows: &[u64], draws: &Draws, device: &Device) -> Tensor<2> {
        let width = self.model.denoiser.width();
        self.model.corruption().prior(rows, width, &draws.purpose("prior"), device)
    }

    /// The batch of [`Generate::generate`] at `count` (at least 2) of the levels on its way, or at all levels if they
    /// are fewer. The start and the sample are included. Levels are spaced half evenly over the steps and half evenly
    /// over the angle arctan(σ/(α σ_d)), so that they are denser where data emerge from noise.
    ///
    /// An adaptive solver stops at each level of the grid, so that its samples equal the samples of `generate` only up
    /// to its tolerance.
    /// tolerance.
    ///
    /// # Errors
    /// The errors of [`Generate::generate`].
    pub fn path(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
        count: usize,
    ) -> Result<Vec<Moment>> {
        let mut levels = self.levels()?;
        if self.solver.is_adaptive() {
            let ending = usize::from(self.last == Last::Denoise);
            levels = self.grid.levels(&*self.model.schedule, self.steps - ending)?;
        }
        let rows: Vec<u64> = rows.collect();
        let start = self.prior(&rows, draws, device);
        let start = levels.first().map_or(start.clone(), |first| self.moved(&start, first, -1.0));
        let wanted = self.spread(&levels, count);
        let mut passed = Vec::new();
        self.over(&levels, start, &rows, condition, &*self.noise(draws)?, |at| {
            if wanted.contains(&at.step) {
                passed.push((at.level, at.x.clone()));
            }
        })?;
        let moment = |(level, x): (Level, Tensor<2>)| {
            let mean = match level.sigma {
                0.0 => x.clone(),
                _ => self.model.denoiser.denoise(x.clone().into(), &level.into(), condition)?.value,
            };
            Ok(Moment { level, x: self.moved(&x, &level, 1.0), mean })
        };
        passed.into_iter().map(moment).collect()
    }

    /// The `count` steps over these levels that [`Sampler::path`] returns, the first and the last included.
    fn spread(&self, levels: &[Level], count: usize) -> Vec<usize> {
        let angle = |level: &Level| level.sigma.atan2(level.alpha * self.model.sigma_data);
        let mut angles: Vec<f64> = levels.iter().map(angle).collect();
        if self.last == Last::Denoise {
            angles.push(0.0);
        }
        let (steps, gaps) = (angles.len() - 1, count.max(2) - 1);
        if steps <= gaps {
            return (0..=steps).collect();
        }
        let span = angles[0] - angles[steps];
        let place = |k: usize| 0.5 * k as f64 / steps as f64 + 0.5 * (angles[0] - angles[k]) / span;
        let mut chosen: Vec<usize> = Vec::with_capacity(gaps + 1);
        for i in 0..=gaps {
            let off = |k: &usize| (place(*k) - i as f64 / gaps as f64).abs();
            // Each step at most once, with enough steps left for the rest.
            let (least, most) = (chosen.last().map_or(0, |k| k + 1), steps - (gaps - i));
            chosen.extend((least..=most).min_by(|a, b| off(a).total_cmp(&off(b))));
        }
        chosen
    }
}

impl Generate for Sampler {
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        self.generate_observed(rows, condition, draws, device, |_| {})
    }
}
