//! The trained error curve behind a reverse step's variance, fitted by the step's divergence with the mean held fixed.
//!
//! With ρ = c²/v of a step and e = ‖x₀ − x̂₀‖²/d of a row, the divergence per column is (*An Introduction to Generative
//! Modeling with Flows and Diffusion Models*, eq. 6.42, whose logarithm lacks a factor 2)
//!
//! > ½ [(1 + ρ e)/(1 + ρ m) − 1 + ln(1 + ρ m)],
//!
//! whose mean is least at m = E e. Gradients reach only m, as only the variance is trained in Nichol & Dhariwal (2021),
//! sec. 3.1. ln m is linear between knots even in λ, and starts at −ln(1 + SNR), the larger of the fixed variances.

use crate::data::Batch;
use crate::denoise::Denoiser;
use crate::density::step;
use crate::process::{Level, Levels, NoiseLevels, Schedule};
use crate::solve::AnalyticVariance;
use crate::tensor::{column, detached};
use crate::{Draws, Error, Result};
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};

/// A trainable reverse variance; [`LearnedVariance::fixed`] is its form for solvers and bounds.
///
/// ```
/// use tweedie::burn::tensor::Device;
/// use tweedie::objective::LearnedVariance;
/// let learned = LearnedVariance::new(-10.0, 10.0, 21, &Device::flex())?;
/// let curve = learned.fixed()?;
/// assert!((curve.error(0.0) - 0.5).abs() < 1e-6);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct LearnedVariance {
    log_error: Param<Tensor<1>>,
    lambda_min: f64,
    lambda_max: f64,
}

impl LearnedVariance {
    /// An initial curve with `knots` knots.
    ///
    /// # Errors
    /// [`Error::Config`] unless −80 ≤ `lambda_min` < `lambda_max` ≤ 80 and `knots` is 2 to 100,000.
    pub fn new(lambda_min: f64, lambda_max: f64, knots: usize, device: &Device) -> Result<Self> {
        let inside = |l: f64| (-80.0..=80.0).contains(&l);
        if !(inside(lambda_min) && inside(lambda_max) && lambda_min < lambda_max) {
            let found = format!("from {lambda_max:?} to {lambda_min:?}");
            return Err(Error::config("log-SNR", found, "a fall within ±80"));
        }
        if !(2..=100_000).contains(&knots) {
            return Err(Error::config("knots", knots.to_string(), "from 2 to 100000"));
        }
        let gap = (lambda_max - lambda_min) / (knots - 1) as f64;
        let start = |k: usize| -(lambda_min + k as f64 * gap).exp().ln_1p();
        let data = TensorData::new((0..knots).map(start).collect(), [knots]);
        let data = data.convert_dtype(DType::F32);
        let log_error = Param::from_tensor(Tensor::from_data(data, (device, DType::F32)));
        Ok(Self { log_error, lambda_min, lambda_max })
    }

    /// The divergence per column, `[n, 1]`, of one step for each row, out of `steps` steps of equal time, which are
    /// covered evenly. The weights must be in a graph; gradients reach only them.
    ///
    /// # Errors
    /// The errors of the denoiser; [`Error::Config`] if `steps` is 0.
    pub fn loss(
        &self,
        denoiser: &dyn Denoiser,
        schedule: &dyn Schedule,
        steps: usize,
        batch: &Batch,
        draws: &Draws,
    ) -> Result<Tensor<2>> {
        if steps == 0 {
            return Err(Error::config("steps", "0", "at least 1"));
        }
        let x = detached(batch.x.clone());
        let [n, d] = x.dims();
        let places = NoiseLevels { low_discrepancy: true, ..NoiseLevels::default() };
        let places = places.places(n, draws);
        let (to, from): (Vec<Level>, Vec<Level>) =
            places.into_iter().map(|u| step(schedule, steps, u)).unzip();
        let ratios = from.iter().zip(&to).map(|(t, s)| {
            let posterior = t.posterior(s);
            posterior.from_data.powi(2) / posterior.variance
        });
        let ratio = column(&x, ratios).cast(DType::F32);
        let hats = self.hats(&from, &x.device());
        let levels = Levels::Rows(from);
        let noise = draws.purpose("noise").normals(0..n as u64, d);
        let noise = noise.to_tensor(&x.device()).cast(x.dtype());
        let noised = levels.noised(&x, &noise)?;
        let mean = denoiser.denoise(noised.into(), &levels, &batch.condition)?.value;
        let mean = detached(mean);
        let error = (mean - x).square().mean_dim(1).cast(DType::F32);
        let exact = Tensor::from_inner((error * ratio.clone()).add_scalar(1.0));
        let log_error = self.log_error.val().unsqueeze_dim::<2>(1);
        let own = Tensor::from_inner(hats).matmul(log_error).exp();
        let own = (own * Tensor::from_inner(ratio)).add_scalar(1.0);
        Ok((exact / own.clone() + own.log()).sub_scalar(1.0).mul_scalar(0.5))
    }

    /// The weight of each knot at each level, `[n, knots]`.
    fn hats(&self, levels: &[Level], device: &Device) -> Tensor<2> {
        let knots = self.log_error.val().dims()[0];
        let last = (knots - 1) as f64;
        let weight = |level: &Level, k: usize| {
            let place = (level.lambda - self.lambda_min) / (self.lambda_max - self.lambda_min);
            (1.0 - (last * place.clamp(0.0, 1.0) - k as f64).abs()).max(0.0)
        };
        let weights = levels.iter().flat_map(|level| (0..knots).map(move |k| weight(level, k)));
        let data = TensorData::new(weights.collect::<Vec<f64>>(), [levels.len(), knots]);
        Tensor::from_data(data.convert_dtype(DType::F32), (device, DType::F32))
    }

    /// The curve with its current weights.
    ///
    /// # Errors
    /// [`Error::Device`] if the weights cannot be read; [`Error::Config`] if a weight is not finite.
    pub fn fixed(&self) -> Result<AnalyticVariance> {
        let logs = self.log_error.val();
        let logs = detached(logs);
        let logs = crate::tensor::host_column(&logs.unsqueeze_dim::<2>(1))?;
        let gap = (self.lambda_max - self.lambda_min) / (logs.len() - 1) as f64;
        let point = |(k, log): (usize, f64)| (self.lambda_min + k as f64 * gap, log.exp());
        AnalyticVariance::new(logs.into_iter().enumerate().map(point).collect())
    }
}
