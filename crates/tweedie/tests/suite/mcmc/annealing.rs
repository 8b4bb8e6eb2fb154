//! Annealed importance sampling of densities whose integrals are known.

use super::*;
use tweedie::data::{RowDensity, row_by_row};
use tweedie::divergence::Weights;
use tweedie::mcmc::{Annealing, GeometricPath, Mala, RandomWalk};
use tweedie::path::Direction;
use tweedie::tensor::Dual;
use tweedie::{Error, Result};

/// γ = exp(−½ (x − mean)²/variance), Z = √(2π variance).
struct Bell {
    mean: f64,
    variance: f64,
}

impl RowDensity for Bell {
    fn log_p(&self, x: &[f64], score: &mut [f64]) -> f64 {
        score[0] = (self.mean - x[0]) / self.variance;
        -0.5 * (x[0] - self.mean).powi(2) / self.variance
    }
}

impl LogDensity for Bell {
    fn width(&self) -> usize {
        1
    }
    fn log_density(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        row_by_row(self, 1, x, condition)
    }
    fn by_row(&self) -> Option<&dyn RowDensity> {
        Some(self)
    }
}

const BASE: Bell = Bell { mean: 0.0, variance: 1.0 };
const TARGET: Bell = Bell { mean: 1.0, variance: 0.5 };

/// Exact rows of a bell.
fn rows(of: &Bell, n: u64, seed: u64) -> Tensor<2> {
    let draws = Draws::new(seed);
    let x: Vec<f64> =
        (0..n).map(|i| of.mean + of.variance.sqrt() * draws.normal_f64(i, 0)).collect();
    doubles(&x, 1)
}

/// ln w of `n` chains in one direction.
fn weights(direction: Direction, n: u64, temperatures: usize, kernel: &dyn Transition) -> Vec<f64> {
    let path = GeometricPath { base: &BASE, target: &TARGET };
    let start = match direction {
        Direction::Forward => rows(&BASE, n, 1),
        Direction::Backward => rows(&TARGET, n, 2),
    };
    let annealing = Annealing { kernel, temperatures, steps: 1 };
    annealing.run(&path, direction, start, &Draws::new(3)).expect("weights").1
}

/// The error that log_mean states covers the truth in 95 of 100 cases, in both directions, and the means of ln w lie
/// on either side: 2,000 repetitions of 100 chains.
#[test]
fn errors_of_annealing_cover_the_truth_and_directions_enclose_it() {
    let right = 0.5 * (TARGET.variance / BASE.variance).ln();
    let kernel = Mala { step_size: 0.3, ..Mala::default() };
    for (direction, sign) in [(Direction::Forward, 1.0), (Direction::Backward, -1.0)] {
        let log_w = weights(direction, 200_000, 20, &kernel);
        let mean = log_w.iter().sum::<f64>() / log_w.len() as f64;
        assert!(sign * (right - sign * mean) > 0.002, "{direction:?}: {mean}, {right}");
        let all =
            log_w.chunks(100).map(|some| Weights::new(some.to_vec()).expect("weights").log_mean());
        let (mut covered, mut sum) = (0.0, Vec::new());
        for found in all {
            covered += f64::from((sign * found.value - right).abs() < 1.96 * found.standard_error)
                / 2000.0;
            sum.push((found.value - sign * right).exp());
        }
        within(format!("coverage, {direction:?}"), covered, 0.95, 0.03);
        let (mean, variance) = moments(&sum);
        within("E w Z₀/Z₁", mean, 1.0, BAR * (variance / 2000.0).sqrt());
    }
}

/// More temperatures, less spread: the gap of the mean of ln w falls as 1/K.
#[test]
fn the_gap_of_annealing_falls_with_the_number_of_temperatures() {
    let right = 0.5 * (TARGET.variance / BASE.variance).ln();
    let gap = |temperatures| {
        let kernel = Mala { step_size: 0.3, ..Mala::default() };
        let log_w = weights(Direction::Forward, 20_000, temperatures, &kernel);
        right - log_w.iter().sum::<f64>() / 20_000.0
    };
    let (few, many) = (gap(100), gap(400));
    assert!(many > 0.0 && (2.5..6.5).contains(&(few / many)), "{few}, {many}");
}

/// One temperature is importance sampling, whatever the kernel.
#[test]
fn one_temperature_is_importance_sampling() {
    let found = weights(Direction::Forward, 5, 1, &RandomWalk::default());
    let x = host(&rows(&BASE, 5, 1));
    for (found, x) in found.iter().zip(x) {
        let log = |of: &Bell| -0.5 * (x - of.mean).powi(2) / of.variance;
        within("ln w", *found, log(&TARGET) - log(&BASE), 1e-12);
    }
}

#[test]
fn annealing_names_the_key_of_a_wrong_number() {
    let path = GeometricPath { base: &BASE, target: &TARGET };
    for (temperatures, steps, key) in [(0, 1, "temperatures"), (1, 0, "steps")] {
        let annealing = Annealing { kernel: &Mala::default(), temperatures, steps };
        let start = rows(&BASE, 2, 1);
        let error = annealing.run(&path, Direction::Forward, start, &Draws::new(0)).expect_err("0");
        assert!(matches!(&error, Error::Config { key: found, .. } if found == key), "{error}");
    }
}
