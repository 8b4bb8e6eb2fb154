//! Training: learners, the loop that runs them, and what a run leaves on disk.

mod adamw;
mod adaptive;
mod checkpoint;
mod criterion;
pub mod curves;
mod denoising;
mod dequantising;
mod ema;
mod learner;
mod recipe;
mod run;
mod schedule;
mod tensorboard;
mod trainee;

pub use crate::nn::State;
pub use adamw::{AdamW, AdamWConfig, Gradients, LearningRate};
pub use checkpoint::{load_checkpoint, save_checkpoint};
pub use curves::Curves;
pub use denoising::DenoiserLearner;
pub use dequantising::{DequantiserFit, fit_dequantiser};
pub use ema::Ema;
pub use learner::{Event, Learner, Loop, Values, train};
pub use recipe::{
    AdaptiveRecipe, EvaluationRecipe, ModelRecipe, NETWORKS, NetworkRecipe, OBJECTIVES,
    ObjectiveKind, ObjectiveRecipe, Recipe, SamplingRecipe, TrainingRecipe, named_option,
};
pub use run::{Run, RunInfo, SplitInfo};
pub use trainee::{Optimiser, Trainee};
