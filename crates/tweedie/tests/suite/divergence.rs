//! Divergences: the table of f against its definitions, every estimate against closed forms between Gaussians.

mod critics;
mod importance;
mod quadratures;
mod samples;
mod table;

use crate::support::*;
use tweedie::Draws;
use tweedie::data::Rows;
use tweedie::denoise::{Component, GaussianMixture};
use tweedie::divergence::{FDivergence, Normal};

/// How many standard errors an estimate exceeds with probability 1e-6, both sides together.
const BAR: f64 = 4.9;

/// The Jensen–Shannon divergence of unit normals 0.7 apart, by SciPy's quadrature of its definition.
const JS_OF_SEVEN_TENTHS: f64 = 0.05776686773934161;

/// Every entry, and several orders beside those that have names.
fn entries() -> Vec<FDivergence> {
    use FDivergence::*;
    let orders = [-0.7, 0.3, 1.0 + 1e-6, 1.5, 3.0].map(|alpha| Alpha { alpha });
    let named = [Kl, ReverseKl, JensenShannon, TotalVariation, Hellinger, Pearson, Neyman];
    named.into_iter().chain(orders).collect()
}

/// A Gaussian as a density that is sampled, and as a closed form.
struct Gaussian {
    density: GaussianMixture,
    normal: Normal,
}

impl Gaussian {
    fn new(mean: &[f64], covariance: &[f64]) -> Self {
        let one = Component::full(1.0, mean.to_vec(), covariance).expect("a covariance");
        Self {
            density: GaussianMixture::new(vec![one]).expect("a mixture"),
            normal: Normal::new(mean.to_vec(), covariance).expect("a Gaussian"),
        }
    }

    fn unit(mean: &[f64]) -> Self {
        let d = mean.len();
        let identity: Vec<f64> = (0..d * d).map(|k| f64::from(u8::from(k / d == k % d))).collect();
        Self::new(mean, &identity)
    }

    fn sample(&self, n: usize, seed: u64) -> Rows {
        Rows::from_tensor(&self.density.sample(n, &Draws::new(seed), &cpu())).expect("rows")
    }
}

/// Normal numbers in double precision with mean `mean`.
fn normals(n: u64, mean: f64, seed: u64) -> Vec<f64> {
    (0..n).map(|row| mean + Draws::new(seed).normal_f64(row, 0)).collect()
}
