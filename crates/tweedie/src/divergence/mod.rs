//! Divergences between two distributions P and Q: f-divergences, Fisher's, Wasserstein's by its dual; importance
//! sampling.
//!
//! An f-divergence, for a convex f with f(1) = 0 and P absolutely continuous by Q, is (*An Introduction to Generative
//! Modeling with Flows and Diffusion Models*, eq. 2.18, where the integral is by dQ)
//!
//! > D_f(P‖Q) = ∫ f(dP/dQ) dQ = sup_T E_P(T) − E_Q(f*(T)),
//!
//! f* being the convex conjugate of f; the supremum is at T = f′(p/q) (ibid., eq. 2.30 with its second f as f*; Nguyen,
//! Wainwright and Jordan, "Estimating divergence functionals and the likelihood ratio by convex risk minimization",
//! IEEE Trans. Inf. Theory 56 (2010)). The same divergence is had, by what is known of P and Q,
//!
//! - from two Gaussians: [`FDivergence::between`], in closed form;
//! - from two densities in one or two dimensions: [`quadrature`];
//! - from two densities and samples: [`plug_in`];
//! - from samples alone: [`variational`], a lower bound by a trained [`Critic`].
//!
//! [`FDivergence`] is the one table of f, f′, f* and the critic's output map for all of these. Beside them are
//! [`fisher`], the Fisher divergence; [`wasserstein`], W₁ by its dual with a critic of Lipschitz constant 1 (exactly:
//! [`metric::wasserstein::exact_w1`](crate::metric::wasserstein::exact_w1)); and [`Weights`] of importance sampling.
//! The maximum mean discrepancy is [`metric::mmd`](crate::metric::mmd).

mod ascent;
mod critic;
mod densities;
mod importance;
mod lipschitz;
mod normal;
mod pareto;
mod plug_in;
mod quadrature;
mod table;

pub use ascent::Ascent;
pub use critic::{Critic, CriticConfig, dual_value, variational};
pub use densities::Densities;
pub use importance::{Ratio, Weights};
pub use lipschitz::{LipschitzConfig, LipschitzCritic, W1, wasserstein};
pub use normal::Normal;
pub use pareto::{pareto_k, psis_k};
pub use plug_in::{fisher, plug_in};
pub use quadrature::{Quadrature, integral, quadrature};
pub use table::FDivergence;

/// An estimate with its standard error. It is never clamped: an estimate of a divergence may be negative.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// The standard error of the estimate.
    pub standard_error: f64,
}
