//! Normalisation, with affine map and activation.

use crate::activate;
use crate::kernels::activation::{self, Activation};
use crate::kernels::norm::{
    Affine, AffineGradient, Shape, group_norm, group_norm_backward, layer_norm,
    layer_norm_backward, rms_norm, rms_norm_backward,
};
use crate::operation::{Array, Operation, apply, given, input, is_ours};
use crate::pool::Buffer;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

/// The elements that share a mean and a variance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shares {
    /// All positions of a sample, for each of a number of groups of channels.
    Group(usize),
    /// The channels of each position: layer normalisation.
    Layer,
    /// The channels of each position, by their mean square: root-mean-square normalisation.
    RootMeanSquare,
}

/// A normalisation f((x̂ w + b)(1 + s) + t) of `[n, …, channels]`.
#[derive(Debug, Clone, Copy)]
pub struct Norm {
    /// The elements that share a mean and a variance.
    pub shares: Shares,
    /// ε, added to the variance.
    pub epsilon: f64,
    /// The activation f.
    pub activation: Activation,
}

/// w, b, s and t of a [`Norm`].
#[derive(Debug, Clone, Default)]
pub struct Modulation {
    /// `[channels]`; 1 if absent.
    pub weight: Option<Tensor<1>>,
    /// `[channels]`; 0 if absent.
    pub bias: Option<Tensor<1>>,
    /// s and then t of each sample, `[n, 2 · channels]`; 0 if absent.
    pub scale_shift: Option<Tensor<2>>,
}

impl Norm {
    /// `[n, …, channels]` ↦ the same shape.
    ///
    /// # Panics
    /// If shapes do not fit.
    pub fn apply<const D: usize>(self, x: Tensor<D>, modulation: Modulation) -> Tensor<D> {
        let Modulation { weight, bias, scale_shift } = modulation;
        if is_ours(&x) {
            let (weight, bias) = (weight.and_then(input), bias.and_then(input));
            return apply(self, [input(x), weight, bias, scale_shift.and_then(input)]);
        }
        let shape = x.dims();
        let (n, channels) = (shape[0], shape[D - 1]);
        let rows = shape.iter().product::<usize>() / (n * channels).max(1);
        let groups = if let Shares::Group(groups) = self.shares { groups } else { 1 };
        let x = x.reshape([n, rows, groups, channels / groups]);
        let mean = |x: Tensor<4>| match self.shares {
            Shares::Group(_) => x.mean_dim(3).mean_dim(1),
            Shares::Layer | Shares::RootMeanSquare => x.mean_dim(3),
        };
        let x = match self.shares {
            Shares::RootMeanSquare => x,
            Shares::Group(_) | Shares::Layer => x.clone() - mean(x),
        };
        let variance = mean(x.clone().square());
        let x = x * variance.add_scalar(self.epsilon).sqrt().recip();
        let mut x = x.reshape([n, rows, channels]);
        if let Some(weight) = weight {
            x = x * weight.reshape([1, 1, channels]);
        }
        if let Some(bias) = bias {
            x = x + bias.reshape([1, 1, channels]);
        }
        if let Some(both) = scale_shift {
            let both = both.reshape([n, 1, 2 * channels]);
            x = x * both.clone().narrow(2, 0, channels).add_scalar(1.0)
                + both.narrow(2, channels, channels);
        }
        activate(x.reshape(shape), self.activation)
    }

    /// A normalisation by position; a single position is a group.
    fn by_layer(&self, shape: Shape) -> bool {
        match self.shares {
            Shares::Group(groups) => groups == 1 && shape.rows == 1,
            Shares::Layer | Shares::RootMeanSquare => {
                assert!(self.activation == Activation::None, "an activation follows groups only");
                true
            }
        }
    }

    fn groups(&self) -> usize {
        if let Shares::Group(groups) = self.shares { groups } else { 1 }
    }

    fn run(&self, inputs: &Inputs) -> (FlexTensor, [Buffer; 2]) {
        let shape = inputs.shape();
        let halves = inputs.halves();
        let affine = inputs.affine(&halves);
        let x = inputs.x.values();
        let epsilon = self.epsilon as f32;
        let mut y = Buffer::new(x.len());
        let moments = if self.by_layer(shape) { 0 } else { shape.samples * self.groups() };
        let [mut mean, mut inverse] = [Buffer::new(moments), Buffer::new(moments)];
        if self.shares == Shares::RootMeanSquare {
            rms_norm(shape, epsilon, x, &affine, &mut y);
        } else if self.by_layer(shape) && self.activation == Activation::None {
            layer_norm(shape, epsilon, x, &affine, &mut y);
        } else if self.by_layer(shape) {
            let mut z = Buffer::new(x.len());
            layer_norm(shape, epsilon, x, &affine, &mut z);
            activation::forward(self.activation, &z, &mut y);
        } else {
            let moments = (&mut *mean, &mut *inverse);
            group_norm(shape, epsilon, x, &affine, self.activation, &mut y, moments);
        }
        (y.into_tensor(inputs.x.all_sizes()), [mean, inverse])
    }
}

/// The arrays of a normalisation.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    x: Array,
    weight: Option<Array>,
    bias: Option<Array>,
    scale_shift: Option<Array>,
}

impl Inputs {
    fn new([x, weight, bias, scale_shift]: [Option<Array>; 4]) -> Self {
        Self { x: given(x), weight, bias, scale_shift }
    }

    fn shape(&self) -> Shape {
        let sizes = self.x.all_sizes();
        let (samples, channels) = (sizes[0], sizes[sizes.num_dims() - 1]);
        let rows = self.x.values().len() / (samples * channels).max(1);
        Shape { samples, rows, channels }
    }

    /// All s and then all t.
    fn halves(&self) -> Option<[Buffer; 2]> {
        let both = self.scale_shift.as_ref()?.values();
        let c = self.shape().channels;
        Some([0, c].map(|first| {
            let mut half = Buffer::new(both.len() / 2);
            for (to, row) in half.chunks_exact_mut(c).zip(both.chunks_exact(2 * c)) {
                to.copy_from_slice(&row[first..][..c]);
            }
            half
        }))
    }

    fn affine<'a>(&'a self, halves: &'a Option<[Buffer; 2]>) -> Affine<'a> {
        Affine {
            weight: self.weight.as_ref().map(Array::values),
            bias: self.bias.as_ref().map(Array::values),
            scale: halves.as_ref().map(|[scale, _]| &**scale),
            shift: halves.as_ref().map(|[_, shift]| &**shift),
        }
    }
}

impl Operation<4> for Norm {
    /// The inputs and each group's mean and inverse deviation.
    type Saved = (Inputs, [Array; 2]);

    fn forward(&self, inputs: [Option<Array>; 4]) -> FlexTensor {
        self.run(&Inputs::new(inputs)).0
    }

    fn record(&self, inputs: [Option<Array>; 4]) -> (FlexTensor, Self::Saved) {
        let inputs = Inputs::new(inputs);
        let (y, moments) = self.run(&inputs);
        let moments = moments.map(|moments| {
            let len = moments.len();
            Array::new(moments.into_tensor([len]))
        });
        (y, (inputs, moments))
    }

    fn backward(
        &self,
        (inputs, [mean, inverse]): Self::Saved,
        dy: Array,
        wanted: [bool; 4],
    ) -> [Option<FlexTensor>; 4] {
        let shape = inputs.shape();
        let Shape { samples, channels, .. } = shape;
        let halves = inputs.halves();
        let affine = inputs.affine(&halves);
        let (x, dy) = (inputs.x.values(), dy.values());
        let epsilon = self.epsilon as f32;
        let mut dx = Buffer::new(x.len());
        let buffer = |wanted: bool, len: usize| wanted.then(|| Buffer::new(len));
        let mut dweight = buffer(wanted[1], channels);
        let mut dbias = buffer(wanted[2], channels);
        let mut dscale = buffer(wanted[3], samples * channels);
        let mut dshift = buffer(wanted[3], samples * channels);
        let gradient = AffineGradient {
            weight: dweight.as_deref_mut(),
            bias: dbias.as_deref_mut(),
            scale: dscale.as_deref_mut(),
            shift: dshift.as_deref_mut(),
        };
        if self.shares == Shares::RootMeanSquare {
            rms_norm_backward(shape, epsilon, x, &affine, dy, &mut dx, gradient);
        } else if self.by_layer(shape) && self.activation == Activation::None {
            layer_norm_backward(shape, epsilon, x, &affine, dy, &mut dx, gradient);
        } else if self.by_layer(shape) {
            let [mut z, mut dz] = [Buffer::new(x.len()), Buffer::new(x.len())];
            layer_norm(shape, epsilon, x, &affine, &mut z);
            activation::backward(self.activation, &z, dy, &mut dz);
            layer_norm_backward(shape, epsilon, x, &affine, &dz, &mut dx, gradient);
        } else {
            let moments = (mean.values(), inverse.values());
            let f = self.activation;
            group_norm_backward(shape, x, &affine, f, moments, dy, &mut dx, gradient);
        }
        let dboth = dscale.zip(dshift).map(|(scale, shift)| {
            let mut both = Buffer::new(2 * samples * channels);
            let halves = scale.chunks_exact(channels).zip(shift.chunks_exact(channels));
            for (to, (scale, shift)) in both.chunks_exact_mut(2 * channels).zip(halves) {
                to[..channels].copy_from_slice(scale);
                to[channels..].copy_from_slice(shift);
            }
            both.into_tensor([samples, 2 * channels])
        });
        let vector = |buffer: Option<Buffer>| buffer.map(|buffer| buffer.into_tensor([channels]));
        [Some(dx.into_tensor(inputs.x.all_sizes())), vector(dweight), vector(dbias), dboth]
    }
}
