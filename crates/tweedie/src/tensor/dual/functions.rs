//! Elementwise functions, each with its derivative as a function over [`Dual`].

use crate::tensor::dual::Dual;
use burn::tensor::{Tensor, activation};
use std::f64::consts::{FRAC_1_SQRT_2, TAU};

impl<const D: usize> Dual<D> {
    /// The square x².
    pub fn square(self) -> Self {
        self.map(|x| x.square(), |x, _| x.mul_scalar(2.0))
    }

    /// The reciprocal 1/x.
    pub fn recip(self) -> Self {
        self.map(Tensor::recip, |_, y| -y.square())
    }

    /// The square root √x.
    pub fn sqrt(self) -> Self {
        self.map(Tensor::sqrt, |_, y| y.recip().mul_scalar(0.5))
    }

    /// The exponential eˣ.
    pub fn exp(self) -> Self {
        self.map(Tensor::exp, |_, y| y)
    }

    /// The natural logarithm ln x.
    pub fn log(self) -> Self {
        self.map(Tensor::log, |x, _| x.recip())
    }

    /// ln Σ exp x over one dimension, which stays with length 1.
    pub fn log_sum_exp(self, dim: usize) -> Self {
        if self.tangent.is_none() && dim + 1 == D && self.dims()[dim] > 0 {
            return tweedie_ops::log_sum_exp(self.value).into();
        }
        let most = self.value.clone().detach().max_dim(dim);
        (self - most.clone()).exp().sum_dim(dim).log() + most
    }

    /// ln σ(x) of the logistic function σ, exact far out on either side.
    pub fn log_sigmoid(self) -> Self {
        -(-self).softplus()
    }

    /// The sine of x.
    pub fn sin(self) -> Self {
        self.map(Tensor::sin, |x, _| x.cos())
    }

    /// The cosine of x.
    pub fn cos(self) -> Self {
        self.map(Tensor::cos, |x, _| -x.sin())
    }

    /// The hyperbolic tangent of x.
    pub fn tanh(self) -> Self {
        self.map(Tensor::tanh, |_, y| y.square().one_minus())
    }

    /// The logistic function 1/(1 + e^{−x}).
    pub fn sigmoid(self) -> Self {
        self.map(activation::sigmoid, |_, y| y.clone() * y.one_minus())
    }

    /// The rectifier max(x, 0).
    pub fn relu(self) -> Self {
        self.map(activation::relu, |x, _| x.relu_slope())
    }

    /// The derivative of [`Dual::relu`], which is 0 at 0.
    pub(crate) fn relu_slope(self) -> Self {
        self.value.zeros_like().mask_fill(self.value.greater_scalar(0.0), 1.0).into()
    }

    /// The sigmoid-weighted unit x · sigmoid(x).
    pub fn silu(self) -> Self {
        self.map(activation::silu, Self::silu_slope)
    }

    /// The derivative of y = [`Dual::silu`].
    pub(crate) fn silu_slope(self, y: Self) -> Self {
        // s + x s (1 − s) = s + y (1 − s)
        let s = self.sigmoid();
        s.clone() + y * s.one_minus()
    }

    /// The Gaussian error unit x · Φ(x), in its exact form.
    pub fn gelu(self) -> Self {
        self.map(activation::gelu, |x, _| x.gelu_slope())
    }

    /// The derivative of [`Dual::gelu`].
    pub(crate) fn gelu_slope(self) -> Self {
        self.clone().normal_cdf() + self.clone() * self.normal_pdf()
    }

    /// The softplus ln(1 + eˣ).
    pub fn softplus(self) -> Self {
        self.map(|x| activation::softplus(x, 1.0), |x, _| x.sigmoid())
    }

    /// The standard normal distribution function Φ(x).
    fn normal_cdf(self) -> Self {
        let cdf = |x: Tensor<D>| x.mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0).mul_scalar(0.5);
        self.map(cdf, |x, _| x.normal_pdf())
    }

    /// The standard normal density φ(x).
    fn normal_pdf(self) -> Self {
        self.square().mul_scalar(-0.5).exp().mul_scalar(1.0 / TAU.sqrt())
    }

    /// The complement 1 − x.
    pub(crate) fn one_minus(self) -> Self {
        self.affine(|x| x.neg().add_scalar(1.0), Tensor::neg)
    }
}
