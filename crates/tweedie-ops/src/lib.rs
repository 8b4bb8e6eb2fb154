//! Fused operations on the CPU, forward and backward, for Burn's flex backend, with portable bodies for the others.
//!
//! The kernels are the only unsafe code of the workspace. Each unsafe block is one operation with the reason why it is
//! sound; the functions around it check the lengths of their slices, without wrapping arithmetic.

#![allow(unsafe_code)]
// Tiles of registers are arrays indexed by constants.
#![allow(clippy::needless_range_loop)]

mod activation;
mod adamw;
mod affine;
mod attention;
mod conv;
mod kernels;
mod likelihood;
mod mlp;
mod norm;
mod operation;
mod pool;
mod registers;
mod resize;
mod sequence;
mod spline;
#[cfg(test)]
mod tests;

pub use activation::{activate, gate};
pub use adamw::{AdamW, State, adamw, square_sum};
pub use affine::{affine, bounded};
pub use attention::{attention, causal_self_attention, self_attention};
pub use conv::{Addend, ConvSizes, conv2d};
pub use kernels::activation::Activation;
pub use kernels::likelihood::LogisticMixture;
pub use kernels::linear::matrix_product;
pub use kernels::spline::{Direction, Ends, Spline};
pub use likelihood::{bernoulli, bernoulli_rows, log_sum_exp, logistic_mixture};
pub use mlp::{LinearLayer, linear, mlp};
pub use norm::{Modulation, Norm, Shares};
pub use operation::is_cpu;
pub use registers::clear_upper_registers;
pub use resize::{double, halve, join};
pub use sequence::Sequence;
pub use spline::spline;
