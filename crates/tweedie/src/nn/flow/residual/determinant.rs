//! log det(I + J) for ‖J‖ < 1: exactly, and by random estimates from products with J alone.
//!
//! The symmetric part of I + J is positive definite. So its pivots are positive without any exchange of rows, and
//! log det(I + J) is the sum of their logarithms.
//!
//! For wide rows, with random signs v, E[v vᵀ] = I (Chen et al. 2019, *Residual flows for invertible generative
//! modeling*, eqs. 6–8):
//!
//! > log det(I + J) = E_v Σ_{k≥1} (−1)^(k+1) vᵀ Jᵏ v / k,
//! > ∂ log det(I + J) = E_v Σ_{k≥0} (−1)ᵏ vᵀ ∂J Jᵏ v.
//!
//! The series may end after a number of terms, which leaves a bias, or after a random number N ≥ k with each term over
//! P(N ≥ k), which leaves none. A row's estimate takes one product with J per term, and its gradient one more.

use crate::error::{count, within};
use crate::registry::registry;
use crate::tensor::{Dual, Probe, column};
use crate::{Draws, Result};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// The matrix I of d × d values for every row, in the type of `like`, `[1, d, d]`.
pub(super) fn identity(d: usize, like: &Tensor<2>) -> Tensor<3> {
    let values: Vec<f32> = (0..d * d).map(|k| f32::from(k % (d + 1) == 0)).collect();
    let data = TensorData::new(values, [1, d, d]).convert_dtype(like.dtype());
    Tensor::from_data(data, (&like.device(), like.dtype()))
}

/// log det A of each matrix `[n, d, d]` whose symmetric part is positive definite, `[n, 1]`.
pub(super) fn log_det(mut a: Dual<3>) -> Dual<2> {
    let [n, d, _] = a.dims();
    let part = |a: &Dual<3>, [from, below]: [usize; 2], [left, right]: [usize; 2]| {
        a.clone().linear(|a| a.narrow(1, from, below).narrow(2, left, right))
    };
    let mut sum: Option<Dual<3>> = None;
    for rest in (0..d).rev() {
        let pivot = part(&a, [0, 1], [0, 1]);
        sum = Some(match sum {
            Some(sum) => sum + pivot.clone().log(),
            None => pivot.clone().log(),
        });
        if rest > 0 {
            let row = part(&a, [0, 1], [1, rest]) * pivot.recip();
            a = part(&a, [1, rest], [1, rest]) - part(&a, [1, rest], [0, 1]) * row;
        }
    }
    match sum {
        Some(sum) => sum.reshape([n, 1]),
        None => a.reshape([n, 0]).sum_dim(1),
    }
}

/// The inverse of each matrix `[n, d, d]` whose symmetric part is positive definite.
pub(super) fn inverse(a: Tensor<3>, identity: Tensor<3>) -> Tensor<3> {
    let [n, d, _] = a.dims();
    let mut both = Tensor::cat(vec![a, identity.clone().expand([n, d, d])], 2);
    for k in 0..d {
        let column = both.clone().narrow(2, k, 1);
        let row = both.clone().narrow(1, k, 1) / column.clone().narrow(1, k, 1);
        both = both - (column - identity.clone().narrow(2, k, 1)) * row;
    }
    both.narrow(2, d, d)
}

/// A way of computing log det(I + J) in training.
pub trait LogDet: Debug + Send + Sync {
    /// Fails, naming the key, unless every value is valid.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config).
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The factors of the terms k = 1, 2, … of the power series, one for each of `rows`; none if all of J is computed.
    fn factors(&self, rows: usize, draws: &Draws) -> Option<Vec<Vec<f64>>>;
}

registry! {
    /// Any named way of computing log det(I + J) in training: `exact`, or `{ name = "roulette", terms = 4 }`.
    #[derive(Copy)]
    pub enum AnyLogDet: LogDet = Exact, "log_det" {
        "exact" Exact(Exact)
            "all of the Jacobian, a product for each column; the default",
        "roulette" Roulette(Roulette)
            "a power series of random length with a random probe: unbiased, a few products however wide the rows are",
        "series" Series(Series)
            "the power series to a fixed number of terms with a random probe, terms = 8: biased",
    }
}

/// The exact log-determinant: it has no options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exact {}

impl LogDet for Exact {
    fn factors(&self, _: usize, _: &Draws) -> Option<Vec<Vec<f64>>> {
        None
    }
}

/// The power series to a fixed number of terms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Series {
    /// The number of terms, 1 to 1000. What is left out is at most d cᴷ⁺¹/((K + 1)(1 − c)) for K terms and ‖J‖ ≤ c.
    pub terms: usize,
}

impl Default for Series {
    fn default() -> Self {
        Self { terms: 8 }
    }
}

impl LogDet for Series {
    fn check(&self) -> Result<()> {
        count("terms", self.terms as u64, 1000)
    }

    fn factors(&self, rows: usize, _: &Draws) -> Option<Vec<Vec<f64>>> {
        Some(vec![vec![1.0; rows]; self.terms])
    }
}

/// The power series of random length, each term over the probability that it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Roulette {
    /// The number of terms that are always taken, 1 to 1000.
    pub terms: usize,
    /// The probability of each further term, given those before it, 0 to 0.99. The variance is finite where
    /// ‖J‖² is below it.
    pub survival: f64,
}

impl Default for Roulette {
    fn default() -> Self {
        Self { terms: 4, survival: 0.75 }
    }
}

impl LogDet for Roulette {
    fn check(&self) -> Result<()> {
        count("terms", self.terms as u64, 1000)?;
        within("survival", self.survival, 0.0, 0.99)
    }

    fn factors(&self, rows: usize, draws: &Draws) -> Option<Vec<Vec<f64>>> {
        // P(N ≥ terms + j) = survivalʲ, and 1 − u is never 0.
        let length = |row: usize| {
            let more = (1.0 - draws.uniform_f64(row as u64, 0)).ln() / self.survival.ln();
            self.terms + more as usize
        };
        let lengths: Vec<usize> = (0..rows).map(length).collect();
        let most = lengths.iter().copied().max().unwrap_or(0);
        let factor = |k: usize, length: usize| match length >= k {
            true => self.survival.powi(-(k.saturating_sub(self.terms) as i32)),
            false => 0.0,
        };
        Some((1..=most).map(|k| lengths.iter().map(|len| factor(k, *len)).collect()).collect())
    }
}

/// Estimates of log det(I + J) of some rows, outside of any graph.
#[derive(Debug, Clone)]
pub struct LogDetEstimate {
    /// The random signs v, `[n, d]`.
    pub probe: Tensor<2>,
    /// The estimates, `[n, 1]`.
    pub value: Tensor<2>,
    /// w = Σ_k (−1)ᵏ ρ_(k+1) Jᵏ v with the factors ρ of the terms, `[n, d]`: vᵀ ∂J w estimates the gradient.
    pub direction: Tensor<2>,
}

impl LogDetEstimate {
    /// The estimate for rows like `like`, `[n, d]`, from `product`, which maps vectors v to J v row by row; none if
    /// `of` is exact. Row i has the probe and the length of row i of `draws`.
    ///
    /// ```
    /// use tweedie::Draws;
    /// use tweedie::burn::tensor::{Device, Tensor};
    /// use tweedie::nn::flow::{LogDetEstimate, Series};
    /// let like = Tensor::<2>::zeros([1, 3], &Device::flex());
    /// // J = ½ I, and three times ln(1 + ½) = 0.4055
    /// let found = LogDetEstimate::new(&Series { terms: 20 }, |v| v.mul_scalar(0.5), &like, &Draws::new(0));
    /// let value = found.expect("no exact way").value.into_scalar::<f32>();
    /// assert!((value - 3.0 * 1.5f32.ln()).abs() < 1e-5);
    /// ```
    pub fn new(
        of: &dyn LogDet,
        product: impl Fn(Tensor<2>) -> Tensor<2>,
        like: &Tensor<2>,
        draws: &Draws,
    ) -> Option<Self> {
        let [n, _] = like.dims();
        let factors = of.factors(n, &draws.purpose("terms"))?;
        let rows: Vec<u64> = (0..n as u64).collect();
        let probe = Probe::default().draw(&draws.purpose("probe"), &rows, like);
        let (mut value, mut direction) = (like.zeros_like().narrow(1, 0, 1), like.zeros_like());
        let mut power = probe.clone();
        for (k, factors) in factors.into_iter().enumerate() {
            let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
            let factor = column(like, factors.into_iter().map(|factor| sign * factor));
            direction = direction + power.clone() * factor.clone();
            power = product(power);
            let term = (probe.clone() * power.clone()).sum_dim(1) * factor;
            value = value + term.div_scalar(k as f64 + 1.0);
        }
        Some(Self { probe, value, direction })
    }
}
