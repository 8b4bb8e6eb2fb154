//! Masked flows against mixtures whose log p is known, in twenty dimensions.

use super::family::{log_p, model, recipe, start_of};
use serde_json::json;
use tweedie::data::{Dataset, Rows, Space, Split};
use tweedie::family::Integers;
use tweedie::tensor::mean_and_error;
use tweedie::train::{Fit, LearningRate};
use tweedie::{Draws, Result};

const WIDTH: usize = 20;
const STEPS: u64 = 2500;
const BATCH: u64 = 512;
const FRESH: u64 = 20_000;

/// Two normal distributions of equal weight: the mean of each column and the variance of both.
struct Pair([(f64, f64); 2]);

impl Pair {
    fn rows(&self, rows: std::ops::Range<u64>) -> Result<Rows> {
        let draws = Draws::new(21);
        let (noise, choice) = (draws.purpose("noise"), draws.purpose("component"));
        let noise = noise.normals(rows.clone(), WIDTH);
        let values = rows.zip(noise.iter()).flat_map(|(i, noise)| {
            let (mean, variance) = self.0[choice.below(i, 0, 2) as usize];
            let sd = variance.sqrt();
            noise.iter().map(move |e| (mean + sd * f64::from(*e)) as f32).collect::<Vec<_>>()
        });
        Rows::new(values.collect(), WIDTH)
    }

    fn log_density(&self, x: &[f32]) -> f64 {
        let [a, b] = self.0.map(|(mean, variance)| {
            let square: f64 = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
            let volume = WIDTH as f64 * (std::f64::consts::TAU * variance).ln();
            -0.5 * (square / variance + volume) - std::f64::consts::LN_2
        });
        a.max(b) + (-(a - b).abs()).exp().ln_1p()
    }

    /// E[log p − log q] on fresh rows for a flow q of five masked layers, trained on rows that it sees once.
    fn gap(&self) -> Result<(f64, f64)> {
        let names: Vec<String> = (0..WIDTH).map(|j| format!("x{j}")).collect();
        let (train, fresh) = (self.rows(FRESH..FRESH + STEPS * BATCH)?, self.rows(0..FRESH)?);
        let space = Space::standardised(&names, &train)?;
        let held_out = Split::new(fresh.clone(), None)?;
        let data = Dataset::new("oracle", space, Split::new(train, None)?, held_out)?;
        let fit = Fit {
            batch: BATCH as usize,
            learning_rate: 2e-3,
            decay: LearningRate::Cosine,
            ema: 0.99,
            ..Fit::default()
        };
        let mut of = recipe(5, 128, fit);
        let json = json!([
            { "name": "masked", "hidden": [128, 128], "activation": "relu", "map": "affine" },
            { "name": "permutation" },
        ]);
        of.flow.layers = serde_json::from_value(json).expect("layers");
        let (of, mut learner) = start_of(of, &data, STEPS)?;
        (0..STEPS).try_for_each(|step| learner.step(step).map(|_| ()))?;
        let model = model(&of, &*learner, &data)?;
        let found = log_p(&*model, &fresh, Integers::None, "")?;
        let gaps = fresh.iter().zip(&found.value).map(|(x, q)| self.log_density(x) - q);
        Ok(mean_and_error(&gaps.collect::<Vec<f64>>()))
    }
}

/// The gap is not below zero beyond its error, and at most `most`, about three times what was measured.
fn ends_near(pair: Pair, most: f64) -> Result<()> {
    let (mean, error) = pair.gap()?;
    println!("{mean:.4} ± {error:.4} nats from the entropy");
    assert!(mean > -4.9 * error, "{mean} ± {error} nats above the entropy");
    assert!(mean < most, "{mean} ± {error} nats below it, at most {most}");
    Ok(())
}

#[test]
fn two_distant_components_are_learnt() -> Result<()> {
    let mean = 2.0 / (WIDTH as f64).sqrt();
    ends_near(Pair([(mean, 1.0), (-mean, 1.0)]), 0.03)
}

#[test]
fn a_wide_and_a_narrow_component_are_learnt() -> Result<()> {
    ends_near(Pair([(0.0, 3.0), (0.5, 1.0)]), 0.1)
}
