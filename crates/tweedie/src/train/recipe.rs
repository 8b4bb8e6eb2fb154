//! Recipes: everything that defines a run, as TOML.

mod check;
mod network;
mod objective;
mod parse;

pub use network::{NETWORKS, NetworkRecipe};
pub use objective::{AdaptiveRecipe, OBJECTIVES, ObjectiveKind, ObjectiveRecipe};
pub use parse::named_option;

use super::{AdamWConfig, LearningRate};
use crate::data::{Dataset, Encoding, Source};
use crate::denoise::{Clock, Prediction};
use crate::process::{AnySchedule, Cosine};
use crate::solve::{AnySolver, Clip, Grid, Last};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Everything that defines a run.
///
/// ```
/// let recipe = tweedie::train::Recipe::parse("[data]\nsource = \"moons\"", &["training.steps=500".into()])?;
/// assert_eq!(recipe.training.steps, 500);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// One line on what the recipe is for.
    #[serde(default)]
    pub about: String,
    /// The seed of everything random in training.
    #[serde(default)]
    pub seed: u64,
    /// What is trained on.
    pub data: Source,
    /// How data become noise.
    #[serde(default = "default_schedule")]
    pub schedule: AnySchedule,
    /// The network.
    #[serde(default)]
    pub network: NetworkRecipe,
    /// What it makes of the network's output.
    #[serde(default)]
    pub model: ModelRecipe,
    /// What training minimises.
    #[serde(default)]
    pub objective: ObjectiveRecipe,
    /// How it is minimised.
    #[serde(default)]
    pub training: TrainingRecipe,
    /// How samples are made by default.
    #[serde(default)]
    pub sampling: SamplingRecipe,
    /// How much is sampled to judge the run.
    #[serde(default)]
    pub evaluation: EvaluationRecipe,
}

fn default_schedule() -> AnySchedule {
    AnySchedule::Cosine(Cosine::default())
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
    /// How the network is told the noise level; as it is made for if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
}

impl Default for ModelRecipe {
    fn default() -> Self {
        Self { prediction: Prediction::Edm, energy: false, sigma_data: None, clock: None }
    }
}

/// How the objective is minimised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingRecipe {
    /// Steps in all.
    pub steps: u64,
    /// Whether pictures are mirrored left to right, each with probability ½ each time.
    pub flip: bool,
    /// Whether integers are spread uniformly over their steps, so that they have a density. Without, a model learns the
    /// integers themselves, of which the variational bound gives probabilities.
    pub dequantise: bool,
    /// Rows of a micro-batch.
    pub batch: usize,
    /// Micro-batches of a step.
    pub accumulate: usize,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// Steps over which it rises.
    pub warmup: u64,
    /// How it goes on.
    pub decay: LearningRate,
    /// The optimiser.
    pub adamw: AdamWConfig,
    /// The decay of the averaged weights.
    pub ema: f64,
    /// Steps between points of the curves.
    pub log_every: u64,
    /// Steps between held-out losses; 0 for never.
    pub held_out_every: u64,
    /// Held-out rows judged each time, at most.
    pub held_out_rows: usize,
    /// Steps between pictures of samples; 0 for never. Before the first, a few samples are kept after 10, 30, 100, …
    /// steps.
    pub sample_every: u64,
    /// Seconds between checkpoints, from 0 (one at each point of the curves) to 10.
    pub checkpoint_seconds: f64,
}

impl Default for TrainingRecipe {
    fn default() -> Self {
        Self {
            steps: 5000,
            flip: false,
            dequantise: true,
            batch: 256,
            accumulate: 1,
            learning_rate: 1e-3,
            warmup: 100,
            decay: LearningRate::Cosine,
            adamw: AdamWConfig::default(),
            ema: 0.999,
            log_every: 10,
            held_out_every: 500,
            held_out_rows: 2048,
            sample_every: 1000,
            checkpoint_seconds: 2.0,
        }
    }
}

impl TrainingRecipe {
    /// How rows become what the model sees.
    pub fn encoding(&self) -> Encoding {
        if self.dequantise { Encoding::Dequantised } else { Encoding::Centres }
    }
}

/// How samples are made unless the user says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingRecipe {
    /// The solver.
    pub solver: AnySolver,
    /// The spacing of its levels.
    pub grid: Grid,
    /// Its steps, the last denoising included.
    pub steps: usize,
    /// What happens at the cleanest level.
    pub last: Last,
    /// The weight of classifier-free guidance; 1 is none.
    pub guidance: f64,
    /// How denoised batches are held in range; not at all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
}

impl Default for SamplingRecipe {
    fn default() -> Self {
        Self {
            solver: AnySolver::default(),
            grid: Grid::default(),
            steps: 32,
            last: Last::Denoise,
            guidance: 1.0,
            clip: None,
        }
    }
}

/// How much is sampled to judge a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationRecipe {
    /// How many samples are compared with the data.
    pub samples: usize,
    /// How many held-out rows get a log p.
    pub log_p_rows: usize,
}

impl Default for EvaluationRecipe {
    fn default() -> Self {
        Self { samples: 1000, log_p_rows: 256 }
    }
}

impl Recipe {
    /// Reads a recipe with `overrides` of the form `key.path=value` applied, values being TOML or bare words.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key that is unknown (with the nearest known one), or whose value is wrong.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self> {
        let recipe = parse::parse(text, overrides)?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe as TOML.
    ///
    /// # Errors
    /// [`Error::Config`] if it cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|e| Error::config("recipe", e.to_string(), "values TOML can hold"))
    }

    /// Draws or reads its data.
    ///
    /// # Errors
    /// As [`Source::load`], with the recipe's keys.
    pub fn load_data(&self) -> Result<Dataset> {
        const KEYS: [&str; 8] =
            ["source", "label", "columns", "held_out", "n", "image", "size", "channels"];
        self.data.load().map_err(|error| match error {
            Error::Config { key, problem, expected } if KEYS.contains(&key.as_str()) => {
                Error::config(format!("data.{key}"), problem, expected)
            }
            other => other,
        })
    }
}
