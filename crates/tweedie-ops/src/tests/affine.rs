//! Affine maps and B tanh(x/B) against formulas in double precision, gradients against finite differences.

use super::common::*;
use crate::kernels::affine::{Affines, bound, bound_backward};
use crate::kernels::spline::Direction;
use proptest::prelude::*;

/// The values of a row, and the sum of the logarithms of their slopes.
fn exact(of: Affines, x: &[f64], parameters: &[f64]) -> Vec<f64> {
    let (most, m) = (f64::from(of.most), of.width);
    let s = |j: usize| most * (parameters[m + j] / most).tanh();
    let value = |j: usize| match of.direction {
        Direction::ToNoise => (x[j] - parameters[j]) * (-s(j)).exp(),
        Direction::ToData => x[j] * s(j).exp() + parameters[j],
    };
    let sum: f64 = (0..m).map(s).sum();
    let sum = if of.direction == Direction::ToNoise { -sum } else { sum };
    (0..m).map(value).chain([sum]).collect()
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn affine_maps_and_their_gradients_are_those_of_the_definition(
        rows in prop_oneof![1usize..9, 200usize..600],
        width in 1usize..40,
        to_noise: bool,
        most in prop_oneof![Just(3.0f32), Just(0.5)],
        seed in 0u64..1000,
    ) {
        let direction = if to_noise { Direction::ToNoise } else { Direction::ToData };
        let of = Affines { rows, width, most, direction };
        let (x, parameters) = (numbers(rows * width, seed), numbers(2 * rows * width, seed + 1));
        let dy = numbers(rows * (width + 1), seed + 2);
        let all = on_any_threads(|| {
            let (mut y, mut dx, mut dp) = (stale(dy.len()), stale(x.len()), stale(parameters.len()));
            of.forward(&x, &parameters, &mut y);
            of.backward(&x, &parameters, &dy, &mut dx, &mut dp);
            vec![y, dx, dp]
        });
        let wide = |x: &[f32]| x.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let (mut y, mut dx, mut dp) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..rows {
            let x = wide(&x[row * width..][..width]);
            let p = wide(&parameters[row * 2 * width..][..2 * width]);
            let dy = wide(&dy[row * (width + 1)..][..width + 1]);
            y.extend(exact(of, &x, &p));
            let loss = |x: &[f64], p: &[f64]| -> f64 {
                exact(of, x, p).iter().zip(&dy).map(|(y, dy)| y * dy).sum()
            };
            let slope = |f: &dyn Fn(f64) -> f64| (f(1e-6) - f(-1e-6)) / 2e-6;
            let moved = |of: &[f64], j: usize, h: f64| {
                let mut of = of.to_vec();
                of[j] += h;
                of
            };
            dx.extend((0..width).map(|j| slope(&|h| loss(&moved(&x, j, h), &p))));
            dp.extend((0..2 * width).map(|j| slope(&|h| loss(&x, &moved(&p, j, h)))));
        }
        assert_close("y", &all[0], &y, 3e-6);
        assert_close("dx", &all[1], &dx, 3e-6);
        assert_close("dparameters", &all[2], &dp, 3e-6);
        // A row alone has the bits that it has among others.
        let (one, last) = (Affines { rows: 1, ..of }, rows - 1);
        let (mut y, mut dx, mut dp) = (stale(width + 1), stale(width), stale(2 * width));
        let (x, p) = (&x[last * width..], &parameters[last * 2 * width..]);
        one.forward(x, p, &mut y);
        one.backward(x, p, &dy[last * (width + 1)..], &mut dx, &mut dp);
        assert_same("y", &y, &all[0][last * (width + 1)..]);
        assert_same("dx", &dx, &all[1][last * width..]);
        assert_same("dparameters", &dp, &all[2][last * 2 * width..]);
    }

    #[test]
    fn bounds_and_their_slopes_are_those_of_the_definition(
        len in prop_oneof![1usize..70, 16_000usize..40_000],
        most in prop_oneof![Just(10.0f32), Just(0.7)],
        seed in 0u64..1000,
    ) {
        let (x, dy) = (numbers(len, seed), numbers(len, seed + 1));
        let all = on_any_threads(|| {
            let (mut y, mut dx) = (stale(len), stale(len));
            bound(most, &x, &mut y);
            bound_backward(most, &x, &dy, &mut dx);
            vec![y, dx]
        });
        let b = f64::from(most);
        let y: Vec<f64> = x.iter().map(|x| b * (f64::from(*x) / b).tanh()).collect();
        let slope = |x: f32| (f64::from(x) / b).cosh().powi(-2);
        let dx: Vec<f64> = x.iter().zip(&dy).map(|(x, dy)| f64::from(*dy) * slope(*x)).collect();
        assert_close("y", &all[0], &y, 1e-6);
        assert_close("dx", &all[1], &dx, 1e-6);
    }
}

/// Far out the bound is reached, and nothing is lost.
#[test]
fn far_values_stay_finite() {
    let of = Affines { rows: 1, width: 2, most: 3.0, direction: Direction::ToNoise };
    let (x, parameters) = ([1e30, -1e30], [0.0, 0.0, 1e30, -1e30]);
    let (mut y, mut dx, mut dp) = ([0.0; 3], [0.0; 2], [0.0; 4]);
    of.forward(&x, &parameters, &mut y);
    of.backward(&x, &parameters, &[1.0; 3], &mut dx, &mut dp);
    assert_close("y", &y, &[1e30 * (-3f64).exp(), -1e30 * 3f64.exp(), 0.0], 1e-6);
    assert!(dx.iter().chain(&dp).all(|v| v.is_finite()));
    let mut y = [0.0; 2];
    bound(10.0, &x, &mut y);
    assert_eq!(y, [10.0, -10.0]);
}
