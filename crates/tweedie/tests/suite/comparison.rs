//! Comparisons of runs: log p of the same rows, densities on a grid, and what is refused.

use crate::support::{close, cpu, within};
use std::path::Path;
use toml::Table;
use tweedie::Error;
use tweedie::data::{Condition, Part};
use tweedie::family::{Integers, Setting};
use tweedie::judge::compare::page;
use tweedie::judge::{Comparison, ComparisonResult, Reference};
use tweedie::run::{Cost, Recipe, Run};
use tweedie::tensor::mean_and_error;

/// A run of a recipe after its steps, in `folder/name`.
fn trained(folder: &Path, name: &str, recipe: &str) -> Run {
    let recipe = Recipe::parse(recipe, &[]).unwrap();
    let data = recipe.load_data().unwrap();
    let run = Run::create(&folder.join(name), recipe, &data).unwrap();
    let mut learner = run.learner(&data, &cpu()).unwrap();
    for step in 0..run.info.recipe.training.steps {
        learner.step(step).unwrap();
    }
    run.save_weights(&learner.weights().unwrap()).unwrap();
    run
}

/// Points of two moons, then a mixture.
fn mixture(options: &str, data: &str) -> String {
    format!(
        "family = \"mixture\"\n[data]\nsource = \"moons\"\n{data}\n[mixture]\n{options}\n[training]\nsteps = 20"
    )
}

fn compared(runs: &[Run]) -> Result<(ComparisonResult, Reference), Error> {
    let (sampling, device) = (Table::new(), cpu());
    let comparison = Comparison {
        sweep: ("steps", &[]),
        sampling: &sampling,
        n: 100,
        part: Part::Test,
        classifier: None,
        log_p_rows: None,
        densities: true,
    };
    comparison.compare(runs, &Setting { device: &device, seed: 0, observe: &|_| {} })
}

const MOONS: &str = "n = 3000";
const ONE: &str = "name = \"gaussian-mixture\"\ncomponents = 1";

/// Three runs on the same moons.
fn three(folder: &Path) -> Vec<Run> {
    [
        ("one", ONE),
        ("five", "name = \"gaussian-mixture\"\ncomponents = 5"),
        ("kernel", "name = \"kde\""),
    ]
    .map(|(name, options)| trained(folder, name, &mixture(options, MOONS)))
    .into()
}

/// log p of the test rows by a run's model, without the comparison.
fn by_hand(run: &Run) -> Vec<f64> {
    let (device, data) = (cpu(), run.data().unwrap().judged_on(Part::Test));
    let model = run.model(&device).unwrap();
    let at = Setting { device: &device, seed: 3, observe: &|_| {} };
    let judge = model.density("exact", &Table::new(), Integers::None, &at).unwrap();
    let rows = data.held_out.rows();
    judge.density.log_prob(rows, &Condition::None, &mut |_| {}).unwrap().value
}

#[test]
fn differences_are_those_of_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let runs = three(folder.path());
    runs[1]
        .save_cost(Cost { seconds: 2.5, peak_memory_mb: Some(64.0), ..Cost::default() })
        .unwrap();
    let (found, reference) = compared(&runs).unwrap();
    let rows: Vec<Vec<f64>> = runs.iter().map(by_hand).collect();
    assert_eq!(found.differences.len(), 3);
    for (difference, (i, j)) in found.differences.iter().zip([(0, 1), (0, 2), (1, 2)]) {
        let named = [&difference.run, &difference.other];
        assert_eq!(named, [i, j].map(|k: usize| &found.runs[k].run));
        let pairs: Vec<f64> = rows[i].iter().zip(&rows[j]).map(|(a, b)| a - b).collect();
        let (mean, error) = mean_and_error(&pairs);
        within("difference", difference.mean, mean, 1e-9);
        close("its error", difference.standard_error, error, 1e-9);
        // What both find hard cancels.
        let errors = [i, j].map(|k| found.runs[k].log_p.as_ref().unwrap().standard_error);
        assert!(difference.standard_error < 0.9 * errors[0].hypot(errors[1]), "{difference:?}");
    }
    assert!(found.differences[0].mean < -4.9 * found.differences[0].standard_error);
    let costs = found.runs.iter().map(|run| (run.training_seconds, run.peak_memory_mb));
    let none = (None, None);
    assert_eq!(costs.collect::<Vec<_>>(), [none, (Some(2.5), Some(64.0)), none]);
    let (headings, lines) = found.log_p_differences().unwrap();
    assert_eq!(headings, ["run", "− one", "− five", "− kernel"]);
    for (i, line) in lines.iter().enumerate() {
        assert_eq!(line[i + 1], "–");
        for (j, other) in lines.iter().enumerate().filter(|(j, _)| *j != i) {
            let number = |cell: &str| cell.split(' ').next().unwrap().parse::<f64>().unwrap();
            assert_eq!(number(&line[j + 1]), -number(&other[i + 1]));
        }
    }
    let page = page(&found, &reference.data).unwrap().html();
    for word in ["Densities", "Differences of log p", "not a probability", "looks can disagree"] {
        assert!(page.contains(word), "no {word}");
    }
    assert!(!page.contains("Exact values, bounds"), "all are exact");
}

/// Over its rectangle a density sums to its mass there, all of it but a little in the tails.
#[test]
fn densities_on_a_grid_have_their_mass() {
    let folder = tempfile::tempdir().unwrap();
    let (found, reference) = compared(&three(folder.path())[..2]).unwrap();
    let rows = reference.data.train.rows();
    let side = |k: usize| {
        let column = || rows.iter().map(|row| f64::from(row[k]));
        1.3 * (column().fold(f64::MIN, f64::max) - column().fold(f64::MAX, f64::min))
    };
    for run in &found.runs {
        let values = run.density.as_ref().unwrap();
        let cell = side(0) * side(1) / values.len() as f64;
        let mass = cell * values.iter().sum::<f64>();
        assert!((0.97..1.001).contains(&mass), "{}: {mass}", run.run);
    }
}

#[test]
fn what_differs_between_data_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let first = trained(folder.path(), "first", &mixture(ONE, MOONS));
    for (name, data, words) in [
        ("more", "n = 3100", vec!["other held-out rows", "other training rows"]),
        ("seed", "n = 3000\nseed = 9", vec!["other held-out rows"]),
        ("labelled", "n = 3000\nlabel = \"class\"", vec!["other labels", "columns with other"]),
    ] {
        let other = trained(folder.path(), name, &mixture(ONE, data));
        let error = compared(&[first.clone(), other]).unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error}");
        let text = error.to_string();
        for word in words {
            assert!(text.contains(word), "{name}: no {word} in {text}");
        }
    }
}
