//! Runs that need other runs: a weaker model that guides, and a target of chains.

use crate::support::{copy_of, digits, done, numbers, refused, training, tweedie};
use serde_json::Value;
use std::path::Path;
use tweedie::data::{Rows, npy};

/// Samples eight rows by more options.
fn sampled(folder: &Path, more: &[&str]) -> Rows {
    done(folder, &[&["sample", "run", "-n", "8", "-o", "out.npy"], more].concat());
    npy::read(folder.join("out.npy")).unwrap().1
}

fn largest_difference(a: &Rows, b: &Rows) -> f32 {
    a.values().iter().zip(b.values()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn a_model_guided_by_itself_is_itself_and_by_earlier_weights_another() {
    let folder = tempfile::tempdir().unwrap();
    let keep = ["--data", "moons", "--label", "class", "--set", "training.keep_every=20"];
    done(folder.path(), &training("points", &keep));
    let kept = ["run/weights/step-000020.safetensors", "run/weights/step-000060.safetensors"];
    assert!(kept.iter().all(|file| folder.path().join(file).is_file()));
    let plain = sampled(folder.path(), &["--guidance", "1"]);
    for own in ["run", kept[1]] {
        let guided = sampled(folder.path(), &["--guidance", "3", "--weak", own]);
        assert!(largest_difference(&plain, &guided) < 1e-4, "{own}");
    }
    let early = sampled(folder.path(), &["--guidance", "3", "--weak", kept[0]]);
    assert!(largest_difference(&plain, &early) > 1e-2);
    let set = [
        "--set",
        "sampling.guidance=3",
        "--set",
        "sampling.weak=run/weights/step-000020.safetensors",
    ];
    assert_eq!(sampled(folder.path(), &set), early);
    let sample = ["sample", "run", "-o", "other.npy"];
    for (status, words, more) in [
        (2, "--weak: given without guidance", &["--weak", "run"][..]),
        (1, "absent", &["--weak", "absent", "--guidance", "2"]),
        (2, "--stepz: unknown key", &["--set", "sampling.stepz=3"]),
    ] {
        refused(folder.path(), status, &[words], &[&sample[..], more].concat());
    }
}

#[test]
fn guidance_without_a_condition_is_refused_and_of_a_recipe_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let sample = ["sample", "run", "-o", "out.npy", "--guidance", "2"];
    done(folder.path(), &training("points", &["--set", "sampling.guidance=2"]));
    refused(folder.path(), 2, &["--guidance: 2", "1, since the model has no classes"], &sample);
    done(folder.path(), &["sample", "run", "-n", "8", "-o", "out.npy"]);
    let evaluations = |words: &[&str]| {
        let ran = tweedie(folder.path(), words);
        let found: Value = serde_json::from_str(&ran.stdout).unwrap();
        found["evaluations_per_sample"].as_f64().unwrap()
    };
    let sample = ["sample", "run", "-n", "8", "-o", "out.npy", "--json"];
    let unguided = [&sample[..], &["--guidance", "1"]].concat();
    assert_eq!(evaluations(&sample), evaluations(&unguided));
    let folder = tempfile::tempdir().unwrap();
    let never = ["--data", "moons", "--label", "class", "--set", "objective.label_dropout=0"];
    done(folder.path(), &training("points", &never));
    let sample = ["sample", "run", "-o", "out.npy", "--guidance", "2"];
    refused(folder.path(), 2, &["objective.label_dropout was 0 in training"], &sample);
}

#[test]
fn training_starts_from_the_weights_of_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let sets = |more: &[&'static str]| -> Vec<&'static str> {
        let all = [
            "latent.width=2",
            "latent.encoder=[8]",
            "latent.decoder=[8]",
            "training.selection=last",
        ];
        let each = all.into_iter().chain(["evaluation.samples=50"]).chain(more.iter().copied());
        let head = ["train", "vae", "--data", "moons"];
        head.into_iter().chain(each.flat_map(|set| ["--set", set])).collect()
    };
    let run = |out: &'static str, more: &[&'static str]| [sets(more), vec!["--out", out]].concat();
    done(folder.path(), &run("first", &["training.steps=40"]));
    let still = ["training.steps=1", "training.learning_rate=1e-30", "training.ema=0"];
    done(folder.path(), &run("run", &[&still[..], &["start='first'"]].concat()));
    let own = sampled(folder.path(), &[]);
    let first = ["sample", "first", "-n", "8", "-o", "first.npy"];
    done(folder.path(), &first);
    assert_eq!(own, npy::read(folder.path().join("first.npy")).unwrap().1);
    // A finished run does not need the other one any more.
    std::fs::remove_dir_all(folder.path().join("first")).unwrap();
    assert_eq!(sampled(folder.path(), &[]), own);
    done(folder.path(), &["train", "kde", "--out", "kde", "--set", "data.n=200"]);
    for (status, words, more) in [
        (2, "a run of a latent-variable model", &["start='kde'"][..]),
        (1, "absent", &["start='absent'"]),
        (1, "encoder", &["start='run'", "latent.encoder=[9]"]),
    ] {
        refused(folder.path(), status, &[words], &run("again", more));
    }
}

#[test]
fn a_weaker_run_on_other_rows_or_of_another_family_is_refused() {
    let folder = copy_of(numbers());
    let others = tempfile::tempdir().unwrap();
    done(others.path(), &["train", "kde", "--out", "kde", "--set", "data.n=200"]);
    let kde = others.path().join("kde").display().to_string();
    let pictures = digits().join("run").display().to_string();
    for (words, weak) in [("a run of a diffusion model", kde), ("the same columns", pictures)] {
        let more = ["sample", "run", "-o", "out.npy", "--guidance", "2", "--weak", &weak];
        refused(folder.path(), 2, &[words], &more);
    }
}

#[test]
fn a_run_names_the_runs_that_it_needs_by_their_hash() {
    let folder = tempfile::tempdir().unwrap();
    let kde = |seed: &str| {
        let _ = std::fs::remove_dir_all(folder.path().join("kde"));
        let n = ["--set", "data.n=300", "--set", seed];
        done(folder.path(), &[&["train", "kde", "--out", "kde"], &n[..]].concat());
    };
    kde("data.seed=1");
    let target = "target={ name = 'run', path = 'kde' }";
    let short = ["--set", target, "--set", "training.steps=40", "--set", "chains.discard=10"];
    let quiet = ["--set", "training.sample_every=0", "--set", "evaluation.samples=64"];
    let train = [&["train", "mala", "--out", "run"], &short[..], &quiet].concat();
    done(folder.path(), &train);
    let text = std::fs::read_to_string(folder.path().join("run/run.json")).unwrap();
    let found: Value = serde_json::from_str(&text).unwrap();
    let hash = found["inputs"][0]["weights"].as_str().unwrap();
    assert_eq!((found["inputs"][0]["run"].as_str(), hash.len()), (Some("kde"), 32));
    let sample = ["sample", "run", "-n", "20", "-o", "out.npy"];
    done(folder.path(), &sample);
    kde("data.seed=2");
    refused(folder.path(), 1, &["kde", "changed since the run began"], &sample);
    kde("data.seed=1");
    done(folder.path(), &sample);
}
