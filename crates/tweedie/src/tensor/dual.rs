//! A tensor with optional tangents: forward-mode derivatives, of first and second order, through any network.
//!
//! Along a path x(s) a network's output y(s) = f(x(s)) has
//!
//! > ẏ = J ẋ,  ÿ = D²f[ẋ, ẋ] + J ẍ.
//!
//! Every operation here maps (x, ẋ, ẍ) to (y, ẏ, ÿ). Reverse mode may then run over all of them, so that gradients of
//! directional derivatives need no second backward pass. Absent derivatives cost nothing: without a tangent networks
//! run their fused operations, and without a second tangent no second derivative is computed.

mod functions;

use burn::tensor::{Tensor, activation};
use std::ops::{Add, Mul, Neg, Sub};

/// A value with its first one or two derivatives along a path, of the same shape, where they are needed.
///
/// A value without a tangent is constant along the path. Results of parts of different order have the lower order.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::tensor::Dual;
/// let at = |x| Tensor::<1>::from_floats([x], &Device::flex());
/// let x = Dual::line(at(2.0), at(3.0)); // x(s) = 2 + 3 s
/// let y = x.clone() * x; // y = x², ẏ = 2 x ẋ, ÿ = 2 ẋ²
/// assert_eq!(y.tangent.map(|t| t.into_scalar::<f32>()), Some(12.0));
/// assert_eq!(y.second.map(|t| t.into_scalar::<f32>()), Some(18.0));
/// ```
#[derive(Debug, Clone)]
pub struct Dual<const D: usize> {
    /// The value.
    pub value: Tensor<D>,
    /// The first derivative along the path, if carried.
    pub tangent: Option<Tensor<D>>,
    /// The second derivative along the path, if carried; requires the first.
    pub second: Option<Tensor<D>>,
}

impl<const D: usize> From<Tensor<D>> for Dual<D> {
    fn from(value: Tensor<D>) -> Self {
        Self { value, tangent: None, second: None }
    }
}

impl<const D: usize> Dual<D> {
    /// A value with its first derivative along a path.
    pub fn new(value: Tensor<D>, tangent: Tensor<D>) -> Self {
        Self { value, tangent: Some(tangent), second: None }
    }

    /// The point of the straight line x + s v at s = 0, with its first two derivatives v and 0.
    pub fn line(x: Tensor<D>, v: Tensor<D>) -> Self {
        Self { second: Some(v.zeros_like()), tangent: Some(v), value: x }
    }

    /// The shape of the value.
    pub fn dims(&self) -> [usize; D] {
        self.value.dims()
    }

    /// Applies a linear map to value and tangents alike.
    pub fn linear<const E: usize>(self, f: impl Fn(Tensor<D>) -> Tensor<E>) -> Dual<E> {
        Dual { tangent: self.tangent.map(&f), second: self.second.map(&f), value: f(self.value) }
    }

    /// Applies an affine map: `f` to the value, its linear part `df` to the tangents.
    pub fn affine<const E: usize>(
        self,
        f: impl FnOnce(Tensor<D>) -> Tensor<E>,
        df: impl Fn(Tensor<D>) -> Tensor<E>,
    ) -> Dual<E> {
        Dual { tangent: self.tangent.map(&df), second: self.second.map(&df), value: f(self.value) }
    }

    /// Applies an elementwise map f with derivative f′, a function of (x, f(x)) over [`Dual`], so that the derivative
    /// of f′ along the path is known too: ẏ = f′ ẋ, ÿ = f′ ẍ + (f′)˙ ẋ.
    pub fn map(
        self,
        f: impl FnOnce(Tensor<D>) -> Tensor<D>,
        df: impl Fn(Dual<D>, Dual<D>) -> Dual<D>,
    ) -> Self {
        let Self { value: x, tangent: Some(dx), second } = self else {
            return f(self.value).into();
        };
        let y = f(x.clone());
        let slope = df(x.clone().into(), y.clone().into()).value;
        let dy = slope.clone() * dx.clone();
        let Some(ddx) = second else { return Self::new(y, dy) };
        let bend = df(Dual::new(x, dx.clone()), Dual::new(y.clone(), dy.clone())).tangent;
        let second = sum(Some(slope * ddx), bend.map(|bend| bend * dx));
        Self { value: y, tangent: Some(dy), second }
    }

    /// The product with a constant.
    pub fn mul_scalar(self, c: f64) -> Self {
        self.linear(|x| x.mul_scalar(c))
    }

    /// The sum with a constant.
    pub fn add_scalar(self, c: f64) -> Self {
        self.affine(|x| x.add_scalar(c), |dx| dx)
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
        let y = activation::softmax(self.value, dim);
        let Some(dx) = self.tangent else { return y.into() };
        // With ⟨·⟩ the mean under y: ẏ = y (ẋ − ⟨ẋ⟩), ÿ = ẏ (ẋ − ⟨ẋ⟩) + y (ẍ − Σ (ẏ ẋ + y ẍ)).
        let centred = dx.clone() - (y.clone() * dx.clone()).sum_dim(dim);
        let dy = y.clone() * centred.clone();
        let second = self.second.map(|ddx| {
            let mean = (dy.clone() * dx + y.clone() * ddx.clone()).sum_dim(dim);
            dy.clone() * centred + y.clone() * (ddx - mean)
        });
        Self { value: y, tangent: Some(dy), second }
    }

    /// The matrix product over the last two dimensions.
    pub fn matmul(self, other: Self) -> Self {
        self.product(other, Tensor::matmul)
    }

    /// Applies a map that is linear in both factors.
    fn product(self, other: Self, f: impl Fn(Tensor<D>, Tensor<D>) -> Tensor<D>) -> Self {
        let (a, b) = (self, other);
        let left = |d: &Tensor<D>| f(d.clone(), b.value.clone());
        let right = |d: &Tensor<D>| f(a.value.clone(), d.clone());
        let tangent = sum(a.tangent.as_ref().map(left), b.tangent.as_ref().map(right));
        let second = a.carry_second(&b).then(|| {
            let across = a.tangent.clone().zip(b.tangent.clone());
            let across = across.map(|(da, db)| f(da, db).mul_scalar(2.0));
            let outer = sum(a.second.as_ref().map(left), b.second.as_ref().map(right));
            sum(outer, across)
        });
        Self { tangent, second: second.flatten(), value: f(a.value, b.value) }
    }

    /// Whether a result of both has a second derivative: each operand has one or is constant.
    fn carry_second(&self, other: &Self) -> bool {
        [self, other].iter().all(|part| part.tangent.is_none() || part.second.is_some())
    }

    /// Swaps two dimensions.
    pub fn swap_dims(self, a: usize, b: usize) -> Self {
        self.linear(|x| x.swap_dims(a, b))
    }

    /// The same values in another shape.
    pub fn reshape<const E: usize>(self, shape: [usize; E]) -> Dual<E> {
        self.linear(|x| x.reshape(shape))
    }

    /// Concatenates two values along the last dimension.
    pub fn join(self, other: Self) -> Self {
        let carry = self.carry_second(&other);
        let join = |a: Option<Tensor<D>>, b: Option<Tensor<D>>| match (a, b) {
            (None, None) => None,
            (a, b) => Some(tweedie_ops::join(
                a.unwrap_or_else(|| self.value.zeros_like()),
                b.unwrap_or_else(|| other.value.zeros_like()),
            )),
        };
        let tangent = join(self.tangent.clone(), other.tangent.clone());
        let second = carry.then(|| join(self.second.clone(), other.second.clone())).flatten();
        Self { tangent, second, value: tweedie_ops::join(self.value, other.value) }
    }

    /// Concatenates along `dim`; a part without a tangent counts as constant. `parts` must not be empty.
    pub fn cat(parts: Vec<Dual<D>>, dim: usize) -> Self {
        let carry = parts.iter().all(|part| part.tangent.is_none() || part.second.is_some());
        let cat = |of: fn(&Dual<D>) -> &Option<Tensor<D>>| {
            parts.iter().any(|part| of(part).is_some()).then(|| {
                let zeros = |part: &Dual<D>| part.value.zeros_like();
                let all = parts.iter().map(|p| of(p).clone().unwrap_or_else(|| zeros(p)));
                Tensor::cat(all.collect(), dim)
            })
        };
        let tangent = cat(|part| &part.tangent);
        let second = if carry { cat(|part| &part.second) } else { None };
        let values = parts.into_iter().map(|part| part.value).collect();
        Self { value: Tensor::cat(values, dim), tangent, second }
    }
}

/// The sum a + b, with absent terms as zero.
fn sum<const D: usize>(a: Option<Tensor<D>>, b: Option<Tensor<D>>) -> Option<Tensor<D>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

impl<const D: usize, T: Into<Dual<D>>> Add<T> for Dual<D> {
    type Output = Self;

    /// The sum, with broadcasting.
    fn add(self, other: T) -> Self {
        let other = other.into();
        let carry = self.carry_second(&other);
        let value = self.value + other.value;
        let wide = |d: Tensor<D>| if d.dims() == value.dims() { d } else { d.expand(value.dims()) };
        let tangent = sum(self.tangent, other.tangent).map(wide);
        let second = carry.then(|| sum(self.second, other.second).map(wide)).flatten();
        Self { value, tangent, second }
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
        self.product(other.into(), |a, b| a * b)
    }
}

impl<const D: usize> Neg for Dual<D> {
    type Output = Self;

    /// The negative.
    fn neg(self) -> Self {
        self.linear(Tensor::neg)
    }
}
