//! Training of critics: batches of two samples, ascent by AdamW, halves, units.

use crate::data::Rows;
use crate::error::{count, within};
use crate::tensor::{mean_and_error, select_rows};
use crate::train::{AdamWConfig, LearningRate, Optimiser, Trainee};
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// The share of steps over which the learning rate rises, 1 in so many.
const WARM_UP: u64 = 20;

/// The options of a critic's training by AdamW, at a learning rate that falls to zero by half a cosine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ascent {
    /// The number of steps.
    pub steps: u64,
    /// The number of rows of each distribution in a step.
    pub batch: usize,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// The seed of initial weights, batches and halves.
    pub seed: u64,
}

impl Default for Ascent {
    /// 1,000 steps of 256 rows at 3e-3.
    fn default() -> Self {
        Self { steps: 1000, batch: 256, learning_rate: 3e-3, seed: 0 }
    }
}

impl Ascent {
    pub(super) fn check(&self) -> Result<()> {
        count("critic.steps", self.steps, 1 << 40)?;
        count("critic.batch", self.batch as u64, 1 << 24)?;
        within("critic.learning_rate", self.learning_rate, 1e-12, 10.0)
    }

    /// Trains a module to raise the `gain` of batches of P and Q, which receives the share of steps done too.
    pub(super) fn raise<M: Module>(
        &self,
        module: M,
        [p, q]: [&Tensor<2>; 2],
        gain: impl Fn(&M, f64, [Tensor<2>; 2]) -> Tensor<1>,
    ) -> Result<M> {
        let (learning_rate, adamw) = (self.learning_rate, AdamWConfig::default());
        let optimiser = Optimiser { learning_rate, adamw, ema: None, powers: vec![] };
        let mut trainee = Trainee::new(module, &optimiser);
        let draws = Draws::new(self.seed);
        for step in 0..self.steps {
            let batch = |name: &str, x: &Tensor<2>| {
                let (draws, [n, _]) = (draws.purpose(name), x.dims());
                let row = |i| draws.below(step, i, n as u64) as usize;
                select_rows(x, &(0..self.batch as u64).map(row).collect::<Vec<_>>())
            };
            let batches = [batch("rows of p", p), batch("rows of q", q)];
            let loss = -gain(&trainee.module, step as f64 / self.steps as f64, batches);
            trainee.take_in(&loss.backward());
            trainee.step(LearningRate::Cosine.factor(step, self.steps, self.steps / WARM_UP))?;
        }
        Ok(trainee.averaged())
    }

    /// A random half of the rows, and the others.
    pub(super) fn halves(&self, name: &str, rows: &Rows) -> [Rows; 2] {
        let order = Draws::new(self.seed).purpose("halves").purpose(name).permutation(rows.len());
        let (first, second) = order.split_at(rows.len() / 2);
        [rows.select(first), rows.select(second)]
    }
}

/// An affine map of rows, of their own mean and spread to 0 and 1.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    shift: Vec<f64>,
    scale: Vec<f64>,
}

impl Frame {
    /// The frame of the rows of both samples; a constant column keeps its unit.
    pub(super) fn new([p, q]: [&Rows; 2]) -> Self {
        let column = |j: usize| -> Vec<f64> {
            p.iter().chain(q.iter()).map(|row| f64::from(row[j])).collect()
        };
        let moments = |values: Vec<f64>| {
            let (mean, error) = mean_and_error(&values);
            (mean, error * (values.len() as f64).sqrt())
        };
        let (shift, spread): (Vec<f64>, Vec<f64>) =
            (0..p.width()).map(|j| moments(column(j))).unzip();
        let scale = spread.into_iter().map(|s| if s > 0.0 { s } else { 1.0 }).collect();
        Self { shift, scale }
    }

    /// The frame with one unit for all columns, the root of their mean square, which it returns too.
    pub(super) fn isotropic(mut self) -> (Self, f64) {
        let square = self.scale.iter().map(|s| s * s).sum::<f64>();
        let unit = (square / self.scale.len() as f64).sqrt();
        self.scale.fill(unit);
        (self, unit)
    }

    /// Fails for rows of another width.
    pub(super) fn check_width(&self, rows: &Rows) -> Result<()> {
        if rows.width() == self.shift.len() {
            return Ok(());
        }
        Err(Error::shape("width of rows", rows.width(), self.shift.len()))
    }

    /// The rows in the frame, on a device.
    pub(super) fn batch(&self, rows: &Rows, device: &Device) -> Tensor<2> {
        let mut rows = rows.clone();
        for (k, value) in rows.values_mut().iter_mut().enumerate() {
            let j = k % self.shift.len();
            *value = ((f64::from(*value) - self.shift[j]) / self.scale[j]) as f32;
        }
        rows.to_tensor(device)
    }
}
