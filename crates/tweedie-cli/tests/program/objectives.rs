//! Every objective that is listed trains, for a network and for an energy, and what it trained samples and has a
//! density.

use crate::support::{done, object, refused, table, training};
use serde_json::Value;
use std::path::Path;
use tweedie::family::diffusion::{Diffusion, DiffusionModel};
use tweedie::process::Schedule;
use tweedie::run::Run;

/// The values of a curve in a run's log.
fn curve(run: &Path, name: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(run.join("curves.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line.get(name).and_then(Value::as_f64)).collect()
}

#[test]
fn every_objective_trains_a_model_that_samples_and_has_a_density() {
    let listed = object(Path::new("."), &["list", "objectives"]);
    let names: Vec<&String> = listed["objectives"].as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 5);
    for name in names {
        for energy in ["model.energy=false", "model.energy=true"] {
            let kind = match name.as_str() {
                "likelihood" => "objective.kind={name='likelihood',steps=4}".to_string(),
                name => format!("objective.kind={name}"),
            };
            // At uniform t the bound's estimate would hide 90 steps' gain.
            let levels = match name.as_str() {
                "bound" => "objective.levels.distribution=log-snr",
                _ => "objective.levels.distribution=uniform",
            };
            let sets = [
                &kind,
                energy,
                levels,
                "data.n=4000",
                "training.steps=90",
                "training.held_out_every=30",
                "training.batch=128",
                "training.ema=0.9",
                "training.learning_rate=1e-3",
                "training.sample_every=0",
            ];
            let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
            let arguments = training("points", &sets);
            let folder = tempfile::tempdir().unwrap();
            if name == "likelihood" && energy == "model.energy=true" {
                refused(folder.path(), 2, &["objective.kind: likelihood", "energy"], &arguments);
                continue;
            }
            done(folder.path(), &arguments);
            let run = folder.path().join("run");
            let what = format!("{name}, {energy}");
            let recipe = Run::open(&run).unwrap().info.recipe;
            let kind =
                serde_json::to_value(&recipe.of::<Diffusion>().unwrap().objective.kind).unwrap();
            assert_eq!(kind["name"], name.as_str(), "{what}");
            assert_eq!(
                recipe.of::<Diffusion>().unwrap().model.energy,
                energy.ends_with("true"),
                "{what}"
            );
            // The held-out loss has the same noise each time: it shows the model alone.
            let held_out = curve(&run, "held_out/loss");
            assert!(held_out.len() == 3 && held_out[2] < held_out[0], "{what}: {held_out:?}");
            let found = object(
                folder.path(),
                &["evaluate", "run", "--rows", "40", "-n", "40", "--seed", "3"],
            );
            let log_p = found["log_p"][0]["mean"].as_f64().unwrap();
            // The entropy is 3.8 nats, and that of the Gaussian it starts from 5.4.
            assert!((-5.4..-3.7).contains(&log_p), "{what}: {log_p}");
        }
    }
}

#[test]
fn energies_take_conditions_and_slices_their_options() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("table.csv"), table(120, false)).unwrap();
    let more = [
        "--data",
        "table.csv",
        "--label",
        "kind",
        "--set",
        "model.energy=true",
        "--set",
        "objective.kind={name='sliced',slices=2,law='gaussian',variance_reduced=false,step=0.1}",
        "--set",
        "training.sample_every=0",
    ];
    done(folder.path(), &training("table", &more));
    let options = ["sample", "run", "-n", "20", "--label", "oak", "-o", "out.csv"];
    done(folder.path(), &options);
    let text = std::fs::read_to_string(folder.path().join("out.csv")).unwrap();
    assert_eq!(text.lines().count(), 21);
    let loss = curve(&folder.path().join("run"), "train/loss");
    assert!(loss.iter().all(|loss| loss.is_finite()) && loss.len() == 12, "{loss:?}");
}

#[test]
fn exact_divergences_of_pictures_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["objective.kind=implicit", "objective.kind=likelihood"] {
        let arguments = ["train", "emoji", "--out", "run", "--set", kind];
        refused(folder.path(), 2, &["objective.kind", "3072 columns", "`sliced`"], &arguments);
    }
}

#[test]
fn the_bound_refuses_what_does_not_belong_to_it() {
    let folder = tempfile::tempdir().unwrap();
    for (sets, words) in [
        (
            &["objective.kind=bound", "objective.weighting=noise"][..],
            ["objective.weighting", "bound"],
        ),
        (
            &["objective.kind=bound", "objective.levels.instead_of=log-snr"],
            ["objective.levels.instead_of", "bound"],
        ),
        (
            &["objective.kind=bound", "objective.levels.distribution={name='fixed',log_snr=1}"],
            ["objective.levels.distribution: fixed", "log-normal"],
        ),
        (
            &["objective.kind={name='bound',steps=9}", "objective.levels.distribution=log-snr"],
            ["objective.levels.distribution", "continuous"],
        ),
        (
            &[
                "objective.weighting=likelihood",
                "objective.levels.distribution={name='fixed',log_snr=1}",
            ],
            ["objective.levels.distribution: fixed", "log-normal"],
        ),
    ] {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
        refused(folder.path(), 2, &words, &training("points", &sets));
    }
    // In discrete time, and with weights of dλ, it trains.
    for set in ["objective.kind={name='bound',steps=50}", "objective.weighting={sigmoid={}}"] {
        let sets = ["--set", set, "--set", "training.steps=3", "--set", "data.n=500"];
        let folder = tempfile::tempdir().unwrap();
        done(folder.path(), &training("points", &sets));
    }
}

/// A run that learns its schedule samples and is drawn with the schedule that it learnt, which keeps its ends; what
/// needs a fixed one is refused.
#[test]
fn a_schedule_is_learnt_beside_the_network() {
    let sets = |more: &[&'static str]| {
        let sets = ["schedule={name='learned',units=8,lambda_min=-6}", "objective.kind=bound"];
        let all: Vec<&str> = sets.iter().chain(more).flat_map(|set| ["--set", *set]).collect();
        all
    };
    let folder = tempfile::tempdir().unwrap();
    for (more, words) in [
        ("objective.kind=denoising", ["objective.kind", "bound"]),
        ("objective.kind={name='bound',steps=9}", ["objective.kind", "continuous"]),
        ("objective.levels.distribution=log-snr", ["objective.levels.distribution", "uniform"]),
        ("model.clock=index", ["model.clock", "log-snr"]),
        ("model.prediction=velocity", ["model.prediction", "rates"]),
        ("model.energy=true", ["model.energy", "false"]),
        ("schedule.units=0", ["schedule.units", "from 1"]),
        ("schedule.lambda_min=99", ["schedule.lambda_max", "within"]),
        ("schedule.learning_rate=0", ["schedule.learning_rate", "from 1e-30"]),
        ("training.dequantise=false", ["training.dequantise", "integers"]),
    ] {
        let sets = sets(&[more]);
        refused(folder.path(), 2, &words, &training("points", &sets));
    }
    let more =
        ["data.n=2000", "training.steps=150", "training.batch=128", "sampling.grid.name=time"];
    let sets = sets(&more);
    done(folder.path(), &training("points", &sets));
    let run = Run::open(&folder.path().join("run")).unwrap();
    let model = run.model_as::<DiffusionModel>(&tweedie::burn::tensor::Device::flex()).unwrap();
    let (learnt, linear) = (&model.schedule, &model.recipe.schedule);
    for t in [0.0, 1.0] {
        assert!((learnt.level(t).lambda - linear.level(t).lambda).abs() < 1e-9);
    }
    let moved = (learnt.level(0.5).lambda - linear.level(0.5).lambda).abs();
    assert!(moved > 0.05, "{moved}");
    // Samples are drawn at its levels: equal steps of its time.
    let levels = model.sampler().unwrap().levels().unwrap();
    let middle = &levels[levels.len() / 2];
    assert!((middle.lambda - learnt.level(middle.t).lambda).abs() < 1e-9);
    let elbo = object(folder.path(), &["evaluate", "run", "--density", "elbo", "--rows", "40"]);
    assert!(elbo["log_p"][0]["mean"].as_f64().unwrap() < 0.0);
    done(folder.path(), &["show", "run"]);
}

/// Options beside an objective train, go on after a stop, and are refused where they do not belong.
#[test]
fn adaptive_levels_and_the_martingale_go_with_objectives() {
    let sets = |all: &[&'static str]| -> Vec<&'static str> {
        all.iter().flat_map(|set| ["--set", *set]).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    for (all, words) in [
        (&["objective.adaptive={bins=0}"][..], ["objective.adaptive.bins: 0", "from 1"]),
        (&["objective.adaptive={decay=1.0}"], ["objective.adaptive.decay: 1.0", "below 1"]),
        (&["objective.adaptive={}", "objective.kind=bound"], ["objective.kind", "denoising"]),
        (
            &["objective.adaptive={}", "objective.levels.distribution={name='fixed',log_snr=1}"],
            ["objective.levels.distribution: fixed", "log-normal"],
        ),
        (&["objective.martingale={span=0.0}"], ["objective.martingale.span: 0.0", "above 0"]),
        (&["objective.martingale={steps=0}"], ["objective.martingale.steps: 0", "from 1"]),
        (&["objective.martingale={weight=-1.0}"], ["objective.martingale.weight", "from 0"]),
        (&["objective.martingale={weihgt=1.0}"], ["weihgt", "weight"]),
        (&["objective.martingale={}", "model.energy=true"], ["model.energy", "martingale"]),
        (
            &["objective.martingale={}", "schedule=learned", "objective.kind=bound"],
            ["objective.martingale", "learned schedule"],
        ),
    ] {
        refused(folder.path(), 2, &words, &training("points", &sets(all)));
    }
    let common = ["training.steps=40", "data.n=2000", "training.batch=64"];
    for more in [
        &["objective.adaptive={bins=8,decay=0.9}"][..],
        &["objective.adaptive={}", "objective.kind=sliced", "model.energy=true"],
        &["objective.martingale={weight=0.5}", "objective.kind=bound"],
        &["objective.martingale={}", "objective.adaptive={}", "schedule.name=edm"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        done(folder.path(), &training("points", &sets(&[&common[..], more].concat())));
        let loss = curve(&folder.path().join("run"), "train/loss");
        assert!(loss.iter().all(|loss| loss.is_finite()), "{more:?}: {loss:?}");
        done(folder.path(), &["sample", "run", "-n", "8", "-o", "out.csv"]);
    }
}
