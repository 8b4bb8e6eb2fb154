//! What a recipe's values must be.

use super::{NetworkRecipe, ObjectiveKind, Recipe, SamplingRecipe, TrainingRecipe};
use crate::data::{Kind, Layout, Space};
use crate::denoise::{Clock, Prediction};
use crate::error::{count, inside, within};
use crate::process::{AnySchedule, LevelDistribution};
use crate::train::training::{MOST_ACTIVATIONS, MOST_PARAMETERS};
use crate::{Error, Result};

/// Samples that are held in memory to be judged.
const MOST_JUDGED: u64 = 1 << 20;

impl Recipe {
    /// Fails, naming the key, unless every value makes sense.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        self.schedule.check()?;
        self.training.check()?;
        if let Some(sigma_data) = self.model.sigma_data {
            within("model.sigma_data", sigma_data, 1e-6, 1e6)?;
        }
        self.objective.check(self)?;
        self.check_learned()?;
        let sampling = &self.sampling;
        sampling.check().map_err(|e| inside("sampling", e))?;
        let levels =
            sampling.solver.levels(sampling.grid, &self.schedule, sampling.steps, sampling.last);
        levels.map_err(|e| inside("sampling", e))?;
        count("evaluation.samples", self.evaluation.samples as u64, MOST_JUDGED)?;
        count("evaluation.log_p_rows", self.evaluation.log_p_rows as u64, 1 << 30)
    }

    /// Fails if a learned schedule goes with what needs a fixed one.
    fn check_learned(&self) -> Result<()> {
        let AnySchedule::Learned(_) = &self.schedule else { return Ok(()) };
        let refuse = |key: &str, found: &str, expected: &str| {
            Err(Error::config(key, format!("{found}, with a learned schedule"), expected))
        };
        if self.objective.kind != (ObjectiveKind::Bound { steps: None }) {
            let expected = "{ name = \"bound\" }, in continuous time";
            return refuse("objective.kind", "not the bound in continuous time", expected);
        }
        if self.objective.levels.distribution != LevelDistribution::Uniform {
            let key = "objective.levels.distribution";
            return refuse(key, "not uniform", "uniform: the schedule learns which levels count");
        }
        if self.model.clock.unwrap_or(self.network.clock()) == Clock::Index {
            return refuse("model.clock", "index", "log-snr or sigma, which do not move with it");
        }
        if self.model.prediction == Prediction::Velocity {
            let expected = "a prediction that does not depend on the schedule's rates";
            return refuse("model.prediction", "velocity", expected);
        }
        if self.model.energy {
            return refuse("model.energy", "true", "false");
        }
        if self.objective.martingale.is_some() {
            return refuse("objective.martingale", "set", "no such key");
        }
        Ok(())
    }

    /// The network for rows of `space`, every width resolved.
    ///
    /// # Errors
    /// [`Error::Config`] if a width is given that is not the space's, if network or batch are too large, or if pictures
    /// are to be mirrored and the space has none.
    pub fn network_for(&self, space: &Space) -> Result<NetworkRecipe> {
        self.training.check_for(space)?;
        self.objective.check_width(space.model_width())?;
        let network = self.network.for_space(space)?;
        let parameters = network.parameters();
        if parameters > MOST_PARAMETERS {
            let (key, size) = network.size();
            let problem = format!("{size} make {parameters} parameters");
            let expected = format!("at most {MOST_PARAMETERS}");
            return Err(Error::config(format!("network.{key}"), problem, expected));
        }
        Ok(network)
    }

    /// Fails if a batch is too large for the network, or the network asks for what training does not do.
    pub(crate) fn check_batch(&self, network: &NetworkRecipe) -> Result<()> {
        if let NetworkRecipe::Unet(unet) = network
            && unet.dropout > 0.0
        {
            let expected = "0.0: training drops no activations";
            return Err(Error::config("network.dropout", format!("{:?}", unet.dropout), expected));
        }
        let passes = self.objective.passes(network.width());
        let most = MOST_ACTIVATIONS / (network.activations() * passes);
        if self.training.batch > most {
            let expected = format!(
                "at most {most} rows for this network and objective; training.accumulate makes larger batches"
            );
            return Err(Error::config("training.batch", self.training.batch.to_string(), expected));
        }
        Ok(())
    }
}

impl SamplingRecipe {
    /// Fails, naming the key inside of `sampling`, unless every value makes sense.
    pub(crate) fn check(&self) -> Result<()> {
        within("guidance", self.guidance, -1e3, 1e3)?;
        self.solver.check()?;
        if let Some(clip) = &self.clip {
            clip.check()?;
        }
        match self.interval {
            Some([low, high]) if !(low < high) => {
                let found = format!("{low:?} to {high:?}");
                Err(Error::config("interval", found, "two log-SNRs, the lower first"))
            }
            _ => Ok(()),
        }
    }
}

impl TrainingRecipe {
    /// Fails, naming the key, unless rows of `space` can be trained on as it says.
    pub(crate) fn check_for(&self, space: &Space) -> Result<()> {
        if self.flip && !matches!(space.layout(), Layout::Image { .. }) {
            let problem = "true, and the data are no pictures";
            return Err(Error::config("training.flip", problem, "false, or pictures"));
        }
        let integers = |j| matches!(space.coordinate(j).kind, Kind::Quantised { .. });
        if !self.dequantise && !(0..space.width()).any(integers) {
            let problem = "false, and no column holds integers";
            return Err(Error::config("training.dequantise", problem, "true, or integers"));
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        count("training.steps", self.steps, 1 << 40)?;
        count("training.batch", self.batch as u64, 1 << 20)?;
        count("training.accumulate", self.accumulate as u64, 1 << 20)?;
        count("training.log_every", self.log_every, 1 << 40)?;
        count("training.held_out_rows", self.held_out_rows as u64, 1 << 30)?;
        within("training.learning_rate", self.learning_rate, 1e-30, 10.0)?;
        within("training.ema", self.ema, 0.0, 1.0)?;
        within("training.checkpoint_seconds", self.checkpoint_seconds, 0.0, 10.0)?;
        within("training.adamw.beta_1", self.adamw.beta_1, 0.0, 0.999_999)?;
        within("training.adamw.beta_2", self.adamw.beta_2, 0.0, 0.999_999_9)?;
        within("training.adamw.epsilon", self.adamw.epsilon, 1e-30, 1.0)?;
        within("training.adamw.weight_decay", self.adamw.weight_decay, 0.0, 1e6)?;
        within("training.adamw.clip", self.adamw.clip, 0.0, 1e30)
    }
}
