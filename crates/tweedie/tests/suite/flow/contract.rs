//! The contract of every bijection, conditional or not.

use super::*;
use crate::double::along_parameters;
use crate::dual::normal;
use crate::support::*;
use burn::tensor::{DType, Tensor};
use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;
use tweedie::Result;
use tweedie::data::{Generate, LogDensity};
use tweedie::density::{Density, Kind, NormalisedDensity};
use tweedie::nn::flow::{Bijection, Permutation};
use tweedie::nn::{collect_params, load_safetensors, map_params, param_count, save_safetensors};
use tweedie::tensor::{Dual, jvp};

/// Points near the data, at zero, at the reach of couplings and far beyond it.
pub fn points(width: usize) -> Tensor<2> {
    let far = [0.0, 10.0, -10.0, 100.0, -1e6];
    let far: Vec<f64> = far.iter().flat_map(|v| vec![*v; width]).collect();
    Tensor::cat(vec![normal("points", [31, width]), doubles(&far, width)], 0)
}

/// ln|det A| and A⁻¹ of a square matrix, by elimination with pivots.
pub fn log_det_and_inverse(mut a: Vec<Vec<f64>>) -> (f64, Vec<Vec<f64>>) {
    let d = a.len();
    let mut log_det = 0.0;
    a.iter_mut().enumerate().for_each(|(i, row)| row.extend((0..d).map(|j| f64::from(i == j))));
    for k in 0..d {
        let pivot = (k..d).max_by(|i, j| a[*i][k].abs().total_cmp(&a[*j][k].abs())).unwrap();
        a.swap(k, pivot);
        log_det += a[k][k].abs().ln();
        let top: Vec<f64> = a[k].iter().map(|v| v / a[k][k]).collect();
        for (_, row) in a.iter_mut().enumerate().filter(|(i, _)| *i != k) {
            let factor = row[k];
            row.iter_mut().zip(&top).for_each(|(v, t)| *v -= factor * t);
        }
        a[k] = top;
    }
    (log_det, a.into_iter().map(|row| row[d..].to_vec()).collect())
}

/// ln|det J| and the condition number ‖J‖ ‖J⁻¹‖ of each row's Jacobian, by directional derivatives.
pub fn jacobians(
    f: impl Fn(Dual<2>) -> Result<Dual<2>>,
    x: &Tensor<2>,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let [n, d] = x.dims();
    let columns = (0..d).map(|j| {
        let unit: Vec<f64> = (0..n * d).map(|i| f64::from(i % d == j)).collect();
        Ok(host(&jvp(&f, x.clone(), doubles(&unit, d))?.1))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let norm = |a: &[Vec<f64>]| a.iter().flatten().map(|v| v * v).sum::<f64>().sqrt();
    let row = |r: usize| {
        let entry = |i: usize| columns.iter().map(|column| column[r * d + i]).collect();
        let jacobian: Vec<Vec<f64>> = (0..d).map(entry).collect();
        let scale = norm(&jacobian);
        let (log_det, inverse) = log_det_and_inverse(jacobian);
        (log_det, scale * norm(&inverse))
    };
    Ok((0..n).map(row).unzip())
}

/// Asserts that rows came back, to `relative` of max(1, ‖x‖, ‖z‖) times the map's condition number.
pub fn came_back(what: &str, [x, z, back]: [&Tensor<2>; 3], conditions: &[f64], relative: f64) {
    let [_, d] = x.dims();
    let norm = |row: &[f64]| row.iter().map(|v| v * v).sum::<f64>().sqrt();
    let [x, z, back] = [x, z, back].map(host);
    let rows = x.chunks(d).zip(z.chunks(d)).zip(back.chunks(d));
    for (i, ((x, z), back)) in rows.enumerate() {
        let off: Vec<f64> = x.iter().zip(back).map(|(a, b)| a - b).collect();
        let scale = 1.0f64.max(norm(x)).max(norm(z)) * conditions[i];
        assert!(norm(&off) <= relative * scale, "{what}, row {i}: {x:?} {back:?}");
    }
}

/// Round trips both ways, log-determinants against the Jacobian's, and the two directions' opposite, in double
/// precision.
#[test]
fn a_bijection_comes_back_and_its_log_determinant_is_the_jacobian_s() -> Result<()> {
    for given in Given::ALL {
        for (what, flow, width) in all_flows(given, 0.3) {
            let (x, flow) = (points(width), double(&flow));
            let condition = given.condition(x.dims()[0]);
            let to_noise = |x: Dual<2>| flow.to_noise(x, &condition);
            let to_data = |z: Dual<2>| flow.to_data(z, &condition);
            let (z, log_det) = to_noise(x.clone().into())?;
            let (back, opposite) = to_data(z.value.clone().into())?;
            let (right, conditions) = jacobians(|x| Ok(to_noise(x)?.0), &x)?;
            came_back(&what, [&x, &z.value, &back.value], &conditions, bar(&what, 1e-11));
            let log_det = host(&log_det.value);
            for (i, (found, right)) in log_det.iter().zip(&right).enumerate() {
                within(format!("{what}, log-determinant {i}"), *found, *right, bar(&what, 1e-9));
            }
            for (a, b) in log_det.iter().zip(host(&opposite.value)) {
                // What the second pass sees is rounded.
                within(format!("{what}, both ways"), *a, -b, bar(&what, 1e-9));
            }
            // The other way round, from the same points as noise.
            let (data, log_det) = to_data(x.clone().into())?;
            let (back, _) = to_noise(data.value.clone().into())?;
            let (right, conditions) = jacobians(|z| Ok(to_data(z)?.0), &x)?;
            came_back(&what, [&x, &data.value, &back.value], &conditions, bar(&what, 1e-11));
            for (found, right) in host(&log_det.value).iter().zip(&right) {
                within(format!("{what}, to data"), *found, *right, bar(&what, 1e-9));
            }
        }
    }
    Ok(())
}

/// ∂z_i/∂x_j of a masked layer is exactly zero for every later column j, and both ways its slope is positive.
#[test]
fn a_masked_layer_is_triangular() -> Result<()> {
    const WIDTH: usize = 6;
    for given in Given::ALL {
        let masked =
            |(what, _): &(String, Flow)| what.contains("mask") || what.contains("periodic");
        for (what, flow) in flows(WIDTH, given, 0.3).iter().filter(|flow| masked(flow)) {
            let (flow, x) = (double(flow), normal::<2>("triangular", [20, WIDTH]));
            let condition = given.condition(20);
            for j in 0..WIDTH {
                let unit: Vec<f64> = (0..20 * WIDTH).map(|i| f64::from(i % WIDTH == j)).collect();
                let unit = doubles(&unit, WIDTH);
                for way in 0..2 {
                    let map = |x: Dual<2>| match way {
                        0 => flow.to_noise(x, &condition),
                        _ => flow.to_data(x, &condition),
                    };
                    let column = host(&jvp(|x| Ok(map(x)?.0), x.clone(), unit.clone())?.1);
                    for (k, slope) in column.iter().enumerate() {
                        match (k % WIDTH).cmp(&j) {
                            Ordering::Less => assert_eq!(*slope, 0.0, "{what}: {k} by {j}"),
                            Ordering::Equal => assert!(*slope > 0.0, "{what}: {k} by {j}"),
                            Ordering::Greater => {}
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn round_trips_keep_their_digits_in_single_precision() -> Result<()> {
    for given in [Given::Nothing, Given::Class] {
        for (what, flow, width) in all_flows(given, 0.3) {
            let exact = points(width);
            let condition = given.condition(exact.dims()[0]);
            let (_, conditions) =
                jacobians(|x| Ok(double(&flow).to_noise(x, &condition)?.0), &exact)?;
            let x = exact.clone().cast(DType::F32);
            let (z, _) = flow.to_noise(x.clone().into(), &condition)?;
            let (back, _) = flow.to_data(z.value.clone().into(), &condition)?;
            came_back(&what, [&x, &z.value, &back.value], &conditions, bar(&what, 1e-5));
            let (log_p, score) = flow.with_score(x, &condition)?;
            let finite = host(&log_p).iter().chain(&host(&score)).all(|v| v.is_finite());
            assert!(finite, "{what}: log p and its gradient are finite everywhere");
        }
    }
    Ok(())
}

/// The flow as a density.
fn exact(flow: &Flow) -> Result<NormalisedDensity> {
    NormalisedDensity::new(Arc::new(flow.clone()))
}

/// ∫ p(x | c) dx over a grid of the plane, for each condition.
#[test]
fn the_density_of_a_flow_integrates_to_one_given_anything() -> Result<()> {
    const CELLS: usize = 300;
    const EDGE: f64 = 18.0;
    let side = |k: usize| EDGE * (2.0 * (k as f64 + 0.5) / CELLS as f64 - 1.0);
    let grid: Vec<f64> =
        (0..CELLS * CELLS).flat_map(|k| [side(k % CELLS), side(k / CELLS)]).collect();
    let (x, n) = (doubles(&grid, 2), CELLS * CELLS);
    let integral = |flow: &Flow, condition: &Condition| -> Result<f64> {
        let log_p = exact(flow)?.log_prob(x.clone(), condition)?;
        assert_eq!(log_p.kind, Kind::Exact);
        let cell = (2.0 * EDGE / CELLS as f64).powi(2);
        Ok(cell * log_p.value.iter().map(|log_p| log_p.exp()).sum::<f64>())
    };
    let flow = |given| double(&mixing(2, given, 0.2));
    within("of nothing", integral(&flow(Given::Nothing), &Condition::None)?, 1.0, 1e-3);
    let by_class = flow(Given::Class);
    for class in 0..CLASSES as u32 {
        let of = Condition::class(class, n);
        within(format!("of class {class}"), integral(&by_class, &of)?, 1.0, 1e-3);
    }
    let vector = |a: f64, b: f64| Condition::Vector {
        values: doubles(&[a, b], 2).expand([n, 2]),
        present: vec![true; n],
    };
    for (a, b) in [(0.0, 0.0), (1.0, -2.0)] {
        let found = integral(&flow(Given::Vector), &vector(a, b))?;
        within(format!("of the vector ({a}, {b})"), found, 1.0, 1e-3);
    }
    Ok(())
}

/// ∇ₓ log p by reverse mode, log p along lines by forward mode, and the gradient by all weights, against differences.
#[test]
fn the_derivatives_of_log_p_are_those_of_differences() -> Result<()> {
    for given in Given::ALL {
        let flow = double(&mixing(3, given, 0.3));
        let x = normal("gradient", [6, 3]);
        let condition = given.condition(6);
        let log_p = |x: Tensor<2>| host(&flow.log_density(x.into(), &condition).unwrap().value);
        let score = host(&flow.score(x.clone(), &condition)?);
        let values = host(&x);
        for (k, found) in score.iter().enumerate() {
            let at = |h: f64| {
                let mut moved = values.clone();
                moved[k] += h;
                log_p(doubles(&moved, 3))[k / 3]
            };
            let scale = 1e-7 * score.iter().fold(1.0f64, |m, s| m.max(s.abs()));
            within(format!("{given:?}: score {k}"), *found, difference(at, 0.0, 1e-3), scale);
        }
        let (_, along) = jvp(|x| flow.log_density(x, &condition), x.clone(), normal("v", [6, 3]))?;
        let v = host(&normal::<2>("v", [6, 3]));
        for (i, along) in host(&along).iter().enumerate() {
            let dot: f64 = (0..3).map(|j| score[3 * i + j] * v[3 * i + j]).sum();
            within(format!("{given:?}: along a line"), *along, dot, 1e-9 * dot.abs().max(1.0));
        }
        let sum = |flow: &Flow| flow.log_density(x.clone().into(), &condition).unwrap().value.sum();
        let (found, right) = along_parameters(&flow, sum, |flow| host(&sum(flow))[0]);
        close(format!("{given:?}: by the weights"), found, right, 1e-6);
    }
    Ok(())
}

/// The stages of a flow lead from the noise to the rows that it maps to.
#[test]
fn the_stages_of_a_flow_end_in_its_rows() -> Result<()> {
    let flow = mixing(3, Given::Class, 0.3);
    let z = normal::<2>("noise", [9, 3]).cast(DType::F32);
    let condition = Given::Class.condition(9);
    let stages = flow.stages(z.clone(), &condition)?;
    assert_eq!(stages.len(), 1 + 2 * 4);
    assert_eq!(host(&stages[0]), host(&z));
    assert_eq!(host(&stages[8]), host(&flow.sample(z, &condition)?));
    Ok(())
}

/// Samples with their log p by one pass: the same density, the same noise, and gradients through both.
#[test]
fn a_sample_s_log_p_is_the_density_there() -> Result<()> {
    for given in Given::ALL {
        let flow = double(&mixing(3, given, 0.3));
        let (z, condition) = (normal("noise", [9, 3]), given.condition(9));
        let (x, log_p) = flow.sample_with_log_prob(z.clone(), &condition)?;
        let right = flow.log_density(x.clone().into(), &condition)?.value;
        all_close("log p", &host(&log_p), &host(&right), 1e-10);
        all_close("noise", &host(&flow.to_noise(x.into(), &condition)?.0.value), &host(&z), 1e-10);
        // The gradient that a variational posterior needs: of E[log q(x) + ½ ‖x‖²] by the weights of q.
        let bound = |flow: &Flow| {
            let (x, log_p) = flow.sample_with_log_prob(z.clone(), &condition).unwrap();
            (log_p + x.square().sum_dim(1).mul_scalar(0.5)).mean()
        };
        let (found, right) = along_parameters(&flow, bound, |flow| host(&bound(flow))[0]);
        close(format!("{given:?}: through samples"), found, right, 1e-6);
    }
    Ok(())
}

#[test]
fn an_untrained_flow_is_the_base_and_a_permutation_moves_columns() -> Result<()> {
    let flow = FlowConfig::new(4).init(&Draws::new(1), &cpu())?;
    let x = normal::<2>("untrained", [5, 4]).cast(DType::F32);
    let (z, log_det) = flow.to_noise(x.clone().into(), &Condition::None)?;
    let sorted = |x: &Tensor<2>| {
        let mut rows: Vec<Vec<f64>> = host(x).chunks(4).map(<[f64]>::to_vec).collect();
        rows.iter_mut().for_each(|row| row.sort_by(f64::total_cmp));
        rows
    };
    assert_eq!(sorted(&z.value), sorted(&x));
    assert!(host(&log_det.value).iter().all(|v| *v == 0.0));
    for bad in [vec![0, 0], vec![1, 2], vec![3, 1, 0]] {
        assert!(Permutation::new(bad).is_err());
    }
    Ok(())
}

#[test]
fn parameters_are_counted_before_they_are_made() -> Result<()> {
    for (given, width) in [(Given::Nothing, 2), (Given::Class, 5), (Given::Vector, 3)] {
        let config = given.config(width);
        let flow = config.init(&Draws::new(0), &cpu())?;
        assert_eq!(config.parameters(), param_count(&flow) as u128);
    }
    Ok(())
}

/// Weights in a file are the whole flow: another one with them gives the same bytes, whatever it began with.
#[test]
fn saved_and_loaded_weights_give_equal_bytes() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flow.safetensors");
    let flow = mixing(7, Given::Class, 0.2);
    save_safetensors(&collect_params(&flow)?, &path)?;
    let (_, layers) = stacks().pop().expect("layers");
    let other = Given::Class.config(7).with_layers(layers).init(&Draws::new(77), &cpu())?;
    let other = map_params(other, &load_safetensors(&path)?, Path::new("a file"))?;
    let condition = Condition::class(1, 50);
    let rows = |flow: &Flow| flow.generate(0..50, &condition, &Draws::new(5), &cpu());
    assert_eq!(rows(&flow)?.into_data(), rows(&other)?.into_data());
    Ok(())
}

/// Row i is a function of draws and i: alone, in a small batch and in a large one.
#[test]
fn rows_of_a_flow_are_addressed() -> Result<()> {
    for width in [2, 5, 19] {
        let flow = mixing(width, Given::Nothing, 0.2);
        let rows = |range| -> Result<Vec<f64>> {
            let draws = Draws::new(8).purpose("sample");
            Ok(host(&flow.generate(range, &Condition::None, &draws, &cpu())?))
        };
        let all = rows(0..333)?;
        assert_eq!(rows(200..259)?, all[200 * width..259 * width]);
        assert_eq!(rows(7..8)?, all[7 * width..8 * width]);
        let log_p = |rows: &[f64]| -> Result<Vec<f64>> {
            let x = doubles(rows, width).cast(DType::F32);
            Ok(exact(&flow)?.log_prob(x, &Condition::None)?.value)
        };
        assert_eq!(log_p(&all[7 * width..8 * width])?, log_p(&all)?[7..8]);
    }
    Ok(())
}

#[test]
fn what_does_not_fit_a_flow_is_refused() -> Result<()> {
    let refused = |flow: &Flow, width: usize, condition: Condition, why: &str| {
        let x = normal::<2>("refused", [2, width]).cast(DType::F32);
        let error = flow.log_density(x.into(), &condition).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    let vector = |width| Condition::Vector {
        values: normal::<2>("short", [2, width]).cast(DType::F32),
        present: vec![true, true],
    };
    let plain = mixing(3, Given::Nothing, 0.1);
    refused(&plain, 2, Condition::None, "n × 3");
    refused(&plain, 3, Condition::class(0, 2), "none: this network takes no condition");
    let by_class = mixing(3, Given::Class, 0.1);
    refused(&by_class, 3, Condition::None, "one of 3 classes for every row");
    refused(&by_class, 3, Condition::Class(vec![Some(0), None]), "one of 3 classes");
    refused(&by_class, 3, Condition::class(3, 2), "a label below 3");
    refused(&by_class, 3, Condition::class(0, 5), "2 rows");
    let by_vector = mixing(3, Given::Vector, 0.1);
    refused(&by_vector, 3, Condition::None, "a vector of length 2 for every row");
    refused(&by_vector, 3, vector(1), "2");
    let config = |width| FlowConfig::new(width).init(&Draws::new(0), &cpu());
    let error = config(1).unwrap_err().to_string();
    assert!(error.contains("layers.coupling: 1 column"), "{error}");
    let error = FlowConfig::new(2).with_depth(0).init(&Draws::new(0), &cpu()).unwrap_err();
    assert!(error.to_string().starts_with("depth: 0"), "{error}");
    let none = FlowConfig::new(2).with_layers(Vec::new()).init(&Draws::new(0), &cpu());
    assert!(none.unwrap_err().to_string().contains("at least one bijection"));
    let json = serde_json::json!({ "name": "coupling", "hidden": [] });
    let empty: AnyBijectionConfig = serde_json::from_value(json).expect("a coupling");
    let error = FlowConfig::new(2).with_layers(vec![empty]).init(&Draws::new(0), &cpu());
    assert!(error.unwrap_err().to_string().starts_with("layers.hidden: 0"));
    Ok(())
}
