//! Residual layers: norms of matrices and convolutions, log-determinants and their estimates, inverses.

use super::contract::{came_back, jacobians, log_det_and_inverse};
use super::family::{recipe, start_of};
use super::*;
use crate::double::along_parameters;
use crate::dual::normal;
use crate::support::*;
use burn::tensor::{DType, Tensor};
use faer::Mat;
use tweedie::Result;
use tweedie::data::{LogDensity, Source};
use tweedie::nn::flow::{
    Bijection, LogDet, LogDetEstimate, Roulette, Series, convolution_norm, matrix_norm,
};
use tweedie::nn::{collect_params, map_params};
use tweedie::tensor::{Dual, mean_and_error};
use tweedie::train::Fit;

/// Channels, height and width of the pictures of this file.
const PICTURE: [usize; 3] = [2, 5, 4];
const VALUES: usize = 2 * 5 * 4;

/// The largest singular value of a map of rows, from its images of the unit vectors, `[d, out]`.
fn largest(images: &Tensor<2>) -> f64 {
    let [rows, columns] = images.dims();
    let values = host(images);
    let matrix = Mat::from_fn(rows, columns, |i, j| values[i * columns + j]);
    matrix.singular_values().expect("singular values")[0]
}

fn unit(d: usize) -> Tensor<2> {
    doubles(&(0..d * d).map(|k| f64::from(k % (d + 1) == 0)).collect::<Vec<f64>>(), d)
}

/// A kernel's convolution of pictures by its definition, with zeros around or on a torus; rows are channels last.
fn convolved(kernel: &Tensor<4>, x: &[f64], [h, w]: [usize; 2], torus: bool) -> Vec<f64> {
    let [out, into, k, _] = kernel.dims();
    let (weights, r) = (host(kernel), k / 2);
    let at = |row: usize, column: usize| -> Option<usize> {
        // Both are shifted by the radius.
        let inside = (r..h + r).contains(&row) && (r..w + r).contains(&column);
        let place = [(row + h - r) % h, (column + w - r) % w];
        (torus || inside).then_some(place[0] * w + place[1])
    };
    let mut y = vec![0.0; h * w * out];
    for (place, o) in (0..h * w).flat_map(|place| (0..out).map(move |o| (place, o))) {
        for (i, a, b) in (0..into).flat_map(|i| (0..k * k).map(move |at| (i, at / k, at % k))) {
            if let Some(from) = at(place / w + a, place % w + b) {
                y[place * out + o] +=
                    weights[((o * into + i) * k + a) * k + b] * x[from * into + i];
            }
        }
    }
    y
}

/// The singular value of the whole operator, each row of which is the image of a unit vector.
fn operator_norm(kernel: &Tensor<4>, sides: [usize; 2], torus: bool) -> f64 {
    let [out, into, ..] = kernel.dims();
    let d = into * sides[0] * sides[1];
    let units = host(&unit(d));
    let images = units.chunks(d).flat_map(|x| convolved(kernel, x, sides, torus));
    largest(&doubles(&images.collect::<Vec<f64>>(), out * sides[0] * sides[1]))
}

/// ‖W‖₂ ≤ bound ≤ n^(1/1024) ‖W‖₂ for matrices of every shape, scale and multiplicity, and with its gradient.
#[test]
fn norms_of_matrices_are_singular_values_from_above() -> Result<()> {
    for (k, (rows, columns)) in [(1, 1), (2, 64), (64, 2), (40, 40), (33, 70)].iter().enumerate() {
        for scale in [1e-3, 1.0, 40.0] {
            let w = normal::<2>(&format!("matrix {k}"), [*rows, *columns]).mul_scalar(scale);
            let (found, right) = (host(&matrix_norm(w.clone()))[0], largest(&w));
            let most = (*rows.min(columns) as f64).powf(1.0 / 1024.0);
            assert!(found >= right * (1.0 - 1e-12), "{rows} × {columns}: {found} {right}");
            assert!(found <= right * most * (1.0 + 1e-12), "{rows} × {columns}: {found} {right}");
            let single = host(&matrix_norm(w.cast(DType::F32)))[0];
            close(format!("{rows} × {columns} in single precision"), single, found, 1e-5);
        }
    }
    within("zero", host(&matrix_norm(Tensor::zeros([3, 4], &cpu())))[0], 0.0, 1e-12);
    let same = host(&matrix_norm(unit(50).mul_scalar(3.0)))[0];
    close("50 equal values", same, 3.0 * 50f64.powf(1.0 / 1024.0), 1e-12);
    let (w, v) = (normal::<2>("matrix", [9, 6]), normal::<2>("way", [9, 6]));
    let tracked = w.clone().autodiff().require_grad();
    let gradient = tracked.grad(&matrix_norm(tracked.clone()).backward()).expect("a gradient");
    let along = host(&(gradient * v.clone()).sum())[0];
    let at = |h: f64| host(&matrix_norm(w.clone() + v.clone().mul_scalar(h)))[0];
    close("gradient", along, difference(at, 0.0, 1e-3), 1e-7);
    Ok(())
}

/// The bound of a convolution is the norm of the whole operator on the torus that is one wider, by singular values, and
/// above that on the picture with zeros around; coarse grids of large pictures stay above.
#[test]
fn norms_of_convolutions_are_singular_values_of_the_operator() -> Result<()> {
    for (out, into, kernel, sides) in [(3, 2, 3, [5, 4]), (1, 4, 3, [3, 6]), (2, 1, 5, [4, 4])] {
        let w = normal::<4>(&format!("kernel {out}"), [out, into, kernel, kernel]);
        let found = host(&convolution_norm(w.clone(), sides))[0];
        let torus = operator_norm(&w, sides.map(|side| side + kernel / 2), true);
        let zeros = operator_norm(&w, sides, false);
        println!("{found:.4}: torus {torus:.4}, zeros {zeros:.4}");
        assert!(found >= torus * (1.0 - 1e-12) && found <= torus * 1.006, "{found} {torus}");
        assert!(torus >= zeros && found <= 1.5 * zeros, "{found} {zeros}");
    }
    let w = normal::<4>("pixel", [5, 4, 1, 1]);
    let right = largest(&w.clone().reshape([5, 4]));
    close("single pixels", host(&convolution_norm(w, [7, 3]))[0], right, 2e-3);
    // A difference of neighbours has norm 2 at the highest frequency, which grids of odd sides miss.
    let values = [0.0, 0.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0];
    let w = doubles(&values, 3).reshape([1, 1, 3, 3]);
    for sides in [[200, 200], [15, 30], [31, 14]] {
        let found = host(&convolution_norm(w.clone(), sides))[0];
        assert!((1.98..2.15).contains(&found), "{found}");
    }
    assert!(host(&convolution_norm(w, [200, 200]))[0] >= 2.0);
    Ok(())
}

/// A flow of residual layers with random weights of standard deviation `sd`.
fn residual(
    [width, depth]: [usize; 2],
    picture: Option<[usize; 3]>,
    sd: f32,
    own: serde_json::Value,
) -> Flow {
    let mut layer = json!({ "name": "residual", "hidden": [12, 10] });
    layer.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    let layers = serde_json::from_value(json!([layer])).expect("layers");
    let config = FlowConfig { picture, ..FlowConfig::new(width).with_depth(depth) };
    randomised(config.with_layers(layers).init(&Draws::new(3), &cpu()).unwrap(), sd)
}

/// The largest singular value of ∂z/∂x − I of one layer at each row.
fn slopes(flow: &Flow, x: &Tensor<2>) -> Result<f64> {
    let [n, d] = x.dims();
    let columns = (0..d).map(|j| {
        let way: Vec<f64> = (0..n * d).map(|i| f64::from(i % d == j)).collect();
        let at = Dual::new(x.clone(), doubles(&way, d));
        let (z, _) = flow.to_noise(at, &Condition::None)?;
        Ok(host(&(z.tangent.expect("a tangent") - doubles(&way, d))))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let of = |r: usize| {
        let matrix = Mat::from_fn(d, d, |i, j| columns[j][r * d + i]);
        matrix.singular_values().expect("singular values")[0]
    };
    Ok((0..n).map(of).fold(0.0, f64::max))
}

/// Weights of any size leave a Lipschitz constant within the bound, which is reached in part; convolutions at a bound
/// of 0.97 come back, and their log-determinant is that of the Jacobian.
#[test]
fn layers_of_any_weights_contract_and_come_back() -> Result<()> {
    let convolution = json!({ "network": "convolution", "lipschitz": 0.97 });
    for (what, picture, own) in
        [("mlp", None, json!({ "lipschitz": 0.97 })), ("convolution", Some(PICTURE), convolution)]
    {
        let x = normal::<2>("rows", [5, VALUES]).mul_scalar(2.0);
        for sd in [0.05, 0.5, 20.0] {
            let layer = double(&residual([VALUES, 1], picture, sd, own.clone()));
            let slope = slopes(&layer, &x)?;
            println!("{what}, {sd}: {slope:.4}");
            assert!(slope < 0.97 && (sd != 0.5 || slope > 0.02), "{what}, {sd}: {slope}");
            let single = residual([VALUES, 3], picture, sd, own.clone());
            let flow = double(&single);
            let (z, log_det) = flow.to_noise(x.clone().into(), &Condition::None)?;
            let to_noise = |x: Dual<2>| Ok(flow.to_noise(x, &Condition::None)?.0);
            let (right, conditions) = jacobians(to_noise, &x)?;
            all_close("log-determinant", &host(&log_det.value), &right, 1e-9);
            let (back, opposite) = flow.to_data(z.value.clone().into(), &Condition::None)?;
            came_back(what, [&x, &z.value, &back.value], &conditions, 1e-11);
            all_close("both ways", &host(&opposite.value.neg()), &right, 1e-9);
            let x = x.clone().cast(DType::F32);
            let (z, _) = single.to_noise(x.clone().into(), &Condition::None)?;
            let back = single.sample(z.value.clone(), &Condition::None)?;
            came_back(what, [&x, &z.value, &back], &conditions, 1e-5);
        }
    }
    Ok(())
}

/// At a slope near the bound, the slowest case, the iteration converges; a row that is no number is named.
#[test]
fn the_iteration_converges_at_its_bound_and_names_the_row_that_does_not() -> Result<()> {
    // The slope of g is −0.97/1.1 for large x.
    let flow = residual([1, 1], None, 1.0, json!({ "hidden": [1], "lipschitz": 0.97 }));
    let mut params = collect_params(&flow)?;
    for (path, data) in &mut params {
        let value = match path.as_str() {
            "layers.0.layers.1.weight" => -50.0,
            "layers.0.layers.0.weight" => 50.0,
            "layers.0.beta" => 1.0,
            _ => 0.0,
        };
        data.as_mut_slice::<f32>().expect("single precision").fill(value);
    }
    let flow = map_params(flow, &params, std::path::Path::new("steep"))?;
    let z = singles(vec![0.3, 40.0, -7.0], [3, 1]);
    let x = flow.sample(z.clone(), &Condition::None)?;
    let (again, _) = flow.to_noise(x.into(), &Condition::None)?;
    all_close("far out", &host(&again.value), &host(&z), 1e-5);
    let broken = singles(vec![0.3, f32::NAN, 1.0], [3, 1]);
    let error = flow.sample(broken, &Condition::None).unwrap_err().to_string();
    assert!(error.contains("row 1"), "{error}");
    Ok(())
}

/// A row of a batch that takes many steps has the bits that it has alone.
#[test]
fn rows_converge_alone() -> Result<()> {
    let own = json!({ "network": "convolution", "lipschitz": 0.97 });
    for (picture, own) in [(None, json!({})), (Some(PICTURE), own)] {
        let flow = residual([VALUES, 2], picture, 0.5, own);
        let scale = doubles(&[1.0, 100.0, 0.01, 1e4, 3.0], 1);
        let z = (normal::<2>("alone", [5, VALUES]) * scale).cast(DType::F32);
        let all = host(&flow.sample(z.clone(), &Condition::None)?);
        for k in 0..5 {
            let alone = flow.sample(z.clone().narrow(0, k, 1), &Condition::None)?;
            assert_eq!(host(&alone), all[k * VALUES..(k + 1) * VALUES]);
        }
    }
    Ok(())
}

/// Rows wider than Newton's method takes: round trips in both precisions, log-determinants of the Jacobian, computed in
/// parts too, and derivatives of samples by differences.
#[test]
fn wide_rows_come_back_with_derivatives() -> Result<()> {
    const WIDTH: usize = 70;
    let single = residual([WIDTH, 1], None, 0.5, json!({ "lipschitz": 0.8 }));
    let flow = double(&single);
    let x = normal::<2>("wide", [3, WIDTH]);
    let (z, log_det) = flow.to_noise(x.clone().into(), &Condition::None)?;
    let to_noise = |x: Dual<2>| Ok(flow.to_noise(x, &Condition::None)?.0);
    let (right, conditions) = jacobians(to_noise, &x)?;
    all_close("log-determinant", &host(&log_det.value), &right, 1e-9);
    let (back, _) = flow.to_data(z.value.clone().into(), &Condition::None)?;
    came_back("wide", [&x, &z.value, &back.value], &conditions, 1e-10);
    let rows = x.clone().cast(DType::F32);
    let (noise, _) = single.to_noise(rows.clone().into(), &Condition::None)?;
    let back = single.sample(noise.value.clone(), &Condition::None)?;
    came_back("wide, single", [&rows, &noise.value, &back], &conditions, 1e-5);
    let bound = |flow: &Flow| {
        let (x, log_p) = flow.sample_with_log_prob(z.value.clone(), &Condition::None).unwrap();
        (log_p + x.square().sum_dim(1).mul_scalar(0.5)).mean()
    };
    let (found, right) = along_parameters(&flow, bound, |flow| host(&bound(flow))[0]);
    close("through samples", found, right, 1e-6);
    Ok(())
}

/// J of a linear map with singular values up to 0.6, no symmetry, in 4 dimensions; J v of rows.
fn map() -> (Tensor<2>, f64) {
    let j = normal::<2>("a linear map", [4, 4]);
    let j = j.clone().mul_scalar(0.6 / largest(&j));
    let values = host(&j);
    let row = |i: usize| (0..4).map(|k| values[4 * i + k] + f64::from(i == k)).collect();
    let (log_det, _) = log_det_and_inverse((0..4).map(row).collect());
    (j, log_det)
}

/// Σ over rows, with the estimate's own standard error: the mean of a random length's series is log det(I + J), and of
/// its direction's product (I + J)⁻¹; that of a fixed length is the same series of traces.
#[test]
fn estimates_have_the_mean_and_the_error_that_they_report() -> Result<()> {
    const ROWS: usize = 100_000;
    let (j, right) = map();
    let like = Tensor::<2>::zeros([ROWS, 4], (&cpu(), DType::F64));
    let product = |v: Tensor<2>| v.matmul(j.clone().transpose());
    let mut series = vec![0.0];
    let mut power = unit(4);
    for k in 1..=3 {
        power = power.matmul(j.clone());
        let trace: f64 = host(&power).iter().step_by(5).sum();
        series.push(series[k - 1] - (-1f64).powi(k as i32) * trace / k as f64);
    }
    let ways: [(&dyn LogDet, f64); 3] = [
        (&Roulette { terms: 1, survival: 0.6 }, right),
        (&Roulette::default(), right),
        (&Series { terms: 3 }, series[3]),
    ];
    assert!((series[3] - right).abs() > 1e-3, "three terms leave a bias");
    for (k, (way, right)) in ways.into_iter().enumerate() {
        let found =
            LogDetEstimate::new(way, product, &like, &Draws::new(k as u64 + 60)).expect("random");
        let values = host(&found.value);
        let (mean, error) = mean_and_error(&values);
        println!("{way:?}: {mean:.5} ± {error:.5}, {right:.5}");
        within(format!("{way:?}"), mean, right, 4.9 * error);
        assert!(error < 0.01, "{way:?}: {error}");
        // Means of 100 groups differ from the truth by the errors that the groups report.
        let groups = values.chunks(ROWS / 100).map(|group| {
            let (mean, error) = mean_and_error(group);
            ((mean - right) / error).powi(2)
        });
        let (square, spread) = mean_and_error(&groups.collect::<Vec<f64>>());
        within(format!("{way:?}: squares of deviations"), square, 1.0, 4.9 * spread);
    }
    // E[w vᵀ] = (I + J)⁻¹, entry by entry.
    let found =
        LogDetEstimate::new(&Roulette::default(), product, &like, &Draws::new(7)).expect("random");
    let values = host(&j);
    let row = |i: usize| (0..4).map(|k| values[4 * i + k] + f64::from(i == k)).collect();
    let (_, inverse) = log_det_and_inverse((0..4).map(row).collect());
    for (a, b) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b))) {
        let column = |x: &Tensor<2>, k| host(&x.clone().narrow(1, k, 1));
        let (w, v) = (column(&found.direction, a), column(&found.probe, b));
        let products: Vec<f64> = w.iter().zip(v).map(|(w, v)| w * v).collect();
        let (mean, error) = mean_and_error(&products);
        within(format!("inverse {a}, {b}"), mean, inverse[a][b], 4.9 * error);
    }
    assert!(
        LogDetEstimate::new(&tweedie::nn::flow::Exact {}, product, &like, &Draws::new(0)).is_none()
    );
    Ok(())
}

/// Over many draws the loss of a step of training and its gradient by all weights are those of the exact density.
#[test]
fn a_flow_s_estimate_has_the_mean_of_its_log_p_and_gradient() -> Result<()> {
    let own = json!({ "network": "convolution", "lipschitz": 0.7, "log_det": "roulette" });
    let flow = double(&residual([VALUES, 2], Some(PICTURE), 0.5, own));
    let x = normal::<2>("picture", [1, VALUES]);
    // The same picture in many rows, each with its own draws.
    const ROWS: usize = 4000;
    let many = x.clone().expand([ROWS, VALUES]);
    let exact = |flow: &Flow| flow.log_density(x.clone().into(), &Condition::None).unwrap().value;
    let right = host(&exact(&flow))[0];
    let in_training = |flow: &Flow, x: Tensor<2>, draws: &Draws| {
        let pass = flow.pass(x, &Condition::None, draws).unwrap();
        let volume = 0.5 * VALUES as f64 * std::f64::consts::TAU.ln();
        pass.log_det - pass.z.square().sum_dim(1).mul_scalar(0.5).add_scalar(volume)
    };
    let (mean, error) = mean_and_error(&host(&in_training(&flow, many, &Draws::new(11))));
    println!("{mean:.4} ± {error:.4}, exactly {right:.4}");
    within("log p", mean, right, 4.9 * error);
    assert!(error < 0.1, "{error}");
    let (gradient, _) = along_parameters(&flow, |flow| exact(flow).sum(), |_| 0.0);
    let parts = (0..60).map(|k| {
        let some = x.clone().expand([40, VALUES]);
        let draws = Draws::new(12).at(k);
        let of = |flow: &Flow| in_training(flow, some.clone(), &draws).mean();
        along_parameters(&flow, of, |_| 0.0).0
    });
    let (mean, error) = mean_and_error(&parts.collect::<Vec<f64>>());
    println!("gradient {mean:.4} ± {error:.4}, exactly {gradient:.4}");
    within("gradient", mean, gradient, 4.9 * error);
    Ok(())
}

/// Training by estimates: a step's random numbers are its own, a resumed run goes on to the same bytes.
#[test]
fn a_learner_with_estimates_resumes_to_the_same_bytes() -> Result<()> {
    let data = Source { n: Some(500), label: Some("class".into()), ..Source::named("moons") };
    let data = data.load()?;
    let mut of = recipe(2, 8, Fit { batch: 32, accumulate: 2, ..Fit::default() });
    let json = json!([{ "name": "residual", "hidden": [8], "log_det": "roulette" }]);
    of.flow.layers = serde_json::from_value(json).expect("layers");
    let (_, mut whole) = start_of(of.clone(), &data, 8)?;
    (0..8).try_for_each(|step| whole.step(step).map(|_| ()))?;
    let (_, mut first) = start_of(of.clone(), &data, 8)?;
    (0..3).try_for_each(|step| first.step(step).map(|_| ()))?;
    let (_, mut second) = start_of(of, &data, 8)?;
    second.load(first.save()?, std::path::Path::new("a checkpoint"))?;
    (3..8).try_for_each(|step| second.step(step).map(|_| ()))?;
    assert_eq!(whole.save()?, second.save()?);
    Ok(())
}

#[test]
fn what_a_residual_layer_cannot_be_is_refused() {
    let refused = |own: serde_json::Value, why: &str| {
        let mut layer = json!({ "name": "residual" });
        layer.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let layers = serde_json::from_value(json!([layer])).expect("layers");
        let error = FlowConfig::new(3).with_layers(layers).init(&Draws::new(0), &cpu());
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with(why), "{error}");
    };
    refused(json!({ "hidden": [] }), "layers.hidden: 0");
    refused(json!({ "lipschitz": 1.0 }), "layers.lipschitz: 1.0");
    refused(json!({ "network": "convolution" }), "layers.residual.network: convolution");
    refused(json!({ "log_det": { "name": "series", "terms": 0 } }), "layers.log_det.terms: 0");
    let roulette = json!({ "log_det": { "name": "roulette", "survival": 1.0 } });
    refused(roulette, "layers.log_det.survival: 1.0");
}
