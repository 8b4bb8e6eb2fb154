//! Pointwise functions.

use crate::kernels::activation::{self, Activation};
use crate::kernels::gate;
use crate::operation::{OfOne, Unary, apply, input, is_ours};
use burn::tensor::{Tensor, activation as stock};

/// Applies an activation element by element.
pub fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    if activation == Activation::None {
        return x;
    }
    if is_ours(&x) {
        return apply(OfOne(Pointwise(activation)), [input(x)]);
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
        return apply(OfOne(Gated(activation)), [input(x)]);
    }
    let half = |from| x.clone().narrow(D - 1, from, both / 2);
    activate(half(0), activation) * stock::sigmoid(half(both / 2))
}

#[derive(Debug)]
struct Pointwise(Activation);

impl Unary for Pointwise {
    fn forward(&self, _: usize, x: &[f32], y: &mut [f32]) {
        activation::forward(self.0, x, y);
    }

    fn backward(&self, _: usize, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        activation::backward(self.0, x, dy, dx);
    }
}

#[derive(Debug)]
struct Gated(Activation);

impl Unary for Gated {
    const HALVES: bool = true;

    fn forward(&self, width: usize, x: &[f32], y: &mut [f32]) {
        gate::forward(self.0, width, x, y);
    }

    fn backward(&self, width: usize, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        gate::backward(self.0, width, x, dy, dx);
    }
}
