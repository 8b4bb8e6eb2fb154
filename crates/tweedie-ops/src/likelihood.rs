//! Logarithms of sums of exponentials, and log-likelihoods of integers by logits.

use crate::kernels::likelihood::{self as kernels, LogisticMixture};
use crate::operation::{Array, Operation, apply, given, input, is_ours};
use crate::pool::Buffer;
use burn::tensor::{Tensor, activation};
use burn_flex::FlexTensor;
use burn_std::Shape;

/// ln Σ eˣ over the last dimension, which stays with length 1.
///
/// # Panics
/// If the last dimension has length 0.
pub fn log_sum_exp<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if is_ours(&x) {
        return apply(LogSumExp, [input(x)]);
    }
    let most = x.clone().detach().max_dim(D - 1);
    (x - most.clone()).exp().sum_dim(D - 1).log() + most
}

/// The log-likelihood x v − ln(1 + eˣ) of v in {0, 1} by its logit x, element by element.
///
/// # Panics
/// If the shapes differ.
pub fn bernoulli<const D: usize>(logits: Tensor<D>, v: Tensor<D>) -> Tensor<D> {
    assert_eq!(logits.dims(), v.dims(), "each value has a logit");
    if is_ours(&logits) {
        return apply(Bernoulli, [input(logits), input(v)]);
    }
    logits.clone() * v - activation::softplus(logits, 1.0)
}

/// The log-likelihood of each of the values x `[n, m]` by its parameters `[n, m, 3 components]`, whose gradient is by
/// the parameters alone. None if x is not of single precision on the CPU.
///
/// # Panics
/// If shapes do not fit, or there are no components.
pub fn logistic_mixture(
    x: Tensor<2>,
    parameters: Tensor<3>,
    mixture: LogisticMixture,
) -> Option<Tensor<2>> {
    is_ours(&x).then(|| apply(Mixture(mixture), [input(x), input(parameters)]))
}

#[derive(Debug)]
struct LogSumExp;

impl LogSumExp {
    fn run(x: &Array) -> (FlexTensor, usize) {
        let mut shape = x.all_sizes();
        let width = shape.last_mut().map_or(1, |last| std::mem::replace(last, 1));
        assert!(width > 0, "a sum has terms");
        let mut y = Buffer::new(x.values().len() / width);
        kernels::log_sum_exp(width, x.values(), &mut y);
        (y.into_tensor(shape), width)
    }
}

impl Operation<1> for LogSumExp {
    type Saved = (Array, Array, usize);

    fn forward(&self, [x]: [Option<Array>; 1]) -> FlexTensor {
        Self::run(&given(x)).0
    }

    fn record(&self, [x]: [Option<Array>; 1]) -> (FlexTensor, Self::Saved) {
        let x = given(x);
        let (y, width) = Self::run(&x);
        (y.clone(), (x, Array::new(y), width))
    }

    fn backward(
        &self,
        (x, y, width): Self::Saved,
        dy: Array,
        _wanted: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        let mut dx = Buffer::new(x.values().len());
        kernels::log_sum_exp_backward(width, x.values(), y.values(), dy.values(), &mut dx);
        [Some(dx.into_tensor(x.all_sizes()))]
    }
}

#[derive(Debug)]
struct Bernoulli;

/// An output for each value of `like`, written by `fill`.
fn filled(like: &Array, shape: Shape, fill: impl FnOnce(&mut [f32])) -> FlexTensor {
    let mut y = Buffer::new(like.values().len());
    fill(&mut y);
    y.into_tensor(shape)
}

impl Operation<2> for Bernoulli {
    type Saved = [Array; 2];

    fn forward(&self, inputs: [Option<Array>; 2]) -> FlexTensor {
        self.record(inputs).0
    }

    fn record(&self, inputs: [Option<Array>; 2]) -> (FlexTensor, [Array; 2]) {
        let [logits, v] = inputs.map(given);
        let run = |y: &mut [f32]| kernels::bernoulli(logits.values(), v.values(), y);
        (filled(&logits, logits.all_sizes(), run), [logits, v])
    }

    fn backward(
        &self,
        [logits, v]: [Array; 2],
        dy: Array,
        _wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let [mut dlogits, mut dv] = [&logits, &v].map(|x| Buffer::new(x.values().len()));
        let (x, levels) = (logits.values(), v.values());
        kernels::bernoulli_backward(x, levels, dy.values(), &mut dlogits, &mut dv);
        [(dlogits, &logits), (dv, &v)].map(|(d, x)| Some(d.into_tensor(x.all_sizes())))
    }
}

#[derive(Debug)]
struct Mixture(LogisticMixture);

impl Operation<2> for Mixture {
    type Saved = [Array; 2];

    fn forward(&self, inputs: [Option<Array>; 2]) -> FlexTensor {
        self.record(inputs).0
    }

    fn record(&self, inputs: [Option<Array>; 2]) -> (FlexTensor, [Array; 2]) {
        let [x, parameters] = inputs.map(given);
        let run = |y: &mut [f32]| self.0.forward(x.values(), parameters.values(), y);
        (filled(&x, x.all_sizes(), run), [x, parameters])
    }

    fn backward(
        &self,
        [x, parameters]: [Array; 2],
        dy: Array,
        _wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let (p, dy) = (parameters.values(), dy.values());
        let run = |dp: &mut [f32]| self.0.backward(x.values(), p, dy, dp);
        [None, Some(filled(&parameters, parameters.all_sizes(), run))]
    }
}
