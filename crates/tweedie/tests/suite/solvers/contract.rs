//! The contract of every registered solver on every registered schedule.

use crate::oracle::{THREE, gap, host, normals, run, three_components};
use crate::support::schedules;
use tweedie::process::{Level, Schedule};
use tweedie::solve::grid::{Grid, LogSnr};
use tweedie::solve::{AnySolver, DormandPrince, NoiseUse, Tolerance};
use tweedie::tensor::mean_and_error;

/// Every named solver with its default options, if `wanted`.
fn solvers(wanted: impl Fn(&AnySolver) -> bool) -> Vec<(&'static str, AnySolver)> {
    let named = |(name, _): &(&'static str, _)| (*name, AnySolver::parse(name).expect("a solver"));
    AnySolver::NAMES.iter().map(named).filter(|(_, solver)| wanted(solver)).collect()
}

/// A solver without noise follows the probability-flow ODE: with steps halved it ends nearer to where Dormand &
/// Prince's method ends within 1e-9 than the two ends are apart, which is what a method of order 1 and more is off by.
#[test]
fn deterministic_solvers_end_where_the_adaptive_one_does_within_their_own_error() {
    let data = three_components();
    let exact = DormandPrince { tolerance: Tolerance { atol: 1e-9, rtol: 1e-9 } };
    let solvers = solvers(|s| s.noise_use() == NoiseUse::None && !s.is_adaptive());
    assert!(solvers.len() > 5);
    for (of, schedule) in schedules() {
        let x = normals(6, 2, schedule.prior_sd(1.0), 12);
        let ends = LogSnr.levels(&schedule, 1).expect("two levels");
        let right = host(&run(&exact, &data, &schedule, x.clone(), &ends));
        for (name, solver) in &solvers {
            let end = |steps: usize| {
                let levels = LogSnr.levels(&schedule, steps).expect("levels");
                host(&run(&**solver, &data, &schedule, x.clone(), &levels))
            };
            let (coarse, fine) = (end(100), end(200));
            let (own, off) = (gap(&coarse, &fine), gap(&fine, &right));
            assert!(own < 0.2, "{name} on {of}: halved steps end {own} away");
            assert!(off < 1.3 * own, "{name} on {of}: {off} from the end, by itself {own}");
        }
    }
}

/// Rows of a sample, and how many standard errors their means may be off: a false alarm in a million.
const ROWS: usize = 2000;
const BAR: f64 = 4.9;

/// A function of a row.
type OfRow = fn(&[f64]) -> f64;

/// What means are taken of: columns and products of two.
const MOMENTS: [(&str, OfRow); 5] = [
    ("x", |x| x[0]),
    ("y", |x| x[1]),
    ("x²", |x| x[0] * x[0]),
    ("xy", |x| x[0] * x[1]),
    ("y²", |x| x[1] * x[1]),
];

/// Their means under the mixture noised to a level.
fn moments(level: &Level) -> [f64; 5] {
    let (a, s) = (level.alpha, level.sigma);
    let mut all = [0.0; 5];
    for (weight, m, c) in THREE {
        let second = |i: usize, j: usize| a * a * (m[i] * m[j] + c[2 * i + j]);
        let noise = s * s;
        let own = [a * m[0], a * m[1], second(0, 0) + noise, second(0, 1), second(1, 1) + noise];
        all.iter_mut().zip(own).for_each(|(sum, own)| *sum += weight * own);
    }
    all
}

/// Samples of a solver with noise have the means, variances and covariance of the mixture.
#[test]
fn stochastic_solvers_have_the_moments_of_the_mixture() {
    let data = three_components();
    let solvers = solvers(|s| s.noise_use() != NoiseUse::None);
    assert!(solvers.len() > 3);
    for (of, schedule) in schedules() {
        let x = normals(ROWS, 2, schedule.prior_sd(1.0), 31);
        let levels = LogSnr.levels(&schedule, 150).expect("levels");
        let right = moments(&levels[150]);
        for (name, solver) in &solvers {
            let x = host(&run(&**solver, &data, &schedule, x.clone(), &levels));
            for ((moment, f), right) in MOMENTS.iter().zip(right) {
                let values: Vec<f64> = x.chunks(2).map(f).collect();
                let (mean, error) = mean_and_error(&values);
                let off = (mean - right) / error;
                let place = format!("{name} on {of}: {moment} is {mean:.4}, not {right:.4}");
                assert!(off.abs() < BAR, "{place}: {off:.2} standard errors");
            }
        }
    }
}
