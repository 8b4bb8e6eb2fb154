//! Log densities of batches, up to a constant, with their derivatives.
//!
//! A density known up to its integral is γ(x) = Z p(x). Chains need ln γ, whose constant ln Z cancels in every ratio,
//! and the score ∇ₓ ln γ = ∇ₓ log p.

use crate::data::Condition;
use crate::error::rows_of;
use crate::tensor::{Dual, host_column};
use crate::{Draws, Error, Result};
use burn::tensor::{DType, Tensor, TensorData};
use rayon::prelude::*;

/// ln γ of a batch in model units, γ = Z p, differentiable in x: for example of an oracle, an energy, a flow or a
/// posterior.
///
/// ```
/// use tweedie::burn::tensor::{DType, Device, Tensor};
/// use tweedie::data::{Condition, LogDensity};
/// use tweedie::mcmc::Funnel;
/// let funnel = Funnel { width: 2, scale: 1.0 };
/// let x = Tensor::<2>::from_data([[0.0f64, 2.0]], (&Device::flex(), DType::F64));
/// let (log_p, score) = funnel.with_score(x, &Condition::None)?;
/// assert!((log_p.into_scalar::<f64>() + 2.0 + std::f64::consts::TAU.ln()).abs() < 1e-12);
/// // ∂/∂x₁ = −x₁ + ½ (x₂² e^(−x₁) − 1), ∂/∂x₂ = −x₂ e^(−x₁)
/// assert_eq!(score.into_data().try_into_vec::<f64>().unwrap(), [1.5, -2.0]);
/// # Ok::<(), tweedie::Error>(())
/// ```
pub trait LogDensity: Send + Sync {
    /// The width of a row.
    fn width(&self) -> usize;

    /// ln γ of each row of `x`, `[n, width]`, as `[n, 1]` in nats, with the directional derivatives that `x` carries.
    ///
    /// −∞ where p is zero.
    ///
    /// # Errors
    /// [`Error::Shape`] if batch and condition do not fit; [`Error::Undefined`] if only the score is known.
    fn log_density(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>>;

    /// ∇ₓ ln γ of each row, `[n, width]`, without automatic differentiation.
    ///
    /// # Errors
    /// As [`LogDensity::log_density`], except that a missing log density is no error where the score is known.
    fn score(&self, x: Tensor<2>, condition: &Condition) -> Result<Tensor<2>> {
        Ok(self.with_score(x, condition)?.1)
    }

    /// ln γ, `[n, 1]`, and ∇ₓ ln γ, `[n, width]`, by one forward and one backward pass, or by [`LogDensity::by_row`];
    /// without automatic differentiation of the results.
    ///
    /// A density with weights keeps them out of automatic differentiation ([`burn::module::Module::valid`]), so that
    /// the backward pass is over `x` alone.
    ///
    /// # Errors
    /// As [`LogDensity::log_density`].
    fn with_score(&self, x: Tensor<2>, condition: &Condition) -> Result<(Tensor<2>, Tensor<2>)> {
        if let Some(density) = self.by_row() {
            unconditional(condition, x.dims()[0])?;
            return with_score_of_rows(&|_, x, score| density.log_p(x, score), self.width(), &x);
        }
        let x = x.inner().autodiff().require_grad();
        let log = self.log_density(x.clone().into(), condition)?.value;
        let tracked = log.is_tracked();
        let score = tracked.then(|| x.grad(&log.clone().sum().backward())).flatten();
        Ok((log.inner(), score.unwrap_or_else(|| x.inner().zeros_like())))
    }

    /// ln Z in nats: 0 for a density that integrates to one; none if unknown.
    fn log_z(&self) -> Option<f64> {
        Some(0.0)
    }

    /// The same function of a single row in double precision, if available; chains then run without tensors.
    fn by_row(&self) -> Option<&dyn RowDensity> {
        None
    }

    /// The conditional distributions of blocks of a row's values, if they can be drawn from.
    fn by_blocks(&self) -> Option<&dyn Blocks> {
        None
    }
}

/// Draws of each block of a row's values from its distribution given the others under γ, as Gibbs sampling needs.
pub trait Blocks: Send + Sync {
    /// The rows `x`, `[n, width]`, after each block has been drawn once. Row i depends on its values and on the random
    /// numbers of row `rows[i]` of `draws` alone.
    ///
    /// # Errors
    /// [`Error::Shape`] if rows do not fit.
    fn sweep(&self, x: Tensor<2>, rows: &[u64], draws: &Draws) -> Result<Tensor<2>>;
}

/// ln γ and ∇ ln γ of a single row in double precision on the host: the form of a density that is a plain function.
/// [`row_by_row`] turns it into a [`LogDensity`].
///
/// ```
/// use tweedie::burn::tensor::{DType, Device, Tensor};
/// use tweedie::data::{Condition, LogDensity, RowDensity, row_by_row};
/// use tweedie::tensor::Dual;
/// /// γ(x) = exp(−x⁴)
/// struct Quartic;
/// impl RowDensity for Quartic {
///     fn log_p(&self, x: &[f64], score: &mut [f64]) -> f64 {
///         score[0] = -4.0 * x[0].powi(3);
///         -x[0].powi(4)
///     }
/// }
/// impl LogDensity for Quartic {
///     fn width(&self) -> usize {
///         1
///     }
///     fn log_density(&self, x: Dual<2>, c: &Condition) -> tweedie::Result<Dual<2>> {
///         row_by_row(self, 1, x, c)
///     }
///     fn by_row(&self) -> Option<&dyn RowDensity> {
///         Some(self)
///     }
///     fn log_z(&self) -> Option<f64> {
///         Some(1.8128049541109541_f64.ln()) // Z = 2 Γ(5/4)
///     }
/// }
/// let x = Tensor::<2>::from_data([[2.0f64]], (&Device::flex(), DType::F64));
/// assert_eq!(Quartic.score(x, &Condition::None)?.into_scalar::<f64>(), -32.0);
/// # Ok::<(), tweedie::Error>(())
/// ```
pub trait RowDensity: Send + Sync {
    /// ln γ of the row `x`; writes its gradient to `score`, as long as `x`. −∞ where p is zero, NaN where ln γ cannot
    /// be computed; chains never move to either.
    fn log_p(&self, x: &[f64], score: &mut [f64]) -> f64;
}

/// ln γ of a batch by a [`RowDensity`] on the host, `[n, 1]` in double precision. Its first derivatives, by `x` and
/// along the tangent of `x`, come from the density's score. `width` is the density's, and no row may have a condition.
///
/// # Errors
/// [`Error::Shape`] if batch or condition do not fit; [`Error::Undefined`] for a second derivative: `x` has a second
/// tangent, or a tangent with automatic differentiation.
pub fn row_by_row(
    density: &dyn RowDensity,
    width: usize,
    x: Dual<2>,
    condition: &Condition,
) -> Result<Dual<2>> {
    unconditional(condition, x.dims()[0])?;
    of_rows(&|_, x, score| density.log_p(x, score), width, x)
}

/// A function that returns ln γ of row `i` of a batch and writes its score to the last argument.
pub(crate) type OfRow<'a> = &'a (dyn Fn(usize, &[f64], &mut [f64]) -> f64 + Sync);

/// ln γ of a batch as by [`row_by_row`], where the density depends on the row's number.
pub(crate) fn of_rows(of_row: OfRow, width: usize, x: Dual<2>) -> Result<Dual<2>> {
    let tracked = x.value.is_tracked();
    if x.second.is_some() || (tracked && x.tangent.is_some()) {
        let why = "it is computed row by row on the host, with first derivatives only";
        return Err(Error::undefined("the second derivative of this log density", why));
    }
    let (log, score) = with_score_of_rows(of_row, width, &x.value)?;
    let along = |v: Tensor<2>| (v.cast(DType::F64) * score.clone()).sum_dim(1);
    // The value is a constant; x − x is zero, with the graph of x.
    let zero = tracked.then(|| along(x.value.clone() - x.value.clone().detach()));
    let value = zero.map_or_else(|| log.clone(), |zero| zero + log.clone());
    Ok(Dual { value, tangent: x.tangent.map(along), second: None })
}

/// ln γ, `[n, 1]`, and the score, `[n, width]`, of a batch in double precision on its device.
pub(crate) fn with_score_of_rows(
    of_row: OfRow,
    width: usize,
    x: &Tensor<2>,
) -> Result<(Tensor<2>, Tensor<2>)> {
    let [n, d] = x.dims();
    rows_of([n, d], width)?;
    let x = x.clone().inner();
    let (log, score) = each(of_row, &doubles(&x)?, width);
    let on_device = |values, shape: [usize; 2]| {
        Tensor::from_data(TensorData::new(values, shape), (&x.device(), DType::F64))
    };
    Ok((on_device(log, [n, 1]), on_device(score, [n, d])))
}

/// The most rows computed in one thread.
const ROWS_OF_A_THREAD: usize = 16;

/// ln γ of each row of `width` values, and their scores.
pub(crate) fn each_row(density: &dyn RowDensity, x: &[f64], width: usize) -> (Vec<f64>, Vec<f64>) {
    each(&|_, x, score| density.log_p(x, score), x, width)
}

fn each(of_row: OfRow, x: &[f64], width: usize) -> (Vec<f64>, Vec<f64>) {
    let mut log = vec![0.0; x.len() / width];
    let mut score = vec![0.0; x.len()];
    if log.len() <= ROWS_OF_A_THREAD {
        let rows = x.chunks(width).zip(score.chunks_mut(width)).zip(&mut log).enumerate();
        rows.for_each(|(i, ((x, score), log))| *log = of_row(i, x, score));
    } else {
        let rows = x.par_chunks(width).zip(score.par_chunks_mut(width)).zip(&mut log);
        let rows = rows.enumerate().with_min_len(ROWS_OF_A_THREAD);
        rows.for_each(|(i, ((x, score), log))| *log = of_row(i, x, score));
    }
    (log, score)
}

/// A batch's values in double precision, row after row.
pub(crate) fn doubles(x: &Tensor<2>) -> Result<Vec<f64>> {
    host_column(x)
}

/// Fails unless no row has a condition.
fn unconditional(condition: &Condition, rows: usize) -> Result<()> {
    condition.check(rows)?;
    match condition {
        Condition::None => Ok(()),
        other => Err(Error::shape("condition", other.kind(), "none: the density has no condition")),
    }
}

/// p(x | c) with a fixed condition c for each row, as a target of chains.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::denoise::{Component, GaussianMixture};
/// use tweedie::data::{Condition, ConditionalDensity, LogDensity};
/// let [left, right] = [-1.0, 1.0].map(|m| Component::isotropic(0.5, vec![m], 0.01));
/// let both = GaussianMixture::new(vec![left.of_class(0), right.of_class(1)])?;
/// let given = ConditionalDensity { density: &both, condition: &Condition::class(1, 1) };
/// let x = Tensor::<2>::from_floats([[0.9]], &Device::flex());
/// let score = given.score(x, &Condition::None)?.cast(tweedie::burn::tensor::DType::F64);
/// assert!((score.into_scalar::<f64>() - 10.0).abs() < 1e-4);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct ConditionalDensity<'a> {
    /// The conditional density.
    pub density: &'a dyn LogDensity,
    /// The condition of each row.
    pub condition: &'a Condition,
}

impl LogDensity for ConditionalDensity<'_> {
    fn width(&self) -> usize {
        self.density.width()
    }

    fn log_density(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        unconditional(condition, x.dims()[0])?;
        self.density.log_density(x, self.condition)
    }

    fn score(&self, x: Tensor<2>, condition: &Condition) -> Result<Tensor<2>> {
        unconditional(condition, x.dims()[0])?;
        self.density.score(x, self.condition)
    }

    fn with_score(&self, x: Tensor<2>, condition: &Condition) -> Result<(Tensor<2>, Tensor<2>)> {
        unconditional(condition, x.dims()[0])?;
        self.density.with_score(x, self.condition)
    }

    fn log_z(&self) -> Option<f64> {
        self.density.log_z()
    }
}
