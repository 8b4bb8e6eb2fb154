//! Monotone rational-quadratic splines.

use crate::kernels::spline::{Direction, Spline, Splines};
use crate::operation::{Array, Binary, OfTwo, apply, input, is_ours};
use burn::tensor::Tensor;
use burn_std::Shape;

/// Maps values x `[n, m]` through monotone rational-quadratic splines, each of its own parameters; gives the m values
/// of a row and then the sum of the logarithms of their slopes, `[n, m + 1]`. None if x is not of single precision on
/// the CPU.
///
/// The parameters `[n, m · P]` have P = [`Spline::parameters`] for each value: of the widths of bins, of their heights,
/// and of slopes. Widths are 2 · bound · softmax(s(u; ½ ln 1000)) of the first, heights of the second, and slopes
/// exp(s(u; ln 1000)) of the third, with the soft bound s(u; B) = u/(1 + |u|/B).
///
/// # Panics
/// If shapes do not fit.
pub fn spline(
    x: Tensor<2>,
    parameters: Tensor<2>,
    of: Spline,
    direction: Direction,
) -> Option<Tensor<2>> {
    is_ours(&x).then(|| apply(OfTwo(Mapping { of, direction }), [input(x), input(parameters)]))
}

#[derive(Debug)]
struct Mapping {
    of: Spline,
    direction: Direction,
}

impl Mapping {
    fn splines(&self, x: &Array, parameters: &Array) -> Splines {
        let ([rows, width], [others, all]) = (x.shape(), parameters.shape());
        let fits = others == rows && width.checked_mul(self.of.parameters()) == Some(all);
        assert!(fits, "{:?} of [{rows}, {width}] values take no [{others}, {all}]", self.of);
        Splines { rows, width, family: self.of, direction: self.direction }
    }
}

impl Binary for Mapping {
    fn shape(&self, [x, parameters]: [&Array; 2]) -> Shape {
        let splines = self.splines(x, parameters);
        [splines.rows, splines.width + 1].into()
    }

    fn forward(&self, [x, parameters]: [&Array; 2], y: &mut [f32]) {
        self.splines(x, parameters).forward(x.values(), parameters.values(), y);
    }

    fn backward(&self, [x, parameters]: [&Array; 2], dy: &[f32], [dx, dp]: [&mut [f32]; 2]) {
        self.splines(x, parameters).backward(x.values(), parameters.values(), dy, dx, dp);
    }
}
