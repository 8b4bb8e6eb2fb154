//! Affine maps with bounded scales, and smooth bounds.

use crate::kernels::affine::{Affines, bound, bound_backward};
use crate::kernels::spline::Direction;
use crate::operation::{Array, Binary, OfOne, OfTwo, Unary, apply, input, is_ours};
use burn::tensor::Tensor;
use burn_std::Shape;

/// Maps values x `[n, m]` to (x − t) e^(−s) towards noise, or to x eˢ + t towards data; gives the m values of a row and
/// then the sum of the logarithms of their slopes, `[n, m + 1]`. None if x is not of single precision on the CPU.
///
/// The parameters `[n, 2m]` are t of all values, then u of all, with s = B tanh(u/B) for the bound `most`, B.
///
/// # Panics
/// If shapes do not fit, or m is 0.
pub fn affine(
    x: Tensor<2>,
    parameters: Tensor<2>,
    most: f64,
    direction: Direction,
) -> Option<Tensor<2>> {
    let mapping = Mapping { most: most as f32, direction };
    is_ours(&x).then(|| apply(OfTwo(mapping), [input(x), input(parameters)]))
}

/// The value B tanh(x/B), about x for small x and within ±B, for the bound `most`, B.
pub fn bounded<const D: usize>(x: Tensor<D>, most: f64) -> Tensor<D> {
    if is_ours(&x) {
        return apply(OfOne(Bounded(most as f32)), [input(x)]);
    }
    x.mul_scalar(1.0 / most).tanh().mul_scalar(most)
}

#[derive(Debug)]
struct Mapping {
    most: f32,
    direction: Direction,
}

impl Mapping {
    fn maps(&self, x: &Array, parameters: &Array) -> Affines {
        let ([rows, width], [others, all]) = (x.shape(), parameters.shape());
        let fits = others == rows && width.checked_mul(2) == Some(all);
        assert!(fits, "affine maps of [{rows}, {width}] values take no [{others}, {all}]");
        Affines { rows, width, most: self.most, direction: self.direction }
    }
}

impl Binary for Mapping {
    fn shape(&self, [x, parameters]: [&Array; 2]) -> Shape {
        let maps = self.maps(x, parameters);
        [maps.rows, maps.width + 1].into()
    }

    fn forward(&self, [x, parameters]: [&Array; 2], y: &mut [f32]) {
        self.maps(x, parameters).forward(x.values(), parameters.values(), y);
    }

    fn backward(&self, [x, parameters]: [&Array; 2], dy: &[f32], [dx, dp]: [&mut [f32]; 2]) {
        self.maps(x, parameters).backward(x.values(), parameters.values(), dy, dx, dp);
    }
}

#[derive(Debug)]
struct Bounded(f32);

impl Unary for Bounded {
    fn forward(&self, _: usize, x: &[f32], y: &mut [f32]) {
        bound(self.0, x, y);
    }

    fn backward(&self, _: usize, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        bound_backward(self.0, x, dy, dx);
    }
}
