//! log p of the reverse SDE, by importance-weighted paths of the forward process.
//!
//! The model draws x_T from the prior and steps back over the levels of a grid by Gaussians p(x_s | x_t) with the mean
//! of q(x_s | x_t, x̂₀(x_t)) and a fixed variance, as ancestral sampling does. A path of the forward process from the
//! data, x_t ~ q(x_t | x_s), has the weight
//!
//! > w = p(x_T) ∏ p(x_s | x_t) / q(x_t | x_s),  p(x) = E[w],
//!
//! which is the discrete form of the change of measure in the proof of theorem 6.2 of *An Introduction to Generative
//! Modeling with Flows and Diffusion Models* (Feynman–Kac and Girsanov). The mean of ln w is that theorem's bound, and
//! E ln(1/K Σ w_k) rises with K to ln p (Burda et al. 2016, Theorem 1). As for the ODE, the data are taken to be rows
//! at the schedule's first level.

use crate::data::Condition;
use crate::denoise::{Denoiser, Diffusing};
use crate::density::{Density, Kind, LogProb, Measure, centred, check_batch, log_prior};
use crate::path::{Direction, Gaussian, Pair, weighted_path};
use crate::process::{Level, Schedule};
use crate::solve::{AnyGrid, ReverseVariance, Variance};
use crate::tensor::{addresses, host_column};
use crate::{Draws, Error, Result};
use burn::tensor::{DType, Tensor};
use std::sync::Arc;

/// The density of a diffusion model's reverse SDE.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::{DType, Device, Tensor};
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::Condition;
/// use tweedie::density::{Density, ReverseSde};
/// use tweedie::process::VpLinear;
/// let unit = GaussianMixture::new(vec![Component::isotropic(1.0, vec![0.0], 1.0)])?;
/// let density = ReverseSde::new(Arc::new(unit), Arc::new(VpLinear::default())).with_paths(8);
/// let x = Tensor::<2>::from_data([[1.0f64]], (&Device::flex(), DType::F64));
/// let log_p = density.log_prob(x, &Condition::None)?.value[0];
/// assert!((log_p - (-0.5 - 0.5 * std::f64::consts::TAU.ln())).abs() < 0.02);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone)]
pub struct ReverseSde {
    model: Diffusing,
    grid: AnyGrid,
    steps: usize,
    paths: usize,
    variance: Variance,
    draws: Draws,
}

impl From<Diffusing> for ReverseSde {
    /// The density over 200 steps even in the log-SNR, with one path per row and the larger variance.
    fn from(model: Diffusing) -> Self {
        Self {
            model,
            grid: AnyGrid::default(),
            steps: 200,
            paths: 1,
            variance: Variance::Large,
            draws: Draws::new(0).purpose("paths"),
        }
    }
}

impl ReverseSde {
    /// The density for data of unit variance, over 200 steps even in the log-SNR, with one path per row.
    pub fn new(denoiser: Arc<dyn Denoiser>, schedule: Arc<dyn Schedule>) -> Self {
        Diffusing::new(denoiser, schedule).into()
    }

    /// Sets the spacing of the levels and the number of steps between the schedule's ends.
    pub fn with_grid(mut self, grid: impl Into<AnyGrid>, steps: usize) -> Self {
        (self.grid, self.steps) = (grid.into(), steps);
        self
    }

    /// Sets the number of paths per row, at least 1: each costs one evaluation per step.
    pub fn with_paths(mut self, paths: usize) -> Self {
        self.paths = paths;
        self
    }

    /// Sets the variance of a reverse step.
    pub fn with_variance(mut self, variance: Variance) -> Self {
        self.variance = variance;
        self
    }

    /// Sets the random numbers of the paths' noise.
    pub fn with_draws(mut self, draws: Draws) -> Self {
        self.draws = draws.purpose("paths");
        self
    }
}

impl Density for ReverseSde {
    fn log_prob(&self, x: Tensor<2>, condition: &Condition) -> Result<LogProb> {
        let n = x.dims()[0];
        let Diffusing { denoiser, schedule, sigma_data } = &self.model;
        check_batch(denoiser.width(), &x, condition)?;
        if self.paths == 0 {
            return Err(Error::config("paths", "0", "at least 1"));
        }
        let levels = self.grid.levels(&**schedule, self.steps)?;
        if levels.len() < 2 {
            return Err(Error::config("grid", "one level", "at least two"));
        }
        let rows = addresses(&x)?;
        let chain =
            Reverse { denoiser: &**denoiser, variance: &self.variance, levels: &levels, condition };
        let x = centred(x, &**schedule);
        let prior_sd = levels[0].sd(*sigma_data);
        let weights =
            |path| chain.log_weights(x.clone(), &rows, &self.draws.at(path as u64), prior_sd);
        let weights = (0..self.paths).map(weights).collect::<Result<Vec<_>>>()?;
        let (mut value, mut errors) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for row in 0..n {
            let own: Vec<f64> = weights.iter().map(|weights| weights[row]).collect();
            if let Some(bad) = own.iter().find(|w| !w.is_finite()) {
                let what = format!("the weight of a path of row {row} became {bad}");
                return Err(Error::Diverged { what, step: self.steps as u64 });
            }
            let (mean, error) = log_mean_exp(&own);
            value.push(mean);
            errors.push(error);
        }
        Ok(LogProb {
            value,
            kind: Kind::LowerBound,
            standard_error: (self.paths > 1).then_some(errors),
            measure: Measure::Standardised,
        })
    }
}

/// A model's chain of reverse steps over levels in order of falling noise, paired with the forward process.
pub(super) struct Reverse<'a> {
    pub denoiser: &'a dyn Denoiser,
    pub variance: &'a dyn ReverseVariance,
    pub levels: &'a [Level],
    pub condition: &'a Condition,
}

impl Reverse<'_> {
    /// ln w of one path from each row of `x`, `[n, width]` at the last level. Step k has the noise at k of `draws`; the
    /// prior has standard deviation `prior_sd`.
    pub fn log_weights(
        &self,
        x: Tensor<2>,
        rows: &[u64],
        draws: &Draws,
        prior_sd: f64,
    ) -> Result<Vec<f64>> {
        let (end, weights) = weighted_path(self, Direction::Forward, x, rows, draws)?;
        host_column(&(weights + log_prior(end.cast(DType::F64), prior_sd)))
    }

    /// The noisier and the cleaner level of step k, of x_{k+1} and x_k.
    fn between(&self, k: usize) -> (Level, Level) {
        let last = self.levels.len() - 1;
        (self.levels[last - 1 - k], self.levels[last - k])
    }
}

impl Pair for Reverse<'_> {
    fn steps(&self) -> usize {
        self.levels.len().saturating_sub(1)
    }

    fn forward(&self, k: usize, x: &Tensor<2>) -> Result<Gaussian> {
        let (t, s) = self.between(k);
        let kernel = t.given(&s);
        Ok(Gaussian { mean: x.clone().mul_scalar(kernel.alpha), variance: kernel.variance })
    }

    fn backward(&self, k: usize, next: &Tensor<2>) -> Result<Gaussian> {
        let (t, s) = self.between(k);
        let posterior = t.posterior(&s);
        let data = self.denoiser.denoise(next.clone().into(), &t.into(), self.condition)?.value;
        let mean = next.clone().mul_scalar(posterior.from_x) + data.mul_scalar(posterior.from_data);
        Ok(Gaussian { mean, variance: self.variance.between(&t, &s) })
    }
}

/// ln of the mean of exp of `logs`, and its standard error by the delta method.
fn log_mean_exp(logs: &[f64]) -> (f64, f64) {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let relative: Vec<f64> = logs.iter().map(|log| (log - most).exp()).collect();
    let (mean, error) = crate::tensor::mean_and_error(&relative);
    (most + mean.ln(), error / mean)
}
