//! Deep generative modelling: train, sample, evaluate and compare diffusion models and their relatives.
#![doc = include_str!("../../../docs/lens.md")]
#![forbid(unsafe_code)]

pub mod data;
pub mod denoise;
pub mod diffusers;
pub mod draws;
pub mod error;
pub mod files;
pub mod likelihood;
pub mod metric;
pub mod nn;
pub mod objective;
pub mod process;
pub mod show;
pub mod solve;
pub mod train;
pub mod transport;

pub use burn;
pub use draws::Draws;
pub use error::{Error, Result};

/// The README's example, run as a test.
#[doc = include_str!("../../../README.md")]
#[cfg(doctest)]
pub struct Readme;
