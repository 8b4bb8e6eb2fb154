//! Paths of a pair of processes, and what they weigh.
//!
//! Two Markov chains take the same steps, one forward by q(x_{k+1} | x_k) and one backward by p(x_k | x_{k+1}). A path
//! that one of them draws has under the other the relative density
//!
//! > forward: w = ∏_k p(x_k | x_{k+1}) / q(x_{k+1} | x_k),  backward: w = ∏_k q(x_{k+1} | x_k) / p(x_k | x_{k+1}),
//!
//! which is exact for the chains at steps of any length. It is the discrete form of Girsanov's change of measure (*An
//! Introduction to Generative Modeling with Flows and Diffusion Models*, proof of theorem 6.2). With p(x_K) at the end
//! of forward paths from x_0 its mean is the backward chain's density, E[w p(x_K)] = p(x_0): so log p is bounded and
//! estimated.

use crate::Result;
use crate::process::Noise;
use burn::tensor::{DType, Tensor};

/// A step's distribution, N(mean, variance I) of each row.
#[derive(Debug, Clone)]
pub struct Gaussian {
    /// `[n, width]`.
    pub mean: Tensor<2>,
    /// The variance of every coordinate, positive.
    pub variance: f64,
}

/// A forward and a backward chain over the same steps, x_0 to x_K.
pub trait Pair: Send + Sync {
    /// K.
    fn steps(&self) -> usize;

    /// q(x_{k+1} | x_k) at the rows `x`, k from 0 to K − 1.
    ///
    /// # Errors
    /// The model's.
    fn forward(&self, k: usize, x: &Tensor<2>) -> Result<Gaussian>;

    /// p(x_k | x_{k+1}) at the rows `next`, k from 0 to K − 1.
    ///
    /// # Errors
    /// The model's.
    fn backward(&self, k: usize, next: &Tensor<2>) -> Result<Gaussian>;
}

/// Which of a pair's chains draws a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The forward one, from x_0 to x_K.
    Forward,
    /// The backward one, from x_K to x_0.
    Backward,
}

impl Way {
    fn reversed(self) -> Self {
        match self {
            Self::Forward => Self::Backward,
            Self::Backward => Self::Forward,
        }
    }

    /// The step of this way between x_k and x_{k+1}.
    fn step(self, pair: &dyn Pair, k: usize, x: &Tensor<2>) -> Result<Gaussian> {
        match self {
            Self::Forward => pair.forward(k, x),
            Self::Backward => pair.backward(k, x),
        }
    }
}

/// The ends of one path from each row of `x`, `[n, width]`, and their ln w in nats, `[n, 1]` in double precision; the
/// row that `rows` numbers i has the noise of row i, the j-th step from its start that of step j.
///
/// ```
/// use tweedie::burn::tensor::{DType, Device, Tensor};
/// use tweedie::path::{Gaussian, Pair, Way, weighted_path};
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
///     weighted_path(&Reversible, Way::Forward, x.clone(), &[0], &tweedie::Draws::new(7))?;
/// // ln N(x_0; 0, 1) − ln N(x_K; 0, 1), whatever the path.
/// let right = (end.square() - x.square()).mul_scalar(0.5);
/// assert!((ln_w - right).abs().into_scalar::<f64>() < 1e-12);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// The pair's.
pub fn weighted_path(
    pair: &dyn Pair,
    way: Way,
    mut x: Tensor<2>,
    rows: &[u64],
    noise: &dyn Noise,
) -> Result<(Tensor<2>, Tensor<2>)> {
    let ([n, d], device) = (x.dims(), x.device());
    let mut sums = Tensor::<2>::zeros([n, 1], (&device, DType::F64));
    for step in 0..pair.steps() {
        let k = match way {
            Way::Forward => step,
            Way::Backward => pair.steps() - 1 - step,
        };
        let own = way.step(pair, k, &x)?;
        let noise = noise.normals(step as u64, rows, d).to_tensor(&device).cast(x.dtype());
        let next = own.mean + noise.clone().mul_scalar(own.variance.sqrt());
        let other = way.reversed().step(pair, k, &next)?;
        let back = (x - other.mean).div_scalar(other.variance.sqrt());
        let squares = noise.square() - back.square();
        let constant = d as f64 * (own.variance / other.variance).ln();
        let ratio = squares.sum_dim(1).cast(DType::F64).add_scalar(constant);
        sums = sums + ratio.mul_scalar(0.5);
        x = next;
    }
    Ok((x, sums))
}
