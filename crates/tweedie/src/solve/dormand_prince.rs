//! The probability-flow ODE by Dormand–Prince 5(4) with a step size for each row.

use super::{Context, Solver, State, velocity};
use crate::process::{Level, Levels, Schedule};
use crate::tensor::{Tolerance, column, integrate_adaptive};
use crate::{Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The integration variable of the probability-flow ODE with error control: t, or −λ for a chain. A chain's rates in t
/// jump at every index, while its path over λ is smooth, as for any variance-preserving process.
#[derive(Clone, Copy)]
pub(crate) struct Clock<'a> {
    schedule: &'a dyn Schedule,
    by_log_snr: bool,
}

impl<'a> Clock<'a> {
    pub(crate) fn new(schedule: &'a dyn Schedule) -> Self {
        Self { schedule, by_log_snr: schedule.chain_len().is_some() }
    }

    /// The variable −λ, for any schedule.
    pub(crate) fn of_log_snr(schedule: &'a dyn Schedule) -> Self {
        Self { schedule, by_log_snr: true }
    }

    /// The variable at a level.
    pub(crate) fn at(self, level: &Level) -> f64 {
        if self.by_log_snr { -level.lambda } else { level.t }
    }

    /// The levels at the given values of the variable.
    pub(crate) fn levels(self, values: &[f64]) -> Vec<Level> {
        let time = |u: f64| if self.by_log_snr { self.schedule.time(-u) } else { u };
        values.iter().map(|&u| self.schedule.level(time(u))).collect()
    }

    /// Converts rates in t, one row per level, to rates in this variable.
    pub(crate) fn rates(self, in_t: Tensor<2>, levels: &[Level]) -> Tensor<2> {
        if !self.by_log_snr {
            return in_t;
        }
        let pace = levels.iter().map(|l| -1.0 / self.schedule.lambda_rate(l.t));
        let pace = column(&in_t, pace);
        in_t * pace
    }
}

/// The probability-flow ODE by Dormand–Prince. Each interval of the grid is integrated to tolerance, so that one
/// interval is enough. Order 5, about 7 evaluations per accepted step.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::{AnySolver, DormandPrince, Sampler, Tolerance};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::DormandPrince(DormandPrince { tolerance: Tolerance { atol: 1e-4, rtol: 1e-4 } });
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(20);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DormandPrince {
    /// The tolerance of the error of each step.
    pub tolerance: Tolerance,
}

impl Solver for DormandPrince {
    fn check(&self) -> Result<()> {
        let Tolerance { atol, rtol } = self.tolerance;
        if [atol, rtol].iter().all(|tolerance| (1e-12..=1.0).contains(tolerance)) {
            return Ok(());
        }
        let found = format!("atol {atol:?} and rtol {rtol:?}");
        Err(Error::config("solver.tolerance", found, "numbers from 1e-12 to 1"))
    }

    fn is_adaptive(&self) -> bool {
        true
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        let State { x, step, .. } = state;
        let n = x.dims()[0];
        let clock = Clock::new(context.schedule);
        let times = |levels: &Levels| {
            (0..n).map(|i| Ok(clock.at(&levels.host(i)?))).collect::<Result<Vec<f64>>>()
        };
        let f = |active: &[usize], t: &[f64], x: Tensor<2>| {
            let levels = clock.levels(t);
            let rows = Levels::Rows(levels.clone());
            let condition = context.condition.select(active);
            let u = velocity(&x, &rows, &Context { condition: &condition, ..*context })?;
            Ok(clock.rates(u, &levels))
        };
        let x = integrate_adaptive(f, x, &times(from)?, &times(to)?, self.tolerance)?;
        Ok(State { x, history: Vec::new(), step: step + 1 })
    }
}
