//! Maximum likelihood training of flows by AdamW.

use super::Flow;
use crate::data::{Feed, LogDensity, Rows, Space};
use crate::family::Start;
use crate::nn::{self, State, collect_params};
use crate::tensor::{host_column, mean_and_error};
use crate::train::{Choice, Fit, Learner, Trainee, Values};
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use std::path::Path;

/// Maximum likelihood training of a flow on the rows of a data set.
pub(super) struct FlowLearner {
    flow: Trainee<nn::flow::Flow>,
    train: Feed,
    /// The batches of held-out rows, if there are any.
    held_out: Option<Feed>,
    choice: Choice,
    fit: Fit,
    /// The number of steps in all.
    steps: u64,
    space: Space,
    draws: Draws,
    device: Device,
}

impl FlowLearner {
    /// The learner of the resolved recipe `of`, before its first step.
    pub fn new(of: &Flow, at: &Start) -> Result<Self> {
        let (data, fit) = (at.data()?, &of.training);
        let flow = of.flow.init(&Draws::new(at.seed).purpose("initial"), at.device)?;
        let (batch, encoding) = (fit.batch, fit.encoding());
        let train = Feed::training(data, encoding, batch, at.seed)?.with_parts(fit.accumulate);
        let most = at.training.held_out_rows;
        let held_out = Feed::held_out(data, encoding, batch.max(256), most)?;
        let choice = Choice::new(fit, held_out.is_some());
        Ok(Self {
            flow: Trainee::new(flow, &fit.optimiser()),
            train,
            held_out,
            choice,
            fit: fit.clone(),
            steps: at.training.steps,
            space: at.space.clone(),
            draws: Draws::new(at.seed),
            device: at.device.clone(),
        })
    }
}

impl FlowLearner {
    /// The loss of a flow on held-out rows, and the mean log p of a row. The noise is the same each time, so that a
    /// curve depends on the model alone.
    fn held_out_loss(&self, flow: &nn::flow::Flow, feed: &Feed) -> Result<(f64, f64)> {
        let (mut all, mut volumes) = (Vec::new(), Vec::new());
        for batch in feed.all(&self.draws.purpose("held out"), &self.device) {
            let batch = batch?;
            volumes.extend(self.space.log_volumes(&Rows::from_tensor(&batch.x)?)?);
            all.extend(host_column(&flow.log_density(batch.x.into(), &batch.condition)?.value)?);
        }
        let (log_p, volume) = (mean_and_error(&all).0, mean_and_error(&volumes).0);
        Ok((-log_p / self.space.model_width() as f64, log_p - volume))
    }
}

impl Learner for FlowLearner {
    fn step(&mut self, step: u64) -> Result<Values> {
        let (device, parts) = (self.device.clone().autodiff(), self.fit.accumulate);
        let mut loss = 0.0;
        for part in 0..parts as u64 {
            let batch = self.train.batch(step, part, &device)?;
            let columns = batch.x.dims()[1] as f64;
            let log_p = self.flow.module.log_density(batch.x.into(), &batch.condition)?.value;
            loss -= mean_and_error(&host_column(&log_p)?).0 / columns / parts as f64;
            if !loss.is_finite() {
                let what = format!("the loss became {loss}");
                return Err(Error::Diverged { what, step: step + 1 });
            }
            self.flow.take_in(&log_p.mean().mul_scalar(-1.0 / columns).backward());
        }
        let factor = self.fit.decay.factor(step, self.steps, self.fit.warmup);
        let (norm, rate) = (self.flow.step(factor)?, self.fit.learning_rate * factor);
        Ok([("train/loss", loss), ("train/gradient_norm", norm), ("train/learning_rate", rate)]
            .into())
    }

    /// The held-out loss in nats per column and model units, and the mean log p of a row in nats and the data's own
    /// units.
    fn held_out(&mut self) -> Result<Values> {
        let Some(feed) = &self.held_out else { return Ok(Values::default()) };
        self.choice.begin();
        let mut least = (f64::NAN, f64::NAN);
        for flow in self.flow.averages() {
            let (loss, log_p) = self.held_out_loss(&flow, feed)?;
            if self.choice.takes(loss) {
                self.choice.take(loss, collect_params(&flow)?);
            }
            if least.0.is_nan() || loss < least.0 {
                least = (loss, log_p);
            }
        }
        let chosen = self.choice.loss().map(|loss| ("held_out/chosen", loss));
        let values = [("held_out/loss", least.0), ("held_out/log_p", least.1)];
        Ok(values.into_iter().chain(chosen).collect())
    }

    fn save(&self) -> Result<State> {
        let mut state = State::new();
        self.flow.save("", &mut state)?;
        self.choice.save(&mut state);
        Ok(state)
    }

    fn load(&mut self, mut state: State, origin: &Path) -> Result<()> {
        self.choice.load(&mut state, origin)?;
        self.flow.load("", &mut state, origin)?;
        match state.keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::file(origin, name, "unknown", "only what a learner saves")),
        }
    }

    fn weights(&self) -> Result<State> {
        self.choice.weights().map_or_else(|| collect_params(&self.flow.averaged()), Ok)
    }
}
