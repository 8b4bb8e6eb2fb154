//! What newcomers type, and the way on that the program names.

use crate::support::{done, failed, training, tweedie};
use std::fs::{create_dir, write};
use std::path::Path;

/// Runs a command that fails with words.
fn told(folder: &Path, status: i32, words: &[&str], line: &str) {
    failed(folder, status, words, &line.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn data_where_a_recipe_is_expected_name_the_command_that_trains_on_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at.join("prices.csv"), "a,b\n1,2\n").unwrap();
    create_dir(at.join("photos")).unwrap();
    create_dir(at.join("digits files")).unwrap();
    write(at.join("digits files/train-images-idx3-ubyte.gz"), "").unwrap();
    create_dir(at.join("old")).unwrap();
    write(at.join("old/run.json"), "{}").unwrap();
    for (given, command) in [
        ("prices.csv", "`tweedie train table --data prices.csv`"),
        ("PRICES.CSV", "`tweedie train table --data PRICES.CSV`"),
        ("photos", "`tweedie train emoji --data photos`"),
        ("photos/", "`tweedie train emoji --data photos/`"),
        ("digits files", "`tweedie train mnist --data 'digits files'`"),
        ("photos/a.jpg", "`tweedie train emoji --data photos`"),
        ("moons", "`tweedie train points --data moons`"),
        ("wine", "`tweedie train table --data wine`"),
        ("old", "`tweedie train --resume --out old`"),
    ] {
        failed(at, 2, &["recipe: ", command], &["train", given]);
    }
    told(at, 2, &["`digits` perhaps"], "train digist");
    told(at, 2, &["recipe: missing", "digits, emoji", ".toml"], "train");
}

#[test]
fn keys_given_as_options_name_the_key_to_set() {
    let at = tempfile::tempdir().unwrap();
    for (line, words) in [
        ("train digits --steps 5", "`--set training.steps=5`"),
        ("train digits --steps=5 --seed 1", "`--set training.steps=5`"),
        ("train digits --lr 1e-3", "`--set training.learning_rate=1e-3`"),
        ("train --learning-rate 0.01 digits", "`--set training.learning_rate=0.01`"),
        ("train digits --batch-size 64", "`--set training.batch=64`"),
        ("train points --hidden 8", "`--set network.hidden=8`"),
        ("train digits --dropout 0.2", "`--set network.dropout=0.2`"),
        ("sample runs/digits --num-samples 4", "`-n 4`"),
        ("train digits --epochs 5", "there are no epochs; expected `--set training.steps=N`"),
    ] {
        told(at.path(), 2, &[words], line);
    }
    // An option that is nearly one of the command's stays the guess.
    let ran = tweedie(at.path(), &["train", "digits", "--sed", "5"]);
    assert!(ran.stderr.contains("--seed"), "{}", ran.stderr);
    // Only a recipe has such keys.
    let ran = tweedie(at.path(), &["list", "--steps", "5"]);
    assert!(!ran.stderr.contains("--set"), "{}", ran.stderr);
}

#[test]
fn where_there_is_no_run_those_that_there_are_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    told(at, 1, &["digits/run.json", "there are no runs under runs/"], "sample digits -o a.npy");
    let mut train = training("points", &["--set", "data.n=200", "--set", "training.steps=20"]);
    let out = train.iter().position(|word| *word == "run").unwrap();
    train[out] = "runs/points";
    done(at, &train);
    told(at, 1, &["digits/run.json: No such file", "runs/points"], "sample digits");
    for command in ["sample", "evaluate", "show", "compare", "export"] {
        told(at, 1, &["points/run.json", "runs/points is a run"], &format!("{command} points"));
    }
}

#[test]
fn a_gpu_without_a_back_end_names_the_features_that_add_one() {
    let at = tempfile::tempdir().unwrap();
    if cfg!(any(
        feature = "cuda",
        feature = "metal",
        feature = "rocm",
        feature = "vulkan",
        feature = "wgpu"
    )) {
        return;
    }
    for name in ["gpu", "GPU", "cuda:0", "mps"] {
        told(
            at.path(),
            1,
            &["GPU back end", "--features vulkan", "cuda"],
            &format!("list --device {name}"),
        );
    }
    told(at.path(), 2, &["--device: cqu", "`cpu` perhaps"], "list --device cqu");
}

#[test]
fn shells_complete_commands_and_options() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = done(Path::new("."), &["completions", shell]);
        for word in ["evaluate", "reproduce", "resume", "guidance"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn a_number_is_no_misspelt_name() {
    let folder = crate::support::copy_of(crate::support::digits());
    let ran = tweedie(folder.path(), &["sample", "run", "--label", "10", "-o", "x.npy"]);
    assert_eq!(ran.status, Some(2));
    assert!(!ran.stderr.contains("perhaps"), "{}", ran.stderr);
}
