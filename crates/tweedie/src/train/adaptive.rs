//! The part of a learner that draws levels where the loss is large.

use crate::denoise::NeuralDenoiser;
use crate::nn::Params;
use crate::objective::{Histogram, Loss, Noising, Objective};
use crate::tensor::{detached, host_column};
use crate::{Draws, Error, Result};
use std::path::Path;
use std::sync::Arc;

/// The name of the histogram's array in a checkpoint.
const NAME: &str = "levels.roots";

/// An objective for data noised so.
pub(crate) type LevelObjective<N> =
    Box<dyn Fn(Noising) -> Arc<dyn Objective<NeuralDenoiser<N>>> + Send + Sync>;

/// A histogram of levels, and the objective at levels that are drawn from it.
pub(crate) struct AdaptiveLevels<N> {
    histogram: Histogram,
    noising: Noising,
    objective: LevelObjective<N>,
}

impl<N> AdaptiveLevels<N> {
    /// Levels of a histogram at its start.
    pub fn new(histogram: Histogram, noising: Noising, objective: LevelObjective<N>) -> Self {
        Self { histogram, noising, objective }
    }

    /// The loss of each row in training with the histogram as it stands.
    pub fn objective(&self) -> Arc<dyn Objective<NeuralDenoiser<N>>> {
        (self.objective)(self.drawn())
    }

    fn drawn(&self) -> Noising {
        self.noising.clone().drawn_from(Arc::new(self.histogram.clone()))
    }

    /// Takes in a loss that [`AdaptiveLevels::objective`] gave with these draws.
    pub fn observe(&mut self, loss: &Loss, draws: &Draws) -> Result<()> {
        let value = host_column(&detached(loss.value.clone()))?;
        let levels = self.drawn().levels(value.len(), draws)?;
        let lambdas: Vec<f64> = levels.iter().map(|level| level.lambda).collect();
        let of_lambda = value.iter().zip(&lambdas).map(|(v, l)| v * self.histogram.density(*l));
        let of_lambda: Vec<f64> = of_lambda.collect();
        self.histogram.observe(&lambdas, &of_lambda);
        Ok(())
    }

    /// The whole state.
    pub fn save(&self, into: &mut Params) {
        let roots = self.histogram.roots().to_vec();
        into.insert(NAME.to_string(), (vec![roots.len()], roots));
    }

    /// Takes back what [`AdaptiveLevels::save`] gave, removing it from `from`.
    pub fn load(&mut self, from: &mut Params, origin: &Path) -> Result<()> {
        let bins = self.histogram.roots().len();
        let expected = format!("{bins} numbers");
        let Some((_, roots)) = from.remove(NAME) else {
            return Err(Error::file(origin, NAME, "missing", expected));
        };
        if roots.len() != bins {
            return Err(Error::file(origin, NAME, format!("{} numbers", roots.len()), expected));
        }
        self.histogram = self.histogram.clone().with_roots(roots)?;
        Ok(())
    }
}
