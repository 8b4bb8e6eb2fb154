//! The toys' densities in closed form; [`super::curve`] has those that need a quadrature.
//!
//! * `8gaussians`: the mixture. `checkerboard`: 1/32 on its support.
//! * `pinwheel`: the warp f ↦ R(−a(|f|)) f turns circles and so preserves area; with y = x/2,
//!   p(x) = ¼ · mean over k of N(R(a_k(|y|)) y; (1, 0), diag(0.3², 0.1²)).
//! * `moons-torchcfm`: with y = (x + 1)/3, a moon's centre c and z = y − c, the shifts s that put
//!   z − s (1, 1) on the circle are s = (z₁ + z₂ ± √D)/2, D = 2 − (z₁ − z₂)²; the map (θ, s) ↦ y has
//!   Jacobian √D there, so p(y) = ½ Σ 1/(0.2 π √D) over the moons and those s in [0, 0.2) that meet the right
//!   half of the circle. It is infinite where D = 0.

use super::{Toy, bend, curve, eight_gaussians};
use std::f64::consts::{LN_2, PI};

/// See [`Toy::log_density`].
pub(super) fn log_density(toy: Toy, x: [f64; 2]) -> f64 {
    match toy {
        Toy::EightGaussians => mixture(x),
        Toy::MoonsTorchcfm => diagonal_moons(x.map(|x| (x + 1.0) / 3.0)).ln() - 9.0_f64.ln(),
        Toy::Checkerboard => checkerboard(x),
        Toy::Pinwheel => pinwheel(x.map(|x| x / 2.0)) - 2.0 * LN_2,
        Toy::Moons | Toy::SwissRoll | Toy::Spirals | Toy::SCurve => curve::log_density(toy, x),
    }
}

fn mixture([x, y]: [f64; 2]) -> f64 {
    let (centres, variance) = eight_gaussians();
    let exponents = centres.map(|[a, b]| -((x - a).powi(2) + (y - b).powi(2)) / (2.0 * variance));
    mean_exp(&exponents) - (2.0 * PI * variance).ln()
}

fn checkerboard([x, y]: [f64; 2]) -> f64 {
    let (a, b) = ((x / 2.0).floor(), (y / 2.0).floor());
    let board = -2.0..=1.0;
    let inside = board.contains(&a) && board.contains(&b) && (a + b).rem_euclid(2.0) == 0.0;
    if inside { -32.0_f64.ln() } else { f64::NEG_INFINITY }
}

fn pinwheel([x, y]: [f64; 2]) -> f64 {
    let exponents: [f64; 5] = std::array::from_fn(|k| {
        let (sin, cos) = bend(k as u64, x.hypot(y)).sin_cos();
        let (f, g) = (x * cos - y * sin, x * sin + y * cos);
        -0.5 * (((f - 1.0) / 0.3).powi(2) + (g / 0.1).powi(2))
    });
    mean_exp(&exponents) - (2.0 * PI * 0.3 * 0.1).ln()
}

/// The density of moons with noise 0.2 u (1, 1), before scaling.
fn diagonal_moons(y: [f64; 2]) -> f64 {
    let moon = |centre: [f64; 2], side: f64| {
        let (z, w) = (y[0] - centre[0], y[1] - centre[1]);
        let discriminant = 2.0 - (z - w).powi(2);
        if discriminant < 0.0 {
            return 0.0;
        }
        let shifts = [-1.0, 1.0].map(|sign| (z + w + sign * discriminant.sqrt()) / 2.0);
        let meets = |s: &&f64| (0.0..0.2).contains(*s) && (w - **s) * side >= 0.0;
        shifts.iter().filter(meets).count() as f64 / (0.2 * PI * discriminant.sqrt())
    };
    0.5 * (moon([0.0, 0.0], 1.0) + moon([1.0, 0.5], -1.0))
}

/// ln of the mean of the exponentials.
fn mean_exp(exponents: &[f64]) -> f64 {
    let most = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = exponents.iter().map(|e| (e - most).exp()).sum();
    most + (sum / exponents.len() as f64).ln()
}
