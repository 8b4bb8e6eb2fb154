//! Pointwise functions.

use crate::kernels::activation::{self, Activation};
use crate::kernels::gate;
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

/// The gated activation f(a) σ(b) of the halves a and b of the last dimension, `[…, 2 width]` ↦ `[…, width]`, with the
/// logistic function σ.
///
/// # Panics
/// If the last dimension is odd.
pub fn gate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    let both = x.dims()[D - 1];
    assert_eq!(both % 2, 0, "the last dimension has two halves");
    if is_ours(&x) {
        return apply(Gated(activation), [input(x)]);
    }
    let half = |from| x.clone().narrow(D - 1, from, both / 2);
    activate(half(0), activation) * stock::sigmoid(half(both / 2))
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

#[derive(Debug)]
struct Gated(Activation);

impl Gated {
    /// The width of a half.
    fn width(x: &Array) -> usize {
        x.all_sizes().last().map_or(0, |both| both / 2)
    }

    fn run(&self, x: &Array) -> FlexTensor {
        let mut y = Buffer::new(x.values().len() / 2);
        let mut shape = x.all_sizes();
        if let Some(last) = shape.last_mut() {
            *last /= 2;
        }
        gate::forward(self.0, Self::width(x), x.values(), &mut y);
        y.into_tensor(shape)
    }
}

impl Operation<1> for Gated {
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
        gate::backward(self.0, Self::width(&x), x.values(), dy.values(), &mut dx);
        [Some(dx.into_tensor(x.all_sizes()))]
    }
}
