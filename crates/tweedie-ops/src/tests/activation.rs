//! Activations and their gradients on slices of any length.

use super::common::*;
use crate::kernels::activation::{Activation, backward, forward};
use crate::kernels::gate;
use proptest::prelude::*;

proptest! {
    #![proptest_config(cases(40))]
    #[test]
    fn values_and_slopes_are_those_of_the_definition(
        len in prop_oneof![1usize..70, 16_000usize..60_000],
        which in 0..Activation::ALL.len(),
        seed in 0u64..1000,
    ) {
        let activation = Activation::ALL[which];
        let (x, dy) = (numbers(len, seed), numbers(len, seed + 1));
        let all = on_any_threads(|| {
            let (mut y, mut dx) = (stale(len), stale(len));
            forward(activation, &x, &mut y);
            backward(activation, &x, &dy, &mut dx);
            vec![y, dx]
        });
        let f = |x: f64| activate(activation, x);
        let exact: Vec<f64> = x.iter().map(|x| f(f64::from(*x))).collect();
        assert_close("y", &all[0], &exact, 5e-7);
        let slope = |x: f64| (f(x + 1e-6) - f(x - 1e-6)) / 2e-6;
        let kink = |x: f32| activation == Activation::Relu && x.abs() < 1e-5;
        let exact: Vec<f64> = (x.iter().zip(&dy).zip(&all[1]))
            .map(|((x, dy), dx)| if kink(*x) { f64::from(*dx) } else { f64::from(*dy) * slope(f64::from(*x)) })
            .collect();
        assert_close("dx", &all[1], &exact, 5e-7);
        // An element's bits do not depend on where it lies.
        let (mut y, mut dx) = (stale(len - 1), stale(len - 1));
        forward(activation, &x[1..], &mut y);
        backward(activation, &x[1..], &dy[1..], &mut dx);
        assert_same("y", &y, &all[0][1..]);
        assert_same("dx", &dx, &all[1][1..]);
    }

    #[test]
    fn gates_and_their_slopes_are_those_of_the_definition(
        rows in prop_oneof![1usize..9, 300usize..900],
        width in prop_oneof![1usize..70, Just(96usize)],
        which in 0..Activation::ALL.len(),
        seed in 0u64..1000,
    ) {
        let activation = Activation::ALL[which];
        let (x, dy) = (numbers(rows * 2 * width, seed), numbers(rows * width, seed + 1));
        let all = on_any_threads(|| {
            let (mut y, mut dx) = (stale(dy.len()), stale(x.len()));
            gate::forward(activation, width, &x, &mut y);
            gate::backward(activation, width, &x, &dy, &mut dx);
            vec![y, dx]
        });
        let value = |a: f64, b: f64| activate(activation, a) * activate(Activation::Sigmoid, b);
        let slope = |f: &dyn Fn(f64) -> f64| (f(1e-6) - f(-1e-6)) / 2e-6;
        let (mut y, mut dx) = (Vec::new(), vec![0.0; x.len()]);
        for (k, dy) in dy.iter().enumerate() {
            let (row, j) = (k / width, k % width);
            let [a, b] = [j, width + j].map(|j| f64::from(x[row * 2 * width + j]));
            y.push(value(a, b));
            let at = row * 2 * width + j;
            let kink = activation == Activation::Relu && a.abs() < 1e-5;
            dx[at] = match kink {
                true => f64::from(all[1][at]),
                false => f64::from(*dy) * slope(&|h| value(a + h, b)),
            };
            dx[at + width] = f64::from(*dy) * slope(&|h| value(a, b + h));
        }
        assert_close("y", &all[0], &y, 1e-6);
        assert_close("dx", &all[1], &dx, 1e-6);
        // A row alone has the bits that it has among others.
        let (mut y, mut dx) = (stale(width), stale(2 * width));
        let last = rows - 1;
        gate::forward(activation, width, &x[last * 2 * width..], &mut y);
        gate::backward(activation, width, &x[last * 2 * width..], &dy[last * width..], &mut dx);
        assert_same("y", &y, &all[0][last * width..]);
        assert_same("dx", &dx, &all[1][last * 2 * width..]);
    }
}
