//! Radial maps: columns drawn towards a point, or away from it.
//!
//! > z = x + β (x − x₀)/(α + r),  r = ‖x − x₀‖,  α, α + β > 0
//!
//! (Rezende & Mohamed 2015, *Variational inference with normalizing flows*, eq. 14 and appendix A.2). With γ = α + β
//! the distance becomes R = ‖z − x₀‖ = r (r + γ)/(r + α), which rises with r, and
//!
//! > log|det ∂z/∂x| = (d − 1) ln((r + γ)/(r + α)) + ln((r² + 2αr + αγ)/(r + α)²).
//!
//! Every term is positive. The inverse is the positive root of r² + (γ − R) r − αR = 0, computed without cancellation.
//! α and γ are softplus + [`LEAST`], so that no slope at the point is 0 or infinite. r is the root of the square plus
//! [`EDGE`]², so that derivatives at the point are finite.
//!
//! Turned round, x takes the first form and z the root. The map starts as the identity, with α = γ.

use super::parameters::RowParameters;
use super::{AnyBijection, Bijection, BijectionConfig, Place};
use crate::data::Condition;
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor, activation};
use serde::{Deserialize, Serialize};

/// The least α and γ.
const LEAST: f64 = 1e-3;
/// The least r.
const EDGE: f64 = 1e-12;

/// Configuration of [`Radial`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RadialConfig {
    /// Whether the map is turned round.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub inverse: bool,
}

impl BijectionConfig for RadialConfig {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn init(&self, place: &Place, draws: &Draws, device: &Device) -> Result<AnyBijection> {
        let mut values = draws.purpose("point").normals(0..1, place.width).values().to_vec();
        values.extend([0.0, 0.0]);
        let parameters = RowParameters::new(values, place, draws, device);
        Ok(Radial { parameters, inverse: self.inverse }.into())
    }

    fn parameters(&self, place: &Place) -> u128 {
        RowParameters::count(place.width + 2, place)
    }

    fn activations(&self, place: &Place) -> usize {
        3 * place.width + 16
    }
}

/// A radial map; see the module's head.
#[derive(Module, Debug)]
pub struct Radial {
    /// x₀, then α and γ before their softplus.
    parameters: RowParameters,
    #[module(skip)]
    inverse: bool,
}

/// The centres of the rows of a batch, or one for all.
struct Centre {
    /// x₀, `[n, width]`.
    point: Tensor<2>,
    /// α, `[n, 1]`.
    alpha: Tensor<2>,
    /// γ, `[n, 1]`.
    gamma: Tensor<2>,
}

/// The distance from the centre of rows less the centre, and no less than `edge`.
fn distance(away: Dual<2>, edge: Tensor<2>) -> Dual<2> {
    (away.square().sum_dim(1) + edge.square()).sqrt()
}

impl Centre {
    fn new(parameters: Tensor<2>) -> Self {
        let d = parameters.dims()[1] - 2;
        let part = |from, len| parameters.clone().narrow(1, from, len);
        let positive = |from| activation::softplus(part(from, 1), 1.0).add_scalar(LEAST);
        Self { point: part(0, d), alpha: positive(d), gamma: positive(d + 1) }
    }

    /// r + α and r + γ.
    fn ends(&self, r: Dual<2>) -> (Dual<2>, Dual<2>) {
        (r.clone() + self.alpha.clone(), r + self.gamma.clone())
    }

    /// log|det ∂z/∂x| at the distance r.
    fn log_det(&self, r: Dual<2>) -> Dual<2> {
        let (alpha, gamma) = (self.alpha.clone(), self.gamma.clone());
        let along = r.clone() * (r.clone() + alpha.clone().mul_scalar(2.0)) + alpha * gamma;
        let (below, above) = self.ends(r);
        let (below, across) = (below.log(), self.point.dims()[1] as f64 - 1.0);
        (above.log() - below.clone()).mul_scalar(across) + along.log() - below.mul_scalar(2.0)
    }

    fn forward(&self, x: Dual<2>) -> (Dual<2>, Dual<2>) {
        let away = x - self.point.clone();
        let r = distance(away.clone(), self.alpha.full_like(EDGE));
        let (below, above) = self.ends(r.clone());
        (away * (above * below.recip()) + self.point.clone(), self.log_det(r))
    }

    fn inverse(&self, z: Dual<2>) -> (Dual<2>, Dual<2>) {
        let away = z - self.point.clone();
        // What the least r becomes.
        let edge = (self.gamma.clone() / self.alpha.clone()).mul_scalar(EDGE);
        let r = self.root(distance(away.clone(), edge));
        let (below, above) = self.ends(r.clone());
        (away * (below * above.recip()) + self.point.clone(), -self.log_det(r))
    }

    /// r at the distance R of the image, the positive root of r² + (γ − R) r − αR.
    fn root(&self, far: Dual<2>) -> Dual<2> {
        let off = far.clone() - self.gamma.clone();
        let product = far * self.alpha.clone();
        let spread = (off.clone().square() + product.clone().mul_scalar(4.0)).sqrt();
        let beyond = off.value.clone().detach().greater_equal_elem(0.0);
        let beyond = off.value.clone().detach().zeros_like().mask_fill(beyond, 1.0);
        let within = beyond.clone().neg().add_scalar(1.0);
        // |R − γ| + √((R − γ)² + 4αR) is positive: one of the roots' two forms does not cancel.
        let size = off * beyond.clone().mul_scalar(2.0).sub_scalar(1.0) + spread;
        size.clone().mul_scalar(0.5) * beyond + product.mul_scalar(2.0) * size.recip() * within
    }
}

impl Radial {
    fn centre(&self, x: &Dual<2>, condition: &Condition) -> Result<Centre> {
        Ok(Centre::new(self.parameters.forward(&x.value, condition)?))
    }
}

impl Bijection for Radial {
    fn to_noise(&self, x: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        let centre = self.centre(&x, condition)?;
        Ok(if self.inverse { centre.inverse(x) } else { centre.forward(x) })
    }

    fn to_data(&self, z: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        let centre = self.centre(&z, condition)?;
        Ok(if self.inverse { centre.forward(z) } else { centre.inverse(z) })
    }
}
