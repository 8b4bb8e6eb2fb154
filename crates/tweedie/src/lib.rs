//! Deep generative modelling: train, sample, evaluate and compare diffusion models and their relatives.
#![doc = include_str!("../../../docs/lens.md")]
#![forbid(unsafe_code)]

pub mod data;
pub mod denoise;
pub mod density;
pub mod diffusers;
pub mod divergence;
pub mod draw;
pub mod draws;
pub mod error;
pub mod family;
pub mod files;
pub mod game;
pub mod judge;
pub mod latent;
pub mod mcmc;
pub mod metric;
pub mod nn;
pub mod objective;
pub mod path;
pub mod process;
pub mod registry;
pub mod rows;
pub mod run;
pub mod solve;
pub mod tensor;
pub mod train;
pub mod transport;

pub use burn;
pub use draws::Draws;
pub use error::{Error, Result};

/// The README's example, which runs as a test.
#[doc = include_str!("../../../README.md")]
#[cfg(doctest)]
pub struct Readme;
