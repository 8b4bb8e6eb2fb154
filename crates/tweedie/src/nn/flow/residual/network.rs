//! The network g of a residual layer, with a bound on its Lipschitz constant.
//!
//! Its activation is LipSwish (Chen et al. 2019, *Residual flows for invertible generative modeling*, sec. 3.3), with a
//! β > 0 for each layer,
//!
//! > x σ(βx)/1.1 = silu(βx)/(1.1 β),
//!
//! whose slopes lie between −0.1 and 1. The map before it takes the factor β, the map after it 1/(1.1 β), so that the
//! activation itself is silu.

use super::determinant::identity;
use super::norm::{convolution_norm, limited, matrix_norm};
use crate::nn::{Activation, Conv2d, Linear};
use crate::tensor::Dual;
use burn::module::Module;
use burn::tensor::Tensor;
use tweedie_ops::Activation::Silu;
use tweedie_ops::{Addend, ConvSizes, LinearLayer, conv2d};

/// The largest slope of x σ(x), 1.0998…, from above.
pub(super) const SWISH_SLOPE: f64 = 1.1;

/// A layer of g.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network has few")]
pub(super) enum Layer {
    /// A matrix for whole rows.
    Linear(Linear),
    /// A convolution of pictures.
    Convolution(Conv2d),
}

impl Layer {
    /// The spectral norm of this layer, from above, on pictures with these sides; `[1]`.
    pub fn norm(&self, sides: [usize; 2]) -> Tensor<1> {
        match self {
            Self::Linear(linear) => matrix_norm(linear.weight.val()),
            Self::Convolution(convolution) => convolution_norm(convolution.weight.val(), sides),
        }
    }

    /// The affine map of this layer, with a spectral norm of at most `limit` on pictures with these sides.
    pub fn limited(&self, sides: [usize; 2], limit: f64) -> Affine {
        let (weight, bias) = match self {
            Self::Linear(linear) => {
                let weight = limited(linear.weight.val(), self.norm(sides), limit);
                (Weight::Matrix(weight), linear.bias())
            }
            Self::Convolution(convolution) => {
                let weight = limited(convolution.weight.val(), self.norm(sides), limit);
                let bias = convolution.bias.as_ref().map(|bias| bias.val());
                (Weight::Kernel(weight, sides), bias)
            }
        };
        Affine { weight, bias }
    }
}

/// A linear map of rows.
#[derive(Clone)]
enum Weight {
    /// A matrix `[out, in]`.
    Matrix(Tensor<2>),
    /// A kernel `[out, in, k, k]` and the sides of the pictures, which have channels last.
    Kernel(Tensor<4>, [usize; 2]),
}

/// An affine map of rows `[n, in]` to `[n, out]`.
#[derive(Clone)]
pub(super) struct Affine {
    weight: Weight,
    bias: Option<Tensor<1>>,
}

impl Affine {
    /// The map with its weights times `before` and all of it times `after`, `[1]` each.
    pub fn scaled(self, before: Option<Tensor<1>>, after: Option<Tensor<1>>) -> Self {
        let both = match (before, after.clone()) {
            (Some(before), Some(after)) => Some(before * after),
            (before, after) => before.or(after),
        };
        let Some(factor) = both else { return self };
        let weight = match self.weight {
            Weight::Matrix(weight) => Weight::Matrix(weight * factor.reshape([1, 1])),
            Weight::Kernel(weight, sides) => {
                Weight::Kernel(weight * factor.reshape([1, 1, 1, 1]), sides)
            }
        };
        let bias = match (self.bias, after) {
            (Some(bias), Some(after)) => Some(bias * after),
            (bias, _) => bias,
        };
        Self { weight, bias }
    }

    fn detached(&self) -> Self {
        let weight = match &self.weight {
            Weight::Matrix(weight) => Weight::Matrix(weight.clone().detach()),
            Weight::Kernel(weight, sides) => Weight::Kernel(weight.clone().detach(), *sides),
        };
        Self { weight, bias: self.bias.clone().map(Tensor::detach) }
    }

    /// W x, and b and features for each row or channel if they are given.
    fn apply(
        &self,
        x: Tensor<2>,
        bias: Option<Tensor<1>>,
        features: Option<Tensor<2>>,
    ) -> Tensor<2> {
        match &self.weight {
            Weight::Matrix(weight) => tweedie_ops::linear(x, weight.clone(), bias, features),
            Weight::Kernel(weight, [h, w]) => {
                let ([n, _], [out, into, kernel, _]) = (x.dims(), weight.dims());
                let sizes =
                    ConvSizes { stride: 1, padding: [(kernel / 2, kernel as isize / 2); 2] };
                let added = Addend { bias, features, residual: None };
                let y = conv2d(x.reshape([n, *h, *w, into]), weight.clone(), added, sizes);
                y.reshape([n, h * w * out])
            }
        }
    }

    /// W x + b, and features of the condition.
    fn forward(&self, x: Dual<2>, features: Option<Tensor<2>>) -> Dual<2> {
        let bias = self.bias.clone();
        x.affine(|x| self.apply(x, bias, features), |dx| self.linear(dx))
    }

    /// W x.
    fn linear(&self, x: Tensor<2>) -> Tensor<2> {
        self.apply(x, None, None)
    }
}

/// g with weights within their bounds, for the rows of one batch.
#[derive(Clone)]
pub(super) struct Contraction {
    /// The affine maps, with an activation between any two.
    pub maps: Vec<Affine>,
    /// What the condition adds to the first map, `[n, units]` or `[n, channels]`.
    pub features: Option<Tensor<2>>,
    /// The channels, height and width of rows that are pictures, for convolutions.
    pub picture: Option<[usize; 3]>,
}

impl Contraction {
    /// The same without derivatives.
    pub fn detached(&self) -> Self {
        Self {
            maps: self.maps.iter().map(Affine::detached).collect(),
            features: self.features.clone().map(Tensor::detach),
            picture: self.picture,
        }
    }

    /// Whether its weights or features are differentiated.
    pub fn tracked(&self) -> bool {
        let features = self.features.iter().any(Tensor::is_tracked);
        features || self.maps.iter().any(|map| map.bias.iter().any(Tensor::is_tracked))
    }

    /// The same for some of the rows.
    pub fn rows(&self, from: usize, len: usize) -> Self {
        let features = self.features.clone().map(|f| f.narrow(0, from, len));
        Self { features, ..self.clone() }
    }

    /// Rows with channels last from rows channel by channel, or the reverse.
    fn turned(&self, x: Tensor<2>, last: bool) -> Tensor<2> {
        let (Some([c, h, w]), [n, d]) = (self.picture, x.dims()) else { return x };
        match last {
            true => x.reshape([n, c, h * w]).swap_dims(1, 2).reshape([n, d]),
            false => x.reshape([n, h * w, c]).swap_dims(1, 2).reshape([n, d]),
        }
    }

    /// g(x), and the slopes of the activations on the way.
    fn pass(&self, x: Dual<2>) -> (Dual<2>, Vec<Dual<2>>) {
        let mut h = x.linear(|x| self.turned(x, true));
        let (mut slopes, last) = (Vec::with_capacity(self.maps.len()), self.maps.len() - 1);
        for (k, map) in self.maps.iter().enumerate() {
            h = map.forward(h, if k == 0 { self.features.clone() } else { None });
            if k < last {
                let s = h.clone().sigmoid();
                h = Activation::Silu.forward(h);
                slopes.push(s.clone() + h.clone() - h.clone() * s);
            }
        }
        (h.linear(|h| self.turned(h, false)), slopes)
    }

    /// g(x), `[n, d]`.
    pub fn forward(&self, x: Dual<2>) -> Dual<2> {
        match self.fused() {
            Some(layers) if x.tangent.is_none() => tweedie_ops::mlp(x.value, layers, None).into(),
            _ => self.pass(x).0,
        }
    }

    /// The layers of a network of matrices, without a condition, for one pass.
    fn fused(&self) -> Option<Vec<LinearLayer>> {
        let last = self.maps.len() - 1;
        let layer = |(k, map): (usize, &Affine)| match (&map.weight, &self.features) {
            (Weight::Matrix(weight), None) => Some(LinearLayer {
                weight: weight.clone(),
                bias: map.bias.clone(),
                activation: if k < last { Silu } else { tweedie_ops::Activation::None },
                reach: None,
            }),
            _ => None,
        };
        self.maps.iter().enumerate().map(layer).collect()
    }

    /// The slopes of the activations at x.
    pub fn slopes(&self, x: Tensor<2>) -> Vec<Tensor<2>> {
        self.pass(x.into()).1.into_iter().map(|slope| slope.value).collect()
    }

    /// J v of each row, with the slopes of the activations at x.
    pub fn product(&self, slopes: &[Tensor<2>], v: Tensor<2>) -> Tensor<2> {
        let mut v = self.turned(v, true);
        for (k, map) in self.maps.iter().enumerate() {
            v = map.linear(v);
            if let Some(slope) = slopes.get(k) {
                v = v * slope.clone();
            }
        }
        self.turned(v, false)
    }

    /// g(x) and (∂g/∂x)ᵀ, `[n, d, d]`.
    pub fn with_jacobian(&self, x: Dual<2>) -> (Dual<2>, Dual<3>) {
        let [n, d] = x.dims();
        let unit = self.turned(identity(d, &x.value).reshape([d, d]), true);
        let (g, slopes) = self.pass(x);
        let mut rows: Dual<2> = unit.into();
        for (k, map) in self.maps.iter().enumerate() {
            rows = rows.linear(|rows| map.linear(rows));
            if let Some(slope) = slopes.get(k) {
                let [_, units] = slope.dims();
                let [count, _] = rows.dims();
                let each = rows.reshape([count / d, d, units]);
                rows = (slope.clone().reshape([n, 1, units]) * each).reshape([n * d, units]);
            }
        }
        let rows = rows.linear(|rows| self.turned(rows, false));
        let [count, _] = rows.dims();
        let jacobian = rows.reshape([count / d, d, d]);
        (g, jacobian.linear(|j| j.expand([n, d, d])))
    }
}
