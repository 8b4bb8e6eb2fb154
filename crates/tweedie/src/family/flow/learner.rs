//! Maximum likelihood by AdamW.

use super::Flow;
use crate::data::{Batch, Batches, LogDensity, Space, Split};
use crate::draw::spread;
use crate::family::Start;
use crate::nn::{self, collect_params, map_params};
use crate::tensor::{host_column, mean_and_error};
use crate::train::{AdamW, Ema, Fit, Gradients, Learner, State};
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::Device;
use std::path::Path;

/// Trains a flow on the rows of a data set.
pub(super) struct FlowLearner {
    flow: nn::flow::Flow,
    ema: Ema,
    adamw: AdamW,
    training: Fit,
    /// Steps in all.
    steps: u64,
    space: Space,
    train: Split,
    held_out: Split,
    batches: Batches,
    draws: Draws,
    device: Device,
}

impl FlowLearner {
    /// The learner of a resolved recipe.
    pub fn new(of: &Flow, at: &Start) -> Result<Self> {
        let (data, fit) = (at.data()?, &of.training);
        let flow = of.flow.init(&Draws::new(at.seed).purpose("initial"), at.device)?;
        let judged = spread(data.held_out.len(), at.training.held_out_rows);
        Ok(Self {
            ema: Ema::new(&flow, fit.ema),
            flow: flow.train(),
            adamw: AdamW::new(fit.adamw),
            training: fit.clone(),
            steps: at.training.steps,
            space: at.space.clone(),
            train: data.train.clone(),
            held_out: data.held_out.select(&judged),
            batches: Batches::new(data.train.len(), fit.batch * fit.accumulate, at.seed)?,
            draws: Draws::new(at.seed),
            device: at.device.clone(),
        })
    }

    /// The flow with the averaged weights, outside any graph.
    fn averaged(&self) -> nn::flow::Flow {
        self.ema.apply(self.flow.valid())
    }

    /// Rows of a split in model units, with their labels.
    fn batch(&self, split: &Split, rows: &[usize], draws: &Draws, on: &Device) -> Result<Batch> {
        let ids: Vec<u64> = (0..rows.len() as u64).collect();
        let chosen = split.select(rows);
        let noise = draws.purpose("dequantise");
        let x = self.space.encode_dequantised(chosen.rows(), &noise, &ids)?;
        Ok(Batch { x: x.to_tensor(on), condition: chosen.labels().into() })
    }
}

impl Learner for FlowLearner {
    fn step(&mut self, step: u64) -> Result<Vec<(&'static str, f64)>> {
        let (rows, device) = (self.batches.batch(step), self.device.clone().autodiff());
        let (mut gradients, mut loss) = (Gradients::new(), 0.0);
        let parts = self.training.accumulate;
        for (part, rows) in rows.chunks(self.training.batch).enumerate() {
            let draws = self.draws.purpose("train").at(step).at(part as u64);
            let Batch { x, condition } = self.batch(&self.train, rows, &draws, &device)?;
            let columns = x.dims()[1] as f64;
            let log_p = self.flow.log_density(x.into(), &condition)?.value;
            let surrogate = log_p.clone().mean().mul_scalar(-1.0 / columns);
            loss -= mean_and_error(&host_column(&log_p)?).0 / columns / parts as f64;
            if !loss.is_finite() {
                let what = format!("the loss became {loss}");
                return Err(Error::Diverged { what, step: step + 1 });
            }
            AdamW::accumulate(&mut gradients, AdamW::gradients(&self.flow, &surrogate.backward()));
        }
        let Fit { decay, warmup, learning_rate, .. } = self.training;
        let rate = learning_rate * decay.factor(step, self.steps, warmup);
        let (scale, ema) = (1.0 / parts as f64, Some(&mut self.ema));
        let (flow, norm) = self.adamw.step(self.flow.clone(), &gradients, scale, rate, ema)?;
        self.flow = flow;
        Ok(vec![("train/loss", loss), ("train/gradient_norm", norm), ("train/learning_rate", rate)])
    }

    /// The loss, nats a column in model units, and log p of a row in the data's own units, in nats.
    fn held_out(&mut self) -> Result<Vec<(&'static str, f64)>> {
        let (flow, mut all) = (self.averaged(), Vec::new());
        let rows: Vec<usize> = (0..self.held_out.len()).collect();
        for (k, rows) in rows.chunks(self.training.batch.max(256)).enumerate() {
            // The same noise each time, so that the curve shows the model alone.
            let draws = self.draws.purpose("held out").at(k as u64);
            let Batch { x, condition } = self.batch(&self.held_out, rows, &draws, &self.device)?;
            all.extend(host_column(&flow.log_density(x.into(), &condition)?.value)?);
        }
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let log_p = mean_and_error(&all).0;
        let loss = -log_p / self.space.model_width() as f64;
        Ok(vec![("held_out/loss", loss), ("held_out/log_p", log_p - self.space.log_volume())])
    }

    fn save(&self) -> State {
        let named = |(path, array)| (format!("network.{path}"), array);
        let mut state: State = collect_params(&self.flow).into_iter().map(named).collect();
        self.adamw.save(&mut state);
        self.ema.save(&mut state);
        state
    }

    fn load(&mut self, mut state: State, origin: &Path) -> Result<()> {
        let sizes = collect_params(&self.flow)
            .into_iter()
            .map(|(path, (_, values))| (path, values.len()))
            .collect();
        self.adamw.load(&mut state, &sizes, origin, &self.device)?;
        self.ema.load(&mut state, &sizes, origin, &self.device)?;
        let mut params = State::new();
        for (name, array) in state {
            let Some(path) = name.strip_prefix("network.") else {
                return Err(Error::file(origin, name, "unknown", "only what a learner saves"));
            };
            params.insert(path.to_string(), array);
        }
        self.flow = map_params(self.flow.clone(), &params, origin)?;
        Ok(())
    }

    fn weights(&self) -> Result<State> {
        Ok(collect_params(&self.averaged()))
    }
}
