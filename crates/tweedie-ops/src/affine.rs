//! Affine maps with bounded scales, and smooth bounds.

use crate::kernels::affine::{Affines, bound, bound_backward};
use crate::kernels::spline::Direction;
use crate::operation::{Array, OfOne, Operation, Unary, apply, given, input, is_ours};
use crate::pool::Buffer;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

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
    is_ours(&x).then(|| apply(mapping, [input(x), input(parameters)]))
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

    fn run(&self, inputs: [Option<Array>; 2]) -> (FlexTensor, [Array; 2]) {
        let [x, parameters] = inputs.map(given);
        let maps = self.maps(&x, &parameters);
        let mut y = Buffer::new(maps.rows * (maps.width + 1));
        maps.forward(x.values(), parameters.values(), &mut y);
        (y.into_tensor([maps.rows, maps.width + 1]), [x, parameters])
    }
}

impl Operation<2> for Mapping {
    type Saved = [Array; 2];

    fn forward(&self, inputs: [Option<Array>; 2]) -> FlexTensor {
        self.run(inputs).0
    }

    fn record(&self, inputs: [Option<Array>; 2]) -> (FlexTensor, [Array; 2]) {
        self.run(inputs)
    }

    fn backward(
        &self,
        [x, parameters]: [Array; 2],
        dy: Array,
        _wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let maps = self.maps(&x, &parameters);
        let [mut dx, mut dp] = [&x, &parameters].map(|input| Buffer::new(input.values().len()));
        maps.backward(x.values(), parameters.values(), dy.values(), &mut dx, &mut dp);
        [(dx, &x), (dp, &parameters)].map(|(d, input)| Some(d.into_tensor(input.all_sizes())))
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
