//! Exponential integrators: the core of DPM-Solver, DEIS and UniPC.
//!
//! In ℓ = λ/2 = ln(α/σ), half of our log-SNR, the reverse process from level t to level s, h = ℓ_s − ℓ_t, is solved by
//! variation of constants in the noise ε̂ or in the data x̂₀ (Lu et al. 2022a, eq. 3.4; 2022b, eq. 8, also in its SDE
//! form, here with the noise scaled by η as in k-diffusion):
//!
//! > x_s = (α_s/α_t) x_t − σ_s ∫₀ʰ e^{h−u} ε̂(ℓ_t + u) du,
//! >
//! > x_s = (σ_s/σ_t) e^{−ηh} x_t + (1 + η) α_s ∫₀ʰ e^{−(1+η)(h−u)} x̂₀(ℓ_t + u) du + σ_s √(1 − e^{−2ηh}) z.
//!
//! The integral of e^{κ(h−u)} times an unknown function remains. Each method replaces the function by a polynomial
//! through some of its values.

use super::{Context, noise_of};
use crate::Result;
use crate::process::{Level, Levels};
use crate::tensor::column;
use burn::tensor::Tensor;

/// A level and the value of the integrand at it, `[n, width]`.
pub(super) type Node = (Levels, Tensor<2>);

/// The function under the integral.
#[derive(Debug, Clone, Copy)]
pub(super) enum Integrand {
    /// ε̂, by polynomials in ℓ.
    Noise,
    /// ε̂, by polynomials in ρ = σ/α = e^{−ℓ}: x_s = (α_s/α_t) x_t + α_s ∫ ε̂ dρ.
    NoiseByRatio,
    /// x̂₀; η = 0 is the probability-flow ODE, η = 1 the reverse SDE.
    Data { eta: f64 },
}

/// The replacement of ∫₀ʰ e^{κ(h−u)} u du for linear polynomials. All three agree to second order in h.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Slope {
    /// The integral itself.
    Exact,
    /// ½ h ∫₀ʰ e^{κ(h−u)} du: the choice of DPM-Solver, and of UniPC with B₂(h).
    Half,
    /// ½ h²: the choice of UniPC with B₁(h).
    Plain,
}

/// The factors of x, x̂₀ and the nodes' values in the step of one row.
struct Factors {
    x: f64,
    /// The factor of x̂₀, nonzero only where a step in ε̂ leaves pure noise.
    data: f64,
    nodes: Vec<f64>,
}

/// ℓ_b − ℓ_a, half the difference of the log-SNRs.
fn half_step(a: &Level, b: &Level) -> f64 {
    if a.lambda == b.lambda { 0.0 } else { 0.5 * (b.lambda - a.lambda) }
}

impl Integrand {
    /// Evaluates the denoiser: x̂₀ and the value of the integrand at `levels`, both `[n, width]`.
    pub(super) fn evaluate(
        self,
        x: &Tensor<2>,
        levels: &Levels,
        context: &Context,
    ) -> Result<(Tensor<2>, Tensor<2>)> {
        let data = context.denoise(x.clone(), levels)?;
        let value = match self {
            Self::Noise | Self::NoiseByRatio => noise_of(x, &data, levels)?,
            Self::Data { .. } => data.clone(),
        };
        Ok((data, value))
    }

    /// The mean at `to`, `[n, width]`, given `x` and `data` = x̂₀ at `from`, by the polynomial through `nodes`. The
    /// first node is at `from`, the others follow by distance.
    ///
    /// Nodes at an infinite distance, or at the same place as an earlier node, are left out, row by row. A step of
    /// infinite length, from pure noise or to clean data, has a constant polynomial: it is the step of DDIM.
    pub(super) fn step(
        self,
        x: &Tensor<2>,
        data: &Tensor<2>,
        from: &Levels,
        to: &Levels,
        nodes: &[&Node],
        slope: Slope,
    ) -> Result<Tensor<2>> {
        let places: Vec<&Levels> = nodes.iter().map(|node| &node.0).collect();
        let factors =
            each_row(x, from, to, &places, |t, s, nodes| self.factors(t, s, nodes, slope))?;
        let mut next = x.clone() * column(x, factors.iter().map(|f| f.x));
        for (j, (_, value)) in nodes.iter().enumerate() {
            next = next + value.clone() * column(x, factors.iter().map(|f| f.nodes[j]));
        }
        if factors.iter().any(|f| f.data != 0.0) {
            next = next + data.clone() * column(x, factors.iter().map(|f| f.data));
        }
        Ok(next)
    }

    /// Corrects `x`, the end at `to` of the step from `from` by `nodes`, with `value`, the integrand at `to`: replaces
    /// the polynomial through the nodes by the polynomial through the nodes and `value`.
    pub(super) fn correct(
        self,
        x: &Tensor<2>,
        value: &Tensor<2>,
        from: &Levels,
        to: &Levels,
        nodes: &[&Node],
        slope: Slope,
    ) -> Result<Tensor<2>> {
        let places: Vec<&Levels> = nodes.iter().map(|node| &node.0).collect();
        let changes = each_row(x, from, to, &places, |t, s, nodes| {
            let before = self.factors(t, s, nodes, slope).nodes;
            if !half_step(t, s).is_finite() {
                return vec![0.0; before.len() + 1];
            }
            let more: Vec<Level> =
                nodes[..1].iter().chain([s]).chain(&nodes[1..]).copied().collect();
            let mut after = self.factors(t, s, &more, slope).nodes;
            let new = after.remove(1);
            after.iter_mut().zip(before).for_each(|(a, b)| *a -= b);
            after.push(new);
            after
        })?;
        let values = nodes.iter().map(|node| &node.1).chain([value]);
        Ok(values.enumerate().fold(x.clone(), |x, (j, value)| {
            let change = column(&x, changes.iter().map(|c| c[j]));
            x + value.clone() * change
        }))
    }

    /// The standard deviation of a step's noise, `[1, 1]` or `[n, 1]`; `None` for steps without noise.
    pub(super) fn spread(
        self,
        x: &Tensor<2>,
        from: &Levels,
        to: &Levels,
    ) -> Result<Option<Tensor<2>>> {
        match self {
            Self::Data { eta } if eta > 0.0 => Levels::pair(from, to, x, |t, s| {
                s.sigma * (-(-2.0 * eta * half_step(t, s)).exp_m1()).max(0.0).sqrt()
            })
            .map(Some),
            _ => Ok(None),
        }
    }

    /// The derivative of the step's end at `to` with respect to x at `from`, with the integrand held fixed: `[1, 1]` or
    /// `[n, 1]`.
    pub(super) fn kept(self, x: &Tensor<2>, from: &Levels, to: &Levels) -> Result<Tensor<2>> {
        Levels::pair(from, to, x, |t, s| self.factors(t, s, &[*t], Slope::Exact).x)
    }

    fn factors(self, t: &Level, s: &Level, nodes: &[Level], slope: Slope) -> Factors {
        let h = half_step(t, s);
        let places: Vec<f64> = nodes.iter().map(|node| half_step(t, node)).collect();
        let constant = |factor: f64| {
            let mut all = vec![0.0; nodes.len()];
            all.iter_mut().take(1).for_each(|first| *first = factor);
            all
        };
        let times = |factor: f64, weights: Vec<f64>| weights.iter().map(|w| factor * w).collect();
        let (x, data, nodes) = match self {
            // Here ε̂ is x/σ, and x/α does not exist.
            Self::Noise | Self::NoiseByRatio if t.alpha == 0.0 => {
                (s.sigma / t.sigma, s.alpha, constant(0.0))
            }
            Self::NoiseByRatio => {
                let from_t = |level: &Level| level.sigma / level.alpha - t.sigma / t.alpha;
                let places: Vec<f64> = nodes.iter().map(from_t).collect();
                (s.alpha / t.alpha, 0.0, times(s.alpha, weights(0.0, from_t(s), &places, slope)))
            }
            Self::Noise if !h.is_finite() => {
                let ratio = s.alpha / t.alpha;
                (ratio, 0.0, constant(-ratio * t.sigma))
            }
            Self::Noise => {
                (s.alpha / t.alpha, 0.0, times(-s.sigma, weights(1.0, h, &places, slope)))
            }
            Self::Data { eta } => {
                let kept = if eta > 0.0 { (-eta * h).exp() } else { 1.0 };
                let nodes = if h.is_finite() {
                    let all = weights(-1.0 - eta, h, &places, slope);
                    times((1.0 + eta) * s.alpha, all)
                } else {
                    constant(s.alpha)
                };
                (kept * s.sigma / t.sigma, 0.0, nodes)
            }
        };
        Factors { x, data, nodes }
    }
}

/// Maps `f` over the levels of each row; computes one row only if all rows have the same levels.
fn each_row<T>(
    x: &Tensor<2>,
    from: &Levels,
    to: &Levels,
    nodes: &[&Levels],
    f: impl Fn(&Level, &Level, &[Level]) -> T,
) -> Result<Vec<T>> {
    let rows = x.dims()[0];
    let all = || [from, to].into_iter().chain(nodes.iter().copied());
    let alike = all().all(|levels| matches!(levels, Levels::All(_)));
    if !alike {
        all().try_for_each(|levels| levels.check(rows))?;
    }
    let one = |i: usize| {
        let places = nodes.iter().map(|levels| levels.host(i)).collect::<Result<Vec<Level>>>()?;
        Ok(f(&from.host(i)?, &to.host(i)?, &places))
    };
    (0..if alike { 1 } else { rows }).map(one).collect()
}

/// The levels at the fraction `r` of the way from `from` to `to` in the log-SNR. Rows whose way is infinitely long keep
/// `from`; `None` if all rows do.
pub(super) fn between(
    x: &Tensor<2>,
    from: &Levels,
    to: &Levels,
    r: f64,
    context: &Context,
) -> Result<Option<Levels>> {
    let inner = each_row(x, from, to, &[], |t, s, _| {
        let span = s.lambda - t.lambda;
        let inner = || context.schedule.level(context.schedule.time(t.lambda + r * span));
        (span.is_finite() && span != 0.0).then(inner).unwrap_or(*t)
    })?;
    let starts = each_row(x, from, to, &[], |t, _, _| *t)?;
    if inner == starts {
        return Ok(None);
    }
    Ok(Some(match inner.as_slice() {
        [one] => Levels::All(*one),
        _ => Levels::Rows(inner),
    }))
}

/// The weights w_j with Σ w_j p(u_j) = ∫₀ʰ e^{κ(h−u)} p(u) du for every polynomial p of a degree below the number of
/// places u_j. `places` has at most four entries, the first of them 0. For two places `slope` replaces the integral of
/// u.
fn weights(kappa: f64, h: f64, places: &[f64], slope: Slope) -> Vec<f64> {
    let mut kept: Vec<(usize, f64)> = Vec::with_capacity(places.len());
    for (j, &u) in places.iter().enumerate() {
        if !u.is_finite() {
            break;
        }
        if kept.iter().all(|(_, v)| *v != u) {
            kept.push((j, u));
        }
    }
    // ∫₀ʰ e^{κ(h−u)} uᵏ du = k! h^{k+1} φ_{k+1}(κh).
    let phi = phi(kappa * h);
    let mut moments = [0.0; 4];
    let mut factor = h;
    for (k, moment) in moments.iter_mut().enumerate() {
        *moment = factor * phi[k];
        factor *= h * (k + 1) as f64;
    }
    if kept.len() == 2 {
        match slope {
            Slope::Exact => {}
            Slope::Half => moments[1] = 0.5 * h * moments[0],
            Slope::Plain => moments[1] = 0.5 * h * h,
        }
    }
    let mut all = vec![0.0; places.len()];
    for &(j, u) in &kept {
        // The coefficients of the Lagrange polynomial in u.
        let mut lagrange = vec![1.0];
        for &(_, v) in kept.iter().filter(|(i, _)| *i != j) {
            lagrange.push(0.0);
            for k in (0..lagrange.len()).rev() {
                let lower = if k > 0 { lagrange[k - 1] } else { 0.0 };
                lagrange[k] = (lower - v * lagrange[k]) / (u - v);
            }
        }
        all[j] = lagrange.iter().zip(moments).map(|(c, m)| c * m).sum();
    }
    all
}

/// φ₁ to φ₄ at `z`, φ_k(z) = ∫₀¹ e^{(1−v)z} v^{k−1}/(k−1)! dv (Hochbruck & Ostermann 2010): by their series near 0,
/// else by the recurrence φ_{k+1} = (φ_k − 1/k!)/z from φ₁ = expm1(z)/z.
fn phi(z: f64) -> [f64; 4] {
    let mut all = [0.0; 4];
    if z.abs() < 1.0 {
        let mut first = 1.0;
        for (k, phi) in all.iter_mut().enumerate() {
            first /= (k + 1) as f64;
            let mut term = first;
            for n in 1..22 {
                *phi += term;
                term *= z / (k + 1 + n) as f64;
            }
        }
    } else {
        all[0] = z.exp_m1() / z;
        all[1] = (all[0] - 1.0) / z;
        all[2] = (all[1] - 0.5) / z;
        all[3] = (all[2] - 1.0 / 6.0) / z;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gauss–Legendre with 5 points on each of 400 intervals.
    fn integral(h: f64, f: impl Fn(f64) -> f64) -> f64 {
        let points = [
            (0.0, 128.0 / 225.0),
            (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
            (0.906_179_845_938_664, 0.236_926_885_056_189_08),
        ];
        let half = h / 800.0;
        let at = |i: usize| (2 * i + 1) as f64 * half;
        let one = |i: usize| {
            let both = |&(p, w): &(f64, f64)| match p {
                0.0 => w * f(at(i)),
                _ => w * (f(at(i) + p * half) + f(at(i) - p * half)),
            };
            half * points.iter().map(both).sum::<f64>()
        };
        (0..400).map(one).sum()
    }

    #[test]
    fn weights_integrate_every_polynomial_of_their_degree() {
        for kappa in [1.0, -1.0, -1.7, -2.0] {
            for h in [1e-9, 1e-4, 0.03, 0.3, 0.999, 1.001, 4.0, 12.0] {
                for places in [
                    vec![0.0],
                    vec![0.0, -0.7 * h],
                    vec![0.0, -1.5 * h, -2.2 * h],
                    vec![0.0, h, -0.4 * h],
                    vec![0.0, h, -1.3 * h, -1.9 * h],
                ] {
                    let weights = weights(kappa, h, &places, Slope::Exact);
                    for degree in 0..places.len() as i32 {
                        let found: f64 =
                            weights.iter().zip(&places).map(|(w, u)| w * u.powi(degree)).sum();
                        let right = integral(h, |u| (kappa * (h - u)).exp() * u.powi(degree));
                        let size: f64 = weights
                            .iter()
                            .zip(&places)
                            .map(|(w, u)| (w * u.powi(degree)).abs())
                            .sum();
                        let error = (found - right).abs();
                        assert!(
                            error < 1e-12 * size.max(right.abs()),
                            "{kappa} {h} {places:?} {degree}: {found:e} {right:e}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn useless_places_are_left_out() {
        let pair = weights(-1.0, 0.4, &[0.0, -0.3], Slope::Exact);
        let more = [0.0, 0.0, -0.3, -0.3, f64::NEG_INFINITY, -0.9];
        let found = weights(-1.0, 0.4, &more, Slope::Exact);
        assert_eq!(found, [pair[0], 0.0, pair[1], 0.0, 0.0, 0.0]);
        assert_eq!(weights(1.0, 0.0, &[0.0, -0.3], Slope::Half), [0.0, 0.0]);
    }
}
