//! Posteriors refined by Markov chains, and log p by annealing, both of p(x, z) as a density of z.
//!
//! Chains that leave p(z | x) invariant start from draws of the encoder, or of a posterior fitted to the row, and bring
//! them nearer to p(z | x), whatever their number of steps (Salimans, Kingma & Welling 2015, *Markov chain Monte Carlo
//! and variational inference: bridging the gap*). In training decoder and prior then climb
//!
//! > E ln p(x | z) + ln p(z)  at the ends z of the chains,
//!
//! while the encoder climbs the bound, with the decoder held fixed (Hoffman 2017, *Learning deep latent Gaussian models
//! with Markov chain Monte Carlo*, algorithm 2). With posteriors fitted to rows, in place of an encoder, this is Monte
//! Carlo EM (Wei & Tanner 1990).
//!
//! Along γ_β(z) = p(z) p(x | z)^β annealed importance sampling from the prior gives weights of mean p(x) (Wu et al.
//! 2017, *On the quantitative analysis of decoder-based generative models*, sec. 3), whatever the posterior.

use super::matcher::repeated_condition;
use super::{BoundEstimate, Importance, LatentVariable, Prior};
use crate::data::{Condition, LogDensity};
use crate::error::{count, inside};
use crate::mcmc::{Annealing, AnyKernel, GeometricPath, Hmc};
use crate::path::Direction;
use crate::tensor::{Dual, addresses, detached};
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The most steps of a chain.
const MOST_STEPS: u64 = 1 << 20;
/// The most parameters of distributions at once.
const MOST_AT_ONCE: usize = 1 << 22;

/// Steps of chains from each draw of the posterior; see the module's head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Refinement {
    /// The kernel.
    pub kernel: AnyKernel,
    /// The number of steps.
    pub steps: u64,
}

impl Default for Refinement {
    fn default() -> Self {
        Self { kernel: Hmc::default().into(), steps: 5 }
    }
}

impl Refinement {
    /// Fails, naming the key, unless every value is valid.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        count("steps", self.steps, MOST_STEPS)?;
        self.kernel.check()
    }
}

/// ln p(x, z), or ln p(z) alone, as a density of z, for several draws of each row x, those of a row below each other.
struct Given<'a> {
    model: &'a LatentVariable,
    /// The rows and their conditions; without them the density is the prior.
    likelihood: Option<(&'a Tensor<2>, &'a Condition)>,
}

impl LogDensity for Given<'_> {
    fn width(&self) -> usize {
        self.model.width
    }

    fn log_density(&self, z: Dual<2>, _: &Condition) -> Result<Dual<2>> {
        if z.tangent.is_some() {
            let why = "its directional derivatives are not computed";
            return Err(Error::undefined("a derivative of ln p(x, z) along a path", why));
        }
        let z = z.value;
        let log_prior = self.model.prior.log_prob(z.clone(), &self.model.encode())?;
        let Some((x, condition)) = self.likelihood else { return Ok(log_prior.into()) };
        let ([all, _], [n, _]) = (z.dims(), x.dims());
        let seen = self.model.log_likelihood(x, z, condition, all / n.max(1))?;
        Ok((log_prior + seen.reshape([all, 1])).into())
    }

    fn log_z(&self) -> Option<f64> {
        self.likelihood.is_none().then_some(0.0)
    }
}

/// Addresses of random numbers for `count` chains of each row.
fn chains_of(rows: &[u64], count: usize) -> Vec<u64> {
    let of = |row: &u64| {
        let row = *row;
        (0..count as u64).map(move |k| row.wrapping_add(k.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    };
    rows.iter().flat_map(of).collect()
}

impl LatentVariable {
    /// The ends of chains from draws `z` of the posterior of each row of `x`, those of a row below each other.
    pub(super) fn refined(
        &self,
        by: &Refinement,
        x: &Tensor<2>,
        condition: &Condition,
        z: Tensor<2>,
        draws: &Draws,
    ) -> Result<Tensor<2>> {
        let (model, x) = (self.valid(), detached(x.clone()));
        let target = Given { model: &model, likelihood: Some((&x, condition)) };
        let count = z.dims()[0] / x.dims()[0].max(1);
        let chains = by.kernel.init(detached(z), &target).map_err(|error| match error {
            Error::Config { key, problem, .. } if key == "start" => {
                let what = format!("ln p(x, z) is not finite where a chain starts ({problem})");
                Error::Diverged { what, step: 0 }
            }
            other => inside("refine.kernel", other),
        })?;
        let mut chains = chains.with_rows(chains_of(&addresses(&x)?, count))?;
        for _ in 0..by.steps {
            chains = by.kernel.step(chains, &target, draws)?.0;
        }
        Ok(chains.x())
    }

    /// An estimate of the bound of each row by `by_bound`, with an expression whose derivatives are the bound's by the
    /// encoder, and by decoder and prior those of ln p(x, z) at the ends of chains.
    pub(super) fn by_refinement(
        &self,
        by: &Refinement,
        x: &Tensor<2>,
        condition: &Condition,
        (draws, count): (&Draws, usize),
        by_bound: impl FnOnce(&Self) -> Result<BoundEstimate>,
    ) -> Result<BoundEstimate> {
        let found = by_bound(&self.with_decoder_fixed())?;
        let [n, _] = x.dims();
        let noise = draws.purpose("refine").normals(0..(n * count) as u64, self.noise_width());
        let noise = noise.to_tensor(&x.device()).cast(x.dtype());
        let z = self.drawn(x, condition, count, noise)?;
        let z = self.refined(by, x, condition, z, &draws.purpose("refined"))?;
        let z = if x.is_autodiff() { z.autodiff() } else { z };
        let joint = Given { model: self, likelihood: Some((x, condition)) };
        let log = joint.log_density(z.into(), &Condition::None)?.value.reshape([n, count]);
        let expression = log.mean_dim(1);
        let expression = match self.encoder {
            Some(_) => found.expression.clone() + expression,
            None => expression,
        };
        Ok(BoundEstimate { expression, ..found })
    }

    /// `count` draws of the posterior of each row of `x`, `[n · count, width]`, those of a row below each other, at the
    /// ends of chains where there are any. Equal rows have equal draws.
    ///
    /// # Errors
    /// [`Error::Shape`] if batch or condition do not fit; [`Error::Undefined`] for latent variables in layers; errors
    /// of the chains.
    pub fn draw_posterior(
        &self,
        x: &Tensor<2>,
        condition: &Condition,
        count: usize,
        draws: &Draws,
    ) -> Result<Tensor<2>> {
        if self.ladder.is_some() {
            let why = "latent variables are in layers, each given the one above";
            return Err(Error::undefined("a draw of the posterior as one vector", why));
        }
        let rows = chains_of(&addresses(x)?, count);
        let noise = draws.purpose("z").normals_for(&rows, self.noise_width());
        let noise = noise.to_tensor(&x.device()).cast(x.dtype());
        let z = self.drawn(x, condition, count, noise)?;
        match &self.refinement {
            None => Ok(z),
            Some(by) => self.refined(by, x, condition, z, &draws.purpose("refined")),
        }
    }

    /// Estimates log p of each row of `x`, `[n, width]`, by annealed importance sampling from the prior with `count`
    /// chains of each row. Equal rows have equal draws.
    ///
    /// # Errors
    /// [`Error::Undefined`] for latent variables in layers; errors of the kernel.
    pub fn annealed(
        &self,
        x: &Tensor<2>,
        condition: &Condition,
        count: usize,
        by: &Annealing<'_>,
        draws: &Draws,
    ) -> Result<Vec<Importance>> {
        if self.ladder.is_some() {
            let why = "latent variables are in layers: use importance";
            return Err(Error::undefined("annealing from the prior", why));
        }
        let (n, rows) = (x.dims()[0], addresses(x)?);
        let at_once =
            (MOST_AT_ONCE / (count * self.product.parameters().iter().sum::<usize>())).max(1);
        let mut all = Vec::with_capacity(n);
        for start in (0..n).step_by(at_once) {
            let some = at_once.min(n - start);
            let part = x.clone().narrow(0, start, some);
            let given = condition.slice(start..start + some);
            let rows = chains_of(&rows[start..start + some], count);
            let z = self.latents(&rows, &draws.purpose("annealed"), &x.device())?.swap_remove(0);
            let base = Given { model: self, likelihood: None };
            let target = Given { model: self, likelihood: Some((&part, &given)) };
            let path = GeometricPath { base: &base, target: &target };
            let z = z.cast(x.dtype());
            let (_, log_w) = by.run_as(&path, Direction::Forward, z, &rows, draws)?;
            all.extend(log_w.chunks(count).map(Importance::of));
        }
        Ok(all)
    }

    /// Draws of the posterior from normal numbers, `[n · count, noise]`, those of a row below each other.
    pub(super) fn drawn(
        &self,
        x: &Tensor<2>,
        condition: &Condition,
        count: usize,
        noise: Tensor<2>,
    ) -> Result<Tensor<2>> {
        let (Some(encoder), true) = (&self.encoder, self.is_implicit()) else {
            let posterior = self.posterior(x.clone(), condition)?;
            if let Some(auxiliary) = &self.auxiliary {
                return Ok(auxiliary.draw(&posterior, count, noise)?.0);
            }
            return Ok(posterior.draw_with_log_prob(self.flow.as_ref(), count, noise)?.0);
        };
        let given = repeated_condition(condition, x.dims()[0], count);
        let x = super::posterior::repeated(self.product.ordered(x.clone().into())?.value, count);
        Ok(encoder.forward(Tensor::cat(vec![x, noise], 1).into(), &given)?.value)
    }
}
