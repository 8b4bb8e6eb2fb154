//! Training: learners, their loop, and the files that it writes.

mod adamw;
mod adaptive;
mod blocks;
mod checkpoint;
mod choice;
mod criterion;
pub mod curves;
mod denoising;
mod dequantising;
mod ema;
mod learner;
mod memory;
mod schedule;
mod tensorboard;
mod trainee;
mod training;
mod window;

pub use crate::nn::State;
pub use adamw::{AdamW, AdamWConfig, Gradients, LearningRate};
pub(crate) use adaptive::{AdaptiveLevels, ByNoising};
pub use blocks::{Block, gradients_in_blocks};
pub(crate) use checkpoint::{count, take_count};
pub use checkpoint::{load_checkpoint, save_checkpoint};
pub use choice::Selection;
pub(crate) use choice::{Choice, chosen};
pub use curves::Curves;
pub use denoising::DenoiserLearner;
pub use dequantising::{DequantiserFit, fit_dequantiser};
pub use ema::Ema;
pub use learner::{Event, Learner, Loop, Values, train, train_until};
pub use memory::Memory;
pub(crate) use schedule::{PREFIX as SCHEDULE, ScheduleLearner, weights_among};
pub use trainee::{Optimiser, Trainee, averages};
pub use training::{Fit, Training};
pub(crate) use training::{MOST_ACTIVATIONS, MOST_PARAMETERS};
