//! Runs whose data were moved, of which one is the newest, or whose recipe has changed since.

use crate::support::{
    TINY, copy_of, done, failed, numbers, object, refused, table, training, tweedie,
};
use serde_json::Value;
use std::fs::{create_dir, read_to_string, remove_file, rename, write};
use std::path::Path;
use std::time::{Duration, SystemTime};

fn recorded(run: &Path) -> Value {
    serde_json::from_str(&read_to_string(run.join("run.json")).unwrap()).unwrap()
}

/// A run on `table.csv` that was started in its folder.
fn started(folder: &Path, recipe: &str, more: &[&str]) {
    write(folder.join("table.csv"), table(120, false)).unwrap();
    let data = ["--data", "table.csv", "--label", "kind"];
    done(folder, &training(recipe, &[&data[..], more].concat()));
}

const JUDGE: [&str; 6] = ["evaluate", "run", "--metric", "samples", "-n", "40"];

#[test]
fn a_run_finds_its_data_from_any_folder() {
    let folder = tempfile::tempdir().unwrap();
    started(folder.path(), "table", &[]);
    let place = std::path::absolute(folder.path().join("table.csv")).unwrap();
    assert_eq!(recorded(&folder.path().join("run"))["source_path"], place.to_str().unwrap());
    let elsewhere = tempfile::tempdir().unwrap();
    let run = folder.path().join("run").display().to_string();
    let own = done(folder.path(), &JUDGE);
    let mut judge = JUDGE;
    judge[1] = &run;
    assert_eq!(done(elsewhere.path(), &judge), own);
    // Without the path on record, as in older runs, from the folders around the run.
    let text = read_to_string(folder.path().join("run/run.json")).unwrap();
    let older: String = text
        .lines()
        .filter(|line| !line.contains("source_path"))
        .fold(String::new(), |a, b| a + b + "\n");
    assert_ne!(older, text);
    write(folder.path().join("run/run.json"), older).unwrap();
    assert_eq!(done(elsewhere.path(), &judge), own);
}

#[test]
fn moved_data_are_named_and_other_rows_in_their_place_are_refused() {
    let folder = copy_of(numbers());
    let at = folder.path();
    let before = done(at, &JUDGE);
    rename(at.join("table.csv"), at.join("moved.csv")).unwrap();
    write(at.join("other.csv"), table(90, false)).unwrap();
    failed(at, 1, &["table.csv", "No such file", "--data"], &JUDGE);
    assert_eq!(done(at, &[&JUDGE[..], &["--data", "moved.csv"]].concat()), before);
    let hash = recorded(&at.join("run"))["train"]["hash"].as_str().unwrap().to_string();
    let words = ["other.csv", "other rows", "of hash", &hash];
    refused(at, 1, &words, &[&JUDGE[..], &["--data", "other.csv"]].concat());
    for command in ["show", "compare"] {
        refused(at, 1, &words, &[command, "run", "--data", "other.csv"]);
    }
    let compare = ["compare", "run", "--steps", "4", "-n", "40", "--data", "moved.csv"];
    assert!(done(at, &compare).contains("run"));
    let train = ["train", "table", "--resume", "--out", "run"];
    refused(at, 1, &words, &[&train[..], &["--data", "other.csv"]].concat());
    done(at, &[&train[..], &["--data", "moved.csv"]].concat());
    // The run now knows the new place.
    assert_eq!(done(at, &JUDGE), before);
}

#[test]
fn the_newest_run_of_a_recipe_is_resumed_over_gaps_in_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let short = ["--set", "training.steps=20", "--set", "data.n=200"];
    let train = [&["train", "points"], &TINY[..], &short].concat();
    create_dir(at.join("runs")).unwrap();
    failed(at, 2, &["no run of points", "there are no runs"], &["train", "points", "--resume"]);
    for _ in 0..3 {
        done(at, &train);
    }
    std::fs::remove_dir_all(at.join("runs/points")).unwrap();
    std::fs::create_dir(at.join("runs/points-9")).unwrap();
    let touch = |name: &str, seconds: u64| {
        for file in ["run.json", "checkpoint.safetensors"] {
            let path = at.join("runs").join(name).join(file);
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() + Duration::from_secs(seconds)).unwrap();
        }
    };
    for (newest, other) in [("points-2", "points-3"), ("points-3", "points-2")] {
        touch(newest, 100);
        touch(other, 0);
        let resumed = object(at, &["train", "points", "--resume"]);
        assert_eq!(resumed["run"], format!("runs/{newest}"));
    }
    let words = ["no run of digits", "runs/points-2", "runs/points-3"];
    failed(at, 2, &words, &["train", "digits", "--resume"]);
}

#[test]
fn a_resumed_run_says_where_the_recipe_now_differs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let recipe = |steps: u32| {
        let text = format!("[data]\nsource = \"moons\"\nn = 200\n[training]\nsteps = {steps}\n");
        write(at.join("own.toml"), text).unwrap();
    };
    recipe(30);
    let quick =
        ["--set", "network.name=mlp", "--set", "network.hidden=16", "--set", "sampling.steps=4"];
    let few = ["--set", "evaluation.samples=20"];
    let start = ["train", "own.toml", "--out", "run"];
    done(at, &[&start[..], &quick, &few].concat());
    let resumed = |recipe: &str| tweedie(at, &["train", recipe, "--out", "run", "--resume"]);
    let text = resumed("own.toml").stderr;
    assert!(!text.contains("its own recipe"), "{text}");
    recipe(5000);
    let text = resumed("own.toml").stderr;
    assert!(text.contains("differs from own.toml: training.steps is 30, not 5000"), "{text}");
    let other = resumed("gmm");
    assert_eq!(other.status, Some(0), "{}", other.stderr);
    assert!(other.stderr.contains("do not fit gmm"), "{}", other.stderr);
    let other = resumed("points");
    assert!(other.stderr.contains("differs from points"), "{}", other.stderr);
    assert!(other.stderr.contains(" more"), "{}", other.stderr);
}

#[test]
fn data_beside_a_recipe_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    create_dir(at.join("inner")).unwrap();
    write(at.join("inner/table.csv"), table(60, false)).unwrap();
    write(
        at.join("inner/own.toml"),
        "[data]\nsource = \"table.csv\"\nlabel = \"kind\"\n[network]\nname = \"mlp\"\n",
    )
    .unwrap();
    let train = training("inner/own.toml", &[]);
    done(at, &train);
    let again = tweedie(at, &["train", "inner/own.toml", "--out", "run", "--resume"]).stderr;
    assert!(!again.contains("its own recipe"), "{again}");
    // The working folder comes first.
    write(at.join("table.csv"), table(40, false)).unwrap();
    std::fs::remove_dir_all(at.join("run")).unwrap();
    done(at, &train);
    assert_eq!(recorded(&at.join("run"))["train"]["rows"], 32);
    remove_file(at.join("table.csv")).unwrap();
}
