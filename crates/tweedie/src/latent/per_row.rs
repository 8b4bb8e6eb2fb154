//! Posteriors without an encoder: a normal distribution fitted to each row.
//!
//! For a row x the mean and the standard deviation of q(z) = N(μ, diag σ²) start at those of N(0, I) and climb the
//! evidence lower bound L by steps along its natural gradient, with the decoder held fixed: for a share ρ,
//!
//! > σ⁻² ← σ⁻² − 2ρ ∂L/∂σ² = σ⁻² (1 − ρ ∂L/∂ln σ),  μ ← μ + ρ σ² ∂L/∂μ
//!
//! (Khan & Lin 2017, *Conjugate-computation variational inference*): in a linear model with ρ = 1 one step is exact
//! where dimensions do not interact. A step changes a variance by at most four times, and a mean by at most a standard
//! deviation of the prior. Then follows a step of the decoder on fresh draws from q (Hoffman et al. 2013, *Stochastic
//! variational inference*, sec. 2.3; *An Introduction to Generative Modeling with Flows and Diffusion Models*, sec.
//! 3.2.3). The draws of ∂L are z = μ + σ ε with the same numbers ε in all steps, in pairs ε and −ε, with a mean square
//! of 1 in each dimension; the first dimensions, as many as there are pairs, have mean products of 0. So the means of
//! linear functions of z, and with a pair for each dimension of quadratic ones, are exact. They depend on the row's
//! values alone.

use super::LatentVariable;
use super::posterior::{Posterior, PosteriorConfig};
use crate::data::{Condition, Rows};
use crate::error::{count, within};
use crate::tensor::{addresses, detached, leaf, pull};
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The bounds on the factor of a precision in a step.
const FACTORS: [f64; 2] = [0.25, 4.0];

/// A normal distribution fitted to each row; see the module's head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PerRowPosterior {
    /// The number of steps.
    pub steps: usize,
    /// The share ρ of the way to the optimum of the local quadratic, above 0 and at most 1.
    pub rate: f64,
    /// The number of pairs of draws.
    pub pairs: usize,
}

impl Default for PerRowPosterior {
    fn default() -> Self {
        Self { steps: 30, rate: 0.3, pairs: 4 }
    }
}

impl PosteriorConfig for PerRowPosterior {
    fn check(&self) -> Result<()> {
        count("steps", self.steps as u64, 1 << 16)?;
        within("rate", self.rate, 1e-9, 1.0)?;
        count("pairs", self.pairs as u64, 1 << 12)
    }

    fn per_row(&self) -> Option<PerRowPosterior> {
        Some(*self)
    }
}

/// Normal numbers of each row, `[rows · 2 pairs, width]`, those of a row below each other: each number with its
/// negative, with mean squares of 1 over the draws of a row, and mean products of 0 between the first `pairs`
/// dimensions.
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
        let model = self.valid();
        let x = detached(x.clone());
        let ([n, _], width, draws) = (x.dims(), self.width, 2 * by.pairs);
        let noise = paired(&addresses(&x)?, width, by.pairs)?.to_tensor(&x.device());
        let noise = noise.cast(x.dtype());
        let mut at = Tensor::<2>::zeros([n, 2 * width], (&x.device(), x.dtype()));
        for _ in 0..by.steps {
            let tracked = leaf(at.clone());
            let (z, parts) =
                model.infer_in_parts(&halves(&tracked, width), draws, noise.clone())?;
            let seen = model.log_likelihood(&x, z, condition, draws)?.mean_dim(1);
            let slope = pull(&tracked, seen - parts.sum_dim(1));
            let [of, slope] = [&at, &slope].map(|of| halves(of, width));
            let factor = slope.log_sd.mul_scalar(-by.rate).add_scalar(1.0);
            let log_sd = of.log_sd - factor.clamp(FACTORS[0], FACTORS[1]).log().mul_scalar(0.5);
            let way = log_sd.clone().mul_scalar(2.0).exp() * slope.mean.mul_scalar(by.rate);
            at = Tensor::cat(vec![of.mean + way.clamp(-1.0, 1.0), log_sd], 1);
        }
        Ok(halves(&at, width))
    }
}

/// The normal distributions of means and logarithms of standard deviations side by side.
fn halves(of: &Tensor<2>, width: usize) -> Posterior {
    let part = |from| of.clone().narrow(1, from, width);
    Posterior { mean: part(0), log_sd: part(width), context: None }
}
