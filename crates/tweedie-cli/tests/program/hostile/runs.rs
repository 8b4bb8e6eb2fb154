//! Run directories that are damaged, changed by hand, or of another version.

use crate::support::{coloured, copy_of, numbers, refused};
use serde_json::{Value, json};
use std::fs::{create_dir, read, remove_dir_all, remove_file, write};
use std::path::Path;
use tempfile::TempDir;
use tweedie::burn::tensor::TensorData;
use tweedie::nn::{Params, load_safetensors, save_safetensors};

fn sampling(folder: &Path, words: &[&str]) {
    refused(folder, 1, words, &["sample", "run", "-n", "3", "-o", "out.csv"]);
}

fn resuming(folder: &Path, words: &[&str]) {
    refused(folder, 1, words, &["train", "table", "--out", "run", "--resume"]);
}

fn described(folder: &TempDir) -> Value {
    serde_json::from_slice(&read(folder.path().join("run/run.json")).unwrap()).unwrap()
}

fn describe(folder: &TempDir, description: &Value) {
    write(folder.path().join("run/run.json"), description.to_string()).unwrap();
}

#[test]
fn a_description_changed_by_hand_is_refused_by_every_command() {
    let changes: Vec<(&str, Value, &[&str])> = vec![
        ("/version", json!(3), &["version 3", "version 2"]),
        ("/version", json!("one"), &["version \"one\"", "version 2"]),
        ("/resolved/network/width", json!(7), &["resolved.network.width: 7", "2 for these data"]),
        ("/resolved/network/hidden", json!(0), &["resolved.network.hidden: 0", "at least 1"]),
        ("/resolved/network/hidden", json!(-1), &["resolved.network.hidden: -1", "0 or more"]),
        (
            "/resolved/network/hidden",
            json!(1_000_000_000_000u64),
            &["resolved.network.hidden", "at most"],
        ),
        ("/resolved/network/blocks", json!(1_000_000_000), &["resolved.network.blocks", "at most"]),
        ("/resolved/network/classes", json!(0), &["resolved.network", "every width resolved"]),
        ("/resolved/network/vector", json!(4), &["resolved.network.vector: 4", "it is 0"]),
        ("/recipe/training/steps", json!(0), &["training.steps: 0", "at least 1"]),
        ("/recipe/training/batch", json!(10_000_000), &["training.batch", "at most"]),
        ("/recipe/sampling/steps", json!(1), &["sampling.steps: 1", "from 2"]),
        ("/recipe/schedule/lambda_max", json!(1e9), &["schedule", "log-SNR"]),
        ("/recipe/schedule/name", json!("cosin"), &["cosin"]),
        ("/resolved/model/sigma_data", json!(-1.0), &["sigma_data: -1", "a number from"]),
        ("/resolved/model/sigma_data", json!("x"), &["sigma_data", "a number"]),
        ("/train/classes", json!([0, 0, 0]), &["train.classes: [0, 0, 0]", "3 numbers"]),
        ("/train/classes", json!([1, u64::MAX, 96]), &["train.classes", "make 96 rows"]),
        ("/space/classes", json!(["elm"]), &["network.classes: 3", "1 for these data"]),
        ("/space/coordinates/0/scale", json!(0.0), &["space", "scale 0"]),
        ("/space/layout", json!({"vector": {"width": 1u64 << 60}}), &["space", "expected"]),
        ("/space/layout", json!("plane"), &["space", "plane"]),
    ];
    let folder = copy_of(numbers());
    let own = described(&folder);
    for (place, value, words) in changes {
        let mut changed = own.clone();
        *changed.pointer_mut(place).unwrap() = value;
        describe(&folder, &changed);
        let words: Vec<&str> = ["run/run.json"].iter().chain(words).copied().collect();
        sampling(folder.path(), &words);
        resuming(folder.path(), &words);
        refused(folder.path(), 1, &words, &["evaluate", "run"]);
        refused(folder.path(), 1, &words, &["show", "run"]);
    }
    // What sampling cannot know, those that load the data find out.
    let mut changed = own.clone();
    changed["space"]["coordinates"][0]["shift"] = json!(5.0);
    describe(&folder, &changed);
    resuming(folder.path(), &["run/run.json: space", "not the space of the data"]);
}

#[test]
fn a_description_that_is_none_is_refused() {
    let folder = copy_of(numbers());
    let path = folder.path().join("run/run.json");
    let own = read(&path).unwrap();
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (own[..own.len() / 2].to_vec(), &["run/run.json: line", "EOF", "written by tweedie"]),
        (vec![], &["run/run.json: line 1", "written by tweedie"]),
        (b"3".to_vec(), &["run/run.json: content", "a run written by tweedie"]),
        (b"{}".to_vec(), &["run/run.json: version", "no version", "version 2"]),
        (b"\xff\xfe".to_vec(), &["run/run.json", "UTF-8"]),
        ([b'['; 100_000].to_vec(), &["run/run.json: line 1", "recursion"]),
    ];
    for (bytes, words) in cases {
        write(&path, bytes).unwrap();
        sampling(folder.path(), words);
        resuming(folder.path(), words);
    }
    remove_file(&path).unwrap();
    sampling(folder.path(), &["run/run.json: No such file"]);
    create_dir(&path).unwrap();
    sampling(folder.path(), &["run/run.json", "directory"]);
    refused(folder.path(), 1, &["absent/run.json"], &["sample", "absent", "-o", "out.csv"]);
    refused(folder.path(), 1, &["table.csv/run.json"], &["evaluate", "table.csv"]);
}

#[test]
fn weights_that_are_damaged_or_of_another_network_are_refused() {
    let folder = copy_of(numbers());
    let path = folder.path().join("run/model.safetensors");
    let own = read(&path).unwrap();
    let with = |name: &str, value: Option<TensorData>| {
        write(&path, &own).unwrap();
        let mut weights = load_safetensors(&path).unwrap();
        weights.remove(name);
        weights.extend(value.map(|value| (name.to_string(), value)));
        save_safetensors(&weights, &path).unwrap();
        read(&path).unwrap()
    };
    let checkpoint = read(folder.path().join("run/checkpoint.safetensors")).unwrap();
    let other = read(coloured().join("run/model.safetensors")).unwrap();
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (own[..own.len() - 4].to_vec(), &["header", "a complete safetensors file"]),
        (own[..50].to_vec(), &["header", "a complete safetensors file"]),
        (vec![], &["header", "a complete safetensors file"]),
        ([&[0xff; 8], &own[8..]].concat(), &["header", "a complete safetensors file"]),
        (other, &["shape [32, 5]", "expected shape [32, 2]"]),
        (checkpoint, &["missing", "expected shape"]),
        (with("input.bias", None), &["input.bias: missing", "expected shape [32]"]),
        (with("input.bias", Some(floats(&[0.0]))), &["input.bias: shape [1]", "[32]"]),
        (with("more", Some(floats(&[0.0]))), &["more: unknown parameter"]),
        (with("input.bias", Some(floats(&[f32::NAN]))), &["input.bias", "NaN", "finite"]),
        (with("output.bias", Some(floats(&[f32::MAX; 2]))), &["a sample became NaN"]),
    ];
    for (bytes, words) in cases {
        write(&path, bytes).unwrap();
        sampling(folder.path(), words);
    }
    remove_file(&path).unwrap();
    let checkpoint = folder.path().join("run/checkpoint.safetensors");
    std::fs::rename(checkpoint, folder.path().join("kept")).unwrap();
    sampling(folder.path(), &["run/model.safetensors", "missing", "train --resume"]);
    refused(folder.path(), 1, &["run/model.safetensors", "missing"], &["evaluate", "run"]);
    let checkpoint = folder.path().join("run/checkpoint.safetensors");
    std::fs::rename(folder.path().join("kept"), checkpoint).unwrap();
    create_dir(&path).unwrap();
    sampling(folder.path(), &["run/model.safetensors", "directory"]);
}

fn floats(values: &[f32]) -> TensorData {
    TensorData::new(values.to_vec(), [values.len()])
}

/// A copy of a run that was stopped before its last step.
fn stopped() -> TempDir {
    let folder = copy_of(numbers());
    remove_file(folder.path().join("run/model.safetensors")).unwrap();
    let mut description = described(&folder);
    description["recipe"]["training"]["steps"] = json!(70);
    describe(&folder, &description);
    folder
}

#[test]
fn checkpoints_that_are_damaged_or_of_another_run_are_refused() {
    let folder = stopped();
    let path = folder.path().join("run/checkpoint.safetensors");
    let own = read(&path).unwrap();
    let state = load_safetensors(&path).unwrap();
    let with = |change: &dyn Fn(&mut Params)| {
        let mut state = state.clone();
        change(&mut state);
        save_safetensors(&state, &path).unwrap();
        read(&path).unwrap()
    };
    let without = |name: &str| with(&|state| drop(state.remove(name)));
    let filled = |name: &str, value: f32| {
        with(&|state| state.get_mut(name).unwrap().as_mut_slice().unwrap().fill(value))
    };
    let shorter = |name: &str| {
        with(&|state| {
            let values = floats(&state[name].as_slice().unwrap()[1..]);
            state.insert(name.into(), values);
        })
    };
    let step = |data: TensorData| with(&|state| drop(state.insert("step".into(), data.clone())));
    let other = read(coloured().join("run/checkpoint.safetensors")).unwrap();
    let model = read(numbers().join("run/model.safetensors")).unwrap();
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (own[..own.len() - 4].to_vec(), &["header", "a complete safetensors file"]),
        (vec![], &["header", "a complete safetensors file"]),
        (other, &["shape", "expected shape"]),
        (model, &["step: missing"]),
        (without("step"), &["step: missing"]),
        (step(floats(&[-5.0, -5.0])), &["step: [-5.0, -5.0]", "a count"]),
        (step(floats(&[1e30, 1e30])), &["step", "a count"]),
        (step(floats(&[f32::NAN; 2])), &["step", "NaN", "finite"]),
        (step(floats(&[0.5, 0.5])), &["step: [0.5, 0.5]", "a count"]),
        (step(floats(&[3.0])), &["step: type F32 of shape [1]", "a count"]),
        (step(TensorData::new(vec![90u64], [1])), &["step", "at most 70"]),
        (step(TensorData::new(vec![1u64, 2], [2])), &["step: type U64 of shape [2]", "a count"]),
        (without("adam.steps"), &["adam.steps: missing"]),
        (without("adam.m.input.weight"), &["adam.m.input.weight", "missing"]),
        (shorter("adam.v.input.weight"), &["adam.v.input.weight: shape [63]", "shape [64]"]),
        (without("ema.input.weight"), &["ema.input.weight: missing", "shape [64]"]),
        (shorter("ema.input.weight"), &["ema.input.weight: shape [63]", "shape [64]"]),
        (without("network.input.weight"), &["input.weight: missing", "shape [32, 2]"]),
        (filled("network.input.weight", f32::INFINITY), &["network.input.weight", "infinity"]),
        (with(&|state| drop(state.insert("more".into(), floats(&[0.0])))), &["more"]),
    ];
    for (bytes, words) in cases {
        write(&path, bytes).unwrap();
        let words: Vec<&str> =
            ["run/checkpoint.safetensors"].iter().chain(words).copied().collect();
        resuming(folder.path(), &words);
    }
    remove_file(&path).unwrap();
    create_dir(&path).unwrap();
    resuming(folder.path(), &["run/checkpoint.safetensors", "directory"]);
    remove_dir_all(&path).unwrap();
    write(&path, own).unwrap();
    // Curves that are none are not overwritten.
    let curves = folder.path().join("run/curves.jsonl");
    let kept = read(&curves).unwrap();
    write(&curves, "nonsense\nmore\nand more\n").unwrap();
    resuming(folder.path(), &["run/curves.jsonl: line 1"]);
    write(&curves, kept).unwrap();
    let events = folder.path().join("run/events.out.tfevents.tweedie");
    write(&events, [0xff; 100]).unwrap();
    resuming(folder.path(), &["run/events.out.tfevents.tweedie", "TensorBoard"]);
}
