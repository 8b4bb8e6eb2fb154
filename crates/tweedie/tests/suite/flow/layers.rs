//! Linear maps, activation normalisation, planar, radial and residual maps.

use super::contract::{came_back, jacobians, log_det_and_inverse, points};
use super::family::{log_p, model, recipe, start_of};
use super::*;
use crate::double::along_parameters;
use crate::dual::normal;
use crate::support::*;
use burn::module::Module;
use burn::tensor::{DType, Tensor};
use std::path::Path;
use tweedie::Result;
use tweedie::data::{Dataset, Encoding, Feed, LogDensity, Rows, Source, Space, Split};
use tweedie::family::Integers;
use tweedie::nn::flow::Bijection;
use tweedie::nn::{collect_params, map_params, param_count};
use tweedie::tensor::{Dual, jvp, mean_and_error};
use tweedie::train::{AdamW, Fit};

/// The names of the bijections of this file.
const NAMES: [&str; 5] = ["linear", "activation-norm", "planar", "radial", "residual"];

/// A flow of layers in JSON.
fn flow_of(width: usize, depth: usize, layers: serde_json::Value) -> Result<Flow> {
    let layers = serde_json::from_value(layers).expect("layers");
    let config = FlowConfig::new(width).with_depth(depth).with_layers(layers);
    config.init(&Draws::new(3), &cpu())
}

/// The flow with the values that `change` makes of each parameter's.
fn with(flow: Flow, change: impl Fn(&str, &mut [f32])) -> Result<Flow> {
    let mut params = collect_params(&flow)?;
    for (path, data) in &mut params {
        change(path, data.as_mut_slice::<f32>().expect("single precision"));
    }
    map_params(flow, &params, Path::new("changed"))
}

/// Round trips both ways in double precision.
fn round_trips(what: &str, flow: &Flow, x: &Tensor<2>) -> Result<()> {
    let flow = double(flow);
    let none = &Condition::None;
    for way in 0..2 {
        let map = |x: Dual<2>, way: usize| match way {
            0 => flow.to_noise(x, none),
            _ => flow.to_data(x, none),
        };
        let (z, log_det) = map(x.clone().into(), way)?;
        let (back, opposite) = map(z.value.clone().into(), 1 - way)?;
        let (right, conditions) = jacobians(|x| Ok(map(x, way)?.0), x)?;
        came_back(what, [x, &z.value, &back.value], &conditions, 1e-11);
        let found = host(&log_det.value);
        for ((a, b), right) in found.iter().zip(host(&opposite.value)).zip(right) {
            within(format!("{what}, {way}: log-determinant"), *a, right, 1e-8);
            within(format!("{what}, {way}: both ways"), *a, -b, 1e-8);
        }
    }
    Ok(())
}

/// The flows of this file's bijections with random weights, in double precision.
fn own(width: usize, given: Given) -> impl Iterator<Item = (String, Flow)> {
    let named = |(what, _): &(String, Flow)| NAMES.iter().any(|name| what.contains(name));
    flows(width, given, 0.4).into_iter().filter(named).map(|(what, flow)| (what, double(&flow)))
}

/// ∇ₓ log p, and along lines the first and second derivative of log p, against differences.
#[test]
fn derivatives_by_rows_are_those_of_differences() -> Result<()> {
    for (given, (what, flow)) in Given::ALL.iter().flat_map(|g| own(3, *g).map(move |f| (g, f))) {
        let (x, v) = (normal::<2>("gradient", [6, 3]), normal::<2>("v", [6, 3]));
        let condition = given.condition(6);
        let score = flow.score(x.clone(), &condition)?;
        let dots = host(&(score * v.clone()).sum_dim(1));
        let line = flow.log_density(Dual::line(x.clone(), v.clone()), &condition)?;
        let first = host(&line.tangent.expect("a tangent"));
        let second = host(&line.second.expect("a second derivative"));
        let at = |h: f64| {
            let x = x.clone() + v.clone().mul_scalar(h);
            let (value, slope) = jvp(|x| flow.log_density(x, &condition), x, v.clone()).unwrap();
            (host(&value), host(&slope))
        };
        for i in 0..6 {
            let slope = difference(|h| at(h).0[i], 0.0, 1e-3);
            let bend = difference(|h| at(h).1[i], 0.0, 1e-3);
            within(format!("{what}: by the row"), dots[i], slope, 1e-7 * slope.abs().max(1.0));
            within(format!("{what}: along"), first[i], dots[i], 1e-9 * slope.abs().max(1.0));
            within(format!("{what}: second"), second[i], bend, 1e-6 * bend.abs().max(1.0));
        }
    }
    Ok(())
}

/// Gradients by all weights of log p of rows, and of samples with their log p.
#[test]
fn derivatives_by_weights_are_those_of_differences() -> Result<()> {
    for (given, (what, flow)) in Given::ALL.iter().flat_map(|g| own(3, *g).map(move |f| (g, f))) {
        let (x, condition) = (normal::<2>("gradient", [6, 3]), given.condition(6));
        let rows =
            |flow: &Flow| flow.log_density(x.clone().into(), &condition).unwrap().value.mean();
        let samples = |flow: &Flow| {
            let (x, log_p) = flow.sample_with_log_prob(x.clone(), &condition).unwrap();
            (log_p + x.square().sum_dim(1).mul_scalar(0.5)).mean()
        };
        let check = |of: &str, mean: &dyn Fn(&Flow) -> Tensor<1>| {
            let (found, _) = along_parameters(&flow, mean, |_| 0.0);
            // Ridges are narrow.
            let right = difference(|h| host(&mean(&moved(&flow, h)))[0], 0.0, 2e-4);
            within(format!("{what}: of {of}"), found, right, 1e-6 * right.abs().max(1.0));
        };
        check("rows", &rows);
        check("samples", &samples);
    }
    Ok(())
}

/// Counted before they are made; untrained, all are the base, up to rounding; other widths and keys are refused.
#[test]
fn layers_start_as_the_base_and_refuse_what_does_not_fit() -> Result<()> {
    for given in Given::ALL {
        for (what, layers) in stacks() {
            let config = given.config(4).with_layers(layers);
            let flow = config.init(&Draws::new(0), &cpu())?;
            assert_eq!(config.parameters(), param_count(&flow) as u128, "{what}");
            if !NAMES.iter().any(|name| what.contains(name)) {
                continue;
            }
            let (x, condition) = (normal::<2>("base", [9, 4]), given.condition(9));
            let x = x.cast(DType::F32);
            let condition = match condition {
                Condition::Vector { values, present } => {
                    Condition::Vector { values: values.cast(DType::F32), present }
                }
                other => other,
            };
            let found = host(&flow.log_density(x.clone().into(), &condition)?.value);
            let norm = host(&x.square().sum_dim(1));
            for (found, norm) in found.iter().zip(norm) {
                let right = -0.5 * norm - 2.0 * std::f64::consts::TAU.ln();
                within(format!("{what} given {given:?}"), *found, right, 1e-4);
            }
        }
    }
    for name in NAMES {
        let flow = flow_of(3, 1, json!([{ "name": name }]))?;
        let narrow = normal::<2>("narrow", [2, 2]).cast(DType::F32);
        let error = flow.to_noise(narrow.into(), &Condition::None).unwrap_err().to_string();
        assert!(error.contains("n × 3"), "{error}");
        let wrong = json!({ "name": name, "units": [4] });
        let error = serde_json::from_value::<AnyBijectionConfig>(wrong).unwrap_err().to_string();
        assert!(error.contains("units: unknown key"), "{error}");
    }
    for name in ["planar", "radial"] {
        let wrong = json!({ "name": name, "inverse": 2 });
        assert!(serde_json::from_value::<AnyBijectionConfig>(wrong).is_err());
    }
    Ok(())
}

/// The matrix W of z = W x is P L (U + diag s) with the entries of its parameters; those on the diagonal do not count,
/// however large.
#[test]
fn a_linear_map_has_the_determinant_of_its_matrix() -> Result<()> {
    const WIDTH: usize = 7;
    let flow = randomised(flow_of(WIDTH, 1, json!([{ "name": "linear" }]))?, 0.5);
    let huge = with(flow.clone(), |path, values| {
        if path.ends_with("factors") {
            values.iter_mut().step_by(WIDTH + 1).for_each(|v| *v = f32::MAX);
        }
    })?;
    let flow = double(&flow);
    let unit: Vec<f64> = (0..WIDTH * WIDTH).map(|i| f64::from(i % (WIDTH + 1) == 0)).collect();
    let unit = doubles(&unit, WIDTH);
    let (columns, log_det) = flow.to_noise(unit.clone().into(), &Condition::None)?;
    let columns = host(&columns.value);
    let matrix = |i: usize| (0..WIDTH).map(|j| columns[j * WIDTH + i]).collect::<Vec<f64>>();
    let (right, inverse) = log_det_and_inverse((0..WIDTH).map(matrix).collect());
    for found in host(&log_det.value) {
        within("log|det|", found, right, 1e-12);
    }
    let params = collect_params(&flow)?;
    let values = |end: &str| -> Vec<f64> {
        let (_, data) = params.iter().find(|(path, _)| path.ends_with(end)).expect(end);
        data.clone().convert::<f64>().try_into_vec().expect("values")
    };
    let (factors, log_scale) = (values("factors"), values("log_scale"));
    let scale = |j: usize| (log_scale[j] / (1.0 + log_scale[j].abs() / 3.0)).exp();
    for (i, j) in (0..WIDTH * WIDTH).map(|k| (k / WIDTH, k % WIDTH)) {
        let lower = |k: usize| if k == i { 1.0 } else { factors[i * WIDTH + k] };
        let upper = |k: usize| if k == j { scale(j) } else { factors[k * WIDTH + j] };
        let product: f64 = (0..=i.min(j)).map(|k| lower(k) * upper(k)).sum();
        // The first round reverses columns.
        within(format!("entry {i}, {j}"), matrix(WIDTH - 1 - i)[j], product, 1e-12);
    }
    let (rows, log_det) = flow.to_data(unit.clone().into(), &Condition::None)?;
    let inverse: Vec<f64> = (0..WIDTH * WIDTH).map(|k| inverse[k % WIDTH][k / WIDTH]).collect();
    all_close("inverse", &host(&rows.value), &inverse, 1e-12);
    within("log|det| of the inverse", host(&log_det.value)[0], -right, 1e-12);
    for (a, b) in [(&flow, &double(&huge)), (&huge, &huge)] {
        let x = unit.clone().cast(tweedie::nn::dtype_of(a));
        let map = |flow: &Flow| flow.to_data(x.clone().into(), &Condition::None);
        assert_eq!(host(&map(a)?.0.value), host(&map(b)?.0.value));
        let score = host(&b.score(x.clone(), &Condition::None)?);
        assert!(score.iter().all(|v| v.is_finite()));
    }
    Ok(())
}

/// Hundreds of columns come back in single precision, and rows alone have the bytes that they have in a batch.
#[test]
fn a_wide_linear_map_comes_back() -> Result<()> {
    const WIDTH: usize = 301;
    let flow = randomised(flow_of(WIDTH, 2, json!([{ "name": "linear" }]))?, 0.02);
    let x = normal::<2>("wide", [40, WIDTH]).cast(DType::F32);
    let (z, _) = flow.to_noise(x.clone().into(), &Condition::None)?;
    let (back, _) = flow.to_data(z.value.clone().into(), &Condition::None)?;
    all_close("wide", &host(&back.value), &host(&x), 1e-5);
    let (alone, _) = flow.to_data(z.value.narrow(0, 17, 1).into(), &Condition::None)?;
    assert_eq!(host(&alone.value), host(&back.value)[17 * WIDTH..18 * WIDTH]);
    Ok(())
}

/// The mean and the variance of each column.
fn columns(x: &Tensor<2>) -> Vec<(f64, f64)> {
    let ([n, d], values) = (x.dims(), host(x));
    let column = |j: usize| {
        let column: Vec<f64> = values.iter().skip(j).step_by(d).copied().collect();
        let mean = column.iter().sum::<f64>() / n as f64;
        (mean, column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64)
    };
    (0..d).map(column).collect()
}

/// Each layer starts from the batch as those before it leave it; a constant column keeps its scale, one of a great
/// spread stays within the bound.
#[test]
fn activation_norm_starts_with_mean_0_and_variance_1() -> Result<()> {
    let layers = json!([{ "name": "activation-norm" }, { "name": "linear" }]);
    let flow = randomised(flow_of(4, 2, layers)?, 0.4);
    let spread = doubles(&[1.0, 1e-3, 0.0, 1e3], 4);
    let x = normal::<2>("start", [64, 4]) * spread + doubles(&[5.0, 0.1, 2.0, -300.0], 4);
    let x = x.cast(DType::F32);
    let before = collect_params(&flow)?;
    let (flow, last) = flow.start(x.clone(), &Condition::None)?;
    let (z, log_det) = flow.to_noise(x.clone().into(), &Condition::None)?;
    assert_eq!(host(&z.value), host(&last));
    assert!(host(&log_det.value).iter().all(|v| v.is_finite()));
    for (path, data) in collect_params(&flow)? {
        let kept =
            path.ends_with("factors") || path.contains("layers.1") || path.contains("layers.3");
        assert_eq!(before[&path] == data, kept, "{path}");
    }
    let alone = flow_of(4, 1, json!([{ "name": "activation-norm" }]))?;
    let (alone, z) = alone.start(x.clone(), &Condition::None)?;
    for (j, (mean, variance)) in columns(&z).into_iter().enumerate() {
        within(format!("mean of column {j}"), mean, 0.0, 1e-4);
        within(format!("variance of column {j}"), variance, if j == 2 { 0.0 } else { 1.0 }, 1e-4);
    }
    round_trips("started", &alone, &points(4))?;
    let far = x.mul_scalar(1e8);
    let (far, _) =
        flow_of(4, 1, json!([{ "name": "activation-norm" }]))?.start(far, &Condition::None)?;
    round_trips("far out", &far, &points(4))
}

/// The learner starts from the first batch of training; other flows keep the weights that they are made with, and a
/// saved learner goes on to the same bytes.
#[test]
fn a_learner_starts_activation_norms_from_the_first_batch() -> Result<()> {
    let data = Source { n: Some(500), label: Some("class".into()), ..Source::named("moons") };
    let data = data.load()?;
    let fit = Fit { batch: 64, accumulate: 2, ..Fit::default() };
    let mut of = recipe(2, 8, fit);
    let (plain, learner) = start_of(of.clone(), &data, 8)?;
    let made = plain.flow.init(&Draws::new(0).purpose("initial"), &cpu())?;
    assert_eq!(learner.weights()?, collect_params(&made)?);
    let json = json!([
        { "name": "activation-norm" },
        { "name": "linear" },
        { "name": "planar" },
        { "name": "radial", "inverse": true },
        { "name": "coupling", "hidden": [8, 8] },
    ]);
    of.flow.layers = serde_json::from_value(json).expect("layers");
    let (resolved, learner) = start_of(of.clone(), &data, 8)?;
    let made = resolved.flow.init(&Draws::new(1), &cpu())?;
    let flow = map_params(made, &learner.weights()?, Path::new("a learner"))?;
    let mut feed = Feed::training(&data, Encoding::Dequantised, 64, 0)?;
    let batch = feed.batch(0, 0, &cpu())?;
    let (z, _) = flow.to_noise(batch.x.into(), &batch.condition)?;
    for (mean, variance) in columns(&z.value) {
        // All other layers start as the identity, up to rounding.
        within("mean", mean, 0.0, 1e-5);
        within("variance", variance, 1.0, 1e-5);
    }
    let (_, mut whole) = start_of(of.clone(), &data, 8)?;
    (0..8).try_for_each(|step| whole.step(step).map(|_| ()))?;
    let (_, mut first) = start_of(of.clone(), &data, 8)?;
    (0..3).try_for_each(|step| first.step(step).map(|_| ()))?;
    let (_, mut second) = start_of(of, &data, 8)?;
    second.load(first.save()?, Path::new("a checkpoint"))?;
    (3..8).try_for_each(|step| second.step(step).map(|_| ()))?;
    assert_eq!(whole.save()?, second.save()?);
    Ok(())
}

/// Trained on x = A ε, a linear flow ends at the density of x, and is never above it beyond its error.
#[test]
fn a_linear_flow_learns_a_covariance() -> Result<()> {
    const A: [[f64; 3]; 3] = [[2.0, 0.0, 0.0], [-1.5, 0.5, 0.0], [0.3, 0.8, 0.1]];
    let draws = Draws::new(17).purpose("noise");
    let noise = |i: u64| [0, 1, 2].map(|j| draws.normal_f64(i, j));
    let row = |i: u64| A.map(|a| (0..3).map(|k| a[k] * noise(i)[k]).sum::<f64>() as f32);
    let rows = |from: u64, to: u64| Rows::new((from..to).flat_map(row).collect(), 3);
    let (train, fresh) = (rows(0, 8000)?, rows(8000, 12_000)?);
    let space = Space::standardised(&["a", "b", "c"], &train)?;
    let held_out = Split::new(fresh.clone(), None)?;
    let data = Dataset::new("correlated", space, Split::new(train, None)?, held_out)?;
    let fit = Fit { batch: 256, learning_rate: 2e-2, warmup: 10, ema: 0.98, ..Fit::default() };
    let mut of = recipe(1, 8, fit);
    let json = json!([{ "name": "activation-norm" }, { "name": "linear" }]);
    of.flow.layers = serde_json::from_value(json).expect("layers");
    let (of, mut learner) = start_of(of, &data, 600)?;
    (0..600).try_for_each(|step| learner.step(step).map(|_| ()))?;
    let model = model(&of, &*learner, &data)?;
    let found = log_p(&*model, &fresh, Integers::None, "")?;
    let volume = (0..3).map(|j| A[j][j].ln()).sum::<f64>() + 1.5 * std::f64::consts::TAU.ln();
    let gap = found
        .value
        .iter()
        .zip(8000..)
        .map(|(found, i)| -0.5 * noise(i).iter().map(|v| v * v).sum::<f64>() - volume - found);
    let (mean, error) = mean_and_error(&gap.collect::<Vec<f64>>());
    println!("{mean:.4} ± {error:.4} nats");
    assert!(mean > -4.9 * error && mean < 0.02, "{mean} ± {error} nats from the entropy");
    Ok(())
}

/// Whatever wᵀu, and for w = 0; gradients stay finite in single precision.
#[test]
fn a_planar_map_of_any_weights_comes_back() -> Result<()> {
    let flow = flow_of(2, 1, json!([{ "name": "planar" }]))?;
    let weights: [[f32; 5]; 8] = [
        [3.0, 4.0, -3.0, -4.0, 0.5],
        [3.0, 4.0, -30.0, -40.0, 0.0],
        [1.0, -2.0, -60.0, 10.0, 1.0],
        [0.1, 0.0, -5000.0, 3.0, 0.0],
        [2.0, 1.0, 40.0, 30.0, -1.0],
        [0.0, 0.0, 3.0, -4.0, 0.7],
        [1e-13, 0.0, -4.0, 1.0, 0.7],
        [1e-3, 2e-3, -1.0, 1.0, 0.1],
    ];
    for values in weights {
        let flow = with(flow.clone(), |_, own| own.copy_from_slice(&values))?;
        let x = Tensor::cat(vec![points(2), doubles(&[0.0, 0.0, -0.5, 0.25], 2)], 0);
        round_trips(&format!("{values:?}"), &flow, &x)?;
        let x = x.cast(DType::F32);
        let tracked = flow.clone().train();
        for way in 0..2 {
            let x = x.clone().autodiff().require_grad();
            let (z, log_det) = match way {
                0 => tracked.to_noise(x.clone().into(), &Condition::None)?,
                _ => tracked.to_data(x.clone().into(), &Condition::None)?,
            };
            let gradients = (z.value.sum() + log_det.value.sum()).backward();
            let by_row = host(&x.grad(&gradients).expect("a gradient"));
            assert!(by_row.iter().all(|v| v.is_finite()), "{values:?}, {way}: {by_row:?}");
            for (path, gradient) in AdamW::gradients(&tracked, &gradients) {
                let by_weights = host(&gradient);
                assert!(by_weights.iter().all(|v| v.is_finite()), "{values:?}, {way}, {path}");
            }
        }
    }
    Ok(())
}

/// At its centre a radial map has finite derivatives, for any α and γ.
#[test]
fn a_radial_map_comes_back_at_its_centre() -> Result<()> {
    let flow = flow_of(2, 1, json!([{ "name": "radial" }]))?;
    for (alpha, gamma) in [(0.0, 0.0), (-200.0, 3.0), (3.0, -200.0), (-5.0, 5.0), (30.0, 1.0)] {
        let flow = with(flow.clone(), |_, own| own.copy_from_slice(&[0.5, -1.0, alpha, gamma]))?;
        let x = Tensor::cat(vec![points(2), doubles(&[0.5, -1.0, 0.5, -0.999, 0.6, -1.0], 2)], 0);
        round_trips(&format!("{alpha}, {gamma}"), &flow, &x)?;
        let (log_p, score) = flow.with_score(x.cast(DType::F32), &Condition::None)?;
        assert!(host(&log_p).iter().chain(&host(&score)).all(|v| v.is_finite()));
    }
    Ok(())
}
