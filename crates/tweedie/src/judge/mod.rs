//! Evaluation of trained models: by samples, by densities, by copies of training rows, and in comparison; and pages
//! that teach, of distributions that are known.
//!
//! Evaluation uses [`crate::family::Model`] alone, so that all families are evaluated alike.

pub mod compare;
pub mod copies;
pub mod densities;
pub mod lesson;
pub mod reference;
pub mod report;
pub mod samples;

pub use compare::{Comparison, ComparisonResult, Contender, Point};
pub use densities::{LogP, LogPOptions};
pub use reference::{Floor, Reference, headings};
pub use report::{Judgement, finish};
pub use samples::{generate, score_rows};
