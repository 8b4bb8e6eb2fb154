//! Fully connected networks with a condition: encoders and decoders, energies, generators and critics.

use super::layers::project;
use super::{Activation, ConditionEmbedding, ConditionEmbeddingConfig, Linear, LinearConfig, mlp};
use crate::data::{Condition, Rows};
use crate::error::count;
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// The most hidden layers, and the most units of each.
const MOST_LAYERS: u64 = 64;
const MOST_UNITS: u64 = 1 << 16;

/// Fails, naming `key`, unless these are the widths of hidden layers; an empty list makes the network linear.
pub(crate) fn check_hidden(key: &str, hidden: &[usize]) -> Result<()> {
    if hidden.is_empty() {
        return Ok(());
    }
    count(key, hidden.len() as u64, MOST_LAYERS)?;
    hidden.iter().try_for_each(|units| count(key, *units as u64, MOST_UNITS))
}

/// The sizes of a network: its input, its hidden layers and its output.
pub(crate) struct Sizes<'a> {
    pub input: usize,
    pub hidden: &'a [usize],
    pub output: usize,
    /// The number of classes, and the length of vectors, that rows are conditioned on; 0 for none.
    pub given: [usize; 2],
}

impl Sizes<'_> {
    /// The input and the output of each layer.
    fn layers(&self) -> Vec<(usize, usize)> {
        let inputs = std::iter::once(self.input).chain(self.hidden.iter().copied());
        inputs.zip(self.hidden.iter().copied().chain([self.output])).collect()
    }

    fn condition(&self) -> ConditionEmbeddingConfig {
        let first = self.hidden.first().copied().unwrap_or(self.output);
        ConditionEmbeddingConfig::new(self.given[0], self.given[1], first)
    }

    /// The number of values in the parameters.
    pub fn parameters(&self) -> u128 {
        let linear = |(input, output): (usize, usize)| (input as u128 + 1) * output as u128;
        self.condition().parameters() + self.layers().into_iter().map(linear).sum::<u128>()
    }

    /// The approximate number of activations of a row.
    pub fn activations(&self) -> usize {
        self.input + 2 * self.hidden.iter().sum::<usize>() + self.output
    }

    /// The network with initial values from `draws`, those of the last layer times `gain`.
    pub fn init(
        &self,
        activation: Activation,
        gain: f64,
        draws: &Draws,
        device: &Device,
    ) -> Perceptron {
        let last = self.hidden.len();
        let layer = |(k, (input, output)): (usize, (usize, usize))| {
            let gain = if k == last { gain } else { 1.0 };
            let draws = draws.purpose("linears").at(k as u64);
            LinearConfig::new(input, output).with_gain(gain).init(&draws, device)
        };
        Perceptron {
            linears: self.layers().into_iter().enumerate().map(layer).collect(),
            condition: self.condition().init(&draws.purpose("condition"), device),
            activation,
        }
    }
}

/// An MLP whose first layer also takes the condition.
#[derive(Module, Debug)]
pub(crate) struct Perceptron {
    linears: Vec<Linear>,
    condition: ConditionEmbedding,
    #[module(skip)]
    activation: Activation,
}

impl Perceptron {
    /// The network with other values in the last layer's bias, each with its place.
    pub fn with_outputs(mut self, values: &[(usize, f32)]) -> Result<Self> {
        let last = self.linears.last_mut().and_then(|last| last.bias.as_mut());
        let Some(bias) = last else { return Ok(self) };
        let device = bias.val().device();
        let [count] = bias.dims();
        let mut own = Rows::from_tensor(&bias.val().reshape([1, count]))?;
        values.iter().for_each(|(place, value)| own.values_mut()[*place] = *value);
        *bias = Param::from_tensor(own.to_tensor(&device).reshape([count]));
        Ok(self)
    }

    /// The output for rows `x`, `[n, input]`.
    pub fn forward(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let ([n, _], device) = (x.dims(), x.value.device());
        let last = self.linears.len() - 1;
        let after = |k: usize| (k < last).then_some(self.activation);
        let all: Vec<(&Linear, Option<Activation>)> =
            self.linears.iter().enumerate().map(|(k, linear)| (linear, after(k))).collect();
        let Some(features) = self.condition.forward(condition, n, &device)? else {
            return Ok(mlp(x, &all, None));
        };
        let features = features.linear(|f: Tensor<2>| {
            let [_, width] = f.dims();
            f.expand([n, width])
        });
        let first = self.linears[0].forward_plus(x, features);
        Ok(match after(0) {
            None => first,
            Some(activation) => mlp(activation.forward(first), &all[1..], None),
        })
    }

    /// As [`Perceptron::forward`], with each layer's weights as `weights` changes them.
    pub fn forward_with(
        &self,
        x: Dual<2>,
        condition: &Condition,
        weights: impl Fn(Tensor<2>) -> Tensor<2>,
    ) -> Result<Dual<2>> {
        let ([n, _], device) = (x.dims(), x.value.device());
        let mut features = self.condition.forward(condition, n, &device)?;
        let last = self.linears.len() - 1;
        let layer = |x: Dual<2>, (k, linear): (usize, &Linear)| {
            let y = project(x, weights(linear.weight.val()), linear.bias());
            let y = match features.take() {
                None => y,
                Some(features) => y + features,
            };
            if k < last { self.activation.forward(y) } else { y }
        };
        Ok(self.linears.iter().enumerate().fold(x, layer))
    }
}
