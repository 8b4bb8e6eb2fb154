//! Helpers of the tests: tensors to and from the host, comparisons, quadrature and differences.

use burn::tensor::{DType, Device, Tensor, TensorData};
use std::fmt::Display;
use std::path::PathBuf;
use tweedie::process::{AnySchedule, Level, Schedule};

/// The reference device.
pub fn cpu() -> Device {
    Device::flex()
}

/// A `[values / width, width]` batch in double precision.
pub fn doubles(values: &[f64], width: usize) -> Tensor<2> {
    let data = TensorData::new(values.to_vec(), [values.len() / width, width]);
    Tensor::from_data(data, (&cpu(), DType::F64))
}

/// A tensor in single precision.
pub fn singles<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (&cpu(), DType::F32))
}

/// A tensor's values in double precision, in or out of a graph.
pub fn host<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.clone().inner().into_data().convert::<f64>().try_into_vec().expect("it is on the host")
}

/// Every named schedule with its default parameters.
pub fn schedules() -> impl Iterator<Item = (&'static str, AnySchedule)> {
    AnySchedule::NAMES.iter().map(|(name, _)| (*name, schedule(name)))
}

/// The named schedule with its default parameters.
pub fn schedule(name: &str) -> AnySchedule {
    let json = serde_json::json!({ "name": name });
    serde_json::from_value(json).expect("a schedule of this name")
}

/// Asserts |found − expected| ≤ tolerance.
#[track_caller]
pub fn within(what: impl Display, found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs();
    assert!(error <= tolerance, "{what}: {found}, expected {expected}, error {error:e}");
}

/// Asserts |found − expected| ≤ relative · |expected|.
#[track_caller]
pub fn close(what: impl Display, found: f64, expected: f64, relative: f64) {
    within(what, found, expected, relative * expected.abs());
}

/// Asserts that two arrays differ by at most `relative` times the second one's largest value.
#[track_caller]
pub fn all_close(what: impl Display, found: &[f64], expected: &[f64], relative: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: lengths");
    let scale = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        within(format!("{what}[{i}]"), *a, *b, relative * scale);
    }
}

/// ∫ₐᵇ f by Simpson's rule on `panels` panels.
pub fn simpson(a: f64, b: f64, panels: usize, f: impl Fn(f64) -> f64) -> f64 {
    let h = (b - a) / panels as f64;
    let panel = |k: usize| {
        let left = a + k as f64 * h;
        h / 6.0 * (f(left) + 4.0 * f(left + 0.5 * h) + f(left + h))
    };
    (0..panels).map(panel).sum()
}

/// f′(t) by the central difference of eighth order with step `h`.
pub fn difference(f: impl Fn(f64) -> f64, t: f64, h: f64) -> f64 {
    let weights = [4.0 / 5.0, -1.0 / 5.0, 4.0 / 105.0, -1.0 / 280.0];
    let term = |(k, w): (usize, f64)| {
        let step = (k + 1) as f64 * h;
        w * (f(t + step) - f(t - step))
    };
    weights.into_iter().enumerate().map(term).sum::<f64>() / h
}

/// ln sigmoid(x) to full relative accuracy.
pub fn ln_sigmoid(x: f64) -> f64 {
    if x >= 0.0 { -(-x).exp().ln_1p() } else { x - x.exp().ln_1p() }
}

/// Mean and variance.
pub fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0))
}

/// The Kolmogorov–Smirnov distance between a sample and a distribution.
pub fn kolmogorov(sample: &[f64], cdf: impl Fn(f64) -> f64) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let distance = |(i, x): (usize, &f64)| {
        let p = cdf(*x);
        (p - i as f64 / n).max((i + 1) as f64 / n - p)
    };
    sorted.iter().enumerate().map(distance).fold(0.0, f64::max)
}

/// √n times the distance that a sample exceeds with probability 2 exp(−2 · 2.9²) = 1e-7.
pub const KOLMOGOROV: f64 = 2.9;

/// How many standard errors an estimate exceeds with probability 2e-9, both sides together.
pub const SIX_SIGMA: f64 = 6.0;

/// A schedule that stays at one level, whatever its rates.
#[derive(Debug, Clone, Copy)]
pub struct Still(pub Level);

impl Schedule for Still {
    fn level(&self, _t: f64) -> Level {
        self.0
    }
    fn drift(&self, _t: f64) -> f64 {
        -1.0
    }
    fn lambda_rate(&self, _t: f64) -> f64 {
        -1.0
    }
    fn range(&self) -> (f64, f64) {
        (0.0, 1.0)
    }
}

/// A folder of data that some machines have beside the checkout; says so where it is missing.
pub fn shared(name: &str) -> Option<PathBuf> {
    let folder = [env!("CARGO_MANIFEST_DIR"), "..", "..", "..", "shared", "data", name];
    let folder: PathBuf = folder.iter().collect();
    if !folder.is_dir() {
        println!("skipped: there is no {}", folder.display());
        return None;
    }
    Some(folder)
}
