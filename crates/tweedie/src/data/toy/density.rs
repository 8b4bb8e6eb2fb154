//! The toys' densities and scores in closed form; [`super::curve`] computes others by quadrature.
//!
//! * `8gaussians`: the mixture. `checkerboard`: 1/32 on its support.
//! * `pinwheel`: the warp f ↦ R(−a(|f|)) f turns circles and so preserves area; with y = x/2,
//!   p(x) = ¼ · mean over k of N(R(a_k(|y|)) y; (1, 0), diag(0.3², 0.1²)). With R y = (f, g) and the angle's gradient
//!   ∇a = ¼ exp|y| y/|y|, ∇f = (cos a, −sin a) − g ∇a and ∇g = (sin a, cos a) + f ∇a.
//! * `moons-torchcfm`: with y = (x + 1)/3, a moon's centre c and z = y − c, the shifts s that put
//!   z − s (1, 1) on the circle are s = (z₁ + z₂ ± √D)/2, D = 2 − (z₁ − z₂)²; the map (θ, s) ↦ y has
//!   Jacobian √D there, so p(y) = ½ Σ 1/(0.2 π √D) over the moons and those s in [0, 0.2) that meet the right
//!   half of the circle. It is infinite where D = 0. Its gradient is that of 1/√D, (z₁ − z₂) D^(−3/2) (1, −1).

use super::{Toy, bend, curve, eight_gaussians};
use std::f64::consts::{LN_2, PI};

/// ln p(x) and its gradient; see [`Toy::log_density`] and [`Toy::score`].
pub(super) fn with_score(toy: Toy, x: [f64; 2]) -> (f64, [f64; 2]) {
    match toy {
        Toy::EightGaussians => mixture(x),
        Toy::MoonsTorchcfm => {
            let (p, slope) = diagonal_moons(x.map(|x| (x + 1.0) / 3.0));
            let score = if p > 0.0 { slope.map(|slope| slope / p / 3.0) } else { [0.0; 2] };
            (p.ln() - 9.0_f64.ln(), score)
        }
        Toy::Checkerboard => (checkerboard(x), [0.0; 2]),
        Toy::Pinwheel => {
            let (log_p, score) = pinwheel(x.map(|x| x / 2.0));
            (log_p - 2.0 * LN_2, score.map(|score| score / 2.0))
        }
        Toy::Moons | Toy::SwissRoll | Toy::Spirals | Toy::SCurve => curve::with_score(toy, x),
    }
}

fn mixture([x, y]: [f64; 2]) -> (f64, [f64; 2]) {
    let (centres, variance) = eight_gaussians();
    let exponents = centres.map(|[a, b]| -((x - a).powi(2) + (y - b).powi(2)) / (2.0 * variance));
    let slopes = centres.map(|[a, b]| [(a - x) / variance, (b - y) / variance]);
    let (log_p, score) = mean_exp(&exponents, &slopes);
    (log_p - (2.0 * PI * variance).ln(), score)
}

fn checkerboard([x, y]: [f64; 2]) -> f64 {
    let (a, b) = ((x / 2.0).floor(), (y / 2.0).floor());
    let board = -2.0..=1.0;
    let inside = board.contains(&a) && board.contains(&b) && (a + b).rem_euclid(2.0) == 0.0;
    if inside { -32.0_f64.ln() } else { f64::NEG_INFINITY }
}

fn pinwheel([x, y]: [f64; 2]) -> (f64, [f64; 2]) {
    let radius = x.hypot(y);
    let turn = if radius > 0.0 { 0.25 * radius.min(700.0).exp() / radius } else { 0.0 };
    let (mut exponents, mut slopes) = ([0.0; 5], [[0.0; 2]; 5]);
    for k in 0..5 {
        let (sin, cos) = bend(k as u64, radius).sin_cos();
        let (f, g) = (x * cos - y * sin, x * sin + y * cos);
        exponents[k] = -0.5 * (((f - 1.0) / 0.3).powi(2) + (g / 0.1).powi(2));
        let (of_f, of_g) = (-(f - 1.0) / 0.09, -g / 0.01);
        let around = turn * (of_g * f - of_f * g);
        slopes[k] = [of_f * cos + of_g * sin + around * x, of_g * cos - of_f * sin + around * y];
    }
    let (log_p, score) = mean_exp(&exponents, &slopes);
    (log_p - (2.0 * PI * 0.3 * 0.1).ln(), score)
}

/// The density of moons with noise 0.2 u (1, 1), before scaling, and its gradient.
fn diagonal_moons(y: [f64; 2]) -> (f64, [f64; 2]) {
    let moon = |centre: [f64; 2], side: f64| {
        let (z, w) = (y[0] - centre[0], y[1] - centre[1]);
        let discriminant = 2.0 - (z - w).powi(2);
        if discriminant < 0.0 {
            return (0.0, 0.0);
        }
        let shifts = [-1.0, 1.0].map(|sign| (z + w + sign * discriminant.sqrt()) / 2.0);
        let meets = |s: &&f64| (0.0..0.2).contains(*s) && (w - **s) * side >= 0.0;
        let p = shifts.iter().filter(meets).count() as f64 / (0.2 * PI * discriminant.sqrt());
        (p, if p > 0.0 { p * (z - w) / discriminant } else { 0.0 })
    };
    let [(p, slope), (other, other_slope)] = [moon([0.0, 0.0], 1.0), moon([1.0, 0.5], -1.0)];
    let across = 0.5 * (slope + other_slope);
    (0.5 * (p + other), [across, -across])
}

/// ln of the mean of the exponentials, and its gradient from the gradients `slopes` of the exponents.
fn mean_exp<const K: usize>(exponents: &[f64; K], slopes: &[[f64; 2]; K]) -> (f64, [f64; 2]) {
    let most = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let terms = exponents.map(|e| (e - most).exp());
    let sum: f64 = terms.iter().sum();
    let mean = |j: usize| terms.iter().zip(slopes).map(|(t, s)| t * s[j]).sum::<f64>() / sum;
    (most + (sum / K as f64).ln(), [mean(0), mean(1)])
}
