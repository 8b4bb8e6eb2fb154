//! `tweedie compare`: runs on the same data, their metrics, what is refused.

use crate::support::{copy_of, digits, done, failed, numbers, refused};
use serde_json::Value;

/// A run beside a copy of itself: the same numbers, and those that `evaluate` gives.
#[test]
fn a_run_is_as_good_as_its_copy_and_as_evaluate_says() {
    let folder = copy_of(digits());
    let copied = folder.path().join("copy");
    std::fs::create_dir(&copied).unwrap();
    for name in ["run.json", "model.safetensors"] {
        std::fs::copy(folder.path().join("run").join(name), copied.join(name)).unwrap();
    }
    let arguments =
        ["compare", "run", "copy", "--steps", "4,8", "-n", "40", "--json", "-o", "both.html"];
    let told: Value = serde_json::from_str(&done(folder.path(), &arguments)).unwrap();
    let points = told["points"].as_array().unwrap();
    let places: Vec<(&str, u64)> =
        points.iter().map(|p| (p["run"].as_str().unwrap(), p["value"].as_u64().unwrap())).collect();
    assert_eq!(places, [("run", 4), ("run", 8), ("copy", 4), ("copy", 8)]);
    assert_eq!(points[0]["scores"], points[2]["scores"]);
    assert_eq!(points[1]["scores"], points[3]["scores"]);
    assert_ne!(points[0]["scores"], points[1]["scores"]);
    assert!(points[1]["evaluations"].as_f64() > points[0]["evaluations"].as_f64());
    let alone = ["evaluate", "run", "--metric", "samples", "-n", "40", "--steps", "8", "--json"];
    let alone: Value = serde_json::from_str(&done(folder.path(), &alone)).unwrap();
    assert_eq!(alone["scores"], points[1]["scores"]);
    let html = std::fs::read_to_string(folder.path().join("both.html")).unwrap();
    assert!(html.matches("data:image/png;base64,").count() >= 5, "{}", html.len());
    let few = ["compare", "run", "copy", "--steps", "4", "-n", "20", "--log-p-rows", "4", "--json"];
    let told: Value = serde_json::from_str(&done(folder.path(), &few)).unwrap();
    assert_eq!(told["runs"][0]["log_p"]["rows"], 4);
    let difference = &told["differences"][0];
    assert_eq!((&difference["run"], &difference["other"]), (&"run".into(), &"copy".into()));
    assert_eq!((&difference["mean"], &difference["standard_error"]), (&0.0.into(), &0.0.into()));
    let text = done(folder.path(), &["compare", "run", "--steps", "4", "-n", "20"]);
    for word in ["run", "solver", "evaluations", "sliced W2", "label agreement", "training data"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
}

#[test]
fn other_data_and_wrong_options_are_refused() {
    let folder = copy_of(digits());
    let other = copy_of(numbers());
    let path = other.path().join("run").display().to_string();
    let words = ["run.json", "data", "the data of run"];
    refused(folder.path(), 1, &words, &["compare", "run", &path]);
    refused(folder.path(), 2, &["-n", "from 2"], &["compare", "run", "-n", "1"]);
    refused(folder.path(), 2, &["--steps", "0"], &["compare", "run", "--steps", "0"]);
    refused(folder.path(), 2, &["--output", ".html"], &["compare", "run", "-o", "a.pdf"]);
    refused(folder.path(), 1, &["run.json"], &["compare", "absent"]);
    failed(folder.path(), 1, &["run.json"], &["compare", "run", "absent", "--steps", "2"]);
}
