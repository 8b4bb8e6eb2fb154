//! Chains: training, judgement and comparison without data, on targets by name and on another run.

use crate::support::{content, done, refused, tweedie};
use serde_json::Value;
use std::path::Path;

/// The arguments of a short run of chains into `out`.
fn training<'a>(target: &'a str, kernel: &'a str, out: &'a str) -> Vec<&'a str> {
    let sets = [
        target,
        kernel,
        "chains.rows=8",
        "chains.keep=50",
        "training.steps=300",
        "training.log_every=10",
        "training.held_out_every=50",
        "training.sample_every=20",
    ];
    let sets = sets.into_iter().flat_map(|set| ["--set", set]);
    ["train", "mala", "--json", "--out", out].into_iter().chain(sets).collect()
}

const BANANA: &str = "target=banana";
const MALA: &str = "chains.kernel={ name='mala', warm_up=100 }";

fn object(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&done(folder, arguments)).expect("JSON")
}

fn score<'a>(of: &'a Value, name: &str) -> &'a Value {
    let scores = of["scores"].as_array().expect("scores");
    scores.iter().find(|score| score["name"] == name).expect(name)
}

/// Samples are kept before there are as many as a picture takes; of 150 draws every fourth is left of each of 8 chains.
#[test]
fn chains_train_to_their_end_and_are_judged_by_exact_draws() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let trained = object(at, &training(BANANA, MALA, "run"));
    let kept = content(&at.join("run/samples"));
    assert!(kept.contains_key("step-000020.npy") && kept.contains_key("step-000300.png"));
    assert_eq!(score(&trained, "sliced W2")["rows"], 304);
    let html = std::fs::read_to_string(at.join("run/report.html")).unwrap();
    for word in ["R-hat of x1", "acceptance", "304 samples", "exact draws", "Bulk ESS"] {
        assert!(html.contains(word), "no {word}");
    }
    let judged = object(at, &["evaluate", "run", "--json"]);
    for name in ["R-hat of x1", "bulk ESS of x2", "acceptance"] {
        assert_eq!(score(&judged, name), score(&trained, name));
    }
    let acceptance = score(&judged, "acceptance")["value"].as_f64().unwrap();
    assert!(acceptance > 0.3 && acceptance < 0.9, "{acceptance}");
    assert!(score(&judged, "energy distance")["floor"].is_number());
    assert_eq!(judged["log_p"], serde_json::json!([]));
    let table = done(at, &["evaluate", "run"]);
    assert!(table.contains("exact draws") && !table.contains("memorisation"), "{table}");
    // Draws in a file, half of which stand for the floors.
    done(at, &["sample", "run", "-n", "200", "-o", "draws.csv"]);
    let judged = object(at, &["evaluate", "run", "--data", "draws.csv", "--json"]);
    assert_eq!(score(&judged, "energy distance")["reference_rows"], 100);
    assert_eq!(judged["log_p"][0]["rows"], 100);
    refused(at, 1, &["column"], &["evaluate", "run", "--data", "wine"]);
    refused(at, 2, &["--nearest"], &["evaluate", "run", "--nearest", "near.png"]);
    done(at, &["show", "run"]);
    assert!(content(&at.join("run/show")).contains_key("curves.png"));
}

#[test]
fn chains_on_one_target_compare_and_on_two_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    done(at, &training(BANANA, MALA, "a"));
    done(at, &training(BANANA, "chains.kernel={ name='random-walk', warm_up=100 }", "b"));
    done(at, &training("target=moons", MALA, "c"));
    let both = object(at, &["compare", "a", "b", "-n", "200", "--json", "-o", "both.html"]);
    let points = both["points"].as_array().unwrap();
    assert_eq!((points.len(), &both["part"]), (2, &Value::Null));
    let alone = object(at, &["evaluate", "b", "-n", "200", "--json"]);
    assert_eq!(points[1]["scores"], alone["scores"]);
    let text = done(at, &["compare", "a", "b", "-n", "200"]);
    assert!(text.contains("200 samples each, against exact draws of the target"), "{text}");
    refused(at, 1, &["c/run.json: target: another", "the target of a"], &["compare", "a", "c"]);
}

#[test]
fn chains_walk_on_a_flow_s_run_which_is_judged_by_all_its_test_rows() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let sets = ["data={ source='moons', n=3000 }", "training.steps=40", "flow.depth=2"];
    let sets = sets.into_iter().chain(["training.batch=64", "evaluation.samples=60"]);
    let sets = sets.flat_map(|set| ["--set", set]);
    done(at, &["train", "coupling", "--out", "flow"].into_iter().chain(sets).collect::<Vec<_>>());
    let judged = object(at, &["evaluate", "flow", "--metric", "logp", "--json"]);
    assert_eq!(judged["log_p"][0]["rows"], 400);
    let run = "target={ name='run', path='flow' }";
    let trained = object(at, &training(run, MALA, "run"));
    assert!(score(&trained, "sliced W2")["floor"].is_number());
    let ran = tweedie(at, &training("target={ name='run', path='flow', level=1.0 }", MALA, "no"));
    assert_eq!(ran.status, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("target.level: unknown key"), "{}", ran.stderr);
}
