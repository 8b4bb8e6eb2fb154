//! Whole samplers in single precision against fresh exact samples of eight Gaussians.

use crate::oracle::{COSINE, EDM, VP, eight_gaussians};
use std::sync::Arc;
use tweedie::Draws;
use tweedie::burn::tensor::{DType, Device};
use tweedie::data::Rows;
use tweedie::denoise::Condition;
use tweedie::metric::wasserstein;
use tweedie::process::AnySchedule;
use tweedie::solve::{AnySolver, Ddim, Generate, Grid, Last, Sampler};

const N: usize = 4000;

fn exact(seed: u64) -> Rows {
    let x = eight_gaussians().sample(N, &Draws::new(seed), &Device::flex());
    Rows::from_tensor(&x).unwrap()
}

fn distance(a: &Rows, b: &Rows) -> f64 {
    wasserstein::sliced_random(a, b, 1, 64).unwrap().distance
}

/// Pearson's statistic of the nearest components' counts; χ² with 7 degrees of freedom.
fn chi_square(x: &Rows) -> f64 {
    let mixture = eight_gaussians();
    let mut counts = [0.0; 8];
    for row in x.iter() {
        let square = |k: usize| {
            let mean = &mixture.components()[k].mean;
            row.iter().zip(mean).map(|(x, m)| (f64::from(*x) - m).powi(2)).sum::<f64>()
        };
        counts[(0..8).min_by(|a, b| square(*a).total_cmp(&square(*b))).unwrap()] += 1.0;
    }
    let expected = x.len() as f64 / 8.0;
    counts.iter().map(|c| (c - expected).powi(2) / expected).sum()
}

fn sample(solver: AnySolver, schedule: AnySchedule, grid: Grid, steps: usize, seed: u64) -> Rows {
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

#[test]
fn every_solver_samples_the_mixture() {
    let floors: Vec<f64> =
        (0..20).map(|k| distance(&exact(2 * k + 100), &exact(2 * k + 101))).collect();
    let mean = floors.iter().sum::<f64>() / 20.0;
    let sd = (floors.iter().map(|f| (f - mean).powi(2)).sum::<f64>() / 19.0).sqrt();
    println!("floor {mean} sd {sd} {floors:?}");
    let reference = exact(99);
    let karras = Grid::Karras { rho: 7.0 };
    for (name, solver, schedule, grid, steps) in [
        ("dpm++2m", AnySolver::default(), COSINE, Grid::LogSnr, 40),
        ("dpm++2m edm", AnySolver::default(), EDM, karras, 40),
        ("ddim", AnySolver::Ddim(Ddim { eta: 0.0 }), COSINE, Grid::LogSnr, 200),
        ("ddim eta", AnySolver::Ddim(Ddim { eta: 0.5 }), VP, Grid::LogSnr, 200),
        ("ancestral", AnySolver::parse("ancestral").unwrap(), VP, Grid::LogSnr, 300),
        ("euler-maruyama", AnySolver::parse("euler-maruyama").unwrap(), VP, Grid::Time, 600),
        ("euler", AnySolver::parse("euler").unwrap(), VP, Grid::Time, 300),
        ("heun", AnySolver::parse("heun").unwrap(), EDM, karras, 40),
        ("dopri5", AnySolver::parse("dopri5").unwrap(), COSINE, Grid::LogSnr, 1),
        ("bad dpm", AnySolver::default(), COSINE, Grid::LogSnr, 6),
        ("bad euler", AnySolver::parse("euler").unwrap(), VP, Grid::Time, 10),
        ("bad anc", AnySolver::parse("ancestral").unwrap(), VP, Grid::LogSnr, 12),
    ] {
        let clock = std::time::Instant::now();
        let x = sample(solver, schedule, grid, steps, 7);
        let found = distance(&x, &reference);
        println!(
            "{name}: {found} = {} floors, {} sd, chi2 {} ({:?})",
            found / mean,
            (found - mean) / sd,
            chi_square(&x),
            clock.elapsed()
        );
    }
}
