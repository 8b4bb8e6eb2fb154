//! log p by the probability-flow ODE.
//!
//! Along dx/dt = u(x, t) the density of the flow obeys d log p/dt = −∇·u, so that (*An Introduction to Generative
//! Modeling with Flows and Diffusion Models*, eqs. 2.7–2.8 and 6.27; Song et al. 2021, eq. 39)
//!
//! > log p(x₀) = log N(x_T; 0, s² I) + ∫ ∇·u(x_t, t) dt from the first to the last time.
//!
//! With u = (σ̇/σ) x + (α̇ − α σ̇/σ) x̂₀ the divergence is d σ̇/σ + (α̇ − α σ̇/σ) tr ∂x̂₀/∂x, and the trace is a sum of
//! Jacobian–vector products: over the basis (exact) or over random signs (Hutchinson; unbiased).
//!
//! Where the last level is pure noise, u may be infinite: there the path ends at λ = ln 2⁻²⁴, when the data's share of the
//! variance is below single precision's rounding.

use super::{Density, Kind, LogProb, Measure};
use crate::denoise::{Condition, Denoiser};
use crate::nn::Dual;
use crate::process::{Level, Levels, Schedule, finite_log_snrs};
use crate::solve::{Clock, Tolerance, host_column, integrate_adaptive};
use crate::{Draws, Error, Result};
use burn::tensor::{DType, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How the trace of the Jacobian is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Divergence {
    /// One Jacobian–vector product per dimension.
    Exact,
    /// The mean of `probes` products with random signs, fixed along the path (Hutchinson 1990; Grathwohl et al.
    /// 2019) and addressed by the row's values. With two probes or more each row's standard error is reported.
    Hutchinson {
        /// How many probes.
        probes: usize,
    },
}

/// The density of a diffusion model's probability-flow ODE.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::{DType, Device, Tensor};
/// use tweedie::denoise::{Component, Condition, GaussianMixture};
/// use tweedie::likelihood::{Density, PfOde};
/// use tweedie::process::VpLinear;
/// let unit = GaussianMixture::new(vec![Component::isotropic(1.0, vec![0.0], 1.0)])?;
/// let density = PfOde::new(Arc::new(unit), Arc::new(VpLinear::default()));
/// let x = Tensor::<2>::from_data([[1.0f64]], (&Device::flex(), DType::F64));
/// let log_p = density.log_prob(x, &Condition::None)?.value[0];
/// assert!((log_p - (-0.5 - 0.5 * std::f64::consts::TAU.ln())).abs() < 1e-4);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone)]
pub struct PfOde {
    denoiser: Arc<dyn Denoiser>,
    schedule: Arc<dyn Schedule>,
    divergence: Divergence,
    tolerance: Tolerance,
    sigma_data: f64,
    draws: Draws,
}

impl PfOde {
    /// Exact divergence, tolerance 10⁻⁵, data of unit variance.
    pub fn new(denoiser: Arc<dyn Denoiser>, schedule: Arc<dyn Schedule>) -> Self {
        Self {
            denoiser,
            schedule,
            divergence: Divergence::Exact,
            tolerance: Tolerance::default(),
            sigma_data: 1.0,
            draws: Draws::new(0),
        }
    }

    /// How the divergence is computed; `draws` gives Hutchinson's signs.
    pub fn with_divergence(mut self, divergence: Divergence, draws: Draws) -> Self {
        self.divergence = divergence;
        self.draws = draws.purpose("hutchinson");
        self
    }

    /// The solver's tolerance, on x and on log p alike.
    pub fn with_tolerance(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The standard deviation of the data in model units, part of the prior's.
    pub fn with_sigma_data(mut self, sigma_data: f64) -> Self {
        self.sigma_data = sigma_data;
        self
    }

    /// The probe vectors of `n` rows, `[probes][n, d]`.
    fn probes(&self, like: &Tensor<2>) -> Result<Vec<Tensor<2>>> {
        let [n, d] = like.dims();
        let place = (&like.device(), like.dtype());
        match self.divergence {
            Divergence::Exact => Ok((0..d)
                .map(|j| {
                    let row = (0..d).map(|i| if i == j { 1.0f32 } else { 0.0 }).collect();
                    let unit = TensorData::new::<f32, _>(row, [1, d]).convert_dtype(like.dtype());
                    Tensor::<2>::from_data(unit, place).expand([n, d])
                })
                .collect()),
            Divergence::Hutchinson { probes: 0 } => {
                Err(Error::config("hutchinson.probes", "0", "at least 1"))
            }
            Divergence::Hutchinson { probes } => {
                let rows = addresses(like)?;
                Ok((0..probes as u64)
                    .map(|k| {
                        let signs = self.draws.at(k).signs_for(&rows, d);
                        signs.to_tensor(&like.device()).cast(like.dtype())
                    })
                    .collect())
            }
        }
    }

    /// (u, one estimate of ∇·u per reported column) at each row's own time.
    fn velocity_and_divergence(
        &self,
        x: Tensor<2>,
        levels: &[Level],
        condition: &Condition,
        probes: &[Tensor<2>],
    ) -> Result<Tensor<2>> {
        let d = x.dims()[1] as f64;
        let rate = |l: &Level| self.schedule.rate(l.t);
        let levels = Levels::Rows(levels.to_vec());
        let of_x = levels.column(&x, |l| rate(l).sigma / l.sigma)?;
        let of_data = levels.column(&x, |l| {
            let rate = rate(l);
            rate.alpha - l.alpha * rate.sigma / l.sigma
        })?;
        let mut columns = Vec::new();
        let mut mean = None;
        for probe in probes {
            let dual = Dual::new(x.clone(), probe.clone());
            let Dual { value, tangent } = self.denoiser.denoise(dual, &levels, condition)?;
            let jvp = tangent.unwrap_or_else(|| value.zeros_like());
            columns.push((jvp * probe.clone()).sum_dim(1));
            mean = Some(value);
        }
        let mean = mean.ok_or_else(|| Error::shape("batch", "0 columns", "at least one"))?;
        if self.divergence == Divergence::Exact {
            columns = vec![Tensor::cat(columns, 1).sum_dim(1)];
        }
        let velocity = x * of_x.clone() + mean * of_data.clone();
        let traces = Tensor::cat(columns, 1) * of_data + of_x.mul_scalar(d);
        Ok(Tensor::cat(vec![velocity, traces], 1))
    }
}

/// A number for each row made of its values alone, so that a row has the same signs in every batch and different
/// rows have different ones.
fn addresses(x: &Tensor<2>) -> Result<Vec<u64>> {
    let [_, d] = x.dims();
    let values = host_column(&x.clone().reshape([-1, 1]))?;
    let mix = |hash: u64, v: &f64| (hash.rotate_left(23) ^ v.to_bits()).wrapping_mul(FNV_PRIME);
    Ok(values.chunks(d).map(|row| row.iter().fold(0, mix)).collect())
}

/// The multiplier of the 64-bit hash of Fowler, Noll and Vo.
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

impl Density for PfOde {
    fn log_prob(&self, x: Tensor<2>, condition: &Condition) -> Result<LogProb> {
        let [n, d] = x.dims();
        if n == 0 || d != self.denoiser.width() {
            let expected = format!("n × {}, n above 0", self.denoiser.width());
            return Err(Error::shape("batch", format!("{n} × {d}"), expected));
        }
        condition.check(n)?;
        let probes = self.probes(&x)?;
        let reported = if self.divergence == Divergence::Exact { 1 } else { probes.len() };
        let (first, mut last) = self.schedule.range();
        if self.schedule.level(last).alpha == 0.0 {
            last = self.schedule.time(finite_log_snrs(&*self.schedule).1);
        }
        let clock = Clock::new(&*self.schedule);
        let [from, to] = [first, last].map(|t| clock.at(&self.schedule.level(t)));
        let zeros = Tensor::zeros([n, reported], (&x.device(), x.dtype()));
        let start = Tensor::cat(vec![x, zeros], 1);
        let end = integrate_adaptive(
            |active, t, y| {
                let levels = clock.levels(t);
                let probes: Vec<Tensor<2>> =
                    probes.iter().map(|p| crate::solve::select_rows(p, active)).collect();
                let x = y.narrow(1, 0, d);
                let condition = condition.select(active);
                let rates = self.velocity_and_divergence(x, &levels, &condition, &probes)?;
                Ok(clock.rates(rates, &levels))
            },
            start,
            &vec![from; n],
            &vec![to; n],
            self.tolerance,
        )?;
        let noisiest = self.schedule.level(last);
        let prior_sd = (noisiest.alpha * self.sigma_data).hypot(noisiest.sigma);
        let x = end.clone().narrow(1, 0, d).cast(DType::F64);
        let square = host_column(&x.div_scalar(prior_sd).square().sum_dim(1))?;
        let constant = d as f64 * (prior_sd.ln() + 0.5 * std::f64::consts::TAU.ln());
        let mut value = Vec::with_capacity(n);
        let mut errors = Vec::with_capacity(n);
        let traces = (0..reported)
            .map(|k| host_column(&end.clone().narrow(1, d + k, 1)))
            .collect::<Result<Vec<_>>>()?;
        for (i, square) in square.iter().enumerate() {
            let own: Vec<f64> = traces.iter().map(|t| t[i]).collect();
            let (mean, error) = super::mean_and_error(&own);
            value.push(-0.5 * square - constant + mean);
            errors.push(error);
        }
        let exact = self.divergence == Divergence::Exact;
        Ok(LogProb {
            value,
            kind: if exact { Kind::Exact } else { Kind::Estimate },
            standard_error: (!exact && reported > 1).then_some(errors),
            measure: Measure::Standardised,
        })
    }
}
