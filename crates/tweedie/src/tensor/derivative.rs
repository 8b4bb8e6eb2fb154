//! Derivatives of functions over [`Dual`]: products with Jacobians and Hessians, gradients and divergences.
//!
//! Burn differentiates once. A derivative of a derivative is therefore one reverse pass over directional derivatives:
//! ∇(v·∇f) = ∇²f v.

use crate::tensor::{Dual, select_rows};
use crate::{Draws, Error, Result};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// Computes f(x) and J v in one forward pass.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::tensor::jvp;
/// let at = |x| Tensor::<1>::from_floats([x], &Device::flex());
/// let (y, dy) = jvp(|x| Ok(x.square()), at(3.0), at(2.0))?;
/// assert_eq!((y.into_scalar::<f32>(), dy.into_scalar::<f32>()), (9.0, 12.0));
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// The errors of the function.
pub fn jvp<const D: usize, const E: usize>(
    f: impl FnOnce(Dual<D>) -> Result<Dual<E>>,
    x: Tensor<D>,
    v: Tensor<D>,
) -> Result<(Tensor<E>, Tensor<E>)> {
    let Dual { value, tangent, .. } = f(Dual::new(x, v))?;
    Ok((value.clone(), tangent.unwrap_or_else(|| value.zeros_like())))
}

/// Computes f(x) and Jᵀ u in one forward and one backward pass, both outside any graph.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::tensor::vjp;
/// let device = Device::flex();
/// let x = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
/// // f = x₁ + x₂ has Jᵀ u = (u, u).
/// let (_, gradient) = vjp(|x| Ok(x.sum_dim(1)), x, Tensor::<2>::from_floats([[5.0]], &device))?;
/// assert_eq!(gradient.into_data().try_into_vec::<f32>().unwrap(), [5.0, 5.0]);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// The errors of the function.
pub fn vjp<const D: usize, const E: usize>(
    f: impl FnOnce(Dual<D>) -> Result<Dual<E>>,
    x: Tensor<D>,
    u: Tensor<E>,
) -> Result<(Tensor<E>, Tensor<D>)> {
    let x = leaf(x);
    let y = f(x.clone().into())?.value;
    let gradient = pull(&x, y.clone() * u);
    Ok((y.inner(), gradient))
}

/// The gradient ∇f of a function with one output per row (or of the sum of its outputs), with the derivatives that `x`
/// carries, outside any graph. Takes one forward and one backward pass for each.
///
/// Along a path the k-th derivative of ∇f is the gradient of the k-th derivative of f, with the path's own derivatives
/// held fixed: ∇²f ẋ is the gradient of ẋ·∇f.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::tensor::{Dual, gradient};
/// let at = |x| Tensor::<1>::from_floats([x], &Device::flex());
/// let g = gradient(|x: Dual<1>| Ok(x.clone().square() * x), Dual::new(at(2.0), at(1.0)))?; // f = x³
/// assert_eq!(g.value.into_scalar::<f32>(), 12.0); // 3 x²
/// assert_eq!(g.tangent.unwrap().into_scalar::<f32>(), 12.0); // 6 x
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// The errors of the function.
pub fn gradient<const D: usize, const E: usize>(
    f: impl Fn(Dual<D>) -> Result<Dual<E>>,
    x: Dual<D>,
) -> Result<Dual<D>> {
    let pass = |tangent, second, part: fn(Dual<E>) -> Option<Tensor<E>>| {
        let value = leaf(x.value.clone());
        let y = part(f(Dual { value: value.clone(), tangent, second })?);
        Ok::<_, Error>(y.map_or_else(|| value.clone().inner().zeros_like(), |y| pull(&value, y)))
    };
    let [first, second] = [&x.tangent, &x.second].map(|part| part.clone().map(Tensor::inner));
    Ok(Dual {
        value: pass(None, None, |y| Some(y.value))?,
        tangent: first.clone().map(|v| pass(Some(v), None, |y| y.tangent)).transpose()?,
        second: second.map(|s| pass(first, Some(s), |y| y.second)).transpose()?,
    })
}

/// The product ∇²f v for a function with one output per row: one reverse pass over a directional derivative.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::tensor::{Dual, hessian_vector};
/// let at = |x| Tensor::<1>::from_floats([x], &Device::flex());
/// let product = hessian_vector(|x: Dual<1>| Ok(x.square()), at(3.0), at(5.0))?;
/// assert_eq!(product.into_scalar::<f32>(), 10.0);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// The errors of the function.
pub fn hessian_vector<const D: usize, const E: usize>(
    f: impl FnOnce(Dual<D>) -> Result<Dual<E>>,
    x: Tensor<D>,
    v: Tensor<D>,
) -> Result<Tensor<D>> {
    let x = leaf(x);
    let (_, slope) = jvp(f, x.clone(), v)?;
    Ok(pull(&x, slope))
}

/// A copy of `x` as a leaf of a new graph.
pub(crate) fn leaf<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.inner().autodiff().require_grad()
}

/// The gradient of Σ y by x, zero where y does not depend on x.
pub(crate) fn pull<const D: usize, const E: usize>(x: &Tensor<D>, y: Tensor<E>) -> Tensor<D> {
    let found = if y.is_tracked() { x.grad(&y.sum().backward()) } else { None };
    found.unwrap_or_else(|| x.clone().inner().zeros_like())
}

/// The greatest width at which a divergence is exact by default.
const MOST_EXACT: usize = 16;

/// The law of random vectors v with E[v vᵀ] = I, so that E[vᵀ A v] = tr A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// −1 or 1 with probability ½ each: the least variance of independent entries, 2 Σ_{i≠j} A_ij² for symmetric A.
    #[default]
    Rademacher,
    /// Standard normal: variance 2 ‖A‖² for symmetric A.
    Gaussian,
}

impl Probe {
    /// Draws one vector for each of `rows`, in the shape and type of `like`.
    pub fn draw(self, draws: &Draws, rows: &[u64], like: &Tensor<2>) -> Tensor<2> {
        let [_, d] = like.dims();
        let values = match self {
            Probe::Rademacher => draws.signs_for(rows, d),
            Probe::Gaussian => draws.normals_for(rows, d),
        };
        values.to_tensor(&like.device()).cast(like.dtype())
    }
}

/// The method of computing a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Divergence {
    /// One Jacobian–vector product per dimension.
    Exact,
    /// The mean of `probes` products with random vectors (Hutchinson 1990; Grathwohl et al. 2019).
    Hutchinson {
        /// The number of random vectors.
        probes: usize,
        /// The law of the random vectors.
        #[serde(default)]
        law: Probe,
    },
}

impl Divergence {
    /// The estimate by `probes` vectors of random signs.
    pub fn hutchinson(probes: usize) -> Self {
        Divergence::Hutchinson { probes, law: Probe::Rademacher }
    }

    /// The usual method for rows of `width` values: exact up to 16, else by `probes` vectors of random signs.
    pub(crate) fn usual(width: usize, probes: usize) -> Self {
        if width <= MOST_EXACT { Divergence::Exact } else { Divergence::hutchinson(probes) }
    }

    /// The vectors for a batch like `like`; random vectors are the ones that `draws` addresses for `rows`.
    ///
    /// # Errors
    /// [`Error::Config`] for 0 probes.
    pub fn probes(self, draws: &Draws, rows: &[u64], like: &Tensor<2>) -> Result<Probes> {
        let [_, d] = like.dims();
        match self {
            Divergence::Exact if d == 0 => Err(Error::shape("batch", "0 columns", "at least one")),
            Divergence::Exact => {
                let vectors = (0..d).map(|j| unit(j, like)).collect();
                Ok(Probes { vectors, basis: true })
            }
            Divergence::Hutchinson { probes: 0, .. } => {
                Err(Error::config("probes", "0", "at least 1"))
            }
            Divergence::Hutchinson { probes, law } => {
                let draw = |k| law.draw(&draws.at(k), rows, like);
                Ok(Probes { vectors: (0..probes as u64).map(draw).collect(), basis: false })
            }
        }
    }
}

/// The j-th unit vector for every row.
fn unit(j: usize, like: &Tensor<2>) -> Tensor<2> {
    let [n, d] = like.dims();
    let row = (0..d).map(|i| if i == j { 1.0f32 } else { 0.0 }).collect();
    let row = TensorData::new::<f32, _>(row, [1, d]).convert_dtype(like.dtype());
    Tensor::<2>::from_data(row, (&like.device(), like.dtype())).expand([n, d])
}

/// Vectors v for vᵀ A v: the basis, to be summed over, or random vectors, to be averaged over.
#[derive(Debug, Clone)]
pub struct Probes {
    vectors: Vec<Tensor<2>>,
    basis: bool,
}

impl Probes {
    /// The vectors, each `[n, d]`.
    pub fn vectors(&self) -> &[Tensor<2>] {
        &self.vectors
    }

    /// Whether the vectors are the basis.
    pub(crate) fn is_basis(&self) -> bool {
        self.basis
    }

    /// The vectors of the rows with the given indices.
    pub fn select(&self, rows: &[usize]) -> Self {
        let vectors = self.vectors.iter().map(|v| select_rows(v, rows)).collect();
        Self { vectors, basis: self.basis }
    }

    /// The number of columns that [`Probes::gather`] returns.
    pub fn estimates(&self) -> usize {
        if self.basis { 1 } else { self.vectors.len() }
    }

    /// Combines one term per vector, each `[n, 1]`, into independent estimates of the trace, one per column: the sum
    /// over the basis, or one term per random vector.
    pub fn gather(&self, terms: Vec<Tensor<2>>) -> Tensor<2> {
        let terms = Tensor::cat(terms, 1);
        if self.basis { terms.sum_dim(1) } else { terms }
    }
}

/// Computes f(x) and estimates of ∇·f, `[n, estimates]`: one exact column, or vᵀ J v of each random v.
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::tensor::{Divergence, Dual, divergence};
/// let x = Tensor::<2>::from_floats([[3.0, 4.0]], &Device::flex());
/// let probes = Divergence::Exact.probes(&Draws::new(0), &[0], &x)?;
/// let (_, trace) = divergence(|x: Dual<2>| Ok(x.square()), &x, &probes)?;
/// assert_eq!(trace.into_scalar::<f32>(), 14.0); // 2 x₁ + 2 x₂
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// The errors of the function.
pub fn divergence(
    f: impl Fn(Dual<2>) -> Result<Dual<2>>,
    x: &Tensor<2>,
    probes: &Probes,
) -> Result<(Tensor<2>, Tensor<2>)> {
    let (mut value, mut terms) = (x.clone(), Vec::with_capacity(probes.vectors.len()));
    for v in &probes.vectors {
        let (y, dy) = jvp(&f, x.clone(), v.clone())?;
        terms.push((dy * v.clone()).sum_dim(1));
        value = y;
    }
    Ok((value, probes.gather(terms)))
}
