//! Layer normalisation (Ba, Kiros & Hinton 2016) over [`Dual`]: with μ and v the mean and variance of a position's
//! channels,
//!
//! > y = w (x − μ)/√(v + ε) + b.

use super::layers::constant;
use crate::tensor::Dual;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use tweedie_ops::{Modulation, Norm, Shares};

/// Configuration of [`LayerNorm`].
#[derive(Debug, Clone, Copy)]
pub struct LayerNormConfig {
    channels: usize,
    epsilon: f64,
}

impl LayerNormConfig {
    /// A configuration for `channels` channels, with ε = 10⁻⁵.
    pub fn new(channels: usize) -> Self {
        Self { channels, epsilon: 1e-5 }
    }

    /// Sets ε, added to the variance.
    pub fn with_epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// The layer with scale 1 and shift 0.
    pub fn init(&self, device: &Device) -> LayerNorm {
        LayerNorm {
            weight: constant(1.0, [self.channels], device),
            bias: constant(0.0, [self.channels], device),
            epsilon: self.epsilon,
        }
    }
}

/// Layer normalisation: mean 0 and variance 1 over the channels of each position, then a scale and a shift per channel.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::nn::LayerNormConfig;
/// let device = Device::flex();
/// let x = Tensor::<2>::from_floats([[1.0, 3.0], [10.0, 20.0]], &device);
/// let y = LayerNormConfig::new(2).init(&device).forward(x.into()).value;
/// assert!((y.abs() - 1.0).abs().max().into_scalar::<f32>() < 1e-5);
/// ```
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// The scale of each channel, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// The shift of each channel, `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// ε, added to the variance.
    #[module(skip)]
    pub epsilon: f64,
}

impl LayerNorm {
    /// Normalises `[…, channels]`; the shape stays the same.
    pub fn forward<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        if x.tangent.is_none() {
            let norm = Norm {
                shares: Shares::Layer,
                epsilon: self.epsilon,
                activation: tweedie_ops::Activation::None,
            };
            let modulation =
                Modulation { weight: Some(weight), bias: Some(bias), ..Modulation::default() };
            return norm.apply(x.value, modulation).into();
        }
        let last = D - 1;
        let channels = x.dims()[last];
        let wide = |p: Tensor<1>| {
            let mut shape = [1; D];
            shape[last] = channels;
            p.reshape(shape)
        };
        let centred = x.clone() - x.mean_dim(last);
        let variance = (centred.clone() * centred.clone()).mean_dim(last);
        centred * variance.add_scalar(self.epsilon).sqrt().recip() * wide(weight) + wide(bias)
    }
}
