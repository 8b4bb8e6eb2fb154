//! Flows on pictures: squeezes, splits, masks, and their start.

use super::*;
use crate::double::along_parameters;
use crate::dual::normal;
use crate::support::*;
use burn::tensor::DType;
use tweedie::Result;
use tweedie::data::LogDensity;
use tweedie::nn::flow::Bijection;
use tweedie::nn::{collect_params, param_count};
use tweedie::tensor::jvp;

/// A flow on pictures of the keys in JSON, with the draws of seed 3.
fn flow_of(picture: [usize; 3], keys: serde_json::Value) -> Result<Flow> {
    let mut config: FlowConfig = serde_json::from_value(keys).expect("a flow");
    config.width = picture.iter().product();
    config.with_picture(picture).init(&Draws::new(3), &cpu())
}

/// A squeeze alone: four neighbours become the channels of one pixel, and each level gives half of them to the noise.
#[test]
fn levels_squeeze_and_split() -> Result<()> {
    // Layers that do nothing yet.
    let nothing = json!([{ "name": "activation-norm", "channels": true }]);
    let numbers: Vec<f64> = (0..16).map(f64::from).collect();
    let noise = |levels: usize| -> Result<Vec<f64>> {
        let flow = flow_of([1, 4, 4], json!({ "levels": levels, "depth": 1, "layers": nothing }))?;
        let (z, log_det) =
            double(&flow).to_noise(doubles(&numbers, 16).into(), &Condition::None)?;
        assert_eq!(host(&log_det.value), [0.0]);
        Ok(host(&z.value))
    };
    assert_eq!(noise(0)?, numbers);
    let once = [0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15].map(f64::from);
    assert_eq!(noise(1)?, once);
    // Two of the four channels, the pixels of which are rows of four here, are squeezed again.
    let twice = [0, 2, 8, 10, 1, 3, 9, 11].map(f64::from);
    assert_eq!(noise(2)?[..8], twice);
    assert_eq!(noise(2)?[8..], once[8..]);
    Ok(())
}

/// What a mask keeps stays as it is, and does not depend on what it moves; every value is moved in one of two rounds.
#[test]
fn masks_move_halves_in_turn() -> Result<()> {
    for (mask, picture) in [("channels", [4, 2, 3]), ("checkerboard", [2, 3, 3])] {
        let width: usize = picture.iter().product();
        let layer = json!([{ "name": "convolutional-coupling", "mask": mask, "features": 4 }]);
        let kept = |depth: usize| -> Result<Vec<bool>> {
            let flow = flow_of(picture, json!({ "depth": depth, "layers": layer }))?;
            let (flow, x) = (double(&randomised(flow, 0.3)), normal::<2>("masks", [1, width]));
            let (z, _) = flow.to_noise(x.clone().into(), &Condition::None)?;
            Ok(host(&z.value).iter().zip(host(&x)).map(|(z, x)| *z == x).collect())
        };
        let first = kept(1)?;
        let stay = first.iter().filter(|kept| **kept).count();
        assert!(stay.abs_diff(width - stay) <= picture[0], "{mask}: {stay} of {width} stay");
        assert!(kept(2)?.iter().all(|kept| !kept), "{mask}: all are moved by two rounds");
        let pixels = picture[1] * picture[2];
        let right = |column: usize| match mask {
            "channels" => column / pixels >= picture[0] / 2,
            _ => (column % pixels / picture[2] + column % pixels % picture[2]) % 2 == 1,
        };
        assert_eq!(first, (0..width).map(right).collect::<Vec<_>>(), "{mask}");
    }
    Ok(())
}

/// A map of channels is the same at every pixel, and a coupling by convolutions moves with its picture.
#[test]
fn layers_of_channels_treat_pixels_alike() -> Result<()> {
    let layers = json!([
        { "name": "activation-norm", "channels": true },
        { "name": "linear", "channels": true },
    ]);
    let flow = flow_of([3, 2, 2], json!({ "depth": 1, "layers": layers }))?;
    assert_eq!(param_count(&flow), 3 + 3 + 9 + 3);
    let flow = double(&randomised(flow, 0.5));
    let alone = flow_of([3, 1, 1], json!({ "depth": 1, "layers": layers }))?;
    let alone = double(&randomised(alone, 0.5));
    assert_eq!(collect_params(&flow)?.len(), collect_params(&alone)?.len());
    let x = normal::<2>("pixels", [5, 12]);
    let (z, log_det) = flow.to_noise(x.clone().into(), &Condition::None)?;
    let (x, z) = (host(&x), host(&z.value));
    let mut sums = vec![0.0; 5];
    for pixel in 0..4 {
        let at = |values: &[f64]| -> Vec<f64> {
            (0..15).map(|i| values[i / 3 * 12 + i % 3 * 4 + pixel]).collect()
        };
        let (right, log_det) = alone.to_noise(doubles(&at(&x), 3).into(), &Condition::None)?;
        all_close(format!("pixel {pixel}"), &at(&z), &host(&right.value), 1e-12);
        sums.iter_mut().zip(host(&log_det.value)).for_each(|(sum, one)| *sum += one);
    }
    all_close("log-determinants", &host(&log_det.value), &sums, 1e-12);
    Ok(())
}

/// Derivatives of log p by a picture and by all weights, against differences and forward mode.
#[test]
fn derivatives_of_flows_on_pictures_are_those_of_differences() -> Result<()> {
    for given in Given::ALL {
        for (what, flow, width) in picture_flows(given, 0.3) {
            let flow = double(&flow);
            let (x, v) = (normal::<2>("gradient", [3, width]), normal::<2>("v", [3, width]));
            let condition = given.condition(3);
            let score = flow.score(x.clone(), &condition)?;
            let dots = host(&(score * v.clone()).sum_dim(1));
            let (_, along) = jvp(|x| flow.log_density(x, &condition), x.clone(), v)?;
            for (found, right) in host(&along).iter().zip(&dots) {
                within(format!("{what}: along"), *found, *right, 1e-9 * right.abs().max(1.0));
            }
            let sum =
                |flow: &Flow| flow.log_density(x.clone().into(), &condition).unwrap().value.sum();
            let (found, _) = along_parameters(&flow, sum, |_| 0.0);
            let right = difference(|h| host(&sum(&moved(&flow, h)))[0], 0.0, 2e-6);
            within(format!("{what}: by weights"), found, right, 1e-6 * right.abs().max(1.0));
        }
    }
    Ok(())
}

/// Parameters are counted before they are made, and rows are addressed, alone and in a batch.
#[test]
fn flows_on_pictures_are_counted_and_rows_do_not_depend_on_the_batch() -> Result<()> {
    for given in Given::ALL {
        for (what, flow, width) in picture_flows(given, 0.2) {
            let x = normal::<2>("alone", [40, width]).cast(DType::F32);
            let condition = match given.condition(40) {
                Condition::Vector { values, present } => {
                    Condition::Vector { values: values.cast(DType::F32), present }
                }
                other => other,
            };
            let (all, _) = flow.to_data(x.clone().into(), &condition)?;
            let one = match &condition {
                Condition::None => Condition::None,
                Condition::Class(classes) => Condition::Class(vec![classes[7]]),
                Condition::Vector { values, .. } => Condition::Vector {
                    values: values.clone().narrow(0, 7, 1),
                    present: vec![true],
                },
            };
            let (row, _) = flow.to_data(x.narrow(0, 7, 1).into(), &one)?;
            assert_eq!(host(&row.value), host(&all.value)[7 * width..8 * width], "{what}");
        }
    }
    for levels in [0, 2] {
        let layers = json!([
            { "name": "activation-norm", "channels": true },
            { "name": "linear", "channels": true },
            { "name": "convolutional-coupling", "mask": "checkerboard", "map": "spline" },
            { "name": "convolutional-coupling" },
        ]);
        let keys = json!({ "levels": levels, "depth": 2, "layers": layers, "classes": 3 });
        let mut config: FlowConfig = serde_json::from_value(keys).expect("a flow");
        config.width = 64;
        let config = config.with_picture([2, 4, 8]);
        let flow = config.init(&Draws::new(0), &cpu())?;
        assert_eq!(config.parameters(), param_count(&flow) as u128);
    }
    Ok(())
}

/// The logit maps [−1, 1] onto the line and is a line beyond it, with the slope at the edge.
#[test]
fn a_logit_has_no_corner_at_its_edges() -> Result<()> {
    let flow = flow_of([1, 1, 1], json!({ "depth": 1, "layers": [{ "name": "logit" }] }))?;
    let z = |x: f64| -> Result<(f64, f64)> {
        let (z, log_det) = flow.to_noise(doubles(&[x], 1).into(), &Condition::None)?;
        Ok((host(&z.value)[0], host(&log_det.value)[0]))
    };
    let right = |x: f64| {
        let u = 0.05 + 0.9 * (x + 1.0) / 2.0;
        ((u / (1.0 - u)).ln(), (0.45 / (u * (1.0 - u))).ln())
    };
    for x in [-1.0, -0.5, 0.0, 0.25, 0.999, 1.0] {
        within(format!("z at {x}"), z(x)?.0, right(x).0, 1e-12);
        within(format!("slope at {x}"), z(x)?.1, right(x).1, 1e-12);
    }
    let slope = right(1.0).1.exp();
    for x in [1.5f64, -3.0, 1e6] {
        let edge = right(x.signum());
        within(format!("z at {x}"), z(x)?.0 / x, (edge.0 + slope * (x - x.signum())) / x, 1e-12);
        within(format!("slope at {x}"), z(x)?.1, edge.1, 1e-12);
    }
    Ok(())
}

/// An activation norm of channels starts from all pixels of the first batch.
#[test]
fn activation_norms_of_channels_start_from_all_pixels() -> Result<()> {
    let layers = json!([{ "name": "activation-norm", "channels": true }]);
    let flow = flow_of([2, 3, 3], json!({ "levels": 0, "depth": 1, "layers": layers }))?;
    let x = normal::<2>("start", [50, 18]).mul_scalar(3.0).add_scalar(2.0);
    let (_, z) = double(&flow).start(x, &Condition::None)?;
    let z = host(&z);
    for channel in 0..2 {
        let of: Vec<f64> = (0..450).map(|i| z[i / 9 * 18 + channel * 9 + i % 9]).collect();
        let mean = of.iter().sum::<f64>() / 450.0;
        let variance = of.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 450.0;
        within("mean", mean, 0.0, 1e-6);
        within("variance", variance, 1.0, 1e-6);
    }
    Ok(())
}

#[test]
fn layers_of_pictures_refuse_rows_that_are_none() {
    let refused = |picture: Option<[usize; 3]>, keys: serde_json::Value, why: &str| {
        let mut config: FlowConfig = serde_json::from_value(keys).expect("a flow");
        config.width = 12;
        config.picture = picture;
        let error = config.init(&Draws::new(0), &cpu()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    let of = |name: &str| json!({ "depth": 1, "layers": [{ "name": name, "channels": true }] });
    refused(None, of("linear"), "layers.channels: true");
    refused(None, of("activation-norm"), "layers.channels: true");
    let coupling = |mask: &str| json!({ "depth": 1, "layers": [{ "name": "convolutional-coupling", "mask": mask }] });
    refused(None, coupling("channels"), "the rows are no pictures");
    refused(Some([1, 3, 4]), coupling("channels"), "the pictures have one channel");
    refused(Some([12, 1, 1]), coupling("checkerboard"), "the pictures have one pixel");
    refused(Some([1, 3, 3]), coupling("checkerboard"), "channels, height and width of 12 values");
    let levels = |levels: usize| json!({ "depth": 1, "levels": levels });
    refused(None, levels(1), "levels: 1");
    refused(Some([1, 3, 4]), levels(1), "3 × 4 pixels are halved");
    refused(Some([3, 2, 2]), levels(2), "levels: 2");
    refused(Some([3, 2, 2]), levels(17), "from 0 to 16");
    let patches = json!({ "depth": 1, "layers": [{ "name": "transformer", "patch": 2 }] });
    refused(None, patches.clone(), "layers.patch: 2");
    refused(Some([1, 4, 3]), patches, "a divisor of 4 and of 3 pixels");
    let network = json!({ "width": 6, "heads": 4 });
    let heads = json!({ "depth": 1, "layers": [{ "name": "transformer", "network": network }] });
    refused(None, heads, "layers.network.heads: 4");
    let first = json!({ "depth": 1, "first": [{ "name": "logit", "margin": 0.5 }] });
    refused(None, first, "first.margin");
}
