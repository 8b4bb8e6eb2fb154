//! Resizing of channels-last pictures `[n, h, w, c]`, and concatenation of channels.

use crate::kernels::resize::{self, Pictures};
use crate::operation::{Array, Operation, apply, given, input, is_ours};
use crate::pool::Buffer;
use burn::tensor::{Tensor, module, ops::AvgPoolOptions};
use burn_flex::FlexTensor;

/// Doubles height and width, by nearest neighbours.
pub fn double(x: Tensor<4>) -> Tensor<4> {
    if is_ours(&x) {
        return apply(Resize::Double, [input(x)]);
    }
    let [n, h, w, c] = x.dims();
    let x = x.reshape([n, h, 1, w, 1, c]).expand([n, h, 2, w, 2, c]);
    x.reshape([n, 2 * h, 2 * w, c])
}

/// Halves height and width, by means of 2 × 2 pixels; an odd last row or column is left out.
pub fn halve(x: Tensor<4>) -> Tensor<4> {
    if is_ours(&x) {
        return apply(Resize::Halve, [input(x)]);
    }
    let y = module::avg_pool2d(x.permute([0, 3, 1, 2]), AvgPoolOptions::new([2, 2]));
    y.permute([0, 2, 3, 1])
}

/// Concatenates the channels of x and z.
///
/// # Panics
/// If another dimension than the last differs.
pub fn join<const D: usize>(x: Tensor<D>, z: Tensor<D>) -> Tensor<D> {
    let (a, b) = (x.dims(), z.dims());
    assert_eq!(a[..D - 1], b[..D - 1], "tensors to be joined differ in their channels only");
    if is_ours(&x) && a.iter().chain(&b).all(|&size| size > 0) {
        return apply(Join([a[D - 1], b[D - 1]]), [input(x), input(z)]);
    }
    Tensor::cat(vec![x, z], D - 1)
}

#[derive(Debug, Clone, Copy)]
enum Resize {
    Double,
    Halve,
}

impl Resize {
    fn run(self, x: &Array) -> FlexTensor {
        let shape = pictures(x.shape());
        let to = match self {
            Self::Double => shape.doubled(),
            Self::Halve => shape.halved(),
        };
        let mut y = Buffer::new(to.len());
        match self {
            Self::Double => resize::double(shape, x.values(), &mut y),
            Self::Halve => resize::halve(shape, x.values(), &mut y),
        }
        y.into_tensor([to.samples, to.height, to.width, to.channels])
    }
}

fn pictures([samples, height, width, channels]: [usize; 4]) -> Pictures {
    Pictures { samples, height, width, channels }
}

impl Operation<1> for Resize {
    /// The sizes of x.
    type Saved = [usize; 4];

    fn forward(&self, [x]: [Option<Array>; 1]) -> FlexTensor {
        self.run(&given(x))
    }

    fn record(&self, [x]: [Option<Array>; 1]) -> (FlexTensor, [usize; 4]) {
        let x = given(x);
        (self.run(&x), x.shape())
    }

    fn backward(&self, sizes: [usize; 4], dy: Array, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let shape = pictures(sizes);
        let mut dx = Buffer::new(shape.len());
        match self {
            Self::Double => resize::double_backward(shape, dy.values(), &mut dx),
            Self::Halve => resize::halve_backward(shape, dy.values(), &mut dx),
        }
        [Some(dx.into_tensor(sizes))]
    }
}

/// The numbers of channels of x and z.
#[derive(Debug)]
struct Join([usize; 2]);

impl Operation<2> for Join {
    type Saved = ();

    fn forward(&self, inputs: [Option<Array>; 2]) -> FlexTensor {
        let [x, z] = inputs.map(given);
        let mut y = Buffer::new(x.values().len() + z.values().len());
        resize::join(self.0, x.values(), z.values(), &mut y);
        let mut shape = x.all_sizes();
        let last = shape.num_dims() - 1;
        shape[last] = self.0[0] + self.0[1];
        y.into_tensor(shape)
    }

    fn record(&self, inputs: [Option<Array>; 2]) -> (FlexTensor, ()) {
        (self.forward(inputs), ())
    }

    fn backward(&self, (): (), dy: Array, _wanted: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let mut shape = dy.all_sizes();
        let last = shape.num_dims() - 1;
        let rows = dy.values().len() / (self.0[0] + self.0[1]);
        let [mut dx, mut dz] = self.0.map(|channels| Buffer::new(rows * channels));
        resize::part(self.0, dy.values(), &mut dx, &mut dz);
        let mut tensor = |side: Buffer, channels: usize| {
            shape[last] = channels;
            side.into_tensor(shape.clone())
        };
        [Some(tensor(dx, self.0[0])), Some(tensor(dz, self.0[1]))]
    }
}
