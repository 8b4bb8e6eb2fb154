//! The network g of a residual layer, with a bound on its Lipschitz constant.

use super::determinant::identity;
use super::norm::{convolution_norm, limited, matrix_norm};
use crate::nn::{Conv2d, Linear};
use crate::tensor::Dual;
use burn::module::Module;
use burn::tensor::Tensor;
use tweedie_ops::{Addend, ConvSizes, conv2d};

/// The largest slope of x σ(x), 1.0998…, from above.
const SWISH_SLOPE: f64 = 1.1;

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
    /// The affine map of this layer with a spectral norm of at most `limit`, on pictures with these sides.
    pub fn limited(&self, sides: [usize; 2], limit: f64) -> Affine {
        let (weight, bias) = match self {
            Self::Linear(linear) => {
                let weight = linear.weight.val();
                let norm = matrix_norm(weight.clone());
                (Weight::Matrix(limited(weight, norm, limit)), linear.bias())
            }
            Self::Convolution(convolution) => {
                let weight = convolution.weight.val();
                let norm = convolution_norm(weight.clone(), sides);
                let bias = convolution.bias.as_ref().map(|bias| bias.val());
                (Weight::Kernel(limited(weight, norm, limit), sides), bias)
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
                let sizes = ConvSizes { stride: 1, padding: (kernel / 2, kernel / 2) };
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

/// x σ(βx)/1.1, with slopes from −0.1 to 1, and its slope. The activation LipSwish of Chen et al. 2019, *Residual flows
/// for invertible generative modeling*, sec. 3.3.
fn lip_swish(x: Dual<2>, beta: Tensor<2>) -> (Dual<2>, Dual<2>) {
    let u = x.clone() * beta;
    let s = u.clone().sigmoid();
    let slope = s.clone() + u * (s.clone() - s.clone().square());
    ((x * s).mul_scalar(1.0 / SWISH_SLOPE), slope.mul_scalar(1.0 / SWISH_SLOPE))
}

/// g with weights within their bounds, for the rows of one batch.
#[derive(Clone)]
pub(super) struct Contraction {
    /// The affine maps, with an activation between any two.
    pub maps: Vec<Affine>,
    /// β of each activation, `[1, 1]`.
    pub betas: Vec<Tensor<2>>,
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
            betas: self.betas.iter().map(|beta| beta.clone().detach()).collect(),
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
        let mut slopes = Vec::with_capacity(self.betas.len());
        for (k, map) in self.maps.iter().enumerate() {
            h = map.forward(h, if k == 0 { self.features.clone() } else { None });
            if let Some(beta) = self.betas.get(k) {
                let (y, slope) = lip_swish(h, beta.clone());
                slopes.push(slope);
                h = y;
            }
        }
        (h.linear(|h| self.turned(h, false)), slopes)
    }

    /// g(x), `[n, d]`.
    pub fn forward(&self, x: Dual<2>) -> Dual<2> {
        self.pass(x).0
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
