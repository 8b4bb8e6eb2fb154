//! Trainable functionals of a gradient: φ(∇ₓf), differentiable by the weights of f.
//!
//! Burn differentiates once. The vector u = ∂φ/∂(∇ₓf) is computed first, by a copy of f whose weights are outside the
//! graph, and held fixed; then u·∇ₓf, a directional derivative, has the gradient of φ by the weights.

use super::Loss;
use crate::Result;
use crate::tensor::{Dual, gradient, jvp, leaf, pull};
use burn::tensor::Tensor;

/// Computes φ(∇ₓf) for each row, `[n, 1]`, for a function f with one output per row. The surrogate has the gradient of
/// φ by the weights of `live`.
///
/// `frozen` is the same function with its weights outside the graph ([`burn::module::Module::valid`]); φ maps `[n, d]`
/// to `[n, 1]`.
///
/// # Errors
/// The errors of the functions.
pub fn of_gradient(
    frozen: impl Fn(Dual<2>) -> Result<Dual<2>>,
    live: impl FnOnce(Dual<2>) -> Result<Dual<2>>,
    x: Tensor<2>,
    phi: impl FnOnce(Tensor<2>) -> Tensor<2>,
) -> Result<Loss> {
    let g = leaf(gradient(frozen, x.clone().into())?.value);
    let value = phi(g.clone());
    let u = pull(&g, value.clone());
    Ok(Loss { value: value.inner(), surrogate: jvp(live, x, u)?.1 })
}

/// The gradient penalty (‖∇ₓf‖ − `target`)² of each row (Gulrajani et al. 2017, eq. 3, with target 1), by
/// [`of_gradient`].
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::tensor::Dual;
/// use tweedie::objective::grad_norm_penalty;
/// let x = Tensor::<2>::from_floats([[3.0, 4.0]], &Device::flex());
/// let critic = |x: Dual<2>| Ok(x.square().sum_dim(1)); // ∇f = 2 x, of norm 10
/// let loss = grad_norm_penalty(critic, critic, x, 1.0)?;
/// assert!((loss.value.into_scalar::<f32>() - 81.0).abs() < 1e-4);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// The errors of the functions.
pub fn grad_norm_penalty(
    frozen: impl Fn(Dual<2>) -> Result<Dual<2>>,
    live: impl FnOnce(Dual<2>) -> Result<Dual<2>>,
    x: Tensor<2>,
    target: f64,
) -> Result<Loss> {
    // The derivative of this root is finite at a gradient of zero.
    let norm = |g: Tensor<2>| g.square().sum_dim(1).add_scalar(1e-12).sqrt();
    of_gradient(frozen, live, x, |g| norm(g).sub_scalar(target).square())
}
