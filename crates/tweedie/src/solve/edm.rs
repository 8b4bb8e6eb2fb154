//! The stochastic sampler of EDM.

use super::exponential::{Integrand, Slope};
use super::{Context, NoiseUse, Solver, State, noise_of};
use crate::process::{Level, Levels, finite_log_snrs};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The largest γ, √2 − 1: with it a step first adds as much noise as x already has.
const MOST_CHURN: f64 = std::f64::consts::SQRT_2 - 1.0;

/// Heun's method in σ/α with churn (Karras et al. 2022, algorithm 2), for any α. In y = x/α and ρ = σ/α,
///
/// > ρ̂ = (1 + γ) ρ, ŷ = y + S √(ρ̂² − ρ²) z, then a Heun step of dy/dρ = ε̂ from ρ̂ to the next ρ.
///
/// Order 2, two evaluations per step. A step to clean data or from pure noise is an Euler step with one evaluation. γ =
/// 0 is algorithm 1 of the paper. Noise is never added beyond the schedule's noisiest level.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::{AnySolver, Sampler, StochasticHeun};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::StochasticHeun(StochasticHeun { churn: 0.2, ..StochasticHeun::default() });
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(20);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StochasticHeun {
    /// γ, the relative increase of σ/α at the start of a step, in [0, √2 − 1]: the paper's min(S_churn/N, √2 − 1).
    pub churn: f64,
    /// S_noise, the factor of the added noise, in (0, 2].
    pub noise: f64,
    /// [S_tmin, S_tmax], the range of σ/α in which noise is added; every level if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

impl Default for StochasticHeun {
    fn default() -> Self {
        Self { churn: 0.1, noise: 1.0, range: None }
    }
}

impl StochasticHeun {
    /// The level to which noise is added at the start of a step from `level`.
    fn raised(&self, level: &Level, context: &Context) -> Level {
        let ratio = (-0.5 * level.lambda).exp();
        let inside = self.range.is_none_or(|[low, high]| (low..=high).contains(&ratio));
        let noisiest = finite_log_snrs(context.schedule).1;
        let lambda = (level.lambda - 2.0 * self.churn.ln_1p()).max(noisiest);
        if inside && ratio.is_finite() && lambda < level.lambda {
            context.schedule.level(context.schedule.time(lambda))
        } else {
            *level
        }
    }
}

impl Solver for StochasticHeun {
    fn check(&self) -> Result<()> {
        let Self { churn, noise, range } = *self;
        if !(0.0..=MOST_CHURN).contains(&churn) {
            let expected = format!("a number from 0 to √2 − 1 = {MOST_CHURN:.6}");
            return Err(Error::config("solver.churn", churn.to_string(), expected));
        }
        if !(noise > 0.0 && noise <= 2.0) {
            let expected = "a number above 0, at most 2";
            return Err(Error::config("solver.noise", noise.to_string(), expected));
        }
        match range {
            Some([low, high]) if !(low >= 0.0 && low < high && high.is_finite()) => {
                let expected = "two rising numbers, the first at least 0";
                Err(Error::config("solver.range", format!("{low} and {high}"), expected))
            }
            _ => Ok(()),
        }
    }

    fn noise_use(&self) -> NoiseUse {
        if self.churn > 0.0 { NoiseUse::Before } else { NoiseUse::None }
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        let State { mut x, step, .. } = state;
        let mut start = from.clone();
        if self.churn > 0.0 {
            start = match from {
                Levels::All(level) => Levels::All(self.raised(level, context)),
                _ => {
                    let rows = (0..x.dims()[0]).map(|i| Ok(self.raised(&from.host(i)?, context)));
                    Levels::Rows(rows.collect::<Result<_>>()?)
                }
            };
            // Without added noise the two levels are equal, pure noise included.
            let of_x = Levels::pair(from, &start, &x, |a, b| {
                if a.lambda == b.lambda { 1.0 } else { b.alpha / a.alpha }
            })?;
            let of_noise = Levels::pair(from, &start, &x, |a, b| match b.given(a).variance {
                v if v > 0.0 && a.lambda != b.lambda => self.noise * v.sqrt(),
                _ => 0.0,
            })?;
            let noise = context.noise(step, &x);
            x = x * of_x + noise * of_noise;
        }
        let (data, eps) = Integrand::Noise.evaluate(&x, &start, context)?;
        let first = (start.clone(), eps);
        let euler = Integrand::Noise.step(&x, &data, &start, to, &[&first], Slope::Exact)?;
        // Half of α_s (ρ_s − ρ_t), where the step has a second slope.
        let half = |t: &Level, s: &Level| {
            if t.alpha > 0.0 && s.sigma > 0.0 {
                0.5 * (s.sigma - s.alpha * t.sigma / t.alpha)
            } else {
                0.0
            }
        };
        let second = match (&start, to) {
            (Levels::All(t), Levels::All(s)) if half(t, s) == 0.0 => None,
            (Levels::All(_), Levels::All(s)) => Some(Levels::All(*s)),
            _ => {
                let place = |i: usize| {
                    let (t, s) = (start.host(i)?, to.host(i)?);
                    Ok(if half(&t, &s) == 0.0 { t } else { s })
                };
                Some(Levels::Rows((0..x.dims()[0]).map(place).collect::<Result<_>>()?))
            }
        };
        let x = match second {
            None => euler,
            Some(place) => {
                let data = context.denoise(euler.clone(), &place)?;
                let change = noise_of(&euler, &data, &place)? - first.1;
                let of_change = Levels::pair(&start, to, &euler, half)?;
                euler + change * of_change
            }
        };
        Ok(State { x, history: Vec::new(), step: step + 1 })
    }
}
