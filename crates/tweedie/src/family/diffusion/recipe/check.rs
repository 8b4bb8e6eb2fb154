//! The checks of a recipe's values.

use super::{Diffusion, SamplingRecipe};
use crate::data::{Augmentation, Space};
use crate::denoise::{Clock, Prediction};
use crate::error::{inside, within};
use crate::nn::AnyNetworkConfig;
use crate::process::{AnySchedule, LevelDistribution};
use crate::train::{MOST_ACTIVATIONS, MOST_PARAMETERS};
use crate::{Error, Result};
use std::cmp::Ordering;

impl Diffusion {
    /// Fails, naming the key, unless every value is valid.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub(in crate::family::diffusion) fn check_values(&self) -> Result<()> {
        self.schedule.check()?;
        self.training.check().map_err(|e| inside("training", e))?;
        if let Some(sigma_data) = self.model.sigma_data {
            within("model.sigma_data", sigma_data, 1e-6, 1e6)?;
        }
        self.objective.check(self)?;
        self.check_learned()?;
        self.check_clock()?;
        let sampling = &self.sampling;
        sampling.check().map_err(|e| inside("sampling", e))?;
        let levels =
            sampling.solver.levels(&*sampling.grid, &self.schedule, sampling.steps, sampling.last);
        levels.map_err(|e| inside("sampling", e)).map(drop)
    }

    /// Fails if the scaled clock has no log-SNRs to scale.
    fn check_clock(&self) -> Result<()> {
        let clock = self.model.clock.unwrap_or(self.network.clock());
        if clock == Clock::Scaled && !clock.read(0.0, &self.schedule).is_finite() {
            let found = "scaled, on a schedule without a log-SNR from -20 to 20";
            return Err(Error::config("model.clock", found, "a schedule that reaches them"));
        }
        Ok(())
    }

    /// Fails if a learned schedule is combined with options that need a fixed one.
    fn check_learned(&self) -> Result<()> {
        let AnySchedule::Learned(_) = &self.schedule else { return Ok(()) };
        let refuse = |key: &str, found: &str, expected: &str| {
            Err(Error::config(key, format!("{found}, with a learned schedule"), expected))
        };
        if !self.objective.kind.learns_schedule() {
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

    /// The network for rows of `space`, with every width resolved.
    ///
    /// # Errors
    /// [`Error::Config`] if a width is given that is not the space's, if network or batch are too large, or if pictures
    /// are to be mirrored and the space is not of pictures.
    pub fn network_for(&self, space: &Space) -> Result<AnyNetworkConfig> {
        self.training.check_for(space)?;
        self.objective.kind.check_width(space.model_width())?;
        let numbers = self.training.augmentation.map_or(0, |_| Augmentation::NUMBERS);
        let network = self.network.for_space(space)?;
        let network = network.describing(numbers)?.unwrap_or(network);
        let parameters = network.parameters();
        if parameters > MOST_PARAMETERS {
            let (key, size) = network.size();
            let problem = format!("{size} make {parameters} parameters");
            let expected = format!("at most {MOST_PARAMETERS}");
            return Err(Error::config(format!("network.{key}"), problem, expected));
        }
        Ok(network)
    }

    /// Fails if a batch is too large for the network, or training does not support the network's options.
    pub(crate) fn check_batch(&self, network: &AnyNetworkConfig) -> Result<()> {
        network.check_trainable()?;
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
    /// Fails, naming the key inside `sampling`, unless every value is valid.
    pub(crate) fn check(&self) -> Result<()> {
        within("guidance", self.guidance, -1e3, 1e3)?;
        self.solver.check()?;
        if self.weak.is_some() && self.guidance == 1.0 {
            let expected = "with a `guidance` other than 1";
            return Err(Error::config("weak", "given without guidance", expected));
        }
        if let Some(clip) = &self.clip {
            clip.check()?;
        }
        match self.interval {
            Some([low, high]) if low.partial_cmp(&high) != Some(Ordering::Less) => {
                let found = format!("{low:?} to {high:?}");
                Err(Error::config("interval", found, "two log-SNRs, the lower first"))
            }
            _ => Ok(()),
        }
    }
}
