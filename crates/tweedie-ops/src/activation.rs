//! Pointwise functions.

use crate::kernels::activation::{self, Activation};
use crate::operation::{Array, Operation, apply, given, input, is_ours};
use crate::pool::Buffer;
use burn::tensor::{Tensor, activation as stock};
use burn_flex::FlexTensor;

/// Applies an activation element by element.
pub fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    if activation == Activation::None {
        return x;
    }
    if is_ours(&x) {
        return apply(Pointwise(activation), [input(x)]);
    }
    match activation {
        Activation::None => x,
        Activation::Relu => stock::relu(x),
        Activation::Silu => stock::silu(x),
        Activation::Gelu => stock::gelu(x),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => stock::sigmoid(x),
        Activation::Softplus => stock::softplus(x, 1.0),
        Activation::Exp => x.exp(),
    }
}

#[derive(Debug)]
struct Pointwise(Activation);

impl Pointwise {
    fn run(&self, x: &Array) -> FlexTensor {
        let mut y = Buffer::new(x.values().len());
        activation::forward(self.0, x.values(), &mut y);
        y.into_tensor(x.all_sizes())
    }
}

impl Operation<1> for Pointwise {
    type Saved = Array;

    fn forward(&self, [x]: [Option<Array>; 1]) -> FlexTensor {
        self.run(&given(x))
    }

    fn record(&self, [x]: [Option<Array>; 1]) -> (FlexTensor, Array) {
        let x = given(x);
        (self.run(&x), x)
    }

    fn backward(&self, x: Array, dy: Array, _wanted: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let mut dx = Buffer::new(x.values().len());
        activation::backward(self.0, x.values(), dy.values(), &mut dx);
        [Some(dx.into_tensor(x.all_sizes()))]
    }
}
