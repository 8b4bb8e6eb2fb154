//! Paths of a pair of Markov chains, and their importance weights.
//!
//! Two Markov chains take the same steps, one forward by q(x_{k+1} | x_k) and one backward by p(x_k | x_{k+1}). A path
//! drawn by one of them has, relative to the other, the density ratio
//!
//! > forward: w = ∏_k p(x_k | x_{k+1}) / q(x_{k+1} | x_k),  backward: w = ∏_k q(x_{k+1} | x_k) / p(x_k | x_{k+1}),
//!
//! which is exact for the chains at steps of any length. It is the discrete form of Girsanov's change of measure (*An
//! Introduction to Generative Modeling with Flows and Diffusion Models*, proof of theorem 6.2). With p(x_K) at the end
//! of forward paths from x_0, the mean weight is the backward chain's density, E[w p(x_K)] = p(x_0); its logarithm
//! yields bounds and estimates of log p.

use crate::Result;
use crate::process::Noise;
use burn::tensor::{DType, Tensor};

/// The distribution of a step: N(mean, variance I) for each row.
#[derive(Debug, Clone)]
pub struct Gaussian {
    /// The means, `[n, width]`.
    pub mean: Tensor<2>,
    /// The variance of every coordinate, positive.
    pub variance: f64,
}

/// A forward and a backward chain over the same steps, x_0 to x_K.
pub trait Pair: Send + Sync {
    /// The number K of steps.
    fn steps(&self) -> usize;

    /// q(x_{k+1} | x_k) at the rows `x`, `[n, width]`; k from 0 to K − 1.
    ///
    /// # Errors
    /// Errors of the model.
    fn forward(&self, k: usize, x: &Tensor<2>) -> Result<Gaussian>;

    /// p(x_k | x_{k+1}) at the rows `next`, `[n, width]`; k from 0 to K − 1.
    ///
    /// # Errors
    /// Errors of the model.
    fn backward(&self, k: usize, next: &Tensor<2>) -> Result<Gaussian>;
}

/// The direction of a path: which chain of a pair draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The forward chain, from x_0 to x_K.
    Forward,
    /// The backward chain, from x_K to x_0.
    Backward,
}

impl Direction {
    fn reversed(self) -> Self {
        match self {
            Self::Forward => Self::Backward,
            Self::Backward => Self::Forward,
        }
    }

    /// The distribution of the step between x_k and x_{k+1} in this direction, from `x`.
    fn step(self, pair: &dyn Pair, k: usize, x: &Tensor<2>) -> Result<Gaussian> {
        match self {
            Self::Forward => pair.forward(k, x),
            Self::Backward => pair.backward(k, x),
        }
    }
}

/// Draws one path from each row of `x`, `[n, width]`. Returns the paths' ends, `[n, width]`, and ln w in nats, `[n, 1]`
/// in double precision. Row i uses the noise of row `rows[i]` of `draws`, its j-th step the noise of index j.
///
/// ```
/// use tweedie::burn::tensor::{DType, Device, Tensor};
/// use tweedie::path::{Direction, Gaussian, Pair, weighted_path};
/// /// x_{k+1} = 0.6 x_k + 0.8 z, which keeps N(0, 1) and is its own reverse.
/// struct Reversible;
/// impl Pair for Reversible {
///     fn steps(&self) -> usize {
///         5
///     }
///     fn forward(&self, _: usize, x: &Tensor<2>) -> tweedie::Result<Gaussian> {
///         Ok(Gaussian { mean: x.clone().mul_scalar(0.6), variance: 0.64 })
///     }
///     fn backward(&self, k: usize, next: &Tensor<2>) -> tweedie::Result<Gaussian> {
///         self.forward(k, next)
///     }
/// }
/// let x = Tensor::<2>::from_data([[1.3f64]], (&Device::flex(), DType::F64));
/// let (end, ln_w) =
///     weighted_path(&Reversible, Direction::Forward, x.clone(), &[0], &tweedie::Draws::new(7))?;
/// // ln N(x_0; 0, 1) − ln N(x_K; 0, 1), whatever the path.
/// let right = (end.square() - x.square()).mul_scalar(0.5);
/// assert!((ln_w - right).abs().into_scalar::<f64>() < 1e-12);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// Errors of the pair.
pub fn weighted_path(
    pair: &dyn Pair,
    direction: Direction,
    mut x: Tensor<2>,
    rows: &[u64],
    noise: &dyn Noise,
) -> Result<(Tensor<2>, Tensor<2>)> {
    let ([n, d], device) = (x.dims(), x.device());
    let mut sums = Tensor::<2>::zeros([n, 1], (&device, DType::F64));
    for step in 0..pair.steps() {
        let k = match direction {
            Direction::Forward => step,
            Direction::Backward => pair.steps() - 1 - step,
        };
        let own = direction.step(pair, k, &x)?;
        let noise = noise.normals(step as u64, rows, d).to_tensor(&device).cast(x.dtype());
        let next = own.mean + noise.clone().mul_scalar(own.variance.sqrt());
        let other = direction.reversed().step(pair, k, &next)?;
        let back = (x - other.mean).div_scalar(other.variance.sqrt());
        let squares = noise.square() - back.square();
        let constant = d as f64 * (own.variance / other.variance).ln();
        let ratio = squares.sum_dim(1).cast(DType::F64).add_scalar(constant);
        sums = sums + ratio.mul_scalar(0.5);
        x = next;
    }
    Ok((x, sums))
}
