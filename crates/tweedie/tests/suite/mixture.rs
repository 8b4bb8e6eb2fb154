//! The exact denoiser of a Gaussian mixture against quadrature, differences, rotations and its own samples.

use crate::support::*;
use burn::tensor::Tensor;
use tweedie::data::Condition;
use tweedie::denoise::{Component, Denoiser, GaussianMixture};
use tweedie::process::{Level, Levels, Schedule};
use tweedie::tensor::Dual;
use tweedie::{Draws, Error};

/// (weight, mean, variance) of a lopsided mixture on the line.
const LINE: [(f64, f64, f64); 3] = [(0.5, -2.0, 0.3), (0.2, 0.5, 0.05), (0.3, 1.5, 1.2)];

fn line() -> GaussianMixture {
    let component = |(w, m, v)| Component::isotropic(w, vec![m], v);
    GaussianMixture::new(LINE.map(component).to_vec()).unwrap()
}

/// p₀ of [`line`], a second time.
fn line_density(x: f64) -> f64 {
    let normal = |v: f64, r: f64| (-0.5 * r * r / v).exp() / (std::f64::consts::TAU * v).sqrt();
    LINE.iter().map(|(w, m, v)| w * normal(*v, x - m)).sum()
}

/// Two correlated components and a diagonal one in the plane.
fn plane() -> GaussianMixture {
    GaussianMixture::new(vec![
        Component::full(0.4, vec![1.0, -1.0], &[0.5, 0.3, 0.3, 0.4]).unwrap().of_class(0),
        Component::full(0.35, vec![-1.5, 0.5], &[0.2, -0.15, -0.15, 0.6]).unwrap().of_class(1),
        Component::diagonal(0.25, vec![0.0, 2.0], vec![0.7, 0.1]).of_class(0),
    ])
    .unwrap()
}

/// Clean data, variance-preserving, exploding and straight levels.
fn levels() -> Vec<Level> {
    let preserving = [5.0, 0.0, -5.0].map(|l| Level::variance_preserving(0.5, l));
    let mut levels = preserving.to_vec();
    levels.extend([
        Level::new(0.2, 1.0, 0.2),
        Level::new(3.0, 1.0, 3.0),
        Level::new(0.6, 0.4, 0.6),
    ]);
    levels
}

/// A grid of `n × n` points over [−r, r]², and the area of a cell.
fn square(r: f64, n: usize) -> (Vec<f64>, f64) {
    let at = |k: usize| -r + 2.0 * r * (k as f64 + 0.5) / n as f64;
    let points = (0..n * n).flat_map(|k| [at(k / n), at(k % n)]).collect();
    (points, (2.0 * r / n as f64).powi(2))
}

#[test]
fn densities_integrate_to_one() {
    // The midpoint rule converges exponentially for Gaussian tails.
    for level in [levels(), vec![Level::clean(0.0)]].concat() {
        let n = 4000;
        let grid: Vec<f64> = (0..n).map(|k| -30.0 + 60.0 * (f64::from(k) + 0.5) / 4000.0).collect();
        let logs = host(&line().log_density(doubles(&grid, 1), &level.into()).unwrap());
        let total: f64 = logs.iter().map(|l| l.exp()).sum::<f64>() * 60.0 / f64::from(n);
        within(format!("∫p on the line at {level:?}"), total, 1.0, 1e-12);
        let (points, area) = square(7.0 * level.sigma.max(1.0), 200);
        let logs = host(&plane().log_density(doubles(&points, 2), &level.into()).unwrap());
        let total: f64 = logs.iter().map(|l| l.exp()).sum::<f64>() * area;
        within(format!("∫p in the plane at {level:?}"), total, 1.0, 1e-9);
    }
    let x = [-3.0, -0.2, 0.6, 4.0];
    let logs = host(&line().log_density(doubles(&x, 1), &Level::clean(0.0).into()).unwrap());
    let expected: Vec<f64> = x.iter().map(|x| line_density(*x).ln()).collect();
    all_close("log p₀", &logs, &expected, 1e-13);
}

/// Points of the plane with a few far out.
fn points() -> Vec<f64> {
    let draws = Draws::new(3);
    (0..40u64).map(|i| draws.normal_f64(i / 2, i % 2) * if i < 32 { 1.5 } else { 8.0 }).collect()
}

#[test]
fn score_is_the_gradient_of_the_log_density() {
    let (mixture, x) = (plane(), points());
    for level in [levels(), vec![Level::clean(0.0)]].concat() {
        let score = host(&mixture.score(doubles(&x, 2), &level.into()).unwrap());
        let slope = |axis: usize| {
            let moved = |h: f64| {
                let x: Vec<f64> = x
                    .iter()
                    .enumerate()
                    .map(|(i, v)| if i % 2 == axis { v + h } else { *v })
                    .collect();
                host(&mixture.log_density(doubles(&x, 2), &level.into()).unwrap())
            };
            let h = 1e-3;
            let [a, b, c, d] = [-2.0 * h, -h, h, 2.0 * h].map(moved);
            (0..x.len() / 2)
                .map(|i| (8.0 * (c[i] - b[i]) - (d[i] - a[i])) / (12.0 * h))
                .collect::<Vec<_>>()
        };
        let (first, second) = (slope(0), slope(1));
        for i in 0..x.len() / 2 {
            for (found, expected) in [(score[2 * i], first[i]), (score[2 * i + 1], second[i])] {
                let what = format!("score of row {i} at {level:?}");
                within(what, found, expected, 1e-6 * expected.abs().max(1.0));
            }
        }
    }
}

#[test]
fn tweedie_s_formula_is_the_posterior_mean() {
    let (mixture, x) = (plane(), points());
    for level in levels() {
        let score = host(&mixture.score(doubles(&x, 2), &level.into()).unwrap());
        let batch = doubles(&x, 2).into();
        let mean = mixture.denoise(batch, &level.into(), &Condition::None).unwrap();
        let formula: Vec<f64> = x
            .iter()
            .zip(&score)
            .map(|(x, s)| (x + level.sigma.powi(2) * s) / level.alpha)
            .collect();
        all_close(format!("E[x₀ | x] at {level:?}"), &host(&mean.value), &formula, 1e-10);
    }
}

#[test]
fn posterior_mean_is_the_integral_over_the_data() {
    for level in levels() {
        let x = [-3.0, -1.0, 0.0, 0.8, 2.5];
        let batch = doubles(&x, 1).into();
        let found = line().denoise(batch, &level.into(), &Condition::None).unwrap();
        for (x, found) in x.into_iter().zip(host(&found.value)) {
            // The likelihood without its constant, which may be tiny.
            let log = |x0: f64| -0.5 * ((x - level.alpha * x0) / level.sigma).powi(2);
            let top = log((x / level.alpha).clamp(-12.0, 12.0));
            let joint = |x0: f64| line_density(x0) * (log(x0) - top).exp();
            let mean = simpson(-12.0, 12.0, 20_000, |x0| x0 * joint(x0))
                / simpson(-12.0, 12.0, 20_000, joint);
            within(format!("E[x₀ | {x}] at {level:?}"), found, mean, 1e-9 * mean.abs().max(1.0));
        }
    }
}

#[test]
fn a_full_covariance_is_a_rotated_diagonal_one() {
    let (c, s) = (0.6f64, 0.8f64);
    let turn = |v: &[f64]| vec![c * v[0] - s * v[1], s * v[0] + c * v[1]];
    let parts = [(0.7, [1.0, -0.5], [2.0, 0.1]), (0.3, [-1.0, 2.0], [0.3, 0.3])];
    let straight = GaussianMixture::new(
        parts.iter().map(|(w, m, v)| Component::diagonal(*w, m.to_vec(), v.to_vec())).collect(),
    )
    .unwrap();
    let full = |(w, m, v): &(f64, [f64; 2], [f64; 2])| {
        // R diag(v) Rᵀ
        let off = c * s * (v[0] - v[1]);
        let matrix = [c * c * v[0] + s * s * v[1], off, off, s * s * v[0] + c * c * v[1]];
        Component::full(*w, turn(m), &matrix).unwrap()
    };
    let turned = GaussianMixture::new(parts.iter().map(full).collect()).unwrap();
    let x = points();
    let all =
        |f: &dyn Fn(&[f64]) -> Vec<f64>, x: &[f64]| x.chunks(2).flat_map(f).collect::<Vec<_>>();
    let y = all(&turn, &x);
    for level in levels() {
        let log = |m: &GaussianMixture, x: &[f64]| {
            host(&m.log_density(doubles(x, 2), &level.into()).unwrap())
        };
        all_close("log p", &log(&turned, &y), &log(&straight, &x), 1e-12);
        let score =
            |m: &GaussianMixture, x: &[f64]| host(&m.score(doubles(x, 2), &level.into()).unwrap());
        all_close("score", &score(&turned, &y), &all(&turn, &score(&straight, &x)), 1e-12);
        let mean = |m: &GaussianMixture, x: &[f64]| {
            let batch = doubles(x, 2).into();
            host(&m.denoise(batch, &level.into(), &Condition::None).unwrap().value)
        };
        all_close("mean", &mean(&turned, &y), &all(&turn, &mean(&straight, &x)), 1e-12);
    }
    let draws = Draws::new(8);
    let (a, b) = (straight.sample(50, &draws, &cpu()), turned.sample(50, &draws, &cpu()));
    assert_eq!(a.dims(), b.dims());
    assert!(matches!(Component::full(1.0, vec![0.0], &[1.0, 0.0]), Err(Error::Shape { .. })));
}

#[test]
fn a_class_is_the_mixture_of_its_components() {
    let mixture = plane();
    let x = points()[..8].to_vec();
    let level = Level::variance_preserving(0.5, 0.5);
    let class = |label: Option<u32>| {
        let of_class = |c: &&Component| label.is_none() || c.class == label;
        let parts = mixture.components().iter().filter(of_class).cloned().collect();
        let alone = GaussianMixture::new(parts).unwrap();
        let batch = doubles(&x, 2).into();
        host(&alone.denoise(batch, &level.into(), &Condition::None).unwrap().value)
    };
    let labels = [Some(0), Some(1), None, Some(1)];
    let ask = |labels: Vec<Option<u32>>| {
        mixture.denoise(doubles(&x, 2).into(), &level.into(), &Condition::Class(labels))
    };
    let found = host(&ask(labels.to_vec()).unwrap().value);
    for (i, label) in labels.into_iter().enumerate() {
        let what = format!("row {i} of class {label:?}");
        all_close(what, &found[2 * i..][..2], &class(label)[2 * i..][..2], 1e-12);
    }
    assert!(matches!(ask(vec![Some(2); 4]), Err(Error::Shape { .. })));
    assert!(matches!(ask(vec![None; 3]), Err(Error::Shape { .. })));
}

#[test]
fn rows_of_different_levels_are_the_single_ones() {
    let (mixture, x) = (plane(), points()[..12].to_vec());
    let rows = Levels::Rows(levels());
    let denoise = |x: &[f64], levels: &Levels| {
        host(&mixture.denoise(doubles(x, 2).into(), levels, &Condition::None).unwrap().value)
    };
    let (means, logs) = (denoise(&x, &rows), mixture.log_density(doubles(&x, 2), &rows).unwrap());
    let logs = host(&logs);
    for (i, level) in levels().into_iter().enumerate() {
        let row = &x[2 * i..2 * i + 2];
        all_close("mean", &means[2 * i..][..2], &denoise(row, &level.into()), 1e-13);
        let log = host(&mixture.log_density(doubles(row, 2), &level.into()).unwrap())[0];
        close("log p", logs[i], log, 1e-13);
    }
    assert_eq!((mixture.width(), mixture.evaluations()), (2, 12));
    let short = mixture.log_density(doubles(&x[..4], 2), &rows);
    assert!(matches!(short, Err(Error::Shape { .. })));
}

#[test]
fn the_denoiser_s_tangent_is_its_derivative() {
    let (mixture, x) = (plane(), points()[..20].to_vec());
    let along: Vec<f64> = (0..20).map(|i| (f64::from(i) * 0.7).sin()).collect();
    for level in levels() {
        let denoise = |x: Dual<2>| mixture.denoise(x, &level.into(), &Condition::None).unwrap();
        let moved = |h: f64| {
            let x: Vec<f64> = x.iter().zip(&along).map(|(x, a)| x + h * a).collect();
            host(&denoise(doubles(&x, 2).into()).value)
        };
        let found = denoise(Dual::new(doubles(&x, 2), doubles(&along, 2)));
        let found = host(&found.tangent.unwrap());
        let [a, b] = [1e-5, -1e-5].map(moved);
        let expected: Vec<f64> = a.iter().zip(&b).map(|(a, b)| (a - b) / 2e-5).collect();
        all_close(format!("tangent at {level:?}"), &found, &expected, 1e-7);
    }
}

#[test]
fn samples_have_the_mixture_s_moments() {
    let mixture = plane();
    let n = 40_000;
    let draws = Draws::new(17);
    let x = host(&mixture.sample(n, &draws, &cpu()));
    // A row depends on its own number alone.
    assert_eq!(host(&mixture.sample(10, &draws, &cpu())), x[..20]);
    // First and second moments: Σ w m and Σ w (C + m mᵀ), from the definition in `plane`.
    let parts = [
        (0.4, [1.0, -1.0], [0.5, 0.3, 0.4]),
        (0.35, [-1.5, 0.5], [0.2, -0.15, 0.6]),
        (0.25, [0.0, 2.0], [0.7, 0.0, 0.1]),
    ];
    let expect = |f: &dyn Fn(&[f64; 2], &[f64; 3]) -> f64| {
        parts.iter().map(|(w, m, c)| w * f(m, c)).sum::<f64>()
    };
    let check = |what: &str, f: &dyn Fn(&[f64]) -> f64, expected: f64| {
        let values: Vec<f64> = x.chunks(2).map(f).collect();
        let (mean, variance) = moments(&values);
        within(what, mean, expected, SIX_SIGMA * (variance / n as f64).sqrt());
    };
    check("E x", &|x| x[0], expect(&|m, _| m[0]));
    check("E y", &|x| x[1], expect(&|m, _| m[1]));
    check("E x²", &|x| x[0] * x[0], expect(&|m, c| c[0] + m[0] * m[0]));
    check("E xy", &|x| x[0] * x[1], expect(&|m, c| c[1] + m[0] * m[1]));
    check("E y²", &|x| x[1] * x[1], expect(&|m, c| c[2] + m[1] * m[1]));
}

#[test]
fn entropy_is_the_integral_s() {
    let exact = simpson(-14.0, 14.0, 20_000, |x| {
        let p = line_density(x);
        if p > 0.0 { -p * p.ln() } else { 0.0 }
    });
    let (mean, error) = line().entropy(20_000, &Draws::new(5), &cpu()).unwrap();
    assert!(error > 0.0 && error < 0.01);
    within("entropy", mean, exact, SIX_SIGMA * error);
}

#[test]
fn impossible_mixtures_are_errors() {
    let bad = [
        vec![],
        vec![Component::isotropic(0.0, vec![0.0], 1.0)],
        vec![Component::isotropic(1.0, vec![f64::NAN], 1.0)],
        vec![Component::isotropic(1.0, vec![0.0], -1.0)],
        vec![
            Component::isotropic(1.0, vec![0.0], 1.0),
            Component::isotropic(1.0, vec![0.0; 2], 1.0),
        ],
        vec![Component::full(1.0, vec![0.0, 0.0], &[1.0, 2.0, 2.0, 1.0]).unwrap()],
    ];
    assert!(bad.into_iter().all(|parts| GaussianMixture::new(parts).is_err()));
    let tracked = Levels::Tracked { t: doubles(&[0.0], 1), lambda: doubles(&[0.0], 1) };
    let x: Tensor<2> = doubles(&[0.0], 1);
    assert!(matches!(line().score(x, &tracked), Err(Error::Undefined { .. })));
    let schedule = tweedie::process::Straight::default();
    let vector = Condition::Vector { values: doubles(&[0.0], 1), present: vec![true] };
    let asked = line().denoise(doubles(&[0.0], 1).into(), &schedule.level(0.5).into(), &vector);
    assert!(matches!(asked, Err(Error::Shape { .. })));
}
