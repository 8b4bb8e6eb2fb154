//! Fused operations on the CPU, forward and backward, for Burn's flex backend, with portable bodies for the others.

mod activation;
mod adamw;
mod attention;
mod conv;
pub mod kernels;
mod mlp;
mod norm;
mod operation;
pub mod pool;
mod resize;

pub use activation::activate;
pub use adamw::{AdamW, State, adamw, square_sum};
pub use attention::{attention, self_attention};
pub use conv::{Added, ConvSizes, conv2d};
pub use kernels::activation::Activation;
pub use mlp::{LinearLayer, linear, mlp};
pub use norm::{Modulation, Norm, Shares};
pub use resize::{double, halve, join};
