//! Posteriors that are drawn from and have no density, and those at the ends of chains, against closed forms.

use super::{LINEAR, config, learnt_by, learnt_with, plain, signs};
use crate::double::gradient_at;
use crate::dual::normal;
use crate::flow::contract::log_det_and_inverse;
use crate::support::{cpu, host, within};
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use serde_json::json;
use std::f64::consts::TAU;
use std::path::Path;
use tweedie::data::{Condition, Dataset, Rows, Split};
use tweedie::latent::{Factors, Importance, LatentVariable, Matcher, MatcherStep};
use tweedie::mcmc::{Annealing, Hmc};
use tweedie::metric::neighbours::two_sample;
use tweedie::nn::{collect_params, map_params};
use tweedie::tensor::mean_and_error;
use tweedie::train::{AdamWConfig, Fit, Optimiser};
use tweedie::{Draws, Result};

pub(super) fn optimiser(learning_rate: f64) -> Optimiser {
    Optimiser { learning_rate, adamw: AdamWConfig::default(), ema: None, powers: vec![] }
}

/// The model with other values of some parameters.
pub(super) fn with(
    model: LatentVariable,
    values: impl Fn(&str) -> Option<Vec<f32>>,
) -> Result<LatentVariable> {
    let mut params = collect_params(&model)?;
    for (path, data) in &mut params {
        if let Some(values) = values(path) {
            data.as_mut_slice::<f32>().expect("floats").copy_from_slice(&values);
        }
    }
    map_params(model, &params, Path::new("here"))
}

/// A Gaussian sampler z = a x + B ε of two dimensions, for one column x that the decoder does not explain.
const MEANS: [f32; 2] = [0.5, -0.3];
const SPREAD: [[f32; 2]; 2] = [[0.8, 0.0], [0.6, 0.5]];

fn sampler(matching: serde_json::Value) -> Result<(LatentVariable, Matcher)> {
    let keys = json!({ "width": 2, "encoder": [], "decoder": [], "scale": "one",
        "posterior": { "name": "implicit", "noise": 2 }, "matching": matching });
    let (config, space) = (config(keys), plain(1));
    let model = with(config.init(&space, &Draws::new(0), &cpu())?, |path| match path {
        "encoder.linears.0.weight" => {
            Some([0, 1].map(|k| [MEANS[k], SPREAD[k][0], SPREAD[k][1]]).concat())
        }
        "encoder.linears.0.bias" => Some(vec![0.0; 2]),
        "decoder.linears.0.weight" => Some(vec![0.0; 6]),
        _ => None,
    })?;
    let draws = Draws::new(1);
    let matcher = config.matching.matcher(2, &space, optimiser(3e-3), &draws, &cpu())?;
    Ok((model, matcher.expect("a network")))
}

/// Rows for a second network, and its training on them.
fn teach(
    model: &LatentVariable,
    matcher: &mut Matcher,
    steps: u64,
    rows: impl Fn(u64) -> Tensor<2>,
) -> Result<()> {
    let model = model.valid();
    for step in 0..steps {
        let (x, draws) = (rows(step), Draws::new(2).at(step));
        let of = MatcherStep { x: &x, condition: &Condition::None, draws: &draws, step };
        let factor = 1.0 - step as f64 / steps as f64;
        matcher.learn(&model, &of, factor)?;
    }
    Ok(())
}

fn batch(step: u64, n: u64) -> Tensor<2> {
    Draws::new(3).at(step).normals(0..n, 1).to_tensor(&cpu())
}

/// B⁻ᵀ.
fn inverse_transposed() -> [[f64; 2]; 2] {
    let [[a, b], [c, d]] = SPREAD.map(|row| row.map(f64::from));
    let det = a * d - b * c;
    [[d / det, -c / det], [-b / det, a / det]]
}

/// The derivative of the divergence's expression by B, which in closed form is B − B⁻ᵀ, and by a, which is a E x².
fn slopes(model: &LatentVariable, matcher: &Matcher) -> Result<Vec<f64>> {
    let tracked = model.clone().train();
    let device: Device = cpu().autodiff();
    let x = Draws::new(9).normals(0..40_000, 1).to_tensor(&device);
    let factors = Factors::default();
    let draws = Draws::new(10);
    let found = tracked.bound_by(&x, &Condition::None, &draws, &factors, Some(matcher))?;
    let gradients = found.expression.mean().neg().backward();
    Ok(gradient_at(&tracked, &gradients, "encoder.linears.0.weight"))
}

/// The critic learns ln q/r, and the denoiser ∇ ln q, of a Gaussian sampler; derivatives of the divergence follow.
#[test]
fn a_gaussian_sampler_has_the_ratio_and_the_score_of_its_closed_form() -> Result<()> {
    let inverse = inverse_transposed();
    let x = Draws::new(4).normals(0..2000, 1).to_tensor(&cpu());
    let log_det = f64::from(SPREAD[0][0] * SPREAD[1][1]).ln();
    for matching in [
        json!({ "name": "critic", "steps": 1, "hidden": [64, 64] }),
        json!({ "name": "denoising", "steps": 1, "hidden": [64, 64], "noise": 0.05 }),
    ] {
        let (model, mut matcher) = sampler(matching)?;
        teach(&model, &mut matcher, 4000, |step| batch(step, 256))?;
        let z = model.draw_posterior(&x, &Condition::None, 1, &Draws::new(5))?;
        let (rows, column) = (host(&z), host(&x));
        // ε = B⁻¹ (z − a x).
        let noise = |i: usize| {
            let off: Vec<f64> =
                (0..2).map(|k| rows[2 * i + k] - f64::from(MEANS[k]) * column[i]).collect();
            [0, 1].map(|k| inverse[0][k] * off[0] + inverse[1][k] * off[1])
        };
        let of = (&matcher, &x, &z, &Condition::None);
        if let Some(ratio) = model.learnt_log_ratio(of.0, of.1, of.2, of.3)? {
            let r = model.posterior(x.clone(), &Condition::None)?;
            let (mean, log_sd) = (host(&r.mean), host(&r.log_sd));
            let ratio = host(&ratio);
            let off = ratio.iter().enumerate().map(|(i, found)| {
                let e = noise(i);
                let log_q = -0.5 * (e[0] * e[0] + e[1] * e[1]) - log_det;
                let log_r = (0..2).map(|k| {
                    let at = 2 * i + k;
                    let e = (rows[at] - mean[at]) / log_sd[at].exp();
                    -0.5 * e * e - log_sd[at]
                });
                found - (log_q - log_r.sum::<f64>())
            });
            let off: Vec<f64> = off.collect();
            let (mean, _) = mean_and_error(&off);
            let rms = (off.iter().map(|v| v * v).sum::<f64>() / off.len() as f64).sqrt();
            assert!(mean.abs() < 0.05 && rms < 0.2, "ln q/r: {mean}, {rms}");
        }
        if let Some(score) = model.learnt_score(of.0, of.1, of.2, of.3)? {
            let (mut square, mut all) = (0.0, 0.0);
            for (i, found) in host(&score).chunks(2).enumerate() {
                let e = noise(i);
                for k in 0..2 {
                    // −B⁻ᵀ ε.
                    let right = -(inverse[k][0] * e[0] + inverse[k][1] * e[1]);
                    square += (found[k] - right).powi(2);
                    all += right * right;
                }
            }
            let share = (square / all).sqrt();
            assert!(share < 0.1, "the score is off by {share} of its size");
        }
        // By a: a E x²; by B: B − B⁻ᵀ.
        let found = slopes(&model, &matcher)?;
        for k in 0..2 {
            within("by the mean", found[3 * k], f64::from(MEANS[k]), 0.06);
            for j in 0..2 {
                let right = f64::from(SPREAD[k][j]) - inverse[k][j];
                within("by the spread", found[3 * k + 1 + j], right, 0.12);
            }
        }
    }
    Ok(())
}

/// The mean log p of rows with independent columns of mean square `square` by probabilistic PCA with the weights of a
/// decoder of two latent dimensions.
fn log_p_of_pca(model: &LatentVariable, square: &[f64]) -> Result<f64> {
    let params = collect_params(model)?;
    let of =
        |path: &str| params[path].clone().convert::<f64>().try_into_vec::<f64>().expect("numbers");
    let (weight, bias) = (of("decoder.linears.0.weight"), of("decoder.linears.0.bias"));
    let (s, d) = (of("scales")[0], square.len());
    let variance = (2.0 * s / (1.0 + s.abs() / 7.0)).exp();
    // A logit, a mean and a scale for each column.
    let mean = |j: usize| &weight[2 * (3 * j + 1)..][..2];
    let entry = |i: usize, j: usize| {
        let own = if i == j { variance } else { 0.0 };
        own + mean(i).iter().zip(mean(j)).map(|(a, b)| a * b).sum::<f64>()
    };
    let all = (0..d).map(|i| (0..d).map(|j| entry(i, j)).collect()).collect();
    let (log_det, inverse) = log_det_and_inverse(all);
    let moment = |i: usize, j: usize| {
        bias[3 * i + 1] * bias[3 * j + 1] + if i == j { square[i] } else { 0.0 }
    };
    let form: f64 = (0..d * d).map(|k| inverse[k / d][k % d] * moment(k / d, k % d)).sum();
    Ok(-0.5 * (d as f64 * TAU.ln() + log_det + form))
}

/// Both estimates of log p cover the closed form as often as their errors say.
#[test]
fn estimates_of_log_p_cover_the_closed_form() -> Result<()> {
    let model = LINEAR.model(json!({}), (0.3, 1.3))?;
    let x = normal::<2>("many rows", [2000, 3]).mul_scalar(1.5);
    let kernel = Hmc { step_size: 0.3, leapfrog: 4, ..Hmc::default() };
    let by = Annealing { kernel: &kernel, temperatures: 20, steps: 1 };
    let found = [
        model.importance(x.clone(), &Condition::None, 400, &Draws::new(1))?,
        model.annealed(&x, &Condition::None, 100, &by, &Draws::new(2))?,
    ];
    for (name, found) in ["importance", "annealed"].into_iter().zip(found) {
        let z =
            |(row, x): (&Importance, &[f64])| (row.log_p - LINEAR.log_p(x)) / row.standard_error;
        let all: Vec<f64> = found.iter().zip(host(&x).chunks(3)).map(z).collect();
        let covered = all.iter().filter(|z| z.abs() < 1.96).count() as f64 / 2000.0;
        within(format!("coverage of {name}"), covered, 0.95, 0.03);
    }
    // Alone as among others.
    let alone =
        model.annealed(&x.clone().narrow(0, 7, 1), &Condition::None, 9, &by, &Draws::new(2))?;
    let among = model.annealed(&x.narrow(0, 5, 4), &Condition::None, 9, &by, &Draws::new(2))?;
    assert_eq!(alone[0], among[2]);
    Ok(())
}

/// Decoders that learn at the ends of chains come to the maximum of probabilistic PCA, with an encoder and without one
/// (Monte Carlo EM).
#[test]
fn training_at_the_ends_of_chains_learns_probabilistic_pca() -> Result<()> {
    let spread = [3.0f64, 2.0, 1.0, 0.8, 0.9];
    let rest = spread[2..].iter().map(|a| a * a).sum::<f64>() / 3.0;
    let most = -0.5 * (5.0 * TAU.ln() + 2.0 * 6f64.ln() + 3.0 * rest.ln() + 5.0);
    let data = signs(&spread)?;
    let kernel = json!({ "name": "hmc", "step_size": 0.3, "leapfrog": 3 });
    let keys = |posterior: serde_json::Value| {
        json!({ "width": 2, "encoder": [], "decoder": [], "scale": "one", "posterior": posterior,
            "bound": { "m": 4 }, "refine": { "steps": 2, "kernel": kernel } })
    };
    let fitted = json!({ "name": "per-row", "steps": 4, "rate": 0.7, "pairs": 2 });
    for posterior in [json!("normal"), fitted] {
        let (model, _) = learnt_by(config(keys(posterior)), &data, [4000, 4000], 2e-2)?;
        within("log p", log_p_of_pca(&model, &spread.map(|a| a * a))?, most, 1e-2);
    }
    Ok(())
}

/// At the ends of chains from wrong posteriors the decoder's derivatives are those of log p, as by exact posteriors.
#[test]
fn chains_give_the_decoder_the_derivatives_of_log_p() -> Result<()> {
    let x = normal::<2>("x", [6, 3]).mul_scalar(2.0);
    let x = Tensor::<2>::from_data(x.to_data(), (&cpu().autodiff(), DType::F64));
    let slopes = |keys: serde_json::Value, from: (f64, f64)| -> Result<Vec<(f64, f64)>> {
        let model = LINEAR.model_by(keys, from)?.train();
        let mut all: Vec<Vec<f64>> = Vec::new();
        for k in 0..16 {
            let [_, expression] = model.bound(&x, &Condition::None, &Draws::new(1).at(k))?;
            let gradients = expression.mean().backward();
            let own = gradient_at(&model, &gradients, "decoder.linears.0.weight");
            let own = own.into_iter().chain(gradient_at(&model, &gradients, "scales"));
            own.enumerate().for_each(|(j, v)| match all.get_mut(j) {
                Some(all) => all.push(v),
                None => all.push(vec![v]),
            });
        }
        Ok(all.iter().map(|all| mean_and_error(all)).collect())
    };
    let kernel = json!({ "name": "hmc", "step_size": 0.3, "leapfrog": 5 });
    let refine = json!({ "steps": 10, "kernel": kernel });
    let exact = slopes(json!({ "bound": { "m": 500 } }), (0.0, 1.0))?;
    let wrong = slopes(json!({ "bound": { "m": 500 } }), (0.4, 0.6))?;
    let chains = slopes(json!({ "bound": { "m": 500 }, "refine": refine }), (0.4, 0.6))?;
    let off = |found: &[(f64, f64)]| {
        let z = |(a, b): (&(f64, f64), &(f64, f64))| (a.0 - b.0).abs() / a.1.hypot(b.1).max(1e-9);
        found.iter().zip(&exact).map(z).fold(0.0, f64::max)
    };
    assert!(off(&chains) < 6.0 && off(&wrong) > 20.0, "{chains:?} {exact:?}");
    Ok(())
}

/// A partial bound has the derivatives of one bound by the encoder, and of the other by the decoder.
#[test]
fn partial_bounds_have_the_derivatives_of_their_parts() -> Result<()> {
    let device = cpu().autodiff();
    let x = normal::<2>("x", [6, 3]);
    let x = Tensor::<2>::from_data(x.to_data(), (&device, DType::F64));
    let slopes = |bound: serde_json::Value| -> Result<(f64, [Vec<f64>; 2])> {
        let model = LINEAR.model(bound, (0.3, 1.3))?.train();
        let [value, expression] = model.bound(&x, &Condition::None, &Draws::new(1))?;
        let gradients = expression.mean().backward();
        let of = |path: &str| gradient_at(&model, &gradients, path);
        let parts = ["encoder.linears.0.weight", "decoder.linears.0.weight"].map(of);
        Ok((host(&value).iter().sum::<f64>() / 6.0, parts))
    };
    let (value, [encoder, decoder]) = slopes(json!({ "m": 4, "k": 5, "partial": true }))?;
    let (_, [of_parts, _]) = slopes(json!({ "m": 4, "k": 5 }))?;
    let (whole, [_, of_whole]) = slopes(json!({ "k": 20 }))?;
    within("value", value, whole, 1e-12);
    for (found, right) in [(&encoder, &of_parts), (&decoder, &of_whole)] {
        found.iter().zip(right).for_each(|(a, b)| within("a derivative", *a, *b, 1e-9));
    }
    assert!(encoder.iter().any(|v| v.abs() > 1e-3) && decoder.iter().any(|v| v.abs() > 1e-3));
    // A share of the evidence lower bound, on the same draws.
    let (mixed, [by_mixed, _]) = slopes(json!({ "k": 20, "elbo": 0.25 }))?;
    let (plain, [by_plain, _]) = slopes(json!({ "k": 20, "elbo": 1.0 }))?;
    let (_, [by_whole, _]) = slopes(json!({ "k": 20 }))?;
    within("value", mixed, 0.25 * plain + 0.75 * whole, 1e-12);
    for ((found, a), b) in by_mixed.iter().zip(&by_plain).zip(&by_whole) {
        within("a derivative", *found, 0.25 * a + 0.75 * b, 1e-9);
    }
    Ok(())
}

/// With a critic of latent variables their draws over all rows cannot be told from the prior's; without it they can.
#[test]
fn an_adversarial_autoencoder_fills_the_prior() -> Result<()> {
    // Rows in two squares of a plane in three dimensions.
    let uniforms = Draws::new(8).uniforms_for(&(0..800).collect::<Vec<u64>>(), 2);
    let row = |u: &[f32]| {
        let [a, b] = [0, 1].map(|k| 2.0 * u[k] - 1.0);
        let a = a + a.signum();
        [a, a - b, 0.5 * b]
    };
    let rows: Vec<f32> = uniforms.iter().flat_map(row).collect();
    let split = |rows: &[f32]| Split::new(Rows::new(rows.to_vec(), 3)?, None);
    let data = Dataset::new("square", plain(3), split(&rows[..1200])?, split(&rows[1200..])?)?;
    let accuracy = |weight: f64| -> Result<f64> {
        let keys = json!({ "width": 2, "encoder": [32], "decoder": [32], "scale": "one",
            "matching": { "name": "aggregate", "weight": weight,
                "critic": { "network": { "name": "mlp", "hidden": [64, 64] }, "steps": 2 } } });
        let adamw = AdamWConfig { beta_1: 0.0, ..AdamWConfig::default() };
        let training = Fit { learning_rate: 2e-3, adamw, ..Fit::default() };
        let (model, _) = learnt_with(config(keys), &data, [2000, 2000], training)?;
        let x = data.held_out.rows().to_tensor(&cpu());
        let q = model.draw_posterior(&x, &Condition::None, 1, &Draws::new(1))?;
        let p = Draws::new(2).normals(0..400, 2);
        Ok(two_sample(&Rows::from_tensor(&q)?, &p)?.accuracy.value)
    };
    let (with, without) = (accuracy(50.0)?, accuracy(0.0)?);
    assert!(with < 0.6 && without > 0.75, "{with}, {without}");
    Ok(())
}
