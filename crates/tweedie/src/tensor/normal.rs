//! The normal distribution function Φ without loss of digits in its tails.
//!
//! > ln Φ(x),  ln h(x) with h = φ/Φ = (ln Φ)′,  and the x where ln Φ(x) = l.
//!
//! Below −6, Φ(x)/φ(x) = m(−x) by Laplace's continued fraction of Mills' ratio, m(t) = 1/(t + 1/(t + 2/(t + …))), whose
//! first terms are exact to rounding there; above, by erfc. Where ln Φ(x) = l is found by Newton's method from
//! −√(−2l): ln Φ is concave and rises, and the start lies below the root, so that the steps rise to it.

use crate::tensor::Dual;
use burn::tensor::{DType, Tensor, TensorData};
use libm::erfc;
use rayon::prelude::*;
use std::f64::consts::{FRAC_1_SQRT_2, TAU};

/// Where the continued fraction begins, and its number of terms.
const FAR: f64 = -6.0;
const TERMS: u32 = 16;
/// The elements of a task.
const PIECE: usize = 1 << 12;

/// Φ(x), the probability that a standard normal value is at most `x`.
pub(crate) fn below_normal(x: f64) -> f64 {
    0.5 * erfc(-x * FRAC_1_SQRT_2)
}

/// h(x) − t for t = −x at least 6, by the continued fraction.
fn rest(t: f64) -> f64 {
    let fraction = (2..=TERMS).rev().fold(t, |fraction, k| t + f64::from(k) / fraction);
    1.0 / fraction
}

/// ln Φ(x).
pub(crate) fn log_below_normal(x: f64) -> f64 {
    match x {
        x if x < FAR => -0.5 * (x * x + TAU.ln()) - (rest(-x) - x).ln(),
        x if x < 0.0 => below_normal(x).ln(),
        x => (-below_normal(-x)).ln_1p(),
    }
}

/// ln Φ(x), ln h(x) and x + h(x).
fn tail(x: f64) -> [f64; 3] {
    let log_below = log_below_normal(x);
    if x < FAR {
        let rest = rest(-x);
        return [log_below, (rest - x).ln(), rest];
    }
    let log_hazard = -0.5 * (x * x + TAU.ln()) - log_below;
    [log_below, log_hazard, x + log_hazard.exp()]
}

/// ln h(x).
fn log_hazard(x: f64) -> f64 {
    tail(x)[1]
}

/// The x where ln Φ(x) = l; infinite for l of 0.
fn log_quantile(l: f64) -> f64 {
    if l >= 0.0 {
        return if l == 0.0 { f64::INFINITY } else { f64::NAN };
    }
    let mut x = -(-2.0 * l).sqrt();
    for _ in 0..100 {
        let step = (l - log_below_normal(x)) / log_hazard(x).exp();
        x += step;
        // NaN ends here, too.
        if step.abs().is_nan() || step.abs() <= f64::EPSILON * (1.0 + x.abs()) {
            break;
        }
    }
    x
}

/// N functions of each element, computed on the host in double precision.
fn on_host<const D: usize, const N: usize>(
    x: &Tensor<D>,
    f: impl Fn(f64) -> [f64; N] + Sync,
) -> [Tensor<D>; N] {
    let (shape, device, dtype) = (x.dims(), x.device(), x.dtype());
    let values: Vec<f64> = x.to_data().convert_dtype(DType::F64).iter::<f64>().collect();
    let found: Vec<[f64; N]> = values.par_iter().with_min_len(PIECE).map(|x| f(*x)).collect();
    std::array::from_fn(|k| {
        let part: Vec<f64> = found.iter().map(|found| found[k]).collect();
        let data = TensorData::new(part, shape).convert_dtype(dtype);
        Tensor::from_data(data, (&device, dtype))
    })
}

/// The values, with their slopes for the backward pass.
fn sloped<const D: usize>(x: &Tensor<D>, value: Tensor<D>, slope: Tensor<D>) -> Tensor<D> {
    if !x.is_autodiff() {
        return value;
    }
    value + (x.clone() - x.clone().detach()) * slope
}

/// ln Φ(x) and ln h(x) of each element.
fn tails<const D: usize>(x: &Tensor<D>) -> [Tensor<D>; 2] {
    let [log_below, log_hazard, excess] = on_host(x, tail);
    let slope = log_hazard.clone().exp();
    [sloped(x, log_below, slope), sloped(x, log_hazard, -excess)]
}

impl<const D: usize> Dual<D> {
    /// ln Φ(x) and ln h(x) with h = φ/Φ.
    pub(crate) fn normal_tail(self) -> (Self, Self) {
        if self.tangent.is_none() {
            let [log_below, log_hazard] = tails(&self.value);
            return (log_below.into(), log_hazard.into());
        }
        let log_below = |x: Tensor<D>| tails(&x)[0].clone();
        let log_below = self.clone().map(log_below, |x, _| x.log_normal_hazard().exp());
        (log_below, self.log_normal_hazard())
    }

    /// ln h(x) with h = φ/Φ.
    pub(crate) fn log_normal_hazard(self) -> Self {
        let log_hazard = |x: Tensor<D>| tails(&x)[1].clone();
        self.map(log_hazard, |x, log_hazard| -(x + log_hazard.exp()))
    }

    /// The x where ln Φ(x) is the value.
    pub(crate) fn log_normal_quantile(self) -> Self {
        let value = |l: Tensor<D>| {
            let [x, slope] = on_host(&l, |l| {
                let x = log_quantile(l);
                [x, (-log_hazard(x)).exp()]
            });
            sloped(&l, x, slope)
        };
        self.map(value, |_, x| (-x.log_normal_hazard()).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logarithms of tail probabilities to base ten, from tables of the normal distribution's extreme tails.
    #[test]
    fn tails_are_those_of_tables_and_hazards_their_slopes() {
        for (x, exact) in [(5.0, 6.54265), (10.0, 23.11805), (20.0, 88.56010), (50.0, 544.96634)] {
            let found = -log_below_normal(-x) / std::f64::consts::LN_10;
            assert!((found - exact).abs() < 1e-5, "{x}: {found}");
        }
        for x in [FAR, 0.0] {
            let jump = log_below_normal(x - 1e-13) - log_below_normal(x + 1e-13);
            assert!(jump.abs() < 3e-12, "{x}: {jump}");
            let jump = log_hazard(x - 1e-13) - log_hazard(x + 1e-13);
            assert!(jump.abs() < 3e-12, "{x}: {jump}");
        }
        for x in [-300.0, -30.0, -6.5, -5.5, -1.0, 0.0, 0.7, 3.0] {
            let h = 1e-5 * (1.0 + f64::abs(x));
            let slope = |f: &dyn Fn(f64) -> f64| (f(x + h) - f(x - h)) / (2.0 * h);
            let near = |found: f64, exact: f64| {
                assert!((found / exact - 1.0).abs() < 1e-6, "{x}: {found} for {exact}");
            };
            near(slope(&log_below_normal), log_hazard(x).exp());
            near(slope(&log_hazard), -tail(x)[2]);
            near(log_quantile(log_below_normal(x)) + 1e3, x + 1e3);
        }
        let far = -3e8;
        assert!((log_quantile(log_below_normal(far)) / far - 1.0).abs() < 1e-14);
        assert_eq!(log_quantile(0.0), f64::INFINITY);
        assert!(log_quantile(0.1).is_nan() && log_quantile(f64::NAN).is_nan());
    }
}
