//! Normalising flows, trained by maximum likelihood.
//!
//! The loss is −log p of the rows in model units, and the penalties of layers that have some, in nats per column. log p
//! of a row in the data's own units is less by the log-volume of the map between the units
//! ([`Space::log_volume`](crate::data::Space::log_volume)). For data with classes the flow is conditional on the class.
//! Layers that start from data see the first batch before the first step.

mod estimate;
mod model;
mod picture;

pub use model::FlowModel;

use super::likelihood::{
    Found, Likelihood, LikelihoodLearner, Moment, Units, of_rows_as_they_are, weights,
};
use super::{Family, Model, Opening, Start};
use crate::data::{Condition, Feed, Layout, LogDensity, Space};
use crate::error::{inside, within};
use crate::nn;
use crate::nn::flow::{Bijection, FlowConfig, Take};
use crate::tensor::Divergence;
use crate::train::{Fit, Learner, MOST_PARAMETERS, State};
use crate::{Draws, Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The flow family's part of a recipe.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flow {
    /// The network of bijections.
    pub flow: FlowConfig,
    /// The training of the bijections.
    pub training: Fit,
    /// The generation of rows.
    pub sampling: FlowSampling,
}

/// The defaults of a flow's sampling.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowSampling {
    /// The standard deviation of the noise that is mapped to rows. At 1 the rows have the model's density; below 1 they
    /// concentrate where it is high.
    pub temperature: f64,
}

impl Default for FlowSampling {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

impl FlowSampling {
    /// Fails, naming the key inside `sampling`, unless every value is valid.
    fn check(&self) -> Result<()> {
        within("temperature", self.temperature, 0.0, 100.0)
    }
}

/// Sets the width of the data, which a recipe may leave out but not change.
fn own(key: &str, value: &mut usize, own: usize) -> Result<()> {
    if *value != 0 && *value != own {
        let expected = format!("no such key: it is {own} for these data");
        return Err(Error::config(format!("flow.{key}"), value.to_string(), expected));
    }
    *value = own;
    Ok(())
}

impl Likelihood for nn::flow::Flow {
    fn descend(
        &self,
        x: Tensor<2>,
        condition: &Condition,
        scale: f64,
        at: &Moment,
        take: Take,
    ) -> Result<Found> {
        let (log_p, penalty) = nn::flow::Flow::descend(self, x, condition, scale, &at.draws, take)?;
        Ok(Found { log_p, penalty, terms: None })
    }

    /// By one random vector where a trace of all columns would take long.
    fn held_out(&self, x: Tensor<2>, condition: &Condition, draws: &Draws) -> Result<Tensor<2>> {
        match Divergence::usual(self.width(), 1) {
            Divergence::Exact => Ok(self.log_density(x.into(), condition)?.value),
            Divergence::Hutchinson { probes, .. } => {
                self.log_p_estimates(x, condition, probes, draws)
            }
        }
    }
}

impl Family for Flow {
    const NAME: &'static str = "flow";
    const ABOUT: &'static str =
        "normalising flow: invertible layers, exact log p, rows in one pass";

    fn check(&self) -> Result<()> {
        self.flow.check().map_err(|e| inside("flow", e))?;
        self.training.check().map_err(|e| inside("training", e))?;
        self.sampling.check().map_err(|e| inside("sampling", e))
    }

    fn needs_density(&self) -> bool {
        true
    }

    fn resolve(mut self, at: &Start) -> Result<Self> {
        let space = at.space;
        self.training.check_with(at.training)?;
        if let Some(problem) = space.without_density() {
            let expected = "real numbers or integers: `data.columns` chooses columns";
            return Err(Error::config("data", problem, expected));
        }
        own("width", &mut self.flow.width, space.model_width())?;
        own("classes", &mut self.flow.classes, space.classes().len())?;
        own("vector", &mut self.flow.vector, space.given_width())?;
        if let Layout::Image { channels, height, width } = space.layout() {
            let picture = [channels, height, width];
            if self.flow.picture.is_some_and(|given| given != picture) {
                let (found, expected) = (
                    format!("{:?}", self.flow.picture),
                    format!("no such key: it is {picture:?} for these data"),
                );
                return Err(Error::config("flow.picture", found, expected));
            }
            self.flow.picture = Some(picture);
        }
        self.flow.fits().map_err(|e| inside("flow", e))?;
        let parameters = self.flow.parameters();
        if parameters == 0 {
            let expected = "at least one layer that learns, such as coupling";
            return Err(Error::config("flow.layers", "no parameters", expected));
        }
        if parameters > MOST_PARAMETERS {
            let problem = format!("{} make {parameters} parameters", self.flow.depth);
            let expected = format!("at most {MOST_PARAMETERS}");
            return Err(Error::config("flow.depth", problem, expected));
        }
        let batch = self.training.check_batch(self.flow.activations());
        batch.map_err(|e| inside("training", e))?;
        if !self.training.dequantise {
            let expected = "true: integers as they are have no density";
            return Err(Error::config("training.dequantise", "false", expected));
        }
        of_rows_as_they_are(&self.training, "a flow")?;
        Ok(self)
    }

    fn learner(&self, at: &Start) -> Result<Box<dyn Learner>> {
        let flow = self.flow.init(&Draws::new(at.seed).purpose("initial"), at.device)?;
        let (fit, data) = (&self.training, at.data()?);
        let mut first = Feed::training(data, fit.encoding(), fit.batch, at.seed)?;
        let first = first.batch(0, 0, at.device)?;
        let (flow, _) = flow.start(first.x, &first.condition)?;
        let units = Units {
            encoding: self.training.encoding(),
            columns: self.flow.width,
            log_volumes: Space::log_volumes,
        };
        Ok(Box::new(LikelihoodLearner::new(flow, &self.training, units, at)?))
    }

    fn weights(&self, checkpoint: State) -> Result<State> {
        weights(&checkpoint)
    }

    fn model(&self, at: &Opening, weights: &State, origin: &Path) -> Result<Box<dyn Model>> {
        Ok(Box::new(FlowModel::new(self.clone(), at, weights, origin)?))
    }
}
