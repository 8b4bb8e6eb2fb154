//! Priors, posteriors, layers and weighted terms of latent-variable models.

use super::{config, learnt_by, plain, signs};
use crate::double::{moved, slope};
use crate::dual::{normal, randomised};
use crate::support::{cpu, difference, doubles, host, within};
use burn::module::Module;
use burn::tensor::{DType, Tensor};
use serde_json::json;
use std::path::Path;
use tweedie::data::{Condition, Coordinate, Generate, Kind, Layout, Rows, Space};
use tweedie::latent::{Constraint, Factors, LatentVariable, Multiplier, Terms};
use tweedie::nn::{collect_params, map_params};
use tweedie::tensor::mean_and_error;
use tweedie::{Draws, Result};

/// The keys of a model with each prior, each posterior and each way of inference.
fn every() -> Vec<serde_json::Value> {
    let nets = json!({ "width": 3, "encoder": [8], "decoder": [8] });
    let keys = [
        json!({}),
        json!({ "prior": { "name": "mixture", "components": 3 } }),
        json!({ "prior": { "name": "vamp", "components": 4 } }),
        json!({ "prior": { "name": "flow", "depth": 2 } }),
        json!({ "posterior": { "name": "flow", "depth": 2, "context": 5 } }),
        json!({ "posterior": { "name": "flow", "depth": 3, "context": 5,
            "layers": [{ "name": "planar", "inverse": true }] } }),
        json!({ "posterior": { "name": "flow", "depth": 3, "context": 5,
            "layers": [{ "name": "radial", "inverse": true }] } }),
        json!({ "posterior": { "name": "flow", "depth": 2, "context": 5,
            "layers": [{ "name": "coupling" }, { "name": "permutation" }] },
            "prior": { "name": "mixture" } }),
        json!({ "posterior": { "name": "auxiliary", "width": 2, "hidden": [6] } }),
        json!({ "posterior": { "name": "auxiliary", "width": 3, "hidden": [] },
            "prior": { "name": "mixture", "components": 3 } }),
        json!({ "above": [{ "width": 2, "hidden": [6] }], "inference": "bottom-up" }),
        json!({ "above": [{ "width": 2, "hidden": [6] }, { "width": 1, "hidden": [] }] }),
        json!({ "above": [{ "width": 2, "hidden": [6] }, { "width": 2 }],
            "inference": "residual", "skips": true }),
        json!({ "above": [{ "width": 2, "hidden": [6] }], "skips": true,
            "prior": { "name": "mixture", "components": 3 } }),
    ];
    let with = |keys: serde_json::Value| {
        let mut all = nets.clone();
        for (key, value) in keys.as_object().expect("keys") {
            all[key] = value.clone();
        }
        all
    };
    keys.into_iter().map(with).collect()
}

/// The space of `count` columns of zeros and ones, and all of its rows in model units.
pub(super) fn bits(count: usize) -> Result<(Space, Tensor<2>)> {
    let column = |j: usize| Coordinate {
        kind: Kind::Quantised { low: Some(0), high: Some(1) },
        shift: 1.0,
        scale: 1.0,
        ..Coordinate::real(format!("bit {j}"))
    };
    let space = Space::new(Layout::Vector { width: count }, (0..count).map(column).collect())?;
    let row = |i: u32| (0..count).map(move |j| (i >> j & 1) as f32);
    let every = Rows::new((0..1 << count).flat_map(row).collect(), count)?;
    let x = space.encode(&every)?.to_tensor(&cpu());
    Ok((space, x))
}

/// A model whose rows depend on the latent variable, with posteriors near the prior, so that weights vary little.
fn telling(model: LatentVariable) -> Result<LatentVariable> {
    let mut params = collect_params(&randomised(model.clone(), 0.1))?;
    // A flow of such weights would carry the prior far from the posteriors.
    let factors = [("decoder", 5.0), ("ladder.down", 2.0), ("prior.flow", 2.0), ("prior", 5.0)];
    for (path, data) in &mut params {
        let own = factors.iter().find(|(of, _)| path.starts_with(of)).map_or(1.0, |own| own.1);
        data.as_mut_slice::<f32>().expect("floats").iter_mut().for_each(|v| *v *= own);
    }
    map_params(model, &params, Path::new("here"))
}

/// Weights have the mean p(x) if and only if prior and posterior are normalised and drawn as their densities say: over
/// all rows the estimates add up to one. Rows drawn from the prior come as often as the estimates say.
#[test]
fn probabilities_add_up_to_one_and_are_those_of_samples() -> Result<()> {
    let (count, rows) = (5, 40_000u64);
    let (space, x) = bits(count)?;
    let fitted =
        json!({ "width": 3, "decoder": [8], "posterior": { "name": "per-row", "steps": 20 } });
    for keys in every().into_iter().chain([fitted]) {
        let model = telling(config(keys.clone()).init(&space, &Draws::new(4), &cpu())?)?;
        let found = model.importance(x.clone(), &Condition::None, 8000, &Draws::new(3))?;
        let (sum, square) = found.iter().fold((0.0, 0.0), |(sum, square), row| {
            let p = row.log_p.exp();
            (sum + p, square + (p * row.standard_error).powi(2))
        });
        within(format!("the sum with {keys}"), sum, 1.0, 4.9 * square.sqrt());
        assert!(square.sqrt() < 0.05, "{keys}: {square}");
        let drawn = model.generate(0..rows, &Condition::None, &Draws::new(8), &cpu())?;
        let mut counts = vec![0.0f64; 1 << count];
        for row in host(&drawn).chunks(count) {
            let bit = |(j, v): (usize, &f64)| usize::from(*v > 0.0) << j;
            counts[row.iter().enumerate().map(bit).sum::<usize>()] += 1.0;
        }
        for (k, (seen, row)) in counts.iter().zip(&found).enumerate() {
            let (p, n) = (row.log_p.exp(), rows as f64);
            // Of a rare row some more may come than by the normal distribution.
            let error = (p / n + (p * row.standard_error).powi(2)).sqrt();
            within(format!("row {k} with {keys}"), seen / n, p, 5.5 * error + 12.0 / n);
        }
    }
    Ok(())
}

/// The terms in closed form have the mean of those by draws, and derivatives are those of differences.
#[test]
fn closed_forms_agree_with_draws_and_gradients_with_differences() -> Result<()> {
    let (space, x) = bits(4)?;
    let x = x.cast(DType::F64);
    for keys in every() {
        let model = randomised(config(keys.clone()).init(&space, &Draws::new(4), &cpu())?, 0.4);
        let model = moved(&model, 0.0);
        // Many estimates of the bound of each row, by its own way and by weights.
        let (repeats, n) = (400, x.dims()[0]);
        let [own, weights] = [0u64, 1].map(|way| -> Result<Vec<f64>> {
            let mut means = Vec::new();
            for k in 0..repeats {
                let draws = Draws::new(way).at(k);
                let all = match way {
                    0 => host(&model.bound(&x, &Condition::None, &draws)?[0]),
                    _ => {
                        let extra = keys["posterior"]["name"].as_str() == Some("auxiliary");
                        let extra = if extra { &keys["posterior"]["width"] } else { &json!(0) };
                        let width = model.latent_width() + extra.as_u64().unwrap_or(0) as usize;
                        let noise = normal::<2>(&format!("noise {k}"), [n, width]);
                        host(&model.log_weights(&x, &Condition::None, 1, noise)?)
                    }
                };
                means.push(all.iter().sum::<f64>() / n as f64);
            }
            Ok(means)
        });
        let [(a, e), (b, f)] = [own?, weights?].map(|means| mean_and_error(&means));
        within(format!("the bound with {keys}"), a, b, 4.9 * (e * e + f * f).sqrt());
        let bound = |step: f64| -> f64 {
            let model = moved(&model, step);
            let [value, _] = model.bound(&x, &Condition::None, &Draws::new(2)).expect("a bound");
            host(&value).iter().sum::<f64>() / n as f64
        };
        let tracked = moved(&model, 0.0).train();
        let batch = Tensor::<2>::from_data(x.to_data(), (&cpu().autodiff(), DType::F64));
        let [_, expression] = tracked.bound(&batch, &Condition::None, &Draws::new(2))?;
        let along = slope(&tracked, &expression.mean().backward());
        let expected = difference(bound, 0.0, 1e-4);
        within(format!("slope with {keys}"), along, expected, 1e-6 * expected.abs().max(1.0));
    }
    Ok(())
}

/// A model of two layers of one dimension, z₂ ~ N(0, 1), z₁ = a z₂ + s ε, x = w z₁ + σ ε.
const CHAIN: (f64, f64, f64, f64) = (0.8, 0.6, 1.5, 0.5);

/// The weights of the two-layer model, whose inference is exact for rows at `x`.
fn exact(inference: &str, x: f64) -> Result<LatentVariable> {
    let (a, s, w, sd) = CHAIN;
    let keys = json!({ "width": 1, "encoder": [], "decoder": [], "scale": "one",
        "above": [{ "width": 1, "hidden": [] }], "inference": inference });
    let model = moved(&config(keys).init(&plain(1), &Draws::new(0), &cpu())?, 0.0);
    let unbounded = |s: f64, most: f64| s / (1.0 - s.abs() / most);
    let log_sd = |s: f64| unbounded(s.ln(), 12.0);
    // What x says of z₁ alone, and together with z₂; the posterior of z₂.
    let whole = w * w * (a * a + s * s) + sd * sd;
    let (mean_2, sd_2) = (w * a * x / whole, (1.0 - w * w * a * a / whole).sqrt());
    let sd_1 = (1.0 / (s * s) + w * w / (sd * sd)).sqrt().recip();
    let share = sd_1 * sd_1 * w / (sd * sd);
    let mut params = collect_params(&model)?;
    for (path, data) in &mut params {
        let values = match (path.as_str(), inference) {
            ("scales", _) => vec![unbounded(sd.ln(), 7.0)],
            ("decoder.linears.0.weight", _) => vec![0.0, w, 0.0],
            ("ladder.down.0.linears.0.weight", _) => vec![a, 0.0],
            ("ladder.down.0.linears.0.bias", _) => vec![0.0, log_sd(s)],
            // Bottom-up, q(z₁ | x) is the posterior, and q(z₂ | z₁) too.
            ("encoder.linears.0.weight", "bottom-up") => {
                let all = (a * a + s * s) * w / whole;
                vec![all, 0.0]
            }
            ("encoder.linears.0.bias", "bottom-up") => {
                let all = (a * a + s * s) * sd * sd / whole;
                vec![0.0, log_sd(all.sqrt())]
            }
            ("ladder.up.0.linears.0.weight", "bottom-up") => vec![a / (a * a + s * s), 0.0],
            ("ladder.up.0.linears.0.bias", "bottom-up") => {
                vec![0.0, log_sd((s * s / (a * a + s * s)).sqrt())]
            }
            // By precisions, x says x/w ± σ/w of z₁.
            ("encoder.linears.0.weight", "top-down") => vec![1.0 / w, 0.0, 0.0],
            ("encoder.linears.0.bias", "top-down") => vec![0.0, log_sd(sd / w), 0.0],
            ("ladder.up.0.linears.0.bias", _) => vec![mean_2, log_sd(sd_2)],
            // By differences, the mean moves from a z₂ to the weighted one.
            ("ladder.aside.0.linears.0.weight", _) => vec![0.0, -share * w * a, 0.0, 0.0],
            ("ladder.aside.0.linears.0.bias", _) => vec![share * x, log_sd(sd_1 / s)],
            _ => vec![0.0; data.num_elements()],
        };
        data.as_mut_slice::<f64>().expect("doubles").copy_from_slice(&values);
    }
    map_params(model, &params, Path::new("here"))
}

/// In a linear model each way of inference can be exact, and then every weight is p(x).
#[test]
fn layers_can_have_their_exact_posterior() -> Result<()> {
    let (a, s, w, sd) = CHAIN;
    let variance = w * w * (a * a + s * s) + sd * sd;
    for x in [-1.3, 0.4, 2.5] {
        let right = -0.5 * (x * x / variance + variance.ln() + std::f64::consts::TAU.ln());
        for inference in ["bottom-up", "top-down", "residual"] {
            let model = exact(inference, x)?;
            let found = model.importance(doubles(&[x], 1), &Condition::None, 9, &Draws::new(1))?[0];
            within(format!("log p, {inference}"), found.log_p, right, 1e-9);
            within(format!("its bound, {inference}"), found.mean_log_weight, right, 1e-9);
        }
    }
    Ok(())
}

/// The divergence of a group below the free nats has no gradient, and the weight of the divergence rises step by step.
#[test]
fn weights_of_terms_are_those_of_their_definitions() -> Result<()> {
    let (space, x) = bits(4)?;
    let model = config(json!({ "width": 3, "encoder": [8], "decoder": [8] }));
    let model = moved(&randomised(model.init(&space, &Draws::new(4), &cpu())?, 0.4), 0.0).train();
    let x = Tensor::<2>::from_data(x.cast(DType::F64).to_data(), (&cpu().autodiff(), DType::F64));
    let along = |factors: Factors| -> Result<f64> {
        let found = model.bound_by(&x, &Condition::None, &Draws::new(1), &factors, None)?;
        Ok(slope(&model, &found.expression.mean().backward()))
    };
    let of = |likelihood, divergence, free| Factors { likelihood, divergence, free };
    let (all, seen) = (along(of(1.0, 1.0, 0.0))?, along(of(1.0, 0.0, 0.0))?);
    assert!((all - seen).abs() > 1e-3);
    within("half of the divergence", along(of(1.0, 0.5, 0.0))?, 0.5 * (all + seen), 1e-9);
    within("free", along(of(1.0, 1.0, 1e3))?, seen, 1e-9);
    within("a multiplier of 4", along(of(4.0, 1.0, 0.0))?, seen + 0.25 * (all - seen), 1e-9);
    let terms = Terms { warmup: 10, divergence: 2.0, ..Terms::default() };
    let found: Vec<f64> = [0, 5, 10, 99].map(|k| terms.factors(k, 1.0).divergence).to_vec();
    assert_eq!(found, [0.0, 1.0, 2.0, 2.0]);
    Ok(())
}

/// Training ends where the likelihood meets its constraint; one beyond reach stops it.
#[test]
fn a_constraint_is_met_or_refused() -> Result<()> {
    let data = signs(&[3.0, 2.0, 1.0, 0.8, 0.9])?;
    let keys = |nats: f64| {
        json!({ "width": 2, "encoder": [], "decoder": [], "scale": "one",
            "terms": { "constraint": { "nats": nats, "rate": 0.02 } } })
    };
    // At the bound's own optimum it has 6.59 nats.
    for nats in [6.3, 7.5] {
        let (_, mut learner) = learnt_by(config(keys(nats)), &data, [3000, 8000], 1e-2)?;
        let mut all = Vec::new();
        for step in 3000..3200 {
            let values = learner.step(step)?;
            let of =
                |name: &str| values.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
            all.push(-of("train/log_likelihood").expect("a term"));
            assert!(of("train/kl").is_some() && of("train/multiplier").is_some());
        }
        within("nats", mean_and_error(&all).0, nats, 0.02 * nats);
        let notes = learner.notes().join("\n");
        assert!(notes.contains(&format!("of {nats} nats a row")), "{notes}");
    }
    let mut multiplier = Multiplier::new(Constraint { nats: 1.0, rate: 1.0 });
    let error = (0..100).find_map(|_| match multiplier.after(-30.0, 5) {
        Ok(next) => {
            multiplier = next;
            None
        }
        Err(error) => Some(error.to_string()),
    });
    let error = error.expect("an error");
    assert!(error.starts_with("latent.terms.constraint.nats: 1, and"), "{error}");
    assert!(error.contains("30.0000 nats") && error.contains("the multiplier rose"), "{error}");
    Ok(())
}

/// A run goes on from a checkpoint as if it had not stopped: with a multiplier, pseudo-inputs and a warm-up.
#[test]
fn a_resumed_run_is_the_same() -> Result<()> {
    let data = signs(&[3.0, 2.0, 1.0, 0.8, 0.9])?;
    let constraint = json!({ "constraint": { "nats": 7.5 } });
    for keys in [
        json!({ "width": 2, "encoder": [5], "decoder": [5], "terms": constraint }),
        json!({ "width": 2, "encoder": [5], "decoder": [5], "terms": { "warmup": 40 },
            "prior": { "name": "vamp", "components": 6 } }),
        json!({ "width": 2, "encoder": [5], "decoder": [5], "above": [{ "width": 2 }],
            "posterior": "normal" }),
        json!({ "width": 2, "encoder": [5], "decoder": [5], "posterior": "implicit",
            "matching": { "name": "critic", "hidden": [5] } }),
        json!({ "width": 2, "encoder": [5], "decoder": [5], "posterior": "implicit",
            "matching": { "name": "denoising", "hidden": [5] } }),
        json!({ "width": 2, "encoder": [5], "decoder": [5], "matching": "aggregate" }),
        json!({ "width": 2, "encoder": [5], "decoder": [5], "refine": { "steps": 2 } }),
    ] {
        let (_, mut whole) = learnt_by(config(keys.clone()), &data, [20, 8000], 1e-2)?;
        let state = whole.save()?;
        let (_, mut again) = learnt_by(config(keys), &data, [0, 8000], 1e-2)?;
        again.load(state, Path::new("here"))?;
        for step in 20..40 {
            assert_eq!(whole.step(step)?, again.step(step)?);
        }
        assert_eq!(whole.save()?, again.save()?);
    }
    Ok(())
}

/// The decoder starts at the shares of levels, and pseudo-inputs at rows.
#[test]
fn models_start_from_the_rows() -> Result<()> {
    let (space, x) = bits(5)?;
    let rows = Rows::from_tensor(&x)?;
    // Bit 0 is set in 3 of 12 rows.
    let chosen: Vec<usize> = (0..12).map(|i| if i < 3 { 1 } else { 2 * i }).collect();
    let rows = rows.select(&chosen);
    let keys = json!({ "width": 2, "encoder": [5], "decoder": [5],
        "prior": { "name": "vamp", "components": 12 } });
    let model = config(keys.clone()).init(&space, &Draws::new(0), &cpu())?;
    let model = model.start(12, &|numbers| Ok(rows.select(numbers)))?;
    let bias = host(&Tensor::<1>::from_data(
        collect_params(&model)?["decoder.linears.1.bias"].clone(),
        (&cpu(), DType::F32),
    ));
    within("the logit", bias[0], (4f64 / 10.0).ln(), 1e-6);
    let inputs = collect_params(&model)?["prior.inputs"].clone();
    let inputs = host(&Tensor::<2>::from_data(inputs, (&cpu(), DType::F32)));
    // The logarithm of odds of 0.05 and 0.95.
    let set = |row: &&[f64]| (row[0] - 19f64.ln()).abs() < 1e-4;
    assert_eq!(inputs.chunks(5).filter(set).count(), 3);
    assert!(inputs.iter().all(|v| (v.abs() - 19f64.ln()).abs() < 1e-4));
    let few = config(keys).init(&space, &Draws::new(0), &cpu())?;
    let error = few.start(11, &|numbers| Ok(rows.select(numbers))).expect_err("too few rows");
    assert!(error.to_string().starts_with("prior.components: 12"), "{error}");
    Ok(())
}

#[test]
fn parts_that_do_not_go_together_are_refused_by_name() {
    let layers = json!([{ "width": 2 }]);
    for (keys, begins) in [
        (json!({ "prior": { "name": "vamp", "components": 0 } }), "prior.components: 0"),
        (json!({ "prior": { "name": "mixture", "components": 0 } }), "prior.components: 0"),
        (json!({ "prior": "vamp", "posterior": "flow" }), "prior: vamp"),
        (json!({ "prior": "vamp", "above": layers }), "prior: vamp"),
        (json!({ "posterior": "flow", "above": layers }), "posterior: flow"),
        (json!({ "posterior": "per-row", "above": layers }), "posterior: per-row"),
        (json!({ "posterior": "auxiliary", "above": layers }), "posterior: auxiliary"),
        (json!({ "posterior": "auxiliary", "prior": "vamp" }), "prior: vamp"),
        (json!({ "posterior": { "name": "auxiliary", "width": 0 } }), "posterior.width: 0"),
        (
            json!({ "posterior": "auxiliary", "bound": { "k": 2, "m": 2, "partial": true } }),
            "bound.partial: true",
        ),
        (json!({ "posterior": "per-row", "prior": "vamp" }), "prior: vamp"),
        (json!({ "posterior": { "name": "per-row", "steps": 0 } }), "posterior.steps: 0"),
        (json!({ "posterior": { "name": "flow", "layers": [] } }), "posterior.layers: none"),
        (json!({ "above": [{ "width": 0 }] }), "above.0.width: 0"),
        (json!({ "inference": "bottom-up" }), "inference: given, with one layer"),
        (json!({ "skips": true }), "skips: given, with one layer"),
        (
            json!({ "bound": { "k": 2, "gradient": "doubly" }, "posterior": "flow" }),
            "bound.gradient: doubly",
        ),
        (json!({ "posterior": "implicit" }), "matching: density"),
        (json!({ "posterior": { "name": "implicit", "noise": 0 } }), "posterior.noise: 0"),
        (
            json!({ "posterior": "implicit", "matching": "critic", "bound": { "k": 5 } }),
            "bound: of another kind",
        ),
        (json!({ "matching": "denoising", "posterior": "flow" }), "matching: `denoising`"),
        (json!({ "matching": "denoising", "prior": "vamp" }), "prior: vamp"),
        (json!({ "matching": "aggregate", "terms": { "free": 1.0 } }), "terms.free: 1"),
        (json!({ "matching": { "name": "critic", "steps": 0 } }), "matching.steps: 0"),
        (json!({ "matching": { "name": "denoising", "noise": 0.0 } }), "matching.noise: 0"),
        (
            json!({ "matching": { "name": "aggregate", "critic": { "steps": 0 } } }),
            "matching.critic.steps: 0",
        ),
        (json!({ "refine": { "steps": 0 } }), "refine.steps: 0"),
        (json!({ "refine": {}, "above": layers }), "refine: given"),
        (json!({ "refine": { "kernel": { "name": "mala", "step_size": 0.0 } } }), "refine.kernel"),
        (json!({ "terms": { "free": -1.0 } }), "terms.free: -1"),
        (json!({ "terms": { "free": 1.0 }, "bound": { "k": 2 } }), "terms.free: given"),
        (json!({ "terms": { "constraint": { "nats": 1.0 }, "warmup": 3 } }), "terms.constraint"),
    ] {
        match config(keys.clone()).check() {
            Err(error) => assert!(error.to_string().starts_with(begins), "{error}"),
            Ok(()) => panic!("accepted {keys}"),
        }
    }
    let space = plain(3).with_classes(vec!["a".into(), "b".into()]);
    let vamp = config(json!({ "prior": "vamp" })).init(&space, &Draws::new(0), &cpu());
    let error = vamp.expect_err("an error").to_string();
    assert!(error.starts_with("prior: vamp") && error.contains("data.label = \"none\""), "{error}");
}
