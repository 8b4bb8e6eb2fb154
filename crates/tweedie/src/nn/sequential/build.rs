//! Construction of an operation from the description of a layer and its weights, with every shape checked.

use super::{BATCH_NORM, Layer, Op, Pool, product};
use crate::nn::{Activation, Params};
use crate::{Error, Result};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::path::Path;

/// The inputs of the construction of a layer.
pub(super) struct Builder<'a> {
    /// The name of the layer in errors.
    pub title: String,
    pub params: &'a Params,
    /// The file of the weights.
    pub origin: &'a Path,
    pub device: &'a Device,
}

impl Builder<'_> {
    /// The operation of a layer, none for the identity; updates `shape` to the shape of its output.
    pub(super) fn build(&self, layer: &Layer, shape: &mut [usize; 3]) -> Result<Option<Op>> {
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
                let dims = weight.shape();
                let (out, kernel) = (dims[0], [dims[2], dims[3]]);
                let size = self.windows([height, width], kernel, *stride, *padding)?;
                let bias = self.bias(name, out)?;
                *shape = [out, size[0], size[1]];
                let options = ConvOptions::new([*stride; 2], [*padding; 2], [1, 1], 1);
                Op::Conv { weight: self.tensor(weight), bias, options }
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
                let out = weight.shape()[0];
                *shape = [out, 1, 1];
                let tensor: Tensor<2> = self.tensor(weight);
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
            let data = self.weight(name, part, &expected, |dims| dims == [channels])?;
            Ok(data.iter::<f64>().collect::<Vec<f64>>())
        });
        let (weight, bias, mean, variance): (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>) =
            (weight?, bias?, mean?, variance?);
        let lowest = variance.iter().copied().fold(f64::INFINITY, f64::min);
        if lowest + epsilon <= 0.0 {
            let place = format!("{name}.running_var of {}", self.title);
            return Err(Error::file(self.origin, place, lowest.to_string(), "a variance"));
        }
        let scale = |c: usize| weight[c] / (variance[c] + epsilon).sqrt();
        let shift = |c: usize| bias[c] - mean[c] * scale(c);
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

    /// The number of windows, downwards and across.
    fn windows(
        &self,
        picture: [usize; 2],
        window: [usize; 2],
        stride: usize,
        padding: usize,
    ) -> Result<[usize; 2]> {
        let fit = |side: usize, window: usize| {
            // With a wider padding some windows would lie outside the picture.
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

    /// The weight `name`, if its shape satisfies `fits`.
    fn weight(
        &self,
        name: &str,
        part: &str,
        expected: &str,
        fits: impl Fn(&[usize]) -> bool,
    ) -> Result<&TensorData> {
        let key = format!("{name}.{part}");
        let problem = match self.params.get(&key) {
            Some(data) if fits(data.shape().as_slice()) => return Ok(data),
            Some(data) => format!("shape {:?}", data.shape().as_slice()),
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
        Ok(Some(self.tensor(bias)))
    }

    fn tensor<const D: usize>(&self, weight: &TensorData) -> Tensor<D> {
        let weight = weight.clone().convert_dtype(DType::F32);
        Tensor::from_data(weight, (self.device, DType::F32))
    }
}
