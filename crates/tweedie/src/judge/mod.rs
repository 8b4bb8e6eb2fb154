//! Judging trained models: by their samples, by their densities, by copies of training rows, and beside each other.
//!
//! The judge asks models alone ([`crate::family::Model`]), so that every family is judged alike.

pub mod compare;
pub mod copies;
pub mod densities;
pub mod report;
pub mod samples;

pub use compare::{Compared, Comparison, Point};
pub use densities::{Asked, LogP};
pub use report::{Judgement, finish};
pub use samples::{generate, score_rows};
