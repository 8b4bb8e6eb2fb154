//! Posteriors without an encoder: a normal distribution fitted to each row.
//!
//! For a row x the mean and the standard deviation of q(z) = N(μ, diag σ²) start at those of N(0, I) and are improved by
//! steps of Adam on the evidence lower bound,
//!
//! > (μ, ln σ) ← argmax E ln p(x | z) − KL(q ‖ p),  z = μ + σ ε,
//!
//! with the decoder held fixed; then follows a step of the decoder on fresh draws from q (Hoffman et al. 2013,
//! *Stochastic variational inference*, sec. 2.3; *An Introduction to Generative Modeling with Flows and Diffusion
//! Models*, sec. 3.2.3). The numbers ε are the same in all steps, in pairs ε and −ε, with a mean square of 1 in each
//! dimension; the first dimensions, as many as there are pairs, have mean products of 0. So the means of linear functions
//! of z, and with a pair for each dimension of quadratic ones, are exact. They depend on the row's values alone.

use super::LatentVariable;
use super::posterior::{Posterior, PosteriorConfig};
use crate::data::{Condition, Rows};
use crate::error::{count, within};
use crate::tensor::{addresses, leaf, pull};
use crate::{Draws, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The decays of Adam's means, and what keeps it from dividing by 0.
const BETA: [f64; 2] = [0.9, 0.99];
const EPSILON: f64 = 1e-8;
/// The share of the rate that is left at the last step.
const LEFT: f64 = 0.05;

/// A normal distribution fitted to each row; see the module's head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PerRowPosterior {
    /// The number of steps.
    pub steps: usize,
    /// The learning rate of the first step, for means and logarithms of standard deviations.
    pub rate: f64,
    /// The number of pairs of draws.
    pub pairs: usize,
}

impl Default for PerRowPosterior {
    fn default() -> Self {
        Self { steps: 50, rate: 0.2, pairs: 4 }
    }
}

impl PosteriorConfig for PerRowPosterior {
    fn check(&self) -> Result<()> {
        count("steps", self.steps as u64, 1 << 16)?;
        within("rate", self.rate, 1e-9, 10.0)?;
        count("pairs", self.pairs as u64, 1 << 12)
    }

    fn per_row(&self) -> Option<PerRowPosterior> {
        Some(*self)
    }
}

/// Normal numbers of each row, `[rows · 2 pairs, width]`, those of a row below each other: each number with its negative,
/// with mean squares of 1 over the draws of a row, and mean products of 0 between the first `pairs` dimensions.
fn paired(rows: &[u64], width: usize, pairs: usize) -> Result<Rows> {
    let all = Draws::new(0).purpose("per row").normals_for(rows, width * pairs);
    let mut found = Vec::with_capacity(rows.len() * 2 * pairs * width);
    for row in all.iter() {
        let mut columns: Vec<Vec<f64>> = Vec::with_capacity(width);
        for own in row.chunks(pairs) {
            let mut own: Vec<f64> = own.iter().map(|v| f64::from(*v)).collect();
            for other in columns.iter().take(pairs - 1) {
                let along = product(&own, other) / product(other, other);
                own.iter_mut().zip(other).for_each(|(v, other)| *v -= along * other);
            }
            let size = (product(&own, &own) / pairs as f64).sqrt().max(f64::MIN_POSITIVE);
            own.iter_mut().for_each(|v| *v /= size);
            columns.push(own);
        }
        let half = |sign: f64| {
            let columns = &columns;
            (0..pairs).flat_map(move |i| columns.iter().map(move |own| (sign * own[i]) as f32))
        };
        found.extend(half(1.0).chain(half(-1.0)));
    }
    Rows::new(found, width)
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl LatentVariable {
    /// The posterior fitted to each row of `x`, `[n, width]` in model units, without derivatives.
    pub(super) fn fitted(
        &self,
        x: &Tensor<2>,
        condition: &Condition,
        by: &PerRowPosterior,
    ) -> Result<Posterior> {
        use burn::module::Module;
        let model = self.valid();
        let x = if x.is_autodiff() { x.clone().inner() } else { x.clone() };
        let ([n, _], width, draws) = (x.dims(), self.width, 2 * by.pairs);
        let noise = paired(&addresses(&x)?, width, by.pairs)?.to_tensor(&x.device());
        let noise = noise.cast(x.dtype());
        let mut at = Tensor::<2>::zeros([n, 2 * width], (&x.device(), x.dtype()));
        let [mut mean, mut square] = [at.clone(), at.clone()];
        for step in 0..by.steps {
            let tracked = leaf(at.clone());
            let of = halves(&tracked, width);
            let (z, parts) = model.infer_in_parts(&of, draws, noise.clone())?;
            let seen = model.log_likelihood(&x, z, condition, draws)?.mean_dim(1);
            let gradient = pull(&tracked, seen - parts.sum_dim(1));
            let blend = |old: Tensor<2>, new: Tensor<2>, beta: f64| {
                old.mul_scalar(beta) + new.mul_scalar(1.0 - beta)
            };
            square = blend(square, gradient.clone() * gradient.clone(), BETA[1]);
            mean = blend(mean, gradient, BETA[0]);
            let share = step as f64 / by.steps as f64;
            let rate = by.rate * (LEFT + (1.0 - LEFT) * (1.0 - share));
            let [of_mean, of_square] = BETA.map(|beta| 1.0 - beta.powi(step as i32 + 1));
            let root = square.clone().div_scalar(of_square).sqrt().add_scalar(EPSILON);
            at = at + (mean.clone() / root).mul_scalar(rate / of_mean);
        }
        Ok(halves(&at, width))
    }
}

/// The normal distributions of means and logarithms of standard deviations side by side.
fn halves(of: &Tensor<2>, width: usize) -> Posterior {
    let part = |from| of.clone().narrow(1, from, width);
    Posterior { mean: part(0), log_sd: part(width), context: None }
}
