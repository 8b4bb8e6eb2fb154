//! Diffusion models: a denoiser of a network, on a schedule of noise levels.

mod density;
mod model;
mod pictures;
mod resolved;
mod sampling;

pub use model::DiffusionModel;
pub use resolved::Resolved;
