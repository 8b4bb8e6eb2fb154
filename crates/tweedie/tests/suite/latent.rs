//! Latent-variable models against linear-Gaussian ones, whose posterior and density are known.

mod aggregate;
mod parts;
mod posteriors;
mod shapes;

use crate::double::moved;
use crate::dual::normal;
use crate::support::{cpu, doubles, host, within};
use burn::module::Module;
use burn::tensor::{DType, Tensor};
use serde_json::json;
use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::path::Path;
use tweedie::data::{Condition, Dataset, Rows, Space, Split};
use tweedie::family::latent::LatentRecipe;
use tweedie::family::{Family, Opener, Start};
use tweedie::latent::{Estimator, Importance, LatentConfig, LatentVariable};
use tweedie::nn::{collect_params, map_params};
use tweedie::tensor::mean_and_error;
use tweedie::train::{AdamW, Fit, Learner, Training};
use tweedie::{Draws, Error, Result};

/// The space of `width` real columns in their own units.
fn plain(width: usize) -> Space {
    Space::vector(&(1..=width).map(|j| format!("x{j}")).collect::<Vec<_>>()).expect("a space")
}

fn config(keys: serde_json::Value) -> LatentConfig {
    serde_json::from_value(keys).expect("a configuration")
}

/// x = W z + b + σ ε with two orthogonal columns of W, and a posterior whose mean is off by `shift` and whose standard
/// deviation is `wide` times the exact one.
struct Linear {
    weight: [[f64; 2]; 3],
    bias: [f64; 3],
    sd: f64,
}

const LINEAR: Linear =
    Linear { weight: [[1.2, 0.4], [-0.8, 0.6], [0.0, 0.5]], bias: [0.3, -1.0, 0.5], sd: 0.7 };

impl Linear {
    /// The squared length of a column of W.
    fn square(&self, k: usize) -> f64 {
        self.weight.iter().map(|row| row[k] * row[k]).sum()
    }

    /// The variance of z_k in the posterior.
    fn variance(&self, k: usize) -> f64 {
        1.0 / (1.0 + self.square(k) / self.sd.powi(2))
    }

    /// log p of a row.
    fn log_p(&self, x: &[f64]) -> f64 {
        let y: Vec<f64> = x.iter().zip(self.bias).map(|(x, b)| x - b).collect();
        let mut sum = 3.0 * TAU.ln() + 2.0 * self.sd.ln();
        let mut form = y.iter().map(|y| y * y).sum::<f64>() / self.sd.powi(2);
        for k in 0..2 {
            let along: f64 = y.iter().zip(self.weight).map(|(y, row)| y * row[k]).sum();
            let all = self.sd.powi(2) + self.square(k);
            sum += all.ln();
            form -= along * along / (self.sd.powi(2) * all);
        }
        -0.5 * (sum + form)
    }

    /// The model in double precision.
    fn model(&self, bound: serde_json::Value, from: (f64, f64)) -> Result<LatentVariable> {
        self.model_by(json!({ "bound": bound }), from)
    }

    /// The same with other keys of the configuration.
    fn model_by(
        &self,
        mut keys: serde_json::Value,
        (shift, wide): (f64, f64),
    ) -> Result<LatentVariable> {
        keys["width"] = json!(2);
        keys["scale"] = json!("one");
        for network in ["encoder", "decoder"] {
            keys[network] = json!([]);
        }
        let model = moved(&config(keys).init(&plain(3), &Draws::new(0), &cpu())?, 0.0);
        // u with u/(1 + |u|/most) = s.
        let unbounded = |s: f64, most: f64| s / (1.0 - s.abs() / most);
        let mut params = collect_params(&model)?;
        for (path, data) in &mut params {
            let values: Vec<f64> = match path.as_str() {
                "scales" => vec![unbounded(self.sd.ln(), 7.0)],
                // A logit, a mean and a scale for each column.
                "decoder.linears.0.weight" => self
                    .weight
                    .iter()
                    .flat_map(|row| [0.0, 0.0, row[0], row[1], 0.0, 0.0])
                    .collect(),
                "decoder.linears.0.bias" => self.bias.iter().flat_map(|b| [0.0, *b, 0.0]).collect(),
                "encoder.linears.0.weight" => {
                    let mean = |k: usize| {
                        let factor = self.variance(k) / self.sd.powi(2);
                        self.weight.map(|row| factor * row[k])
                    };
                    [mean(0), mean(1), [0.0; 3], [0.0; 3]].concat()
                }
                "encoder.linears.0.bias" => {
                    let mean = |k: usize| {
                        let along: f64 =
                            self.bias.iter().zip(self.weight).map(|(b, row)| b * row[k]).sum();
                        shift - self.variance(k) / self.sd.powi(2) * along
                    };
                    let log_sd = |k: usize| unbounded((wide * self.variance(k).sqrt()).ln(), 12.0);
                    vec![mean(0), mean(1), log_sd(0), log_sd(1)]
                }
                other => panic!("{other}"),
            };
            data.as_mut_slice::<f64>().expect("doubles").copy_from_slice(&values);
        }
        map_params(model, &params, Path::new("here"))
    }
}

#[test]
fn with_the_exact_posterior_every_weight_is_the_density() -> Result<()> {
    let model = LINEAR.model(json!({}), (0.0, 1.0))?;
    let x = normal::<2>("x", [40, 3]).mul_scalar(2.0);
    for (row, x) in model
        .importance(x.clone(), &Condition::None, 7, &Draws::new(1))?
        .iter()
        .zip(host(&x).chunks(3))
    {
        within("log p", row.log_p, LINEAR.log_p(x), 1e-9);
        within("its bound", row.mean_log_weight, LINEAR.log_p(x), 1e-9);
        assert!(row.standard_error < 1e-6 && (row.effective - 7.0).abs() < 1e-6);
    }
    // The closed form of the divergence has the mean of its draws.
    let [value, _] = model.bound(&x, &Condition::None, &Draws::new(2))?;
    let gaps: Vec<f64> =
        host(&value).iter().zip(host(&x).chunks(3)).map(|(v, x)| v - LINEAR.log_p(x)).collect();
    let (mean, error) = mean_and_error(&gaps);
    assert!(mean.abs() < 4.9 * error && error > 1e-3, "{mean} ± {error}");
    Ok(())
}

/// With weights over p(x) of mean 1 and variance χ²(p(z | x) ‖ q), k (log p − E_k) tends to ½ χ². The mean weight less
/// one is a control variate.
#[test]
fn bounds_rise_to_the_density_at_the_rate_of_theory() -> Result<()> {
    let (shift, wide) = (0.2f64, 1.2f64);
    let model = LINEAR.model(json!({}), (shift, wide))?;
    // ∫ p²/q of each dimension, with q's mean off by `shift` and its standard deviation wider.
    let chi: f64 = (0..2)
        .map(|k| {
            let (p, q) = (LINEAR.variance(k), wide * wide * LINEAR.variance(k));
            let both = 2.0 * q - p;
            q / (p * both).sqrt() * (shift * shift / both).exp()
        })
        .product::<f64>()
        - 1.0;
    let (rows, most) = (4000, 512);
    let x = [1.0, -0.5, 0.8];
    let right = LINEAR.log_p(&x);
    let mut found = BTreeMap::<usize, Vec<f64>>::new();
    for part in 0..4 {
        let n = rows / 4;
        let batch = doubles(&x.repeat(n), 3);
        let noise = normal::<2>(&format!("noise {part}"), [n * most, 2]);
        let all = host(&model.log_weights(&batch, &Condition::None, most, noise)?);
        for weights in all.chunks(most) {
            for k in [1usize, 8, 32, 128, 512] {
                let of = |some: &[f64]| {
                    let mean = some.iter().map(|w| (w - right).exp()).sum::<f64>() / k as f64;
                    [mean.ln(), mean - 1.0]
                };
                let each: Vec<[f64; 2]> = weights.chunks(k).map(of).collect();
                let share = each.len() as f64;
                let [log, over] = [0, 1].map(|i| each.iter().map(|e| e[i]).sum::<f64>() / share);
                found.entry(k).or_default().push(log - over);
            }
        }
    }
    let gap = |k: usize| mean_and_error(&found[&k].iter().map(|g| -g).collect::<Vec<_>>());
    for (a, b) in [(1, 8), (8, 32), (32, 128), (128, 512)] {
        assert!(gap(b).0 < gap(a).0, "{k:?}", k = [gap(a), gap(b)]);
    }
    for k in [128, 512] {
        let (gap, error) = gap(k);
        let k = k as f64;
        // The next term is of order χ⁴/k.
        within("half χ²", k * gap, 0.5 * chi, 4.9 * k * error + 4.0 * chi * (1.0 + chi) / k);
    }
    let slope = (gap(8).0 / gap(512).0).ln() / 64f64.ln();
    within("slope", slope, 1.0, 0.1);
    Ok(())
}

/// The gradients by the encoder's parameters of batches of one repeated row: their mean, and their spread.
fn gradients(bound: serde_json::Value, from: (f64, f64)) -> Result<Vec<(f64, f64)>> {
    let model = LINEAR.model(bound, from)?.train();
    let (batches, n) = (60, 400);
    let x = doubles(&[1.0, -0.5, 0.8].repeat(n), 3).into_data();
    let x = Tensor::<2>::from_data(x, (&cpu().autodiff(), DType::F64));
    let mut all = vec![Vec::new(); 16];
    for k in 0..batches {
        let [_, expression] = model.bound(&x, &Condition::None, &Draws::new(7).at(k))?;
        let found = AdamW::gradients(&model, &expression.mean().backward());
        let encoder = found.iter().filter(|(path, _)| path.starts_with("encoder"));
        let values: Vec<f64> = encoder.flat_map(|(_, gradient)| host(gradient)).collect();
        all.iter_mut().zip(values).for_each(|(all, value)| all.push(value));
    }
    Ok(all.iter().map(|values| mean_and_error(values)).collect())
}

#[test]
fn estimators_of_the_gradient_have_one_mean_and_the_noise_of_theory() -> Result<()> {
    let of = |k: usize, name: &str| {
        gradients(json!({ "k": k, "gradient": name }), (0.3, 1.3)).map(|all| all.into_iter())
    };
    // One row, so that all parameters of a line of weights have the same gradient up to a factor.
    for k in [1, 16] {
        for (a, b) in of(k, "pathwise")?.zip(of(k, "doubly")?) {
            let bar = 4.9 * (a.1 * a.1 + b.1 * b.1).sqrt() + 1e-12;
            within(format!("gradient, k = {k}"), a.0, b.0, bar);
        }
    }
    for (a, b) in of(1, "pathwise")?.zip(of(1, "path-only")?) {
        within("gradient", a.0, b.0, 4.9 * (a.1 * a.1 + b.1 * b.1).sqrt() + 1e-12);
    }
    // The signal is the mean of the less noisy one.
    let noise =
        |k: usize, name: &str| of(k, name).map(|all| all.map(|(_, error)| error).sum::<f64>());
    let signal = |k: usize| of(k, "doubly").map(|all| all.map(|(mean, _)| mean.abs()).sum::<f64>());
    let ratio = |name: &str| -> Result<f64> {
        let [few, many] = [4, 64].map(|k| Ok::<_, Error>(signal(k)? / noise(k, name)?));
        Ok((many? / few?).ln() / 16f64.ln())
    };
    within("slope of the doubly reparameterised one", ratio("doubly")?, 0.5, 0.15);
    within("slope of the pathwise one", ratio("pathwise")?, -0.5, 0.15);
    // At the exact posterior the path alone has no gradient, draw by draw.
    let still = gradients(json!({ "gradient": "path-only" }), (0.0, 1.0))?;
    assert!(still.iter().all(|(mean, error)| mean.abs() < 1e-9 && *error < 1e-9), "{still:?}");
    let noisy = gradients(json!({}), (0.0, 1.0))?;
    assert!(noisy.iter().any(|(_, error)| *error > 1e-4), "{noisy:?}");
    Ok(())
}

/// Draws of a row from its own posterior have the posterior's predictive moments, b + W μ and W Σ Wᵀ + σ² I.
#[test]
fn reconstructions_are_of_the_posterior() -> Result<()> {
    let model = LINEAR.model(json!({}), (0.0, 1.0))?;
    let x = [1.0, -0.5, 0.8];
    let batch = doubles(&[x, [9.0; 3]].concat(), 3);
    let n = 4000;
    let draw = |k: u64| {
        host(
            &model
                .reconstruct(batch.clone(), &Condition::None, &Draws::new(3).at(k))
                .expect("rows"),
        )
    };
    let all: Vec<Vec<f64>> = (0..n).map(draw).collect();
    let alone = model.reconstruct(doubles(&x, 3), &Condition::None, &Draws::new(3).at(0))?;
    assert_eq!(host(&alone), all[0][..3]);
    let y: Vec<f64> = x.iter().zip(LINEAR.bias).map(|(x, b)| x - b).collect();
    for j in 0..3 {
        let (mut mean, mut variance) = (LINEAR.bias[j], LINEAR.sd.powi(2));
        for k in 0..2 {
            let along: f64 = y.iter().zip(LINEAR.weight).map(|(y, row)| y * row[k]).sum();
            mean += LINEAR.weight[j][k] * LINEAR.variance(k) / LINEAR.sd.powi(2) * along;
            variance += LINEAR.weight[j][k].powi(2) * LINEAR.variance(k);
        }
        let column: Vec<f64> = all.iter().map(|row| row[j] - mean).collect();
        let (found, _) = mean_and_error(&column);
        let squares = column.iter().map(|v| v * v).sum::<f64>() / n as f64;
        within("mean", found, 0.0, 4.9 * (variance / n as f64).sqrt());
        within("variance", squares, variance, 4.9 * variance * (2.0 / n as f64).sqrt());
    }
    Ok(())
}

/// Every pattern of signs of columns with these magnitudes, which thus are uncorrelated with mean 0.
fn signs(spread: &[f64]) -> Result<Dataset> {
    let d = spread.len();
    let sign = |i: usize, j: usize| if i >> j & 1 == 1 { 1.0 } else { -1.0 };
    let row = |i: usize| (0..d).map(move |j| (spread[j] * sign(i, j)) as f32);
    let split = Split::new(Rows::new((0..1 << d).flat_map(row).collect(), d)?, None)?;
    Dataset::new("signs", plain(d), split.clone(), split)
}

/// A linear model with one scale, after training on all rows at once, with its learner.
fn learnt(data: &Dataset, width: usize) -> Result<(LatentVariable, Box<dyn Learner>)> {
    let keys = json!({ "width": width, "encoder": [], "decoder": [], "scale": "one" });
    let mut latent = config(keys);
    latent.bound.gradient = Estimator::PathOnly;
    learnt_by(latent, data, [8000, 8000], 1e-2)
}

/// A model after `count` of `all` steps of training on all rows at once, with its learner.
fn learnt_by(
    latent: LatentConfig,
    data: &Dataset,
    [count, all]: [u64; 2],
    learning_rate: f64,
) -> Result<(LatentVariable, Box<dyn Learner>)> {
    let training = Fit { learning_rate, ..Fit::default() };
    learnt_with(latent, data, [count, all], training)
}

/// As [`learnt_by`], with other options of training.
fn learnt_with(
    latent: LatentConfig,
    data: &Dataset,
    [count, all]: [u64; 2],
    training: Fit,
) -> Result<(LatentVariable, Box<dyn Learner>)> {
    let batch = data.train.rows().len();
    let training = Fit { batch, ema: 0.0, ..training };
    let recipe = LatentRecipe { latent, training, ..LatentRecipe::default() };
    let open: Opener = std::sync::Arc::new(|_| Err(Error::undefined("a run", "there is none")));
    let (steps, device) = (Training { steps: all, ..Training::default() }, cpu());
    let start = Start {
        space: &data.space,
        data: Some(data),
        training: &steps,
        seed: 5,
        device: &device,
        open: &open,
    };
    let recipe = recipe.resolve(&start)?;
    let mut learner = recipe.learner(&start)?;
    (0..count).try_for_each(|step| learner.step(step).map(|_| ()))?;
    let model = recipe.latent.init(&data.space, &Draws::new(0), &device)?;
    Ok((map_params(model, &learner.weights()?, Path::new("here"))?, learner))
}

/// The maximum of the likelihood of probabilistic PCA is known (Tipping & Bishop 1999, eqs. 12–15).
#[test]
fn a_linear_model_learns_probabilistic_pca() -> Result<()> {
    let spread = [3.0f64, 2.0, 1.0, 0.8, 0.9];
    let rest = spread[2..].iter().map(|a| a * a).sum::<f64>() / 3.0;
    let most = -0.5 * (5.0 * TAU.ln() + 2.0 * 6f64.ln() + 3.0 * rest.ln() + 5.0);
    let data = signs(&spread)?;
    let fitted = json!({ "width": 2, "encoder": [], "decoder": [], "scale": "one",
        "posterior": { "name": "per-row", "steps": 12, "rate": 0.7, "pairs": 2 },
        "bound": { "m": 8 } });
    // By an encoder, and without one.
    let by_encoder = learnt(&data, 2)?;
    let by_rows = learnt_by(config(fitted), &data, [4000, 4000], 2e-2)?;
    for ((model, learner), bar) in [(by_encoder, 1e-3), (by_rows, 1e-3)] {
        let x = data.train.rows().to_tensor(&cpu());
        let found = model.importance(x, &Condition::None, 200, &Draws::new(6))?;
        let mean = |of: fn(&Importance) -> f64| found.iter().map(of).sum::<f64>() / 32.0;
        within("log p", mean(|row| row.log_p), most, bar);
        within("its bound", mean(|row| row.mean_log_weight), most, 2.0 * bar);
        // The decoder spans the columns of greatest variance.
        let decoder = learner.weights()?["decoder.linears.0.weight"].clone().convert::<f64>();
        let decoder = decoder.try_into_vec::<f64>().expect("numbers");
        for j in 2..5 {
            let means = &decoder[(3 * j + 1) * 2..][..2];
            assert!(means.iter().all(|w| w.abs() < 20.0 * bar), "{decoder:?}");
        }
    }
    Ok(())
}

/// Fitted to a row of a linear model, the normal distribution is the posterior; alone as among others.
#[test]
fn a_posterior_without_an_encoder_is_fitted_to_its_row() -> Result<()> {
    let keys = json!({ "posterior": { "name": "per-row", "steps": 60, "rate": 0.5, "pairs": 2 } });
    let model = LINEAR.model_by(keys, (0.0, 1.0))?;
    let exact = LINEAR.model(json!({}), (0.0, 1.0))?;
    let x = normal::<2>("x", [12, 3]).mul_scalar(2.0);
    let [own, right] =
        [&model, &exact].map(|of| of.posterior(x.clone(), &Condition::None).expect("a posterior"));
    for (a, b) in [(own.mean.clone(), right.mean), (own.log_sd.clone(), right.log_sd)] {
        for (a, b) in host(&a).iter().zip(host(&b)) {
            within("a parameter", *a, b, 2e-3);
        }
    }
    let alone = model.posterior(x.narrow(0, 5, 1), &Condition::None)?;
    assert_eq!(host(&alone.mean), host(&own.mean.narrow(0, 5, 1)));
    Ok(())
}

/// Two of five columns stand out from noise of variance 1, so that at most three of four latent dimensions come to be
/// of use, with KLs whose sum tends to ½ ln 9 + ½ ln 4.
#[test]
fn latent_dimensions_without_use_are_counted() -> Result<()> {
    let data = signs(&[3.0, 2.0, 1.0, 1.0, 1.0])?;
    let (model, mut learner) = learnt(&data, 4)?;
    assert!(learner.notes().is_empty());
    let x = data.held_out.rows().to_tensor(&cpu());
    let each = host(&model.posterior(x, &Condition::None)?.divergences().mean_dim(0));
    let unused = each.iter().filter(|nats| **nats < 0.01).count();
    assert!((1..=2).contains(&unused), "{each:?}");
    let values = learner.held_out()?;
    let kl = values.iter().find(|(name, _)| *name == "held_out/kl").expect("a KL").1;
    within("KL", kl, each.iter().sum::<f64>(), 1e-5);
    within("KL", kl, 6f64.ln(), 0.05);
    let notes = learner.notes().join("\n");
    let count = format!("{unused} of 4 latent dimensions have less than 0.01 nats");
    assert!(notes.contains(&format!("{kl:.2} nats a row; {count}")), "{notes}");
    Ok(())
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let refused = |keys: serde_json::Value| match config(keys).check() {
        Err(error) => error.to_string(),
        Ok(()) => "accepted".into(),
    };
    for (keys, begins) in [
        (json!({ "width": 0 }), "width: 0"),
        (json!({ "encoder": [0] }), "encoder: 0"),
        (json!({ "decoder": [4, 0] }), "decoder: 0"),
        (json!({ "bound": { "k": 0 } }), "bound.k: 0"),
        (json!({ "bound": { "m": 0 } }), "bound.m: 0"),
        (json!({ "bound": { "m": 16000, "k": 16000 } }), "bound.m: 16000 with k = 16000"),
        (json!({ "bound": { "k": 2, "gradient": "path-only" } }), "bound.gradient: path-only"),
        (json!({ "bound": { "k": 2, "elbo": 1.5 } }), "bound.elbo: 1.5"),
        (json!({ "bound": { "elbo": 0.5 } }), "bound.elbo: 0.5"),
        (json!({ "bound": { "k": 2, "partial": true } }), "bound.partial: true"),
        (
            json!({ "bound": { "k": 2, "m": 2, "partial": true, "gradient": "doubly" } }),
            "bound.gradient: doubly",
        ),
    ] {
        let error = refused(keys);
        assert!(error.starts_with(begins), "{error}");
    }
    assert_eq!(refused(json!({ "encoder": [], "decoder": [] })), "accepted");
}
