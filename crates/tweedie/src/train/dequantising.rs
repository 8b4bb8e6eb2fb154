//! Fits a dequantiser to a fixed density.

use super::{AdamWConfig, LearningRate, Optimiser, Trainee};
use crate::data::{Encoding, Feed, Space, Split};
use crate::density::Dequantiser;
use crate::nn::device_of;
use crate::objective::{Dequantisation, LogDensity, Objective};
use crate::{Draws, Error, Result};

/// Options of the fit of a dequantiser, by AdamW with cosine decay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DequantiserFit {
    /// The total number of steps.
    pub steps: u64,
    /// The number of rows of a step; all rows if the split has fewer.
    pub batch: usize,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// The seed of batches, of places in bins and of the noise of the density.
    pub seed: u64,
}

impl Default for DequantiserFit {
    fn default() -> Self {
        Self { steps: 500, batch: 32, learning_rate: 3e-3, seed: 0 }
    }
}

/// The number of steps of the warm-up of the learning rate.
const WARMUP: u64 = 20;

/// The decay of the averaged weights.
const EMA: f64 = 0.99;

/// Fits a dequantiser to the log density `log_p` on the rows of a split; returns the dequantiser with averaged weights.
///
/// Calls `observe` with the number of steps done and the last loss: the bound of −log P in nats per row, up to the
/// volume of model units.
///
/// # Errors
/// Errors of the density; [`Error::Config`] if steps or batch are 0, or there are no rows; [`Error::Diverged`] if a
/// loss is not finite.
pub fn fit_dequantiser(
    dequantiser: Dequantiser,
    log_p: LogDensity,
    (rows, space): (&Split, &Space),
    fit: DequantiserFit,
    mut observe: impl FnMut(u64, f64),
) -> Result<Dequantiser> {
    if fit.steps == 0 {
        return Err(Error::config("steps", "0", "at least 1"));
    }
    let Some(device) = device_of(&dequantiser) else {
        return Err(Error::config("dequantiser", "no weights", "weights"));
    };
    let objective = Dequantisation { log_p };
    let batch = fit.batch.min(rows.len());
    let mut feed = Feed::new(rows.clone(), space.clone(), Encoding::Centres, batch, fit.seed)?;
    let draws = Draws::new(fit.seed).purpose("fit dequantiser");
    let (learning_rate, adamw) = (fit.learning_rate, AdamWConfig::default());
    let mut model = Trainee::new(
        dequantiser,
        &Optimiser { learning_rate, adamw, ema: Some(EMA), powers: vec![] },
    );
    let device = device.autodiff();
    for step in 0..fit.steps {
        let batch = feed.batch(step, 0, &device)?;
        let loss = objective.loss(&model.module, &batch, &draws.at(step))?;
        let (value, _) = loss.mean()?;
        if !value.is_finite() {
            let what = format!("the dequantiser's loss became {value}");
            return Err(Error::Diverged { what, step: step + 1 });
        }
        model.take_in(&loss.surrogate.mean().backward());
        model.step(LearningRate::Cosine.factor(step, fit.steps, WARMUP))?;
        observe(step + 1, value);
    }
    Ok(model.averaged())
}
