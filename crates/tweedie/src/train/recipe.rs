//! Recipes: everything that defines a run, as TOML.

use super::{AdamWConfig, LearningRate};
use crate::data::Source;
use crate::denoise::Prediction;
use crate::error::nearest;
use crate::nn::ResidualMlpConfig;
use crate::objective::{NoiseLevels, Weighting};
use crate::process::{AnySchedule, Cosine};
use crate::solve::{AnySolver, Grid};
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
    /// What it predicts.
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

/// The network of a recipe; widths of 0 are taken from the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum NetworkRecipe {
    /// [`crate::nn::ResidualMlp`].
    Mlp(ResidualMlpConfig),
}

impl Default for NetworkRecipe {
    fn default() -> Self {
        Self::Mlp(ResidualMlpConfig::default())
    }
}

/// What the network predicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelRecipe {
    /// Its output.
    pub prediction: Prediction,
    /// The standard deviation of the data in model units; measured on the training data if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_data: Option<f64>,
}

impl Default for ModelRecipe {
    fn default() -> Self {
        Self { prediction: Prediction::Edm, sigma_data: None }
    }
}

/// What training minimises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveRecipe {
    /// How much a level counts.
    pub weighting: Weighting,
    /// Which levels are visited.
    pub levels: NoiseLevels,
    /// The probability that a label is dropped, so that the model learns the unconditional distribution too.
    pub label_dropout: f64,
}

impl Default for ObjectiveRecipe {
    fn default() -> Self {
        Self { weighting: Weighting::Own, levels: NoiseLevels::default(), label_dropout: 0.1 }
    }
}

/// How the objective is minimised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingRecipe {
    /// Steps in all.
    pub steps: u64,
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
    /// Steps between pictures of samples; 0 for never.
    pub sample_every: u64,
}

impl Default for TrainingRecipe {
    fn default() -> Self {
        Self {
            steps: 5000,
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
        }
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
    /// The weight of classifier-free guidance; 1 is none.
    pub guidance: f64,
}

impl Default for SamplingRecipe {
    fn default() -> Self {
        Self { solver: AnySolver::default(), grid: Grid::default(), steps: 32, guidance: 1.0 }
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
        let mut table: toml::Table = toml::from_str(text).map_err(|e| {
            Error::config("recipe", e.message().to_string() + &place(text, &e), "TOML")
        })?;
        for item in overrides {
            let Some((key, value)) = item.split_once('=') else {
                return Err(Error::config("--set", item, "key=value, such as training.steps=500"));
            };
            set(&mut table, key.trim(), parse_value(value.trim()))?;
        }
        let recipe: Recipe = Recipe::deserialize(toml::Value::Table(table)).map_err(explain)?;
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

    /// Fails, naming the key, unless every value makes sense.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        self.schedule.check()?;
        let t = &self.training;
        let count = |key: &str, value: u64, most: u64| match value {
            0 => Err(Error::config(key, "0", "at least 1")),
            v if v > most => Err(Error::config(key, v.to_string(), format!("at most {most}"))),
            _ => Ok(()),
        };
        count("training.steps", t.steps, 1 << 40)?;
        count("training.batch", t.batch as u64, 1 << 20)?;
        count("training.accumulate", t.accumulate as u64, 1 << 20)?;
        count("training.log_every", t.log_every, 1 << 40)?;
        count("training.held_out_rows", t.held_out_rows as u64, 1 << 30)?;
        count("sampling.steps", self.sampling.steps as u64, 100_000)?;
        count("evaluation.samples", self.evaluation.samples as u64, 1 << 30)?;
        let NetworkRecipe::Mlp(mlp) = &self.network;
        count("network.hidden", mlp.hidden as u64, 1 << 16)?;
        count("network.blocks", mlp.blocks as u64, 1 << 10)?;
        let within = |key: &str, value: f64, low: f64, high: f64| {
            if value >= low && value <= high {
                Ok(())
            } else {
                Err(Error::config(key, value.to_string(), format!("a number in [{low}, {high}]")))
            }
        };
        within("training.learning_rate", t.learning_rate, 0.0, 10.0)?;
        within("training.ema", t.ema, 0.0, 1.0)?;
        within("training.adamw.beta_1", t.adamw.beta_1, 0.0, 0.999_999)?;
        within("training.adamw.beta_2", t.adamw.beta_2, 0.0, 0.999_999_9)?;
        within("training.adamw.epsilon", t.adamw.epsilon, 1e-30, 1.0)?;
        within("training.adamw.weight_decay", t.adamw.weight_decay, 0.0, 1e6)?;
        within("training.adamw.clip", t.adamw.clip, 0.0, f64::MAX)?;
        within("objective.label_dropout", self.objective.label_dropout, 0.0, 1.0)?;
        within("sampling.guidance", self.sampling.guidance, -1e3, 1e3)?;
        if let Some(sigma_data) = self.model.sigma_data {
            within("model.sigma_data", sigma_data, 1e-6, 1e6)?;
        }
        Ok(())
    }
}

/// " (line n)" of a TOML error.
fn place(text: &str, error: &toml::de::Error) -> String {
    error.span().map_or(String::new(), |span| {
        let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
        format!(" (line {line})")
    })
}

/// A TOML value, or the text itself where it is not one.
fn parse_value(text: &str) -> toml::Value {
    toml::from_str::<toml::Table>(&format!("v = {text}"))
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| toml::Value::String(text.to_string()))
}

/// Sets a dotted key, making tables on the way. A name replaces a whole `{ name = … }` table.
fn set(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<()> {
    match key.split_once('.') {
        None => {
            let named = matches!(key, "schedule" | "network" | "solver" | "grid" | "distribution");
            let value = match value {
                toml::Value::String(name) if named => {
                    toml::Value::Table([("name".to_string(), name.into())].into_iter().collect())
                }
                value => value,
            };
            table.insert(key.to_string(), value);
            Ok(())
        }
        Some((head, rest)) => {
            let inner = table
                .entry(head.to_string())
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            match inner {
                toml::Value::Table(inner) => set(inner, rest, value),
                _ => Err(Error::config(key, format!("{head} is a value"), "a key inside a table")),
            }
        }
    }
}

/// Turns serde's words into an error that suggests the right key.
fn explain(error: toml::de::Error) -> Error {
    let message = error.message().to_string();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    match quoted.split_first() {
        Some((found, known)) if unknown => {
            let known: Vec<&str> = known.to_vec();
            let suggestion = match nearest(found, &known) {
                Some(name) => format!("`{name}`, perhaps; known are {}", known.join(", ")),
                None => format!("one of {}", known.join(", ")),
            };
            Error::config(format!("recipe key `{found}`"), "unknown", suggestion)
        }
        _ => {
            let text = error.to_string();
            let place = text.lines().find_map(|l| l.trim().strip_prefix("in ")).map(str::to_string);
            let key = place.map_or("recipe".to_string(), |p| p.trim_matches('`').to_string());
            Error::config(key, message, "a value of the right type")
        }
    }
}
