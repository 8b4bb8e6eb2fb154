//! Monotone maps of single values, whose parameters another network computes: the second factor of a flow's layers.
//!
//! A layer of a flow maps every value x_j by a map z_j = g(x_j; θ_j) that rises in x_j. What computes θ_j, and from
//! which of the other columns, is the layer's conditioner: [`Coupling`](super::Coupling) or
//! [`MaskedLayer`](super::MaskedLayer). Layers start from θ = 0, where a map is the identity, or from small random θ
//! where its parts have to differ from the start.

mod affine;
mod gaussian;
mod logistic;
mod mixture;
mod spline;

pub use affine::{Affine, Shift};
pub use gaussian::NormalMixture;
pub use logistic::LogisticMixture;
pub use spline::Spline;

use crate::Result;
use crate::registry::registry;
use crate::tensor::Dual;
use std::fmt::Debug;

/// A monotone map of each value of `[n, m]` with parameters `[n, m · parameters]`. Each direction returns the sum of
/// the logarithms of its own slopes in a row.
pub trait ScalarMap: Debug + Send + Sync {
    /// Fails, naming the key, unless every value is valid.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config).
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The number of parameters of one value.
    fn parameters(&self) -> usize;

    /// The column, below `columns`, whose map reads parameter number `index` of a row.
    fn column(&self, index: usize, columns: usize) -> usize {
        let _ = columns;
        index / self.parameters()
    }

    /// Whether a row has the first parameter of all columns, then the second, and not all of the first column, then all
    /// of the second.
    fn by_parameter(&self) -> bool {
        self.parameters() > 1 && self.column(1, 2) == 1
    }

    /// A factor on the initial weights that compute the parameters; 0 starts from parameters of zero.
    fn initial_gain(&self) -> f64 {
        0.0
    }

    /// Maps data `x`, `[n, m]`, to noise; returns noise and log|det ∂z/∂x|, `[n, 1]`.
    fn to_noise(&self, x: Dual<2>, parameters: Dual<2>) -> (Dual<2>, Dual<2>);

    /// Maps noise `z`, `[n, m]`, to data; returns data and log|det ∂x/∂z|, `[n, 1]`.
    fn to_data(&self, z: Dual<2>, parameters: Dual<2>) -> (Dual<2>, Dual<2>);
}

registry! {
    /// Any named map of single values: `spline`, or `{ name = "spline", bins = 16 }`.
    #[derive(Copy)]
    pub enum AnyScalarMap: ScalarMap = Affine, "map" {
        "affine" Affine(Affine)
            "scale and shift, the scale between e⁻³ and e³ (RealNVP, MAF); the default",
        "shift" Shift(Shift) "shift alone: the volume stays (NICE)",
        "spline" Spline(Spline)
            "monotone rational-quadratic spline with linear tails, bins = 8, bound = 5; periodic = true for angles",
        "logistic-mixture" LogisticMixture(LogisticMixture)
            "logit of a mixture of logistic distribution functions (Flow++, deep sigmoids), components = 8",
        "gaussian-mixture" NormalMixture(NormalMixture)
            "normal quantile of a mixture of Gaussians (MADE with a mixture for each column), components = 10",
    }
}

/// `most` · tanh(x/`most`): about x for small x, and bounded by ±`most`.
pub(in crate::nn) fn bounded<const D: usize>(x: Dual<D>, most: f64) -> Dual<D> {
    if x.tangent.is_none() {
        return tweedie_ops::bounded(x.value, most).into();
    }
    x.mul_scalar(1.0 / most).tanh().mul_scalar(most)
}

/// u/(1 + |u|/`most`): about u for small u, and bounded by ±`most`.
pub(crate) fn soft_bounded<const D: usize>(u: Dual<D>, most: f64) -> Dual<D> {
    let sign = u.value.clone().detach().sign();
    let size = (u.clone() * sign).mul_scalar(1.0 / most).add_scalar(1.0);
    u * size.recip()
}
