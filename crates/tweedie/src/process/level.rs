//! Noise levels: the common currency of schedules, networks, solvers and losses.

use crate::tensor::column;
use crate::{Error, Result};
use burn::tensor::{Tensor, activation::log_sigmoid};

/// The largest |λ| for which single precision holds σ² and 1/σ² with room to spare.
pub(crate) const MOST_LOG_SNR: f64 = 80.0;

/// One noise level of x_t = α x₀ + σ ε, in double precision on the host.
///
/// `lambda` is the log-SNR 2 ln(α/σ): +∞ at a clean level (σ = 0), −∞ at pure noise (α = 0).
///
/// ```
/// use tweedie::process::Level;
/// let level = Level::variance_preserving(0.5, 0.0);
/// assert!((level.alpha - 0.5f64.sqrt()).abs() < 1e-15);
/// assert!((level.alpha.powi(2) + level.sigma.powi(2) - 1.0).abs() < 1e-15);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Level {
    /// Time in the schedule's own units.
    pub t: f64,
    /// The factor α ≥ 0 of the data.
    pub alpha: f64,
    /// The standard deviation of the noise, σ ≥ 0.
    pub sigma: f64,
    /// The log-SNR, 2 ln(α/σ).
    pub lambda: f64,
}

impl Level {
    /// The level of a given (α, σ), with its λ.
    pub fn new(t: f64, alpha: f64, sigma: f64) -> Self {
        Self { t, alpha, sigma, lambda: 2.0 * (alpha.ln() - sigma.ln()) }
    }

    /// The variance-preserving level of a given log-SNR: α² = sigmoid(λ), σ² = sigmoid(−λ).
    pub fn variance_preserving(t: f64, lambda: f64) -> Self {
        let alpha = (-0.5 * softplus(-lambda)).exp();
        let sigma = (-0.5 * softplus(lambda)).exp();
        Self { t, alpha, sigma, lambda }
    }

    /// Clean data: α = 1, σ = 0, λ = ∞.
    pub fn clean(t: f64) -> Self {
        Self { t, alpha: 1.0, sigma: 0.0, lambda: f64::INFINITY }
    }

    /// The standard deviation of x_t = α x₀ + σ ε for data of standard deviation `sigma_data`: √(α² σ_data² + σ²).
    ///
    /// ```
    /// use tweedie::process::Level;
    /// assert_eq!(Level::new(0.5, 0.8, 0.6).sd(1.0), 1.0);
    /// ```
    pub fn sd(&self, sigma_data: f64) -> f64 {
        (self.alpha * sigma_data).hypot(self.sigma)
    }

    /// The transition q(x_t | x_s) from the cleaner level `s` to this one (*An Introduction to Generative Modeling with
    /// Flows and Diffusion Models*, eq. 6.52), by the `expm1` of *Demystifying Variational Diffusion Models*, eq. A.21.
    pub fn given(&self, s: &Level) -> Kernel {
        // σ²_{t|s} = σ_t² − α²_{t|s} σ_s² = −σ_t² expm1(λ_t − λ_s): no cancellation for close levels.
        let variance = if s.sigma == 0.0 {
            self.sigma * self.sigma
        } else {
            -self.sigma * self.sigma * (self.lambda - s.lambda).exp_m1()
        };
        Kernel { alpha: self.alpha / s.alpha, variance: variance.max(0.0) }
    }

    /// The posterior q(x_s | x_t, x₀) at the cleaner level `s` (*An Introduction …*, eq. 6.55; *Demystifying …*, eq.
    /// A.15).
    pub fn posterior(&self, s: &Level) -> Posterior {
        let kernel = self.given(s);
        let var_t = self.sigma * self.sigma;
        let var_s = s.sigma * s.sigma;
        Posterior {
            from_x: if var_t > 0.0 { kernel.alpha * var_s / var_t } else { 0.0 },
            from_data: if var_t > 0.0 { s.alpha * kernel.variance / var_t } else { s.alpha },
            variance: if var_t > 0.0 { kernel.variance * var_s / var_t } else { 0.0 },
        }
    }
}

/// ln(1 + eˣ) without overflow.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// A forward transition, x_t = `alpha` · x_s + √`variance` · ε.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kernel {
    /// α_{t|s} = α_t/α_s.
    pub alpha: f64,
    /// σ²_{t|s} = σ_t² − α²_{t|s} σ_s².
    pub variance: f64,
}

/// A posterior transition, x_s = `from_x` · x_t + `from_data` · x₀ + √`variance` · ε.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Posterior {
    /// α_{t|s} σ_s²/σ_t².
    pub from_x: f64,
    /// α_s σ²_{t|s}/σ_t².
    pub from_data: f64,
    /// σ²_{t|s} σ_s²/σ_t².
    pub variance: f64,
}

/// The noise levels of a batch: one for all rows, one per row, or a tracked column of log-SNRs.
///
/// Host levels are exact `f64`. The tracked form is part of the graph, so that a learned schedule receives gradients,
/// and is variance preserving: α² = sigmoid(λ), σ² = sigmoid(−λ).
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::process::{Cosine, Levels, Schedule};
/// let (schedule, x) = (Cosine::default(), Tensor::<2>::zeros([2, 3], &Device::flex()));
/// let one: Levels = schedule.level(0.5).into();
/// assert_eq!(one.sigma(&x)?.dims(), [1, 1]);
/// let each = Levels::Rows(vec![schedule.level(0.1), schedule.level(0.9)]);
/// assert_eq!(each.sigma(&x)?.dims(), [2, 1]);
/// assert!(each.check(3).is_err());
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "tensors are handles, and levels are seldom moved")]
pub enum Levels {
    /// One level for all rows.
    All(Level),
    /// One level per row.
    Rows(Vec<Level>),
    /// A `[rows, 1]` column of log-SNRs in the graph, with the `[rows, 1]` column of their times.
    Tracked {
        /// Times, `[rows, 1]`.
        t: Tensor<2>,
        /// Log-SNRs, `[rows, 1]`.
        lambda: Tensor<2>,
    },
}

impl From<Level> for Levels {
    fn from(level: Level) -> Self {
        Levels::All(level)
    }
}

impl Levels {
    /// The column of `f` at each row's level: `[1, 1]` or `[rows, 1]`, on the device and in the type of `like`.
    ///
    /// # Errors
    /// [`Error::Undefined`] for tracked levels, which are not on the host.
    pub fn column(&self, like: &Tensor<2>, f: impl Fn(&Level) -> f64) -> Result<Tensor<2>> {
        match self {
            Levels::All(level) => Ok(column(like, std::iter::once(f(level)))),
            Levels::Rows(levels) => Ok(column(like, levels.iter().map(f))),
            Levels::Tracked { .. } => Err(Error::undefined(
                "a host value of a tracked noise level",
                "tracked levels live in the graph; only their t, α, σ and λ columns can be read",
            )),
        }
    }

    /// The column of α, `[1, 1]` or `[rows, 1]`.
    pub fn alpha(&self, like: &Tensor<2>) -> Result<Tensor<2>> {
        match self {
            Levels::Tracked { lambda, .. } => {
                Ok(log_sigmoid(lambda.clone()).mul_scalar(0.5).exp().cast(like.dtype()))
            }
            _ => self.column(like, |l| l.alpha),
        }
    }

    /// The column of σ, `[1, 1]` or `[rows, 1]`.
    pub fn sigma(&self, like: &Tensor<2>) -> Result<Tensor<2>> {
        match self {
            Levels::Tracked { lambda, .. } => {
                Ok(log_sigmoid(lambda.clone().neg()).mul_scalar(0.5).exp().cast(like.dtype()))
            }
            _ => self.column(like, |l| l.sigma),
        }
    }

    /// Computes x_t = α x₀ + σ ε for a batch `x` and its `noise`, both `[n, width]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of levels differs from the number of rows.
    pub fn noised(&self, x: &Tensor<2>, noise: &Tensor<2>) -> Result<Tensor<2>> {
        self.check(x.dims()[0])?;
        Ok(x.clone() * self.alpha(x)? + noise.clone() * self.sigma(x)?)
    }

    /// The column of λ, the log-SNR, `[1, 1]` or `[rows, 1]`.
    pub fn lambda(&self, like: &Tensor<2>) -> Result<Tensor<2>> {
        match self {
            Levels::Tracked { lambda, .. } => Ok(lambda.clone().cast(like.dtype())),
            _ => self.column(like, |l| l.lambda),
        }
    }

    /// The column of t, `[1, 1]` or `[rows, 1]`.
    pub fn t(&self, like: &Tensor<2>) -> Result<Tensor<2>> {
        match self {
            Levels::Tracked { t, .. } => Ok(t.clone().cast(like.dtype())),
            _ => self.column(like, |l| l.t),
        }
    }

    /// The level of row `i`.
    ///
    /// # Errors
    /// [`Error::Undefined`] for tracked levels; [`Error::Shape`] past the last row.
    pub fn host(&self, i: usize) -> Result<Level> {
        match self {
            Levels::All(level) => Ok(*level),
            Levels::Rows(levels) => levels.get(i).copied().ok_or_else(|| {
                Error::shape("noise levels", levels.len(), format!("more than {i}"))
            }),
            Levels::Tracked { .. } => Err(Error::undefined(
                "a host value of a tracked noise level",
                "tracked levels live in the graph",
            )),
        }
    }

    /// Fails unless the levels fit a batch of `rows` rows.
    pub fn check(&self, rows: usize) -> Result<()> {
        let found = match self {
            Levels::All(_) => rows,
            Levels::Rows(levels) => levels.len(),
            Levels::Tracked { lambda, .. } => lambda.dims()[0],
        };
        if found == rows { Ok(()) } else { Err(Error::shape("noise levels", found, rows)) }
    }

    /// The levels of the rows with the given indices.
    ///
    /// # Errors
    /// [`Error::Undefined`] for tracked levels; [`Error::Shape`] past the last row.
    pub fn select(&self, rows: &[usize]) -> Result<Levels> {
        match self {
            Levels::All(level) => Ok(Levels::All(*level)),
            _ => Ok(Levels::Rows(rows.iter().map(|&i| self.host(i)).collect::<Result<_>>()?)),
        }
    }

    /// The column of `f` at each row's pair of levels, for transitions: `[1, 1]` or `[rows, 1]`.
    ///
    /// # Errors
    /// [`Error::Undefined`] for tracked levels; [`Error::Shape`] if the two have different lengths.
    pub fn pair(
        from: &Levels,
        to: &Levels,
        like: &Tensor<2>,
        f: impl Fn(&Level, &Level) -> f64,
    ) -> Result<Tensor<2>> {
        match (from, to) {
            (Levels::All(a), Levels::All(b)) => Ok(column(like, std::iter::once(f(a, b)))),
            _ => {
                let rows = like.dims()[0];
                from.check(rows)?;
                to.check(rows)?;
                let values = (0..rows)
                    .map(|i| Ok(f(&from.host(i)?, &to.host(i)?)))
                    .collect::<Result<Vec<f64>>>()?;
                Ok(column(like, values.into_iter()))
            }
        }
    }
}
