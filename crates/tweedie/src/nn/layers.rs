//! Layers over [`Dual`], with PyTorch's parameter names and layouts.
//!
//! Initial values come from [`Draws`] derived from the parameter's path, so that they depend on the seed and the path
//! alone.

use crate::Draws;
use crate::tensor::Dual;
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use tweedie_ops::{LinearLayer, Modulation, Norm, Shares, activate, linear};

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// x · sigmoid(x).
    #[serde(alias = "swish")]
    Silu,
    /// x · Φ(x).
    Gelu,
    /// max(x, 0).
    Relu,
    /// tanh x.
    Tanh,
    /// ln(1 + eˣ).
    Softplus,
}

impl Activation {
    /// Applies the function elementwise.
    pub fn forward<const D: usize>(self, x: Dual<D>) -> Dual<D> {
        if x.tangent.is_none() {
            return activate(x.value, self.fused()).into();
        }
        match self {
            Activation::Silu => x.silu(),
            Activation::Gelu => x.gelu(),
            Activation::Relu => x.relu(),
            Activation::Tanh => x.tanh(),
            Activation::Softplus => x.softplus(),
        }
    }

    /// The function and its derivative, elementwise.
    pub(super) fn with_slope<const D: usize>(self, x: Dual<D>) -> (Dual<D>, Dual<D>) {
        let y = self.forward(x.clone());
        let slope = match self {
            Activation::Silu => x.silu_slope(y.clone()),
            Activation::Gelu => x.gelu_slope(),
            Activation::Relu => x.relu_slope(),
            Activation::Tanh => y.clone().square().one_minus(),
            Activation::Softplus => x.sigmoid(),
        };
        (y, slope)
    }

    /// The activation among the fused operations.
    pub(super) fn fused(self) -> tweedie_ops::Activation {
        match self {
            Activation::Silu => tweedie_ops::Activation::Silu,
            Activation::Gelu => tweedie_ops::Activation::Gelu,
            Activation::Relu => tweedie_ops::Activation::Relu,
            Activation::Tanh => tweedie_ops::Activation::Tanh,
            Activation::Softplus => tweedie_ops::Activation::Softplus,
        }
    }
}

/// A parameter of `shape` with values uniform in ±`bound`, from its own stream of draws.
pub(super) fn uniform<const D: usize>(
    draws: &Draws,
    bound: f64,
    shape: [usize; D],
    device: &Device,
) -> Param<Tensor<D>> {
    let len = shape.iter().product();
    let values = draws.uniforms(0..1, len);
    let values: Vec<f32> =
        values.values().iter().map(|u| ((2.0 * f64::from(*u) - 1.0) * bound) as f32).collect();
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), (device, DType::F32)))
}

pub(super) fn constant<const D: usize>(
    value: f32,
    shape: [usize; D],
    device: &Device,
) -> Param<Tensor<D>> {
    Param::from_tensor(Tensor::full(shape, value, (device, DType::F32)))
}

/// Configuration of [`Linear`].
#[derive(Debug, Clone, Copy)]
pub struct LinearConfig {
    input: usize,
    output: usize,
    bias: bool,
    gain: f64,
}

impl LinearConfig {
    /// A layer from `input` to `output` features, with a bias and PyTorch's initial values: uniform in ±1/√input.
    pub fn new(input: usize, output: usize) -> Self {
        Self { input, output, bias: true, gain: 1.0 }
    }

    /// Adds or removes the bias.
    pub fn with_bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Sets a factor on the initial values; 0 starts the layer at zero.
    pub fn with_gain(mut self, gain: f64) -> Self {
        self.gain = gain;
        self
    }

    /// The layer with initial values from `draws`.
    pub fn init(&self, draws: &Draws, device: &Device) -> Linear {
        let bound = self.gain / (self.input as f64).sqrt();
        Linear {
            weight: uniform(&draws.purpose("weight"), bound, [self.output, self.input], device),
            bias: self.bias.then(|| uniform(&draws.purpose("bias"), bound, [self.output], device)),
        }
    }
}

/// y = x Wᵀ + b with W `[out, in]`.
#[derive(Module, Debug)]
pub struct Linear {
    /// The weights W, `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// The bias b, `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// Maps `[n, in]` to `[n, out]`.
    pub fn forward(&self, x: Dual<2>) -> Dual<2> {
        project(x, self.weight.val(), self.bias())
    }

    /// Applies the layer and then an activation, in one pass.
    pub fn forward_then(&self, x: Dual<2>, activation: Activation) -> Dual<2> {
        mlp(x, &[(self, Some(activation))], None)
    }

    /// Applies the layer and adds `residual`, in one pass.
    pub fn forward_plus(&self, x: Dual<2>, residual: Dual<2>) -> Dual<2> {
        mlp(x, &[(self, None)], Some(residual))
    }

    pub(super) fn bias(&self) -> Option<Tensor<1>> {
        self.bias.as_ref().map(|b| b.val())
    }
}

/// Computes x Wᵀ + b.
pub(super) fn project(x: Dual<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Dual<2> {
    let copy = weight.clone();
    x.affine(|x| linear(x, weight, bias, None), |dx| linear(dx, copy.clone(), None, None))
}

/// Applies linear layers, each with its optional activation, and adds a residual at the end, in one pass: rows go
/// through all layers while they are in the cache. `[n, in]` ↦ `[n, out]`.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::{Draws, nn::{Activation, LinearConfig, mlp}};
/// let (draws, device) = (Draws::new(0), Device::flex());
/// let layer = |name, input, output| LinearConfig::new(input, output).init(&draws.purpose(name), &device);
/// let (first, second) = (layer("first", 2, 64), layer("second", 64, 2));
/// let x = Tensor::<2>::ones([5, 2], &device);
/// let y = mlp(x.into(), &[(&first, Some(Activation::Silu)), (&second, None)], None);
/// assert_eq!(y.dims(), [5, 2]);
/// ```
///
/// # Panics
/// If the layers' widths do not fit each other and the rows.
pub fn mlp(
    x: Dual<2>,
    layers: &[(&Linear, Option<Activation>)],
    residual: Option<Dual<2>>,
) -> Dual<2> {
    if x.tangent.is_some() || residual.as_ref().is_some_and(|r| r.tangent.is_some()) {
        let y = layers.iter().fold(x, |x, (layer, activation)| {
            let y = layer.forward(x);
            if let Some(activation) = activation { activation.forward(y) } else { y }
        });
        return if let Some(residual) = residual { y + residual } else { y };
    }
    let layers = layers.iter().map(|(layer, activation)| LinearLayer {
        weight: layer.weight.val(),
        bias: layer.bias(),
        activation: activation.map_or(tweedie_ops::Activation::None, Activation::fused),
        reach: None,
    });
    tweedie_ops::mlp(x.value, layers.collect(), residual.map(|r| r.value)).into()
}

/// Configuration of [`GroupNorm`].
#[derive(Debug, Clone, Copy)]
pub struct GroupNormConfig {
    groups: usize,
    channels: usize,
    epsilon: f64,
}

impl GroupNormConfig {
    /// A normalisation of `channels` channels in `groups` groups; `groups` divides `channels`. ε = 10⁻⁵.
    pub fn new(groups: usize, channels: usize) -> Self {
        Self { groups, channels, epsilon: 1e-5 }
    }

    /// Sets ε, added to the variance.
    pub fn with_epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// The layer with scale 1 and shift 0.
    pub fn init(&self, device: &Device) -> GroupNorm {
        GroupNorm {
            weight: constant(1.0, [self.channels], device),
            bias: constant(0.0, [self.channels], device),
            groups: self.groups,
            epsilon: self.epsilon,
        }
    }
}

/// Group normalisation (Wu & He 2018): mean 0 and variance 1 over each group of channels of each sample, then a scale
/// and a shift per channel.
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// The scale of each channel, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// The shift of each channel, `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// The number of groups.
    #[module(skip)]
    pub groups: usize,
    /// ε, added to the variance.
    #[module(skip)]
    pub epsilon: f64,
}

impl GroupNorm {
    /// Normalises `[n, …, channels]`; the shape stays the same.
    pub fn forward<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        self.forward_then(x, None, None)
    }

    /// Applies the normalisation, then · (1 + s) + t with s and t side by side in `scale_shift`, `[n, 2 · channels]` or
    /// `[1, 2 · channels]`, then an activation.
    pub fn forward_then<const D: usize>(
        &self,
        x: Dual<D>,
        scale_shift: Option<Dual<2>>,
        activation: Option<Activation>,
    ) -> Dual<D> {
        let shape = x.dims();
        let (n, channels) = (shape[0], shape[D - 1]);
        let scale_shift = scale_shift.map(|both| both.linear(|b| b.expand([n, 2 * channels])));
        if x.tangent.is_none() && scale_shift.as_ref().is_none_or(|both| both.tangent.is_none()) {
            let norm = Norm {
                shares: Shares::Group(self.groups),
                epsilon: self.epsilon,
                activation: activation.map_or(tweedie_ops::Activation::None, Activation::fused),
            };
            let modulation = Modulation {
                weight: Some(self.weight.val()),
                bias: Some(self.bias.val()),
                scale_shift: scale_shift.map(|both| both.value),
            };
            return norm.apply(x.value, modulation).into();
        }
        let size = shape.iter().skip(1).product::<usize>() / channels;
        let each = channels / self.groups;
        let x = x.reshape([n, size, self.groups, each]);
        let mean = |x: Dual<4>| x.mean_dim(3).mean_dim(1);
        let centred = x.clone() - mean(x);
        let variance = mean(centred.clone() * centred.clone());
        let normed = centred * variance.add_scalar(self.epsilon).sqrt().recip();
        let per_channel = |p: &Param<Tensor<1>>| p.val().reshape([1, 1, self.groups, each]);
        let mut y = normed * per_channel(&self.weight) + per_channel(&self.bias);
        if let Some(both) = scale_shift {
            let half = |first| {
                let half = both.clone().linear(|both| both.narrow(1, first, channels));
                half.reshape([n, 1, self.groups, each])
            };
            y = y * half(0).add_scalar(1.0) + half(channels);
        }
        let y = y.reshape(shape);
        match activation {
            Some(activation) => activation.forward(y),
            None => y,
        }
    }
}

/// Configuration of [`Embedding`].
#[derive(Debug, Clone, Copy)]
pub struct EmbeddingConfig {
    count: usize,
    width: usize,
    gain: f64,
}

impl EmbeddingConfig {
    /// A table of `count` vectors of `width` values.
    pub fn new(count: usize, width: usize) -> Self {
        Self { count, width, gain: 1.0 }
    }

    /// Sets a factor on the initial values.
    pub fn with_gain(mut self, gain: f64) -> Self {
        self.gain = gain;
        self
    }

    /// The table, with standard normal values as in PyTorch, times the gain.
    pub fn init(&self, draws: &Draws, device: &Device) -> Embedding {
        let rows = draws.purpose("weight").normals(0..self.count as u64, self.width);
        Embedding { weight: Param::from_tensor(rows.to_tensor(device).mul_scalar(self.gain)) }
    }
}

/// A table of vectors.
#[derive(Module, Debug)]
pub struct Embedding {
    /// The vectors, `[count, width]`.
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// The vectors of the given indices, `[len, width]`; every index is below the table's length.
    pub fn forward(&self, indices: &[u32]) -> Dual<2> {
        let weight = self.weight.val();
        let indices: Vec<i32> = indices.iter().map(|&i| i as i32).collect();
        let len = indices.len();
        let device = weight.device();
        let indices =
            Tensor::<1, Int>::from_data(TensorData::new(indices, [len]), (&device, DType::I32));
        weight.select(0, indices).into()
    }
}
