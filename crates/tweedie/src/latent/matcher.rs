//! The second network of a [`Matching`](super::Matching) in training, and the bound that it gives.

use super::posterior::{by_row, normal_log_prob, repeated};
use super::{BoundEstimate, Factors, LatentVariable, Posterior, Prior};
use crate::data::Condition;
use crate::game::{Adversary, Round};
use crate::nn::State;
use crate::nn::perceptron::Perceptron;
use crate::tensor::host_column;
use crate::train::Trainee;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Tensor, activation};
use std::path::Path;

/// The network that learns beside a latent-variable model what lies between posterior and prior.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The number of its steps for each of the model.
    pub(super) steps: u64,
    pub(super) kind: Kind,
}

/// What it learns, of its [`Matching`](super::Matching).
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Ratio(Trainee<Perceptron>),
    Score { network: Trainee<Perceptron>, noise: f64, draws: usize },
    Aggregate { adversary: Adversary, weight: f64 },
}

/// Some rows, their conditions and the random numbers of a step.
pub struct MatcherStep<'a> {
    /// Rows in model units outside of any graph, `[n, width]`.
    pub x: &'a Tensor<2>,
    /// The condition of each.
    pub condition: &'a Condition,
    /// Random numbers.
    pub draws: &'a Draws,
    /// The number of the model's step, from 0.
    pub step: u64,
}

impl MatcherStep<'_> {
    fn normals(&self, purpose: &'static str, turn: u64, [rows, width]: [usize; 2]) -> Tensor<2> {
        let draws = self.draws.purpose(purpose).at(turn);
        draws.normals(0..rows as u64, width).to_tensor(&self.x.device()).cast(self.x.dtype())
    }
}

/// A step of a second network on a loss of shape `[1]`; the loss and the norm of its gradient.
fn descend(of: &mut Trainee<Perceptron>, loss: Tensor<1>, step: u64, by: f64) -> Result<[f64; 2]> {
    let value = host_column(&loss.clone().reshape([1, 1]))?[0];
    if !value.is_finite() {
        let what =
            format!("the loss of the network that matches posterior and prior became {value}");
        return Err(Error::Diverged { what, step: step + 1 });
    }
    of.take_in(&loss.backward());
    Ok([value, of.step(by)?])
}

/// ln(1 + e^v).
fn softplus(v: Tensor<2>) -> Tensor<2> {
    activation::softplus(v, 1.0)
}

/// The logistic loss of a critic on draws of the posterior and of N(0, I), `[1]`.
fn of_ratio(
    critic: &Perceptron,
    model: &LatentVariable,
    posterior: &Posterior,
    of: &MatcherStep,
    turn: u64,
) -> Result<Tensor<1>> {
    let z = model.draws_of(of, turn, 1)?;
    let (e, normal) = (posterior.standardised(&z, 1), of.normals("contrast", turn, z.dims()));
    let on = |e: Tensor<2>| {
        let input = seen_with(model, of.x, 1, vec![e])?.autodiff();
        Ok::<_, Error>(critic.forward(input.into(), of.condition)?.value)
    };
    Ok(softplus(on(e)?.neg()).mean() + softplus(on(normal)?).mean())
}

/// The loss of a denoiser with noise of size δ on some draws of each row's posterior, `[1]`.
fn of_score(
    network: &Perceptron,
    (noise, draws): (f64, usize),
    model: &LatentVariable,
    posterior: &Posterior,
    of: &MatcherStep,
    turn: u64,
) -> Result<Tensor<1>> {
    let z = model.draws_of(of, turn, draws)?;
    let ([n, _], e) = (z.dims(), posterior.standardised(&z, draws));
    let size = of.normals("size", turn, [n, 1]).abs().mul_scalar(noise);
    let u = of.normals("noise", turn, z.dims());
    let moved = e + u.clone() * size.clone();
    let input = seen_with(model, of.x, draws, vec![moved, size.clone()])?.autodiff();
    let given = repeated_condition(of.condition, of.x.dims()[0], draws);
    let off = u.autodiff() + network.forward(input.into(), &given)?.value * size.autodiff();
    Ok((off.clone() * off).sum_dim(1).mean())
}

impl Matcher {
    /// Takes its steps on draws of the posteriors of `model` (outside of automatic differentiation) for some rows, at
    /// `factor` times the learning rate. Returns the mean loss and the mean norm of its gradient.
    ///
    /// # Errors
    /// [`Error::Diverged`] if a loss is not finite; [`Error::Shape`] if rows do not fit.
    pub fn learn(
        &mut self,
        model: &LatentVariable,
        of: &MatcherStep,
        factor: f64,
    ) -> Result<[f64; 2]> {
        let mut mean = [0.0; 2];
        if self.steps == 0 {
            return Ok(mean);
        }
        let (steps, posterior) = (self.steps, model.posterior(of.x.clone(), of.condition)?);
        for turn in 0..steps {
            let found = match &mut self.kind {
                Kind::Ratio(critic) => {
                    let loss = of_ratio(&critic.module, model, &posterior, of, turn)?;
                    descend(critic, loss, of.step, factor)?
                }
                Kind::Score { network, noise, draws } => {
                    let by = (*noise, *draws);
                    let loss = of_score(&network.module, by, model, &posterior, of, turn)?;
                    descend(network, loss, of.step, factor)?
                }
                Kind::Aggregate { adversary, .. } => {
                    let q = model.draws_of(of, turn, 1)?;
                    let p = model.prior_like(&q, &of.draws.purpose("prior").at(turn))?;
                    let draws = of.draws.purpose("critic").at(turn);
                    let step = of.step * steps + turn;
                    let round = Round { p, q, condition: &Condition::None, draws, step };
                    let found = adversary.learn(&round, factor)?;
                    [found.loss, found.gradient_norm]
                }
            };
            mean.iter_mut().zip(found).for_each(|(sum, own)| *sum += own / steps as f64);
        }
        Ok(mean)
    }

    /// Adds the whole state, under names that begin with `prefix`.
    ///
    /// # Errors
    /// [`Error::Device`] if a tensor cannot be read.
    pub fn save(&self, prefix: &str, into: &mut State) -> Result<()> {
        match &self.kind {
            Kind::Ratio(network) | Kind::Score { network, .. } => network.save(prefix, into),
            Kind::Aggregate { adversary, .. } => adversary.save(prefix, into),
        }
    }

    /// Restores the arrays of [`Matcher::save`], and removes them from `from`; `origin` names their file, for errors.
    ///
    /// # Errors
    /// [`Error::File`] naming the array that is missing or does not fit.
    pub fn load(&mut self, prefix: &str, from: &mut State, origin: &Path) -> Result<()> {
        match &mut self.kind {
            Kind::Ratio(network) | Kind::Score { network, .. } => {
                network.load(prefix, from, origin)
            }
            Kind::Aggregate { adversary, .. } => adversary.load(prefix, from, origin),
        }
    }
}

/// The rows of `x` as the encoder reads them, each `draws` times, beside `parts`.
fn seen_with(
    model: &LatentVariable,
    x: &Tensor<2>,
    draws: usize,
    parts: Vec<Tensor<2>>,
) -> Result<Tensor<2>> {
    let x = repeated(model.product.ordered(x.clone().into())?.value, draws);
    Ok(Tensor::cat([vec![x], parts].concat(), 1))
}

/// The conditions of `n` rows, each `draws` times.
pub(super) fn repeated_condition(condition: &Condition, n: usize, draws: usize) -> Condition {
    if draws == 1 {
        return condition.clone();
    }
    condition.select(&(0..n * draws).map(|i| i / draws).collect::<Vec<usize>>())
}

impl Posterior {
    /// (z − μ)/σ for `draws` draws z of each row, those of a row below each other.
    fn standardised(&self, z: &Tensor<2>, draws: usize) -> Tensor<2> {
        let [mean, log_sd] = [&self.mean, &self.log_sd].map(|of| repeated(of.clone(), draws));
        (z.clone() - mean) * log_sd.neg().exp()
    }
}

impl LatentVariable {
    /// `count` draws of the posterior of each row.
    fn draws_of(&self, of: &MatcherStep, turn: u64, count: usize) -> Result<Tensor<2>> {
        let [n, _] = of.x.dims();
        let noise = of.normals("posterior", turn, [n * count, self.noise_width()]);
        self.drawn(of.x, of.condition, count, noise)
    }

    /// As many draws of the prior as `z` has rows.
    fn prior_like(&self, z: &Tensor<2>, draws: &Draws) -> Result<Tensor<2>> {
        let numbers: Vec<u64> = (0..z.dims()[0] as u64).collect();
        Ok(self.latents(&numbers, draws, &z.device())?.swap_remove(0).cast(z.dtype()))
    }

    /// [`LatentVariable::bound_by`] with a second network in place of the posterior's density. For posteriors without
    /// a density the value takes them for normal distributions with their moments.
    pub(super) fn by_matching(
        &self,
        x: &Tensor<2>,
        condition: &Condition,
        (draws, count): (&Draws, usize),
        factors: &Factors,
        matcher: &Matcher,
    ) -> Result<BoundEstimate> {
        let ([n, _], kind) = (x.dims(), x.dtype());
        let noise = draws.normals(0..(n * count) as u64, self.noise_width());
        let z = self.drawn(x, condition, count, noise.to_tensor(&x.device()).cast(kind))?;
        let r = self.posterior(x.clone(), condition)?.detach();
        let likelihood = self.log_likelihood(x, z.clone(), condition, count)?;
        let log_prior = by_row(self.prior.log_prob(z.clone(), &self.encode())?, count);
        let e = r.standardised(&z, count);
        let given = repeated_condition(condition, n, count);
        let log_sd = repeated(r.log_sd.clone(), count);
        // ln r, as ln N(e; 0, I) − Σ ln σ, so that derivatives are those of z.
        let log_r = by_row(normal_log_prob(e.clone()) - log_sd.clone().sum_dim(1), count);
        let plain = (log_r.clone() - log_prior.clone()).mean_dim(1);
        let (cost, divergence) = match &matcher.kind {
            Kind::Ratio(critic) => {
                let input = seen_with(self, x, count, vec![e])?;
                let ratio = critic.module.valid().forward(input.into(), &given)?.value;
                let all = (by_row(ratio, count) + log_r - log_prior).mean_dim(1);
                (all.clone(), all)
            }
            Kind::Score { network, .. } => {
                let sizes = e.clone().narrow(1, 0, 1).zeros_like();
                let input = seen_with(self, x, count, vec![e, sizes])?.detach();
                let score = network.module.valid().forward(input.into(), &given)?.value;
                let along = (z * score.detach() * log_sd.neg().exp()).sum_dim(1);
                ((by_row(along, count) - log_prior).mean_dim(1), plain)
            }
            Kind::Aggregate { adversary, weight } => {
                let p = self.prior_like(&z, &draws.purpose("prior"))?;
                let own = adversary.of_generator(&p.detach(), &z, &Condition::None)?;
                (own.mul_scalar(*weight).reshape([1, 1]).expand([n, 1]), plain)
            }
        };
        let likelihood = likelihood.mean_dim(1);
        let seen = likelihood.clone().mul_scalar(factors.likelihood);
        let expression =
            (seen - cost.mul_scalar(factors.divergence)).div_scalar(factors.likelihood.max(1.0));
        let value = likelihood.clone() - divergence.clone();
        Ok(BoundEstimate { value, expression, likelihood, divergence })
    }

    /// The critic's ln q(z | x)/N(z; μ, σ²) of draws `z` of the posterior of each row, `[n, 1]`, where μ and σ are its
    /// moments; none for other matchings.
    ///
    /// # Errors
    /// [`Error::Shape`] if rows do not fit.
    pub fn learnt_log_ratio(
        &self,
        matcher: &Matcher,
        x: &Tensor<2>,
        z: &Tensor<2>,
        condition: &Condition,
    ) -> Result<Option<Tensor<2>>> {
        let Kind::Ratio(critic) = &matcher.kind else { return Ok(None) };
        let e = self.posterior(x.clone(), condition)?.standardised(z, 1);
        let input = seen_with(self, x, 1, vec![e])?;
        Ok(Some(critic.module.valid().forward(input.into(), condition)?.value))
    }

    /// The denoiser's ∇_z ln q(z | x) at draws `z` of the posterior of each row, `[n, width]`; none for other
    /// matchings.
    ///
    /// # Errors
    /// [`Error::Shape`] if rows do not fit.
    pub fn learnt_score(
        &self,
        matcher: &Matcher,
        x: &Tensor<2>,
        z: &Tensor<2>,
        condition: &Condition,
    ) -> Result<Option<Tensor<2>>> {
        let Kind::Score { network, .. } = &matcher.kind else { return Ok(None) };
        let r = self.posterior(x.clone(), condition)?;
        let e = r.standardised(z, 1);
        let sizes = e.clone().narrow(1, 0, 1).zeros_like();
        let input = seen_with(self, x, 1, vec![e, sizes])?;
        let score = network.module.valid().forward(input.into(), condition)?.value;
        Ok(Some(score * r.log_sd.neg().exp()))
    }
}
