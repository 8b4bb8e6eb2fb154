//! Families other than diffusion through the interface of runs: a recipe's part gives a learner, its weights a model.

mod adversarial;
mod chains;
mod contract;
mod energies;
mod every;
mod mixture;

use crate::support::cpu;
use std::path::Path;
use std::sync::Arc;
use toml::{Table, Value};
use tweedie::burn::tensor::Tensor;
use tweedie::data::{Condition, Dataset, Rows, Source, Space};
use tweedie::density::LogProb;
use tweedie::family::{Family, Integers, Model, Opener, Opening, Setting, Start};
use tweedie::registry::read;
use tweedie::train::{Learner, Training};
use tweedie::{Draws, Error, Result};

/// A family's part of a recipe.
fn recipe<F: Family>(text: &str) -> F {
    parsed(text).expect("a recipe")
}

fn parsed<F: Family>(text: &str) -> Result<F> {
    let table: Table = text.parse().expect("TOML");
    let recipe: F = read(Value::Table(table), "")?;
    recipe.check()?;
    Ok(recipe)
}

/// What a part of a recipe is refused for.
fn refusal<F: Family>(text: &str) -> String {
    parsed::<F>(text).expect_err("it is refused").to_string()
}

/// Opens no run.
fn nothing() -> Opener {
    Arc::new(|path: &Path| Err(Error::config("path", path.display().to_string(), "no run")))
}

/// What a run gives a family.
struct Bed {
    space: Space,
    data: Option<Dataset>,
    training: Training,
    open: Opener,
}

impl Bed {
    fn with_data(data: Dataset, steps: u64) -> Self {
        let training = Training { steps, ..Training::default() };
        Self { space: data.space.clone(), data: Some(data), training, open: nothing() }
    }

    fn without_data<F: Family>(recipe: &F, steps: u64, open: Opener) -> Result<Self> {
        let training = Training { steps, ..Training::default() };
        Ok(Self { space: recipe.space(&open)?, data: None, training, open })
    }

    /// The resolved recipe and its learner.
    fn learner<F: Family>(&self, recipe: &F) -> Result<(F, Box<dyn Learner>)> {
        let device = cpu();
        let start = Start {
            space: &self.space,
            data: self.data.as_ref(),
            training: &self.training,
            seed: 5,
            device: &device,
            open: &self.open,
        };
        let recipe = recipe.clone().resolve(&start)?;
        let learner = recipe.learner(&start)?;
        Ok((recipe, learner))
    }

    fn model<F: Family>(&self, recipe: &F, learner: &dyn Learner) -> Result<Box<dyn Model>> {
        let opening = Opening {
            space: self.space.clone(),
            classes: Vec::new(),
            data: Arc::new(|| Err(Error::config("data", "read", "no need of them"))),
            device: cpu(),
            open: self.open.clone(),
        };
        recipe.model(&opening, &learner.weights()?, Path::new("model"))
    }

    /// The model after all steps.
    fn trained<F: Family>(&self, recipe: &F) -> Result<Box<dyn Model>> {
        let (recipe, mut learner) = self.learner(recipe)?;
        (0..self.training.steps).try_for_each(|step| learner.step(step).map(|_| ()))?;
        self.model(&recipe, &*learner)
    }
}

/// A toy's points, a sixth of them held out, perhaps with its classes as labels.
fn toy(name: &str, n: usize, label: Option<&str>) -> Dataset {
    let label = label.map(String::from);
    Source { n: Some(n), label, ..Source::named(name) }.load().expect("a toy")
}

fn setting(device: &tweedie::burn::tensor::Device) -> Setting<'_> {
    Setting { device, seed: 0, observe: &|_| {} }
}

/// log p of raw rows by the model's first density.
fn log_p(model: &dyn Model, raw: &Rows, condition: &Condition) -> LogProb {
    let (entries, device) = (model.densities(), cpu());
    let entry = &entries[0];
    let integers = entry.integers[0];
    let judge = model.density(entry.name, &Table::new(), integers, &setting(&device));
    judge.expect("a density").density.log_prob(raw, condition, &mut |_| {}).expect("log p")
}

/// Rows of a model's sample, in model units.
fn rows(model: &dyn Model, rows: std::ops::Range<u64>, condition: &Condition) -> Result<Tensor<2>> {
    let device = cpu();
    let generator = model.generator(&Table::new(), &setting(&device))?;
    generator.generate(rows, condition, &Draws::new(9), &device)
}

/// ∫ p over a square of raw units, by the midpoint rule.
fn integral(model: &dyn Model, (low, high): (f64, f64), cells: usize) -> f64 {
    assert_eq!(model.densities()[0].integers, [Integers::None]);
    let step = (high - low) / cells as f64;
    let at = |i: usize| (low + (i as f64 + 0.5) * step) as f32;
    let values = (0..cells * cells).flat_map(|i| [at(i % cells), at(i / cells)]).collect();
    let log_p = log_p(model, &Rows::new(values, 2).expect("a grid"), &Condition::None);
    log_p.value.iter().map(|log_p| log_p.exp()).sum::<f64>() * step * step
}
