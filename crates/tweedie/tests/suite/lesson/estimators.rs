//! Estimators of one mean: variances against integrals and draws, moments of steps against runs.

use crate::support::{moments, simpson, within};
use std::f64::consts::TAU;
use tweedie::Draws;
use tweedie::judge::lesson::{
    Bowl, Gradient, draw_by_size, estimators, exponential_variance, mean_size,
};

/// How many standard errors an estimate exceeds with probability 1e-6, both sides together.
const BAR: f64 = 4.9;

const KINDS: [Gradient; 3] = [Gradient::Score, Gradient::Pathwise, Gradient::TwoSided];

fn normal(x: f64) -> f64 {
    (-0.5 * x * x).exp() / TAU.sqrt()
}

#[test]
fn variances_of_weighted_draws_and_their_difference_are_integrals() {
    let h = |x: f64| (0.5 * x).exp();
    let z = simpson(-12.0, 12.0, 2000, |x| h(x) * normal(x));
    let plain = simpson(-12.0, 12.0, 2000, |x| h(x).powi(2) * normal(x)) - z * z;
    for m in [-0.25, 0.0, 0.3, 0.5, 1.25] {
        let q = |x: f64| normal(x - m);
        let weighted = simpson(-14.0, 14.0, 4000, |x| (h(x) * normal(x)).powi(2) / q(x)) - z * z;
        within(m, exponential_variance(0.5, m), weighted, 1e-10);
        let difference =
            simpson(-14.0, 14.0, 4000, |x| (1.0 - normal(x) / q(x)) * h(x).powi(2) * normal(x));
        within(m, difference, plain - weighted, 1e-10);
    }
    // Narrower than half of p's variance: the integral grows with its range.
    let over = |reach: f64| {
        let q = |x: f64| normal((x - 0.5) / 0.4f64.sqrt()) / 0.4f64.sqrt();
        simpson(-reach, reach, 4000, |x| (h(x) * normal(x)).powi(2) / q(x))
    };
    assert!(over(8.0) > 10.0 * over(4.0) && over(12.0) > 1e3 * over(8.0));
}

#[test]
fn draws_by_the_size_of_h_have_its_density_and_the_least_variance() {
    for c in [-0.7, 0.0, 0.5] {
        // With the kink at −c on a node.
        let integral =
            |low: f64, high: f64| simpson(low, high, 2000, |x| (x + c).abs() * normal(x));
        let size = integral(-12.0, -c) + integral(-c, 12.0);
        within("E|h|", mean_size(c), size, 1e-10);
        for u in [0.01, 0.2, 0.5, 0.9] {
            let x = draw_by_size(c, u);
            let below = integral(-12.0, x.min(-c)) + if x > -c { integral(-c, x) } else { 0.0 };
            within("u", below / size, u, 1e-9);
        }
        // Other q for x + c, of the same shape a little shifted, have more.
        let least = size * size - c * c;
        let of = |shift: f64| {
            let q = |x: f64| 0.9 * (x + c).abs() * normal(x) / size + 0.1 * normal(x - shift);
            let square = |x: f64| ((x + c) * normal(x)).powi(2) / q(x);
            simpson(-12.0, -c, 4000, square) + simpson(-c, 12.0, 4000, square) - c * c
        };
        assert!(of(0.0) > least + 1e-3 && of(0.5) > least + 1e-3, "{c}");
    }
}

/// Means and variances over draws of ε, in one evaluation each but for two of the two-sided one.
#[test]
fn gradients_are_unbiased_and_have_the_variances_of_theory() {
    let bowl = Bowl { curves: [1.0, 4.0], spread: 0.8 };
    let (draws, n) = (Draws::new(21), 200_000u64);
    for theta in [[0.0, 0.0], [1.5, -0.7]] {
        for by in KINDS {
            let all: Vec<[f64; 2]> = (0..n)
                .map(|i| bowl.gradient(by, theta, [0, 1].map(|j| draws.normal_f64(i, j))))
                .collect();
            let evaluations = if by == Gradient::TwoSided { 2 } else { 1 };
            let exact = bowl.variance(by, evaluations, theta.map(|x| x * x));
            for i in [0, 1] {
                let values: Vec<f64> = all.iter().map(|g| g[i]).collect();
                let (mean, variance) = moments(&values);
                let bar = BAR * (variance / n as f64).sqrt();
                within("mean", mean, bowl.curves[i] * theta[i], bar + 1e-12);
                let squares: Vec<f64> = values.iter().map(|v| (v - mean).powi(2)).collect();
                let (found, spread) = moments(&squares);
                let bar = BAR * (spread / n as f64).sqrt();
                within(format!("{by:?}"), found, exact[i], bar + 1e-12);
            }
        }
    }
}

/// By pathwise gradients the moments of a step have the floor η aᵢ s²/(n (2 − η aᵢ)).
#[test]
fn the_floor_of_pathwise_steps_is_known() {
    let bowl = Bowl { curves: [1.0, 4.0], spread: 0.8 };
    let (rate, n) = (0.1, 3);
    let mut squares = [9.0, 9.0];
    for _ in 0..2000 {
        squares = bowl.step(Gradient::Pathwise, n, rate, squares);
    }
    for i in [0, 1] {
        let a = bowl.curves[i];
        within("floor", squares[i], rate * a * 0.64 / (n as f64 * (2.0 - rate * a)), 1e-12);
    }
}

#[test]
fn the_page_of_estimators_measures_what_theory_says() {
    let lesson = estimators().unwrap();
    for (file, image) in &lesson.pictures {
        assert!(lesson.text.contains(&format!("(images/{file})")) && image.width() >= 1400);
    }
    let of = |path: String| {
        let value = lesson.figures.pointer(&path).and_then(serde_json::Value::as_f64);
        value.unwrap_or_else(|| panic!("{path}"))
    };
    for k in 0..8 {
        let at = |key: &str| of(format!("/spreads/{k}/{key}"));
        within(format!("variance {k}"), at("found"), at("exact"), BAR * at("error") + 1e-12);
    }
    for k in 0..6 {
        let at = |key: &str| of(format!("/distances/{k}/{key}"));
        for step in 0..4 {
            let at = |key: &str| at(&format!("{key}/{step}"));
            within(format!("{k}, {step}"), at("found"), at("exact"), BAR * at("error") + 1e-9);
        }
        // The distance of a mean of two coordinates is off by at most the error of both.
        within("mean", at("mean/0"), at("mean/1"), BAR * at("mean_error"));
    }
    let floor = |k: usize| of(format!("/distances/{k}/floor"));
    assert!(floor(0) > 4.0 * floor(1) && floor(1) > 0.01 && floor(2) < 1e-12);
    // Steps like 1/k: twice the steps, half of the distance, whatever the variance.
    for k in 3..6 {
        assert!(
            of(format!("/distances/{k}/exact/3")) < 0.5 * of(format!("/distances/{k}/exact/2"))
        );
    }
}
