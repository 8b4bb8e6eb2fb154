//! Data without a density of greatest likelihood, and invalid options: errors, or finite numbers.

use super::{KINDS, groups};
use tweedie::density::fit::{
    Bandwidth, Covariance, Distribution, Em, EmConfig, Kde, KernelShape, Laplace, Mixture, Points,
    Regularisation, StudentT,
};
use tweedie::{Draws, Error, Result};

/// Whether log p and score are finite at the rows and beside them.
fn is_finite(density: &dyn Distribution, points: &Points) -> bool {
    points.iter().all(|x| {
        let beside: Vec<f64> = x.iter().map(|x| x + 0.5).collect();
        let mut score = vec![0.0; x.len()];
        [x, &beside].into_iter().all(|x| {
            density.score(x, &mut score);
            density.log_density(x).is_finite() && score.iter().all(|s| s.is_finite())
        })
    })
}

fn em(points: &Points, components: usize, kind: Covariance, floor: Regularisation) -> Result<Em> {
    let config =
        EmConfig { components, covariance: kind, regularisation: floor, ..EmConfig::default() };
    let mut em = Em::new(points.clone(), &config, &Draws::new(3))?;
    em.run(50)?;
    Ok(em)
}

const RELATIVE: Regularisation = Regularisation::Relative(1e-6);
const ABSOLUTE: Regularisation = Regularisation::Absolute(1e-6);

#[test]
fn equal_rows_have_a_mixture_by_an_absolute_floor_alone() {
    let equal = Points::new([0.1, -7.3].repeat(40), 2).unwrap();
    for (kind, name) in KINDS {
        assert!(matches!(em(&equal, 1, kind, RELATIVE), Err(Error::Undefined { .. })), "{name}");
        assert!(matches!(em(&equal, 2, kind, ABSOLUTE), Err(Error::Config { .. })), "{name}");
        let one = em(&equal, 1, kind, ABSOLUTE).unwrap();
        assert!(is_finite(one.mixture(), &equal), "{name}");
        assert_eq!(one.mixture().mean(0), [0.1, -7.3], "{name}");
        let none = Regularisation::Absolute(0.0);
        assert!(matches!(em(&equal, 1, kind, none), Err(Error::Diverged { .. })), "{name}");
        assert!(matches!(Mixture::gaussian(&equal, kind), Err(Error::Undefined { .. })), "{name}");
    }
}

#[test]
fn duplicates_and_constant_columns_have_finite_mixtures() {
    // Five distinct rows, forty times each; their second column is constant.
    let row = |i: i32| [f64::from(i % 5).powi(2), 0.3];
    let few = Points::new((0..200).flat_map(row).collect(), 2).unwrap();
    for (kind, name) in KINDS {
        for floor in [RELATIVE, ABSOLUTE] {
            for k in [1, 3, 5] {
                let em = em(&few, k, kind, floor).unwrap();
                assert!(is_finite(em.mixture(), &few), "{name}, {k} components, {floor:?}");
            }
            let more = em(&few, 6, kind, floor);
            assert!(matches!(more, Err(Error::Config { .. })), "{name}: six for five rows");
        }
        // A start may have more components than there are distinct rows: some must share.
        let shares: Vec<f64> =
            (0..200 * 6).map(|i| f64::from(u8::from(i % 6 == i / 6 % 6))).collect();
        let config = EmConfig { components: 6, covariance: kind, ..EmConfig::default() };
        let mut given = Em::from_responsibilities(few.clone(), &config, &shares).unwrap();
        assert!(given.run(50).unwrap().is_finite());
        assert!(is_finite(given.mixture(), &few), "{name}, given");
    }
}

#[test]
fn without_a_floor_a_singular_component_ends_the_run_and_leaves_the_state() {
    for (kind, name) in KINDS.into_iter().filter(|(kind, _)| *kind != Covariance::Tied) {
        let mut values = groups(60, 1, 0.0, 4).values().to_vec();
        values.extend([9.0, 9.0].repeat(3));
        let points = Points::new(values, 2).unwrap();
        let share = |i: usize| f64::from(u8::from((i / 2 >= 60) == (i % 2 == 1)));
        let mut shares: Vec<f64> = (0..2 * points.len()).map(share).collect();
        shares[..4].copy_from_slice(&[0.9, 0.1, 0.9, 0.1]);
        let regularisation = Regularisation::Absolute(0.0);
        let config =
            EmConfig { components: 2, covariance: kind, regularisation, ..EmConfig::default() };
        let mut em = Em::from_responsibilities(points, &config, &shares).unwrap();
        let (end, before) = loop {
            let before = em.state();
            match em.step() {
                Err(error) => break (error, before),
                Ok(_) => assert!(em.steps() < 100, "{name}: no end"),
            }
        };
        assert!(matches!(end, Error::Diverged { step, .. } if step == before.steps + 1), "{name}");
        assert!(end.to_string().contains("component 1 is singular"), "{name}: {end}");
        assert_eq!(em.state(), before, "{name}");
    }
}

#[test]
fn an_empty_component_goes_to_the_row_that_is_explained_worst() {
    let mut values = groups(80, 1, 0.0, 4).values().to_vec();
    values.extend([12.0, -11.0]);
    let points = Points::new(values, 2).unwrap();
    for (kind, name) in KINDS {
        let covariances = match kind {
            Covariance::Full => [1.0, 0.0, 0.0, 1.0].repeat(3),
            Covariance::Tied => vec![1.0, 0.0, 0.0, 1.0],
            Covariance::Diagonal => vec![1.0; 6],
            Covariance::Spherical => vec![1.0; 3],
        };
        let means = vec![1e4, 1e4, 0.0, 0.0, -1e4, 0.0];
        let start = Mixture::new(kind, vec![1.0; 3], means, covariances, 2).unwrap();
        let mut em = Em::from_mixture(points.clone(), &EmConfig::default(), start).unwrap();
        em.step().unwrap();
        assert_eq!((em.reseeded(), em.mixture().mean(0)), (2, &[12.0, -11.0][..]), "{name}");
        assert_ne!(em.mixture().mean(2), em.mixture().mean(0), "{name}");
        assert!(is_finite(em.mixture(), &points));
        let after_one = em.mixture().mean_log_density(&points);
        assert!(em.run(200).unwrap() > after_one, "{name}");
        assert!(em.converged(), "{name}");
    }
}

#[test]
fn an_overflow_is_an_error_of_divergence() {
    let huge = Points::new(vec![1e200, -1e200, 3e200, 2e199], 1).unwrap();
    assert!(matches!(em(&huge, 1, Covariance::Full, ABSOLUTE), Err(Error::Diverged { .. })));
    assert!(matches!(Mixture::gaussian(&huge, Covariance::Full), Err(Error::Diverged { .. })));
    assert!(matches!(StudentT::fit(&huge), Err(Error::Diverged { .. })));
    let kde = Kde::new(&huge, None, Bandwidth::Scott, KernelShape::Columns);
    assert!(matches!(kde, Err(Error::Diverged { .. })));
    assert!(matches!(Points::new(vec![1.0, f64::INFINITY], 1), Err(Error::Config { .. })));
    assert!(matches!(Points::new(Vec::new(), 1), Err(Error::Shape { .. })));
}

#[test]
fn the_density_at_nan_is_nan() {
    let points = groups(30, 3, 2.0, 1);
    let mixture = Mixture::gaussian(&points, Covariance::Full).unwrap();
    let kde = Kde::new(&points, None, Bandwidth::Scott, KernelShape::Columns).unwrap();
    let (laplace, t) = (Laplace::fit(&points).unwrap(), StudentT::fit(&points).unwrap());
    for density in [&mixture as &dyn Distribution, &kde, &laplace, &t] {
        assert!(density.log_density(&[f64::NAN, 0.0]).is_nan());
        assert!(density.log_density(&[1e200, 0.0]) < -700.0);
    }
}

#[test]
fn impossible_options_are_errors() {
    let points = groups(20, 2, 2.0, 1);
    let bad = [
        EmConfig { components: 0, ..EmConfig::default() },
        EmConfig { components: 21, ..EmConfig::default() },
        EmConfig { restarts: 0, ..EmConfig::default() },
        EmConfig { tolerance: f64::NAN, ..EmConfig::default() },
        EmConfig { regularisation: Regularisation::Relative(-1.0), ..EmConfig::default() },
    ];
    for config in bad {
        let found = Em::new(points.clone(), &config, &Draws::new(1));
        assert!(matches!(found, Err(Error::Config { .. })), "{config:?}");
    }
    let two = EmConfig { components: 2, ..EmConfig::default() };
    let short = Em::from_responsibilities(points.clone(), &two, &[1.0; 3]);
    assert!(matches!(short, Err(Error::Shape { .. })));
    for shares in [[0.7, 0.7], [1.5, -0.5], [1.0, 0.0]] {
        let found = Em::from_responsibilities(points.clone(), &two, &shares.repeat(20));
        assert!(matches!(found, Err(Error::Config { .. })), "{shares:?}");
    }
    let line = Mixture::new(Covariance::Spherical, vec![1.0], vec![0.0], vec![1.0], 1).unwrap();
    assert!(matches!(Em::from_mixture(points, &two, line), Err(Error::Shape { .. })));
    let mixture = |weights: &[f64], means: &[f64], covariances: &[f64]| {
        let arrays = (weights.to_vec(), means.to_vec(), covariances.to_vec());
        Mixture::new(Covariance::Full, arrays.0, arrays.1, arrays.2, 2)
    };
    let unit = [1.0, 0.0, 0.0, 1.0];
    assert!(mixture(&[1.0], &[0.0; 2], &unit).is_ok());
    assert!(matches!(mixture(&[], &[], &[]), Err(Error::Shape { .. })));
    assert!(matches!(mixture(&[1.0], &[0.0; 2], &unit[1..]), Err(Error::Shape { .. })));
    for (weight, mean, matrix) in [
        (0.0, 0.0, unit),
        (1.0, f64::NAN, unit),
        (1.0, 0.0, [1.0, 2.0, 2.0, 1.0]),
        (1.0, 0.0, [1.0, 0.5, -0.5, 1.0]),
        (1.0, 0.0, [f64::NAN, 0.0, 0.0, 1.0]),
    ] {
        assert!(matches!(mixture(&[weight], &[mean; 2], &matrix), Err(Error::Config { .. })));
    }
    let precisions =
        Mixture::from_precisions(Covariance::Diagonal, vec![1.0], vec![0.0; 2], &[1.0, 0.0], 2);
    assert!(matches!(precisions, Err(Error::Config { .. })));
}
