//! Whole samplers in single precision against fresh exact samples of eight Gaussians.

use crate::oracle::{COSINE, EDM, VP, eight_gaussians};
use crate::support::{KOLMOGOROV, kolmogorov};
use statrs::distribution::{ContinuousCDF, Normal};
use std::sync::Arc;
use tweedie::Draws;
use tweedie::burn::tensor::{DType, Device};
use tweedie::data::{Condition, Generate, Rows};
use tweedie::denoise::{Component, GaussianMixture};
use tweedie::metric::wasserstein;
use tweedie::process::AnySchedule;
use tweedie::solve::grid::{AnyGrid, Karras, LogSnr, Time};
use tweedie::solve::{AnySolver, Ddim, DpmSolverPp2M, DpmSolverPp2S, EulerMaruyama, Last, Sampler};

const N: usize = 4000;

fn exact(seed: u64) -> Rows {
    let x = eight_gaussians().sample(N, &Draws::new(seed), &Device::flex());
    Rows::from_tensor(&x).unwrap()
}

fn distance(a: &Rows, b: &Rows) -> f64 {
    wasserstein::sliced_random(a, b, 1, 64).unwrap().distance
}

/// The component whose centre is nearest.
fn nearest(mixture: &GaussianMixture, row: &[f32]) -> usize {
    let square = |k: usize| {
        let mean = &mixture.components()[k].mean;
        row.iter().zip(mean).map(|(x, m)| (f64::from(*x) - m).powi(2)).sum::<f64>()
    };
    (0..8).min_by(|a, b| square(*a).total_cmp(&square(*b))).unwrap()
}

/// The components' standard deviation in standardised units.
fn component_sd() -> f64 {
    let (_, variance) = tweedie::data::eight_gaussians();
    (variance / (variance + 12.5)).sqrt()
}

fn normal_cdf(z: f64) -> f64 {
    Normal::standard().cdf(z)
}

/// Pearson's statistic of the nearest components' counts; χ² with 7 degrees of freedom.
fn chi_square(x: &Rows) -> f64 {
    let mixture = eight_gaussians();
    let mut counts = [0.0; 8];
    for row in x.iter() {
        counts[nearest(&mixture, row)] += 1.0;
    }
    let expected = x.len() as f64 / 8.0;
    counts.iter().map(|c| (c - expected).powi(2) / expected).sum()
}

fn sample(
    solver: AnySolver,
    schedule: AnySchedule,
    grid: AnyGrid,
    steps: usize,
    seed: u64,
) -> Rows {
    let sampler = Sampler::new(Arc::new(eight_gaussians()), Arc::new(schedule))
        .with_solver(solver)
        .with_grid(grid)
        .with_steps(steps)
        .with_last(Last::Stop);
    let device = Device::flex();
    let x = sampler.generate(0..N as u64, &Condition::None, &Draws::new(seed), &device).unwrap();
    assert_eq!(x.dtype(), DType::F32);
    Rows::from_tensor(&x).unwrap()
}

/// The distances of the samples' coordinates from their nearest centre, in that component's standard deviations.
fn residuals(x: &Rows) -> Vec<f64> {
    let sd = component_sd();
    let mixture = eight_gaussians();
    x.iter()
        .flat_map(|row| {
            let mean = &mixture.components()[nearest(&mixture, row)].mean;
            [0, 1].map(|j| (f64::from(row[j]) - mean[j]) / sd)
        })
        .collect()
}

/// χ² with 7 degrees of freedom exceeds this with probability 1e-6.
const CHI_SQUARE: f64 = 40.5;

/// A schedule, a grid and a number of steps at which a solver of the registry samples as well as the judges can tell.
fn enough(name: &str) -> (AnySchedule, AnyGrid, usize) {
    match name {
        "dopri5" => (COSINE, AnyGrid::LogSnr(LogSnr), 1),
        "heun" | "edm" => (EDM, AnyGrid::Karras(Karras { rho: 7.0 }), 50),
        "dpm++2s" | "dpm" => (COSINE, AnyGrid::LogSnr(LogSnr), 40),
        "dpm++2m" | "dpm++3m" | "deis" | "unipc" => (COSINE, AnyGrid::LogSnr(LogSnr), 60),
        "euler" => (VP, AnyGrid::Time(Time), 300),
        "annealed-langevin" => (COSINE, AnyGrid::LogSnr(LogSnr), 500),
        "ancestral" | "euler-maruyama" => (VP, AnyGrid::LogSnr(LogSnr), 500),
        _ => (VP, AnyGrid::LogSnr(LogSnr), 300),
    }
}

#[test]
fn every_solver_samples_the_mixture() {
    // SW₂² of two exact samples is about a sum of few χ², with mean `floor`² and a relative spread below 0.7: nine
    // times the mean is exceeded with a probability below 1e-7.
    let pairs: Vec<f64> =
        (0..12).map(|k| distance(&exact(2 * k + 100), &exact(2 * k + 101)).powi(2)).collect();
    let floor = (pairs.iter().sum::<f64>() / pairs.len() as f64).sqrt();
    let reference = exact(99);
    let karras = AnyGrid::Karras(Karras { rho: 7.0 });
    let named = |name| AnySolver::parse(name).unwrap();
    let options = [
        (named("dpm++2m"), EDM, karras, 60),
        (AnySolver::DpmSolverPp2S(DpmSolverPp2S { eta: 1.0 }), COSINE, AnyGrid::LogSnr(LogSnr), 80),
        (
            AnySolver::DpmSolverPp2M(DpmSolverPp2M { eta: 1.0 }),
            COSINE,
            AnyGrid::LogSnr(LogSnr),
            150,
        ),
        (AnySolver::Ddim(Ddim { eta: 0.5 }), VP, AnyGrid::LogSnr(LogSnr), 300),
        (AnySolver::EulerMaruyama(EulerMaruyama { churn: 0.5 }), VP, AnyGrid::LogSnr(LogSnr), 500),
    ];
    let every = AnySolver::NAMES.iter().map(|(name, _)| {
        let (schedule, grid, steps) = enough(name);
        (named(name), schedule, grid, steps)
    });
    for (solver, schedule, grid, steps) in every.chain(options) {
        let x = sample(solver, schedule.clone(), grid, steps, 7);
        let place = format!("{solver:?}, {schedule:?}, {steps} steps");
        let far = distance(&x, &reference);
        let statistic = chi_square(&x);
        let shape = kolmogorov(&residuals(&x), normal_cdf) * (2.0 * N as f64).sqrt();
        assert!(far < 3.0 * floor, "{place}: {far} with a floor of {floor}");
        assert!(statistic < CHI_SQUARE, "{place}: χ² = {statistic}");
        assert!(shape < KOLMOGOROV, "{place}: √n D = {shape}");
    }
    // The judges see too few steps.
    for (name, steps) in [("dpm++2m", 6), ("ddim", 8), ("ancestral", 8), ("euler-maruyama", 16)] {
        let x = sample(named(name), VP, AnyGrid::LogSnr(LogSnr), steps, 7);
        let shape = kolmogorov(&residuals(&x), normal_cdf) * (2.0 * N as f64).sqrt();
        assert!(shape > KOLMOGOROV, "{name} at {steps} steps: √n D = {shape}");
    }
}

#[test]
fn more_steps_refine_a_path_and_other_noise_is_refused() {
    let data =
        GaussianMixture::new(vec![Component::isotropic(1.0, vec![1.0, -1.0], 0.25)]).unwrap();
    let data = Arc::new(data);
    let device = Device::flex();
    let sampler = |solver: AnySolver, steps: usize| {
        let schedule: AnySchedule = VP;
        Sampler::new(data.clone(), Arc::new(schedule)).with_solver(solver).with_steps(steps)
    };
    let end = |sampler: Sampler, rows: std::ops::Range<u64>| {
        let x = sampler.generate(rows, &Condition::None, &Draws::new(5), &device)?;
        Rows::from_tensor(&x)
    };
    let gap = |a: &Rows, b: &Rows| {
        let squares = a.values().iter().zip(b.values()).map(|(a, b)| f64::from(a - b).powi(2));
        (squares.sum::<f64>() / a.values().len() as f64).sqrt()
    };
    let named = |name: &str| AnySolver::parse(name).unwrap();
    let two_parts = AnySolver::DpmSolverPp2S(DpmSolverPp2S { eta: 1.0 });
    for solver in [named("euler-maruyama"), named("ancestral"), two_parts] {
        let ends = |path: bool| {
            [100, 200].map(|steps| {
                let sampler = sampler(solver, steps);
                let sampler = if path { sampler.with_path_noise() } else { sampler };
                end(sampler, 0..256).unwrap()
            })
        };
        let (path, steps) = (ends(true), ends(false));
        let (near, far) = (gap(&path[0], &path[1]), gap(&steps[0], &steps[1]));
        println!("{solver:?}: {near} on one path, {far} otherwise");
        assert!(near < 0.2 * far, "{solver:?}: {near} on one path, {far} otherwise");
        let alone = end(sampler(solver, 100).with_path_noise(), 9..10).unwrap();
        assert_eq!(alone.row(0), path[0].row(9));
    }
    let mut taken = Vec::new();
    for (name, _) in AnySolver::NAMES {
        match end(sampler(named(name), 4).with_path_noise(), 0..1) {
            Ok(_) => taken.push(*name),
            Err(error) => assert!(error.to_string().starts_with("noise: a solver"), "{error}"),
        }
    }
    assert_eq!(taken, ["ancestral", "euler-maruyama"]);
}
