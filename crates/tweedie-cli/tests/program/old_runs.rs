//! Runs whose `run.json` is of version 1, as the program of that version left them (`bench/fixtures_v1.sh`): they open,
//! resume, sample, evaluate and show.

use crate::support::{content, done, object};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{copy, create_dir, read_dir, read_to_string, remove_file, rename};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tweedie::data::npy;
use tweedie::nn::{State, load_safetensors};

/// Runs trained to their end.
const TRAINED: [&str; 8] =
    ["digits", "points", "unet", "chain", "learned", "adaptive", "energy", "table"];

/// Processors differ by 2e-7 after 30 steps; a part of the learner's state that is lost makes 4e-5 or more.
const TOLERANCE: f64 = 1e-5;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runs-v1").join(name)
}

/// A fresh folder with a copy of a run in `run`.
fn copied(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    create_dir(folder.path().join("run")).unwrap();
    for entry in read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        copy(&path, folder.path().join("run").join(path.file_name().unwrap())).unwrap();
    }
    folder
}

/// ‖found − expected‖ / ‖expected‖.
fn relative_error<'a>(pairs: impl Iterator<Item = (&'a f32, &'a f32)>) -> f64 {
    let (error, norm) = pairs.fold((0.0, 0.0), |(error, norm), (found, expected)| {
        let (found, expected) = (f64::from(*found), f64::from(*expected));
        (error + (found - expected).powi(2), norm + expected.powi(2))
    });
    (error / norm).sqrt()
}

/// Resumes the run in `folder`, whose weights must become those of a file.
fn resumes_to(folder: &Path, weights: &Path, name: &str) {
    // A resumed run keeps its own recipe, whichever is named.
    done(folder, &["train", "digits", "--out", "run", "--resume"]);
    let found = load_safetensors(&folder.join("run/model.safetensors")).unwrap();
    let expected = load_safetensors(weights).unwrap();
    let names = |params: &State| params.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&found), names(&expected), "{name}");
    let values = |state: &State, key: &str| state[key].try_to_vec::<f32>().unwrap();
    let pairs: Vec<(f32, f32)> = expected
        .keys()
        .flat_map(|key| {
            assert_eq!(found[key].shape(), expected[key].shape(), "{name}: {key}");
            values(&found, key).into_iter().zip(values(&expected, key))
        })
        .collect();
    let error = relative_error(pairs.iter().map(|(a, b)| (a, b)));
    assert!(error < TOLERANCE, "{name}: the weights are off by {error:.1e}");
}

/// The points of a run's curves.
fn curves(run: &Path) -> Vec<Value> {
    let text = read_to_string(run.join("curves.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_fixture_is_among_those_that_are_tested() {
    let found: BTreeSet<String> =
        content(&fixture("")).into_keys().filter(|name| name.ends_with('/')).collect();
    let tested = TRAINED.iter().chain(&["imported", "unfinished", "unfinished-end"]);
    assert_eq!(found, tested.map(|name| format!("{name}/")).collect());
    for name in TRAINED {
        let text = read_to_string(fixture(name).join("run.json")).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["version"], 1, "{name}");
    }
}

#[test]
fn an_old_run_that_was_killed_ends_where_the_old_program_ended() {
    for name in TRAINED {
        let folder = copied(name);
        let run = folder.path().join("run");
        remove_file(run.join("model.safetensors")).unwrap();
        rename(run.join("killed.safetensors"), run.join("checkpoint.safetensors")).unwrap();
        resumes_to(folder.path(), &fixture(name).join("model.safetensors"), name);
        let (found, expected) = (curves(&run), curves(&fixture(name)));
        let points = |curves: &[Value]| -> Vec<(u64, Vec<String>)> {
            let of = |v: &Value| v.as_object().unwrap().keys().cloned().collect();
            curves.iter().map(|v| (v["step"].as_u64().unwrap(), of(v))).collect()
        };
        assert_eq!(points(&found), points(&expected), "{name}");
        // The held-out loss is of other rows since they are drawn at random.
        for (found, expected) in found.iter().zip(&expected) {
            let [found, expected] =
                [found, expected].map(|v| v.get("train/loss").map_or(1.0, |v| v.as_f64().unwrap()));
            assert!((found / expected - 1.0).abs() < TOLERANCE, "{name}: {found}, {expected}");
        }
    }
}

#[test]
fn an_old_run_that_is_unfinished_is_shown_and_resumed() {
    let folder = copied("unfinished");
    let sampled = object(folder.path(), &["sample", "run", "-n", "4", "-o", "x.npy"]);
    assert!((1..40).contains(&sampled["step"].as_u64().unwrap()));
    let shown = object(folder.path(), &["show", "run", "-o", "pictures"]);
    assert!((1..40).contains(&shown["step"].as_u64().unwrap()));
    let end = fixture("unfinished-end").join("model.safetensors");
    resumes_to(folder.path(), &end, "unfinished");
    done(folder.path(), &["sample", "run", "-n", "4", "-o", "x.npy"]);
}

#[test]
fn an_old_run_that_is_finished_stays_as_it_is_when_resumed() {
    let folder = copied("table");
    resumes_to(folder.path(), &fixture("table").join("model.safetensors"), "table");
    assert_eq!(curves(&folder.path().join("run")), curves(&fixture("table")));
}

#[test]
fn old_runs_sample_what_the_old_program_sampled() {
    for name in TRAINED.iter().chain(&["imported"]) {
        let folder = copied(name);
        done(folder.path(), &["sample", "run", "-n", "4", "--seed", "3", "-o", "x.npy"]);
        let read = |path: PathBuf| npy::read(path).unwrap().1;
        let found = read(folder.path().join("x.npy"));
        let expected = read(fixture(name).join("samples.npy"));
        assert_eq!((found.len(), found.width()), (4, expected.width()), "{name}");
        let error = relative_error(found.values().iter().zip(expected.values()));
        assert!(error < TOLERANCE, "{name}: the samples are off by {error:.1e}");
    }
}

#[test]
fn old_runs_are_evaluated() {
    for name in TRAINED.iter().chain(&["imported"]) {
        let folder = copied(name);
        let evaluate = |more: &[&str]| {
            // An imported run has no data of its own.
            let data: &[&str] = if *name == "imported" { &["--data", "digits"] } else { &[] };
            object(folder.path(), &[&["evaluate", "run", "--metric"], more, data].concat())
        };
        let judged = evaluate(&["samples", "-n", "20"]);
        let scores = judged["scores"].as_array().unwrap();
        assert!(scores.len() > 5 && scores.iter().all(|s| s["value"].is_number()), "{name}");
        let few = ["logp", "--rows", "4", "--probes", "1", "--density", "all"];
        let judged = evaluate(&few);
        let log_p = judged["log_p"].as_array().unwrap();
        let densities: BTreeSet<&str> =
            log_p.iter().map(|p| p["density"].as_str().unwrap()).collect();
        assert_eq!(densities, ["elbo", "ode", "sde"].into(), "{name}");
        assert!(log_p.iter().all(|p| p["mean"].is_number() && p["rows"] == 4), "{name}");
    }
}

#[test]
fn old_runs_are_shown() {
    for name in TRAINED.iter().chain(&["imported"]) {
        let folder = copied(name);
        let shown = object(folder.path(), &["show", "run"]);
        let drawn: BTreeSet<&str> = shown["pictures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|picture| Path::new(picture["file"].as_str().unwrap()))
            .filter(|path| folder.path().join(path).is_file())
            .map(|path| path.file_stem().unwrap().to_str().unwrap())
            .collect();
        let mut expected = BTreeSet::from(["samples", "schedule", "solvers"]);
        if !["adaptive", "energy", "table"].contains(name) {
            expected.insert("trajectory");
        }
        if *name != "imported" {
            expected.extend(["levels", "curves"]);
        }
        if *name == "points" {
            expected.extend(["flow", "density", "movement"]);
        }
        assert_eq!(drawn, expected, "{name}");
    }
}
