//! Reference functions in f64, random inputs, and comparisons.

use crate::kernels::activation::Activation;
use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;
use std::sync::OnceLock;

/// 1 − Φ(x)'s complement pieces: erfc by its series below 2 and its continued fraction above.
pub fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    let root = std::f64::consts::PI.sqrt();
    if x < 2.0 {
        let (mut term, mut sum) = (x, x);
        for k in 1..80 {
            term *= -x * x / k as f64;
            sum += term / (2 * k + 1) as f64;
        }
        return 1.0 - 2.0 / root * sum;
    }
    // Γ(½, x²) by Legendre's continued fraction, from its end.
    let mut f = 0.0;
    for k in (1..120).rev() {
        f = 0.5 * k as f64 / (x + f);
    }
    (-x * x).exp() / root / (x + f)
}

/// Φ.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * erfc(-x / std::f64::consts::SQRT_2)
}

pub fn sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

/// An activation by its definition.
pub fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Silu => x * sigmoid(x),
        Activation::Gelu => x * normal_cdf(x),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => sigmoid(x),
        Activation::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Activation::Exp => x.exp(),
    }
}

/// The distance of `found` from `exact`, in units of the last place of the f32 next to `exact`.
pub fn ulps(found: f32, exact: f64) -> f64 {
    if exact.is_nan() {
        return if found.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if (exact as f32).is_infinite() || found.is_infinite() {
        return if exact as f32 == found { 0.0 } else { f64::INFINITY };
    }
    let exponent = exact.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor() as i32;
    (f64::from(found) - exact).abs() / 2f64.powi(exponent - 23)
}

/// `len` numbers in about ±2, the same for the same seed.
pub fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def0;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..len).map(|_| 2.0 * (next() + next() - 1.0)).collect()
}

/// The same `count` cases at each run.
pub fn cases(count: u32) -> ProptestConfig {
    let rng_seed = RngSeed::Fixed(1);
    ProptestConfig { cases: count, failure_persistence: None, rng_seed, ..Default::default() }
}

/// What a kernel must overwrite.
pub fn stale(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}

pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// Asserts |found − exact| ≤ `bound` (1 + the largest |exact|) for each element.
#[track_caller]
pub fn assert_close(what: &str, found: &[f32], exact: &[f64], bound: f64) {
    assert_eq!(found.len(), exact.len(), "{what}");
    let size = exact.iter().fold(1.0, |m: f64, e| m.max(e.abs()));
    for (i, (f, e)) in found.iter().zip(exact).enumerate() {
        let error = (f64::from(*f) - e).abs();
        assert!(error <= bound * size, "{what}[{i}] = {f}, not {e} (of {size})");
    }
}

#[track_caller]
pub fn assert_same(what: &str, a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!(a.to_bits() == b.to_bits(), "{what}[{i}]: {a:e} and {b:e}");
    }
}

/// Runs `work` on 1, 2, 3 and 8 threads, asserts that its slices are the same bits, and gives them.
#[track_caller]
pub fn on_any_threads(work: impl Fn() -> Vec<Vec<f32>> + Sync) -> Vec<Vec<f32>> {
    static POOLS: OnceLock<Vec<rayon::ThreadPool>> = OnceLock::new();
    let pools = POOLS.get_or_init(|| {
        let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        [1, 2, 3, 8].map(pool).into()
    });
    let first = pools[0].install(&work);
    for pool in &pools[1..] {
        for (i, (a, b)) in first.iter().zip(pool.install(&work)).enumerate() {
            assert_same(&format!("result {i} on {} threads", pool.current_num_threads()), a, &b);
        }
    }
    first
}

/// The derivatives of Σ weight · f(x) by each x, by central differences.
pub fn differences(x: &[f64], weight: &[f64], f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let h = 1e-5;
    let (mut x, size) = (x.to_vec(), x.len());
    let mut value = |i: usize, by: f64| {
        let kept = x[i];
        x[i] += by;
        let sum: f64 = f(&x).iter().zip(weight).map(|(f, w)| f * w).sum();
        x[i] = kept;
        sum
    };
    (0..size).map(|i| (value(i, h) - value(i, -h)) / (2.0 * h)).collect()
}
