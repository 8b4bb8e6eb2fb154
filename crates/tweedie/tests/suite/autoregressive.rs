//! Autoregressive models: probabilities that sum to one, masks that leak nothing, samples with the right frequencies.

mod order;

use crate::double::moved;
use crate::dual::{normal, randomised};
use crate::support::{cpu, doubles, host, simpson, within};
use burn::tensor::{DType, Tensor};
use serde_json::json;
use tweedie::data::{Condition, Coordinate, Generate, Kind, Layout, LogDensity, Rows, Space};
use tweedie::nn::autoregressive::{
    AnyColumnNetwork, AnyColumnNetworkConfig, Autoregressive, AutoregressiveConfig, ColumnNetwork,
    Outline,
};
use tweedie::nn::{Activation, MaskedMlp, MaskedMlpConfig, param_count};
use tweedie::tensor::Dual;
use tweedie::{Draws, Error, Result};

const CLASSES: usize = 2;

fn integer(name: &str, low: i64, high: i64) -> Coordinate {
    let kind = Kind::Quantised { low: Some(low), high: Some(high) };
    Coordinate { kind, shift: 1.5, scale: 2.5, ..Coordinate::real(name) }
}

fn category(name: &str, names: usize) -> Coordinate {
    let names = (0..names).map(|k| format!("{name}{k}")).collect();
    Coordinate { kind: Kind::Category { names }, ..Coordinate::real(name) }
}

fn space(columns: Vec<Coordinate>, classes: usize) -> Space {
    let layout = Layout::Vector { width: columns.len() };
    let names = (0..classes).map(|k| k.to_string()).collect();
    Space::new(layout, columns).expect("a space").with_classes(names)
}

/// A model with random weights from a table of changes.
fn model(space: &Space, changes: serde_json::Value, sd: f32) -> Result<Autoregressive> {
    let network = json!({ "name": "masked", "hidden": [24, 24], "residual": true });
    let mut json = json!({ "network": network });
    for (key, value) in changes.as_object().expect("a table") {
        json[key] = value.clone();
    }
    let config: AutoregressiveConfig = serde_json::from_value(json).expect("a configuration");
    Ok(randomised(config.init(space, &Draws::new(1), &cpu())?, sd))
}

/// All rows of a space of integers and names.
fn states(space: &Space) -> Result<Rows> {
    let levels = |j: usize| match &space.coordinate(j).kind {
        Kind::Quantised { low: Some(low), high: Some(high) } => (*low..=*high).collect(),
        Kind::Category { names } => (0..names.len() as i64).collect::<Vec<_>>(),
        other => panic!("{other:?} has no list of levels"),
    };
    let mut all = vec![Vec::new()];
    for j in 0..space.width() {
        let longer = |row: &Vec<f32>| {
            let row = row.clone();
            levels(j).into_iter().map(move |v| [&row[..], &[v as f32]].concat())
        };
        all = all.iter().flat_map(longer).collect();
    }
    Rows::new(all.concat(), space.width())
}

fn log_p(
    model: &Autoregressive,
    space: &Space,
    raw: &Rows,
    condition: &Condition,
) -> Result<Vec<f64>> {
    let x = space.encode(raw)?.to_tensor(&cpu());
    let x = x.cast(tweedie::nn::dtype_of(model));
    Ok(host(&model.log_density(x.into(), condition)?.value))
}

/// Four bits, names, and integers of two kinds: 4,096 rows.
fn mixed(classes: usize) -> Space {
    let bit = |k: usize| integer(&format!("bit {k}"), 0, 1);
    let more = [category("name", 4), integer("levels", -3, 4), integer("steps", 2, 9)];
    space((0..4).map(bit).chain(more).collect(), classes)
}

const ORDERS: [&str; 3] =
    [r#""natural""#, r#""reversed""#, r#"{ "name": "list", "columns": [5, 0, 4, 2, 6, 1, 3] }"#];

#[test]
fn probabilities_sum_to_one_over_all_rows() -> Result<()> {
    for (order, integers) in
        ORDERS.iter().flat_map(|order| ["categorical", "logistic-mixture"].map(|i| (order, i)))
    {
        for classes in [0, CLASSES] {
            let space = mixed(classes);
            let raw = states(&space)?;
            assert_eq!(raw.len(), 4096);
            let order: serde_json::Value = serde_json::from_str(order).expect("JSON");
            let changes = json!({ "order": order, "integers": integers });
            let single = model(&space, changes, 0.7)?;
            for model in [&single, &moved(&single, 0.0)] {
                let condition = match classes {
                    0 => Condition::None,
                    _ => Condition::class(1, raw.len()),
                };
                let log_p = log_p(model, &space, &raw, &condition)?;
                let spread = log_p.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
                assert!(spread > -7.0, "the weights are not all alike: {spread}");
                let sum: f64 = log_p.iter().map(|log_p| log_p.exp()).sum();
                within(format!("{order} {integers} given {classes}"), sum, 1.0, 1e-6);
            }
        }
    }
    Ok(())
}

/// Pictures of one and of three channels and mixed columns, with networks for them.
fn of_networks() -> Result<Vec<(Space, serde_json::Value)>> {
    let small = json!({ "name": "pixelcnn", "channels": 6, "layers": 3, "hidden": 8 });
    let placed =
        json!({ "name": "pixelcnn", "channels": 5, "layers": 2, "hidden": 8, "position": true });
    let masked = json!({ "name": "masked", "hidden": [24] });
    let [one, three] = [[1, 4, 3], [3, 2, 2]].map(|[c, h, w]| Space::image(c, h, w, 2));
    let (one, three) = (one?, three?);
    let tokens = json!({ "name": "transformer", "width": 8, "layers": 2, "heads": 2 });
    let nade = json!({ "name": "nade", "hidden": 7 });
    let mut all =
        vec![(one.clone(), small.clone()), (one.clone(), masked), (one.clone(), tokens.clone())];
    all.extend([(three.clone(), nade.clone()), (mixed(0), nade)]);
    let plus = json!({ "name": "pixelcnn++", "channels": 4, "blocks": 1, "hidden": 8 });
    all.extend([(one.clone(), plus.clone()), (three.clone(), plus)]);
    all.extend([(one.clone(), placed.clone()), (three.clone(), placed)]);
    all.extend([(three.clone(), small), (three, tokens.clone()), (mixed(0), tokens)]);
    Ok(all)
}

/// Columns for a network, of two parameters each.
fn outline(layout: Layout, values: &[usize], order: Vec<usize>, classes: usize) -> Outline {
    let (values, parameters) = (values.to_vec(), vec![2; values.len()]);
    Outline { values, parameters, layout, order, classes, vector: 0, gain: 1.0 }
}

#[test]
fn probabilities_by_every_network_sum_to_one() -> Result<()> {
    for (space, network) in of_networks()? {
        for classes in [0, CLASSES] {
            let names = (0..classes).map(|k| k.to_string()).collect();
            let space = space.clone().with_classes(names);
            let raw = states(&space)?;
            assert_eq!(raw.len(), 4096);
            let model = moved(&model(&space, json!({ "network": network }), 0.5)?, 0.0);
            let condition = match classes {
                0 => Condition::None,
                _ => Condition::class(1, raw.len()),
            };
            let log_p = log_p(&model, &space, &raw, &condition)?;
            let (least, most) =
                log_p.iter().fold((0.0f64, -99.0f64), |(a, b), v| (a.min(*v), b.max(*v)));
            assert!(most - least > 1.0, "the weights are not all alike: {least} to {most}");
            within(format!("{network}"), log_p.iter().map(|v| v.exp()).sum(), 1.0, 1e-9);
        }
    }
    Ok(())
}

/// An ensemble of three orders with two masks each, of two classes, with its rows' log p.
#[test]
fn an_ensemble_is_the_mean_of_the_probabilities_of_its_members() -> Result<()> {
    let space = mixed(CLASSES);
    let (raw, n) = (states(&space)?, 4096);
    let given = Condition::class(1, n);
    let network = json!({
        "name": "masked", "hidden": [24, 24], "residual": true, "orders": 3, "masks": 2
    });
    let single = model(&space, json!({ "network": network, "order": "reversed" }), 0.7)?;
    assert_eq!(single.members(), 6);
    for (model, tolerance) in [(&single, 1e-6), (&moved(&single, 0.0), 1e-11)] {
        let x = space.encode(&raw)?.to_tensor(&cpu()).cast(tweedie::nn::dtype_of(model));
        let by = |member| Ok(host(&model.log_density_by(member, x.clone().into(), &given)?.value));
        let members: Vec<Vec<f64>> = (0..6).map(by).collect::<Result<_>>()?;
        for (k, log_p) in members.iter().enumerate() {
            within(format!("member {k}"), log_p.iter().map(|v| v.exp()).sum(), 1.0, tolerance);
            for other in &members[..k] {
                let far = log_p.iter().zip(other).map(|(a, b)| (a - b).abs());
                assert!(far.fold(0.0, f64::max) > 0.5, "member {k} is one of those before it");
            }
        }
        let log_p = log_p(model, &space, &raw, &given)?;
        within("the ensemble", log_p.iter().map(|v| v.exp()).sum(), 1.0, tolerance);
        for (i, log_p) in log_p.iter().enumerate() {
            let mean = members.iter().map(|of| of[i].exp()).sum::<f64>() / 6.0;
            within(format!("row {i}"), log_p.exp(), mean, tolerance);
        }
        // Training takes any member, at each of its draws one.
        let mut taken = [false; 6];
        for step in 0..200 {
            let draws = Draws::new(5).at(step);
            let log_p = host(&model.training_log_p(x.clone(), &given, &draws)?);
            taken[members.iter().position(|of| *of == log_p).expect("a member")] = true;
        }
        // All are, but once in 10¹⁵.
        assert_eq!(taken, [true; 6]);
    }
    Ok(())
}

/// The weights of an ensemble are those of a single network, and its first member has the same masks; a column of zeros
/// differs from one that is not read.
#[test]
fn members_share_the_weights_of_a_single_network() -> Result<()> {
    let space = mixed(0);
    let raw = states(&space)?;
    let of = |masks: usize| {
        let network = json!({ "name": "masked", "hidden": [24, 24], "masks": masks });
        model(&space, json!({ "network": network }), 0.7)
    };
    let (one, all) = (of(1)?, of(3)?);
    let x = space.encode(&raw)?.to_tensor(&cpu());
    let right = host(&one.log_density(x.clone().into(), &Condition::None)?.value);
    assert_eq!(host(&all.log_density_by(0, x.into(), &Condition::None)?.value), right);
    let outline = outline(Layout::Vector { width: 8 }, &[1; 8], (0..8).collect(), 0);
    let config = json!({ "name": "masked", "hidden": [16], "orders": 4 });
    let config: AnyColumnNetworkConfig = serde_json::from_value(config).expect("a network");
    let network = moved(&randomised(config.init(&outline, &Draws::new(4), &cpu())?, 0.5), 0.0);
    let zeros = || Tensor::<2>::zeros([1, 8], (&cpu(), DType::F64));
    let of = |k| Ok(host(&network.forward_by(k, zeros().into(), &Condition::None)?.value));
    let all: Vec<Vec<f64>> = (0..4).map(of).collect::<Result<_>>()?;
    for (k, j) in (0..4).flat_map(|k| (0..k).map(move |j| (k, j))) {
        assert!(all[k] != all[j], "orders {k} and {j} are alike to zeros");
    }
    Ok(())
}

/// The derivative of log p along a direction, forward, is the product with the score, in reverse.
#[test]
fn directional_derivatives_are_products_with_the_score() -> Result<()> {
    let reals = ["a", "b", "c", "d"].map(Coordinate::real);
    let space = space(reals.to_vec(), 0);
    for network in [
        json!({ "name": "masked", "hidden": [24], "orders": 2, "masks": 2 }),
        json!({ "name": "nade", "hidden": 7 }),
        json!({ "name": "transformer", "width": 8, "layers": 2, "heads": 2 }),
    ] {
        let model = moved(&model(&space, json!({ "network": network }), 0.5)?, 0.0);
        let [x, v] = ["rows", "directions"].map(|name| normal::<2>(name, [7, 4]));
        let along = Dual::new(x.clone(), v.clone());
        let along = model.log_density(along, &Condition::None)?.tangent.expect("a tangent");
        let score = model.score(x, &Condition::None)?;
        for (found, right) in host(&along).iter().zip(host(&(score * v).sum_dim(1))) {
            within(format!("{network}"), *found, right, 1e-10);
        }
    }
    Ok(())
}

/// A logistic mixture's probabilities sum to one at any scale and place, far outside the integers included.
#[test]
fn discretised_logistics_sum_to_one_at_any_scale() -> Result<()> {
    let space = space(vec![integer("levels", 0, 255)], 0);
    let raw = states(&space)?;
    for sd in [0.1, 3.0, 50.0, 1000.0] {
        let model = model(&space, json!({ "integers": "logistic-mixture" }), sd)?;
        let log_p = log_p(&moved(&model, 0.0), &space, &raw, &Condition::None)?;
        assert!(log_p.iter().all(|v| v.is_finite()), "weights of size {sd}");
        within(format!("{sd}"), log_p.iter().map(|v| v.exp()).sum(), 1.0, 1e-9);
    }
    Ok(())
}

/// Frequencies of samples against the probabilities of all rows, and rows by their number alone.
#[test]
fn samples_have_the_frequencies_of_the_probabilities() -> Result<()> {
    const N: u64 = 200_000;
    let columns = vec![integer("bit", 0, 1), category("name", 3), integer("steps", -1, 3)];
    let space = space(columns, CLASSES);
    let raw = states(&space)?;
    let ensemble = json!({ "name": "masked", "hidden": [24], "orders": 3, "masks": 2 });
    for (integers, changes) in [
        ("categorical", json!({ "order": "reversed" })),
        ("logistic-mixture", json!({ "order": "reversed", "integers": "logistic-mixture" })),
        ("of an ensemble", json!({ "network": ensemble })),
    ] {
        let model = model(&space, changes, 0.7)?;
        let probabilities = log_p(&model, &space, &raw, &Condition::class(1, raw.len()))?;
        let draws = Draws::new(17).purpose("sample");
        let rows = |range: std::ops::Range<u64>| -> Result<Rows> {
            let given = Condition::class(1, (range.end - range.start) as usize);
            let x = model.generate(range, &given, &draws, &cpu())?;
            space.decode(&Rows::from_tensor(&x)?)
        };
        let sample = rows(0..N)?;
        assert_eq!(
            rows(1000..1003)?,
            sample.slice(1000..1003),
            "a row is a function of its number"
        );
        let mut counts = vec![0.0; raw.len()];
        for row in sample.iter() {
            counts[raw.iter().position(|state| state == row).expect("a row of the space")] += 1.0;
        }
        // χ² of 29 degrees of freedom passes 92 once in 10⁸ samples.
        // Rare rows count together.
        let (mut chi2, mut rare) = (0.0, (0.0, 0.0));
        for (found, log_p) in counts.iter().zip(&probabilities) {
            let expected = N as f64 * log_p.exp();
            if expected < 10.0 {
                rare = (rare.0 + found, rare.1 + expected);
            } else {
                chi2 += (found - expected).powi(2) / expected;
            }
        }
        chi2 += (rare.0 - rare.1).powi(2) / rare.1.max(10.0);
        println!("{integers}: χ² {chi2:.1} of {} rows", raw.len());
        assert!(chi2 < 92.0, "{integers}: χ² {chi2}");
    }
    Ok(())
}

/// The probability of a missing value, that of the pile, and the integral over all others are one; samples of real
/// numbers have the model's distribution function.
#[test]
fn a_column_with_missing_values_and_a_pile_has_total_probability_one() -> Result<()> {
    let column = Coordinate {
        missing: Some("NA".into()),
        pile: Some(0.0),
        shift: 3.0,
        scale: 2.0,
        ..Coordinate::real("rain")
    };
    let space = space(vec![integer("bit", 0, 1), column], 0);
    let model = moved(&model(&space, json!({}), 0.5)?, 0.0);
    let given = |block: [f64; 3]| -> Result<f64> {
        let bit = (1.0 + 0.5 - 1.5) / 2.5;
        let x = doubles(&[bit, block[0], block[1], block[2]], 4);
        Ok(host(&model.log_conditionals(0, x.into(), &Condition::None)?.value)[1].exp())
    };
    let (missing, pile) = (given([0.0, 1.0, -1.0])?, given([0.0, -1.0, 1.0])?);
    let density = |x: f64| given([x, -1.0, -1.0]).expect("a density");
    let rest = simpson(-40.0, 40.0, 4000, density);
    assert!(missing > 0.02 && pile > 0.02 && rest > 0.02, "{missing} {pile} {rest}");
    within("total", missing + pile + rest, 1.0, 1e-4);
    // In the data's units a value's density is smaller by the scale; that of a missing value is a probability.
    let raw = Rows::new(vec![1.0, 4.2, 1.0, f32::NAN, 1.0, 0.0], 2)?;
    let volumes = space.log_volumes_of_reals(&space.encode(&raw)?)?;
    assert_eq!(volumes, [2f64.ln(), 0.0, 0.0]);
    let sample = model_sample(&space, 40_000)?;
    let with_bit: Vec<&[f32]> = sample.iter().filter(|row| row[0] == 1.0).collect();
    let share = |of: &dyn Fn(f32) -> bool| {
        with_bit.iter().filter(|row| of(row[1])).count() as f64 / with_bit.len() as f64
    };
    let below = simpson(-40.0, (5.0 - 3.0) / 2.0, 4000, density);
    let n = with_bit.len() as f64;
    for (what, found, right) in [
        ("missing", share(&|v| v.is_nan()), missing),
        ("pile", share(&|v| v == 0.0), pile),
        ("below 5", share(&|v| v < 5.0 && v != 0.0), below),
    ] {
        within(what, found, right, 4.9 * (right * (1.0 - right) / n).sqrt());
    }
    Ok(())
}

/// Rows of the model of the test above, in single precision.
fn model_sample(space: &Space, n: u64) -> Result<Rows> {
    let model = model(space, json!({}), 0.5)?;
    let x = model.generate(0..n, &Condition::None, &Draws::new(3), &cpu())?;
    space.decode(&Rows::from_tensor(&x)?)
}

/// Column by column a masked network gives the outputs of one pass.
#[test]
fn a_sequence_has_the_outputs_of_one_pass() -> Result<()> {
    let columns = vec![1, 3, 1, 1, 2];
    let limits = vec![0, 0, 1, 1, 2, 3, 4, 4, 4, 0, 3, 5];
    for (residual, direct, classes, hidden) in [
        (false, false, 0, vec![7, 9]),
        (true, true, 0, vec![8, 8, 8]),
        (true, true, 3, vec![6, 6, 9]),
        (false, true, 3, vec![5]),
    ] {
        let config = MaskedMlpConfig {
            limits: limits.clone(),
            columns: columns.clone(),
            hidden: hidden.clone(),
            activation: Activation::Silu,
            residual,
            direct,
            classes,
            vector: 0,
            features: false,
            orders: 1,
            masks: 1,
            gain: 1.0,
        };
        let network = config.init(&Draws::new(2), &cpu())?;
        let network: MaskedMlp = moved(&randomised(network, 0.6), 0.0);
        let n = 11;
        let condition = if classes > 0 { Condition::class(2, n) } else { Condition::None };
        let x: Tensor<2> = normal("sequence", [n, 8]);
        let whole = network.forward(x.clone().into(), &condition)?.value;
        let mut sequence = network.sequence(&condition, n, &cpu())?;
        let mut from = 0;
        for known in 0..=columns.len() {
            let outputs: Vec<usize> = (0..limits.len()).filter(|o| limits[*o] == known).collect();
            let found = host(&sequence.outputs().value);
            for (k, output) in outputs.iter().enumerate() {
                let right = host(&whole.clone().narrow(1, *output, 1));
                for (i, right) in right.iter().enumerate() {
                    let found = found[i * outputs.len() + k];
                    within(format!("{hidden:?}: output {output}"), found, *right, 1e-12);
                }
            }
            if let Some(width) = columns.get(known) {
                sequence.push(x.clone().narrow(1, from, *width).into());
                from += width;
            }
        }
    }
    Ok(())
}

#[test]
fn what_does_not_fit_an_autoregressive_model_is_refused_by_name() -> Result<()> {
    let space = mixed(0);
    for (changes, why) in [
        (json!({ "order": { "name": "list", "columns": [0, 1, 2, 3, 4, 5, 5] } }), "order.columns"),
        (json!({ "network": { "name": "masked", "hidden": [2, 24] } }), "network.hidden"),
        (json!({ "network": { "name": "masked", "orders": 0 } }), "network.orders"),
        (json!({ "network": { "name": "masked", "orders": 64, "masks": 17 } }), "network.masks"),
        (json!({ "integers": "gaussian-mixture" }), "integers"),
        (json!({ "integers": { "name": "logistic-mixture", "components": 0 } }), "components"),
    ] {
        let error = model(&space, changes, 0.1).expect_err(why);
        assert!(matches!(error, Error::Config { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
    let model = model(&space, json!({}), 0.1)?;
    let x = Tensor::<2>::zeros([2, 3], (&cpu(), DType::F32));
    assert!(matches!(model.log_density(x.into(), &Condition::None), Err(Error::Shape { .. })));
    Ok(())
}
