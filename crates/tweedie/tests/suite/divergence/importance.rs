//! Importance sampling: variances in order, effective sizes, and the tail's shape.

use super::*;
use serde_json::Value;
use tweedie::Error;
use tweedie::divergence::{Densities, Weights, integral, pareto_k, psis_k};

/// ln of the standard normal density.
fn log_phi(x: f64) -> f64 {
    -0.5 * (x * x + std::f64::consts::TAU.ln())
}

/// A distribution on the line: draws, and ln q.
type Proposal = (&'static str, fn(u64) -> f64, fn(f64) -> f64);

fn normal(row: u64, index: u64) -> f64 {
    Draws::new(7).normal_f64(row, index)
}

const WIDE: Proposal =
    ("N(0, 4)", |row| 2.0 * normal(row, 0), |x| log_phi(0.5 * x) - std::f64::consts::LN_2);
const TARGET: Proposal = ("N(0, 1)", |row| normal(row, 0), log_phi);
/// q ∝ x² φ: a sign times the length of three normal numbers.
const SQUARE: Proposal = (
    "x² φ",
    |row| normal(row, 0).signum() * normal(row, 1).hypot(normal(row, 2)).hypot(normal(row, 3)),
    |x| 2.0 * x.abs().ln() + log_phi(x),
);
/// q ∝ |x| φ: a sign times the length of two normal numbers.
const ABSOLUTE: Proposal = (
    "|x| φ",
    |row| normal(row, 0).signum() * normal(row, 1).hypot(normal(row, 2)),
    |x| x.abs().ln() + log_phi(x) - (2.0 / std::f64::consts::PI).sqrt().ln(),
);

/// The variance of w h at a draw, from `n` draws of a proposal; the mean is held against E[h].
fn variance((name, draw, log_q): Proposal, h: fn(f64) -> f64, mean: f64, n: u64) -> f64 {
    let x: Vec<f64> = (0..n).map(draw).collect();
    let weights = Weights::new(x.iter().map(|x| log_phi(*x) - log_q(*x)).collect()).unwrap();
    let h: Vec<f64> = x.iter().map(|x| h(*x)).collect();
    let found = weights.mean(&h).unwrap();
    let error = (found.value - mean).abs();
    assert!(error <= BAR * found.standard_error + 1e-9, "{name}: {found:?}, expected {mean}");
    let own = weights.self_normalised(&h).unwrap();
    assert!((own.value - mean).abs() <= BAR * own.standard_error + 1e-9, "{name}: {own:?}");
    found.standard_error.powi(2) * n as f64
}

/// For h = x² ≥ 0 the best proposal has no variance; for h = x, of both signs, the best has (E|h|)² − E[h]² = 2/π.
/// Variances are within 5 %, several errors of their own.
#[test]
fn variances_are_those_of_the_formula_and_in_order() {
    let n = 200_000;
    let square = |x: f64| x * x;
    let found = [SQUARE, WIDE, TARGET].map(|proposal| variance(proposal, square, 1.0, n));
    // φ²/q of q = N(0, 4) is 4/√7 times the density of N(0, 4/7).
    let wide = 4.0 / 7f64.sqrt() * 3.0 * (4.0f64 / 7.0).powi(2) - 1.0;
    assert!(found[0] < 1e-20, "{found:?}");
    close("N(0, 4)", found[1], wide, 0.05);
    close("N(0, 1)", found[2], 2.0, 0.05);
    assert!(found[0] < found[1] && found[1] < found[2], "{found:?}");
    let signed = |x: f64| x;
    let found = [ABSOLUTE, WIDE, TARGET].map(|proposal| variance(proposal, signed, 0.0, n));
    let wide = 4.0 / 7f64.sqrt() * (4.0 / 7.0);
    close("|x| φ", found[0], 2.0 / std::f64::consts::PI, 0.05);
    close("N(0, 4)", found[1], wide, 0.05);
    close("N(0, 1)", found[2], 1.0, 0.05);
    assert!(found[0] < found[1] && found[1] < found[2], "{found:?}");
    // The formula itself, by quadrature.
    let (p, q) = (Gaussian::unit(&[0.0]), Gaussian::new(&[0.0], &[4.0]));
    let both = Densities::new(&p.density, &q.density, &cpu());
    let formula = integral(&both, &[[-12.0, 12.0]], |x, p, q| x[0] * x[0] * (2.0 * p - q).exp());
    within("eq. 2.33", formula.unwrap(), wide, 1e-8);
}

#[test]
fn the_self_normalised_estimate_reports_its_bias() {
    // P = N(1, 1) from 60 draws of N(0, 1), 40,000 times; first order holds to a quarter.
    let n = 60;
    let (mut error, mut bias) = (Vec::new(), 0.0);
    for seed in 0..40_000u64 {
        let x = normals(n, 0.0, seed);
        let weights = Weights::new(x.iter().map(|x| 0.5 * x - 0.125).collect()).unwrap();
        let found = weights.self_normalised(&x).unwrap();
        error.push(found.value - 0.5);
        bias += found.bias / 40_000.0;
    }
    let (mean, variance) = moments(&error);
    let spread = (variance / 40_000.0).sqrt();
    assert!(mean < -6.0 * spread, "there is a bias: {mean} ± {spread}");
    assert!((mean - bias).abs() < 0.25 * mean.abs() + BAR * spread, "{mean} ± {spread}, {bias}");
}

#[test]
fn effective_sizes_and_variances_are_those_of_the_weights() {
    let n = 100_000;
    let weights =
        Weights::new(normals(n, 0.0, 3).iter().map(|x| 0.5 * x - 0.125).collect()).unwrap();
    // E[w²] = e^{m²}, m = ½.
    close("effective size", weights.ess() / n as f64, (-0.25f64).exp(), 0.02);
    close("variance", weights.variance(), 0.25f64.exp_m1(), 0.05);
    let equal = Weights::new(vec![3.0; 50]).unwrap();
    close("equal weights", equal.ess(), 50.0, 1e-12);
    assert_eq!((equal.variance(), equal.pareto_k(), equal.warning()), (0.0, None, None));
    let mut one = vec![f64::NEG_INFINITY; 50];
    one[7] = -3000.0;
    close("one weight", Weights::new(one).unwrap().ess(), 1.0, 1e-12);
    // Weights of e^{±2000} overflow nowhere but in the plain mean itself.
    for shift in [2000.0, -2000.0] {
        let log: Vec<f64> = normals(n, 0.0, 3).iter().map(|x| 0.5 * x - 0.125 + shift).collect();
        let shifted = Weights::new(log).unwrap();
        close("shifted effective size", shifted.ess(), weights.ess(), 1e-9);
        let log_z = shifted.log_mean();
        assert!((log_z.value - shift).abs() < BAR * log_z.standard_error, "{log_z:?}");
    }
}

/// `bench/divergence_peer.py` wrote the weights and ArviZ's numbers.
#[test]
fn shapes_of_tails_are_those_of_arviz() {
    let text = include_str!("../../fixtures/divergence.json");
    let fixture: Value = serde_json::from_str(text).expect("the fixture is JSON");
    let mut count = 0;
    for (kind, key) in [("weights", "log_weights"), ("exceedances", "exceedances")] {
        for case in fixture[kind].as_array().expect("cases") {
            let values: Vec<f64> = serde_json::from_value(case[key].clone()).expect("numbers");
            let found = match kind {
                "weights" => psis_k(&values).expect("a tail"),
                _ => pareto_k(&values).expect("a tail"),
            };
            within(&case["name"], found, case["k"].as_f64().expect("a number"), 1e-9);
            count += 1;
        }
    }
    assert_eq!(count, 9);
}

/// Weights with a tail of a known shape: u^{−k} is Pareto. The error of k̂ from M of n weights is about (1 + k)/√M,
/// here M = 3 √n = 949: the bar is 6 of them.
#[test]
fn a_known_pareto_tail_is_found_and_above_seven_tenths_warned_of() {
    let n = 100_000;
    for k in [0.2, 0.5, 0.95, 1.4] {
        let draws = Draws::new(9);
        let log = (0..n).map(|row| -k * (1.0 - draws.uniform_f64(row, 0)).ln()).collect();
        let weights = Weights::new(log).unwrap();
        let found = weights.pareto_k().expect("a tail");
        within(format!("k = {k}"), found, k, 6.0 * (1.0 + k) / 949f64.sqrt());
        let warning = weights.warning();
        assert_eq!(warning.is_some(), k > 0.7, "{warning:?}");
        if let Some(warning) = warning {
            assert!(warning.contains(&format!("{found:.2}")), "{warning}");
        }
    }
    // N(0, 1) from draws of N(0, s²) has weights of shape 1 − s²: infinite variance below ½.
    for (variance, warned) in [(0.05f64, true), (0.8, false)] {
        let x = normals(10_000, 0.0, 4).into_iter().map(|x| variance.sqrt() * x);
        let log = x.map(|x| 0.5 * x * x * (1.0 / variance - 1.0)).collect();
        assert_eq!(Weights::new(log).unwrap().warning().is_some(), warned, "{variance}");
    }
    assert!(Weights::new(vec![0.0; 24]).unwrap().warning().unwrap().contains("24"));
}

#[test]
fn weights_that_are_none_are_refused() {
    assert!(matches!(Weights::new(vec![0.0]), Err(Error::Shape { .. })));
    for wrong in [f64::NAN, f64::INFINITY] {
        let error = Weights::new(vec![0.0, wrong]).unwrap_err();
        assert!(error.to_string().contains("weight 1"), "{error}");
    }
    assert!(matches!(Weights::new(vec![f64::NEG_INFINITY; 3]), Err(Error::Undefined { .. })));
    let weights = Weights::new(vec![0.0, 0.0]).unwrap();
    assert!(matches!(weights.mean(&[1.0]), Err(Error::Shape { .. })));
    assert!(matches!(weights.self_normalised(&[1.0; 3]), Err(Error::Shape { .. })));
    assert!(matches!(pareto_k(&[1.0, 2.0, 3.0, 4.0]), Err(Error::Shape { .. })));
    assert!(matches!(pareto_k(&[1.0, 2.0, 3.0, 4.0, -1.0]), Err(Error::Config { .. })));
    assert_eq!(psis_k(&[]), None);
}
