//! A tensor with an optional tangent: forward-mode derivatives through any network.
//!
//! For y = f(x), a tangent ẋ on x becomes ẏ = J_f(x) ẋ on y. Reverse mode may then run over both, so that
//! gradients of Jacobian–vector products need no second backward pass. Without a tangent nothing is computed twice.

use burn::tensor::{Tensor, activation};
use std::ops::{Add, Mul, Neg, Sub};

/// A value and, where a derivative is wanted, its tangent of the same shape.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::nn::Dual;
/// let device = Device::flex();
/// let x = Dual::new(Tensor::<1>::from_floats([2.0], &device), Tensor::from_floats([1.0], &device));
/// let y = x.clone() * x; // y = x², dy = 2 x dx
/// assert_eq!(y.tangent.unwrap().into_scalar::<f32>(), 4.0);
/// ```
#[derive(Debug, Clone)]
pub struct Dual<const D: usize> {
    /// The value.
    pub value: Tensor<D>,
    /// The directional derivative, if one is carried.
    pub tangent: Option<Tensor<D>>,
}

impl<const D: usize> From<Tensor<D>> for Dual<D> {
    fn from(value: Tensor<D>) -> Self {
        Self { value, tangent: None }
    }
}

impl<const D: usize> Dual<D> {
    /// A value with a tangent.
    pub fn new(value: Tensor<D>, tangent: Tensor<D>) -> Self {
        Self { value, tangent: Some(tangent) }
    }

    /// The value's shape.
    pub fn dims(&self) -> [usize; D] {
        self.value.dims()
    }

    /// A linear map, applied to value and tangent alike.
    pub fn linear<const E: usize>(self, f: impl Fn(Tensor<D>) -> Tensor<E>) -> Dual<E> {
        Dual { tangent: self.tangent.map(&f), value: f(self.value) }
    }

    /// An affine map: `f` on the value, its linear part `df` on the tangent.
    pub fn affine<const E: usize>(
        self,
        f: impl FnOnce(Tensor<D>) -> Tensor<E>,
        df: impl FnOnce(Tensor<D>) -> Tensor<E>,
    ) -> Dual<E> {
        Dual { tangent: self.tangent.map(df), value: f(self.value) }
    }

    /// An elementwise map `f` with derivative `df`, which receives (x, f(x)).
    pub fn map(
        self,
        f: impl FnOnce(Tensor<D>) -> Tensor<D>,
        df: impl FnOnce(Tensor<D>, Tensor<D>) -> Tensor<D>,
    ) -> Self {
        match self.tangent {
            None => f(self.value).into(),
            Some(tangent) => {
                let value = f(self.value.clone());
                let slope = df(self.value, value.clone());
                Dual::new(value, tangent * slope)
            }
        }
    }

    /// Product with a constant.
    pub fn mul_scalar(self, c: f64) -> Self {
        self.linear(|x| x.mul_scalar(c))
    }

    /// Sum with a constant.
    pub fn add_scalar(self, c: f64) -> Self {
        self.affine(|x| x.add_scalar(c), |dx| dx)
    }

    /// 1/x.
    pub fn recip(self) -> Self {
        self.map(Tensor::recip, |_, y| y.square().neg())
    }

    /// √x.
    pub fn sqrt(self) -> Self {
        self.map(Tensor::sqrt, |_, y| y.recip().mul_scalar(0.5))
    }

    /// eˣ.
    pub fn exp(self) -> Self {
        self.map(Tensor::exp, |_, y| y)
    }

    /// sin x.
    pub fn sin(self) -> Self {
        self.map(Tensor::sin, |x, _| x.cos())
    }

    /// cos x.
    pub fn cos(self) -> Self {
        self.map(Tensor::cos, |x, _| x.sin().neg())
    }

    /// tanh x.
    pub fn tanh(self) -> Self {
        self.map(Tensor::tanh, |_, y| y.square().neg().add_scalar(1.0))
    }

    /// The logistic function.
    pub fn sigmoid(self) -> Self {
        self.map(activation::sigmoid, |_, y| y.clone() * y.neg().add_scalar(1.0))
    }

    /// max(x, 0).
    pub fn relu(self) -> Self {
        self.map(activation::relu, |x, _| {
            x.clone().zeros_like().mask_fill(x.greater_scalar(0.0), 1.0)
        })
    }

    /// x · sigmoid(x).
    pub fn silu(self) -> Self {
        self.map(activation::silu, |x, y| {
            // s + x s (1 − s) = s + y (1 − s)
            let s = activation::sigmoid(x);
            s.clone() + y * s.neg().add_scalar(1.0)
        })
    }

    /// x · Φ(x), the exact form.
    pub fn gelu(self) -> Self {
        self.map(activation::gelu, |x, _| {
            let cdf = x
                .clone()
                .mul_scalar(std::f64::consts::FRAC_1_SQRT_2)
                .erf()
                .add_scalar(1.0)
                .mul_scalar(0.5);
            let pdf = x.clone().square().mul_scalar(-0.5).exp().mul_scalar(0.398_942_280_401_432_7);
            cdf + x * pdf
        })
    }

    /// ln(1 + eˣ).
    pub fn softplus(self) -> Self {
        self.map(|x| activation::softplus(x, 1.0), |x, _| activation::sigmoid(x))
    }

    /// The mean over one dimension, which stays with length 1.
    pub fn mean_dim(self, dim: usize) -> Self {
        self.linear(|x| x.mean_dim(dim))
    }

    /// The sum over one dimension, which stays with length 1.
    pub fn sum_dim(self, dim: usize) -> Self {
        self.linear(|x| x.sum_dim(dim))
    }

    /// The softmax over one dimension.
    pub fn softmax(self, dim: usize) -> Self {
        let value = activation::softmax(self.value, dim);
        let tangent = self.tangent.map(|dx| {
            let product = value.clone() * dx;
            product.clone() - value.clone() * product.sum_dim(dim)
        });
        Self { value, tangent }
    }

    /// The matrix product over the last two dimensions.
    pub fn matmul(self, other: Self) -> Self {
        let tangent = match (self.tangent, other.tangent) {
            (Some(a), Some(b)) => {
                Some(a.matmul(other.value.clone()) + self.value.clone().matmul(b))
            }
            (Some(a), None) => Some(a.matmul(other.value.clone())),
            (None, Some(b)) => Some(self.value.clone().matmul(b)),
            (None, None) => None,
        };
        Self { value: self.value.matmul(other.value), tangent }
    }

    /// Two dimensions exchanged.
    pub fn swap_dims(self, a: usize, b: usize) -> Self {
        self.linear(|x| x.swap_dims(a, b))
    }

    /// The same values in another shape.
    pub fn reshape<const E: usize>(self, shape: [usize; E]) -> Dual<E> {
        self.linear(|x| x.reshape(shape))
    }

    /// Concatenation of two along the last dimension.
    pub fn join(self, other: Self) -> Self {
        if self.tangent.is_none() && other.tangent.is_none() {
            return tweedie_ops::join(self.value, other.value).into();
        }
        Self::cat(vec![self, other], D - 1)
    }

    /// Concatenation along `dim`; a part without a tangent counts as constant. `parts` must not be empty.
    pub fn cat(parts: Vec<Dual<D>>, dim: usize) -> Self {
        let tangent = parts.iter().any(|p| p.tangent.is_some()).then(|| {
            let tangents =
                parts.iter().map(|p| p.tangent.clone().unwrap_or_else(|| p.value.zeros_like()));
            Tensor::cat(tangents.collect(), dim)
        });
        Self { value: Tensor::cat(parts.into_iter().map(|p| p.value).collect(), dim), tangent }
    }
}

impl<const D: usize, T: Into<Dual<D>>> Add<T> for Dual<D> {
    type Output = Self;

    /// The sum, with broadcasting.
    fn add(self, other: T) -> Self {
        let other = other.into();
        let value = self.value + other.value;
        let tangent = match (self.tangent, other.tangent) {
            (Some(a), Some(b)) => Some(a + b),
            (Some(a), None) | (None, Some(a)) => Some(a.expand(value.dims())),
            (None, None) => None,
        };
        Self { value, tangent }
    }
}

impl<const D: usize, T: Into<Dual<D>>> Sub<T> for Dual<D> {
    type Output = Self;

    /// The difference, with broadcasting.
    fn sub(self, other: T) -> Self {
        self + -other.into()
    }
}

impl<const D: usize, T: Into<Dual<D>>> Mul<T> for Dual<D> {
    type Output = Self;

    /// The product, with broadcasting.
    fn mul(self, other: T) -> Self {
        let other = other.into();
        let tangent = match (self.tangent, other.tangent) {
            (Some(a), Some(b)) => Some(a * other.value.clone() + b * self.value.clone()),
            (Some(a), None) => Some(a * other.value.clone()),
            (None, Some(b)) => Some(b * self.value.clone()),
            (None, None) => None,
        };
        Self { value: self.value * other.value, tangent }
    }
}

impl<const D: usize> Neg for Dual<D> {
    type Output = Self;

    /// The negative.
    fn neg(self) -> Self {
        self.linear(Tensor::neg)
    }
}
