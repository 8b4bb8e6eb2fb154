//! An objective at adaptive levels, drawn where the loss is large.

use super::criterion::{Criterion, Objectives};
use crate::data::Batch;
use crate::denoise::NeuralDenoiser;
use crate::nn::State;
use crate::objective::{Histogram, Loss, Noising};
use crate::tensor::{detached, host_column};
use crate::{Draws, Error, Result};
use burn::tensor::TensorData;
use std::path::Path;
use std::sync::Arc;

/// The name of the histogram's array in a checkpoint.
const NAME: &str = "levels.roots";

/// A function that gives the objective of a noising.
pub(crate) type ByNoising<N> = Box<dyn Fn(Noising) -> Objectives<N> + Send + Sync>;

/// A histogram of levels, and the objective at levels drawn from it.
pub(crate) struct AdaptiveLevels<N> {
    histogram: Histogram,
    noising: Noising,
    objective: ByNoising<N>,
}

impl<N> AdaptiveLevels<N> {
    /// Adaptive levels with a histogram in its initial state.
    pub fn new(histogram: Histogram, noising: Noising, objective: ByNoising<N>) -> Self {
        Self { histogram, noising, objective }
    }

    fn drawn(&self) -> Noising {
        self.noising.clone().drawn_from(Arc::new(self.histogram.clone()))
    }
}

impl<N> Criterion<N> for AdaptiveLevels<N> {
    fn training_loss(
        &mut self,
        model: &NeuralDenoiser<N>,
        batch: &Batch,
        draws: &Draws,
    ) -> Result<Loss> {
        let loss = (self.objective)(self.drawn()).loss(model, batch, draws)?;
        let value = host_column(&detached(loss.value.clone()))?;
        let levels = self.drawn().levels(value.len(), draws)?;
        let lambdas: Vec<f64> = levels.iter().map(|level| level.lambda).collect();
        let of_lambda = value.iter().zip(&lambdas).map(|(v, l)| v * self.histogram.density(*l));
        let of_lambda: Vec<f64> = of_lambda.collect();
        self.histogram.observe(&lambdas, &of_lambda);
        Ok(loss)
    }

    fn held_out(&self) -> Result<Objectives<N>> {
        Ok((self.objective)(self.noising.clone()))
    }

    fn save(&self, into: &mut State) -> Result<()> {
        let roots = self.histogram.roots().to_vec();
        into.insert(NAME.to_string(), TensorData::new(roots.clone(), [roots.len()]));
        Ok(())
    }

    fn load(&mut self, from: &mut State, origin: &Path) -> Result<()> {
        let bins = self.histogram.roots().len();
        let fault = |found| Error::file(origin, NAME, found, format!("{bins} numbers"));
        let data = from.remove(NAME).ok_or_else(|| fault("missing".to_string()))?;
        match data.as_slice::<f32>() {
            Ok(roots) if roots.len() == bins => {
                self.histogram = self.histogram.clone().with_roots(roots.to_vec())?;
                Ok(())
            }
            Ok(roots) => Err(fault(format!("{} numbers", roots.len()))),
            Err(_) => Err(fault(format!("type {:?}", data.dtype()))),
        }
    }
}
