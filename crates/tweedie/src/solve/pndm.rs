//! PNDM: pseudo numerical methods on the noise.
//!
//! Liu et al. (2022, *Pseudo Numerical Methods for Diffusion Models on Manifolds*) split a step into a mean ε′ of
//! noises and the transfer of DDIM (their eq. 11), exact where the noise does not change:
//!
//! > φ(x, ε′, t, s) = (α_s/α_t) x + (σ_s − α_s σ_t/α_t) ε′.
//!
//! The mean is that of a classical method for an ODE with steps of one length, by the last evaluations ε₀, ε₁, …,
//!
//! > ε′ = (55 ε₀ − 59 ε₁ + 37 ε₂ − 9 ε₃)/24 (Adams–Bashforth, their eq. 12),
//! >
//! > ε′ = (e₁ + 2 e₂ + 2 e₃ + e₄)/6 (Runge–Kutta, their eq. 13), e₂ and e₃ halfway in time, e₄ at the end.
//!
//! A mean over time stands for a mean over σ/α, so that the order is 2 whatever the classical method's (their theorem).

use super::{Context, Solver, State, noise_of};
use crate::Result;
use crate::process::{Level, Levels, Schedule};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The number of earlier evaluations in the mean of Adams–Bashforth.
const KEPT: usize = 3;

/// PNDM (Liu et al. 2022); see the module documentation. Order 2; one evaluation per step after the start. Steps from
/// pure noise, and steps of the Runge–Kutta start to clean data, are those of DDIM.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, Generate};
/// use tweedie::process::Cosine;
/// use tweedie::solve::pndm::Start;
/// use tweedie::solve::{AnySolver, Pndm, Sampler};
/// let point = GaussianMixture::new(vec![Component::isotropic(1.0, vec![3.0], 1e-4)])?;
/// let solver = AnySolver::Pndm(Pndm { start: Start::Heun });
/// let sampler = Sampler::new(Arc::new(point), Arc::new(Cosine::default()))
///     .with_solver(solver)
///     .with_steps(40);
/// let x = sampler.generate(0..1, &Condition::None, &tweedie::Draws::new(7), &Device::flex())?;
/// assert!((x.into_scalar::<f32>() - 3.0).abs() < 0.1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pndm {
    /// The method of the first steps, which have no earlier evaluations.
    pub start: Start,
}

/// The method of the first steps of [`Pndm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Three steps of Runge–Kutta, with four evaluations each (F-PNDM).
    #[default]
    RungeKutta,
    /// One step of Heun, with two evaluations, then Adams–Bashforth of orders 2 and 3 (PLMS).
    Heun,
}

impl Solver for Pndm {
    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        let State { x, mut history, step } = state;
        let data = context.denoise(x.clone(), from)?;
        let noise = noise_of(&x, &data, from)?;
        let start = Transfer { x: &x, data: &data, from };
        let past: Vec<Tensor<2>> = history.iter().rev().map(|(_, e)| e.clone()).collect();
        let mean = match (past.as_slice(), self.start) {
            ([a, b, c, ..], _) => combine([55.0, -59.0, 37.0, -9.0], 24.0, [&noise, a, b, c]),
            (_, Start::RungeKutta) => runge_kutta(&start, &noise, to, context)?,
            ([], Start::Heun) => heun(&start, &noise, to, context)?,
            ([a], Start::Heun) => combine([3.0, -1.0], 2.0, [&noise, a]),
            ([a, b], Start::Heun) => combine([23.0, -16.0, 5.0], 12.0, [&noise, a, b]),
        };
        let next = start.end(mean, to)?;
        history.push((from.clone(), noise));
        history.drain(..history.len().saturating_sub(KEPT));
        Ok(State { x: next, history, step: step + 1 })
    }

    fn finish(&self, state: State, from: &Level, context: &Context) -> Result<Tensor<2>> {
        Ok(self.step(state, &(*from).into(), &Level::clean(from.t).into(), context)?.x)
    }
}

/// Σ c_j ε_j/d.
fn combine<const N: usize>(factors: [f64; N], divisor: f64, noises: [&Tensor<2>; N]) -> Tensor<2> {
    let terms = factors.into_iter().zip(noises);
    let sum = terms.map(|(factor, noise)| noise.clone().mul_scalar(factor / divisor));
    sum.reduce(|sum, term| sum + term).unwrap_or_else(|| noises[0].clone())
}

/// The start of a step: a batch at its levels, with x̂₀ there.
struct Transfer<'a> {
    x: &'a Tensor<2>,
    data: &'a Tensor<2>,
    from: &'a Levels,
}

impl Transfer<'_> {
    /// φ(x, `noise`, t, s). Pure noise is its own noise, and x̂₀ takes its place.
    fn end(&self, noise: Tensor<2>, to: &Levels) -> Result<Tensor<2>> {
        let factor = |f: fn(&Level, &Level) -> [f64; 2]| {
            Levels::pair(self.from, to, self.x, |t, s| f(t, s)[usize::from(t.alpha == 0.0)])
        };
        let of_x = factor(|t, s| [s.alpha / t.alpha, s.sigma / t.sigma])?;
        let of_noise = factor(|t, s| [s.sigma - s.alpha * t.sigma / t.alpha, 0.0])?;
        let of_data = factor(|_, s| [0.0, s.alpha])?;
        Ok(self.x.clone() * of_x + noise * of_noise + self.data.clone() * of_data)
    }

    /// The noise at `place`, where φ leads from here by `noise`.
    fn noise_at(&self, place: &Levels, noise: Tensor<2>, context: &Context) -> Result<Tensor<2>> {
        let x = self.end(noise, place)?;
        let data = context.denoise(x.clone(), place)?;
        noise_of(&x, &data, place)
    }

    /// The levels that `place` gives for each step with a noise at both ends; the others keep their start. `None` if
    /// all do.
    fn places(
        &self,
        to: &Levels,
        place: impl Fn(&Level, &Level) -> Level,
    ) -> Result<Option<Levels>> {
        let is_inner = |t: &Level, s: &Level| t.alpha > 0.0 && s.sigma > 0.0;
        let one = |t: Level, s: Level| if is_inner(&t, &s) { place(&t, &s) } else { t };
        match (self.from, to) {
            (Levels::All(t), Levels::All(s)) => {
                Ok(is_inner(t, s).then(|| Levels::All(place(t, s))))
            }
            _ => {
                let rows = 0..self.x.dims()[0];
                let rows = rows.map(|i| Ok(one(self.from.host(i)?, to.host(i)?)));
                Ok(Some(Levels::Rows(rows.collect::<Result<_>>()?)))
            }
        }
    }
}

/// The mean noise of Heun's method.
fn heun(start: &Transfer, noise: &Tensor<2>, to: &Levels, context: &Context) -> Result<Tensor<2>> {
    let Some(end) = start.places(to, |_, s| *s)? else { return Ok(noise.clone()) };
    let other = start.noise_at(&end, noise.clone(), context)?;
    Ok(combine([1.0, 1.0], 2.0, [noise, &other]))
}

/// The mean noise of Runge & Kutta's method.
fn runge_kutta(
    start: &Transfer,
    noise: &Tensor<2>,
    to: &Levels,
    context: &Context,
) -> Result<Tensor<2>> {
    let half = |t: &Level, s: &Level| halfway(t, s, context.schedule);
    let (Some(half), Some(end)) = (start.places(to, half)?, start.places(to, |_, s| *s)?) else {
        return Ok(noise.clone());
    };
    let second = start.noise_at(&half, noise.clone(), context)?;
    let third = start.noise_at(&half, second.clone(), context)?;
    let fourth = start.noise_at(&end, third.clone(), context)?;
    Ok(combine([1.0, 2.0, 2.0, 1.0], 6.0, [noise, &second, &third, &fourth]))
}

/// The level halfway in time, on a chain the whole index at or below it.
fn halfway(t: &Level, s: &Level, schedule: &dyn Schedule) -> Level {
    let time = 0.5 * (t.t + s.t);
    schedule.level(if schedule.chain_len().is_some() { time.floor() } else { time })
}
