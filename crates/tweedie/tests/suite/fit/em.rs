//! EM against scikit-learn, closed forms and its own theorems.

use super::{KINDS, groups, peer, peer_points};
use crate::support::{all_close, close, within};
use std::sync::Arc;
use tweedie::density::fit::{
    Covariance, Distribution, Em, EmConfig, Mixture, Points, Regularisation, choose,
};
use tweedie::{Draws, Error};

/// scikit-learn's options, which has no tolerance here.
fn options(covariance: Covariance, regularisation: f64) -> EmConfig {
    let regularisation = Regularisation::Absolute(regularisation);
    EmConfig { components: 3, covariance, regularisation, tolerance: 0.0, restarts: 1 }
}

/// Steps `em` beside scikit-learn's likelihoods and compares all that both end with.
fn steps_are_the_peer_s(mut em: Em, at: &str) {
    let likelihoods: Vec<f64> = peer(&format!("{at}/likelihoods"));
    assert!(likelihoods.len() >= 10);
    for (i, theirs) in likelihoods.iter().enumerate() {
        within(format!("{at}: log-likelihood of step {i}"), em.step().unwrap(), *theirs, 1e-8);
    }
    let (points, mixture) = (em.points(), em.mixture());
    let same = |what: &str, ours: &[f64], relative: f64| {
        let theirs: Vec<f64> = peer(&format!("{at}/{what}"));
        all_close(format!("{at}: {what}"), ours, &theirs, relative);
    };
    same("weights", mixture.weights(), 1e-8);
    same("means", mixture.means(), 1e-8);
    same("covariances", mixture.covariances(), 1e-8);
    let first = &points.values()[..30];
    same("log_densities", &mixture.log_densities(first), 1e-9);
    let shares: Vec<f64> = first.chunks(3).flat_map(|x| mixture.responsibilities(x)).collect();
    same("responsibilities", &shares, 1e-8);
    assert_eq!(mixture.parameters(), peer::<usize>(&format!("{at}/parameters")));
    close(format!("{at}: BIC"), mixture.bic(points), peer(&format!("{at}/bic")), 1e-9);
    close(format!("{at}: AIC"), mixture.aic(points), peer(&format!("{at}/aic")), 1e-9);
}

#[test]
fn every_step_from_a_given_mixture_is_scikit_learn_s() {
    for (kind, name) in KINDS {
        let start = |what: &str| peer::<Vec<f64>>(&format!("/em/{name}/start/{what}"));
        let (weights, means) = (start("weights"), start("means"));
        let mixture = Mixture::from_precisions(kind, weights, means, &start("precisions"), 3);
        let em = Em::from_mixture(peer_points("/rows"), &options(kind, 1e-6), mixture.unwrap());
        steps_are_the_peer_s(em.unwrap(), &format!("/em/{name}"));
    }
}

#[test]
fn every_step_from_given_responsibilities_is_scikit_learn_s() {
    for (kind, name) in KINDS {
        let points = peer_points("/rows");
        let share = |i: usize| f64::from(u8::from(i / 3 % 3 == i % 3));
        let shares: Vec<f64> = (0..3 * points.len()).map(share).collect();
        let em = Em::from_responsibilities(points, &options(kind, 0.01), &shares).unwrap();
        steps_are_the_peer_s(em, &format!("/em_of_responsibilities/{name}"));
    }
}

#[test]
fn the_likelihood_never_falls() {
    for (kind, name) in KINDS {
        for seed in 0..3 {
            let config = EmConfig { components: 5, ..options(kind, 0.0) };
            let mut em = Em::new(groups(300, 4, 1.5, seed), &config, &Draws::new(seed)).unwrap();
            let first = em.step().unwrap();
            let mut last = first;
            for step in 2..=80 {
                let now = em.step().unwrap();
                assert!(now >= last - 1e-13, "{name}, seed {seed}, step {step}: {last} to {now}");
                last = now;
            }
            assert!(last > first + 1e-3, "{name}: from {first} to {last}");
        }
    }
}

/// In one step from any start: the mean and the covariance with divisor n, its diagonal, or the mean of that.
#[test]
fn one_component_is_the_closed_form_after_one_step() {
    let points = groups(777, 3, 2.0, 5);
    let n = points.len() as f64;
    let mean = [0, 1].map(|j| points.iter().map(|x| x[j]).sum::<f64>() / n);
    let covariance = |i: usize, j: usize| {
        points.iter().map(|x| (x[i] - mean[i]) * (x[j] - mean[j])).sum::<f64>() / n
    };
    let (xx, xy, yy) = (covariance(0, 0), covariance(0, 1), covariance(1, 1));
    for (kind, name) in KINDS {
        let expected = match kind {
            Covariance::Full | Covariance::Tied => vec![xx, xy, xy, yy],
            Covariance::Diagonal => vec![xx, yy],
            Covariance::Spherical => vec![0.5 * (xx + yy)],
        };
        let size = kind.shape(1, 2).iter().product();
        let identity = if size == 4 { vec![1.0, 0.0, 0.0, 1.0] } else { vec![1.0; size] };
        let start = Mixture::new(kind, vec![1.0], vec![30.0, -4.0], identity, 2).unwrap();
        let mut em = Em::from_mixture(points.clone(), &options(kind, 0.0), start).unwrap();
        em.step().unwrap();
        let direct = Mixture::gaussian(&points, kind).unwrap();
        for found in [em.mixture(), &direct] {
            all_close(format!("{name}: mean"), found.means(), &mean, 1e-12);
            all_close(format!("{name}: covariance"), found.covariances(), &expected, 1e-12);
        }
        // Of the greatest likelihood the mean log density is −½ log det C − (d/2)(1 + log 2π).
        let matrix = direct.covariance(0);
        let det = matrix[0] * matrix[3] - matrix[1] * matrix[2];
        let entropy = 0.5 * det.ln() + 1.0 + std::f64::consts::TAU.ln();
        close(format!("{name}: log p"), direct.mean_log_density(&points), -entropy, 1e-12);
    }
}

#[test]
fn responsibilities_sum_to_1() {
    let mut em =
        Em::new(groups(200, 3, 2.0, 1), &options(Covariance::Full, 0.0), &Draws::new(1)).unwrap();
    em.run(5).unwrap();
    for x in em.points().iter().chain([&[1e3, -1e3][..], &[1e200, 0.0]]) {
        let shares = em.mixture().responsibilities(x);
        assert!(shares.iter().all(|r| (0.0..=1.0).contains(r)));
        within("sum", shares.iter().sum(), 1.0, 1e-14);
    }
}

/// In other units of each column, log p differs by the logarithm of the units alone.
#[test]
fn a_fit_does_not_depend_on_units() {
    let points = groups(300, 3, 3.0, 2);
    let (scale, shift) = ([2.0e5, 3.0e-4], [-7.0e5, 1.0e-3]);
    let moved = |x: &[f64]| [scale[0] * x[0] + shift[0], scale[1] * x[1] + shift[1]];
    let other = Points::new(points.iter().flat_map(moved).collect(), 2).unwrap();
    for (kind, name) in KINDS.into_iter().filter(|(kind, _)| *kind != Covariance::Spherical) {
        let config = EmConfig { components: 3, covariance: kind, ..EmConfig::default() };
        let fit = |points: &Points| {
            let mut em = Em::new(points.clone(), &config, &Draws::new(4)).unwrap();
            em.run(100).unwrap();
            em
        };
        let (here, there) = (fit(&points), fit(&other));
        assert_eq!(here.steps(), there.steps());
        for x in points.iter().take(20) {
            let units = (scale[0] * scale[1]).ln();
            let found = there.mixture().log_density(&moved(x)) + units;
            within(name, found, here.mixture().log_density(x), 1e-7);
        }
    }
}

#[test]
fn the_best_of_several_starts_wins() {
    let points = Arc::new(groups(240, 8, 4.0, 3));
    let run = |restarts: usize, seed: u64| {
        let config = EmConfig { components: 8, restarts, ..EmConfig::default() };
        Em::new(points.clone(), &config, &Draws::new(seed)).unwrap().run(300).unwrap()
    };
    let mut better = 0;
    for seed in 0..6 {
        let (one, many) = (run(1, seed), run(6, seed));
        assert!(many >= one - 1e-9, "{one} alone, {many} of six");
        better += usize::from(many > one + 1e-3);
    }
    assert!(better > 0, "one start always found the best of six");
}

#[test]
fn bic_finds_three_clusters() {
    for (kind, name) in KINDS {
        let config = EmConfig { covariance: kind, ..EmConfig::default() };
        let choice = choose(groups(450, 3, 8.0, 6), &config, 1..=6, &Draws::new(1), 200).unwrap();
        // A round covariance needs more components for groups that are twice as long as wide.
        if kind == Covariance::Spherical {
            assert!(choice.mixture.components() >= 3);
        } else {
            assert_eq!(choice.mixture.components(), 3, "{name}: {:?}", choice.bic);
        }
        assert_eq!(choice.bic.len(), 6);
    }
    let empty = std::ops::RangeInclusive::new(2, 1);
    let none = choose(groups(9, 3, 8.0, 6), &EmConfig::default(), empty, &Draws::new(1), 9);
    assert!(matches!(none, Err(Error::Config { .. })));
}

#[test]
fn a_stop_changes_no_bit_and_neither_do_threads() {
    for (kind, name) in KINDS {
        let config = EmConfig { components: 4, covariance: kind, ..EmConfig::default() };
        let points = Arc::new(groups(1500, 4, 2.0, 9));
        let begin = || Em::new(points.clone(), &config, &Draws::new(8)).unwrap();
        let mut whole = begin();
        whole.run(12).unwrap();
        let mut half = begin();
        half.run(5).unwrap();
        let saved = serde_json::to_string(&half.state()).unwrap();
        let mut rest = Em::new(points.clone(), &config, &Draws::new(99)).unwrap();
        rest.restore(&serde_json::from_str(&saved).unwrap()).unwrap();
        assert_eq!(rest.state(), half.state());
        rest.run(7).unwrap();
        assert_eq!(rest.state(), whole.state(), "{name}: a stop");
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let alone = pool.install(|| {
                let mut em = begin();
                em.run(12).unwrap();
                em.state()
            });
            assert_eq!(alone, whole.state(), "{name}: {threads} threads");
        }
        let mut state = whole.state();
        state.means.pop();
        assert!(matches!(rest.restore(&state), Err(Error::Shape { .. })));
    }
}
