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

/// A diffusion model's part of a recipe.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Diffusion {
    /// How data become noise.
    pub schedule: AnySchedule,
    /// The network.
    pub network: AnyNetworkConfig,
    /// How the network's output is read.
    pub model: ModelRecipe,
    /// What training minimises.
    pub objective: ObjectiveRecipe,
    /// How it is minimised.
    pub training: Fit,
    /// How samples are made by default.
    pub sampling: SamplingRecipe,
}

/// What the model is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelRecipe {
    /// What the network predicts.
    pub prediction: Prediction,
    /// Whether the prediction is the gradient of an energy, the sum of the network's outputs.
    pub energy: bool,
    /// The standard deviation of the data in model units; measured on the training data if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_data: Option<f64>,
    /// The clock: how the network sees the noise level. That of the network if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
}

impl Default for ModelRecipe {
    fn default() -> Self {
        Self { prediction: Prediction::Edm, energy: false, sigma_data: None, clock: None }
    }
}

/// How samples are made unless the user says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingRecipe {
    /// The solver.
    pub solver: AnySolver,
    /// The spacing of its levels.
    pub grid: AnyGrid,
    /// Its steps, the last denoising included.
    pub steps: usize,
    /// What happens at the cleanest level.
    pub last: Last,
    /// The weight of classifier-free guidance; 1 is none.
    pub guidance: f64,
    /// How denoised batches are held in range; not at all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    /// A weaker run, or a file of weights that a run kept, which guides the model in place of the model without its
    /// condition (autoguidance).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weak: Option<PathBuf>,
    /// The log-SNRs [low, high] between which guidance acts; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// Another schedule to sample on, with log-SNRs among those trained on; the run's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<AnySchedule>,
    /// The noise of a stochastic solver's steps.
    #[serde(skip_serializing_if = "is_default")]
    pub noise: NoiseSource,
    /// The variance of ancestral steps; the solver's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variance: Option<VarianceSource>,
    /// A .npy file of rows at the noisiest level, in model units, to start from; noise of the seed if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
}

/// Where the noise of a stochastic solver's steps comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseSource {
    /// Each step has its own.
    #[default]
    Steps,
    /// A Brownian path in time, which more steps refine.
    Tree,
}

/// The variance of ancestral steps, where it is not the solver's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VarianceSource {
    /// The best one for the run's own errors, measured on training rows.
    Measured,
}

/// Whether a value is its type's default.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
