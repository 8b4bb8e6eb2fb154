//! How training brings the posterior to the prior.
//!
//! The second term of the evidence lower bound is D = E_q ln q(z | x)/p(z). A posterior with a density gives it. One
//! that can only be drawn from leaves an estimate to a second network, which learns beside the model. Let μ and σ be
//! the means and standard deviations of q(z | x), r(z | x) = N(μ, diag σ²), and ε = (z − μ)/σ.
//!
//! *Adversarial*: a critic T(x, ε) descends the logistic loss between draws of q and of N(0, I). At its best T is
//! ln q(z | x)/r(z | x), so that with fixed T, μ and σ
//!
//! > D = E_q [T(x, ε) + ln r(z | x) − ln p(z)]
//!
//! has the right value and, through z, the right derivatives (Mescheder, Nowozin & Geiger 2017, *Adversarial
//! variational Bayes*, eqs. 3.3, 3.7 and sec. 3.3, adaptive contrast).
//!
//! *Denoising*: a network s(x, ε, h) descends E ‖u + h s(x, ε + h u, h)‖² over u ~ N(0, I) and h = δ |N(0, 1)|. Then s
//! at h → 0 is the score of the density of ε, and the derivatives of D are those of E_q [z · s/σ − ln p(z)] with s
//! fixed (Lim et al. 2020, *AR-DAE: towards unbiased neural entropy gradient estimation*, eqs. 6 and 9).
//!
//! *Aggregate*: a critic of z alone, as in any game, between draws of the prior and of q(z) = (1/N) Σ q(z | x_i); a
//! row's posterior is free (Makhzani et al. 2016, *Adversarial autoencoders*).

use super::posterior::{by_row, normal_log_prob, repeated};
use super::{BoundEstimate, Factors, LatentVariable, Posterior, Prior};
use crate::data::{Condition, Space};
use crate::error::{count, inside, within};
use crate::game::{Adversary, AdversaryConfig, Round};
use crate::nn::perceptron::{Perceptron, Sizes, check_hidden};
use crate::nn::{Activation, State};
use crate::registry::registry;
use crate::tensor::host_column;
use crate::train::{Optimiser, Trainee};
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor, activation};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::path::Path;

/// The most steps of the second network for each of the model.
const MOST_STEPS: u64 = 1 << 10;

/// A way to bring the posterior to the prior.
pub trait Matching: Debug + Send + Sync {
    /// Fails, naming the key, unless every value is valid.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The second network for a latent variable of `width` dimensions and rows of `space`, if it needs one.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key that does not fit.
    fn matcher(
        &self,
        width: usize,
        space: &Space,
        optimiser: Optimiser,
        draws: &Draws,
        device: &Device,
    ) -> Result<Option<Matcher>> {
        let _ = (width, space, optimiser, draws, device);
        Ok(None)
    }

    /// Whether the posterior must have a density.
    fn needs_density(&self) -> bool {
        false
    }
}

/// By the densities of posterior and prior.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DensityMatching {}

impl Matching for DensityMatching {
    fn needs_density(&self) -> bool {
        true
    }
}

/// By a critic of rows and latent variables; see the module's head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CriticMatching {
    /// The widths of the critic's hidden layers.
    pub hidden: Vec<usize>,
    /// The number of its steps for each step of the model.
    pub steps: u64,
    /// Its learning rate; that of the model if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}

impl Default for CriticMatching {
    fn default() -> Self {
        Self { hidden: vec![128, 128], steps: 3, learning_rate: None }
    }
}

/// By a denoiser of latent variables; see the module's head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DenoisingMatching {
    /// The widths of the denoiser's hidden layers.
    pub hidden: Vec<usize>,
    /// The number of its steps for each step of the model.
    pub steps: u64,
    /// Its learning rate; that of the model if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// δ, the size of the noise, in standard deviations of the posterior.
    pub noise: f64,
    /// The number of draws of each row's posterior in a step.
    pub draws: usize,
}

impl Default for DenoisingMatching {
    fn default() -> Self {
        Self { hidden: vec![128, 128], steps: 2, learning_rate: None, noise: 0.1, draws: 4 }
    }
}

/// By a critic of the latent variables of all rows; see the module's head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AggregateMatching {
    /// The weight of the generator's loss beside the likelihood's nats.
    pub weight: f64,
    /// The critic, and the losses of both.
    pub critic: AdversaryConfig,
}

impl Default for AggregateMatching {
    fn default() -> Self {
        Self { weight: 10.0, critic: AdversaryConfig::default() }
    }
}

registry! {
    /// How training brings the posterior to the prior: `density`, or `{ name = "critic", steps = 5 }`.
    pub enum AnyMatching: Matching = Density, "matching" {
        "density" Density(DensityMatching) "by the densities of posterior and prior; the default",
        "critic" Critic(CriticMatching)
            "by a critic of rows and latent variables that learns their ratio (adversarial variational Bayes)",
        "denoising" Denoising(DenoisingMatching)
            "by a denoiser of latent variables that learns the posterior's score (AR-DAE)",
        "aggregate" Aggregate(AggregateMatching)
            "by a critic of the latent variables of all rows (adversarial autoencoder)",
    }
}

/// Fails, naming the key, unless these are options of a second network.
fn check_network(hidden: &[usize], steps: u64, rate: Option<f64>) -> Result<()> {
    check_hidden("hidden", hidden)?;
    count("steps", steps, MOST_STEPS)?;
    rate.map_or(Ok(()), |rate| within("learning_rate", rate, 1e-30, 10.0))
}

/// The options of the optimiser of a second network, which has no averages.
fn own(optimiser: Optimiser, rate: Option<f64>) -> Optimiser {
    let learning_rate = rate.unwrap_or(optimiser.learning_rate);
    Optimiser { learning_rate, ema: None, powers: Vec::new(), ..optimiser }
}

/// A network of rows and latent variables, with `extra` inputs beside.
fn of_both(
    hidden: &[usize],
    [width, extra, output]: [usize; 3],
    space: &Space,
    draws: &Draws,
    device: &Device,
) -> Perceptron {
    let given = [space.classes().len(), space.given_width()];
    let sizes = Sizes { input: space.model_width() + width + extra, hidden, output, given };
    sizes.init(Activation::Silu, 0.0, draws, device)
}

impl Matching for CriticMatching {
    fn check(&self) -> Result<()> {
        check_network(&self.hidden, self.steps, self.learning_rate)
    }

    fn matcher(
        &self,
        width: usize,
        space: &Space,
        optimiser: Optimiser,
        draws: &Draws,
        device: &Device,
    ) -> Result<Option<Matcher>> {
        let network = of_both(&self.hidden, [width, 0, 1], space, draws, device);
        let critic = Trainee::new(network, &own(optimiser, self.learning_rate));
        Ok(Some(Matcher { steps: self.steps, kind: Kind::Ratio(critic) }))
    }
}

impl Matching for DenoisingMatching {
    fn check(&self) -> Result<()> {
        check_network(&self.hidden, self.steps, self.learning_rate)?;
        within("noise", self.noise, 1e-6, 10.0)?;
        count("draws", self.draws as u64, MOST_STEPS)
    }

    fn matcher(
        &self,
        width: usize,
        space: &Space,
        optimiser: Optimiser,
        draws: &Draws,
        device: &Device,
    ) -> Result<Option<Matcher>> {
        let network = of_both(&self.hidden, [width, 1, width], space, draws, device);
        let network = Trainee::new(network, &own(optimiser, self.learning_rate));
        let kind = Kind::Score { network, noise: self.noise, draws: self.draws };
        Ok(Some(Matcher { steps: self.steps, kind }))
    }
}

impl Matching for AggregateMatching {
    fn check(&self) -> Result<()> {
        within("weight", self.weight, 0.0, 1e9)?;
        self.critic.check().map_err(|e| inside("critic", e))
    }

    fn matcher(
        &self,
        width: usize,
        _: &Space,
        optimiser: Optimiser,
        draws: &Draws,
        device: &Device,
    ) -> Result<Option<Matcher>> {
        let names: Vec<String> = (1..=width).map(|j| format!("z{j}")).collect();
        let space = Space::vector(&names)?;
        let network = &self.critic.network;
        network.check_space(&space).map_err(|e| inside("critic.network", e))?;
        let adversary = self.critic.init(&space, optimiser, draws, device);
        let adversary = adversary.map_err(|e| inside("critic", e))?;
        let steps = if adversary.critic().is_some() { self.critic.steps } else { 0 };
        Ok(Some(Matcher { steps, kind: Kind::Aggregate { adversary, weight: self.weight } }))
    }
}

/// The network that learns beside a latent-variable model what lies between posterior and prior.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The number of its steps for each of the model.
    steps: u64,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
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
