//! Pointwise functions and their derivatives, on slices and on vectors inside other kernels.

use super::{PIECE, SERIAL, each, math, vectorized};
use pulp::Simd;

/// A pointwise function, compiled into the kernel that uses it.
pub trait Curve: Copy + Send + Sync {
    /// Whether it is the identity.
    const IDENTITY: bool = false;
    /// f(x).
    fn value<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s;
    /// f′(x).
    fn derivative<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s;
}

/// The pointwise functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// x.
    #[default]
    None,
    /// max(x, 0), with derivative 0 at 0.
    Relu,
    /// x/(1 + e^{−x}).
    Silu,
    /// x Φ(x) with the Gaussian's distribution function, not its tanh approximation.
    Gelu,
    /// tanh x.
    Tanh,
    /// 1/(1 + e^{−x}).
    Sigmoid,
    /// ln(1 + e^x).
    Softplus,
    /// e^x.
    Exp,
}

impl Activation {
    /// All activations.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Relu,
        Self::Silu,
        Self::Gelu,
        Self::Tanh,
        Self::Sigmoid,
        Self::Softplus,
        Self::Exp,
    ];
}

/// A match at each vector: for epilogues, where a predictable branch is cheap.
impl Curve for Activation {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        match self {
            Self::None => x,
            Self::Relu => Relu.value(simd, x),
            Self::Silu => Silu.value(simd, x),
            Self::Gelu => Gelu.value(simd, x),
            Self::Tanh => Tanh.value(simd, x),
            Self::Sigmoid => Sigmoid.value(simd, x),
            Self::Softplus => Softplus.value(simd, x),
            Self::Exp => Exp.value(simd, x),
        }
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        match self {
            Self::None => simd.splat_f32s(1.0),
            Self::Relu => Relu.derivative(simd, x),
            Self::Silu => Silu.derivative(simd, x),
            Self::Gelu => Gelu.derivative(simd, x),
            Self::Tanh => Tanh.derivative(simd, x),
            Self::Sigmoid => Sigmoid.derivative(simd, x),
            Self::Softplus => Softplus.derivative(simd, x),
            Self::Exp => Exp.derivative(simd, x),
        }
    }
}

macro_rules! curve {
    ($(#[$meta:meta])* $name:ident, |$simd:ident, $x:ident| $value:expr, $derivative:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;
        impl Curve for $name {
            #[inline(always)]
            fn value<S: Simd>(self, $simd: S, $x: S::f32s) -> S::f32s {
                $value
            }
            #[inline(always)]
            fn derivative<S: Simd>(self, $simd: S, $x: S::f32s) -> S::f32s {
                $derivative
            }
        }
    };
}

/// [`Activation::None`].
#[derive(Debug, Clone, Copy)]
pub struct Identity;

impl Curve for Identity {
    const IDENTITY: bool = true;
    #[inline(always)]
    fn value<S: Simd>(self, _: S, x: S::f32s) -> S::f32s {
        x
    }
    #[inline(always)]
    fn derivative<S: Simd>(self, simd: S, _: S::f32s) -> S::f32s {
        simd.splat_f32s(1.0)
    }
}

curve! {
    /// [`Activation::Relu`].
    Relu, |simd, x| {
        let zero = simd.splat_f32s(0.0);
        simd.select_f32s(simd.less_than_f32s(x, zero), zero, x)
    }, {
        let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
        simd.select_f32s(simd.less_than_f32s(zero, x), one, zero)
    }
}
curve! {
    /// [`Activation::Silu`].
    Silu, |simd, x| math::silu(simd, x), math::silu_derivative(simd, x)
}
curve! {
    /// [`Activation::Gelu`].
    Gelu, |simd, x| math::gelu(simd, x), math::gelu_derivative(simd, x)
}
curve! {
    /// [`Activation::Tanh`].
    Tanh, |simd, x| math::tanh(simd, x), {
        // 4 s(2x) s(−2x), which keeps its digits where tanh is nearly 1.
        let double = simd.add_f32s(x, x);
        let s = math::sigmoid(simd, double);
        let t = math::sigmoid(simd, simd.neg_f32s(double));
        simd.mul_f32s(simd.mul_f32s(simd.splat_f32s(4.0), s), t)
    }
}
curve! {
    /// [`Activation::Sigmoid`].
    Sigmoid, |simd, x| math::sigmoid(simd, x), {
        let s = math::sigmoid(simd, x);
        simd.mul_f32s(s, math::sigmoid(simd, simd.neg_f32s(x)))
    }
}
curve! {
    /// [`Activation::Softplus`].
    Softplus, |simd, x| math::softplus(simd, x), math::sigmoid(simd, x)
}
curve! {
    /// [`Activation::Exp`].
    Exp, |simd, x| math::exp(simd, x), math::exp(simd, x)
}

/// Runs an expression with the [`Curve`] of an [`Activation`].
macro_rules! with_curve {
    ($activation:expr, |$curve:ident| $body:expr) => {{
        use $crate::kernels::activation as curves;
        match $activation {
            curves::Activation::None => {
                let $curve = curves::Identity;
                $body
            }
            curves::Activation::Relu => {
                let $curve = curves::Relu;
                $body
            }
            curves::Activation::Silu => {
                let $curve = curves::Silu;
                $body
            }
            curves::Activation::Gelu => {
                let $curve = curves::Gelu;
                $body
            }
            curves::Activation::Tanh => {
                let $curve = curves::Tanh;
                $body
            }
            curves::Activation::Sigmoid => {
                let $curve = curves::Sigmoid;
                $body
            }
            curves::Activation::Softplus => {
                let $curve = curves::Softplus;
                $body
            }
            curves::Activation::Exp => {
                let $curve = curves::Exp;
                $body
            }
        }
    }};
}
pub(crate) use with_curve;

vectorized! {
    fn values<'a, C: Curve>(simd: S, curve: C, x: &'a [f32], y: &'a mut [f32]) -> () {
        let (x, x_tail) = S::as_simd_f32s(x);
        let (y, y_tail) = S::as_mut_simd_f32s(y);
        for (x, y) in x.iter().zip(y) {
            *y = curve.value(simd, *x);
        }
        if !x_tail.is_empty() {
            let value = curve.value(simd, simd.partial_load_f32s(x_tail));
            simd.partial_store_f32s(y_tail, value);
        }
    }
}

vectorized! {
    fn slopes<'a, C: Curve>(
        simd: S, curve: C, x: &'a [f32], dy: &'a [f32], dx: &'a mut [f32],
    ) -> () {
        let (x, x_tail) = S::as_simd_f32s(x);
        let (dy, dy_tail) = S::as_simd_f32s(dy);
        let (dx, dx_tail) = S::as_mut_simd_f32s(dx);
        for ((x, dy), dx) in x.iter().zip(dy).zip(dx) {
            *dx = simd.mul_f32s(*dy, curve.derivative(simd, *x));
        }
        if !x_tail.is_empty() {
            let slope = curve.derivative(simd, simd.partial_load_f32s(x_tail));
            let value = simd.mul_f32s(simd.partial_load_f32s(dy_tail), slope);
            simd.partial_store_f32s(dx_tail, value);
        }
    }
}

vectorized! {
    fn both<'a, C: Curve>(
        simd: S, curve: C, x: &'a [f32], y: &'a mut [f32], slope: &'a mut [f32],
    ) -> () {
        let (x, x_tail) = S::as_simd_f32s(x);
        let (y, y_tail) = S::as_mut_simd_f32s(y);
        let (slope, slope_tail) = S::as_mut_simd_f32s(slope);
        for ((x, y), slope) in x.iter().zip(y).zip(slope) {
            *y = curve.value(simd, *x);
            *slope = curve.derivative(simd, *x);
        }
        if !x_tail.is_empty() {
            let x = simd.partial_load_f32s(x_tail);
            simd.partial_store_f32s(y_tail, curve.value(simd, x));
            simd.partial_store_f32s(slope_tail, curve.derivative(simd, x));
        }
    }
}

/// y = f(x) on the calling thread.
pub fn values_of(activation: Activation, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    with_curve!(activation, |curve| values(curve, x, y));
}

/// y = f(x) and f′(x), on the calling thread.
pub fn values_and_slopes(activation: Activation, x: &[f32], y: &mut [f32], slope: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    assert_eq!(x.len(), slope.len());
    with_curve!(activation, |curve| both(curve, x, y, slope));
}

/// y = f(x).
pub fn forward(activation: Activation, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    let parallel = x.len() >= SERIAL;
    with_curve!(activation, |curve| each(
        parallel,
        x.chunks(PIECE).zip(y.chunks_mut(PIECE)),
        |(x, y)| values(curve, x, y)
    ));
}

/// dx = dy f′(x).
pub fn backward(activation: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert_eq!(x.len(), dy.len());
    assert_eq!(x.len(), dx.len());
    let parallel = x.len() >= SERIAL;
    with_curve!(activation, |curve| each(
        parallel,
        x.chunks(PIECE).zip(dy.chunks(PIECE)).zip(dx.chunks_mut(PIECE)),
        |((x, dy), dx)| slopes(curve, x, dy, dx)
    ));
}
