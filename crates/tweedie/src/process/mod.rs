//! Processes from data to noise: levels, schedules and the transitions between them.
//!
//! Every process here is a linear Gaussian corruption of data,
//!
//! > x_t = α_t x₀ + σ_t ε, ε ~ N(0, I),
//!
//! the marginal of the linear SDE dx = f(t) x dt + g(t) dW with f = d ln α/dt and
//! g² = dσ²/dt − 2 f σ² = −σ² dλ/dt, where **λ = 2 ln(α/σ) is the log-SNR** (*An Introduction to Generative
//! Modeling with Flows and Diffusion Models*, eqs. 6.12–6.15; *Demystifying Variational Diffusion Models*, App. A).

mod bridge;
mod brownian;
mod chain;
mod corruption;
mod fokker_planck;
mod learned;
mod level;
mod levels;
mod linear;
mod noise;
mod schedule;
mod schedules;
mod sde;

pub use bridge::Bridge;
pub use brownian::BrownianTree;
pub use chain::{Betas, Chain, ChainConfig};
pub use corruption::{Corruption, Gaussian, NoisedBatch};
pub use fokker_planck::{Axis, Mesh};
pub use learned::{LearnedSchedule, LearnedScheduleConfig, Monotone};
pub use level::{Kernel, Level, Levels, Posterior};
pub(crate) use level::{MOST_LOG_SNR, softplus};
pub use levels::{LevelDistribution, NoiseLevels};
pub use linear::LinearSde;
pub use noise::Noise;
use schedule::check_fall;
pub(crate) use schedule::finite_log_snrs;
pub use schedule::{AnySchedule, Rate, Schedule};
pub use schedules::{Cosine, Edm, OrnsteinUhlenbeck, Straight, SubVp, Ve, VpLinear};
pub use sde::Sde;
