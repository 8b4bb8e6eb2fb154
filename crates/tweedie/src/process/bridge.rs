//! Bridges: linear processes conditioned on both ends.
//!
//! Given x_s = a and x_T = b, the process is Gaussian at every time between (*An Introduction to Generative Modeling
//! with Flows and Diffusion Models*, sec. 6.6, names the Brownian one). With transitions x_t = α_{t|s} x_s + σ_{t|s} ε
//! from s, it is the posterior of x_t given x_T and clean data a:
//!
//! > x_t | a, b ~ N(α_{t|s} (σ²_{T|t}/σ²_{T|s}) a + α_{T|t} (σ²_{t|s}/σ²_{T|s}) b, σ²_{t|s} σ²_{T|t}/σ²_{T|s}).
//!
//! By Doob's h-transform, h(x, t) = p(x_T = b | x_t = x), it solves
//!
//! > dx = (f x + g² ∇log h) dt + g dW, ∇log h = α_{T|t} (b − α_{T|t} x)/σ²_{T|t}.

use super::sde::check_times;
use super::{Level, Noise, Posterior, Schedule, Sde};
use crate::{Error, Result};
use burn::tensor::Tensor;
use std::sync::Arc;

/// A linear process conditioned on both ends; see the module documentation.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::{DType, Device, Tensor};
/// use tweedie::process::{Bridge, LinearSde};
/// // The Brownian bridge from 0 to 2 over [0, 1].
/// let wiener = LinearSde::new(|_| 0.0, |_| 0.0, |_| 1.0, (1e-3, 1.0))?;
/// let at = |v: f64| Tensor::<2>::full([1, 1], v, (&Device::flex(), DType::F64));
/// let bridge = Bridge::new(Arc::new(wiener), (0.0, 1.0), at(0.0), at(2.0))?;
/// let (mean, sd) = bridge.marginal(0.25)?;
/// assert!((mean.into_scalar::<f64>() - 0.5).abs() < 1e-12);
/// assert!((sd * sd - 0.25 * 0.75).abs() < 1e-12);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Bridge {
    schedule: Arc<dyn Schedule>,
    first: Level,
    last: Level,
    start: Tensor<2>,
    end: Tensor<2>,
}

/// The law of x_t given x_s and x_last, as factors of x_last (`from_x`) and of x_s (`from_data`).
fn between(s: &Level, t: &Level, last: &Level) -> Posterior {
    let seen = |level: &Level| {
        let kernel = level.given(s);
        Level::new(level.t, kernel.alpha, kernel.variance.sqrt())
    };
    seen(last).posterior(&seen(t))
}

impl Bridge {
    /// The bridge of the schedule's process over `times`, from `start` to `end`: batches `[n, width]`, or `[1, width]`
    /// if all rows share an end. The offset of a [`LinearSde`](super::LinearSde) is not part of the process.
    ///
    /// # Errors
    /// [`Error::Config`] unless the log-SNR falls between the two times and the first level still has data;
    /// [`Error::Shape`] if the shapes of the two batches are incompatible.
    pub fn new(
        schedule: Arc<dyn Schedule>,
        times: (f64, f64),
        start: Tensor<2>,
        end: Tensor<2>,
    ) -> Result<Self> {
        let (first, last) = (schedule.level(times.0), schedule.level(times.1));
        if !(times.0 < times.1 && first.lambda > last.lambda && first.alpha > 0.0) {
            let found = format!("{times:?}, of log-SNRs {} and {}", first.lambda, last.lambda);
            return Err(Error::config("times", found, "first < last, with a falling log-SNR"));
        }
        let (a, b) = (start.dims(), end.dims());
        if a[1] != b[1] || (a[0] != b[0] && a[0] != 1 && b[0] != 1) {
            return Err(Error::shape("end of the bridge", format!("{b:?}"), format!("{a:?}")));
        }
        Ok(Self { schedule, first, last, start, end })
    }

    fn level(&self, t: f64) -> Result<Level> {
        let range = self.first.t..=self.last.t;
        if range.contains(&t) {
            return Ok(self.schedule.level(t));
        }
        Err(Error::config("time", t.to_string(), format!("a time in {range:?}")))
    }

    /// The mean of x_t, `[n, width]` or `[1, width]`, and its standard deviation.
    ///
    /// # Errors
    /// [`Error::Config`] for a time outside the bridge.
    pub fn marginal(&self, t: f64) -> Result<(Tensor<2>, f64)> {
        let at = between(&self.first, &self.level(t)?, &self.last);
        let mean =
            self.start.clone().mul_scalar(at.from_data) + self.end.clone().mul_scalar(at.from_x);
        Ok((mean, at.variance.sqrt()))
    }

    /// The bridge as a diffusion, by Doob's h-transform, for times before its end, where the drift is singular. Batches
    /// have as many rows as the ends, or any number if each end has one row.
    pub fn sde(&self) -> Sde {
        let (schedule, last, end) = (self.schedule.clone(), self.last, self.end.clone());
        let copy = schedule.clone();
        Sde::new(
            move |x, t| {
                let kernel = last.given(&schedule.level(t));
                let pull = schedule.diffusion_squared(t) * kernel.alpha / kernel.variance;
                let end = end.clone().to_device(&x.device()).cast(x.dtype());
                x.clone().mul_scalar(schedule.drift(t) - pull * kernel.alpha) + end.mul_scalar(pull)
            },
            move |x, t| {
                let g = copy.diffusion_squared(t).sqrt();
                Tensor::full([1, 1], g, (&x.device(), x.dtype()))
            },
        )
    }

    /// A path of each row through `times`, exact in law at any spacing: the batches `[rows.len(), width]` at each time,
    /// each drawn given the batch before it and the end. `rows` are the global indices that address the noise.
    ///
    /// # Errors
    /// [`Error::Config`] unless the times rise within the bridge; [`Error::Shape`] if the number of `rows` differs from
    /// the ends'.
    pub fn paths(&self, times: &[f64], rows: &[u64], noise: &dyn Noise) -> Result<Vec<Tensor<2>>> {
        check_times(times)?;
        let (n, width) = (rows.len(), self.end.dims()[1]);
        for ends in [self.start.dims()[0], self.end.dims()[0]] {
            if n == 0 || width == 0 || (ends != 1 && ends != n) {
                return Err(Error::shape("rows", n, format!("{ends}, one for each row")));
            }
        }
        let (mut s, mut x) = (self.first, self.start.clone().expand([n, width]));
        let mut path = Vec::with_capacity(times.len());
        for (step, &t) in times.iter().enumerate() {
            let level = self.level(t)?;
            let at = between(&s, &level, &self.last);
            let z = noise.increments(step as u64, &[(s.t, t)], rows, width);
            let z = z.to_tensor(&x.device()).cast(x.dtype());
            x = x.mul_scalar(at.from_data)
                + self.end.clone().mul_scalar(at.from_x)
                + z.mul_scalar(at.variance.sqrt());
            path.push(x.clone());
            s = level;
        }
        Ok(path)
    }
}
