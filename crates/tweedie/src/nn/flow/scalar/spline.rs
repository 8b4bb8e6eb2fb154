//! Monotone rational-quadratic splines.
//!
//! On [−B, B] the map is a rational-quadratic function in each of K bins and the identity outside (Durkan, Bekasov,
//! Murray & Papamakarios 2019, *Neural spline flows*, eqs. 4–8). In a bin of width w and height h, with slopes δ₀, δ₁
//! at its ends, s = h/w and ξ = (x − x₀)/w,
//!
//! > z = z₀ + h (s ξ² + δ₀ ξ(1 − ξ)) / r,  ∂z/∂x = s² (δ₁ ξ² + 2 s ξ(1 − ξ) + δ₀ (1 − ξ)²) / r²,
//! > r = s + (δ₀ + δ₁ − 2 s) ξ(1 − ξ),
//!
//! and x solves a quadratic equation, by the root that has no cancellation. Widths and heights are 2B times a softmax
//! of logits in ±½ ln 1000, slopes lie between 1/1000 and 1000; all are approached as by u/(1 + |u|). The slopes at ±B
//! are 1, so that the tails join; of a periodic spline they are equal and free (Rezende et al. 2020, *Normalizing flows
//! on tori and spheres*, sec. 2.1.2), so that the ends of a circle of length 2B join. Parameters are value by value:
//! widths, heights, slopes.

use super::{ScalarMap, soft_bounded};
use crate::Result;
use crate::error::{count, within};
use crate::tensor::Dual;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use tweedie_ops::{Direction, Ends};

/// ln 1000, the bound on the logarithm of a slope.
const MOST_LOG_SLOPE: f64 = 6.907_755_278_982_137;

/// A rational-quadratic spline; see the module's head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spline {
    /// The number of bins K, 1 to 256.
    pub bins: usize,
    /// The bound B, in model units; values beyond ±B stay as they are.
    pub bound: f64,
    /// Whether a column is an angle of period 2B, so that the slopes at both ends are equal.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub periodic: bool,
}

impl Default for Spline {
    fn default() -> Self {
        Self { bins: 8, bound: 5.0, periodic: false }
    }
}

/// The knots of all splines of a batch, `[n, m, ·]`.
struct Knots {
    /// The left end of each bin in x and z, K each.
    from: [Dual<3>; 2],
    /// The width and height of each bin, K each.
    size: [Dual<3>; 2],
    /// The slopes at the ends of bins, K + 1.
    slopes: Dual<3>,
}

/// The bin of each value: its ends, sizes and slopes, `[n, m]` each.
struct Bin {
    from: [Dual<2>; 2],
    size: [Dual<2>; 2],
    slopes: [Dual<2>; 2],
}

impl Spline {
    /// The knots of parameters `[n, m · parameters]`.
    fn knots(&self, parameters: Dual<2>, columns: usize) -> Knots {
        let ([n, _], k) = (parameters.dims(), self.bins);
        let all = parameters.reshape([n, columns, self.parameters()]);
        let part = |from, len| all.clone().linear(|all: Tensor<3>| all.narrow(2, from, len));
        let one =
            |value: f64| Dual::from(all.value.clone().detach().narrow(2, 0, 1).full_like(value));
        let side = |from| {
            let logits = soft_bounded(part(from, k), 0.5 * MOST_LOG_SLOPE);
            let sizes = logits.softmax(2).mul_scalar(2.0 * self.bound);
            let inner = sizes.linear(|sizes| sizes.cumsum(2).narrow(2, 0, k - 1));
            let inner = inner.add_scalar(-self.bound);
            let left = Dual::cat(vec![one(-self.bound), inner.clone()], 2);
            // The last knot is exactly B.
            let right = Dual::cat(vec![inner, one(self.bound)], 2);
            (left.clone(), right - left)
        };
        let ((x, width), (z, height)) = (side(0), side(k));
        let free = self.parameters() - 2 * k;
        let log_slopes = soft_bounded(part(2 * k, free), MOST_LOG_SLOPE);
        let parts = match self.periodic {
            true => vec![log_slopes.clone(), log_slopes.linear(|s| s.narrow(2, 0, 1))],
            false => vec![one(0.0), log_slopes, one(0.0)],
        };
        Knots { from: [x, z], size: [width, height], slopes: Dual::cat(parts, 2).exp() }
    }

    /// The values and the sum of log slopes by one operation, where there is one.
    fn fused(
        &self,
        x: &Dual<2>,
        parameters: &Dual<2>,
        direction: Direction,
    ) -> Option<(Dual<2>, Dual<2>)> {
        if x.tangent.is_some() || parameters.tangent.is_some() {
            return None;
        }
        let ends = if self.periodic { Ends::Periodic } else { Ends::Linear };
        let of = tweedie_ops::Spline { bins: self.bins, bound: self.bound as f32, ends };
        let (x, parameters, m) = (x.value.clone(), parameters.value.clone(), x.dims()[1]);
        let all = tweedie_ops::spline(x, parameters, of, direction)?;
        Some((all.clone().narrow(1, 0, m).into(), all.narrow(1, m, 1).into()))
    }

    /// The value held in [−B, B], whether it was inside, as 1 or 0, and the rest beyond.
    fn held(&self, x: Dual<2>) -> (Dual<2>, Tensor<2>, Dual<2>) {
        let plain = x.value.clone().detach();
        let inside = plain.abs().lower_equal_elem(self.bound).float().cast(x.value.dtype());
        let held = Dual {
            value: x.value.clone().clamp(-self.bound, self.bound),
            tangent: x.tangent.clone().map(|dx| dx * inside.clone()),
            second: x.second.clone().map(|ddx| ddx * inside.clone()),
        };
        (held.clone(), inside, x - held)
    }
}

impl Knots {
    /// The bin in which each value lies, by the knots of `side`: 0 for x, 1 for z.
    fn bin(&self, side: usize, value: &Dual<2>) -> Bin {
        let [n, m] = value.dims();
        let value = value.value.clone().detach().reshape([n, m, 1]);
        let knots = self.from[side].value.clone().detach();
        let bins = knots.dims()[2];
        let index = match bins {
            1 => value.zeros_like().int(),
            _ => value.greater_equal(knots.narrow(2, 1, bins - 1)).int().sum_dim(2),
        };
        let at = |of: &Dual<3>, shift: i32| {
            let index = index.clone().add_scalar(shift);
            of.clone().linear(|of: Tensor<3>| of.gather(2, index.clone())).reshape([n, m])
        };
        Bin {
            from: [at(&self.from[0], 0), at(&self.from[1], 0)],
            size: [at(&self.size[0], 0), at(&self.size[1], 0)],
            slopes: [at(&self.slopes, 0), at(&self.slopes, 1)],
        }
    }
}

impl Bin {
    /// s, and δ₀ + δ₁ − 2 s.
    fn mean_slope(&self) -> (Dual<2>, Dual<2>) {
        let [width, height] = self.size.clone();
        let s = height * width.recip();
        let [first, last] = self.slopes.clone();
        (s.clone(), first + last - s.mul_scalar(2.0))
    }

    /// r, and the logarithm of the slope at ξ.
    fn log_slope(&self, xi: &Dual<2>) -> (Dual<2>, Dual<2>) {
        let ((s, bend), [first, last]) = (self.mean_slope(), self.slopes.clone());
        let rest = -xi.clone() + one_like(xi);
        let both = xi.clone() * rest.clone();
        let r = s.clone() + bend * both.clone();
        let sum =
            last * xi.clone().square() + s.clone() * both.mul_scalar(2.0) + first * rest.square();
        (r.clone(), s.log().mul_scalar(2.0) + sum.log() - r.log().mul_scalar(2.0))
    }
}

fn one_like(x: &Dual<2>) -> Tensor<2> {
    x.value.clone().detach().ones_like()
}

impl ScalarMap for Spline {
    fn check(&self) -> Result<()> {
        count("bins", self.bins as u64, 256)?;
        within("bound", self.bound, 1e-3, 1e6)
    }

    fn parameters(&self) -> usize {
        3 * self.bins - usize::from(!self.periodic)
    }

    fn to_noise(&self, x: Dual<2>, parameters: Dual<2>) -> (Dual<2>, Dual<2>) {
        if let Some(found) = self.fused(&x, &parameters, Direction::ToNoise) {
            return found;
        }
        let (x, inside, rest) = self.held(x);
        let bin = self.knots(parameters, x.dims()[1]).bin(0, &x);
        let [from, to] = bin.from.clone();
        let [width, height] = bin.size.clone();
        let xi = (x - from) * width.recip();
        let (s, _) = bin.mean_slope();
        let (r, log_slope) = bin.log_slope(&xi);
        let left = xi.clone() * (-xi.clone() + one_like(&xi));
        let rise = s * xi.square() + bin.slopes[0].clone() * left;
        (to + height * rise * r.recip() + rest, (log_slope * inside).sum_dim(1))
    }

    fn to_data(&self, z: Dual<2>, parameters: Dual<2>) -> (Dual<2>, Dual<2>) {
        if let Some(found) = self.fused(&z, &parameters, Direction::ToData) {
            return found;
        }
        let (z, inside, rest) = self.held(z);
        let bin = self.knots(parameters, z.dims()[1]).bin(1, &z);
        let [to, from] = bin.from.clone();
        let [width, height] = bin.size.clone();
        let (s, bend) = bin.mean_slope();
        // a ξ² + b ξ + c = 0.
        let (up, first) = (z - from, bin.slopes[0].clone());
        let a = up.clone() * bend.clone() + height.clone() * (s.clone() - first.clone());
        let b = height * first - up.clone() * bend;
        let c = -(s * up);
        let inner = b.clone().square() - a * c.clone().mul_scalar(4.0);
        let inner = inner.clone().relu().add_scalar(f64::MIN_POSITIVE);
        let xi = -c.mul_scalar(2.0) * (b + inner.sqrt()).recip();
        let (_, log_slope) = bin.log_slope(&xi);
        (to + width * xi + rest, -(log_slope * inside).sum_dim(1))
    }
}
