//! The bounds that `kernels::math` states, over a sweep of all f32 bit patterns, extremes included.

use super::common::{normal_cdf, sigmoid, ulps};
use crate::kernels::math;
use pulp::{Scalar, Simd, WithSimd};
use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

/// A function of `kernels::math` under test.
trait Function: Copy {
    fn vector<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s;
}

struct Run<'a, F> {
    function: F,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl<F: Function> WithSimd for Run<'_, F> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (x, rest) = S::as_simd_f32s(self.x);
        assert!(rest.is_empty());
        for (x, y) in x.iter().zip(S::as_mut_simd_f32s(self.y).0) {
            *y = self.function.vector(simd, *x);
        }
    }
}

/// Every `stride`th bit pattern and what lies around the seams, padded to whole vectors.
fn inputs(stride: usize) -> Vec<f32> {
    let mut x: Vec<f32> = (0..=u32::MAX).step_by(stride).map(f32::from_bits).collect();
    let seams = [0.625, 1.0, FRAC_1_SQRT_2, SQRT_2, 15.0, 87.3, 88.72, 89.5, 103.97, 120.0];
    for seam in seams {
        for k in 0..200 {
            let near = f32::from_bits(f32::to_bits(seam) + k - 100);
            x.extend([near, -near]);
        }
    }
    for k in 0..200_000 {
        x.push((k as f32 - 100_000.0) * 1.2e-3);
    }
    let extremes = [0.0, f32::MIN_POSITIVE, 1e-45, f32::MAX, f32::INFINITY, f32::NAN];
    x.extend(extremes.iter().flat_map(|x| [*x, -*x]));
    while !x.len().is_multiple_of(16) {
        x.push(0.0);
    }
    x
}

fn check(function: impl Function, exact: impl Fn(f64) -> f64, bound: f64, absolute: bool) {
    let x = inputs(8009);
    let expected: Vec<f64> = x.iter().map(|x| exact(f64::from(*x))).collect();
    let mut y = vec![f32::NAN; x.len()];
    type OnSet<'a> = Box<dyn Fn(&mut [f32]) + 'a>;
    let mut sets: Vec<(&str, OnSet)> = vec![
        ("chosen", Box::new(|y| pulp::Arch::new().dispatch(Run { function, x: &x, y }))),
        ("scalar", Box::new(|y| Scalar.vectorize(Run { function, x: &x, y }))),
    ];
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        let x = &x;
        sets.push(("v3", Box::new(move |y| Simd::vectorize(simd, Run { function, x, y }))));
    }
    for (set, run) in sets {
        y.fill(f32::NAN);
        run(&mut y);
        let error = |y: f32, e: f64| if absolute { (f64::from(y) - e).abs() } else { ulps(y, e) };
        let mut worst = (0.0, 0.0, 0.0, 0.0);
        for ((x, y), e) in x.iter().zip(&y).zip(&expected) {
            let error = error(*y, *e);
            if e.is_nan() {
                assert!(y.is_nan(), "{set}: f({x:e}) = {y:e}, not NaN");
            } else if error.is_nan() || error > worst.0 {
                worst = (error, *x, *y, *e);
            }
        }
        let (error, x, y, e) = worst;
        println!("{set}: {error:.3} at {x:e}");
        assert!(error <= bound, "{set}: f({x:e}) = {y:e}, not {e:e}: error {error}");
    }
}

macro_rules! bound {
    ($test:ident, $($function:ident)::+, $exact:expr, $bound:expr, $absolute:literal) => {
        #[test]
        fn $test() {
            #[derive(Clone, Copy)]
            struct It;
            impl Function for It {
                #[inline(always)]
                fn vector<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
                    $($function)::+(simd, x)
                }
            }
            check(It, $exact, $bound, $absolute);
        }
    };
}

/// Where x = −∞ meets a factor 0, the limit.
fn limit(x: f64, value: f64) -> f64 {
    if x == f64::NEG_INFINITY { 0.0 } else { value }
}

bound!(exp_is_close, math::exp, f64::exp, 2.0, false);
bound!(log_is_close, math::log, f64::ln, 2.0, false);
bound!(sigmoid_is_close, math::sigmoid, sigmoid, 4.0, false);
bound!(silu_is_close, math::silu, |x| limit(x, x * sigmoid(x)), 4.0, false);
bound!(tanh_is_close, math::tanh, f64::tanh, 4.0, false);
bound!(softplus_is_close, math::softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), 4.0, false);
bound!(gelu_is_close, math::gelu, |x| limit(x, x * normal_cdf(x)), 6.0, false);
bound!(silu_derivative_is_close, math::silu_derivative, silu_derivative, 4e-7, true);
bound!(gelu_derivative_is_close, math::gelu_derivative, gelu_derivative, 4e-7, true);

fn silu_derivative(x: f64) -> f64 {
    if x.abs() > 700.0 {
        return f64::from(u8::from(x > 0.0));
    }
    sigmoid(x) * (1.0 + x * sigmoid(-x))
}

fn gelu_derivative(x: f64) -> f64 {
    if x.abs() > 40.0 {
        return f64::from(u8::from(x > 0.0));
    }
    normal_cdf(x) + x * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}
