//! Markov chains: targets against quadrature and differences, kernels against the moments that they must preserve,
//! diagnostics against a peer.

mod annealing;
mod diagnostics;
mod gradients;
mod kernels;
mod langevin;
mod state;
mod targets;

use crate::support::*;
use burn::tensor::Tensor;
use tweedie::Draws;
use tweedie::data::{Condition, Generate, LogDensity};
use tweedie::denoise::{Component, GaussianMixture};
use tweedie::mcmc::{Chains, Info, Transition};

/// What the largest of ten normal numbers exceeds in size with probability 1e-6.
const BAR: f64 = 5.3;

/// The mean and the covariance of [`gaussian`].
const MEAN: [f64; 2] = [1.0, -1.0];
const COVARIANCE: [[f64; 2]; 2] = [[1.0, 0.6], [0.6, 0.8]];

fn gaussian() -> GaussianMixture {
    let one = Component::full(1.0, MEAN.to_vec(), &COVARIANCE.concat()).expect("a covariance");
    GaussianMixture::new(vec![one]).expect("a mixture")
}

/// Exact rows of a model.
fn exact(model: &dyn Generate, n: u64, seed: u64) -> Tensor<2> {
    model.generate(0..n, &Condition::None, &Draws::new(seed), &cpu()).expect("rows")
}

/// The chains after `steps` more steps, with what happened in each.
fn walk(
    kernel: &dyn Transition,
    mut chains: Chains,
    target: &dyn LogDensity,
    steps: u64,
    draws: &Draws,
) -> (Chains, Vec<Info>) {
    let mut infos = Vec::new();
    for _ in 0..steps {
        let (next, info) = kernel.step(chains, target, draws).expect("a step");
        infos.push(info);
        chains = next;
    }
    (chains, infos)
}

/// How many standard errors the means of x_i and of (x_i − μ_i)(x_j − μ_j) over independent rows are from those of
/// [`gaussian`], at most.
fn gaussian_deviation(x: &[f64]) -> f64 {
    let n = (x.len() / 2) as f64;
    let centred: Vec<[f64; 2]> =
        x.chunks(2).map(|row| [row[0] - MEAN[0], row[1] - MEAN[1]]).collect();
    let mut worst = 0.0f64;
    for i in 0..2 {
        let mean = centred.iter().map(|c| c[i]).sum::<f64>() / n;
        worst = worst.max(mean.abs() / (COVARIANCE[i][i] / n).sqrt());
        for j in i..2 {
            let mean = centred.iter().map(|c| c[i] * c[j]).sum::<f64>() / n;
            let spread = COVARIANCE[i][i] * COVARIANCE[j][j] + COVARIANCE[i][j].powi(2);
            worst = worst.max((mean - COVARIANCE[i][j]).abs() / (spread / n).sqrt());
        }
    }
    worst
}
