//! Properties of every distribution: it integrates to 1, its score is the gradient of log p, its samples have its
//! moments.

use super::{KINDS, groups};
use crate::support::{all_close, doubles, host, moments, within};
use tweedie::Draws;
use tweedie::denoise::{Component, GaussianMixture};
use tweedie::density::fit::{
    Bandwidth, Covariance, Distribution, Em, EmConfig, Kde, KernelShape, Laplace, Mixture, StudentT,
};
use tweedie::process::{Level, Levels};

/// A distribution on the plane with its mean and covariance matrix.
struct Case {
    name: String,
    density: Box<dyn Distribution>,
    mean: [f64; 2],
    covariance: [f64; 4],
}

fn cases() -> Vec<Case> {
    let points = groups(60, 3, 2.0, 7);
    let mut cases = Vec::new();
    for (kind, name) in KINDS {
        let config = EmConfig { components: 3, covariance: kind, ..EmConfig::default() };
        let mut em = Em::new(points.clone(), &config, &Draws::new(2)).unwrap();
        em.run(10).unwrap();
        cases.push(of_mixture(format!("mixture, {name}"), em.mixture().clone()));
        cases.push(of_mixture(
            format!("Gaussian, {name}"),
            Mixture::gaussian(&points, kind).unwrap(),
        ));
    }
    for shape in [KernelShape::Columns, KernelShape::Covariance] {
        let weights: Vec<f64> = (1..=60).map(f64::from).collect();
        let kde = Kde::new(&points, Some(&weights), Bandwidth::LeaveOneOut, shape).unwrap();
        cases.push(of_kde(format!("kernels, {shape:?}"), kde));
    }
    let (laplace_scales, degrees) = ([0.8, 1.5], [9.0, 12.0]);
    cases.push(Case {
        name: "Laplace".into(),
        density: Box::new(Laplace::new(vec![0.4, -1.0], laplace_scales.to_vec()).unwrap()),
        mean: [0.4, -1.0],
        covariance: [2.0 * 0.8 * 0.8, 0.0, 0.0, 2.0 * 1.5 * 1.5],
    });
    let variance = |scale: f64, nu: f64| scale * scale * nu / (nu - 2.0);
    cases.push(Case {
        name: "Student-t".into(),
        density: Box::new(
            StudentT::new(vec![1.0, -1.0], vec![0.7, 1.1], degrees.to_vec()).unwrap(),
        ),
        mean: [1.0, -1.0],
        covariance: [variance(0.7, degrees[0]), 0.0, 0.0, variance(1.1, degrees[1])],
    });
    cases
}

/// Σ w (m − m̄)(m − m̄)ᵀ + Σ w C, of weights, means and covariance matrices.
fn total(parts: &[(f64, [f64; 2], Vec<f64>)]) -> ([f64; 2], [f64; 4]) {
    let mean = [0, 1].map(|j| parts.iter().map(|(w, m, _)| w * m[j]).sum::<f64>());
    let entry = |at: usize| {
        let (i, j) = (at / 2, at % 2);
        let term = |(w, m, c): &(f64, [f64; 2], Vec<f64>)| {
            w * ((m[i] - mean[i]) * (m[j] - mean[j]) + c[at])
        };
        parts.iter().map(term).sum::<f64>()
    };
    (mean, [0, 1, 2, 3].map(entry))
}

fn of_mixture(name: String, mixture: Mixture) -> Case {
    let part = |k: usize| {
        let mean = [mixture.mean(k)[0], mixture.mean(k)[1]];
        (mixture.weights()[k], mean, mixture.covariance(k))
    };
    let (mean, covariance) = total(&(0..mixture.components()).map(part).collect::<Vec<_>>());
    Case { name, density: Box::new(mixture), mean, covariance }
}

/// Kernels add h² times the rows' covariance, with its divisor, to the covariance of the rows.
fn of_kde(name: String, kde: Kde) -> Case {
    let rows = kde.weights().iter().zip(kde.points().iter());
    let rows: Vec<_> = rows.map(|(w, x)| (*w, [x[0], x[1]], vec![0.0; 4])).collect();
    let (mean, of_rows) = total(&rows);
    let divisor = 1.0 - kde.weights().iter().map(|w| w * w).sum::<f64>();
    let added = kde.factor().powi(2) / divisor;
    let mut covariance = of_rows.map(|c| c * (1.0 + added));
    if name.contains("Columns") {
        (covariance[1], covariance[2]) = (of_rows[1], of_rows[2]);
    }
    Case { name, density: Box::new(kde), mean, covariance }
}

/// Simpson's rule on the square of half width 24, whose nodes hold the cusps of the Laplace distribution.
#[test]
fn every_density_integrates_to_1() {
    for case in cases() {
        let (half, panels) = (24.0, 240_u32);
        let node = |k: u32| f64::from(k) * half / f64::from(panels) - half;
        let weight = |k: u32| match k {
            0 => 1.0,
            k if k == 2 * panels => 1.0,
            k => 2.0 * f64::from(1 + k % 2),
        };
        let nodes: Vec<u32> = (0..=2 * panels).collect();
        let grid: Vec<f64> =
            nodes.iter().flat_map(|i| nodes.iter().flat_map(|j| [node(*i), node(*j)])).collect();
        let logs = case.density.log_densities(&grid);
        let pairs = nodes.iter().flat_map(|i| nodes.iter().map(|j| weight(*i) * weight(*j)));
        let sum: f64 = pairs.zip(logs).map(|(w, log)| w * log.exp()).sum();
        let step = half / f64::from(panels);
        // Simpson's error at the Laplace distribution's cusps is (h/b)⁴/180 and less.
        within(&case.name, sum * (step / 3.0).powi(2), 1.0, 5e-6);
    }
}

#[test]
fn every_score_is_the_slope_of_log_p() {
    for case in cases() {
        let at = [[0.3, 0.2], [-2.1, 0.9], [3.7, -3.3], [-0.4, 1.9], [9.0, 8.0]];
        let scores = case.density.scores(&at.concat());
        for (x, score) in at.iter().zip(scores.chunks(2)) {
            for j in 0..2 {
                let log = |h: f64| {
                    let mut moved = *x;
                    moved[j] += h;
                    case.density.log_density(&moved)
                };
                let slope = crate::support::difference(log, 0.0, 2e-3);
                let tolerance = 1e-6 * score[j].abs().max(1.0);
                within(format!("{}, x = {x:?}, {j}", case.name), score[j], slope, tolerance);
            }
        }
    }
}

#[test]
fn samples_have_the_moments() {
    let n = 40_000;
    for case in cases() {
        let x = case.density.samples(&Draws::new(11), 0..n);
        let check = |what: &str, f: &dyn Fn(f64, f64) -> f64, expected: f64| {
            let values: Vec<f64> =
                x.chunks(2).map(|x| f(x[0] - case.mean[0], x[1] - case.mean[1])).collect();
            let (mean, variance) = moments(&values);
            let error = (variance / n as f64).sqrt();
            within(format!("{}: {what}", case.name), mean, expected, 4.9 * error);
        };
        let [xx, xy, _, yy] = case.covariance;
        check("E x", &|x, _| x, 0.0);
        check("E y", &|_, y| y, 0.0);
        check("Var x", &|x, _| x * x, xx);
        check("Cov x, y", &|x, y| x * y, xy);
        check("Var y", &|_, y| y * y, yy);
    }
}

/// Row 12 is the same alone as among others, and no two rows are equal.
#[test]
fn a_sample_depends_on_its_row_alone() {
    for case in cases() {
        let draws = Draws::new(12);
        let many = case.density.samples(&draws, 10..20);
        let mut one = [0.0; 2];
        for row in 10..20 {
            case.density.sample(&draws, row, &mut one);
            assert_eq!(one, many[2 * (row as usize - 10)..][..2], "{}", case.name);
        }
        assert!(many.chunks(2).skip(1).all(|x| x != &many[..2]));
        assert_ne!(case.density.samples(&Draws::new(13), 10..20), many, "{}", case.name);
    }
}

/// Two implementations: Cholesky factors here, eigenvectors and tensors there.
#[test]
fn mixtures_are_the_exact_denoiser_s() {
    let points = groups(200, 3, 2.0, 7);
    for (kind, name) in KINDS {
        let config = EmConfig { components: 3, covariance: kind, ..EmConfig::default() };
        let mut em = Em::new(points.clone(), &config, &Draws::new(2)).unwrap();
        em.run(10).unwrap();
        let mixture = em.mixture();
        let component = |k: usize| {
            let mean = mixture.mean(k).to_vec();
            Component::full(mixture.weights()[k], mean, &mixture.covariance(k)).unwrap()
        };
        let oracle = GaussianMixture::new((0..3).map(component).collect()).unwrap();
        let clean: Levels = Level::clean(0.0).into();
        let (x, few) = (doubles(points.values(), 2), points.values());
        let logs = host(&oracle.log_density(x.clone(), &clean).unwrap());
        all_close(format!("{name}: log p"), &mixture.log_densities(few), &logs, 1e-12);
        let scores = host(&oracle.score(x, &clean).unwrap());
        all_close(format!("{name}: score"), &mixture.scores(few), &scores, 1e-12);
    }
}

/// The kinds of covariance give one density where they can: with the same matrix.
#[test]
fn a_round_covariance_is_one_density_in_every_kind() {
    let x = [0.7, -0.2];
    let logs = KINDS.map(|(kind, _)| {
        let covariances = match kind {
            Covariance::Full => [0.6, 0.0, 0.0, 0.6].repeat(2),
            Covariance::Tied => vec![0.6, 0.0, 0.0, 0.6],
            Covariance::Diagonal => vec![0.6; 4],
            Covariance::Spherical => vec![0.6; 2],
        };
        let mixture = Mixture::new(kind, vec![3.0, 1.0], vec![0.0, 1.0, -1.0, 2.0], covariances, 2);
        mixture.unwrap().log_density(&x)
    });
    let part = |w: f64, m: [f64; 2]| {
        let square = (x[0] - m[0]).powi(2) + (x[1] - m[1]).powi(2);
        w * (-square / 1.2).exp() / (0.6 * std::f64::consts::TAU)
    };
    let exact = (part(0.75, [0.0, 1.0]) + part(0.25, [-1.0, 2.0])).ln();
    logs.into_iter().for_each(|log| within("log p", log, exact, 1e-13));
}
