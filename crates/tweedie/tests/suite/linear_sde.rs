//! Linear SDEs from their coefficients and from their marginals; offsets; simulated paths against marginals.

use crate::process::{beta, integral, papers, times};
use crate::support::*;
use tweedie::process::{AnySchedule, LinearSde, Schedule};
use tweedie::{Draws, Error};

#[test]
fn marginals_give_back_drift_and_diffusion() {
    for (paper, schedule) in papers() {
        let sde = LinearSde::from_marginals(paper.ln_alpha, paper.ln_sigma, schedule.range());
        for t in times(&schedule) {
            let at = |what| format!("{what} of {} at {t}", paper.name);
            let (f, g2) = (schedule.drift(t), schedule.diffusion_squared(t));
            within(at("f"), sde.drift(t), f, 1e-8 * f.abs().max(1e-3));
            close(at("g²"), sde.diffusion_squared(t), g2, 1e-8);
            close(at("α"), sde.level(t).alpha, schedule.level(t).alpha, 1e-12);
            close(at("σ"), sde.level(t).sigma, schedule.level(t).sigma, 1e-12);
            assert_eq!(sde.offset(t), 0.0);
        }
        if matches!(paper.name, "vp-linear" | "ou" | "cosine") {
            let (ln_alpha, ln_sigma) = (paper.ln_alpha, paper.ln_sigma);
            let log_snr = move |t| 2.0 * (ln_alpha(t) - ln_sigma(t));
            let sde = LinearSde::from_log_snr(log_snr, schedule.range());
            for t in times(&schedule) {
                let at = |what| format!("{what} of {} by log-SNR at {t}", paper.name);
                close(at("α"), sde.level(t).alpha, schedule.level(t).alpha, 1e-11);
                close(at("σ"), sde.level(t).sigma, schedule.level(t).sigma, 1e-11);
                close(at("f"), sde.drift(t), schedule.drift(t), 1e-8);
                close(at("g²"), sde.diffusion_squared(t), schedule.diffusion_squared(t), 1e-8);
            }
        }
    }
}

/// The level of the process that starts clean at t = 0 with the schedule's f and g.
fn from_zero(schedule: &AnySchedule, t: f64) -> (f64, f64) {
    let (start, level) = (schedule.level(0.0), schedule.level(t));
    if start.sigma == 0.0 {
        (level.alpha, level.sigma)
    } else {
        let kernel = level.given(&start);
        (kernel.alpha, kernel.variance.sqrt())
    }
}

#[test]
fn drift_and_diffusion_give_back_marginals() {
    for (paper, schedule) in papers() {
        let range = (schedule.range().0.max(1e-5), schedule.range().1);
        let (f, g_squared) = (paper.f, paper.g_squared);
        let sde = LinearSde::new(f, |_| 0.0, move |t| g_squared(t).sqrt(), range).unwrap();
        // And the long way: marginals to rates by differences, rates to marginals by quadrature.
        let marginals = LinearSde::from_marginals(paper.ln_alpha, paper.ln_sigma, range);
        let copy = marginals.clone();
        let first = 1e-4 * range.0; // ln σ has no derivative at 0
        let g = move |t: f64| copy.diffusion_squared(t.max(first)).sqrt();
        let f = move |t: f64| marginals.drift(t.max(first));
        let around = LinearSde::new(f, |_| 0.0, g, range).unwrap();
        for t in times(&schedule).into_iter().filter(|t| *t >= range.0) {
            let (alpha, sigma) = from_zero(&schedule, t);
            for (way, sde) in [("", &sde), (" and back", &around)] {
                let at = |what| format!("{what} of {}{way} at {t}", paper.name);
                let level = sde.level(t);
                close(at("α"), level.alpha, alpha, 1e-8);
                close(at("σ"), level.sigma, sigma, 1e-8);
                within(at("λ"), level.lambda, 2.0 * (alpha / sigma).ln(), 3e-8);
                close(at("g²"), sde.diffusion_squared(t), (paper.g_squared)(t), 1e-7);
            }
        }
    }
}

#[test]
fn offsets_are_closed_forms() {
    // dx = ½ β (c − x) dt + √β dW: m = c (1 − α).
    let (f, h) = (|t| -0.5 * beta(t), |t| 1.5 * beta(t));
    let sde = LinearSde::new(f, h, |t| beta(t).sqrt(), (1e-5, 1.0)).unwrap();
    // dx = cos t dt: m = sin t.
    let wave = LinearSde::new(|_| 0.0, f64::cos, |_| 1.0, (1e-5, 6.0)).unwrap();
    for t in [1e-5, 0.01, 0.3, 0.7, 1.0] {
        close("c (1 − α)", sde.offset(t), -3.0 * (-0.5 * integral(t)).exp_m1(), 1e-12);
        close("sin t", wave.offset(6.0 * t), (6.0 * t).sin(), 1e-12);
    }
    let backwards = LinearSde::new(|_| 0.0, |_| 0.0, |_| 1.0, (1.0, 0.5));
    assert!(matches!(backwards, Err(Error::Config { .. })));
    let explosive = LinearSde::new(|t| 1.0 / (0.5 - t), |_| 0.0, |_| f64::NAN, (0.1, 1.0));
    assert!(matches!(explosive, Err(Error::Config { .. })));
}

/// Simulates dx = (f x + h) dt + g dW by Euler–Maruyama, coefficients at each step's middle, and compares mean and
/// variance with the marginal at a third, two thirds and the end of the way.
fn simulate(name: &str, schedule: &dyn Schedule, h: f64, offset: &dyn Fn(f64) -> f64, x0: f64) {
    const PATHS: usize = 100_000;
    const STEPS: usize = 300;
    let (first, last) = schedule.range();
    let (high, low) = (schedule.level(first).lambda, schedule.level(last).lambda);
    let time = |k: usize| schedule.time(high + k as f64 / STEPS as f64 * (low - high));
    let draws = Draws::new(41).purpose(name);
    let normals = |k: usize| draws.at(k as u64).normals(0..1, PATHS);
    let start = schedule.level(first);
    let mean = start.alpha * x0 + offset(first);
    let mut x: Vec<f64> =
        normals(0).values().iter().map(|z| mean + start.sigma * f64::from(*z)).collect();
    for k in 1..=STEPS {
        let (from, to) = (time(k - 1), time(k));
        let (middle, dt) = (0.5 * (from + to), to - from);
        let (drift, spread) =
            (schedule.drift(middle), (schedule.diffusion_squared(middle) * dt).sqrt());
        for (x, z) in x.iter_mut().zip(normals(k).values()) {
            *x += (drift * *x + h) * dt + spread * f64::from(*z);
        }
        if k % (STEPS / 3) == 0 {
            let level = schedule.level(to);
            let (mean, variance) = moments(&x);
            let expected = level.alpha * x0 + offset(to);
            let at = |what| format!("{what} of {name} at {to}");
            // Six standard errors (a false alarm in 5e8), and 0.2% for the step's own error.
            let n = PATHS as f64;
            let allowed = SIX_SIGMA * level.sigma / n.sqrt() + 2e-3 * expected.abs();
            within(at("mean"), mean, expected, allowed);
            let allowed = SIX_SIGMA * (2.0 / n).sqrt() + 2e-3;
            close(at("variance"), variance, level.sigma.powi(2), allowed);
        }
    }
}

#[test]
fn simulated_paths_have_the_marginals() {
    for (name, schedule) in schedules() {
        simulate(name, &schedule, 0.0, &|_| 0.0, 1.7);
    }
    let around_3 = LinearSde::new(|_| -1.0, |_| 3.0, |_| 2f64.sqrt(), (1e-3, 4.0)).unwrap();
    simulate("offset", &around_3, 3.0, &|t| around_3.offset(t), -1.0);
}
