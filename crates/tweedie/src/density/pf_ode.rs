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
//! Where the last level is pure noise, u may be infinite: there the path ends at λ = ln 2⁻²⁴, when the data's share of
//! the variance is below single precision's rounding.

use crate::data::Condition;
use crate::denoise::{Denoiser, Diffusing};
use crate::density::{Density, Kind, LogProb, Measure, check_batch};
use crate::process::{Level, Levels, Schedule, finite_log_snrs};
use crate::solve::{Clock, Tolerance, integrate_adaptive};
use crate::tensor::{Divergence, Probes, addresses, divergence, host_column};
use crate::{Draws, Result};
use burn::tensor::{DType, Tensor};
use std::sync::Arc;

/// The density of a diffusion model's probability-flow ODE.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::{DType, Device, Tensor};
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::Condition;
/// use tweedie::density::{Density, PfOde};
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
    model: Diffusing,
    divergence: Divergence,
    tolerance: Tolerance,
    draws: Draws,
}

impl From<Diffusing> for PfOde {
    /// The density with exact divergence and tolerance 10⁻⁵.
    fn from(model: Diffusing) -> Self {
        let (divergence, tolerance) = (Divergence::Exact, Tolerance::default());
        Self { model, divergence, tolerance, draws: Draws::new(0) }
    }
}

impl PfOde {
    /// The density for data of unit variance, with exact divergence and tolerance 10⁻⁵.
    pub fn new(denoiser: Arc<dyn Denoiser>, schedule: Arc<dyn Schedule>) -> Self {
        Diffusing::new(denoiser, schedule).into()
    }

    /// Sets the estimator of the divergence; `draws` gives Hutchinson's signs.
    pub fn with_divergence(mut self, divergence: Divergence, draws: Draws) -> Self {
        self.divergence = divergence;
        self.draws = draws.purpose("hutchinson");
        self
    }

    /// Sets the solver's tolerance, on x and on log p alike.
    pub fn with_tolerance(mut self, tolerance: Tolerance) -> Self {
        self.tolerance = tolerance;
        self
    }
}

/// u of the probability-flow ODE at each row's own time, followed by estimates of ∇·u: `[n, d + estimates]`.
///
/// # Errors
/// The denoiser's.
pub(crate) fn velocity_and_divergence(
    denoiser: &dyn Denoiser,
    schedule: &dyn Schedule,
    x: Tensor<2>,
    levels: &[Level],
    condition: &Condition,
    probes: &Probes,
) -> Result<Tensor<2>> {
    let [_, d] = x.dims();
    let rate = |l: &Level| schedule.rate(l.t);
    let levels = Levels::Rows(levels.to_vec());
    let of_x = levels.column(&x, |l| rate(l).sigma / l.sigma)?;
    let of_data = levels.column(&x, |l| {
        let rate = rate(l);
        rate.alpha - l.alpha * rate.sigma / l.sigma
    })?;
    let denoise = |x| denoiser.denoise(x, &levels, condition);
    let (mean, trace) = divergence(denoise, &x, probes)?;
    let velocity = x * of_x.clone() + mean * of_data.clone();
    let trace = trace * of_data + of_x.mul_scalar(d as f64);
    Ok(Tensor::cat(vec![velocity, trace], 1))
}

/// Rows at the schedule's first level, less the offset of its process there.
pub(super) fn centred(x: Tensor<2>, schedule: &dyn Schedule) -> Tensor<2> {
    match schedule.offset(schedule.range().0) {
        0.0 => x,
        offset => x.sub_scalar(offset),
    }
}

/// log N(x; 0, `sd`² I) of each row, `[n, 1]`.
pub(crate) fn log_prior(x: Tensor<2>, sd: f64) -> Tensor<2> {
    let [_, d] = x.dims();
    let constant = d as f64 * (sd.ln() + 0.5 * std::f64::consts::TAU.ln());
    x.div_scalar(sd).square().sum_dim(1).mul_scalar(-0.5).sub_scalar(constant)
}

impl Density for PfOde {
    fn log_prob(&self, x: Tensor<2>, condition: &Condition) -> Result<LogProb> {
        let [n, d] = x.dims();
        let Diffusing { denoiser, schedule, sigma_data } = &self.model;
        check_batch(denoiser.width(), &x, condition)?;
        // A row has the same probes along its whole path, in any batch.
        let rows = match self.divergence {
            Divergence::Exact => Vec::new(),
            Divergence::Hutchinson { .. } => addresses(&x)?,
        };
        let probes = self.divergence.probes(&self.draws, &rows, &x)?;
        let reported = probes.estimates();
        let (first, mut last) = schedule.range();
        if schedule.level(last).alpha == 0.0 {
            last = schedule.time(finite_log_snrs(&**schedule).1);
        }
        let clock = Clock::new(&**schedule);
        let [from, to] = [first, last].map(|t| clock.at(&schedule.level(t)));
        let zeros = Tensor::zeros([n, reported], (&x.device(), x.dtype()));
        let start = Tensor::cat(vec![centred(x, &**schedule), zeros], 1);
        let end = integrate_adaptive(
            |active, t, y| {
                let levels = clock.levels(t);
                let rates = velocity_and_divergence(
                    &**denoiser,
                    &**schedule,
                    y.narrow(1, 0, d),
                    &levels,
                    &condition.select(active),
                    &probes.select(active),
                )?;
                Ok(clock.rates(rates, &levels))
            },
            start,
            &vec![from; n],
            &vec![to; n],
            self.tolerance,
        )?;
        let prior_sd = schedule.level(last).sd(*sigma_data);
        let x = end.clone().narrow(1, 0, d).cast(DType::F64);
        let prior = host_column(&log_prior(x, prior_sd))?;
        let mut value = Vec::with_capacity(n);
        let mut errors = Vec::with_capacity(n);
        let traces = (0..reported)
            .map(|k| host_column(&end.clone().narrow(1, d + k, 1)))
            .collect::<Result<Vec<_>>>()?;
        for (i, prior) in prior.iter().enumerate() {
            let own: Vec<f64> = traces.iter().map(|t| t[i]).collect();
            let (mean, error) = crate::tensor::mean_and_error(&own);
            value.push(prior + mean);
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
