//! The variational bound of log p, in discrete and in continuous time.
//!
//! For levels 0, …, T with λ falling, x_t = α_t x + σ_t ε and ε̂ the denoiser's noise (*Demystifying Variational
//! Diffusion Models*, eqs. 3.6–3.7 and A.38; *An Introduction to Generative Modeling with Flows and Diffusion Models*,
//! eqs. 6.35 and 6.56; *Generative Modeling with Diffusion Models*, eqs. 13–14, whose first term is a reconstruction),
//!
//! > log p(x) ≥ E log p(x | x_0) − KL(q(x_T | x) ‖ N(0, s² I)) − Σ_i ½ expm1(λ_{i−1} − λ_i) E‖ε − ε̂‖²,
//!
//! the last sum being that of the exact KL(q(x_{i−1} | x_i, x) ‖ p(x_{i−1} | x_i)) for reverse steps with the
//! posterior's variance; [`Bound::with_variance`] sets other variances. As T grows the sum tends to ½ ∫ E‖ε − ε̂‖² dλ
//! (*An Introduction …*, eqs. 6.57–6.60 with the signs put right, theorem 6.2), whatever the schedule between its ends.
//! It bounds log p of the reverse SDE, not of the probability-flow ODE.
//!
//! At the cleanest level two decoders treat the edge (*Demystifying …*, app. A.3.2):
//!
//! - densities: p(x | x_0) = q(x_0 | x)/∫ q(x_0 | x) dx = N(x; x_0/α_0, (σ_0/α_0)² I), which is eq. A.39 with both
//!   densities flat over a distance of σ_0/α_0;
//! - integers: p(x | x_0) ∝ q(x_0 | x) over the values that each column can take (Kingma et al. 2021, eq. 12), or a
//!   decoder by the denoiser's mean ([`Decoder`]); the bound is then of their probabilities and needs no
//!   dequantisation.
//!
//! The sum over steps is estimated: each row has `probes` probes, one in each of as many equal parts of the steps, so
//! that T probes visit each of the T steps once. The reported standard error is that of independent probes, which is at
//! least as large.
//!
//! Each divergence is a conditional expectation, taken in closed form; [`Bound::by_paths`] averages over whole paths
//! instead (*An Introduction …*, eq. 6.32 against 6.41).

use crate::data::{Batch, Condition};
use crate::denoise::{Denoiser, Diffusing};
use crate::density::sde::Reverse;
use crate::density::{Decoder, Density, Kind, LogProb, Measure, check_batch};
use crate::process::{Corruption, Level, LevelDistribution, Levels, Schedule, finite_log_snrs};
use crate::solve::{ReverseVariance, Variance};
use crate::tensor::{addresses, column, host_column, mean_and_error};
use crate::{Draws, Error, Result};
use burn::tensor::Tensor;
use std::sync::Arc;

/// The variational bound of a diffusion model's log p; see the module's head.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::{DType, Device, Tensor};
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::Condition;
/// use tweedie::density::{Bound, Density};
/// use tweedie::process::Cosine;
/// let unit = GaussianMixture::new(vec![Component::isotropic(1.0, vec![0.0], 1.0)])?;
/// let bound = Bound::continuous(Arc::new(unit), Arc::new(Cosine::default())).with_probes(4000);
/// let x = Tensor::<2>::from_data([[1.0f64]], (&Device::flex(), DType::F64));
/// let found = bound.log_prob(x, &Condition::None)?;
/// // The denoiser is exact and the prior is the data's: the bound is log p.
/// let log_p = -0.5 - 0.5 * std::f64::consts::TAU.ln();
/// assert!((found.value[0] - log_p).abs() < 6.0 * found.standard_error.unwrap()[0]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone)]
pub struct Bound {
    pub(super) model: Diffusing,
    /// The number of steps; none in continuous time.
    pub(super) steps: Option<usize>,
    /// The variance of reverse steps; the posterior's if absent.
    variance: Option<Arc<dyn ReverseVariance>>,
    levels: LevelDistribution,
    probes: usize,
    /// The decoder of integers.
    pub(super) decoder: Decoder,
    pub(super) draws: Draws,
}

/// The bound's parts for each row, in nats: log p ≥ reconstruction − prior − diffusion.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// KL(q(x_T | x) ‖ prior).
    pub prior: Vec<f64>,
    /// The estimated sum over the steps between.
    pub diffusion: Vec<f64>,
    /// E log p(x | x_0).
    pub reconstruction: Vec<f64>,
    /// The standard error of the sum.
    pub standard_error: Vec<f64>,
    /// The measure that the bounded probability is taken against.
    pub measure: Measure,
}

impl Terms {
    /// The lower bound of each row's log p, in nats: reconstruction − prior − diffusion.
    pub fn bound(&self) -> Vec<f64> {
        let parts = self.prior.iter().zip(&self.diffusion).zip(&self.reconstruction);
        parts
            .map(|((prior, diffusion), reconstruction)| reconstruction - prior - diffusion)
            .collect()
    }

    /// The bound as a [`LogProb`] of kind [`Kind::LowerBound`].
    pub fn log_prob(self) -> LogProb {
        LogProb {
            value: self.bound(),
            kind: Kind::LowerBound,
            measure: self.measure,
            standard_error: Some(self.standard_error),
        }
    }
}

/// The default number of probes of a row.
const PROBES: usize = 64;

impl From<Diffusing> for Bound {
    /// The bound in continuous time, with 64 probes at levels uniform in λ.
    fn from(model: Diffusing) -> Self {
        Self {
            model,
            steps: None,
            variance: None,
            levels: LevelDistribution::LogSnr,
            probes: PROBES,
            decoder: Decoder::Noise,
            draws: Draws::new(0),
        }
    }
}

impl Bound {
    /// The bound in continuous time, with 64 probes and data of unit variance.
    pub fn continuous(denoiser: Arc<dyn Denoiser>, schedule: Arc<dyn Schedule>) -> Self {
        Diffusing::new(denoiser, schedule).into()
    }

    /// The bound in `steps` steps of equal time, with 64 probes and data of unit variance.
    pub fn discrete(
        denoiser: Arc<dyn Denoiser>,
        schedule: Arc<dyn Schedule>,
        steps: usize,
    ) -> Self {
        Self::continuous(denoiser, schedule).with_steps(steps)
    }

    /// Sets the number of steps of equal time; `None` for the limit of infinitely many.
    pub fn with_steps(mut self, steps: impl Into<Option<usize>>) -> Self {
        self.steps = steps.into();
        self
    }

    /// Sets the variance r of each step's p(x_{i−1} | x_i) in discrete time, instead of the posterior's v. With c the
    /// posterior mean's factor on the data, a divergence is then (*An Introduction …*, eq. 6.42, whose logarithm lacks
    /// a factor 2)
    ///
    /// > ½ Σ_columns [(v + c² (x − x̂)²)/r − 1 + ln(r/v)].
    pub fn with_variance(mut self, variance: Arc<dyn ReverseVariance>) -> Self {
        self.variance = Some(variance);
        self
    }

    /// Sets the number of probes of each row, each with its own noise; at least 1.
    pub fn with_probes(mut self, probes: usize) -> Self {
        self.probes = probes;
        self
    }

    /// Sets the distribution of the probes' levels in continuous time; only the estimate's variance depends on it.
    pub fn with_levels(mut self, levels: LevelDistribution) -> Self {
        self.levels = levels;
        self
    }

    /// Sets the decoder that recovers integers at the cleanest level.
    pub fn with_decoder(mut self, decoder: Decoder) -> Self {
        self.decoder = decoder;
        self
    }

    /// Sets the random numbers of levels and noise.
    pub fn with_draws(mut self, draws: Draws) -> Self {
        self.draws = draws.purpose("bound");
        self
    }

    fn check(&self, x: &Tensor<2>, condition: &Condition) -> Result<()> {
        check_batch(self.model.denoiser.width(), x, condition)?;
        if self.probes == 0 {
            return Err(Error::config("probes", "0", "at least 1"));
        }
        if self.steps == Some(0) {
            return Err(Error::config("steps", "0", "at least 1"));
        }
        if self.variance.is_some() && self.steps.is_none() {
            let expected = "a number of steps: in continuous time there is no choice of variances";
            return Err(Error::config("variance", "continuous time", expected));
        }
        Ok(())
    }

    /// The level at place `u` in [0, 1), and the step's contribution to the bound of `d` columns there: a factor on ‖x
    /// − x̂‖² and a constant.
    fn part(&self, u: f64, d: usize) -> Result<(Level, (f64, f64))> {
        let (Some(variance), Some(steps)) = (&self.variance, self.steps) else {
            let (level, factor) = probe(&*self.model.schedule, self.steps, self.levels, u)?;
            return Ok((level, (factor, 0.0)));
        };
        let (s, t) = step(&*self.model.schedule, steps, u);
        let (posterior, r) = (t.posterior(&s), variance.between(&t, &s));
        if !(r > 0.0 && r.is_finite()) {
            let place = format!("{r} from log-SNR {} to {}", t.lambda, s.lambda);
            return Err(Error::config("variance", place, "a positive number"));
        }
        let (half, ratio) = (0.5 * steps as f64, posterior.variance / r);
        let constant = half * d as f64 * (ratio - 1.0 - ratio.ln());
        Ok((t, (half * posterior.from_data.powi(2) / r, constant)))
    }

    /// ‖x − x̂‖² of each row at its level, `[n, 1]`.
    fn errors(
        &self,
        batch: &Batch,
        levels: Vec<Level>,
        rows: &[u64],
        noise: &Draws,
    ) -> Result<Tensor<2>> {
        let noised = self.model.corruption().corrupt(batch, Levels::Rows(levels), rows, noise)?;
        let x = noised.x.into();
        let mean = self.model.denoiser.denoise(x, &noised.levels, &batch.condition)?.value;
        Ok((mean - batch.x.clone()).square().sum_dim(1))
    }

    /// The terms of the bound of rows in model units, `[n, width]`, with the reconstruction of a density.
    ///
    /// # Errors
    /// As [`Density::log_prob`].
    pub fn terms(&self, x: Tensor<2>, condition: &Condition) -> Result<Terms> {
        let (first, _) = ends(&*self.model.schedule, self.steps);
        let d = x.dims()[1] as f64;
        let each = vec![d * edge(&first); x.dims()[0]];
        self.terms_with(x, condition, Measure::Standardised, |_| Ok(each.clone()))
    }

    /// The discrete bound of a density by whole paths x_0, …, x_T of the chain (*An Introduction …*, eq. 6.32), one for
    /// each probe:
    ///
    /// > ln p(x | x_0) − ln q(x_0 | x) + ln p(x_T) + Σ_i ln p(x_{i−1} | x_i) − ln q(x_i | x_{i−1}).
    ///
    /// [`Bound::terms`] takes the expectation over x_{i−1} given x_i and x in closed form (eq. 6.41, a Rao–Blackwell
    /// estimator): the same mean, with less variance where the model is inexact. With the exact score of any data a
    /// path's weight tends to a constant. A path costs one evaluation per step. This estimator serves comparisons.
    ///
    /// # Errors
    /// As [`Density::log_prob`]; [`Error::Config`] in continuous time.
    pub fn by_paths(&self, x: Tensor<2>, condition: &Condition) -> Result<LogProb> {
        self.check(&x, condition)?;
        let Some(steps) = self.steps else {
            return Err(Error::config("steps", "continuous time", "a number of steps for paths"));
        };
        let levels: Vec<Level> =
            (0..=steps).rev().map(|i| step_level(&*self.model.schedule, steps, i)).collect();
        let first = levels[steps];
        let chain = Reverse {
            denoiser: &*self.model.denoiser,
            variance: self.variance.as_deref().unwrap_or(&Variance::Small),
            levels: &levels,
            condition,
        };
        let prior_sd = levels[0].sd(self.model.sigma_data);
        let ([n, d], rows) = (x.dims(), addresses(&x)?);
        let (process, batch) = (self.model.corruption(), Batch { x, condition: condition.clone() });
        let mut values = vec![Vec::with_capacity(self.probes); n];
        for k in 0..self.probes {
            let draws = self.draws.purpose("paths").at(k as u64);
            let start = process.corrupt(&batch, first.into(), &rows, &draws.purpose("first"))?;
            let weights = chain.log_weights(start.x, &rows, &draws, prior_sd)?;
            // p(x | x_0) is q(x_0 | x) as a density in x.
            let volume = d as f64 * first.alpha.ln();
            values.iter_mut().zip(weights).for_each(|(own, weight)| own.push(volume + weight));
        }
        let (value, standard_error) = values.iter().map(|own| mean_and_error(own)).unzip();
        Ok(LogProb {
            value,
            kind: Kind::LowerBound,
            standard_error: (self.probes > 1).then_some(standard_error),
            measure: Measure::Standardised,
        })
    }

    /// The terms, where `reconstruction(k)` gives each row's reconstruction in probe k, in nats.
    pub(super) fn terms_with(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        measure: Measure,
        reconstruction: impl Fn(usize) -> Result<Vec<f64>>,
    ) -> Result<Terms> {
        self.check(&x, condition)?;
        let [n, d] = x.dims();
        let rows = addresses(&x)?;
        let batch = Batch { x: x.clone(), condition: condition.clone() };
        let prior =
            prior_terms(&x, &ends(&*self.model.schedule, self.steps).1, self.model.sigma_data)?;
        let mut losses = vec![Vec::with_capacity(self.probes); n];
        let mut gains = vec![Vec::with_capacity(self.probes); n];
        let (places, noise) = (self.draws.purpose("level"), self.draws.purpose("noise"));
        for k in 0..self.probes {
            let place =
                |row: &u64| (k as f64 + places.uniform_f64(*row, k as u64)) / self.probes as f64;
            let parts = rows.iter().map(|row| self.part(place(row), d));
            let (levels, parts): (Vec<Level>, Vec<(f64, f64)>) =
                parts.collect::<Result<Vec<_>>>()?.into_iter().unzip();
            let noise = noise.at(k as u64);
            let errors = host_column(&self.errors(&batch, levels, &rows, &noise)?)?;
            for (i, (error, (factor, constant))) in errors.iter().zip(parts).enumerate() {
                losses[i].push(factor * error + constant);
            }
            let told = reconstruction(k)?;
            gains.iter_mut().zip(told).for_each(|(gains, gain)| gains.push(gain));
        }
        let mean = |values: &Vec<f64>| mean_and_error(values).0;
        let error = |(gains, losses): (&Vec<f64>, &Vec<f64>)| {
            let both: Vec<f64> = gains.iter().zip(losses).map(|(a, b)| a - b).collect();
            mean_and_error(&both).1
        };
        Ok(Terms {
            prior,
            diffusion: losses.iter().map(mean).collect(),
            reconstruction: gains.iter().map(mean).collect(),
            standard_error: gains.iter().zip(&losses).map(error).collect(),
            measure,
        })
    }
}

impl Bound {
    /// A single-probe estimate of each row's bound, `[n, 1]` in nats and model units. Gradients flow to `x` where the
    /// denoiser is differentiable. The levels of a batch cover the steps evenly; levels and noise come from `draws`.
    ///
    /// # Errors
    /// As [`Density::log_prob`].
    pub fn estimate(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        draws: &Draws,
    ) -> Result<Tensor<2>> {
        self.check(&x, condition)?;
        let ([n, d], schedule) = (x.dims(), &*self.model.schedule);
        let first = draws.purpose("level").uniform_f64(0, 0);
        let places = (0..n).map(|i| (first + i as f64 / n as f64).fract());
        let parts = places.map(|place| self.part(place, d));
        let (levels, parts): (Vec<Level>, Vec<(f64, f64)>) =
            parts.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let factors = column(&x, parts.iter().map(|(factor, _)| *factor));
        let constants = column(&x, parts.iter().map(|(_, constant)| *constant));
        let rows: Vec<u64> = (0..n as u64).collect();
        let batch = Batch { x: x.clone(), condition: condition.clone() };
        let errors = self.errors(&batch, levels, &rows, &draws.purpose("noise"))?;
        let diffusion = errors * factors + constants;
        let (cleanest, noisiest) = ends(schedule, self.steps);
        let (constant, of_square) = prior_parts(d, &noisiest, self.model.sigma_data);
        let prior = x.square().sum_dim(1).mul_scalar(of_square);
        Ok((diffusion + prior).neg().add_scalar(d as f64 * edge(&cleanest) - constant))
    }
}

impl Density for Bound {
    fn log_prob(&self, x: Tensor<2>, condition: &Condition) -> Result<LogProb> {
        Ok(self.terms(x, condition)?.log_prob())
    }
}

/// The first level and the last, which only in discrete time may be pure noise.
pub(crate) fn ends(schedule: &dyn Schedule, steps: Option<usize>) -> (Level, Level) {
    let (first, last) = schedule.range();
    let end = schedule.level(last);
    let end = if end.alpha == 0.0 && steps.is_none() {
        schedule.level(schedule.time(finite_log_snrs(schedule).1))
    } else {
        end
    };
    (schedule.level(first), end)
}

/// KL(q(x_T | x) ‖ N(0, s² I)) of each row, s² = α² σ_d² + σ².
pub(crate) fn prior_terms(x: &Tensor<2>, last: &Level, sigma_data: f64) -> Result<Vec<f64>> {
    let (constant, of_square) = prior_parts(x.dims()[1], last, sigma_data);
    let squares = host_column(&x.clone().square().sum_dim(1))?;
    Ok(squares.into_iter().map(|square| constant + of_square * square).collect())
}

/// The prior term on rows of `d` columns, as a constant and a factor on ‖x‖².
fn prior_parts(d: usize, last: &Level, sigma_data: f64) -> (f64, f64) {
    let sd = last.sd(sigma_data);
    let ratio = (last.sigma / sd).powi(2);
    (0.5 * d as f64 * (ratio - 1.0 - ratio.ln()), 0.5 * (last.alpha / sd).powi(2))
}

/// E log p(x | x_0) of a density, per column.
pub(crate) fn edge(first: &Level) -> f64 {
    -(first.sigma / first.alpha).ln() - 0.5 * (std::f64::consts::TAU.ln() + 1.0)
}

/// The level at place `u` in [0, 1) and the factor on ‖x − x̂‖² there.
pub(crate) fn probe(
    schedule: &dyn Schedule,
    steps: Option<usize>,
    levels: LevelDistribution,
    u: f64,
) -> Result<(Level, f64)> {
    let Some(steps) = steps else {
        let level = schedule.level(levels.quantile(u, schedule)?);
        return Ok((level, 0.5 * level.lambda.exp() / levels.density(&level, schedule)?));
    };
    let (s, t) = step(schedule, steps, u);
    Ok((t, 0.5 * steps as f64 * fall(&s, &t)))
}

/// The cleaner and the noisier level of the step at place `u` in [0, 1).
pub(crate) fn step(schedule: &dyn Schedule, steps: usize, u: f64) -> (Level, Level) {
    let i = ((u * steps as f64) as usize).min(steps - 1);
    (step_level(schedule, steps, i), step_level(schedule, steps, i + 1))
}

/// Level `i` of the `steps` + 1 levels that bound steps of equal time.
fn step_level(schedule: &dyn Schedule, steps: usize, i: usize) -> Level {
    let (first, last) = schedule.range();
    schedule.level(first + (last - first) * (i as f64 / steps as f64))
}

/// SNR(s) − SNR(t) of a cleaner level s and a noisier level t, by the expm1 of *Demystifying Variational Diffusion
/// Models*, eq. A.36: exact for close levels too, and finite for pure noise.
fn fall(s: &Level, t: &Level) -> f64 {
    -s.lambda.exp() * (t.lambda - s.lambda).exp_m1()
}
