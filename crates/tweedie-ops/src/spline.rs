//! Monotone rational-quadratic splines.

use crate::kernels::spline::{Direction, Spline, Splines};
use crate::operation::{Array, Operation, apply, given, input, is_ours};
use crate::pool::Buffer;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

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
    is_ours(&x).then(|| apply(Mapping { of, direction }, [input(x), input(parameters)]))
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

    fn run(&self, inputs: [Option<Array>; 2]) -> (FlexTensor, [Array; 2]) {
        let [x, parameters] = inputs.map(given);
        let splines = self.splines(&x, &parameters);
        let shape = [splines.rows, splines.width + 1];
        let mut y = Buffer::new(splines.rows * (splines.width + 1));
        splines.forward(x.values(), parameters.values(), &mut y);
        (y.into_tensor(shape), [x, parameters])
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
        let splines = self.splines(&x, &parameters);
        let [mut dx, mut dp] = [&x, &parameters].map(|input| Buffer::new(input.values().len()));
        splines.backward(x.values(), parameters.values(), dy.values(), &mut dx, &mut dp);
        [(dx, &x), (dp, &parameters)].map(|(d, input)| Some(d.into_tensor(input.all_sizes())))
    }
}
