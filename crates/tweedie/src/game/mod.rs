//! Games between a generator G and a critic D: their losses, the regularisers of the critic, and a critic in training.
//!
//! The critic sees rows of two distributions, P of the data and Q of the generator, and each player descends a loss of
//! its outputs ([`GameLoss`]); for most losses the best critic gives a divergence between P and Q. Regularisers
//! ([`Regularise`]) keep the critic's slopes small. An [`Adversary`] is a critic with its loss, its regularisers and
//! its optimiser: whoever has rows of two distributions and wants the one to become the other can use it.
//!
//! [`Dirac`] is the smallest game of all, in which every rate is known.

mod adversary;
mod dirac;
mod kernel;
mod logistic;
mod loss;
mod mmd;
mod regulariser;
mod wasserstein;

pub use adversary::{Adversary, AdversaryConfig, Round, Turn};
pub use dirac::Dirac;
pub use kernel::{AnyMmdKernel, GaussianKernel, MmdKernel, RationalQuadraticKernel};
pub use logistic::{FDivergenceLoss, Hinge, LeastSquares, NonSaturating, Relativistic, Saturating};
pub use loss::{AnyGameLoss, GameLoss};
pub use mmd::{Mmd, mmd_squared};
pub use regulariser::{
    AnyRegulariser, Clipping, Function, GradientPenalty, R1, R2, Regularise, Slopes, SpectralNorm,
};
pub use wasserstein::Wasserstein;
