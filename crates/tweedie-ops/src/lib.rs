//! Fused operations on the CPU, forward and backward, for Burn's flex backend, with portable bodies for the others.

mod conv;
pub mod kernels;
mod operation;
pub mod pool;

pub use conv::{Added, ConvSizes, conv2d};
