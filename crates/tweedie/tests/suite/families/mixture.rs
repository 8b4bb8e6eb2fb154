//! The family of mixtures, kernel estimates and single densities.

use super::*;
use crate::support::{doubles, host, within};
use tweedie::data::{Coordinate, Kind, Layout, Split};
use tweedie::denoise::Denoiser;
use tweedie::density::{Density, Kind as OfNumber, Measure};
use tweedie::family::mixture::{MixtureModel, MixtureRecipe};
use tweedie::process::Level;

/// A step's or held-out value by name.
fn value(values: &[(&'static str, f64)], name: &str) -> f64 {
    values.iter().find(|(found, _)| *found == name).expect(name).1
}

fn mixture_of(model: &dyn Model) -> &MixtureModel {
    model.any().downcast_ref().expect("a mixture")
}

#[test]
fn steps_raise_the_likelihood_until_they_change_nothing() {
    let bed = Bed::with_data(toy("moons", 600, None), 400);
    let recipe: MixtureRecipe = recipe(
        "mixture = 'gaussian-mixture, components = 5, regularisation = { relative = 0.0 }, restarts = 1'",
    );
    let (_, mut learner) = bed.learner(&recipe).expect("a learner");
    let mut last = f64::NEG_INFINITY;
    let mut step = 0;
    loop {
        let values = learner.step(step).expect("a step");
        let log_p = value(&values, "train/log_p");
        assert_eq!(value(&values, "train/loss"), -log_p);
        assert!(log_p > last - 1e-12, "step {step}: {log_p} after {last}");
        (last, step) = (log_p, step + 1);
        if value(&values, "train/converged") == 1.0 {
            break;
        }
        assert!(step < 400, "it has not converged");
    }
    assert!(step > 10, "{step}");
    let state = learner.save().expect("a state");
    assert_eq!(value(&learner.step(step).expect("a step"), "train/log_p"), last);
    assert_eq!(learner.save().expect("a state"), state);
}

#[test]
fn the_held_out_value_is_the_mean_of_the_model_s_own_log_p() {
    for label in [None, Some("class")] {
        let bed = Bed::with_data(toy("moons", 600, label), 20);
        for name in ["gaussian-mixture, components = 3", "kde", "laplace", "student-t"] {
            let recipe: MixtureRecipe = recipe(&format!("mixture = '{name}'"));
            let (recipe, mut learner) = bed.learner(&recipe).expect("a learner");
            (0..20).for_each(|step| drop(learner.step(step).expect("a step")));
            let model = bed.model(&recipe, &*learner).expect("a model");
            let held_out = &bed.data.as_ref().expect("data").held_out;
            let judged = log_p(&*model, held_out.rows(), &held_out.labels().into());
            assert_eq!((judged.kind, judged.measure), (OfNumber::Exact, Measure::Raw));
            let found = value(&learner.held_out().expect("values"), "held_out/log_p");
            within(name, found, judged.mean().0, 1e-9);
        }
    }
}

#[test]
fn the_density_of_all_classes_is_their_sum_by_frequency() {
    // A third of class 0.
    let all = toy("moons", 600, Some("class"));
    let labels = all.train.labels().expect("labels");
    let kept: Vec<usize> = (0..600).filter(|&i| labels[i] == 1 || i % 2 == 0).collect();
    let train = all.train.select(&kept);
    let ones = train.labels().expect("labels").iter().sum::<u32>();
    let share = f64::from(ones) / train.len() as f64;
    assert!(share > 0.6, "{share}");
    let data = Dataset::new("moons", all.space, train, all.held_out.clone()).expect("data");
    let (bed, raw) = (Bed::with_data(data, 10), all.held_out.rows());
    for name in ["gaussian-mixture, components = 3", "kde", "gaussian", "laplace", "student-t"] {
        let recipe: MixtureRecipe = recipe(&format!("mixture = '{name}'"));
        let model = bed.trained(&recipe).expect("a model");
        let of = |condition: &Condition| log_p(&*model, raw, condition).value;
        let [zero, one] = [0, 1].map(|class| of(&Condition::class(class, raw.len())));
        let labels = (0..raw.len()).map(|i| (i % 3 != 2).then_some((i % 3) as u32)).collect();
        let (mixed, mixed_labels) = (of(&Condition::None), of(&Condition::Class(labels)));
        for i in 0..raw.len() {
            let sum = ((1.0 - share) * zero[i].exp() + share * one[i].exp()).ln();
            within(format!("{name}, row {i}"), mixed[i], sum, 1e-9 * sum.abs().max(1.0));
            assert_eq!(mixed_labels[i], [zero[i], one[i], mixed[i]][i % 3]);
        }
        let error = rows(&*model, 0..1, &Condition::class(2, 1)).expect_err("refused");
        assert!(error.to_string().contains("class"), "{error}");
    }
}

#[test]
fn the_least_bic_finds_eight_gaussians() {
    let bed = Bed::with_data(toy("8gaussians", 800, None), 60);
    let table =
        "mixture = 'gaussian-mixture, components = [2, 4, 8, 11], covariance = \"spherical\"'";
    let model = bed.trained(&recipe::<MixtureRecipe>(table)).expect("a model");
    let oracle = mixture_of(&*model).oracle().expect("a mixture");
    assert_eq!(oracle.components().len(), 8);
}

/// E[x₀ | x] by summing over a grid of the model's own density.
fn posterior_mean(
    model: &MixtureModel,
    condition: &Condition,
    level: &Level,
    x: [f64; 2],
) -> [f64; 2] {
    const CELLS: usize = 240;
    let at = |i: usize| -6.0 + 12.0 * (i as f64 + 0.5) / CELLS as f64;
    let grid: Vec<f64> = (0..CELLS * CELLS).flat_map(|i| [at(i % CELLS), at(i / CELLS)]).collect();
    let condition = match condition {
        Condition::Class(labels) => Condition::Class(vec![labels[0]; CELLS * CELLS]),
        _ => Condition::None,
    };
    let log_p = model.distribution().log_prob(doubles(&grid, 2), &condition).expect("log p").value;
    let mut sums = [0.0; 3];
    for (x0, log_p) in grid.chunks(2).zip(log_p) {
        let off = (0..2).map(|j| (x[j] - level.alpha * x0[j]).powi(2)).sum::<f64>();
        let weight = (log_p - 0.5 * off / level.sigma.powi(2)).exp();
        sums = [sums[0] + weight * x0[0], sums[1] + weight * x0[1], sums[2] + weight];
    }
    [sums[0] / sums[2], sums[1] / sums[2]]
}

#[test]
fn the_oracle_of_a_run_is_the_posterior_mean_of_its_own_density() {
    let bed = Bed::with_data(toy("moons", 400, Some("class")), 15);
    let level = Level::variance_preserving(0.0, 0.3);
    for covariance in ["full", "tied", "diagonal", "spherical"] {
        let table =
            format!("mixture = 'gaussian-mixture, components = 3, covariance = \"{covariance}\"'");
        let model = bed.trained(&recipe::<MixtureRecipe>(&table)).expect("a model");
        let model = mixture_of(&*model);
        let oracle = model.oracle().expect("a mixture");
        for condition in [Condition::None, Condition::class(0, 1), Condition::class(1, 1)] {
            let x = [0.4, -0.9];
            let mean = oracle.denoise(doubles(&x, 2).into(), &level.into(), &condition);
            let (found, right) =
                (host(&mean.expect("a mean").value), posterior_mean(model, &condition, &level, x));
            for j in 0..2 {
                within(format!("{covariance} {condition:?} {j}"), found[j], right[j], 1e-8);
            }
        }
    }
    let error = bed.trained(&recipe::<MixtureRecipe>("mixture = 'kde'")).expect("a model");
    assert!(mixture_of(&*error).oracle().is_err());
}

#[test]
fn samples_have_the_moments_of_the_rows_that_a_gaussian_was_fitted_to() {
    let bed = Bed::with_data(toy("moons", 600, None), 1);
    let n = 40_000;
    for (name, spread) in [("gaussian", 2.0), ("gaussian-mixture, components = 2", 3.0)] {
        let recipe: MixtureRecipe = recipe(&format!("mixture = '{name}'"));
        let model = bed.trained(&recipe).expect("a model");
        let x = host(&rows(&*model, 0..n, &Condition::None).expect("rows"));
        // Fitted to rows of mean 0 and variance 1 in each column; EM keeps both.
        for j in 0..2 {
            let column: Vec<f64> = x.iter().skip(j).step_by(2).copied().collect();
            let mean = column.iter().sum::<f64>() / n as f64;
            let square = column.iter().map(|v| v * v).sum::<f64>() / n as f64;
            within(format!("{name} {j}"), mean, 0.0, 4.9 / (n as f64).sqrt());
            within(format!("{name} {j}"), square, 1.0, 4.9 * (spread / n as f64).sqrt() + 1e-4);
        }
    }
}

/// One column of a kind, of which rows are integers.
fn integers(kind: Kind) -> Dataset {
    let column = Coordinate { kind, ..Coordinate::real("colour") };
    let space = Space::new(Layout::Vector { width: 1 }, vec![column]).expect("a space");
    let draws = Draws::new(3);
    let values = (0..300).map(|i| (draws.below(i, 0, 2) + draws.below(i, 1, 2)) as f32).collect();
    let split = Split::new(Rows::new(values, 1).expect("rows"), None).expect("a split");
    Dataset::new("integers", space, split.clone(), split).expect("data")
}

#[test]
fn integers_are_spread_and_categories_refused_by_name() {
    let recipe: MixtureRecipe = recipe("mixture = 'kde'");
    let data = integers(Kind::Quantised { low: Some(0), high: Some(2) });
    let rows = data.held_out.rows().clone();
    let model = Bed::with_data(data, 1).trained(&recipe).expect("a model");
    assert_eq!(model.densities()[0].integers, [Integers::Uniform]);
    let judged = log_p(&*model, &rows, &Condition::None);
    assert_eq!((judged.kind, judged.measure), (OfNumber::LowerBound, Measure::Counting));
    // The entropy of these integers is 1.04 nats, which no code beats.
    assert!((-1.3..-1.0).contains(&judged.mean().0), "{:?}", judged.mean());
    let names = ["red", "green", "blue"].map(String::from).to_vec();
    let bed = Bed::with_data(integers(Kind::Category { names }), 1);
    let error = bed.learner(&recipe).err().expect("refused").to_string();
    assert!(error.contains("'colour' is a category"), "{error}");
}

#[test]
fn a_class_with_too_few_rows_is_named() {
    let all = toy("moons", 100, Some("class"));
    let labels = all.train.labels().expect("labels");
    let mut ones = 0;
    let keep = |i: &usize| {
        ones += labels[*i];
        labels[*i] == 0 || ones < 3
    };
    let kept: Vec<usize> = (0..100).filter(keep).collect();
    let data = Dataset::new("few", all.space, all.train.select(&kept), all.held_out).expect("data");
    let bed = Bed::with_data(data, 1);
    let recipe: MixtureRecipe = recipe("mixture = 'gaussian-mixture, components = 4'");
    let error = bed.learner(&recipe).err().expect("refused").to_string();
    assert!(error.starts_with("mixture.components: 4 in class '1'"), "{error}");
}

#[test]
fn a_bandwidth_is_a_number_or_the_name_of_a_rule() {
    let read = |text: &str| -> Result<MixtureRecipe> {
        let table: toml::Table = format!("mixture = {text}").parse().expect("a table");
        tweedie::registry::read(toml::Value::Table(table), "")
    };
    for right in
        ["'kde, bandwidth = \"silverman\"'", "'kde, bandwidth = 2'", "'kde, bandwidth = 0.5'"]
    {
        let recipe = read(right).expect("a recipe");
        let table = toml::Value::try_from(&recipe).expect("a table");
        assert_eq!(tweedie::registry::read::<MixtureRecipe>(table, "").expect("again"), recipe);
    }
    for (wrong, part) in [("scot", "`scott` perhaps"), ("rule", "one of scott, silverman, loo")] {
        let wrong = format!("{{ name = 'kde', bandwidth = '{}' }}", wrong);
        let error = read(&wrong).expect_err("refused").to_string();
        assert!(error.starts_with("mixture.bandwidth: ") && error.contains(part), "{error}");
    }
    let error = read("{ name = 'kde', bandwidth = [1] }").expect_err("refused").to_string();
    assert!(error.contains("expected a number above 0 or one of scott"), "{error}");
}
