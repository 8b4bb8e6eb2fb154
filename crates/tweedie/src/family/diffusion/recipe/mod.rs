//! The recipe of a diffusion model.

mod check;
mod objective;

pub use objective::{AdaptiveRecipe, ObjectiveRecipe};

use crate::denoise::Prediction;
use crate::nn::{AnyNetworkConfig, Clock};
use crate::process::AnySchedule;
use crate::solve::{AnyGrid, AnySolver, Clip, Last};
use crate::train::Fit;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The diffusion family's part of a recipe.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Diffusion {
    /// The noise schedule.
    pub schedule: AnySchedule,
    /// The network.
    pub network: AnyNetworkConfig,
    /// The meaning of the network's output.
    pub model: ModelRecipe,
    /// The objective that training minimises.
    pub objective: ObjectiveRecipe,
    /// The training of the network.
    pub training: Fit,
    /// The defaults of sampling.
    pub sampling: SamplingRecipe,
}

/// The meaning of the network's output and input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelRecipe {
    /// The quantity that the network predicts.
    pub prediction: Prediction,
    /// Whether the prediction is the gradient of an energy: the sum of the network's outputs.
    pub energy: bool,
    /// The standard deviation of the data in model units; measured on the training data if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_data: Option<f64>,
    /// Whether the network sees x_t scaled to unit variance; x_t itself otherwise.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub scale_input: bool,
    /// The clock: how the noise level is presented to the network. The network's default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
}

impl Default for ModelRecipe {
    fn default() -> Self {
        Self {
            prediction: Prediction::Edm,
            energy: false,
            sigma_data: None,
            scale_input: true,
            clock: None,
        }
    }
}

/// The defaults of a diffusion model's sampling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingRecipe {
    /// The solver.
    pub solver: AnySolver,
    /// The spacing of the noise levels.
    pub grid: AnyGrid,
    /// The number of steps, including the last denoising.
    pub steps: usize,
    /// The treatment of the cleanest level.
    pub last: Last,
    /// The weight of classifier-free guidance; 1 for none.
    pub guidance: f64,
    /// The restriction of denoised batches to the data's range; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    /// A weaker run, or a file of weights that a run kept, for autoguidance: it guides the model in place of the model
    /// without its condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weak: Option<PathBuf>,
    /// The range [low, high] of log-SNRs in which guidance acts; all levels if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// Another schedule to sample on, with log-SNRs within the range of training; the run's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<AnySchedule>,
    /// The source of the noise of a stochastic solver's steps.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub noise: NoiseSource,
    /// The variance of ancestral steps; the solver's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variance: Option<VarianceSource>,
    /// A .npy file of rows at the noisiest level, in model units, to start from; random noise if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
}

/// The source of the noise of a stochastic solver's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseSource {
    /// Independent noise for each step.
    #[default]
    Steps,
    /// A Brownian path in time, refined by more steps.
    Tree,
}

/// The variance of ancestral steps, where it replaces the solver's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VarianceSource {
    /// The optimal variance, from the denoiser's errors measured on training rows.
    Measured,
}

impl Default for SamplingRecipe {
    fn default() -> Self {
        Self {
            solver: AnySolver::default(),
            grid: AnyGrid::default(),
            steps: 32,
            last: Last::Denoise,
            guidance: 1.0,
            weak: None,
            clip: None,
            interval: None,
            schedule: None,
            noise: NoiseSource::default(),
            variance: None,
            init: None,
        }
    }
}
