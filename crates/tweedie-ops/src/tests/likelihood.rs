//! Log-likelihoods against formulas in double precision, gradients against finite differences.

use super::common::*;
use crate::kernels::likelihood::{
    Draws, LogisticMixture, bernoulli, bernoulli_backward, bernoulli_rows, bernoulli_rows_backward,
    log_sum_exp, log_sum_exp_backward,
};
use proptest::prelude::*;

fn sum_of(x: &[f64]) -> f64 {
    let most = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    x.iter().map(|x| (x - most).exp()).sum::<f64>().ln() + most
}

/// The log-likelihood of a value by the definition.
fn exact(of: LogisticMixture, x: f64, parameters: &[f64]) -> f64 {
    let [step, origin, most, usual] = [of.step, of.origin, of.most, of.usual].map(f64::from);
    let ([least, greatest], k) = (of.ends.map(f64::from), of.components);
    let index = ((x - origin) / step).round();
    let term = |j: usize| {
        let (mean, u) = (parameters[k + j], parameters[2 * k + j]);
        let scale = (u / (1.0 + u.abs() / most) + usual).exp();
        let z = |shift: f64| ((index + shift) * step + origin - mean) / scale;
        let (above, below) = (z(0.5), z(-0.5));
        let log_p = match (x < least + 0.25 * step, x > greatest - 0.25 * step) {
            (true, true) => 0.0,
            (true, false) => -(-above).exp().ln_1p(),
            (false, true) => -below.exp().ln_1p(),
            (false, false) => {
                // ln σ(B) + ln σ(−A) + ln(1 − e^{A − B}).
                let soft = |x: f64| activate(crate::Activation::Softplus, x);
                -soft(-above) - soft(below) + (-(below - above).exp()).ln_1p()
            }
        };
        log_p + parameters[j]
    };
    sum_of(&(0..k).map(term).collect::<Vec<_>>()) - sum_of(&parameters[..k])
}

/// The derivative of `f` by each number, by central differences.
fn slopes(at: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let moved = |j: usize, h: f64| {
        let mut at = at.to_vec();
        at[j] += h;
        f(&at)
    };
    (0..at.len()).map(|j| (moved(j, 1e-5) - moved(j, -1e-5)) / 2e-5).collect()
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn sums_of_exponentials_are_those_of_the_definition(
        rows in prop_oneof![1usize..9, 300usize..900],
        width in prop_oneof![1usize..40, Just(256)],
        spread in prop_oneof![Just(1.0f32), Just(40.0)],
        seed in 0u64..1000,
    ) {
        let x: Vec<f32> = numbers(rows * width, seed).iter().map(|x| x * spread).collect();
        let dy = numbers(rows, seed + 1);
        let all = on_any_threads(|| {
            let (mut y, mut dx) = (stale(rows), stale(x.len()));
            log_sum_exp(width, &x, &mut y);
            log_sum_exp_backward(width, &x, &y, &dy, &mut dx);
            vec![y, dx]
        });
        let wide_x = wide(&x);
        let y: Vec<f64> = wide_x.chunks(width).map(sum_of).collect();
        let dx = wide_x.iter().enumerate();
        let dx: Vec<f64> = dx
            .map(|(i, x)| f64::from(dy[i / width]) * (x - y[i / width]).exp())
            .collect();
        assert_close("y", &all[0], &y, 1e-6);
        assert_close("dx", &all[1], &dx, 2e-5);
        let (mut y, last) = ([0.0], (rows - 1) * width);
        log_sum_exp(width, &x[last..], &mut y);
        assert_same("a row alone", &y, &all[0][rows - 1..]);
    }

    #[test]
    fn bernoulli_likelihoods_are_those_of_the_definition(
        len in prop_oneof![1usize..70, 16_000usize..40_000],
        seed in 0u64..1000,
    ) {
        let logits: Vec<f32> = numbers(len, seed).iter().map(|x| 20.0 * x).collect();
        let v: Vec<f32> = numbers(len, seed + 1).iter().map(|x| f32::from(*x > 0.0)).collect();
        let dy = numbers(len, seed + 2);
        let all = on_any_threads(|| {
            let [mut y, mut dx, mut dv] = [(); 3].map(|()| stale(len));
            bernoulli(&logits, &v, &mut y);
            bernoulli_backward(&logits, &v, &dy, &mut dx, &mut dv);
            vec![y, dx, dv]
        });
        let (x, v, dy) = (wide(&logits), wide(&v), wide(&dy));
        let of = |f: &dyn Fn(usize) -> f64| (0..len).map(f).collect::<Vec<f64>>();
        let soft = |x: f64| activate(crate::Activation::Softplus, x);
        assert_close("y", &all[0], &of(&|i| x[i] * v[i] - soft(x[i])), 1e-6);
        assert_close("dlogits", &all[1], &of(&|i| dy[i] * (v[i] - sigmoid(x[i]))), 1e-6);
        assert_close("dv", &all[2], &of(&|i| dy[i] * x[i]), 1e-6);
    }

    #[test]
    fn bernoulli_likelihoods_of_rows_are_sums_over_their_values(
        n in 1usize..6,
        draws in prop_oneof![1usize..5, 300usize..700],
        width in 1usize..70,
        seed in 0u64..1000,
    ) {
        let all = n * draws * width;
        let logits: Vec<f32> = numbers(all, seed).iter().map(|x| 20.0 * x).collect();
        let v: Vec<f32> = numbers(n * width, seed + 1).iter().map(|x| f32::from(*x > 0.0)).collect();
        let dy = numbers(n * draws, seed + 2);
        let of = Draws { width, draws };
        let found = on_any_threads(|| {
            let (mut y, mut dx) = (stale(n * draws), stale(all));
            bernoulli_rows(of, &v, &logits, &mut y);
            bernoulli_rows_backward(of, &v, &logits, &dy, &mut dx);
            vec![y, dx]
        });
        let (x, v, dy) = (wide(&logits), wide(&v), wide(&dy));
        let soft = |x: f64| activate(crate::Activation::Softplus, x);
        let value = |i: usize| v[i / width / draws * width + i % width];
        let each = |i: usize| x[i] * value(i) - soft(x[i]);
        let rows = (0..n * draws).map(|row| (row * width..(row + 1) * width).map(each).sum());
        assert_close("y", &found[0], &rows.collect::<Vec<f64>>(), 1e-5);
        let slopes = (0..all).map(|i| dy[i / width] * (value(i) - sigmoid(x[i])));
        assert_close("dlogits", &found[1], &slopes.collect::<Vec<f64>>(), 1e-6);
        let (mut y, last) = ([0.0], n * draws - 1);
        let own = &v.iter().map(|v| *v as f32).collect::<Vec<f32>>()[(n - 1) * width..];
        bernoulli_rows(Draws { width, draws: 1 }, own, &logits[last * width..], &mut y);
        assert_same("a row alone", &y, &found[0][last..]);
    }

    #[test]
    fn logistic_mixtures_are_those_of_the_definition(
        count in prop_oneof![1usize..40, 700usize..1500],
        components in 1usize..8,
        levels in prop_oneof![Just(2usize), Just(16), Just(256)],
        open: bool,
        seed in 0u64..1000,
    ) {
        let step = 2.0 / levels as f32;
        let centre = |i: usize| (i as f32 + 0.5) * step - 1.0;
        let ends = match open {
            true => [f32::NEG_INFINITY, f32::INFINITY],
            false => [centre(0), centre(levels - 1)],
        };
        let of = LogisticMixture { components, step, origin: centre(0), ends, most: 9.0, usual: -2.0 };
        let parameters = numbers(3 * components * count, seed);
        let level = |x: &f32| ((x.abs() * 0.5 * levels as f32) as usize).min(levels - 1);
        let x: Vec<f32> = numbers(count, seed + 1).iter().map(|x| centre(level(x))).collect();
        let dy = numbers(count, seed + 2);
        let all = on_any_threads(|| {
            let (mut y, mut dp) = (stale(count), stale(parameters.len()));
            of.log_likelihood(&x, &parameters, &mut y);
            of.slopes(&x, &parameters, &dy, &mut dp);
            vec![y, dp]
        });
        let (mut y, mut dp) = (Vec::new(), Vec::new());
        for (i, p) in wide(&parameters).chunks(3 * components).enumerate() {
            let x = f64::from(x[i]);
            y.push(exact(of, x, p));
            dp.extend(slopes(p, |p| f64::from(dy[i]) * exact(of, x, p)));
        }
        assert_close("y", &all[0], &y, 2e-6);
        assert_close("dparameters", &all[1], &dp, 1e-5);
        let (last, mut y) = (count - 1, [0.0]);
        of.log_likelihood(&x[last..], &parameters[last * 3 * components..], &mut y);
        assert_same("a value alone", &y, &all[0][last..]);
    }
}

/// Probabilities of all levels sum to one at any scale, values far out have finite log-likelihoods and gradients, and a
/// sum of nothing is minus infinity.
#[test]
fn probabilities_sum_to_one_and_far_values_stay_finite() {
    let (levels, step) = (256, 2.0 / 256.0f32);
    let centre = |i: usize| (i as f32 + 0.5) * step - 1.0;
    let ends = [centre(0), centre(levels - 1)];
    let of =
        LogisticMixture { components: 2, step, origin: centre(0), ends, most: 9.0, usual: -2.0 };
    for u in [-1e30, -50.0, -3.0, 0.0, 4.0, 1e30] {
        let parameters = [0.3, -0.2, 0.11, -0.7, u, 0.5 * u].repeat(levels);
        let x: Vec<f32> = (0..levels).map(centre).collect();
        let mut y = stale(levels);
        of.log_likelihood(&x, &parameters, &mut y);
        let sum: f64 = y.iter().map(|y| f64::from(*y).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum} at u = {u}");
    }
    for mean in [1e3, -1e3, 1e30, -1e30] {
        for u in [-1e30, 0.0, 1e30] {
            let parameters = [1e30, -1e30, mean, -mean, u, -u];
            for x in [centre(0), centre(100), centre(levels - 1)] {
                let (mut y, mut dp) = ([0.0], [0.0; 6]);
                of.log_likelihood(&[x], &parameters, &mut y);
                of.slopes(&[x], &parameters, &[1.0], &mut dp);
                let finite = y.iter().chain(&dp).all(|v| v.is_finite());
                assert!(finite, "{y:?}, {dp:?} at {x} of mean {mean}, u {u}");
            }
        }
    }
    let mut y = [0.0; 2];
    log_sum_exp(2, &[f32::NEG_INFINITY, f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY], &mut y);
    assert_eq!(y, [f32::NEG_INFINITY, 1.0]);
}
