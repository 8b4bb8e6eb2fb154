//! AdamW against PyTorch's over 30 steps, its clipping, micro-batches and resumption; the average of the weights
//! against its closed form.

use crate::support::*;
use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use serde_json::Value;
use std::path::Path;
use tweedie::nn::{Linear, LinearConfig, State, collect_params, map_params};
use tweedie::tensor::Dual;
use tweedie::train::{AdamW, AdamWConfig, Ema, Gradients, LearningRate};
use tweedie::{Draws, Error};

/// Two layers with a tanh between them.
#[derive(Module, Debug)]
struct Small {
    first: Linear,
    second: Linear,
}

impl Small {
    fn new() -> Self {
        let draws = Draws::new(1);
        let layer = |i, o, name| LinearConfig::new(i, o).init(&draws.purpose(name), &cpu());
        Self { first: layer(3, 5, "first"), second: layer(5, 2, "second") }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.second.forward(self.first.forward(Dual::from(x)).tanh()).value
    }

    /// The mean squared error over rows and columns, and its gradients.
    fn regress(&self, x: Tensor<2>, target: Tensor<2>) -> (f64, Gradients) {
        let loss = (self.forward(x.autodiff()) - target.autodiff()).square().mean();
        (host(&loss)[0], AdamW::gradients(self, &loss.backward()))
    }
}

struct Peer(Value);

impl Peer {
    fn read() -> Self {
        let text = include_str!("../fixtures/layers.json");
        let all: Value = serde_json::from_str(text).expect("the fixture is JSON");
        Self(all["adamw"].clone())
    }

    fn number(&self, key: &str) -> f64 {
        self.0[key].as_f64().expect(key)
    }

    fn numbers(&self, key: &str) -> Vec<f64> {
        serde_json::from_value(self.0[key].clone()).expect(key)
    }

    fn batch(&self, key: &str, width: usize) -> Tensor<2> {
        let values: Vec<f32> = serde_json::from_value(self.0[key]["values"].clone()).expect(key);
        let rows = values.len() / width;
        singles(values, [rows, width])
    }

    /// The peer's parameters, in ours' form.
    fn params(&self, pointer: &str) -> State {
        let all = self.0.pointer(pointer).and_then(Value::as_object).expect(pointer);
        let array = |v: &Value| {
            let shape: Vec<usize> = serde_json::from_value(v["shape"].clone()).expect("a shape");
            let values: Vec<f32> = serde_json::from_value(v["values"].clone()).expect("values");
            TensorData::new(values, shape)
        };
        all.iter().map(|(name, value)| (name.clone(), array(value))).collect()
    }

    fn config(&self) -> AdamWConfig {
        AdamWConfig {
            beta_1: self.number("beta_1"),
            beta_2: self.number("beta_2"),
            epsilon: self.number("epsilon"),
            weight_decay: self.number("weight_decay"),
            clip: self.number("clip"),
        }
    }

    fn start(&self) -> Small {
        map_params(Small::new(), &self.params("/start"), Path::new("peer")).unwrap().train()
    }
}

#[test]
fn adamw_takes_pytorch_s_steps() {
    let peer = Peer::read();
    let (x, target) = (peer.batch("x", 3), peer.batch("target", 2));
    let (losses, norms) = (peer.numbers("losses"), peer.numbers("norms"));
    let mut net = peer.start();
    let mut adamw = AdamW::new(peer.config());
    for step in 1..=losses.len() {
        let (loss, gradients) = net.regress(x.clone(), target.clone());
        close(format!("loss {step}"), loss, losses[step - 1], 1e-5);
        let norm;
        (net, norm) = adamw.step(net, &gradients, 1.0, peer.number("rate"), None).unwrap();
        close(format!("norm {step}"), norm, norms[step - 1], 1e-5);
        let pointer = format!("/after/{step}");
        if peer.0.pointer(&pointer).is_some() {
            let expected = peer.params(&pointer);
            for (path, data) in collect_params(&net).unwrap() {
                assert_eq!(data.shape(), expected[&path].shape(), "{path}");
                let [found, right] = [&data, &expected[&path]].map(numbers);
                all_close(format!("{path} after {step} steps"), &found, &right, 1e-5);
            }
        }
    }
    assert!(norms.iter().any(|n| *n > 1.0) && norms.iter().any(|n| *n < 1.0));
}

/// Runs `steps` steps with each batch cut into `parts`.
fn run(adamw: &mut AdamW, mut net: Small, steps: usize, parts: usize) -> Small {
    let peer = Peer::read();
    let (x, target) = (peer.batch("x", 3), peer.batch("target", 2));
    for _ in 0..steps {
        let mut sum = Gradients::new();
        for (x, target) in x.clone().chunk(parts, 0).into_iter().zip(target.clone().chunk(parts, 0))
        {
            AdamW::accumulate(&mut sum, net.regress(x, target).1);
        }
        net = adamw.step(net, &sum, 1.0 / parts as f64, 0.05, None).unwrap().0;
    }
    net
}

#[test]
fn micro_batches_are_the_whole_batch() {
    let peer = Peer::read();
    let whole = run(&mut AdamW::new(peer.config()), peer.start(), 10, 1);
    let parts = run(&mut AdamW::new(peer.config()), peer.start(), 10, 4);
    let parts = collect_params(&parts).unwrap();
    for (path, data) in collect_params(&whole).unwrap() {
        let [found, right] = [&parts[&path], &data].map(numbers);
        all_close(path, &found, &right, 1e-5);
    }
}

fn numbers(data: &TensorData) -> Vec<f64> {
    data.iter().collect()
}

#[test]
fn a_saved_optimiser_goes_on_to_the_bit() {
    let peer = Peer::read();
    let straight = run(&mut AdamW::new(peer.config()), peer.start(), 9, 1);
    let mut first = AdamW::new(peer.config());
    let half = run(&mut first, peer.start(), 4, 1);
    let mut state = State::new();
    first.save("", &mut state).unwrap();
    let mut second = AdamW::new(peer.config());
    second.load("", &mut state, &half, Path::new("saved")).unwrap();
    assert!(state.is_empty(), "load takes all that save gave");
    let mut fresh = AdamW::new(peer.config());
    let nothing = fresh.load("", &mut State::new(), &half, Path::new("saved"));
    let resumed = run(&mut second, half, 5, 1);
    assert_eq!(collect_params(&resumed).unwrap(), collect_params(&straight).unwrap());
    assert!(matches!(nothing, Err(Error::File { .. })));
}

#[test]
fn a_gradient_that_is_not_finite_stops_training() {
    let peer = Peer::read();
    let (x, target) = (peer.batch("x", 3), peer.batch("target", 2));
    let net = peer.start();
    let (_, mut gradients) = net.regress(x, target);
    let bad = gradients["first.bias"].clone().mul_scalar(f64::NAN);
    gradients.insert("first.bias".into(), bad);
    let stopped = AdamW::new(peer.config()).step(net, &gradients, 1.0, 0.1, None);
    assert!(matches!(stopped, Err(Error::Diverged { .. })));
}

#[test]
fn learning_rates_rise_and_fall() {
    let rate = |step| LearningRate::Cosine.factor(step, 100, 10);
    for step in 0..10 {
        close("warm-up", rate(step), (step + 1) as f64 / 10.0, 1e-15);
    }
    within("peak", rate(10), 1.0, 1e-15);
    within("half-way", rate(55), 0.5, 1e-15);
    within("end", rate(100), 0.0, 1e-15);
    assert!((10..100).all(|step| rate(step + 1) < rate(step)));
    assert_eq!(LearningRate::Constant.factor(0, 100, 0), 1.0);
    assert_eq!(LearningRate::Constant.factor(99, 100, 10), 1.0);
    assert_eq!(LearningRate::Cosine.factor(0, 0, 0), 1.0);
}

/// A module whose only parameter is a row of numbers.
fn row(values: Vec<f32>) -> Linear {
    let layer = LinearConfig::new(values.len(), 1).with_bias(false).init(&Draws::new(0), &cpu());
    let shape = [1, values.len()];
    let data = TensorData::new(values, shape);
    let params = State::from([("weight".to_string(), data)]);
    map_params(layer, &params, Path::new("row")).unwrap()
}

/// How much the start and each of `updates` later parameters count in the average: parameters are unit vectors, so
/// the average is the list of weights.
fn weights(decay: f64, updates: usize) -> Vec<f64> {
    let unit = |j: usize| row((0..=updates).map(|k| f32::from(k == j)).collect());
    let mut ema = Ema::new(&unit(0), decay);
    for k in 0..updates {
        ema.update(&unit(k + 1), k as u64);
    }
    numbers(&collect_params(&ema.apply(unit(0))).unwrap()["weight"])
}

#[test]
fn the_average_s_weights_are_their_closed_form() {
    // While β_k = (1 + k)/(10 + k), ∏_{i=j}^{K−1} β_i = ∏_{m=1}^{9} (j + m)/(K + m), a telescoping product.
    let updates = 60;
    let left = |j: usize| (1..=9).map(|m| (j + m) as f64 / (updates + m) as f64).product::<f64>();
    let found = weights(0.9999, updates);
    within("start", found[0], left(0), 1e-6);
    for j in 0..updates {
        let own = 9.0 / (10.0 + j as f64);
        within(format!("update {j}"), found[j + 1], own * left(j + 1), 1e-6);
    }
    within("sum", found.iter().sum(), 1.0, 1e-6);
}

#[test]
fn the_average_s_decay_ends_at_the_given_one() {
    // (1 + k)/(10 + k) reaches ½ at k = 8.
    let found = weights(0.5, 20);
    for j in 8..20 {
        within(format!("update {j}"), found[j + 1], 0.5f64.powi(20 - j as i32), 1e-6);
    }
    within("sum", found.iter().sum(), 1.0, 1e-6);
    assert_eq!(weights(0.0, 3), [0.0, 0.0, 0.0, 1.0], "0 keeps the parameters themselves");
}

#[test]
fn a_power_law_average_has_its_weights_and_its_relative_length() {
    let updates = 400;
    let unit = |j: usize| row((0..updates).map(|k| f32::from(k == j)).collect());
    for sigma in [0.05, 0.1, 0.2, 0.288] {
        let mut ema = Ema::power(&unit(0), sigma);
        (0..updates).for_each(|k| ema.update(&unit(k), k as u64));
        let found = numbers(&collect_params(&ema.apply(unit(0))).unwrap()["weight"]);
        within(format!("{sigma}: sum"), found.iter().sum(), 1.0, 1e-5);
        // ∏_{i>j} (i/(i + 1))^(γ + 1) telescopes: step j counts ((j + 1)^(γ + 1) − j^(γ + 1))/K^(γ + 1).
        let share = |j: usize| found[..j].iter().sum::<f64>();
        let half = (-share(updates / 2).log2() - 1.0).max(0.0);
        for j in [100, 300, 399] {
            let expected = (j as f64 / updates as f64).powf(half + 1.0);
            within(format!("{sigma}: share of {j}"), share(j), expected, 1e-4);
        }
        let mean: f64 = (0..updates).map(|j| found[j] * j as f64).sum();
        let variance: f64 = (0..updates).map(|j| found[j] * (j as f64 - mean).powi(2)).sum();
        within(format!("{sigma}: length"), variance.sqrt() / updates as f64, sigma, 2e-3);
    }
}

#[test]
fn the_optimiser_moves_the_average_as_it_moves_itself() {
    let peer = Peer::read();
    let (mut net, mut adamw) = (peer.start(), AdamW::new(peer.config()));
    let (mut together, mut apart) = (Ema::new(&net, 0.7), Ema::new(&net, 0.7));
    for step in 0..20 {
        let (_, gradients) = net.regress(peer.batch("x", 3), peer.batch("target", 2));
        net = adamw.step(net, &gradients, 1.0, 0.01, Some(&mut together)).unwrap().0;
        apart.update(&net, step);
    }
    let of = |ema: &Ema| collect_params(&ema.apply(peer.start())).unwrap();
    assert_eq!(of(&together), of(&apart));
}

#[test]
fn a_saved_average_goes_on_to_the_bit() {
    let at = |k: usize| row(vec![0.1 * k as f32, (k as f32).sin()]);
    let mut straight = Ema::new(&at(0), 0.9);
    let mut first = Ema::new(&at(0), 0.9);
    (0..30).for_each(|k| straight.update(&at(k), k as u64));
    (0..12).for_each(|k| first.update(&at(k), k as u64));
    let mut state = State::new();
    first.save("", &mut state).unwrap();
    let mut second = Ema::new(&at(99), 0.9);
    second.load("", &mut state, &at(0), Path::new("saved")).unwrap();
    assert!(state.is_empty(), "load takes all that save gave");
    (12..30).for_each(|k| second.update(&at(k), k as u64));
    let of = |ema: &Ema| collect_params(&ema.apply(at(0))).unwrap();
    assert_eq!(of(&second), of(&straight));
}
