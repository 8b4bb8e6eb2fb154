//! Logarithms of sums of exponentials, and log-likelihoods of integers by logits.

use crate::kernels::likelihood::{self as kernels, Draws, LogisticMixture};
use crate::operation::{Array, Binary, OfTwo, Operation, apply, given, input, is_ours};
use crate::pool::Buffer;
use burn::tensor::{Tensor, activation};
use burn_flex::FlexTensor;
use burn_std::Shape;

/// ln Σ eˣ over the last dimension, which stays with length 1.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let x = Tensor::<2>::from_floats([[0.0, 0.0], [500.0, 500.0]], &Device::flex());
/// let sums = tweedie_ops::log_sum_exp(x).to_data().try_into_vec::<f32>().unwrap();
/// assert!((sums[0] - 2f32.ln()).abs() < 1e-6 && (sums[1] - 500.0 - 2f32.ln()).abs() < 1e-4);
/// ```
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
/// ```
/// use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let logits = Tensor::<1>::from_floats([0.0, 3f32.ln()], &device);
/// let log_p = tweedie_ops::bernoulli(logits, Tensor::from_floats([1.0, 1.0], &device));
/// let p = log_p.exp().to_data().try_into_vec::<f32>().unwrap(); // ½ and ¾
/// assert!((p[0] - 0.5).abs() < 1e-6 && (p[1] - 0.75).abs() < 1e-6);
/// ```
///
/// # Panics
/// If the shapes differ.
pub fn bernoulli<const D: usize>(logits: Tensor<D>, v: Tensor<D>) -> Tensor<D> {
    assert_eq!(logits.dims(), v.dims(), "each value has a logit");
    if is_ours(&logits) {
        return apply(OfTwo(Bernoulli), [input(logits), input(v)]);
    }
    logits.clone() * v - activation::softplus(logits, 1.0)
}

/// Log-likelihoods of rows of zeros and ones under several Bernoulli distributions each, such as the draws of a
/// decoder: Σ_j x_j v_j − ln(1 + e^{x_j}), `[n · draws, 1]`.
///
/// `v` are the rows, `[n, width]`, and `logits` the logits x, `[n · draws, width]`: all draws of the first row, then
/// those of the second, and so on. Rows are not copied for their draws. The gradient is by the logits alone.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let logits = Tensor::<2>::from_floats([[0.0, 0.0], [3f32.ln(), 0.0]], &device);
/// let log_p = tweedie_ops::bernoulli_rows(Tensor::from_floats([[1.0, 0.0]], &device), logits);
/// let p = log_p.exp().to_data().try_into_vec::<f32>().unwrap(); // ½ · ½ and ¾ · ½
/// assert!((p[0] - 0.25).abs() < 1e-6 && (p[1] - 0.375).abs() < 1e-6);
/// ```
///
/// # Panics
/// If rows are empty, their widths differ, or some rows of values have more rows of logits than others.
pub fn bernoulli_rows(v: Tensor<2>, logits: Tensor<2>) -> Tensor<2> {
    let ([n, width], [all, of_logits]) = (v.dims(), logits.dims());
    assert_eq!(width, of_logits, "each value has a logit");
    assert!(n > 0 && width > 0 && all.is_multiple_of(n), "each row has as many rows of logits");
    if is_ours(&logits) {
        return apply(OfTwo(BernoulliRows), [input(v), input(logits)]);
    }
    let draws = all / n;
    let v = v.reshape([n, 1, width]).expand([n, draws, width]).reshape([all, width]);
    bernoulli(logits, v).sum_dim(1)
}

/// The log-likelihood `[n, m]` of each of the values x `[n, m]`, centres of bins, by its parameters
/// `[n, m, 3 components]` (Salimans et al. 2017, *PixelCNN++*, eqs. 1–2, exactly). Its gradient is by the parameters
/// alone. None if x is not of single precision on the CPU.
///
/// # Panics
/// If shapes do not fit, or there are no components.
pub fn logistic_mixture(
    x: Tensor<2>,
    parameters: Tensor<3>,
    mixture: LogisticMixture,
) -> Option<Tensor<2>> {
    is_ours(&x).then(|| apply(OfTwo(mixture), [input(x), input(parameters)]))
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

impl Binary for Bernoulli {
    fn shape(&self, [logits, _]: [&Array; 2]) -> Shape {
        logits.all_sizes()
    }

    fn forward(&self, [logits, v]: [&Array; 2], y: &mut [f32]) {
        kernels::bernoulli(logits.values(), v.values(), y);
    }

    fn backward(&self, [logits, v]: [&Array; 2], dy: &[f32], [dlogits, dv]: [&mut [f32]; 2]) {
        kernels::bernoulli_backward(logits.values(), v.values(), dy, dlogits, dv);
    }
}

#[derive(Debug)]
struct BernoulliRows;

impl BernoulliRows {
    /// The widths of the rows, and how many rows of logits each row of values has.
    fn draws([v, logits]: [&Array; 2]) -> Draws {
        let (v, logits) = (v.all_sizes(), logits.all_sizes());
        Draws { width: v[1], draws: logits[0] / v[0] }
    }
}

impl Binary for BernoulliRows {
    const BOTH: bool = false;

    fn shape(&self, [_, logits]: [&Array; 2]) -> Shape {
        Shape::from([logits.all_sizes()[0], 1])
    }

    fn forward(&self, [v, logits]: [&Array; 2], y: &mut [f32]) {
        kernels::bernoulli_rows(Self::draws([v, logits]), v.values(), logits.values(), y);
    }

    fn backward(&self, [v, logits]: [&Array; 2], dy: &[f32], [_, dlogits]: [&mut [f32]; 2]) {
        let of = Self::draws([v, logits]);
        kernels::bernoulli_rows_backward(of, v.values(), logits.values(), dy, dlogits);
    }
}

impl Binary for LogisticMixture {
    const BOTH: bool = false;

    fn shape(&self, [x, _]: [&Array; 2]) -> Shape {
        x.all_sizes()
    }

    fn forward(&self, [x, parameters]: [&Array; 2], y: &mut [f32]) {
        self.log_likelihood(x.values(), parameters.values(), y);
    }

    fn backward(&self, [x, parameters]: [&Array; 2], dy: &[f32], [_, dp]: [&mut [f32]; 2]) {
        self.slopes(x.values(), parameters.values(), dy, dp);
    }
}
