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

use super::matcher::{Kind, Matcher};
use crate::data::Space;
use crate::error::{count, inside, within};
use crate::game::AdversaryConfig;
use crate::nn::Activation;
use crate::nn::perceptron::{Perceptron, Sizes, check_hidden};
use crate::registry::registry;
use crate::train::{Optimiser, Trainee};
use crate::{Draws, Result};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// The most steps of the second network for each of the model.
const MOST_STEPS: u64 = 1 << 10;

/// A way to bring the posterior to the prior.
pub trait Matching: Debug + Send + Sync {
    /// Fails, naming the key, unless every value is valid.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config).
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The second network for a latent variable of `width` dimensions and rows of `space`, if it needs one.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming a key that does not fit.
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
