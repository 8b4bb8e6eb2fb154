//! A generator and a critic in training.

use super::AdversarialRecipe;
use crate::data::{Condition, Feed, Generate};
use crate::family::Start;
use crate::family::arrays::none_left;
use crate::game::{Adversary, Round};
use crate::nn::game::Player;
use crate::nn::{State, collect_params};
use crate::tensor::host_column;
use crate::train::{Fit, Learner, Trainee, Values};
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use std::path::Path;

/// The beginning of the names of the critic's arrays in a checkpoint.
const CRITIC: &str = "critic.";

/// The learner of a game. Part k < `turns` of a step's batches is of the critic's step k, the last one of the
/// generator's.
pub(super) struct GameLearner {
    generator: Trainee<Player>,
    adversary: Adversary,
    /// The critic's steps for each of the generator.
    turns: u64,
    train: Feed,
    held_out: Option<Feed>,
    fit: Fit,
    /// The number of steps in all.
    steps: u64,
    draws: Draws,
    device: Device,
}

impl GameLearner {
    /// The learner of a resolved recipe before its first step.
    pub fn new(recipe: &AdversarialRecipe, at: &Start) -> Result<Self> {
        let (fit, data, draws) = (&recipe.training, at.data()?, Draws::new(at.seed));
        let initial = draws.purpose("initial");
        let of_generator = initial.purpose("generator");
        let network = &recipe.generator.network;
        let generator = network.init(recipe.role(), at.space, &of_generator, at.device)?;
        let of_critic = initial.purpose("critic");
        let adversary = recipe.critic.init(at.space, fit.optimiser(), &of_critic, at.device)?;
        let turns = if adversary.critic().is_some() { recipe.critic.steps } else { 0 };
        let train = Feed::training(data, fit.encoding(), fit.batch, at.seed)?;
        let most = at.training.held_out_rows;
        Ok(Self {
            generator: Trainee::new(generator, &fit.optimiser()),
            adversary,
            turns,
            train: train.with_parts(turns as usize + 1).with_mirroring(fit.flip),
            held_out: Feed::held_out(data, fit.encoding(), fit.batch.max(256), most)?,
            fit: fit.clone(),
            steps: at.training.steps,
            draws,
            device: at.device.clone(),
        })
    }

    /// A row for each row of a batch.
    fn rows(
        &self,
        generator: &Player,
        n: usize,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        generator.generate(0..n as u64, condition, draws, device)
    }
}

impl Learner for GameLearner {
    fn step(&mut self, step: u64) -> Result<Values> {
        let device = self.device.clone().autodiff();
        let factor = self.fit.decay.factor(step, self.steps, self.fit.warmup);
        let (mut loss, mut penalty, mut slope) = (0.0, 0.0, 0.0);
        for turn in 0..self.turns {
            let batch = self.train.batch(step, turn, &device)?;
            let draws = self.train.draws(step, turn);
            let ([n, _], given) = (batch.x.dims(), &batch.condition);
            let plain = self.generator.module.valid();
            let q = self.rows(&plain, n, given, &draws, &self.device)?;
            let number = step * self.turns + turn;
            let round = Round { p: batch.x.inner(), q, condition: given, draws, step: number };
            let found = self.adversary.learn(&round, factor)?;
            loss += found.loss / self.turns as f64;
            penalty += found.penalty / self.turns as f64;
            slope += found.gradient_norm / self.turns as f64;
        }
        let batch = self.train.batch(step, self.turns, &device)?;
        let draws = self.train.draws(step, self.turns);
        let ([n, _], given) = (batch.x.dims(), &batch.condition);
        let q = self.rows(&self.generator.module, n, given, &draws, &device)?;
        let own = self.adversary.of_generator(&batch.x, &q, given)?;
        let value = host_column(&own.clone().reshape([1, 1]))?[0];
        if !value.is_finite() {
            let what = format!("the generator's loss became {value}");
            return Err(Error::Diverged { what, step: step + 1 });
        }
        self.generator.take_in(&own.backward());
        let norm = self.generator.step(factor)?;
        let mut values = vec![
            ("train/loss", value),
            ("train/gradient_norm", norm),
            ("train/learning_rate", self.fit.learning_rate * factor),
        ];
        if self.turns > 0 {
            values.extend([
                ("train/critic", loss),
                ("train/penalty", penalty),
                ("train/critic_gradient_norm", slope),
                ("train/distance", self.adversary.distance_of(loss)),
            ]);
        }
        Ok(values.into_iter().collect())
    }

    /// The critic's estimate of the distance between held-out rows and rows of the averaged generator, which is the
    /// training's own where the critic has learnt nothing by heart.
    fn held_out(&mut self) -> Result<Values> {
        let Some(feed) = &self.held_out else { return Ok(Values::default()) };
        let (generator, draws) = (self.generator.averaged(), self.draws.purpose("held out"));
        let (mut all, mut rows) = (0.0, 0.0);
        for (k, batch) in feed.all(&draws, &self.device).enumerate() {
            let batch = batch?;
            let ([n, _], given) = (batch.x.dims(), &batch.condition);
            if n < 2 {
                continue;
            }
            let q = self.rows(&generator, n, given, &draws.at(k as u64), &self.device)?;
            all += n as f64 * self.adversary.distance(&batch.x, &q, given)?;
            rows += n as f64;
        }
        Ok(if rows > 0.0 { [("held_out/distance", all / rows)].into() } else { Values::default() })
    }

    fn save(&self) -> Result<State> {
        let mut state = State::new();
        self.generator.save("", &mut state)?;
        self.adversary.save(CRITIC, &mut state)?;
        Ok(state)
    }

    fn load(&mut self, mut state: State, origin: &Path) -> Result<()> {
        self.adversary.load(CRITIC, &mut state, origin)?;
        self.generator.load("", &mut state, origin)?;
        none_left(&state, origin)
    }

    fn weights(&self) -> Result<State> {
        collect_params(&self.generator.averaged())
    }
}
