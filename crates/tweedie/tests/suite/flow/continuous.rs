//! Continuous flows: linear fields in closed form, two ways to a gradient, penalties and random traces.

use super::contract::points;
use super::family::{model, recipe, start_of};
use super::*;
use crate::dual::normal;
use crate::support::*;
use burn::module::Module;
use burn::tensor::{DType, Tensor};
use std::path::Path;
use toml::Table;
use tweedie::data::{Condition, LogDensity, Source};
use tweedie::density::{Kind, LogProb};
use tweedie::family::{Integers, Setting};
use tweedie::nn::flow::Bijection;
use tweedie::nn::{collect_params, map_params};
use tweedie::tensor::{Dual, jvp, mean_and_error};
use tweedie::train::{AdamW, Fit, Gradients};
use tweedie::{Error, Result};

/// A flow of continuous layers with the given keys.
fn flow_of(width: usize, depth: usize, given: Given, keys: serde_json::Value) -> Result<Flow> {
    let mut layer = json!({ "name": "continuous", "hidden": [12, 12] });
    let keys = keys.as_object().expect("keys").clone();
    layer.as_object_mut().expect("a layer").extend(keys);
    let layers = serde_json::from_value(json!([layer])).expect("a layer");
    given.config(width).with_depth(depth).with_layers(layers).init(&Draws::new(3), &cpu())
}

/// The velocity field A x of two columns as a network of four rectifiers: A relu(x) − A relu(−x).
const A: [[f64; 2]; 2] = [[0.7, -1.2], [0.4, -0.3]];

/// The flow of the field A x, with bounds of its input that are felt above 1e-2 alone.
fn linear_field(keys: serde_json::Value) -> Result<Flow> {
    let mut keys = keys;
    keys["hidden"] = json!([4]);
    keys["activation"] = json!("relu");
    let flow = double(&flow_of(2, 1, Given::Nothing, keys)?);
    let mut params = collect_params(&flow)?;
    for (path, data) in &mut params {
        let values: Vec<f64> = match path.rsplit_once("velocity.").expect("a velocity").1 {
            "linears.0.weight" => vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, -1.0],
            "linears.1.weight" => A.iter().flat_map(|a| [a[0], a[1], -a[0], -a[1]]).collect(),
            _ => vec![0.0; data.num_elements()],
        };
        data.as_mut_slice::<f64>().expect("doubles").copy_from_slice(&values);
    }
    map_params(flow, &params, Path::new("a linear field"))
}

/// The exponential of a matrix of two rows, by squaring its Taylor series.
fn exponential(a: [[f64; 2]; 2]) -> [[f64; 2]; 2] {
    let product = |a: [[f64; 2]; 2], b: [[f64; 2]; 2]| {
        [0, 1].map(|i| [0, 1].map(|j| a[i][0] * b[0][j] + a[i][1] * b[1][j]))
    };
    let small = a.map(|row| row.map(|v| v / 1024.0));
    let (mut sum, mut term) = ([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]);
    for k in 1..12 {
        term = product(term, small).map(|row| row.map(|v| v / f64::from(k)));
        sum = [0, 1].map(|i| [0, 1].map(|j| sum[i][j] + term[i][j]));
    }
    (0..10).fold(sum, |power, _| product(power, power))
}

/// Rows that are small enough for the field to be linear.
fn small(n: usize) -> Tensor<2> {
    normal::<2>("small", [n, 2]).mul_scalar(1e-4)
}

/// z = e^A x with log-determinant tr A, both ways, by adaptive and by fixed steps.
#[test]
fn a_linear_field_s_flow_is_the_matrix_exponential() -> Result<()> {
    let flow = linear_field(json!({ "tolerance": 1e-12, "steps": 60 }))?;
    let (x, none) = (small(9), &Condition::None);
    let trace = A[0][0] + A[1][1];
    let mapped = |e: [[f64; 2]; 2], x: &Tensor<2>| -> Vec<f64> {
        let row = |x: &[f64]| [0, 1].map(|i| e[i][0] * x[0] + e[i][1] * x[1]);
        host(x).chunks(2).flat_map(row).collect()
    };
    let right = mapped(exponential(A), &x);
    let (z, log_det) = flow.to_noise(x.clone().into(), none)?;
    all_close("flow", &host(&z.value), &right, 1e-7);
    let (back, opposite) = flow.to_data(x.clone().into(), none)?;
    let inverse = exponential(A.map(|row| row.map(|v| -v)));
    all_close("inverse", &host(&back.value), &mapped(inverse, &x), 1e-7);
    for (there, back) in host(&log_det.value).iter().zip(host(&opposite.value)) {
        within("log-determinant", *there, trace, 1e-7);
        within("log-determinant back", back, -trace, 1e-7);
    }
    let pass = flow.pass(x.clone(), none, &Draws::new(0))?;
    assert!(pass.penalty.is_none());
    all_close("fixed steps", &host(&pass.z), &right, 1e-7);
    all_close("their trace", &host(&pass.log_det), &[trace; 9], 1e-7);
    all_close("rows", &host(&flow.rows(x.clone(), none)?.0), &host(&back.value), 1e-7);
    Ok(())
}

/// The gradients of the loss of a flow by parameter, in double precision: with every part times its factor.
fn gradients(flow: &Flow, x: &Tensor<2>, of: &Condition) -> Result<(Gradients, usize, [f64; 2])> {
    let (flow, mut sum, mut parts) = (flow.clone().train(), Gradients::new(), 0);
    let mut take = |backward: &burn::tensor::Gradients, factor: f64| {
        let mut part = AdamW::gradients(&flow, backward);
        part.values_mut().for_each(|g| *g = g.clone().mul_scalar(factor));
        AdamW::accumulate(&mut sum, part);
        parts += 1;
    };
    let x = x.clone().autodiff();
    let (log_p, penalty) = flow.descend(x, of, 0.5, &Draws::new(8), &mut take)?;
    Ok((sum, parts, [log_p, penalty]))
}

/// For z = e^A x the gradient of Σ uᵀz by A is that of ∫ (e^{(1−t)A})ᵀ u (e^{tA} x)ᵀ dt, the gradient by x (e^A)ᵀ u,
/// and the trace adds 1 on the diagonal.
#[test]
fn a_linear_field_s_gradients_are_the_matrix_exponential_s() -> Result<()> {
    let (x, u, none) = (small(5), normal::<2>("u", [5, 2]), &Condition::None);
    let exp = |s: f64| exponential(A.map(|row| row.map(|v| s * v)));
    let apply = |m: [[f64; 2]; 2], v: &[f64]| [0, 1].map(|i| m[i][0] * v[0] + m[i][1] * v[1]);
    let transposed = |m: [[f64; 2]; 2]| [[m[0][0], m[1][0]], [m[0][1], m[1][1]]];
    let (rows, slopes) = (host(&x), host(&u));
    let pairs = || rows.chunks(2).zip(slopes.chunks(2));
    let moved = |i: usize, j: usize| -> f64 {
        let of_row = |(x, u): (&[f64], &[f64])| {
            let at = |t: f64| apply(transposed(exp(1.0 - t)), u)[i] * apply(exp(t), x)[j];
            simpson(0.0, 1.0, 200, at)
        };
        pairs().map(of_row).sum()
    };
    let by_x: Vec<f64> = pairs().flat_map(|(_, u)| apply(transposed(exp(1.0)), u)).collect();
    for (gradient, weight) in
        ["discrete", "adjoint"].into_iter().flat_map(|g| [0.0, 1e-4].map(|w| (g, w)))
    {
        let flow = linear_field(json!({ "steps": 40, "gradient": gradient }))?.train();
        let (z, _) = flow.to_noise(x.clone().into(), none)?;
        let mut sum = Gradients::new();
        let mut take = |backward: &burn::tensor::Gradients, factor: f64| {
            let mut part = AdamW::gradients(&flow, backward);
            part.values_mut().for_each(|g| *g = g.clone().mul_scalar(factor));
            AdamW::accumulate(&mut sum, part);
        };
        let (ends, by) = ([x.clone(), z.value.inner()], (u.clone(), weight));
        let found = flow.pull(ends, none, &Draws::new(0), by, &mut take)?;
        all_close(format!("{gradient}: by x"), &host(&found), &by_x, 1e-6);
        let (_, found) = sum.iter().find(|(path, _)| path.ends_with("linears.1.weight")).unwrap();
        let found = host(found);
        for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            // A row of weights is that of A for the rectifiers of x, and that of −A for those of −x.
            let by_weight = found[4 * i + j] - found[4 * i + j + 2];
            let right = moved(i, j) - if i == j { 5.0 * weight } else { 0.0 };
            within(format!("{gradient}, {i}, {j}"), by_weight, right, 1e-6 * right.abs());
        }
    }
    Ok(())
}

/// With tight steps both gradients agree, whatever the layers, the traces, the penalties and the conditions; the
/// adjoint keeps the graph of one evaluation at a time.
#[test]
fn adjoint_gradients_are_those_of_the_discretised_loss() -> Result<()> {
    const STEPS: usize = 40;
    for (given, divergence) in Given::ALL.iter().flat_map(|given| {
        let random = json!({ "hutchinson": { "probes": 2 } });
        [json!("exact"), random].map(|divergence| (*given, divergence))
    }) {
        let what = format!("{given:?}, {divergence}");
        let found = ["discrete", "adjoint"].map(|gradient| {
            let keys = json!({
                "steps": STEPS, "gradient": gradient, "divergence": divergence,
                "kinetic": 0.3, "jacobian": 0.2,
            });
            let flow = double(&randomised(flow_of(3, 2, given, keys)?, 0.4));
            gradients(&flow, &normal("adjoint", [7, 3]), &given.condition(7))
        });
        let [(discrete, one, means), (adjoint, all, same)] = [&found[0], &found[1]]
            .map(|found| found.as_ref().map_err(|e| panic!("{e}")).unwrap().clone());
        assert_eq!((one, all), (1, 2 * 4 * STEPS), "{what}");
        all_close(format!("{what}: means"), &same, &means, 1e-9);
        assert!(means[1] > 1e-2, "{what}: a penalty");
        assert_eq!(discrete.len(), adjoint.len());
        let values = |of: &Gradients| of.values().flat_map(host).collect::<Vec<f64>>();
        let (discrete, adjoint) = (values(&discrete), values(&adjoint));
        let norm = discrete.iter().map(|v| v * v).sum::<f64>().sqrt();
        let off = discrete.iter().zip(&adjoint).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-2 && off < 1e-5 * norm, "{what}: {off} of {norm}");
    }
    Ok(())
}

/// The gradient that training takes is the difference of the loss that it reports; that of a chain with other layers,
/// too, when one layer has an adjoint.
#[test]
fn gradients_of_training_are_those_of_differences() -> Result<()> {
    for gradient in ["discrete", "adjoint"] {
        // Nearest to the data, since its random vectors are those of its input's values.
        let layers = json!([
            { "name": "continuous", "hidden": [8], "steps": 30, "gradient": gradient,
              "kinetic": 0.1, "jacobian": 0.1, "divergence": { "hutchinson": { "probes": 1 } } },
            { "name": "coupling", "hidden": [8] },
            { "name": "linear" },
        ]);
        let layers = serde_json::from_value(layers).expect("layers");
        let config = Given::Class.config(3).with_depth(1).with_layers(layers);
        let flow = randomised(config.init(&Draws::new(3), &cpu())?, 0.4);
        let (x, of) = (normal::<2>("training", [6, 3]), Given::Class.condition(6));
        let loss = |flow: &Flow| {
            let (_, _, [log_p, penalty]) = gradients(flow, &x, &of).unwrap();
            0.5 * (penalty - log_p)
        };
        // One direction among all parameters.
        let (found, _, _) = gradients(&double(&flow), &x, &of)?;
        let steps: Vec<(String, Vec<f64>)> =
            found.iter().map(|(path, g)| (path.clone(), host(&normal(path, g.dims())))).collect();
        let along: f64 =
            found.values().zip(&steps).map(|(g, (_, v))| dot(&host(g), v)).sum::<f64>();
        let at = |h: f64| {
            let flow = double(&flow);
            let mut params = collect_params(&flow).unwrap();
            for (path, step) in &steps {
                let values = params.get_mut(path).expect("a parameter");
                let values = values.as_mut_slice::<f64>().expect("doubles");
                values.iter_mut().zip(step).for_each(|(v, s)| *v += h * s);
            }
            loss(&map_params(flow, &params, Path::new("moved")).unwrap())
        };
        let right = difference(at, 0.0, 1e-4);
        let bar = if gradient == "adjoint" { 1e-4 } else { 1e-6 };
        within(gradient, along, right, bar * right.abs().max(1.0));
    }
    Ok(())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// log p by random traces is that by exact ones on average over probes, and its standard error is honest.
#[test]
fn random_traces_are_unbiased_over_probes() -> Result<()> {
    const PROBES: usize = 4000;
    let flow = double(&randomised(flow_of(3, 2, Given::Class, json!({ "tolerance": 1e-6 }))?, 0.5));
    let (x, of) = (normal::<2>("random", [4, 3]), Given::Class.condition(4));
    let exact = host(&flow.log_density(x.clone().into(), &of)?.value);
    let all = host(&flow.log_p_estimates(x.clone(), &of, PROBES, &Draws::new(21))?);
    for (estimates, exact) in all.chunks(PROBES).zip(&exact) {
        let (mean, error) = mean_and_error(estimates);
        assert!(error > 1e-4, "nothing was estimated: {error}");
        within("log p", mean, *exact, 4.9 * error);
    }
    // In training, too, with the same vectors through a solve and others at the next.
    let keys = json!({ "steps": 30, "divergence": { "hutchinson": { "probes": 1 } } });
    let random = double(&randomised(flow_of(3, 2, Given::Class, keys)?, 0.5));
    let pass = |k: u64| Ok(host(&random.pass(x.clone(), &of, &Draws::new(k))?.log_det)[0]);
    let passes = (0..300).map(pass).collect::<Result<Vec<f64>>>()?;
    let (mean, error) = mean_and_error(&passes);
    let log_det = host(&flow.to_noise(x.clone().into(), &of)?.1.value)[0];
    within("log-determinant in training", mean, log_det, 4.9 * error);
    assert_eq!(pass(7)?, passes[7]);
    // A row has its vectors in any batch.
    let alone = Condition::class(0, 1);
    let alone = flow.log_p_estimates(x.narrow(0, 0, 1), &alone, 3, &Draws::new(21))?;
    let together = flow.log_p_estimates(normal("random", [4, 3]), &of, 3, &Draws::new(21))?;
    all_close("alone", &host(&alone), &host(&together)[..3], 1e-9);
    Ok(())
}

/// Trained by random traces with an adjoint, a model's log p is exact, or estimated by probes with a standard error.
#[test]
fn a_model_s_log_p_is_exact_or_by_probes() -> Result<()> {
    let data = Source { n: Some(1000), ..Source::named("moons") }.load()?;
    let fit = Fit { batch: 64, learning_rate: 1e-2, warmup: 5, ema: 0.9, ..Fit::default() };
    let mut of = recipe(1, 8, fit);
    of.flow.layers = serde_json::from_value(json!([{
        "name": "continuous", "hidden": [16], "steps": 4, "gradient": "adjoint",
        "divergence": { "hutchinson": { "probes": 1 } }, "kinetic": 0.01,
    }]))
    .expect("layers");
    let (of, mut learner) = start_of(of, &data, 60)?;
    let first = learner.held_out()?.loss().expect("a loss");
    (0..60).try_for_each(|step| learner.step(step).map(|_| ()))?;
    let last = learner.held_out()?.loss().expect("a loss");
    assert!(last < first - 0.05, "{first} fell to {last}");
    let model = model(&of, &*learner, &data)?;
    let raw = data.held_out.rows().slice(0..40);
    let log_p = |options: &str| -> Result<(LogProb, String)> {
        let options: Table = options.parse().expect("options");
        let setting = Setting { device: &cpu(), seed: 3, observe: &|_| {} };
        let judge = model.density("exact", &options, Integers::None, &setting)?;
        Ok((judge.density.log_prob(&raw, &Condition::None, &mut |_| {})?, judge.how))
    };
    let (exact, how) = log_p("")?;
    assert_eq!((exact.kind, exact.standard_error, how), (Kind::Exact, None, CHANGE.into()));
    assert_eq!(log_p("probes = 'exact'")?.0.value, exact.value);
    let (found, how) = log_p("probes = 50")?;
    assert_eq!((found.kind, how), (Kind::Estimate, format!("{CHANGE}, 50 probes")));
    let errors = found.standard_error.expect("errors");
    for (i, (found, right)) in found.value.iter().zip(&exact.value).enumerate() {
        within(format!("row {i}"), *found, *right, 6.0 * errors[i] + 1e-3);
    }
    assert!(log_p("probes = 0").is_err());
    assert!(log_p("probes = 1")?.0.standard_error.is_none());
    Ok(())
}

const CHANGE: &str = "change of variables";

/// ∫ (‖v‖² + …) dt by the flow's own stages: the kinetic energy of a field is the integral of its squared speed.
#[test]
fn penalties_are_the_integrals_that_they_name() -> Result<()> {
    // ‖A x(t)‖² and ‖A‖² of the linear field.
    let x = small(3).mul_scalar(10.0);
    let penalty = |kinetic: f64, jacobian: f64| -> Result<Vec<f64>> {
        let keys = json!({ "steps": 40, "kinetic": kinetic, "jacobian": jacobian });
        let pass = linear_field(keys)?.pass(x.clone(), &Condition::None, &Draws::new(0))?;
        Ok(host(&pass.penalty.expect("a penalty")))
    };
    let square = A.iter().flatten().map(|v| v * v).sum::<f64>();
    for found in penalty(0.0, 3.0)? {
        within("‖A‖²", found, 3.0 * square, 1e-5);
    }
    for (found, x) in penalty(2.0, 0.0)?.iter().zip(host(&x).chunks(2)) {
        let speed = |t: f64| {
            let e = exponential(A.map(|row| row.map(|v| t * v)));
            let at = [0, 1].map(|i| e[i][0] * x[0] + e[i][1] * x[1]);
            A.iter().map(|a| (a[0] * at[0] + a[1] * at[1]).powi(2)).sum::<f64>()
        };
        let right = 2.0 * simpson(0.0, 1.0, 100, speed);
        within("∫ ‖A x‖² dt", *found, right, 1e-4 * right);
    }
    // By random vectors the Jacobian's norm is right on average.
    let keys = |divergence: serde_json::Value| json!({ "steps": 12, "jacobian": 1.0, "divergence": divergence });
    let flow = |divergence| -> Result<Flow> {
        Ok(double(&randomised(flow_of(3, 1, Given::Nothing, keys(divergence))?, 0.5)))
    };
    let x = normal::<2>("norm", [1, 3]);
    let of = |flow: &Flow, k: u64| -> Result<f64> {
        let pass = flow.pass(x.clone(), &Condition::None, &Draws::new(k))?;
        Ok(host(&pass.penalty.expect("a penalty"))[0])
    };
    let exact = of(&flow(json!("exact"))?, 0)?;
    let random = flow(json!({ "hutchinson": { "probes": 2 } }))?;
    let all = (0..300).map(|k| of(&random, k)).collect::<Result<Vec<f64>>>()?;
    let (mean, error) = mean_and_error(&all);
    assert!(error > 1e-4 * exact);
    within("E ‖J ε‖²", mean, exact, 4.9 * error);
    Ok(())
}

/// Trained with penalties, a flow moves rows along shorter and straighter paths.
#[test]
fn penalties_shorten_the_paths_of_a_trained_flow() -> Result<()> {
    let data = Source { n: Some(2000), ..Source::named("8gaussians") }.load()?;
    let energy = |weight: f64| -> Result<f64> {
        let fit = Fit { batch: 64, learning_rate: 1e-2, warmup: 5, ema: 0.9, ..Fit::default() };
        let mut of = recipe(1, 8, fit);
        let layers = |kinetic: f64| {
            let json = json!([{
                "name": "continuous", "hidden": [24], "steps": 4,
                "kinetic": kinetic, "jacobian": kinetic,
            }]);
            serde_json::from_value(json).expect("layers")
        };
        of.flow.layers = layers(weight);
        let (of, mut learner) = start_of(of, &data, 80)?;
        (0..80).try_for_each(|step| learner.step(step).map(|_| ()))?;
        let config = of.flow.clone().with_layers(layers(1.0));
        let flow = config.init(&Draws::new(0), &cpu())?;
        let flow = map_params(flow, &learner.weights()?, Path::new("a learner"))?;
        let x = data.space.encode(&data.held_out.rows().slice(0..200))?.to_tensor(&cpu());
        let pass = flow.pass(x, &Condition::None, &Draws::new(0))?;
        Ok(mean_and_error(&host(&pass.penalty.expect("a penalty"))).0)
    };
    let [free, held] = [energy(0.0)?, energy(0.1)?];
    println!("{free:.3} without penalties, {held:.3} with");
    assert!(held < 0.7 * free, "{free} {held}");
    Ok(())
}

/// Sampling counts the velocity's evaluations of each row, whose step sizes are its own: more at a smaller tolerance,
/// as many alone as in a batch, and those of every continuous layer.
#[test]
fn the_evaluations_of_a_velocity_are_counted() -> Result<()> {
    let z = normal("noise", [200, 2]);
    let count = |layers: usize, tolerance: f64, z: Tensor<2>| -> Result<u64> {
        let flow = flow_of(2, layers, Given::Nothing, json!({ "tolerance": tolerance }))?;
        Ok(double(&randomised(flow, 0.5)).sample_with_evaluations(z, &Condition::None)?.1)
    };
    let [loose, tight] = [1e-3, 1e-9].map(|tolerance| count(1, tolerance, z.clone()).unwrap());
    assert!(200 * 7 <= loose && 2 * loose < tight, "{loose} {tight}");
    let alone: Result<Vec<u64>> =
        (0..200).map(|i| count(1, 1e-3, z.clone().narrow(0, i, 1))).collect();
    assert_eq!(alone?.iter().sum::<u64>(), loose);
    assert!(count(2, 1e-3, z)? >= 2 * 200 * 7);
    Ok(())
}

/// Whatever the weights, log p and its derivatives are finite at any distance, both ways, in single precision.
#[test]
fn a_velocity_is_bounded_far_from_the_data() -> Result<()> {
    let flow = randomised(flow_of(2, 2, Given::Nothing, json!({ "tolerance": 1e-4 }))?, 0.5);
    let x = points(2).cast(DType::F32);
    let (log_p, score) = flow.with_score(x.clone(), &Condition::None)?;
    assert!(host(&log_p).iter().chain(&host(&score)).all(|v| v.is_finite()));
    let (found, _, _) = gradients(&flow, &x, &Condition::None)?;
    assert!(found.values().flat_map(host).all(|v| v.is_finite()));
    let drawn = host(&flow.rows(x.clone(), &Condition::None)?.0);
    // No speed passes Σ |W| of the last layer and its biases.
    for (moved, x) in drawn.iter().zip(host(&x)) {
        assert!((moved - x).abs() <= 100.0 + 1e-4 * x.abs(), "{x} moved to {moved}");
    }
    Ok(())
}

/// Along lines log p has the derivatives of differences, of first and second order, exact trace included.
#[test]
fn derivatives_of_log_p_by_rows_are_those_of_differences() -> Result<()> {
    for activation in ["tanh", "silu", "gelu", "softplus"] {
        let keys = json!({ "tolerance": 1e-10, "activation": activation });
        let flow = double(&randomised(flow_of(3, 1, Given::Vector, keys)?, 0.4));
        let (x, v) = (normal::<2>("gradient", [3, 3]), normal::<2>("v", [3, 3]));
        let of = Given::Vector.condition(3);
        let score = flow.score(x.clone(), &of)?;
        let dots = host(&(score * v.clone()).sum_dim(1));
        let line = flow.log_density(Dual::line(x.clone(), v.clone()), &of)?;
        let first = host(&line.tangent.expect("a tangent"));
        let second = host(&line.second.expect("a second derivative"));
        let at = |h: f64| {
            let x = x.clone() + v.clone().mul_scalar(h);
            let (value, slope) = jvp(|x| flow.log_density(x, &of), x, v.clone()).unwrap();
            (host(&value), host(&slope))
        };
        for i in 0..3 {
            let slope = difference(|h| at(h).0[i], 0.0, 1e-2);
            let bend = difference(|h| at(h).1[i], 0.0, 1e-2);
            within(format!("{activation}: by the row"), dots[i], slope, 1e-6);
            within(format!("{activation}: along"), first[i], dots[i], 1e-6);
            within(format!("{activation}: second"), second[i], bend, 1e-5);
        }
    }
    Ok(())
}

/// Untrained it is the base; keys out of range are refused by name.
#[test]
fn a_continuous_layer_starts_as_the_base_and_refuses_by_key() -> Result<()> {
    let flow = flow_of(4, 3, Given::Class, json!({}))?;
    let x = normal::<2>("base", [9, 4]).cast(DType::F32);
    let (z, log_det) = flow.to_noise(x.clone().into(), &Given::Class.condition(9))?;
    assert_eq!(host(&z.value), host(&x));
    assert!(host(&log_det.value).iter().all(|v| *v == 0.0));
    let narrow = x.narrow(1, 0, 2);
    let error = flow.to_noise(narrow.into(), &Given::Class.condition(9)).unwrap_err().to_string();
    assert!(error.contains("n × 4"), "{error}");
    let refused = |keys: serde_json::Value, start: &str| {
        let error = flow_of(2, 1, Given::Nothing, keys).unwrap_err();
        assert!(matches!(error, Error::Config { .. }));
        assert!(error.to_string().starts_with(&format!("layers.{start}")), "{error}");
    };
    refused(json!({ "hidden": [] }), "hidden: 0");
    refused(json!({ "hidden": [8, 0] }), "hidden: 0");
    refused(json!({ "steps": 0 }), "steps: 0");
    refused(json!({ "tolerance": 0.0 }), "tolerance: 0");
    refused(json!({ "kinetic": -1.0 }), "kinetic: -1");
    refused(json!({ "jacobian": -0.5 }), "jacobian: -0.5");
    refused(json!({ "divergence": { "hutchinson": { "probes": 0 } } }), "divergence.probes: 0");
    let wrong = json!([{ "name": "continuous", "gradient": "backwards" }]);
    assert!(serde_json::from_value::<Vec<AnyBijectionConfig>>(wrong).is_err());
    Ok(())
}
