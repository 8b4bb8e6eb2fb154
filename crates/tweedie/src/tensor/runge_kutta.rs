//! Integration of dy/dt = f(t, y) over [`Dual`], with its derivatives of every kind.
//!
//! The classical Runge–Kutta method in equal steps h (Hairer, Nørsett & Wanner 1993, *Solving ordinary differential
//! equations I*, II.1),
//!
//! > y ← y + h/6 (k₁ + 2 k₂ + 2 k₃ + k₄),  k₁ = f(t, y),  k₂ = f(t + h/2, y + h/2 k₁),
//! > k₃ = f(t + h/2, y + h/2 k₂),  k₄ = f(t + h, y + h k₃),
//!
//! has an error of order h⁴; steps that are chosen for each row are those of [`integrate_adaptive`].

use super::{Dual, Tolerance, integrate_adaptive};
use crate::Result;
use burn::tensor::Tensor;

/// An evaluation of f by the classical Runge–Kutta method.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage {
    /// The time t of the evaluation.
    pub time: f64,
    /// The factor of f in the sum over the step: h/6 or h/3, negative backwards in time.
    pub weight: f64,
}

/// Integrates dy/dt = f from time `from` to `to` in `steps` equal steps of four evaluations each. Returns y at `to`, in
/// the shape of `y`.
///
/// # Errors
/// The errors of `f`.
pub(crate) fn runge_kutta(
    mut f: impl FnMut(Stage, Dual<2>) -> Result<Dual<2>>,
    mut y: Dual<2>,
    (from, to): (f64, f64),
    steps: usize,
) -> Result<Dual<2>> {
    let step = (to - from) / steps as f64;
    let (outer, inner) = (step / 6.0, step / 3.0);
    let mut at = |time, weight, y| f(Stage { time, weight }, y);
    for k in 0..steps {
        let start = k as f64 * step + from;
        let (half, end) = (start + 0.5 * step, start + step);
        let k1 = at(start, outer, y.clone())?;
        let k2 = at(half, inner, y.clone() + k1.clone().mul_scalar(0.5 * step))?;
        let k3 = at(half, inner, y.clone() + k2.clone().mul_scalar(0.5 * step))?;
        let k4 = at(end, outer, y.clone() + k3.clone().mul_scalar(step))?;
        y = y + (k1 + (k2 + k3).mul_scalar(2.0) + k4).mul_scalar(outer);
    }
    Ok(y)
}

/// Integrates dy/dt = f from time `from` to `to` by [`integrate_adaptive`], with the tolerance for values and their
/// derivatives along a path alike.
///
/// # Errors
/// As [`integrate_adaptive`].
pub(crate) fn integrate_dual(
    mut f: impl FnMut(&[usize], &[f64], Dual<2>) -> Result<Dual<2>>,
    y: Dual<2>,
    (from, to): (f64, f64),
    tolerance: Tolerance,
) -> Result<Dual<2>> {
    let ([n, width], orders) = (y.dims(), orders(&y));
    let unpack = |all: Tensor<2>| {
        let part =
            |order: usize| (order < orders).then(|| all.clone().narrow(1, order * width, width));
        let (tangent, second) = (part(1), part(2));
        Dual { value: all.narrow(1, 0, width), tangent, second }
    };
    let rates = |active: &[usize], times: &[f64], y| Ok(pack(f(active, times, unpack(y))?, orders));
    let start = pack(y, orders);
    let end = integrate_adaptive(rates, start, &vec![from; n], &vec![to; n], tolerance)?;
    Ok(unpack(end))
}

/// The number of derivatives along a path that a value carries, and one.
fn orders(y: &Dual<2>) -> usize {
    1 + usize::from(y.tangent.is_some()) + usize::from(y.second.is_some())
}

/// A value and its derivatives up to `orders` side by side, 0 where they are absent.
fn pack(y: Dual<2>, orders: usize) -> Tensor<2> {
    if orders == 1 {
        return y.value;
    }
    let zeros = y.value.zeros_like();
    let parts = [Some(y.value), y.tangent, y.second].into_iter().take(orders);
    Tensor::cat(parts.map(|part| part.unwrap_or_else(|| zeros.clone())).collect(), 1)
}
