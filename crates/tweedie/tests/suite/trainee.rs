//! Modules in training and their checkpoints, in every number type; the training loop with learners of other kinds.

use crate::double::moved;
use crate::support::{cpu, doubles, within};
use burn::module::Module;
use burn::tensor::{DType, Tensor, TensorData};
use std::path::Path;
use std::time::Duration;
use tweedie::nn::{
    Linear, LinearConfig, collect_params, dtype_of, load_safetensors, map_params, save_safetensors,
};
use tweedie::tensor::Dual;
use tweedie::train::{
    AdamWConfig, Event, Learner, Loop, Optimiser, State, Trainee, Values, curves, load_checkpoint,
    save_checkpoint, train,
};
use tweedie::{Draws, Error, Result};

const CONFIG: Optimiser = Optimiser {
    learning_rate: 0.05,
    adamw: AdamWConfig { beta_1: 0.9, beta_2: 0.99, epsilon: 1e-8, weight_decay: 0.01, clip: 0.5 },
    ema: Some(0.9),
    powers: Vec::new(),
};

/// Two layers with a tanh between them, in double precision.
#[derive(Module, Debug)]
struct Net {
    first: Linear,
    second: Linear,
}

fn net() -> Net {
    let layer = |i, o, name| {
        moved(&LinearConfig::new(i, o).init(&Draws::new(3).purpose(name), &cpu()).train(), 0.0)
    };
    Net { first: layer(3, 8, "first"), second: layer(8, 1, "second") }
}

/// The mean squared error on some rows of a batch.
fn loss(net: &Net, rows: std::ops::Range<usize>) -> Tensor<1> {
    let normal = |purpose, width: usize| {
        let draws = Draws::new(4).purpose(purpose);
        let len = rows.clone().flat_map(|i| (0..width).map(move |j| (i as u64, j as u64)));
        let values: Vec<f64> = len.map(|(i, j)| draws.normal_f64(i, j)).collect();
        doubles(&values, width).autodiff()
    };
    let hidden = net.first.forward(Dual::from(normal("x", 3))).tanh();
    (net.second.forward(hidden).value - normal("y", 1)).square().mean()
}

fn steps(trainee: &mut Trainee<Net>, count: usize, parts: usize) {
    for _ in 0..count {
        for part in 0..parts {
            let rows = 24 / parts;
            trainee.take_in(&loss(&trainee.module, part * rows..(part + 1) * rows).backward());
        }
        trainee.step(0.7).unwrap();
    }
}

fn saved(trainee: &Trainee<Net>) -> State {
    let mut state = State::new();
    trainee.save("net.", &mut state).unwrap();
    state
}

#[test]
fn a_module_in_double_precision_goes_on_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let mut straight = Trainee::new(net(), &CONFIG);
    steps(&mut straight, 9, 2);
    let mut first = Trainee::new(net(), &CONFIG);
    steps(&mut first, 4, 2);
    save_checkpoint(saved(&first), 4, &path).unwrap();
    let (mut state, step) = load_checkpoint(&path).unwrap();
    assert_eq!((step, &state), (4, &saved(&first)));
    let mut second = Trainee::new(net(), &CONFIG);
    second.load("net.", &mut state, &path).unwrap();
    assert!(state.is_empty(), "load takes all that save gave");
    steps(&mut second, 5, 2);
    let (found, right) = (saved(&second), saved(&straight));
    assert_eq!(found, right);
    // Parameters, both means of the gradient and the average, of four arrays each.
    assert_eq!(found.len(), 4 * 4 + 1);
    for (name, data) in &found {
        let kind = if name == "net.adam.steps" { DType::U64 } else { DType::F64 };
        assert!(data.dtype() == kind && data.num_elements() > 0, "{name}");
    }
    // Single precision would have lost something.
    let lost = |v: f64| f64::from(v as f32) != v;
    assert!(found["net.adam.v.first.weight"].iter::<f64>().any(lost));
    assert_eq!(dtype_of(&second.averaged()), DType::F64);
}

#[test]
fn a_step_is_along_the_mean_of_its_passes() {
    let [mut whole, mut parts] = [(); 2].map(|()| Trainee::new(net(), &CONFIG));
    steps(&mut whole, 5, 1);
    steps(&mut parts, 5, 3);
    let parts = collect_params(&parts.module).unwrap();
    for (path, data) in collect_params(&whole.module).unwrap() {
        for (a, b) in data.iter::<f64>().zip(parts[&path].iter::<f64>()) {
            within(&path, b, a, 1e-12);
        }
    }
}

#[test]
fn what_a_checkpoint_lacks_or_has_too_much_is_named_in_full() {
    let trainee = Trainee::new(net(), &CONFIG);
    let state = {
        let mut trainee = trainee.clone();
        steps(&mut trainee, 1, 1);
        saved(&trainee)
    };
    let fault = |change: &dyn Fn(&mut State)| {
        let mut state = state.clone();
        change(&mut state);
        let error = trainee.clone().load("net.", &mut state, Path::new("file")).unwrap_err();
        assert!(matches!(error, Error::File { .. }));
        error.to_string()
    };
    for name in state.keys() {
        let error = fault(&|state| drop(state.remove(name)));
        // Of two means, the one that is left is as wrong.
        let tail = name.trim_start_matches("net.adam.m.").trim_start_matches("net.adam.v.");
        assert!(error.contains(name) || error.contains(&format!("net.adam.m.{tail}")), "{error}");
        let short = TensorData::new(vec![0.0f64; 7], [7]);
        let error = fault(&|state| drop(state.insert(name.clone(), short.clone())));
        assert!(error.contains(name) && error.contains("[7]"), "{error}");
    }
    for (name, kind) in [("net.adam.m.more", "unknown"), ("net.network.more", "unknown")] {
        let error = fault(&|state| drop(state.insert(name.into(), TensorData::from([1.0]))));
        assert!(error.contains(name) && error.contains(kind), "{error}");
    }
    let whole = TensorData::new(vec![1i64; 8], [8]);
    let error = fault(&|state| drop(state.insert("net.network.first.bias".into(), whole.clone())));
    assert!(error.contains("net.network.first.bias") && error.contains("I64"), "{error}");
}

#[test]
fn weights_take_the_type_of_the_module_and_must_fit_it() {
    let double = net();
    let single = Net {
        first: LinearConfig::new(3, 8).init(&Draws::new(1), &cpu()),
        second: LinearConfig::new(8, 1).init(&Draws::new(1), &cpu()),
    };
    let mut params = collect_params(&double).unwrap();
    let placed = map_params(single.clone(), &params, Path::new("file")).unwrap();
    assert_eq!(dtype_of(&placed), DType::F32);
    for (path, data) in collect_params(&placed).unwrap() {
        let right: Vec<f32> = params[&path].iter::<f64>().map(|v| v as f32).collect();
        assert_eq!(data.as_slice::<f32>().unwrap(), right, "{path}");
    }
    params.insert("second.bias".into(), TensorData::new(vec![1e300], [1]));
    let error = map_params(single, &params, Path::new("file")).map(drop).unwrap_err().to_string();
    assert!(error.contains("second.bias") && error.contains("F32"), "{error}");
}

#[test]
fn checkpoints_of_old_whose_counters_are_two_halves_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    for count in [0, 1, 70, (1 << 20) - 1, 1 << 20, 3 * (1 << 20) + 5, (1 << 40) + 12_345] {
        let halves = [(count >> 20) as f32, (count & 0xf_ffff) as f32];
        let mut trainee = Trainee::new(net(), &CONFIG);
        steps(&mut trainee, 1, 1);
        let mut state = saved(&trainee);
        state.insert("net.adam.steps".into(), TensorData::new(vec![count], [1]));
        let new = state.clone();
        for name in ["step", "net.adam.steps"] {
            state.insert(name.into(), TensorData::new(halves.to_vec(), [2]));
        }
        save_safetensors(&state, &path).unwrap();
        let (mut old, step) = load_checkpoint(&path).unwrap();
        assert_eq!(step, count);
        let mut resumed = Trainee::new(net(), &CONFIG);
        resumed.load("net.", &mut old, &path).unwrap();
        assert_eq!(saved(&resumed), new);
    }
}

#[test]
fn every_type_of_number_comes_back_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let mut state = State::from([
        ("u64".to_string(), TensorData::new(vec![u64::MAX, 0], [2])),
        ("i64".to_string(), TensorData::new(vec![i64::MIN, 1], [1, 2])),
        ("f64".to_string(), TensorData::new(vec![f64::MIN_POSITIVE, 0.1], [2, 1])),
        ("f32".to_string(), TensorData::new(vec![0.1f32], [1])),
        ("scalar".to_string(), TensorData::new(vec![2.5f32], [0usize; 0])),
    ]);
    for kind in [DType::F16, DType::BF16, DType::I8, DType::U8, DType::I32, DType::U32] {
        let data = TensorData::new(vec![1.0f32, 2.0, 3.0], [3]).convert_dtype(kind);
        state.insert(format!("{kind:?}"), data);
    }
    save_safetensors(&state, &path).unwrap();
    assert_eq!(load_safetensors(&path).unwrap(), state);
    for kind in [DType::F64, DType::F16, DType::BF16] {
        let bad = TensorData::new(vec![1.0, f64::NAN], [2]).convert_dtype(kind);
        save_safetensors(&State::from([("bad".to_string(), bad)]), &path).unwrap();
        let error = load_safetensors(&path).unwrap_err().to_string();
        assert!(error.contains("bad: holds NaN or infinity"), "{kind:?}: {error}");
    }
}

/// A learner that reports and saves what it is given.
struct Fake {
    values: Values,
    state: State,
}

impl Learner for Fake {
    fn step(&mut self, _: u64) -> Result<Values> {
        Ok(self.values.clone())
    }
    fn held_out(&mut self) -> Result<Values> {
        Ok(Values::default())
    }
    fn save(&self) -> Result<State> {
        Ok(self.state.clone())
    }
    fn load(&mut self, state: State, _: &Path) -> Result<()> {
        self.state = state;
        Ok(())
    }
    fn weights(&self) -> Result<State> {
        Ok(State::new())
    }
}

/// Three steps of the loop, and the losses that its observer heard.
fn looped(values: Values, data: TensorData, folder: &Path) -> Result<Vec<Option<f64>>> {
    let config = Loop {
        steps: 3,
        log_every: 1,
        held_out_every: 1,
        sample_every: 0,
        keep_every: 0,
        checkpoint_after: Duration::ZERO,
    };
    let mut learner = Fake { values, state: State::from([("array".to_string(), data)]) };
    let mut losses = Vec::new();
    train(&mut learner, folder, &config, |event| {
        if let Event::Step(_, loss) = event {
            losses.push(loss);
        }
        Ok(())
    })?;
    Ok(losses)
}

#[test]
fn the_loop_runs_learners_that_have_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let chains = TensorData::new(vec![0.1f64, 0.2], [2]);
    let values = Values::from([("chains/acceptance", 0.6)]);
    assert_eq!(looped(values, chains.clone(), folder.path()).unwrap(), [None; 3]);
    let lines = curves::read(folder.path().join("curves.jsonl")).unwrap();
    assert_eq!(lines[2], (3, vec![("chains/acceptance".to_string(), 0.6)]));
    let (state, step) = load_checkpoint(&folder.path().join("checkpoint.safetensors")).unwrap();
    assert_eq!((&state["array"], step), (&chains, 3));
    let folder = tempfile::tempdir().unwrap();
    let values = Values::from([("em/components", 3.0), ("train/loss", 0.25)]);
    assert_eq!(looped(values, chains.clone(), folder.path()).unwrap(), [Some(0.25); 3]);
    let folder = tempfile::tempdir().unwrap();
    let values = Values::from([("train/loss", f64::NAN)]);
    let error = looped(values, chains, folder.path()).unwrap_err();
    assert!(matches!(error, Error::Diverged { step: 1, .. }), "{error}");
}

#[test]
fn the_loop_saves_no_array_that_is_empty_or_not_finite_in_any_type() {
    for kind in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        for bad in [f64::NAN, f64::INFINITY] {
            let folder = tempfile::tempdir().unwrap();
            let data = TensorData::new(vec![1.0, bad], [2]).convert_dtype(kind);
            let error = looped(Values::default(), data, folder.path()).unwrap_err();
            assert!(matches!(&error, Error::Diverged { what, step: 1 } if what.contains("array")));
            assert!(!folder.path().join("checkpoint.safetensors").exists(), "{kind:?}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let empty = TensorData::new(Vec::<f32>::new(), [0]);
    let error = looped(Values::default(), empty, folder.path()).unwrap_err();
    assert!(error.to_string().contains("`array`"), "{error}");
    assert!(!folder.path().join("checkpoint.safetensors").exists());
}
