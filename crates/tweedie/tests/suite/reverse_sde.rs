//! log p of the reverse SDE by weighted paths: the closed form of linear models, the oracle's density, the ODE's.

use crate::oracle::{COSINE, VP, doubles, gaussian, host, three_components};
use std::sync::Arc;
use tweedie::burn::tensor::Device;
use tweedie::data::Condition;
use tweedie::density::{Density, Kind, LogProb, Measure, PfOde, ReverseSde};
use tweedie::process::{Level, Schedule};
use tweedie::solve::Variance;
use tweedie::solve::grid::{AnyGrid, Grid, LogSnr};
use tweedie::tensor::mean_and_error;
use tweedie::{Draws, Error};

/// A linear denoiser E[x₀ | x_t] = gain x_t, of data N(0, c), makes a Gaussian of every level: its variance at the
/// grid's last level.
fn variance_of_the_chain(levels: &[Level], c: f64, variance: Variance) -> f64 {
    let mut v = levels[0].alpha.powi(2) + levels[0].sigma.powi(2);
    for pair in levels.windows(2) {
        let (t, s) = (pair[0], pair[1]);
        let posterior = t.posterior(&s);
        let gain = t.alpha * c / (t.alpha.powi(2) * c + t.sigma.powi(2));
        v = (posterior.from_x + posterior.from_data * gain).powi(2) * v + variance.of(&t, &s);
    }
    v
}

fn log_normal(x: f64, v: f64) -> f64 {
    -0.5 * (x * x / v + (std::f64::consts::TAU * v).ln())
}

/// The mean of exp(ln w − ln p) is 1: six standard errors, so a false alarm of 2e-9 for each of 24 means.
#[test]
fn weights_of_linear_models_average_to_the_density_of_their_chain() {
    let (c, steps) = (0.5, 60);
    let x = [-1.2, -0.4, 0.0, 0.3, 0.9, 1.5];
    for schedule in [VP, COSINE] {
        let levels = LogSnr.levels(&schedule, steps).unwrap();
        for variance in [Variance::Small, Variance::Large] {
            let density = ReverseSde::new(Arc::new(gaussian(0.0, c)), Arc::new(schedule.clone()))
                .with_grid(AnyGrid::LogSnr(LogSnr), steps)
                .with_variance(variance)
                .with_paths(2000);
            let found = density.log_prob(doubles(&x, 1), &Condition::None).unwrap();
            assert_eq!((found.kind, found.measure), (Kind::LowerBound, Measure::Standardised));
            let v = variance_of_the_chain(&levels, c, variance);
            let errors = found.standard_error.unwrap();
            for ((x, log_p), error) in x.iter().zip(found.value).zip(errors) {
                let off = (log_p - log_normal(*x, v)).exp() - 1.0;
                let place = format!("{schedule:?}, {variance:?}, {x}: {off} ± {error}");
                assert!(off.abs() < 6.0 * error && error < 0.12, "{place}");
            }
        }
    }
}

/// More paths, a higher bound, never above ln p: the first path of each row is in all, so differences are paired. Six
/// standard errors.
#[test]
fn the_bound_rises_with_paths_to_the_density() {
    let (c, steps, n) = (0.5, 6, 30_000);
    let x: Vec<f64> = (0..n).map(|i| Draws::new(4).normal_f64(i, 0) * 0.7).collect();
    let levels = LogSnr.levels(&VP, steps).unwrap();
    let v = variance_of_the_chain(&levels, c, Variance::Large);
    let of = |paths| {
        let density = ReverseSde::new(Arc::new(gaussian(0.0, c)), Arc::new(VP));
        let density = density.with_grid(AnyGrid::LogSnr(LogSnr), steps).with_paths(paths);
        density.log_prob(doubles(&x, 1), &Condition::None).unwrap()
    };
    let truth = LogProb { value: x.iter().map(|x| log_normal(*x, v)).collect(), ..of(1) };
    let bounds = [of(1), of(4), of(32)];
    for pair in bounds.windows(2) {
        let (rise, error) = pair[1].mean_difference(&pair[0]).unwrap();
        assert!(rise > 6.0 * error, "{rise} ± {error}, {:?}", bounds.each_ref().map(|b| b.mean()));
    }
    let gaps: Vec<(f64, f64)> =
        bounds.iter().map(|bound| truth.mean_difference(bound).unwrap()).collect();
    // The last is the bias of the logarithm, about var(w)/2K.
    assert!(gaps[0].0 > 6.0 * gaps[0].1, "{gaps:?}");
    assert!(gaps[2].0.abs() < 0.05 * gaps[0].0 + 6.0 * gaps[2].1, "{gaps:?}");
}

/// With the exact score and a matched prior, bound, SDE and ODE agree: the gap of the bound falls as the first power of
/// the step. Six standard errors.
#[test]
fn with_the_exact_score_the_bound_tends_to_the_ode_s_density() {
    let data = Arc::new(three_components());
    let x = data.sample(20_000, &Draws::new(8), &Device::flex());
    let exact = PfOde::new(data.clone(), Arc::new(COSINE));
    let exact = exact.log_prob(x.clone(), &Condition::None).unwrap();
    let oracle = data.log_density(x.clone(), &COSINE.level(COSINE.range().0).into()).unwrap();
    let (off, _) = mean_and_error(
        &exact.value.iter().zip(host(&oracle)).map(|(a, b)| a - b).collect::<Vec<_>>(),
    );
    assert!(off.abs() < 1e-3, "{off}");
    let gap = |steps| {
        let density = ReverseSde::new(data.clone(), Arc::new(COSINE));
        let density = density.with_grid(AnyGrid::LogSnr(LogSnr), steps);
        let bound = density.log_prob(x.clone(), &Condition::None).unwrap();
        exact.mean_difference(&bound).unwrap()
    };
    let steps = [64, 256];
    let [coarse, fine] = steps.map(gap);
    let [a, b] = [coarse, fine].map(|(gap, error)| (gap, 6.0 * error));
    assert!(a.0 > a.1 && b.0 > b.1, "{a:?} {b:?}");
    // Four times the steps, a quarter of the gap.
    assert!((a.0 - 4.0 * b.0).abs() < a.1.hypot(4.0 * b.1) && a.0 > 2.0 * b.0, "{a:?} {b:?}");
}

#[test]
fn a_row_s_density_is_its_own_and_wrong_options_are_refused() {
    let density = ReverseSde::new(Arc::new(gaussian(0.0, 0.5)), Arc::new(VP)).with_paths(3);
    let density = density.with_grid(AnyGrid::LogSnr(LogSnr), 20);
    let all = density.log_prob(doubles(&[0.3, -0.8, 1.1], 1), &Condition::None).unwrap();
    let alone = density.log_prob(doubles(&[-0.8], 1), &Condition::None).unwrap();
    assert_eq!(alone.value[0].to_bits(), all.value[1].to_bits());
    let refused = |density: ReverseSde, width: usize| {
        density.log_prob(doubles(&[0.5, 0.5], width), &Condition::None).unwrap_err()
    };
    assert!(matches!(refused(density.clone(), 2), Error::Shape { .. }));
    assert!(matches!(refused(density.clone().with_paths(0), 1), Error::Config { .. }));
    assert!(matches!(
        refused(density.with_grid(AnyGrid::LogSnr(LogSnr), 0), 1),
        Error::Config { .. }
    ));
}
