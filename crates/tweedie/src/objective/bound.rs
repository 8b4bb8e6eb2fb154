//! The variational bound as an objective, in discrete and in continuous time.
//!
//! A row's loss is the bound on −log p of [`crate::density::Bound`], in nats per column in model units, estimated with
//! one step for each row. With the step's factor w on ‖x − x̂‖² (*Demystifying Variational Diffusion Models*, eqs. 3.10
//! and A.38; *An Introduction to Generative Modeling with Flows and Diffusion Models*, eqs. 6.56–6.60), it is
//!
//! > KL(q(x_T | x) ‖ N(0, s² I)) + w ‖x − x̂‖² − E log p(x | x_0).
//!
//! The error is the error of the network's own prediction, times the factor that converts it to the error of the data,
//! so that no digits are lost where x̂ is nearly x. Terms that do not depend on the network enter the reported value
//! only.

use super::noising::noised;
use super::{Loss, Noising, Objective, ObjectiveConfig, Objectives, ScoreModel, Weighting};
use crate::data::Batch;
use crate::density::{edge, ends, prior_terms, probe};
use crate::error::count;
use crate::process::{LevelDistribution, NoiseLevels, Schedule};
use crate::tensor::{column, detached};
use crate::{Draws, Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The options of [`VariationalBound`] in recipes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bound {
    /// The number of steps in discrete time; continuous time if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
}

impl ObjectiveConfig for Bound {
    fn check(&self) -> Result<()> {
        self.steps.map_or(Ok(()), |steps| count("objective.kind.steps", steps as u64, 100_000))
    }

    fn check_levels(&self, levels: &NoiseLevels, weighting: Option<Weighting>) -> Result<()> {
        let refuse = |key: &str, expected: &str| {
            let key = format!("objective.{key}");
            Err(Error::config(key, "set for the objective `bound`", expected))
        };
        if weighting.is_some() {
            return refuse("weighting", "no such key: the bound has its own weights");
        }
        if levels.instead_of.is_some() {
            return refuse(
                "levels.instead_of",
                "no such key: the bound is the same for any levels",
            );
        }
        if self.steps.is_none() {
            return levels.distribution.check_density("objective.levels.distribution");
        }
        if levels.distribution != LevelDistribution::Uniform {
            return refuse("levels.distribution", "uniform, or continuous time: no `steps`");
        }
        Ok(())
    }

    fn is_adaptive(&self) -> bool {
        false
    }

    fn learns_schedule(&self) -> bool {
        self.steps.is_none()
    }

    fn passes(&self, _: usize) -> usize {
        1
    }

    fn build(&self, noising: Noising) -> Objectives {
        let Noising { schedule, levels, .. } = noising;
        Objectives::both(VariationalBound { schedule, steps: self.steps, levels })
    }
}

/// The negative variational bound of log p; see the module documentation.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::objective::VariationalBound;
/// use tweedie::process::Cosine;
/// let continuous = VariationalBound::new(Arc::new(Cosine::default()));
/// let discrete = continuous.clone().with_steps(1000);
/// ```
#[derive(Debug, Clone)]
pub struct VariationalBound {
    schedule: Arc<dyn Schedule>,
    steps: Option<usize>,
    levels: NoiseLevels,
}

impl VariationalBound {
    /// The bound in continuous time, at levels uniform in t with low discrepancy.
    pub fn new(schedule: Arc<dyn Schedule>) -> Self {
        Self { schedule, steps: None, levels: NoiseLevels::default() }
    }

    /// Sets discrete time: `steps` steps of equal time, each with the same probability.
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Sets the distribution of levels in continuous time; only the variance depends on it.
    pub fn with_levels(mut self, levels: NoiseLevels) -> Self {
        self.levels = levels;
        self
    }

    /// The terms that do not depend on the model, for each row of `x`: the divergence from the prior and the edge term
    /// of the cleanest level.
    ///
    /// # Errors
    /// [`Error::Device`] if the batch cannot be read.
    pub(crate) fn constants(&self, x: &Tensor<2>, sigma_data: f64) -> Result<Vec<f64>> {
        let (first, last) = ends(&*self.schedule, self.steps);
        let d = x.dims()[1] as f64;
        let x = detached(x.clone());
        let prior = prior_terms(&x, &last, sigma_data)?;
        Ok(prior.into_iter().map(|prior| prior / d - edge(&first)).collect())
    }
}

impl<M: ScoreModel> Objective<M> for VariationalBound {
    fn loss(&self, model: &M, batch: &Batch, draws: &Draws) -> Result<Loss> {
        if self.steps == Some(0) {
            return Err(Error::config("steps", "0", "at least 1"));
        }
        let (schedule, [n, d]) = (&*self.schedule, batch.x.dims());
        let places = self.levels.places(n, draws).into_iter();
        let probes = places.map(|u| probe(schedule, self.steps, self.levels.distribution, u));
        let (levels, factors): (Vec<_>, Vec<f64>) =
            probes.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let (own, sigma_data) = (model.prediction(), model.sigma_data());
        let of_own = |level| Weighting::Data.factor(own, level, schedule, sigma_data);
        let weights = levels.iter().zip(factors).map(|(l, f)| Ok(f / d as f64 * of_own(l)?));
        let weights = weights.collect::<Result<Vec<f64>>>()?;
        let noised = noised(&self.schedule, batch, levels, draws)?;
        let target = noised.target(batch, own, schedule, sigma_data)?;
        let weights = column(&target, weights.into_iter());
        let error =
            |output: Tensor<2>| (output - target.clone()).square().sum_dim(1) * weights.clone();
        let Loss { value, surrogate } = model.of_prediction(noised.at(), &error)?;
        let constants = self.constants(&batch.x, sigma_data)?;
        Ok(Loss { value: value.clone() + column(&value, constants.into_iter()), surrogate })
    }
}
