//! The family of flows: training, opening, sampling and densities through its model.

use crate::support::{cpu, within};
use std::path::Path;
use std::sync::Arc;
use toml::Table;
use tweedie::data::{Condition, Dataset, Rows, Source, Space, Split, Toy};
use tweedie::density::{Kind, LogProb, Measure};
use tweedie::family::chains::ChainsModel;
use tweedie::family::chains::ChainsRecipe;
use tweedie::family::flow::Flow;
use tweedie::family::{Family, Integers, Model, Opener, Opening, Setting, Start, sample};
use tweedie::mcmc::bulk_ess;
use tweedie::nn::flow::{FlowConfig, PermutationConfig};
use tweedie::registry::read;
use tweedie::tensor::mean_and_error;
use tweedie::train::{Fit, Learner, Training};
use tweedie::{Draws, Error, Result};

/// Four standard errors and nine tenths: a false alarm in a million, on one side.
const BAR: f64 = 4.9;

fn opener() -> Opener {
    Arc::new(|_: &Path| Err(Error::undefined("another run", "a flow opens none")))
}

/// A flow of small couplings, with a table of changes.
pub fn recipe(depth: usize, hidden: usize, fit: Fit) -> Flow {
    let json = serde_json::json!([
        { "name": "coupling", "hidden": [hidden, hidden], "activation": "relu" },
        { "name": "permutation" },
    ]);
    let layers = serde_json::from_value(json).expect("layers");
    let flow = FlowConfig { depth, layers, ..FlowConfig::default() };
    Flow { flow, training: fit, ..Flow::default() }
}

/// The resolved recipe and its learner.
pub fn start_of(of: Flow, data: &Dataset, steps: u64) -> Result<(Flow, Box<dyn Learner>)> {
    let training = Training { steps, ..Training::default() };
    let open = opener();
    let (space, data, device) = (&data.space, Some(data), &cpu());
    let at = Start { space, data, training: &training, seed: 0, device, open: &open };
    of.check()?;
    let resolved = of.resolve(&at)?;
    let learner = resolved.learner(&at)?;
    Ok((resolved, learner))
}

/// The model of a learner as it stands.
pub fn model(of: &Flow, learner: &dyn Learner, data: &Dataset) -> Result<Box<dyn Model>> {
    let copy = data.clone();
    let (space, device) = (data.space.clone(), cpu());
    let loader = Arc::new(move || Ok(copy.clone()));
    let at = Opening { space, classes: Vec::new(), data: loader, device, open: opener() };
    of.model(&at, &learner.weights()?, Path::new("a learner"))
}

/// log p of raw rows by the model's density.
pub fn log_p(model: &dyn Model, rows: &Rows, integers: Integers, options: &str) -> Result<LogProb> {
    let options: Table = options.parse().expect("options");
    let setting = Setting { device: &cpu(), seed: 3, observe: &|_| {} };
    let judge = model.density("exact", &options, integers, &setting)?;
    judge.density.log_prob(rows, &Condition::None, &mut |_| {})
}

/// Trained on eight Gaussians, the mean of log p on fresh points is never above −H but for its error, and ends near it.
#[test]
fn eight_gaussians_are_learnt_and_their_entropy_is_not_beaten() -> Result<()> {
    let data = Source::named("8gaussians").load()?;
    let fresh = Toy::EightGaussians.sample(20_000, 99);
    let truth: Vec<f64> =
        fresh.iter().map(|x| Toy::EightGaussians.log_density([x[0].into(), x[1].into()])).collect();
    let fit = Fit { batch: 256, learning_rate: 6e-3, warmup: 50, ema: 0.99, ..Fit::default() };
    let (of, mut learner) = start_of(recipe(12, 32, fit), &data, 900)?;
    let mut last = f64::INFINITY;
    for step in 0..900 {
        learner.step(step)?;
        if (step + 1) % 300 == 0 {
            let model = model(&of, &*learner, &data)?;
            let found = log_p(&*model, &fresh, Integers::None, "")?;
            assert_eq!((found.kind, found.measure), (Kind::Exact, Measure::Raw));
            let gap: Vec<f64> = truth.iter().zip(&found.value).map(|(p, q)| p - q).collect();
            let (mean, error) = mean_and_error(&gap);
            println!("after {} steps: {mean:.4} ± {error:.4} nats", step + 1);
            assert!(mean > -BAR * error, "{mean} ± {error} nats above the entropy");
            last = mean;
        }
    }
    assert!(last < 0.25, "{last} nats from the entropy");
    let held_out = learner.held_out()?;
    let value = |name: &str| held_out.iter().find(|(n, _)| *n == name).expect(name).1;
    // Nats a column in model units, and nats a row in the data's.
    let row = -2.0 * value("held_out/loss") - data.space.log_volume();
    within("a row and its columns", value("held_out/log_p"), row, 1e-9);
    Ok(())
}

#[test]
fn a_learner_that_was_saved_goes_on_to_the_same_bytes() -> Result<()> {
    let data = Source { n: Some(500), label: Some("class".into()), ..Source::named("moons") };
    let data = data.load()?;
    let fit = Fit { batch: 32, accumulate: 2, ..Fit::default() };
    let of = recipe(2, 8, fit);
    let (resolved, mut whole) = start_of(of.clone(), &data, 12)?;
    assert_eq!((resolved.flow.width, resolved.flow.classes), (2, 2));
    (0..12).try_for_each(|step| whole.step(step).map(|_| ()))?;
    let (_, mut first) = start_of(of.clone(), &data, 12)?;
    (0..5).try_for_each(|step| first.step(step).map(|_| ()))?;
    let (_, mut second) = start_of(of.clone(), &data, 12)?;
    second.load(first.save()?, Path::new("a checkpoint"))?;
    (5..12).try_for_each(|step| second.step(step).map(|_| ()))?;
    assert_eq!(whole.save()?, second.save()?);
    assert_eq!(resolved.weights(whole.save()?)?, whole.weights()?);
    let error = second.load(Default::default(), Path::new("empty")).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error}");
    Ok(())
}

/// Two columns of integers, each uniform on four: no probability passes ¼ · ¼ on average, and a dequantiser does not
/// hurt.
#[test]
fn integers_are_judged_by_a_bound() -> Result<()> {
    let draws = Draws::new(4);
    let value = |i: u64| draws.below(i / 2, i % 2, 4) as f32;
    let rows = |from: u64, to: u64| Rows::new((from..to).map(value).collect(), 2);
    let (train, fresh) = (rows(0, 4000)?, rows(4000, 6000)?);
    let space = Space::standardised(&["a", "b"], &train)?;
    let held_out = Split::new(fresh.clone(), None)?;
    let data = Dataset::new("integers", space, Split::new(train, None)?, held_out)?;
    let fit = Fit { batch: 128, learning_rate: 3e-3, warmup: 20, ema: 0.98, ..Fit::default() };
    let (of, mut learner) = start_of(recipe(4, 16, fit), &data, 200)?;
    (0..200).try_for_each(|step| learner.step(step).map(|_| ()))?;
    let model = model(&of, &*learner, &data)?;
    assert_eq!(model.densities()[0].integers, [Integers::Uniform, Integers::Variational]);
    let mut means = Vec::new();
    for integers in [Integers::Uniform, Integers::Variational] {
        let found = log_p(&*model, &fresh, integers, "dequantise_steps = 40")?;
        assert_eq!((found.kind, found.measure), (Kind::LowerBound, Measure::Counting));
        let (mean, error) = found.mean();
        println!("{integers:?}: {mean:.4} ± {error:.4}");
        assert!(mean < -16f64.ln() + BAR * error, "{mean} ± {error}");
        assert!(mean > -16f64.ln() - 0.4, "{mean} ± {error}");
        means.push(mean);
    }
    assert!(means[1] > means[0] - 0.05, "{means:?}");
    Ok(())
}

#[test]
fn what_a_flow_lacks_is_refused_by_name() -> Result<()> {
    let data = Source { n: Some(200), ..Source::named("moons") }.load()?;
    let (of, learner) = start_of(recipe(2, 8, Fit::default()), &data, 1)?;
    let model = model(&of, &*learner, &data)?;
    let setting = Setting { device: &cpu(), seed: 3, observe: &|_| {} };
    let generator = |text: &str| {
        let table: Table = text.parse().expect("a table");
        model.generator(&table, &setting).map(|_| ()).unwrap_err().to_string()
    };
    assert!(generator("solver = \"ddim\"").starts_with("solver"), "{}", generator("solver = 1"));
    assert!(generator("temperature = -1.0").starts_with("temperature: -1.0"));
    let density = |name: &str, options: &str| {
        let options: Table = options.parse().expect("options");
        let found = model.density(name, &options, Integers::None, &setting);
        found.map(|_| ()).unwrap_err().to_string()
    };
    assert!(density("ode", "").contains("one of exact"), "{}", density("ode", ""));
    assert!(density("exact", "probes = 3").starts_with("probes"));
    let start = |change: fn(&mut Flow)| {
        let mut of = recipe(2, 8, Fit::default());
        change(&mut of);
        start_of(of, &data, 1).map(|_| ()).unwrap_err().to_string()
    };
    assert!(start(|of| of.flow.width = 3).starts_with("flow.width: 3"));
    assert!(start(|of| of.flow.depth = 0).starts_with("flow.depth: 0"));
    let still = start(|of| of.flow.layers = vec![PermutationConfig::default().into()]);
    assert!(still.starts_with("flow.layers: no parameters"), "{still}");
    assert!(start(|of| of.sampling.temperature = f64::NAN).starts_with("sampling.temperature"));
    assert!(start(|of| of.training.batch = 0).starts_with("training.batch: 0"));
    assert!(start(|of| of.training.dequantise = false).starts_with("training.dequantise"));
    assert!(start(|of| of.training.flip = true).starts_with("training.flip"));
    let column = Rows::new((0..50).map(|i| i as f32 * 0.37).collect(), 1)?;
    let space = Space::standardised(&["alone"], &column)?;
    let split = Split::new(column, None)?;
    let narrow = Dataset::new("narrow", space, split.clone(), split)?;
    let error = start_of(recipe(2, 8, Fit::default()), &narrow, 1);
    let error = error.map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("flow.layers.coupling: 1 column"), "{error}");
    Ok(())
}

/// At temperature 0 every row is the image of the base's mode; at 1 rows are those of the flow itself.
#[test]
fn a_generator_has_a_temperature() -> Result<()> {
    let data = Source { n: Some(400), ..Source::named("moons") }.load()?;
    let (of, mut learner) = start_of(recipe(2, 8, Fit::default()), &data, 20)?;
    (0..20).try_for_each(|step| learner.step(step).map(|_| ()))?;
    let model = model(&of, &*learner, &data)?;
    let setting = Setting { device: &cpu(), seed: 3, observe: &|_| {} };
    let rows = |text: &str| -> Result<Rows> {
        let table: Table = text.parse().expect("a table");
        let generator = model.generator(&table, &setting)?;
        let rows = sample(&*model, &*generator, 0..30, |_| Ok(Condition::None), 1, &cpu(), |_| {})?;
        assert_eq!(generator.network_evaluations(), 30);
        Ok(rows)
    };
    let cold = rows("temperature = 0.0")?;
    assert!(cold.iter().all(|row| row == cold.row(0)));
    assert_eq!(rows("")?, rows("temperature = 1.0")?);
    assert!(rows("")? != cold);
    Ok(())
}

/// MALA that starts from exact draws of a flow keeps their moments, and its target is the density that is judged.
#[test]
fn a_flow_s_run_is_a_target_that_chains_leave_as_it_is() -> Result<()> {
    let data = Source { n: Some(2000), ..Source::named("8gaussians") }.load()?;
    let fit = Fit { batch: 128, learning_rate: 6e-3, warmup: 20, ema: 0.9, ..Fit::default() };
    let (of, mut learner) = start_of(recipe(4, 16, fit), &data, 100)?;
    (0..100).try_for_each(|step| learner.step(step).map(|_| ()))?;
    let flow = model(&of, &*learner, &data)?;
    let raw = data.held_out.rows().slice(0..20);
    let x = data.space.encode(&raw)?.to_tensor(&cpu());
    let target = flow.target(&Table::new())?;
    let found = crate::support::host(&target.log_density(x.into(), &Condition::None)?.value);
    let right = log_p(&*flow, &raw, Integers::None, "")?;
    for (found, right) in found.iter().zip(&right.value) {
        within("log p", found - data.space.log_volume(), *right, 1e-4);
    }
    let (weights, copy) = (learner.weights()?, data.clone());
    let opened = of.clone();
    let open: Opener = Arc::new(move |path: &Path| {
        let (space, device) = (copy.space.clone(), cpu());
        let loader = Arc::new(|| Err(Error::undefined("data", "they are not needed")));
        let at = Opening { space, classes: Vec::new(), data: loader, device, open: opener() };
        opened.model(&at, &weights, path)
    });
    let text = "target = { name = 'run', path = 'runs/flow' }\n\
        chains = { rows = 64, keep = 400, start = 'exact', kernel = 'mala, step_size = 0.02' }";
    let table: Table = text.parse().expect("TOML");
    let chains: ChainsRecipe = read(toml::Value::Table(table), "")?;
    let (space, device, training) =
        (chains.space(&open)?, cpu(), Training { steps: 400, ..Training::default() });
    let at = Start {
        space: &space,
        data: None,
        training: &training,
        seed: 0,
        device: &device,
        open: &open,
    };
    let chains = chains.resolve(&at)?;
    let mut walk = chains.learner(&at)?;
    (0..400).try_for_each(|step| walk.step(step).map(|_| ()))?;
    let loader = Arc::new(|| Err(Error::undefined("data", "there are none")));
    let (space, device) = (space.clone(), device.clone());
    let opening = Opening { space, classes: Vec::new(), data: loader, device, open: open.clone() };
    let draws = chains.model(&opening, &walk.weights()?, Path::new("chains"))?;
    let own = draws.any().downcast_ref::<ChainsModel>().expect("chains");
    let setting = Setting { device: &cpu(), seed: 1, observe: &|_| {} };
    let exact = draws.reference(4000, &setting)?.expect("a flow has exact draws");
    let exact = exact.space.encode(exact.held_out.rows())?;
    for j in 0..2 {
        for power in [1, 2] {
            let column = own.chains(j);
            let powers: Vec<Vec<f64>> =
                column.iter().map(|c| c.iter().map(|x| x.powi(power)).collect()).collect();
            let of_exact: Vec<f64> =
                exact.iter().map(|row| f64::from(row[j]).powi(power)).collect();
            let (mean, error) = mean_and_error(&of_exact);
            let own_error = error * (4000.0 / bulk_ess(&powers)?).sqrt();
            let off = (mean_and_error(&powers.concat()).0 - mean) / error.hypot(own_error);
            assert!(off.abs() < BAR, "column {j}, power {power}: {off} errors");
        }
    }
    Ok(())
}

#[test]
fn a_flow_of_rows_given_their_class_is_no_target_and_says_why() -> Result<()> {
    let label = Some("class".to_string());
    let data = Source { n: Some(60), label, ..Source::named("moons") }.load()?;
    let (of, learner) = start_of(recipe(1, 4, Fit::default()), &data, 1)?;
    let model = model(&of, &*learner, &data)?;
    let error = model.target(&Table::new()).err().expect("refused").to_string();
    assert!(error.contains("given its class") && error.contains("data.label"), "{error}");
    assert!(model.exact().is_err());
    Ok(())
}
