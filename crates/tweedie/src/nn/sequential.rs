//! Networks trained elsewhere, given as a list of layers whose weights bear PyTorch's names and layouts.
//!
//! For inference only. A batch is `[n, channels, height, width]` throughout, a vector being a picture of one pixel, and
//! every shape is worked out when the network is built, so that nothing can fail to fit later.

use super::{Activation, Params};
use crate::{Error, Result};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Device, Tensor, TensorData, module};
use serde::Deserialize;
use std::path::Path;

/// One layer, by the name that a description gives it: `{ type = "conv", name = "features.0", padding = 1 }`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Layer {
    /// A convolution; its kernel's size is that of `name.weight`, and `name.bias` may be absent.
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
        /// Added to the variance; 10⁻⁵ if not given.
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
    /// Nothing, at inference.
    Dropout,
    /// Nothing, but what comes in here is what the network is asked for as features.
    Features,
}

/// Windows of a pooling layer.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The side of a window.
    pub size: usize,
    /// How far apart the windows are; `size` if not given.
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
    /// The layer's type, and its name if it has weights.
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

/// What batch normalisation reads, in PyTorch's words.
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
    /// How many operations lead to the features.
    to_features: usize,
    input: [usize; 3],
    features: usize,
    output: usize,
    widest: usize,
}

impl Sequential {
    /// The network of these layers for pictures of `input` = `[channels, height, width]`, with weights from `params`;
    /// `origin` names where they come from, for errors. What `params` hold besides is ignored.
    ///
    /// # Errors
    /// [`Error::Config`] naming the layer that does not fit what comes before it, or if the features are not marked
    /// exactly once; [`Error::File`] naming the weights that are missing or of the wrong shape, and their layer.
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

    /// How many numbers the features of a picture are.
    pub fn features(&self) -> usize {
        self.features
    }

    /// How many numbers come out of the last layer; none if that is the one of the features.
    pub fn output(&self) -> Option<usize> {
        (self.to_features < self.ops.len()).then_some(self.output)
    }

    /// The most numbers that a picture is anywhere on its way.
    pub(crate) fn widest(&self) -> usize {
        self.widest
    }

    /// `[n, channels · height · width]` ↦ features `[n, features]`, and `[n, output]` if there is a layer after them.
    ///
    /// # Errors
    /// [`Error::Shape`] if the width is another.
    pub fn forward(&self, x: Tensor<2>) -> Result<(Tensor<2>, Option<Tensor<2>>)> {
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
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, channels, height, width] = x.dims();
        match self {
            Op::Conv { weight, bias, options } => {
                module::conv2d(x, weight.clone(), bias.clone(), options.clone())
            }
            Op::Linear { weight, bias } => {
                let [input, output] = weight.dims();
                let x = x.reshape([n, input]);
                module::linear(x, weight.clone(), bias.clone()).reshape([n, output, 1, 1])
            }
            Op::Affine { scale, shift } => x * scale.clone() + shift.clone(),
            Op::Activation(activation) => activation.forward(x.into()).value,
            Op::MaxPool(options) => module::max_pool2d(x, options.clone()),
            Op::AveragePool(options) => module::avg_pool2d(x, options.clone()),
            Op::GlobalAveragePool => {
                x.reshape([n, channels, height * width]).mean_dim(2).reshape([n, channels, 1, 1])
            }
            Op::Flatten => x.reshape([n, channels * height * width, 1, 1]),
        }
    }
}

/// What is needed to make one layer.
struct Builder<'a> {
    title: String,
    params: &'a Params,
    origin: &'a Path,
    device: &'a Device,
}

impl Builder<'_> {
    /// The layer's operation, none for those that do nothing; `shape` becomes that of its output.
    fn build(&self, layer: &Layer, shape: &mut [usize; 3]) -> Result<Option<Op>> {
        let [channels, height, width] = *shape;
        Ok(Some(match layer {
            Layer::Conv { name, stride, padding } => {
                let expected = format!("[out, {channels}, height, width]");
                let weight = self.weight(
                    name,
                    "weight",
                    &expected,
                    |dims| matches!(dims, [o, i, h, w] if *i == channels && o * h * w > 0),
                )?;
                let (dims, _) = weight;
                let [out, kernel] = [dims[0], dims[2]];
                let size = self.windows([height, width], [kernel, dims[3]], *stride, *padding)?;
                let bias = self.bias(name, out)?;
                *shape = [out, size[0], size[1]];
                let options = ConvOptions::new([*stride; 2], [*padding; 2], [1, 1], 1);
                Op::Conv {
                    weight: self.tensor(weight, [out, channels, kernel, dims[3]]),
                    bias,
                    options,
                }
            }
            Layer::Linear { name } => {
                if height * width != 1 {
                    let problem = format!("its input is {channels}×{height}×{width}");
                    return Err(Error::config(&self.title, problem, "a vector: flatten before"));
                }
                let expected = format!("[out, {channels}]");
                let weight = self.weight(
                    name,
                    "weight",
                    &expected,
                    |dims| matches!(dims, [o, i] if *i == channels && *o > 0),
                )?;
                let out = weight.0[0];
                *shape = [out, 1, 1];
                let tensor: Tensor<2> = self.tensor(weight, [out, channels]);
                Op::Linear { weight: tensor.transpose(), bias: self.bias(name, out)? }
            }
            Layer::BatchNorm { name, epsilon } => self.batch_norm(name, *epsilon, channels)?,
            Layer::Relu => Op::Activation(Activation::Relu),
            Layer::Gelu => Op::Activation(Activation::Gelu),
            Layer::Silu => Op::Activation(Activation::Silu),
            Layer::Tanh => Op::Activation(Activation::Tanh),
            Layer::MaxPool(pool) => {
                let (size, stride, padding) = self.pool(*pool, shape)?;
                Op::MaxPool(MaxPoolOptions::new(size).with_stride(stride).with_padding(padding))
            }
            Layer::AveragePool(pool) => {
                let (size, stride, padding) = self.pool(*pool, shape)?;
                Op::AveragePool(AvgPoolOptions::new(size).with_stride(stride).with_padding(padding))
            }
            Layer::GlobalAveragePool => {
                *shape = [channels, 1, 1];
                Op::GlobalAveragePool
            }
            Layer::Flatten => {
                *shape = [product(*shape), 1, 1];
                Op::Flatten
            }
            Layer::Dropout | Layer::Features => return Ok(None),
        }))
    }

    fn batch_norm(&self, name: &str, epsilon: f64, channels: usize) -> Result<Op> {
        let expected = format!("[{channels}]");
        let [weight, bias, mean, variance] = BATCH_NORM.map(|part| {
            self.weight(name, part, &expected, |dims| dims == [channels]).map(|found| found.1)
        });
        let (weight, bias, mean, variance) = (weight?, bias?, mean?, variance?);
        let lowest = variance.iter().copied().fold(f32::INFINITY, f32::min);
        if f64::from(lowest) + epsilon <= 0.0 {
            let place = format!("{name}.running_var of {}", self.title);
            return Err(Error::file(self.origin, place, lowest.to_string(), "a variance"));
        }
        let scale = |c: usize| f64::from(weight[c]) / (f64::from(variance[c]) + epsilon).sqrt();
        let shift = |c: usize| f64::from(bias[c]) - f64::from(mean[c]) * scale(c);
        let per_channel = |value: &dyn Fn(usize) -> f64| {
            let values: Vec<f32> = (0..channels).map(|c| value(c) as f32).collect();
            let data = TensorData::new(values, [1, channels, 1, 1]);
            Tensor::from_data(data, (self.device, DType::F32))
        };
        Ok(Op::Affine { scale: per_channel(&scale), shift: per_channel(&shift) })
    }

    /// Size, stride and padding of a pooling layer in both directions.
    fn pool(
        &self,
        pool: Pool,
        shape: &mut [usize; 3],
    ) -> Result<([usize; 2], [usize; 2], [usize; 2])> {
        let Pool { size, padding, .. } = pool;
        let stride = pool.stride.unwrap_or(size);
        if size == 0 || padding > size / 2 {
            let problem = format!("size {size}, padding {padding}");
            return Err(Error::config(
                &self.title,
                problem,
                "a size of at least 1, a padding of at most half of it",
            ));
        }
        let [channels, height, width] = *shape;
        let [height, width] = self.windows([height, width], [size; 2], stride, padding)?;
        *shape = [channels, height, width];
        Ok(([size; 2], [stride; 2], [padding; 2]))
    }

    /// How many windows fit, downwards and across.
    fn windows(
        &self,
        picture: [usize; 2],
        window: [usize; 2],
        stride: usize,
        padding: usize,
    ) -> Result<[usize; 2]> {
        let fit = |side: usize, window: usize| {
            // A wider padding would have windows that see nothing of the picture.
            let padding = Some(padding).filter(|padding| *padding < window)?;
            let room = padding.checked_mul(2)?.checked_add(side)?.checked_sub(window)?;
            Some(room.checked_div(stride)? + 1)
        };
        match (fit(picture[0], window[0]), fit(picture[1], window[1])) {
            (Some(height), Some(width)) => Ok([height, width]),
            _ => {
                let problem = format!(
                    "windows of {}×{} with stride {stride} and padding {padding} on {}×{} pixels",
                    window[0], window[1], picture[0], picture[1]
                );
                Err(Error::config(
                    &self.title,
                    problem,
                    "windows that fit, a padding below their size, a stride of at least 1",
                ))
            }
        }
    }

    /// Shape and values of a weight whose shape `fits`.
    fn weight(
        &self,
        name: &str,
        part: &str,
        expected: &str,
        fits: impl Fn(&[usize]) -> bool,
    ) -> Result<(&Vec<usize>, &Vec<f32>)> {
        let key = format!("{name}.{part}");
        let problem = match self.params.get(&key) {
            Some((shape, values)) if fits(shape) => return Ok((shape, values)),
            Some((shape, _)) => format!("shape {shape:?}"),
            None => "missing".into(),
        };
        let expected = format!("shape {expected}, for {}", self.title);
        Err(Error::file(self.origin, key, problem, expected))
    }

    fn bias(&self, name: &str, out: usize) -> Result<Option<Tensor<1>>> {
        if !self.params.contains_key(&format!("{name}.bias")) {
            return Ok(None);
        }
        let bias = self.weight(name, "bias", &format!("[{out}]"), |dims| dims == [out])?;
        Ok(Some(self.tensor(bias, [out])))
    }

    fn tensor<const D: usize>(
        &self,
        weight: (&Vec<usize>, &Vec<f32>),
        shape: [usize; D],
    ) -> Tensor<D> {
        Tensor::from_data(TensorData::new(weight.1.clone(), shape), (self.device, DType::F32))
    }
}
