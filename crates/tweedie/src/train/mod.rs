//! Training: learners, the loop that runs them, and what a run leaves on disk.

mod adamw;
mod adaptive;
mod checkpoint;
pub mod curves;
mod denoising;
mod dequantising;
mod ema;
mod learner;
mod recipe;
mod schedule;
mod tensorboard;
mod training;

pub use adamw::{AdamW, AdamWConfig, Gradients, LearningRate};
pub(crate) use adaptive::{AdaptiveLevels, LevelObjective};
pub use checkpoint::{load_checkpoint, save_checkpoint};
pub use curves::Curves;
pub use denoising::DenoiserLearner;
pub use dequantising::{DequantiserFit, fit_dequantiser};
pub use ema::Ema;
pub use learner::{Event, Learner, Loop, train};
pub use recipe::{
    AdaptiveRecipe, EvaluationRecipe, ModelRecipe, NETWORKS, NetworkRecipe, NoiseSource,
    OBJECTIVES, ObjectiveKind, ObjectiveRecipe, Recipe, SamplingRecipe, TrainingRecipe,
    VarianceSource, named_option,
};
pub(crate) use recipe::{read_options, read_table};
pub(crate) use schedule::{PREFIX as SCHEDULE, ScheduleLearner, take as take_schedule};
pub(crate) use training::MOST_PARAMETERS;
pub use training::{Fit, Training};

/// Named arrays: a learner's whole state, or a model's weights.
pub type State = crate::nn::Params;
