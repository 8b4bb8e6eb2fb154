//! Networks trained elsewhere: a list of layers whose weights have PyTorch's names and layouts.
//!
//! Their weights are fixed; derivatives by the input are available. A batch is `[n, channels, height, width]`
//! throughout; a vector is a picture of one pixel. Construction checks every shape, so that evaluation cannot fail for
//! a shape.

mod build;

use super::{Activation, Params};
use crate::tensor::Dual;
use crate::{Error, Result};
use build::Builder;
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, module};
use serde::Deserialize;
use std::path::Path;

/// The description of a layer: `{ type = "conv", name = "features.0", padding = 1 }`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Layer {
    /// A convolution; `name.weight` determines the kernel's size, and `name.bias` may be absent.
    Conv {
        /// The layer's name in the file of weights.
        name: String,
        /// The stride in both directions; 1 if not given.
        #[serde(default = "one")]
        stride: usize,
        /// The zeros on each side; 0 if not given.
        #[serde(default)]
        padding: usize,
    },
    /// y = x Wᵀ + b on a flattened picture; `name.bias` may be absent.
    Linear {
        /// The layer's name in the file of weights.
        name: String,
    },
    /// (x − running mean) / √(running variance + ε) · weight + bias in each channel.
    BatchNorm {
        /// The layer's name in the file of weights.
        name: String,
        /// ε, added to the variance; 10⁻⁵ if not given.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// max(x, 0).
    Relu,
    /// x · Φ(x).
    Gelu,
    /// x · sigmoid(x).
    Silu,
    /// tanh x.
    Tanh,
    /// The greatest value of each window.
    MaxPool(Pool),
    /// The mean of each window, padding included.
    AveragePool(Pool),
    /// The mean of each channel.
    GlobalAveragePool,
    /// The picture as a vector, channel by channel.
    Flatten,
    /// Dropout: the identity at inference.
    Dropout,
    /// The identity; its input is taken as the features of the network.
    Features,
}

/// The windows of a pooling layer.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The side of a window.
    pub size: usize,
    /// The distance between windows; `size` if not given.
    pub stride: Option<usize>,
    /// The pixels added on each side, at most half of `size`; 0 if not given.
    #[serde(default)]
    pub padding: usize,
}

fn one() -> usize {
    1
}

fn epsilon() -> f64 {
    1e-5
}

impl Layer {
    /// The layer's type, with its name if it has weights.
    fn title(&self) -> String {
        match self {
            Layer::Conv { name, .. } => format!("conv {name}"),
            Layer::Linear { name } => format!("linear {name}"),
            Layer::BatchNorm { name, .. } => format!("batch-norm {name}"),
            Layer::MaxPool(_) => "max-pool".into(),
            Layer::AveragePool(_) => "average-pool".into(),
            Layer::GlobalAveragePool => "global-average-pool".into(),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    /// Whether `key` names a weight that the layer uses.
    pub(crate) fn uses(&self, key: &str) -> bool {
        let (name, parts): (_, &[&str]) = match self {
            Layer::Conv { name, .. } | Layer::Linear { name } => (name, &["weight", "bias"]),
            Layer::BatchNorm { name, .. } => (name, &BATCH_NORM),
            _ => return false,
        };
        key.strip_prefix(name.as_str())
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|part| parts.contains(&part))
    }
}

/// The arrays of batch normalisation, by PyTorch's names.
const BATCH_NORM: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// A layer with its weights on the device.
#[derive(Debug, Clone)]
enum Op {
    Conv { weight: Tensor<4>, bias: Option<Tensor<1>>, options: ConvOptions<2> },
    Linear { weight: Tensor<2>, bias: Option<Tensor<1>> },
    Affine { scale: Tensor<4>, shift: Tensor<4> },
    Activation(Activation),
    MaxPool(MaxPoolOptions<2>),
    AveragePool(AvgPoolOptions<2>),
    GlobalAveragePool,
    Flatten,
}

/// A network given as a list of layers.
#[derive(Debug, Clone)]
pub struct Sequential {
    ops: Vec<Op>,
    /// The number of operations up to the features.
    to_features: usize,
    input: [usize; 3],
    features: usize,
    output: usize,
    widest: usize,
}

impl Sequential {
    /// Builds the network of `layers` for pictures of shape `input` = `[channels, height, width]`, with weights from
    /// `params`; `origin` is the name of their file in errors. Other arrays in `params` are ignored.
    ///
    /// # Errors
    /// [`Error::Config`] naming the layer that does not fit the one before it, or unless exactly one layer marks the
    /// features; [`Error::File`] naming the weights that are missing or have the wrong shape, and their layer.
    pub fn new(
        layers: &[Layer],
        input: [usize; 3],
        params: &Params,
        origin: &Path,
        device: &Device,
    ) -> Result<Self> {
        let marks = layers.iter().filter(|layer| **layer == Layer::Features).count();
        if marks != 1 {
            let problem = format!("{marks} layers of type features");
            return Err(Error::config("layers", problem, "one, after the layer to compare by"));
        }
        if input.contains(&0) || input.iter().try_fold(1usize, |n, &m| n.checked_mul(m)).is_none() {
            let problem = format!("{input:?}");
            return Err(Error::config("input.shape", problem, "channels, height and width"));
        }
        let (mut ops, mut shape) = (Vec::new(), input);
        let (mut to_features, mut features, mut widest) = (0, 0, product(input));
        for (at, layer) in layers.iter().enumerate() {
            if *layer == Layer::Features {
                (to_features, features) = (ops.len(), product(shape));
            }
            let builder = Builder {
                title: format!("layer {at} ({})", layer.title()),
                params,
                origin,
                device,
            };
            ops.extend(builder.build(layer, &mut shape)?);
            widest = widest.max(product(shape));
        }
        Ok(Self { ops, to_features, input, features, output: product(shape), widest })
    }

    /// The shape of a picture: channels, height, width.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    /// The number of features per picture.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The number of outputs of the last layer; none if its output are the features.
    pub fn output(&self) -> Option<usize> {
        (self.to_features < self.ops.len()).then_some(self.output)
    }

    /// The most numbers per picture between two layers.
    pub(crate) fn widest(&self) -> usize {
        self.widest
    }

    /// Maps `[n, channels · height · width]` to features `[n, features]`, and to outputs `[n, output]` if layers follow
    /// the features.
    ///
    /// # Errors
    /// [`Error::Shape`] if the width differs.
    pub fn forward(&self, x: Dual<2>) -> Result<(Dual<2>, Option<Dual<2>>)> {
        let ([n, width], [channels, height, across]) = (x.dims(), self.input);
        if width != product(self.input) {
            return Err(Error::shape("pictures of a network", width, product(self.input)));
        }
        let (first, rest) = self.ops.split_at(self.to_features);
        let x = x.reshape([n, channels, height, across]);
        let x = first.iter().fold(x, |x, op| op.forward(x));
        let features = x.clone().reshape([n, self.features]);
        let output = self
            .output()
            .map(|width| rest.iter().fold(x, |x, op| op.forward(x)).reshape([n, width]));
        Ok((features, output))
    }
}

fn product(shape: [usize; 3]) -> usize {
    shape.iter().product()
}

impl Op {
    fn forward(&self, x: Dual<4>) -> Dual<4> {
        let [n, channels, height, width] = x.dims();
        match self {
            Op::Conv { weight, bias, options } => {
                let conv = |x, bias| module::conv2d(x, weight.clone(), bias, options.clone());
                x.affine(|x| conv(x, bias.clone()), |dx| conv(dx, None))
            }
            Op::Linear { weight, bias } => {
                let [input, output] = weight.dims();
                let linear = |x, bias| module::linear(x, weight.clone(), bias);
                let y = x.reshape([n, input]);
                y.affine(|x| linear(x, bias.clone()), |dx| linear(dx, None))
                    .reshape([n, output, 1, 1])
            }
            Op::Affine { scale, shift } => x * scale.clone() + shift.clone(),
            Op::Activation(activation) => activation.forward(x),
            Op::MaxPool(options) => max_pool(x, options),
            Op::AveragePool(options) => x.linear(|x| module::avg_pool2d(x, options.clone())),
            Op::GlobalAveragePool => {
                x.reshape([n, channels, height * width]).mean_dim(2).reshape([n, channels, 1, 1])
            }
            Op::Flatten => x.reshape([n, channels * height * width, 1, 1]),
        }
    }
}

/// The greatest value of each window, and the derivatives of that value.
fn max_pool(x: Dual<4>, options: &MaxPoolOptions<2>) -> Dual<4> {
    if x.tangent.is_none() {
        return module::max_pool2d(x.value, options.clone()).into();
    }
    let [n, channels, height, width] = x.dims();
    let (value, indices) = module::max_pool2d_with_indices(x.value.clone(), options.clone());
    let [_, _, down, across] = value.dims();
    let indices = indices.reshape([n, channels, down * across]);
    let greatest = |d: Tensor<4>| {
        let d = d.reshape([n, channels, height * width]).gather(2, indices.clone());
        d.reshape([n, channels, down, across])
    };
    x.affine(|_| value, greatest)
}
