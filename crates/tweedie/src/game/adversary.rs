//! A critic in training.

use super::{AnyGameLoss, AnyRegulariser, Slopes};
use crate::data::{Condition, Space};
use crate::error::{count, inside, within};
use crate::nn::game::{AnyPlayerConfig, Play, Player, Role};
use crate::nn::{MapParam, State, map_each};
use crate::objective::Loss;
use crate::tensor::{Dual, host_column};
use crate::train::{Optimiser, Trainee};
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The most steps of a critic for each of the generator.
const MOST_STEPS: u64 = 1 << 10;
/// The most regularisers.
const MOST_REGULARISERS: usize = 16;

/// Configuration of an [`Adversary`].
///
/// ```
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::data::{Condition, Space};
/// use tweedie::game::{AdversaryConfig, Round};
/// use tweedie::train::{AdamWConfig, Optimiser};
/// let (space, device) = (Space::vector(&["x", "y"])?, Device::flex());
/// let optimiser = Optimiser { learning_rate: 1e-3, adamw: AdamWConfig::default(), ema: None, powers: vec![] };
/// let config = AdversaryConfig::default();
/// let mut adversary = config.init(&space, optimiser, &Draws::new(0), &device)?;
/// let normal = |k: u64| Draws::new(k).normals(0..64, 2).to_tensor(&device);
/// let round = Round {
///     p: normal(1),
///     q: normal(2) + 3.0,
///     condition: &Condition::None,
///     draws: Draws::new(3),
///     step: 0,
/// };
/// let first = adversary.learn(&round, 1.0)?;
/// (0..50).try_for_each(|_| adversary.learn(&round, 1.0).map(drop))?;
/// assert!(adversary.learn(&round, 1.0)?.loss < first.loss);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdversaryConfig {
    /// The losses of both players.
    pub loss: AnyGameLoss,
    /// The critic's regularisers.
    pub regularisers: Vec<AnyRegulariser>,
    /// The critic's network.
    pub network: AnyPlayerConfig,
    /// The number of its steps for each step of the generator.
    pub steps: u64,
    /// Its learning rate; that of the generator if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}

impl Default for AdversaryConfig {
    /// The losses that do not saturate, with R₁ at weight 1.
    fn default() -> Self {
        Self {
            loss: AnyGameLoss::default(),
            regularisers: vec![AnyRegulariser::default()],
            network: AnyPlayerConfig::default(),
            steps: 1,
            learning_rate: None,
        }
    }
}

impl AdversaryConfig {
    /// Fails, naming the key, unless every value is valid, whatever the data.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        self.loss.check().map_err(|e| inside("loss", e))?;
        self.network.check().map_err(|e| inside("network", e))?;
        count("steps", self.steps, MOST_STEPS)?;
        if let Some(rate) = self.learning_rate {
            within("learning_rate", rate, 1e-30, 10.0)?;
        }
        let problem = |problem: String, expected: String| {
            Err(Error::config("regularisers", problem, expected))
        };
        if self.regularisers.len() > MOST_REGULARISERS {
            let found = self.regularisers.len().to_string();
            return problem(found, format!("at most {MOST_REGULARISERS}"));
        }
        for (k, own) in self.regularisers.iter().enumerate() {
            own.check().map_err(|e| inside(&format!("regularisers[{k}]"), e))?;
            if self.regularisers[..k].iter().any(|other| other.name() == own.name()) {
                return problem(format!("two of `{}`", own.name()), "one of each".into());
            }
        }
        if self.loss.features().is_none() && !self.regularisers.is_empty() {
            let found = format!("`{}` without a critic", self.regularisers[0].name());
            return problem(found, "none, or features of a critic above 0".into());
        }
        Ok(())
    }

    /// The role of the critic's network; none if there is no critic.
    pub fn role(&self) -> Option<Role> {
        let norm = self.regularisers.iter().find_map(|own| own.norm());
        self.loss.features().map(|features| Role::Critic { features, norm })
    }

    /// The critic of rows of `space` before its first step, with initial values from `draws`. The learning rate of
    /// `optimiser` is replaced by its own, if it has one.
    ///
    /// # Errors
    /// [`Error::Config`] naming a key that does not fit the rows.
    pub fn init(
        &self,
        space: &Space,
        optimiser: Optimiser,
        draws: &Draws,
        device: &Device,
    ) -> Result<Adversary> {
        let learning_rate = self.learning_rate.unwrap_or(optimiser.learning_rate);
        let optimiser = Optimiser { learning_rate, ema: None, powers: Vec::new(), ..optimiser };
        let of_role = |role| self.network.init(role, space, draws, device);
        let network = self.role().map(of_role).transpose().map_err(|e| inside("network", e))?;
        Ok(Adversary {
            critic: network.map(|network| Trainee::new(network, &optimiser)),
            loss: self.loss.clone(),
            regularisers: self.regularisers.clone(),
        })
    }
}

/// Rows of two distributions for one step of a critic.
#[derive(Debug, Clone)]
pub struct Round<'a> {
    /// Rows of the data, `[n, width]`.
    pub p: Tensor<2>,
    /// Rows of the generator outside of its graph, `[n, width]`.
    pub q: Tensor<2>,
    /// The condition of each row, of the data and of the generator.
    pub condition: &'a Condition,
    /// Random numbers of the step.
    pub draws: Draws,
    /// The number of the step, from 0, for regularisers that do not act in every step.
    pub step: u64,
}

/// Values of a step of a critic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// The critic's loss, without penalties.
    pub loss: f64,
    /// The sum of the penalties.
    pub penalty: f64,
    /// The norm of the gradient before clipping.
    pub gradient_norm: f64,
}

/// A critic with its optimiser, its regularisers and the losses of the game.
#[derive(Debug, Clone)]
pub struct Adversary {
    critic: Option<Trainee<Player>>,
    loss: AnyGameLoss,
    regularisers: Vec<AnyRegulariser>,
}

/// The value of a loss, `[1]`.
fn number(x: &Tensor<1>) -> Result<f64> {
    Ok(host_column(&x.clone().reshape([1, 1]))?[0])
}

/// A critic's outputs for rows of both samples, in one pass.
fn both(critic: &Player, [p, q]: [&Tensor<2>; 2], given: &Condition) -> Result<[Tensor<2>; 2]> {
    let ([n, _], [m, _]) = (p.dims(), q.dims());
    let rows: Vec<usize> = (0..n).chain(0..m).collect();
    let all = Tensor::cat(vec![p.clone(), q.clone()], 0);
    let found = critic.forward(all.into(), &given.select(&rows))?.value;
    Ok([found.clone().narrow(0, 0, n), found.narrow(0, n, m)])
}

struct Clip(f64);

impl MapParam for Clip {
    fn map<const D: usize>(&mut self, _: &str, tensor: Tensor<D>) -> Tensor<D> {
        tensor.clamp(-self.0, self.0)
    }
}

impl Adversary {
    /// The critic's network without derivatives; none if losses are of the rows themselves.
    pub fn critic(&self) -> Option<Player> {
        self.critic.as_ref().map(|critic| critic.module.valid())
    }

    /// Takes a step of the critic at `factor` times the peak learning rate.
    ///
    /// # Errors
    /// [`Error::Diverged`] if a loss or a gradient is not finite; the critic then stays as it was. [`Error::Shape`] if
    /// rows or conditions do not fit the critic.
    pub fn learn(&mut self, round: &Round, factor: f64) -> Result<Turn> {
        let Some(critic) = &mut self.critic else {
            let loss = number(&self.loss.critic(round.p.clone(), round.q.clone()))?;
            return Ok(Turn { loss, penalty: 0.0, gradient_norm: 0.0 });
        };
        let [on_p, on_q] = both(&critic.module, [&round.p, &round.q], round.condition)?;
        let own = self.loss.critic(on_p.clone(), on_q.clone());
        let loss = number(&own)?;
        let frozen = critic.module.valid();
        let [plain_p, plain_q] = [&on_p, &on_q].map(|x| x.clone().inner());
        let potential = |network: &Player, x: Dual<2>, on: [&Tensor<2>; 2]| {
            Ok(self.loss.potential(network.forward(x, round.condition)?, on[0], on[1]))
        };
        let slopes = Slopes {
            frozen: &|x| potential(&frozen, x, [&plain_p, &plain_q]),
            live: &|x| potential(&critic.module, x, [&on_p, &on_q]),
        };
        let (mut total, mut penalty) = (own, 0.0);
        for regulariser in &self.regularisers {
            let Some(Loss { value, surrogate }) = regulariser.penalty(&slopes, round)? else {
                continue;
            };
            penalty += number(&value.mean())?;
            total = total + surrogate.mean();
        }
        if !(loss + penalty).is_finite() {
            let what = format!("the critic's loss became {}", loss + penalty);
            return Err(Error::Diverged { what, step: round.step + 1 });
        }
        critic.take_in(&total.backward());
        let gradient_norm = critic.step(factor)?;
        if let Some(bound) = self.regularisers.iter().find_map(|own| own.bound()) {
            critic.module = map_each(critic.module.clone(), Clip(bound)).0;
        }
        Ok(Turn { loss, penalty, gradient_norm })
    }

    /// The loss that the generator descends, `[1]`, with the derivatives of its rows `q`, for rows `p` of the data. The
    /// critic is held fixed.
    ///
    /// # Errors
    /// [`Error::Shape`] if rows or conditions do not fit the critic.
    pub fn of_generator(
        &self,
        p: &Tensor<2>,
        q: &Tensor<2>,
        condition: &Condition,
    ) -> Result<Tensor<1>> {
        let Some(critic) = self.critic() else {
            return Ok(self.loss.generator(p.clone(), q.clone()));
        };
        let [on_p, on_q] = both(&critic, [p, q], condition)?;
        Ok(self.loss.generator(on_p, on_q))
    }

    /// The estimate of a distance between the distributions by the critic as it is; see
    /// [`distance`](super::GameLoss::distance). On rows that the critic has not learnt from, its expectation is at
    /// most the distance.
    ///
    /// # Errors
    /// [`Error::Shape`] if rows or conditions do not fit the critic.
    pub fn distance(&self, p: &Tensor<2>, q: &Tensor<2>, condition: &Condition) -> Result<f64> {
        let [on_p, on_q] = match self.critic() {
            None => [p.clone(), q.clone()],
            Some(critic) => both(&critic, [p, q], condition)?,
        };
        Ok(self.loss.distance(number(&self.loss.critic(on_p, on_q))?))
    }

    /// The estimate of a distance that a value of the critic's loss is.
    pub fn distance_of(&self, loss: f64) -> f64 {
        self.loss.distance(loss)
    }

    /// Adds the whole state, under names that begin with `prefix`.
    ///
    /// # Errors
    /// [`Error::Device`] if a tensor cannot be read.
    pub fn save(&self, prefix: &str, into: &mut State) -> Result<()> {
        self.critic.iter().try_for_each(|critic| critic.save(prefix, into))
    }

    /// Restores the arrays of [`Adversary::save`], and removes them from `from`; `origin` names their file, for errors.
    ///
    /// # Errors
    /// [`Error::File`] naming the array that is missing or does not fit.
    pub fn load(&mut self, prefix: &str, from: &mut State, origin: &Path) -> Result<()> {
        self.critic.iter_mut().try_for_each(|critic| critic.load(prefix, from, origin))
    }
}
