//! The aggregate posterior beside the prior.
//!
//! The posteriors of N training rows have the mixture q(z) = (1/N) Σ_i q(z | x_i). The mean divergence of a bound has
//! two parts (Hoffman & Johnson 2016, *ELBO surgery*; Tomczak, *Deep Generative Modeling*, ch. 4),
//!
//! > (1/N) Σ_i KL(q(z | x_i) ‖ p(z)) = I(x; z) + KL(q(z) ‖ p(z)),  I = (1/N) Σ_i E ln q(z | x_i)/q(z):
//!
//! what the latent variable tells of a row, and how far prior and aggregate posterior are apart. Where they differ the
//! prior draws z that no row has led the decoder to: holes. With h the 1 % quantile of ln q(z) over draws of q(z), the
//! share of draws of the prior with ln q(z) < h is 0.01 if the two are equal.

use super::posterior::Posterior;
use super::prior::log_components;
use super::{LatentVariable, Prior};
use crate::data::Batch;
use crate::tensor::{host_column, mean_and_error, select_rows};
use crate::{Draws, Error, Result};
use burn::tensor::Tensor;

/// The number of draws of the aggregate posterior, and of the prior; more for fewer rows, of each equally many.
const DRAWS: usize = 2000;
/// The most densities of components at once.
const AT_ONCE: usize = 1 << 22;
/// The share of draws of the aggregate posterior that lie in holes, by their definition.
const IN_HOLES: f64 = 0.01;

/// The aggregate posterior of rows, as a mixture; see the module's head.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// The means and logarithms of standard deviations of the rows' posteriors.
    components: Posterior,
    /// The numbers of some rows, and a draw from the posterior of each.
    chosen: Vec<usize>,
    z: Tensor<2>,
    /// ln q(z) of these draws.
    log_q: Vec<f64>,
}

/// The parts of a mean divergence, in nats, and the distance of the aggregate posterior from the prior.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateScores {
    /// The mutual information of row and latent variable, and its standard error.
    pub information: (f64, f64),
    /// KL(q(z) ‖ p(z)), and its standard error.
    pub marginal: (f64, f64),
    /// The mean KL(q(z | x) ‖ p(z)) of the chosen rows: the sum of both.
    pub divergence: f64,
    /// The share of draws of the prior in holes.
    pub holes: f64,
    /// The number of draws of each.
    pub draws: usize,
}

impl Aggregate {
    /// The aggregate posterior of the rows of `batches`, and its draws by `draws`.
    ///
    /// # Errors
    /// [`Error::Undefined`] unless the posterior is normal and the latent variable has one layer, or if there are no
    /// rows; errors of `batches`.
    pub fn new(
        model: &LatentVariable,
        batches: impl Iterator<Item = Result<Batch>>,
        draws: &Draws,
    ) -> Result<Self> {
        let what = "the aggregate posterior";
        if !model.is_mean_field() {
            let why = "posteriors of rows have no density that is mixed easily: a flow or layers";
            return Err(Error::undefined(what, why));
        }
        let (mut means, mut log_sds) = (Vec::new(), Vec::new());
        for batch in batches {
            let Batch { x, condition } = batch?;
            let of = model.posterior(x, &condition)?;
            means.push(of.mean);
            log_sds.push(of.log_sd);
        }
        if means.is_empty() {
            return Err(Error::undefined(what, "there are no rows"));
        }
        let [mean, log_sd] = [means, log_sds].map(|parts| Tensor::cat(parts, 0));
        let components = Posterior { mean, log_sd, context: None };
        let [n, width] = components.mean.dims();
        let order = draws.purpose("rows").permutation(n);
        let count = if n < DRAWS { n * DRAWS.div_ceil(n) } else { DRAWS };
        let chosen: Vec<usize> = order.into_iter().cycle().take(count).collect();
        let noise = draws.purpose("aggregate").normals(0..chosen.len() as u64, width);
        let noise = noise.to_tensor(&components.mean.device()).cast(components.mean.dtype());
        let z = components.of(&chosen).draw(1, noise);
        let log_q = components.log_mixture(&z)?;
        Ok(Self { components, chosen, z, log_q })
    }

    /// ln q(z) of each row of `z`, `[n, width]`.
    ///
    /// # Errors
    /// [`Error::Device`] if a tensor cannot be read.
    pub fn log_prob(&self, z: &Tensor<2>) -> Result<Vec<f64>> {
        self.components.log_mixture(&z.clone().cast(self.z.dtype()))
    }

    /// ln q(z) below which a draw lies in a hole.
    pub fn hole(&self) -> f64 {
        let mut sorted = self.log_q.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[(IN_HOLES * sorted.len() as f64) as usize]
    }

    /// Draws of the aggregate posterior, `[draws, width]`.
    pub fn draws(&self) -> Tensor<2> {
        self.z.clone()
    }

    /// As many draws of the prior.
    ///
    /// # Errors
    /// Errors of the prior.
    pub fn prior_draws(&self, model: &LatentVariable, draws: &Draws) -> Result<Tensor<2>> {
        let numbers: Vec<u64> = (0..self.chosen.len() as u64).collect();
        Ok(model.latents(&numbers, draws, &self.z.device())?.swap_remove(0))
    }

    /// The parts of the mean divergence, and how the prior differs.
    ///
    /// # Errors
    /// Errors of the prior.
    pub fn scores(&self, model: &LatentVariable, draws: &Draws) -> Result<AggregateScores> {
        let own = self.components.of(&self.chosen);
        let log_own = host_column(&own.log_prob(1, &self.z))?;
        let log_p = model.log_prior(self.z.clone())?;
        let difference =
            |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
        let information = difference(&log_own, &self.log_q);
        // Where the divergence has a closed form, the second part is what the first leaves of it.
        let (marginal, divergence) = match model.prior().is_normal() {
            false => (difference(&self.log_q, &log_p), difference(&log_own, &log_p)),
            true => {
                let whole = host_column(&own.divergences().sum_dim(1))?;
                (difference(&whole, &information), whole)
            }
        };
        let prior = self.prior_draws(model, draws)?;
        let (log_q, hole) = (self.log_prob(&prior)?, self.hole());
        let holes = log_q.iter().filter(|own| **own < hole).count() as f64 / log_q.len() as f64;
        Ok(AggregateScores {
            information: mean_and_error(&information),
            marginal: mean_and_error(&marginal),
            divergence: mean_and_error(&divergence).0,
            holes,
            draws: self.chosen.len(),
        })
    }
}

impl Posterior {
    /// The distributions of some rows.
    fn of(&self, rows: &[usize]) -> Self {
        let [mean, log_sd] = [&self.mean, &self.log_sd].map(|part| select_rows(part, rows));
        Self { mean, log_sd, context: None }
    }

    /// ln of the mean density of all rows' distributions at each row of `z`.
    fn log_mixture(&self, z: &Tensor<2>) -> Result<Vec<f64>> {
        let ([n, _], [components, _]) = (z.dims(), self.mean.dims());
        let (at_once, mut all) = ((AT_ONCE / components).max(1), Vec::with_capacity(n));
        for start in (0..n).step_by(at_once) {
            let rows = at_once.min(n - start);
            let part = z.clone().narrow(0, start, rows);
            let each = log_components(part, self.mean.clone(), self.log_sd.clone());
            let sum = tweedie_ops::log_sum_exp(each).reshape([rows, 1]);
            all.extend(host_column(&sum.sub_scalar((components as f64).ln()))?);
        }
        Ok(all)
    }
}
