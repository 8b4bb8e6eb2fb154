//! Two-dimensional convolutions over [`Dual`], with PyTorch's parameter names and layouts.

use super::Activation;
use super::layers::{Linear, uniform};
use crate::Draws;
use crate::tensor::Dual;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use tweedie_ops::{Addend, ConvSizes, conv2d};

/// Configuration of [`Conv2d`].
#[derive(Debug, Clone, Copy)]
pub struct Conv2dConfig {
    input: usize,
    output: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: [(usize, isize); 2],
    gain: f64,
}

impl Conv2dConfig {
    /// A convolution from `input` to `output` channels by a square kernel of odd side, padded to keep the size, with a
    /// bias.
    pub fn new(input: usize, output: usize, kernel: usize) -> Self {
        let padding = [(kernel / 2, kernel as isize / 2); 2];
        Self { input, output, kernel: [kernel; 2], stride: 1, padding, gain: 1.0 }
    }

    /// Sets the number of rows of the kernel.
    pub fn with_rows(mut self, rows: usize) -> Self {
        self.kernel[0] = rows;
        self
    }

    /// Sets the zeros before and after the rows and the columns; by default half the kernel on both sides. Less than 0
    /// after them cuts the last ones off.
    pub fn with_padding(self, before: usize, after: isize) -> Self {
        self.with_row_padding(before, after).with_column_padding(before, after)
    }

    /// Sets the zeros before and after the rows, as [`Conv2dConfig::with_padding`].
    pub fn with_row_padding(mut self, before: usize, after: isize) -> Self {
        self.padding[0] = (before, after);
        self
    }

    /// Sets the zeros before and after the columns, as [`Conv2dConfig::with_padding`].
    pub fn with_column_padding(mut self, before: usize, after: isize) -> Self {
        self.padding[1] = (before, after);
        self
    }

    /// Sets the stride in both directions.
    pub fn with_stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Sets a factor on the initial values; 0 starts the layer at zero.
    pub fn with_gain(mut self, gain: f64) -> Self {
        self.gain = gain;
        self
    }

    /// The layer with initial values from `draws`: uniform in ±1/√fan-in, as in PyTorch.
    pub fn init(&self, draws: &Draws, device: &Device) -> Conv2d {
        let (i, o, [h, w]) = (self.input, self.output, self.kernel);
        let bound = self.gain / ((i * h * w) as f64).sqrt();
        Conv2d {
            weight: uniform(&draws.purpose("weight"), bound, [o, i, h, w], device),
            bias: Some(uniform(&draws.purpose("bias"), bound, [o], device)),
            stride: self.stride,
            padding: self.padding,
        }
    }
}

/// A 2-D convolution of channels-last pictures with W `[out, in, k, k′]`.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// The weights W, `[out, in, k, k′]`.
    pub weight: Param<Tensor<4>>,
    /// The bias, `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// The stride in both directions.
    #[module(skip)]
    pub stride: usize,
    /// The zeros before and after the rows, and the columns.
    #[module(skip)]
    pub padding: [(usize, isize); 2],
}

impl Conv2d {
    /// Maps `[n, h, w, in]` to `[n, h′, w′, out]` with h′ = ⌊(h + padding − k)/stride⌋ + 1.
    pub fn forward(&self, x: Dual<4>) -> Dual<4> {
        self.forward_plus(x, None, None)
    }

    /// Applies the convolution, then adds features, `[n, out]` for each picture or `[1, out]` for all, and a residual
    /// of the output's shape.
    pub fn forward_plus(
        &self,
        x: Dual<4>,
        features: Option<Dual<2>>,
        residual: Option<Dual<4>>,
    ) -> Dual<4> {
        let sizes = ConvSizes { stride: self.stride, padding: self.padding };
        let bias = self.bias.as_ref().map(|b| b.val());
        convolve(x, (self.weight.val(), bias), sizes, features, residual)
    }
}

/// The convolution with a weight `[out, in, k, k′]` and a bias, and what [`Conv2d::forward_plus`] adds.
pub(super) fn convolve(
    x: Dual<4>,
    (weight, bias): (Tensor<4>, Option<Tensor<1>>),
    sizes: ConvSizes,
    features: Option<Dual<2>>,
    residual: Option<Dual<4>>,
) -> Dual<4> {
    let [n, ..] = x.dims();
    let features = features.map(|f| {
        let [_, out] = f.dims();
        f.linear(|f| f.expand([n, out]))
    });
    let tangents = x.tangent.is_some()
        || features.as_ref().is_some_and(|f| f.tangent.is_some())
        || residual.as_ref().is_some_and(|r| r.tangent.is_some());
    if !tangents {
        let features = features.map(|f| f.value);
        let residual = residual.map(|r| r.value);
        let added = Addend { bias, features, residual };
        return conv2d(x.value, weight, added, sizes).into();
    }
    let copy = weight.clone();
    let mut y = x.affine(
        |x| conv2d(x, weight, Addend { bias, ..Addend::default() }, sizes),
        |dx| conv2d(dx, copy.clone(), Addend::default(), sizes),
    );
    if let Some(features) = features {
        let [n, out] = features.dims();
        y = y + features.reshape([n, 1, 1, out]);
    }
    match residual {
        Some(residual) => y + residual,
        None => y,
    }
}

/// Pictures `[n, h, w, c]` from `[n, c, h, w]`.
pub(super) fn channels_last(x: Dual<4>) -> Dual<4> {
    x.linear(|x| x.permute([0, 2, 3, 1]))
}

/// Pictures `[n, c, h, w]` from `[n, h, w, c]`.
pub(super) fn channels_first(x: Dual<4>) -> Dual<4> {
    x.linear(|x| x.permute([0, 3, 1, 2]))
}

/// A linear layer at every pixel.
pub(super) fn at_pixels(linear: &Linear, x: Dual<4>) -> Dual<4> {
    let [n, h, w, c] = x.dims();
    let y = linear.forward(x.reshape([n * h * w, c]));
    let [_, out] = y.dims();
    y.reshape([n, h, w, out])
}

/// A linear layer at every pixel, and a residual of the output's shape.
pub(super) fn at_pixels_plus(linear: &Linear, x: Dual<4>, residual: Dual<4>) -> Dual<4> {
    let ([n, h, w, c], sizes) = (x.dims(), residual.dims());
    let residual = residual.reshape([n * h * w, sizes[3]]);
    linear.forward_plus(x.reshape([n * h * w, c]), residual).reshape(sizes)
}

/// f(a) ⊙ σ(b) of the halves a and b of the last dimension, with an activation f and the logistic function σ.
pub(super) fn gate<const D: usize>(x: Dual<D>, activation: Option<Activation>) -> Dual<D> {
    if x.tangent.is_none() {
        let fused = activation.map_or(tweedie_ops::Activation::None, Activation::fused);
        return tweedie_ops::gate(x.value, fused).into();
    }
    let half = x.dims()[D - 1] / 2;
    let part = |from| x.clone().linear(|x| x.narrow(D - 1, from, half));
    let value = part(0);
    let value = match activation {
        Some(activation) => activation.forward(value),
        None => value,
    };
    value * part(half).sigmoid()
}
