//! The objectives of energies.
//!
//! | objective | a step's loss | |
//! |---|---|---|
//! | contrastive | E of the batch − E after k steps from the batch | Hinton 2002, eq. 5 |
//! | persistent | E of the batch − E after k more steps of chains that go on | Tieleman 2008 |
//! | enumerated | E of the batch + ln Z | |
//! | implicit, sliced, denoising | those of [`crate::objective`] for the score −∇E, at one level | |
//!
//! Both means are over rows, and no gradient passes through a chain. `penalty` adds its number times the mean of the
//! squared energies of either side (Du & Mordatch, "Implicit generation and modeling with energy based models", 2019,
//! sec. 3.3), which keeps their size.

use super::chains::Walk;
use super::score::{matching, one_level};
use super::{check_kernel, default_kernel};
use crate::data::Rows;
use crate::error::{count, within};
use crate::mcmc::AnyKernel;
use crate::nn::energy::{AnyEnergy, AnyEnergyConfig, Energy, Moments};
use crate::objective::{
    DenoisingScoreMatching, ImplicitScoreMatching, SlicedScoreMatching, Slices,
};
use crate::registry::registry;
use crate::tensor::{detached, host_column, mean_and_error};
use crate::{Draws, Error, Result};
use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// A batch, and what a step of training has beside it.
pub struct Step<'a> {
    /// The energy, whose weights are in a graph.
    pub energy: &'a AnyEnergy,
    /// The rows, `[n, width]`.
    pub x: Tensor<2>,
    /// The number of the step, from 1, for errors.
    pub number: u64,
    /// The random numbers of the batch.
    pub draws: Draws,
    /// The persistent chains; empty without any.
    pub buffer: &'a mut Rows,
    /// The moments of the training rows.
    pub base: &'a Moments,
}

/// The loss of a batch.
pub struct Outcome {
    /// The value.
    pub loss: f64,
    /// An expression with the gradient of the loss, `[n, 1]` whose mean counts.
    pub surrogate: Tensor<2>,
    /// Further values.
    pub values: Vec<(&'static str, f64)>,
}

/// An objective of energies.
pub trait EnergyObjective: std::fmt::Debug + Send + Sync {
    /// Fails, naming the key inside `objective`, unless every value is valid.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()>;

    /// The objective for an energy of rows of `width` values, with its kernel.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key that does not fit.
    fn resolve(&self, energy: &AnyEnergyConfig, width: usize) -> Result<AnyEnergyObjective>;

    /// The kernel of the chains of training.
    fn kernel(&self) -> Option<AnyKernel> {
        None
    }

    /// The number of persistent chains.
    fn buffer(&self) -> usize {
        0
    }

    /// Whether losses of different weights can be compared: not those of chains.
    fn is_comparable(&self) -> bool {
        true
    }

    /// The loss of a step.
    ///
    /// # Errors
    /// [`Error::Diverged`] if chains or energies leave all bounds; errors of the energy.
    fn loss(&self, at: Step) -> Result<Outcome>;
}

registry! {
    /// Any named objective of energies: `persistent`, or `{ name = "contrastive", steps = 10 }`.
    pub enum AnyEnergyObjective: EnergyObjective = Persistent, "objective" {
        "persistent" Persistent(Persistent)
            "persistent chains in a buffer, a share of which restarts; the default",
        "contrastive" Contrastive(Contrastive) "contrastive divergence: steps = 1 of chains from the batch",
        "enumerated" Enumerated(Enumerated) "likelihood with Z enumerated, for machines of at most 20 units on a side",
        "implicit" Implicit(Implicit) "implicit score matching, up to 64 columns; with sigma, of noised rows",
        "sliced" Sliced(Sliced) "sliced score matching; with sigma, of noised rows",
        "denoising" Denoising(Denoising) "denoising score matching at one level, sigma = 0.1",
    }
}

/// Contrastive divergence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Contrastive {
    /// The kernel; if absent, `gibbs` for machines and `mala` for networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<AnyKernel>,
    /// The number of steps of a chain.
    pub steps: usize,
    /// The temperature of chains, whose density is exp(−E/temperature).
    pub temperature: f64,
    /// The factor on mean squared energies.
    pub penalty: f64,
}

impl Default for Contrastive {
    fn default() -> Self {
        Self { kernel: None, steps: 1, temperature: 1.0, penalty: 0.0 }
    }
}

/// Persistent chains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Persistent {
    /// The kernel; if absent, `gibbs` for machines and `mala` for networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<AnyKernel>,
    /// The number of steps that the chains of a batch go on.
    pub steps: usize,
    /// The number of chains, of which each batch takes as many as it has rows.
    pub buffer: usize,
    /// The probability that a chain starts anew from independent columns before its steps.
    pub restarts: f64,
    /// The temperature of chains, whose density is exp(−E/temperature).
    pub temperature: f64,
    /// The factor on mean squared energies.
    pub penalty: f64,
}

impl Default for Persistent {
    fn default() -> Self {
        let (steps, buffer, restarts) = (10, 4096, 0.0);
        Self { kernel: None, steps, buffer, restarts, temperature: 1.0, penalty: 0.0 }
    }
}

/// Fails, naming the key, unless the options of chains are valid.
fn check_chains(
    kernel: Option<AnyKernel>,
    steps: usize,
    temperature: f64,
    penalty: f64,
) -> Result<()> {
    kernel.iter().try_for_each(check_kernel)?;
    count("steps", steps as u64, 1 << 20)?;
    within("temperature", temperature, 1e-6, 1e6)?;
    within("penalty", penalty, 0.0, 1e6)
}

/// The kernel for an energy, given or not.
fn kernel_for(
    given: Option<AnyKernel>,
    energy: &AnyEnergyConfig,
    temperature: f64,
) -> Result<AnyKernel> {
    let kernel = given.unwrap_or_else(|| default_kernel(energy));
    let (gibbs, network) =
        (matches!(kernel, AnyKernel::Gibbs(_)), matches!(energy, AnyEnergyConfig::Network(_)));
    if gibbs && network {
        let expected = "mala or ula: gibbs needs the units of a machine";
        return Err(Error::config("objective.kernel", "gibbs", expected));
    }
    if !gibbs && energy.is_discrete() {
        let expected = "gibbs: rows of zeros and ones have no score";
        return Err(Error::config("objective.kernel", kernel.name(), expected));
    }
    if gibbs && temperature != 1.0 {
        let expected = "1: gibbs draws units at temperature 1";
        return Err(Error::config("objective.temperature", temperature.to_string(), expected));
    }
    Ok(kernel)
}

impl EnergyObjective for Contrastive {
    fn check(&self) -> Result<()> {
        check_chains(self.kernel, self.steps, self.temperature, self.penalty)
    }

    fn resolve(&self, energy: &AnyEnergyConfig, _: usize) -> Result<AnyEnergyObjective> {
        let kernel = Some(kernel_for(self.kernel, energy, self.temperature)?);
        Ok(Self { kernel, ..*self }.into())
    }

    fn kernel(&self) -> Option<AnyKernel> {
        self.kernel
    }

    fn is_comparable(&self) -> bool {
        false
    }

    fn loss(&self, at: Step) -> Result<Outcome> {
        let walk = Walk {
            kernel: self.kernel.unwrap_or_default(),
            steps: self.steps,
            temperature: self.temperature,
        };
        let (ends, acceptance) = walk.run(at.energy, at.x.clone(), &at.draws, at.number)?;
        contrast(&at, ends, acceptance, self.penalty)
    }
}

impl EnergyObjective for Persistent {
    fn check(&self) -> Result<()> {
        check_chains(self.kernel, self.steps, self.temperature, self.penalty)?;
        count("buffer", self.buffer as u64, 1 << 26)?;
        within("restarts", self.restarts, 0.0, 1.0)
    }

    fn resolve(&self, energy: &AnyEnergyConfig, _: usize) -> Result<AnyEnergyObjective> {
        let kernel = Some(kernel_for(self.kernel, energy, self.temperature)?);
        Ok(Self { kernel, ..*self }.into())
    }

    fn kernel(&self) -> Option<AnyKernel> {
        self.kernel
    }

    fn buffer(&self) -> usize {
        self.buffer
    }

    fn is_comparable(&self) -> bool {
        false
    }

    fn loss(&self, mut at: Step) -> Result<Outcome> {
        let walk = Walk {
            kernel: self.kernel.unwrap_or_default(),
            steps: self.steps,
            temperature: self.temperature,
        };
        let (ends, acceptance) = walk.go_on(&mut at, self.restarts)?;
        contrast(&at, ends, acceptance, self.penalty)
    }
}

/// E of the batch minus E of the ends of chains, with the penalty on their squares.
fn contrast(at: &Step, ends: Tensor<2>, acceptance: f64, penalty: f64) -> Result<Outcome> {
    let [data, model] = [at.x.clone(), ends].map(|x| at.energy.energy(x.into()));
    let (data, model) = (data?.value, model?.value);
    let of_data = mean_of(&data)?;
    let of_model = mean_of(&model)?;
    bounded([of_data, of_model], at.number)?;
    let mut loss = data.clone() - model.clone();
    if penalty > 0.0 {
        loss = loss + (data.square() + model.square()).mul_scalar(penalty);
    }
    let values = vec![
        ("train/energy_of_data", of_data),
        ("train/energy_of_chains", of_model),
        ("chains/acceptance", acceptance),
    ];
    Ok(Outcome { loss: mean_of(&loss)?, surrogate: loss, values })
}

/// The mean of a column.
fn mean_of(column: &Tensor<2>) -> Result<f64> {
    Ok(mean_and_error(&host_column(&detached(column.clone()))?).0)
}

/// The most nats of a mean energy, and of the gap between data and chains: beyond them an energy grows without bound.
const MOST_ENERGY: f64 = 1e6;
const MOST_GAP: f64 = 1e4;

/// Fails unless the mean energies of data and of chains are bounded.
fn bounded([data, chains]: [f64; 2], step: u64) -> Result<()> {
    if data.abs() <= MOST_ENERGY && chains.abs() <= MOST_ENERGY && (data - chains).abs() <= MOST_GAP
    {
        return Ok(());
    }
    let what = format!(
        "the energy grew without bound (`objective.penalty`, more steps or a lower rate keep it small): {data:.3e} \
         nats of data, {chains:.3e} of chains,"
    );
    Err(Error::Diverged { what, step })
}

/// The likelihood with Z enumerated; it has no options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Enumerated;

impl EnergyObjective for Enumerated {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn resolve(&self, energy: &AnyEnergyConfig, width: usize) -> Result<AnyEnergyObjective> {
        if energy.is_enumerable(width) {
            return Ok((*self).into());
        }
        let expected =
            "persistent or contrastive: Z is enumerated for machines of at most 20 units on a side";
        Err(Error::config("objective", "enumerated", expected))
    }

    fn loss(&self, at: Step) -> Result<Outcome> {
        let loss = at.energy.energy(at.x.into())?.value.cast(DType::F64) + at.energy.log_z()?;
        Ok(Outcome { loss: mean_of(&loss)?, surrogate: loss, values: Vec::new() })
    }
}

/// The largest width at which implicit score matching is exact in every step.
const MOST_EXACT: usize = 64;

/// Implicit score matching.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Implicit {
    /// The standard deviation of noise that is added to rows; 0 for none.
    pub sigma: f64,
}

/// Sliced score matching.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sliced {
    /// The standard deviation of noise that is added to rows; 0 for none.
    pub sigma: f64,
    /// The number of random vectors of a row.
    pub slices: usize,
}

impl Default for Sliced {
    fn default() -> Self {
        Self { sigma: 0.0, slices: 1 }
    }
}

/// Denoising score matching at one level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Denoising {
    /// The standard deviation of the noise, in model units. The energy is that of noised rows.
    pub sigma: f64,
}

impl Default for Denoising {
    fn default() -> Self {
        Self { sigma: 0.1 }
    }
}

/// The same objective, unless rows are zeros and ones.
fn of_reals(own: AnyEnergyObjective, energy: &AnyEnergyConfig) -> Result<AnyEnergyObjective> {
    if !energy.is_discrete() {
        return Ok(own);
    }
    let expected = "persistent or contrastive: rows of zeros and ones have no score";
    Err(Error::config("objective", own.name(), expected))
}

impl EnergyObjective for Implicit {
    fn check(&self) -> Result<()> {
        within("sigma", self.sigma, 0.0, 1e3)
    }

    fn resolve(&self, energy: &AnyEnergyConfig, width: usize) -> Result<AnyEnergyObjective> {
        if width > MOST_EXACT {
            let problem = format!("implicit, on rows of {width} columns");
            let expected = format!("sliced or denoising, or at most {MOST_EXACT} columns");
            return Err(Error::config("objective", problem, expected));
        }
        of_reals((*self).into(), energy)
    }

    fn loss(&self, at: Step) -> Result<Outcome> {
        matching(&ImplicitScoreMatching::new(one_level(self.sigma)), at)
    }
}

impl EnergyObjective for Sliced {
    fn check(&self) -> Result<()> {
        within("sigma", self.sigma, 0.0, 1e3)?;
        count("slices", self.slices as u64, 1000)
    }

    fn resolve(&self, energy: &AnyEnergyConfig, _: usize) -> Result<AnyEnergyObjective> {
        of_reals((*self).into(), energy)
    }

    fn loss(&self, at: Step) -> Result<Outcome> {
        let slices = Slices { slices: self.slices, ..Slices::default() };
        matching(&SlicedScoreMatching::new(one_level(self.sigma), slices), at)
    }
}

impl EnergyObjective for Denoising {
    fn check(&self) -> Result<()> {
        within("sigma", self.sigma, 1e-4, 1e3)
    }

    fn resolve(&self, energy: &AnyEnergyConfig, _: usize) -> Result<AnyEnergyObjective> {
        of_reals((*self).into(), energy)
    }

    fn loss(&self, at: Step) -> Result<Outcome> {
        matching(&DenoisingScoreMatching::new(one_level(self.sigma)), at)
    }
}
