//! What the commands print: results on stdout, progress and reasons on stderr, one JSON object with `--json`.

use crate::support::{
    coloured, copy_of, digits, done, numbers, program, refused, training, tweedie,
};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use tweedie::data::Source;
use tweedie::run::Recipe;

/// Runs a command with `--json`: stdout must hold one object in one line, stderr no progress.
fn object(folder: &Path, arguments: &[&str]) -> Value {
    let ran = tweedie(folder, &[arguments, &["--json"]].concat());
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout.matches('\n').count(), 1, "{}", ran.stdout);
    assert!(
        !ran.stderr.contains(['\r', '\x1b']) && !ran.stderr.contains("steps"),
        "{}",
        ran.stderr
    );
    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(value.is_object(), "{value}");
    value
}

#[test]
fn every_command_prints_one_json_object() {
    let folder = copy_of(numbers());
    let listed = object(folder.path(), &["list"]);
    assert!(listed["recipes"]["digits"].is_string() && listed["devices"]["cpu"].is_string());
    let folder_of_one = object(folder.path(), &["list", "solvers"]);
    assert_eq!(folder_of_one.as_object().unwrap().len(), 1);
    let sampled = object(folder.path(), &["sample", "run", "-n", "7", "-o", "out.npy"]);
    assert_eq!((&sampled["output"], &sampled["samples"]), (&"out.npy".into(), &7.into()));
    // Six steps, as the recipe says.
    assert_eq!(sampled["evaluations_per_sample"], 6.0);
    let judged = object(folder.path(), &["evaluate", "run", "-n", "30", "--rows", "5"]);
    assert!(judged["scores"].as_array().unwrap().len() > 5);
    let data = ["--data", "table.csv", "--label", "kind"];
    let mut arguments = training("table", &data);
    arguments[3] = "second";
    let trained = object(folder.path(), &arguments);
    assert_eq!(trained["run"], "second");
    for key in ["samples", "report"] {
        assert!(folder.path().join(trained[key].as_str().unwrap()).is_file());
    }
    assert!(trained["scores"].as_array().unwrap().iter().all(|s| s["value"].is_number()));
}

#[test]
fn without_json_stdout_holds_results_and_no_progress() {
    let folder = copy_of(numbers());
    let mut arguments = training("points", &["--set", "data.n=200"]);
    arguments[3] = "points";
    let printed = [
        done(folder.path(), &arguments),
        done(folder.path(), &["sample", "run", "-n", "5", "-o", "out.csv"]),
        done(folder.path(), &["evaluate", "run", "-n", "30", "--rows", "5"]),
    ];
    for text in &printed {
        assert!(!text.is_empty() && !text.contains(['\r', '\x1b', '█', '░']), "{text}");
    }
    assert!(printed[0].contains("energy distance") && printed[0].contains("points/report.html"));
    assert!(printed[1].starts_with("out.csv: 5 samples"));
    assert!(printed[2].contains("log p of 5 held-out rows") && printed[2].contains(" ± "));
}

#[test]
fn numbers_get_a_log_p_with_its_error_and_categories_the_reason_for_none() {
    let of = |folder: &Path| object(folder, &["evaluate", "run", "--metric", "logp"]);
    let judged = of(numbers());
    assert_eq!(judged["scores"], serde_json::json!([]));
    let log_p = &judged["log_p"][0];
    assert_eq!((&log_p["rows"], &log_p["unit"]), (&16.into(), &"nats".into()));
    // A length is a density: in raw units, and no bits per dimension.
    assert_eq!((&log_p["measure"], &log_p["bits_per_dimension"]), (&"raw".into(), &Value::Null));
    let value = |key: &str| log_p[key].as_f64().unwrap();
    assert!(value("mean").is_finite() && value("standard_error") > 0.0);
    let ran = tweedie(coloured(), &["evaluate", "run", "--metric", "logp"]);
    assert_eq!(ran.status, Some(0));
    assert!(ran.stderr.contains("no log p: column 'colour' is a category"), "{}", ran.stderr);
    assert_eq!(of(coloured())["log_p"], serde_json::json!([]));
    // Whole numbers in every column: a bound on probabilities, with bits per dimension.
    let judged =
        object(digits(), &["evaluate", "run", "--metric", "logp", "--rows", "3", "--probes", "1"]);
    let log_p = &judged["log_p"][0];
    assert_eq!((&log_p["measure"], &log_p["rows"]), (&"counting".into(), &3.into()));
    assert!(log_p["bits_per_dimension"].as_f64().unwrap() > 0.0);
    assert!(log_p["bits_per_dimension_error"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_file_is_judged_against_with_its_categories_and_classes_by_name() {
    let folder = copy_of(coloured());
    let text = std::fs::read_to_string(folder.path().join("table.csv")).unwrap();
    // Fewer categories and classes than the model's, so that their numbers differ.
    let kept = |line: &&str| !line.contains("dark blue") && !line.contains("elm");
    let some: String = text.lines().filter(kept).map(|line| format!("{line}\n")).collect();
    std::fs::write(folder.path().join("some.csv"), some).unwrap();
    for file in ["some.csv", "table.csv"] {
        let arguments = ["evaluate", "run", "--data", file, "--metric", "samples", "-n", "90"];
        let judged = object(folder.path(), &arguments);
        assert!(
            judged["scores"].as_array().unwrap().iter().any(|s| s["name"] == "label agreement")
        );
    }
}

#[test]
fn list_shows_every_shipped_recipe_and_each_of_them_can_be_read() {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(recipes).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let recipe =
            Recipe::parse(&text, &[]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(!recipe.about.is_empty());
        names.push((path.file_stem().unwrap().to_string_lossy().into_owned(), recipe.about));
    }
    names.sort();
    let listed = object(Path::new("."), &["list", "recipes"]);
    let listed: Vec<(String, String)> = listed["recipes"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, about)| (name.clone(), about.as_str().unwrap().to_string()))
        .collect();
    assert_eq!(listed, names);
    let text = done(Path::new("."), &["list"]);
    for (name, about) in &names {
        assert!(text.contains(name.as_str()) && text.contains(about.as_str()));
    }
    for (name, _) in tweedie::data::list() {
        assert!(text.contains(name));
        if let Err(error) = Source::named(name).load() {
            let missing = ["mnist", "fashion", "cifar10"].contains(&name);
            assert!(missing && error.to_string().contains("--data FOLDER"), "{error}");
        }
    }
}

/// A run on a chain is sampled by its grid, its clipping and its last step.
#[test]
fn a_chain_is_sampled_as_its_recipe_says() {
    let folder = tempfile::tempdir().unwrap();
    let sets = [
        "schedule={name='chain',steps=50,zero_terminal_snr=true,betas='scaled_linear'}",
        "objective.levels.distribution=indices",
        "sampling.grid=trailing",
        "sampling.solver={name='ancestral',variance='large'}",
        "sampling.clip.range=0.25",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
    done(folder.path(), &training("points", &[&["--set", "data.n=200"], &sets[..]].concat()));
    let run = tweedie::run::Run::open(&folder.path().join("run")).unwrap();
    let sample = |more: &[&str]| {
        let options = ["sample", "run", "-n", "50", "-o", "out.npy"];
        let found = object(folder.path(), &[&options[..], more].concat());
        let (_, rows) = tweedie::data::npy::read(folder.path().join("out.npy")).unwrap();
        (found["evaluations_per_sample"].as_f64().unwrap(), run.info.space.encode(&rows).unwrap())
    };
    let (evaluations, rows) = sample(&[]);
    assert_eq!(evaluations, 6.0);
    // The last step gives the clipped data themselves.
    assert!(rows.values().iter().all(|v| v.abs() < 0.2501), "{rows:?}");
    assert_eq!(sample(&["--grid", "linspace", "--steps", "50", "--solver", "ddim"]).0, 50.0);
    // The measured variance is another than the recipe's, and costs the sampler nothing.
    let (evaluations, measured) = sample(&["--analytic-variance"]);
    assert!(
        evaluations == 6.0 && measured != rows && measured == sample(&["--analytic-variance"]).1
    );
    // Of n + 1 indices the cleanest is left out, the last of 50 steps cannot be.
    assert_eq!(sample(&["--grid", "linspace, open = true", "--steps", "7"]).0, 7.0);
    let more = ["--grid", "linspace, open = true", "--steps", "50"];
    let ran = tweedie(folder.path(), &[&["sample", "run", "-o", "out.npy"][..], &more].concat());
    assert!(ran.stderr.contains("--steps: 50; expected at most 49"), "{}", ran.stderr);
    let ran = tweedie(folder.path(), &["sample", "run", "-o", "out.npy", "--steps", "51"]);
    assert!(ran.stderr.contains("--steps: 51; expected at most 50"), "{}", ran.stderr);
    let moons = copy_of(numbers());
    let ran = tweedie(moons.path(), &["sample", "run", "-o", "out.npy", "--grid", "leading"]);
    assert!(ran.stderr.contains("--grid: indices of a chain"), "{}", ran.stderr);
}

#[test]
fn help_is_there_for_every_command() {
    for command in
        [&[][..], &["list"], &["train"], &["sample"], &["evaluate"], &["show"], &["bench"]]
    {
        let text = done(Path::new("."), &[command, &["--help"]].concat());
        assert!(text.contains("Usage: tweedie") && text.contains("--json"), "{text}");
    }
    assert!(done(Path::new("."), &["--version"]).starts_with("tweedie "));
    let ran = tweedie(Path::new("."), &[] as &[&str]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("Usage: tweedie"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = program(Path::new("."))
        .arg("list")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

#[test]
fn a_run_records_its_recipe_and_its_data_by_hash() {
    let text = std::fs::read_to_string(numbers().join("run/run.json")).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(recorded["version"], 2);
    assert_eq!(recorded["recipe"]["training"]["steps"], 60);
    assert_eq!(recorded["recipe"]["training"]["checkpoint_seconds"], 2.0);
    let path = numbers().join("table.csv").to_string_lossy().into_owned();
    let data = Source { label: Some("kind".into()), ..Source::named(path) }.load().unwrap();
    for (name, split, rows) in [("train", &data.train, 96), ("held_out", &data.held_out, 24)] {
        assert_eq!((&recorded[name]["rows"], split.len()), (&rows.into(), rows));
        assert_eq!(recorded[name]["hash"], split.hash().as_str());
    }
    assert_ne!(recorded["train"]["hash"], recorded["held_out"]["hash"]);
    let space: tweedie::data::Space = serde_json::from_value(recorded["space"].clone()).unwrap();
    assert_eq!(space, data.space);
}

/// The reverse SDE's bound, which more paths raise, and the variational one; pictures of 17 grey levels have them in
/// bits, too.
#[test]
fn evaluate_gives_bounds_of_the_reverse_sde() {
    let log_p = |more: &[&str]| -> Value {
        let fixed = ["evaluate", "run", "--metric", "logp", "--rows", "40", "--json"];
        let text = done(digits(), &[&fixed, more].concat());
        serde_json::from_str::<Value>(&text).unwrap()["log_p"][0].clone()
    };
    let mean = |p: &Value| p["mean"].as_f64().unwrap();
    let one = log_p(&["--density", "sde"]);
    let eight = log_p(&["--density", "sde", "--paths", "8"]);
    assert_eq!(one["kind"], "lower-bound");
    assert!(one["bits_per_dimension"].as_f64().unwrap() > 0.0);
    assert!(mean(&eight) > mean(&one), "{} {}", mean(&eight), mean(&one));
    let bound = log_p(&["--density", "elbo"]);
    assert_eq!(bound["kind"], "lower-bound");
    assert!(bound["bits_per_dimension"].as_f64().unwrap() > 0.0);
    let wrong = ["evaluate", "run", "--density", "elbo", "--probes", "0"];
    refused(digits(), 2, &["--probes", "a number"], &wrong);
    refused(digits(), 2, &["--density", "ode"], &["evaluate", "run", "--density", "pde"]);
    refused(digits(), 2, &["--paths", "from 1"], &["evaluate", "run", "--paths", "0"]);
}

/// The same rows by every density and every way to treat integers, in one table.
#[test]
fn evaluate_judges_the_same_rows_by_every_density() {
    let fixed = ["evaluate", "run", "--metric", "logp", "--rows", "40", "--seed", "3"];
    let all = ["--density", "all", "--dequantise", "all", "--paths", "4", "--probes", "16"];
    let arguments = [&fixed[..], &all, &["--dequantise-steps", "60"]].concat();
    let judged = object(digits(), &arguments);
    let lines = judged["log_p"].as_array().unwrap();
    let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_string();
    let names: Vec<[String; 4]> = lines
        .iter()
        .map(|line| ["density", "integers", "kind", "measure"].map(|key| word(line, key)))
        .collect();
    let expected = [
        ["ode", "uniform", "estimate"],
        ["ode", "variational", "estimate"],
        ["sde", "uniform", "lower-bound"],
        ["sde", "variational", "lower-bound"],
        ["elbo", "decoder", "lower-bound"],
        ["elbo", "network-decoder", "lower-bound"],
        ["elbo", "uniform", "lower-bound"],
        ["elbo", "variational", "lower-bound"],
    ];
    assert_eq!(names.len(), expected.len());
    for (found, expected) in names.iter().zip(expected) {
        assert_eq!(found[..3], expected);
        assert_eq!(found[3], "counting");
    }
    let number = |line: &Value, key: &str| line[key].as_f64().unwrap();
    for line in lines {
        assert_eq!(line["rows"], 40);
        // 64 columns.
        let nats = number(line, "bits_per_dimension") * -64.0 * std::f64::consts::LN_2;
        assert!((nats - number(line, "mean")).abs() < 1e-9 * nats.abs());
        let error = number(line, "bits_per_dimension_error") * 64.0 * std::f64::consts::LN_2;
        assert!((error - number(line, "standard_error")).abs() < 1e-9 * error && error > 0.0);
    }
    let of = |density: &str, integers: &str| {
        let at = names.iter().position(|n| n[0] == density && n[1] == integers).unwrap();
        (number(&lines[at], "mean"), number(&lines[at], "standard_error"))
    };
    // The bound of the reverse SDE's log p is below what weighted paths give; errors are the spread between rows.
    for way in ["uniform", "variational"] {
        let ((elbo, e), (sde, f)) = (of("elbo", way), of("sde", way));
        assert!(elbo < sde + 5.0 * e.hypot(f), "{way}: {elbo} ± {e}, {sde} ± {f}");
    }
    // The same dequantisation each time, whatever else is asked for: one line alone is that line.
    let alone = [&fixed[..], &["--density", "sde", "--paths", "4"]].concat();
    assert_eq!(object(digits(), &alone)["log_p"][0], lines[2]);
    let again = ["--density", "elbo", "--dequantise", "variational", "--dequantise-steps", "60"];
    let again = [&fixed[..], &again, &["--probes", "16"]].concat();
    assert_eq!(object(digits(), &again)["log_p"][0], lines[7]);
    // More levels tend to continuous time.
    let levels = |levels: &str| {
        let more = ["--density", "elbo", "--levels", levels, "--probes", "200"];
        let found = object(digits(), &[&fixed[..], &more].concat())["log_p"][0].clone();
        (word(&found, "how"), number(&found, "mean"))
    };
    let (few, many, limit) = (levels("8"), levels("2000"), levels("continuous"));
    assert_eq!((&*few.0, &*limit.0), ("200 draws of 8 levels", "200 draws, continuous time"));
    assert!(few.1 < many.1 && (many.1 - limit.1).abs() < 0.1 * (limit.1 - few.1));
    let table = done(digits(), &[&fixed[..], &["--density", "ode", "--density", "elbo"]].concat());
    assert!(table.contains("log p of 40 held-out rows, probabilities of integers"), "{table}");
    assert_eq!(table.lines().filter(|line| line.contains(" ± ")).count(), 2, "{table}");
    assert!(!table.contains("decoder") && !table.contains("KL("), "{table}");
}

#[test]
fn a_model_of_integers_as_they_are_is_judged_by_the_bound_that_it_learnt() {
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &training("digits", &["--set", "training.dequantise=false"]));
    let fixed = ["evaluate", "run", "--metric", "logp", "--rows", "5"];
    let judged =
        |more: &[&str]| object(folder.path(), &[&fixed[..], more].concat())["log_p"].clone();
    let own = judged(&[]);
    assert_eq!(
        (&own[0]["density"], &own[0]["integers"]),
        (&serde_json::json!("elbo"), &serde_json::json!("decoder"))
    );
    assert_eq!(own, judged(&["--density", "elbo", "--dequantise", "decoder"]));
}

#[test]
fn a_chain_s_bound_is_that_of_its_own_steps() {
    let folder = tempfile::tempdir().unwrap();
    let chain = "schedule={ name = \"chain\", steps = 50 }";
    done(folder.path(), &training("digits", &["--set", chain, "--set", "model.prediction=v"]));
    let of = |more: &[&str]| {
        let fixed = ["evaluate", "run", "--metric", "logp", "--rows", "5", "--density", "elbo"];
        object(folder.path(), &[&fixed[..], more].concat())["log_p"][0].clone()
    };
    let own = of(&[]);
    assert_eq!(own["how"], "64 draws of 50 levels");
    assert_eq!(own, of(&["--levels", "50"]));
    assert_eq!(of(&["--levels", "continuous"])["how"], "64 draws, continuous time");
}

#[test]
fn ways_to_judge_that_there_are_not_are_refused() {
    let cases: &[(&Path, &[&str], &[&str])] = &[
        (digits(), &["--density: pde", "or all"], &["--density", "ode", "--density", "pde"]),
        (digits(), &["--levels: 1;", "from 2"], &["--density", "elbo", "--levels", "1"]),
        (digits(), &["--levels", "--density elbo"], &["--levels", "10"]),
        (digits(), &["--dequantise: normal", "one of decoder"], &["--dequantise", "normal"]),
        (digits(), &["--dequantise: decoder with ode"], &["--dequantise", "decoder"]),
        (digits(), &["network-decoder with ode", "elbo"], &["--dequantise", "network-decoder"]),
        (digits(), &["--dequantise-steps", "variational"], &["--dequantise-steps", "10"]),
        (
            digits(),
            &["--dequantise-steps: 0", "from 1"],
            &["--dequantise", "variational", "--dequantise-steps", "0"],
        ),
    ];
    for (folder, words, more) in cases {
        refused(folder, 2, words, &[&["evaluate", "run"], *more].concat());
    }
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &training("points", &[]));
    let words = ["--dequantise: uniform with ode", "a run on integers"];
    refused(folder.path(), 2, &words, &["evaluate", "run", "--dequantise", "uniform"]);
    // A toy's density is known, so the table has its divergence.
    let judged = ["evaluate", "run", "--metric", "logp", "--rows", "20"];
    assert!(done(folder.path(), &judged).contains("KL(data ‖ model)"));
}
