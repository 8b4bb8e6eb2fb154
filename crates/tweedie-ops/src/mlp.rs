//! Linear layers with biases and activations, one or several at a time.

use crate::activate;
use crate::kernels::activation::Activation;
use crate::kernels::mlp::{GradientFlags, Layer, Mlp, Record};
use crate::operation::{Array, Operation, apply, given, input, is_ours};
use crate::pool::Buffer;
use burn::tensor::{Int, Tensor, TensorData, module};
use burn_flex::FlexTensor;
use std::sync::Arc;

/// A linear layer with its activation.
#[derive(Debug, Clone)]
pub struct LinearLayer {
    /// `[out, in]`.
    pub weight: Tensor<2>,
    /// `[out]`.
    pub bias: Option<Tensor<1>>,
    /// Its activation.
    pub activation: Activation,
    /// The number of inputs, the first ones, that each output depends on, if not all: the weights of others count as
    /// zero, whatever they are, and have gradient zero.
    pub reach: Option<Arc<[usize]>>,
}

impl LinearLayer {
    /// The weight with zeros beyond each output's reach.
    pub fn masked_weight(&self) -> Tensor<2> {
        let weight = self.weight.clone();
        let Some(reach) = &self.reach else { return weight };
        let ([output, input], device) = (weight.dims(), weight.device());
        assert_eq!(reach.len(), output, "reaches have another length");
        let ends: Vec<i64> = reach.iter().map(|end| *end as i64).collect();
        let ends = Tensor::<2, Int>::from_data(TensorData::new(ends, [output, 1]), &device);
        let places = Tensor::<1, Int>::arange(0..input as i64, &device).reshape([1, input]);
        weight.mask_fill(places.greater_equal(ends), 0.0)
    }
}

/// Applies f(x Wᵀ + b) of each layer in turn to rows x `[n, in]`, and adds a residual `[n, out]`; gives `[n, out]`.
///
/// Rows go through all layers while they are in the cache. Without a recorded backward pass, values between layers are
/// never in memory.
///
/// # Panics
/// If shapes do not fit.
pub fn mlp(x: Tensor<2>, layers: Vec<LinearLayer>, residual: Option<Tensor<2>>) -> Tensor<2> {
    if !is_ours(&x) || layers.is_empty() {
        let y = layers.into_iter().fold(x, |x, layer| {
            let y = module::linear(x, layer.masked_weight().transpose(), layer.bias);
            activate(y, layer.activation)
        });
        return if let Some(residual) = residual { y + residual } else { y };
    }
    match layers.len() {
        1 => fused::<4>(x, layers, residual),
        2 => fused::<6>(x, layers, residual),
        3 => fused::<8>(x, layers, residual),
        4 => fused::<10>(x, layers, residual),
        5 => fused::<12>(x, layers, residual),
        6 => fused::<14>(x, layers, residual),
        _ => {
            let mut first = layers;
            let rest = first.split_off(6);
            mlp(fused::<14>(x, first, None), rest, residual)
        }
    }
}

/// Computes x Wᵀ + b + r of rows x `[n, in]` with a weight `[out, in]` and a residual r `[n, out]`; gives `[n, out]`.
///
/// # Panics
/// If shapes do not fit.
pub fn linear(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    residual: Option<Tensor<2>>,
) -> Tensor<2> {
    mlp(x, vec![LinearLayer { weight, bias, activation: Activation::None, reach: None }], residual)
}

/// [`mlp`] of at most N/2 − 1 layers: the inputs are x, the residual, and each layer's weight and bias.
fn fused<const N: usize>(
    x: Tensor<2>,
    layers: Vec<LinearLayer>,
    residual: Option<Tensor<2>>,
) -> Tensor<2> {
    let activations = layers.iter().map(|layer| layer.activation).collect();
    let reaches = layers.iter().map(|layer| layer.reach.clone()).collect();
    let mut inputs = [const { None }; N];
    (inputs[0], inputs[1]) = (input(x), residual.and_then(input));
    for (places, layer) in inputs[2..].chunks_exact_mut(2).zip(layers) {
        (places[0], places[1]) = (input(layer.weight), layer.bias.and_then(input));
    }
    apply(Fused { activations, reaches }, inputs)
}

#[derive(Debug)]
struct Fused {
    activations: Vec<Activation>,
    reaches: Vec<Option<Arc<[usize]>>>,
}

/// x, the weights of the layers, and their records for the backward pass.
type Saved = (Array, Vec<Array>, Vec<Record>);

impl Fused {
    /// x, the residual, the weights and the biases.
    fn parts<const N: usize>(
        inputs: [Option<Array>; N],
    ) -> (Array, Option<Array>, Vec<Array>, Vec<Option<Array>>) {
        let mut inputs = inputs.into_iter();
        let (x, residual) = (given(inputs.next().flatten()), inputs.next().flatten());
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        while let (Some(Some(weight)), Some(bias)) = (inputs.next(), inputs.next()) {
            weights.push(weight);
            biases.push(bias);
        }
        (x, residual, weights, biases)
    }

    fn mlp<'a>(&'a self, x: &Array, weights: &'a [Array], biases: &'a [Option<Array>]) -> Mlp<'a> {
        let [rows, input] = x.shape();
        let mut width = input;
        let layer = |(l, weight): (usize, &'a Array)| {
            let [output, input] = weight.shape();
            assert_eq!(width, input, "a layer takes rows as long as those that come to it");
            width = output;
            let bias = biases.get(l).and_then(Option::as_ref).map(Array::values);
            let (weight, activation) = (weight.values(), self.activations[l]);
            Layer { weight, bias, output, activation, reach: self.reaches[l].as_deref() }
        };
        let layers = weights.iter().enumerate().map(layer).collect();
        Mlp { rows, input, layers }
    }
}

/// The buffer of y, and its shape.
fn place(mlp: &Mlp) -> (Buffer, [usize; 2]) {
    let width = mlp.layers.last().map_or(mlp.input, |layer| layer.output);
    (Buffer::new(mlp.rows * width), [mlp.rows, width])
}

impl<const N: usize> Operation<N> for Fused {
    type Saved = Saved;

    fn forward(&self, inputs: [Option<Array>; N]) -> FlexTensor {
        let (x, residual, weights, biases) = Self::parts(inputs);
        let mlp = self.mlp(&x, &weights, &biases);
        let (mut y, shape) = place(&mlp);
        mlp.forward(x.values(), residual.as_ref().map(Array::values), &mut y);
        y.into_tensor(shape)
    }

    fn record(&self, inputs: [Option<Array>; N]) -> (FlexTensor, Saved) {
        let (x, residual, weights, biases) = Self::parts(inputs);
        let mlp = self.mlp(&x, &weights, &biases);
        let (mut y, shape) = place(&mlp);
        let kept = mlp.record(x.values(), residual.as_ref().map(Array::values), &mut y);
        (y.into_tensor(shape), (x, weights, kept))
    }

    fn backward(
        &self,
        (x, weights, kept): Saved,
        dy: Array,
        wanted: [bool; N],
    ) -> [Option<FlexTensor>; N] {
        let mlp = self.mlp(&x, &weights, &[]);
        let count = weights.len();
        let every_second = |first: usize| {
            wanted[first..].iter().step_by(2).take(count).copied().collect::<Vec<_>>()
        };
        let which =
            GradientFlags { input: wanted[0], weights: every_second(2), biases: every_second(3) };
        let found = mlp.backward(x.values(), kept, dy.values(), &which);
        let mut gradients = [const { None }; N];
        gradients[0] = found.input.map(|dx| dx.into_tensor([mlp.rows, mlp.input]));
        let both = found.weights.into_iter().zip(found.biases).zip(mlp.sizes());
        for (places, ((weight, bias), size)) in gradients[2..].chunks_exact_mut(2).zip(both) {
            places[0] = weight.map(|weight| weight.into_tensor([size.output, size.input]));
            places[1] = bias.map(|bias| bias.into_tensor([size.output]));
        }
        gradients[1] = wanted[1].then(|| dy.into_tensor());
        gradients
    }
}
