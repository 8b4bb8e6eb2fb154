//! Training that is stopped by a signal, kept from a second writer, or diverges.

use crate::support::{
    TINY, content, copy_of, digits, done, failed, numbers, object, program, table, tweedie,
};
use std::fs::{remove_file, write};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// Starts a command, which is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn started(folder: &Path, arguments: &[&str]) -> Running {
    let mut command = program(folder);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running(command.spawn().unwrap())
}

/// When the last checkpoint of a run was written.
fn written(run: &Path) -> Option<SystemTime> {
    std::fs::metadata(run.join("checkpoint.safetensors")).and_then(|found| found.modified()).ok()
}

/// Starts a command that trains a run, and waits until it has written a checkpoint.
fn training(folder: &Path, run: &str, arguments: &[&str]) -> Running {
    let (run, start) = (folder.join(run), Instant::now());
    let before = written(&run);
    let running = started(folder, arguments);
    while written(&run) == before {
        assert!(start.elapsed() < Duration::from_secs(60), "no checkpoint for a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
    running
}

/// Sends a signal, waits for the end, and gives the exit status and what was printed on stderr.
fn signalled(mut running: Running, signal: &str) -> (Option<i32>, String) {
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    let mut text = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (running.0.wait().unwrap().code(), text)
}

/// Training on a table, long enough to be stopped.
fn long(more: &[&'static str]) -> Vec<&'static str> {
    let mut all =
        vec!["train", "table", "--data", "table.csv", "--label", "kind", "--out", "my run"];
    all.extend(TINY);
    for item in ["training.steps=3000", "training.checkpoint_seconds=0", "training.log_every=7"] {
        all.extend(["--set", item]);
    }
    all.extend(more);
    all
}

#[cfg(unix)]
#[test]
fn a_signal_stops_training_with_a_checkpoint_from_which_the_same_run_goes_on() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for folder in &folders {
        write(folder.path().join("table.csv"), table(120, false)).unwrap();
    }
    let [whole, broken] = [0, 1].map(|k| folders[k].path());
    done(whole, &long(&[]));
    for (k, (signal, status)) in [("-TERM", 143), ("-INT", 130), ("-TERM", 143)].iter().enumerate()
    {
        let resume = ["train", "table", "--resume", "--out", "my run"];
        let running = match k {
            0 => training(broken, "my run", &long(&[])),
            _ => training(broken, "my run", &resume),
        };
        let (found, text) = signalled(running, signal);
        // A machine may be so fast that the run is over.
        if found != Some(0) {
            assert_eq!(found, Some(*status), "{text}");
            let line = text.lines().last().unwrap();
            assert_eq!(line, "tweedie train table --resume --out 'my run'", "{text}");
            let sampled = object(broken, &["sample", "my run", "-n", "4"]);
            assert!((1..3000).contains(&sampled["step"].as_u64().unwrap()), "{sampled}");
            remove_file(broken.join("my run/samples.csv")).unwrap();
        }
        if k == 0 {
            assert_eq!(found, Some(143), "the run ended before the first signal: {text}");
        }
    }
    done(broken, &["train", "table", "--resume", "--out", "my run"]);
    let [mut whole, mut broken] = [whole, broken].map(content);
    for files in [&mut whole, &mut broken] {
        // The one holds times, the other the folder's path.
        for file in ["events.out.tfevents.tweedie", "run.json"] {
            assert!(files.remove(&format!("my run/{file}")).is_some());
        }
    }
    assert_eq!(whole.keys().collect::<Vec<_>>(), broken.keys().collect::<Vec<_>>());
    for (name, bytes) in &whole {
        assert!(broken[name] == *bytes, "{name} differs");
    }
}

#[test]
fn a_second_writer_is_refused_and_a_file_left_by_a_killed_one_locks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at.join("table.csv"), table(120, false)).unwrap();
    let running = training(at, "my run", &long(&["--set", "training.steps=100000"]));
    let resume = ["train", "table", "--resume", "--out", "my run"];
    let second = tweedie(at, &resume);
    assert_eq!(second.status, Some(2), "{}", second.stderr);
    assert!(second.stderr.contains("my run is being trained by another process"));
    // Others may read it.
    let sampled = tweedie(at, &["sample", "my run", "-n", "3", "-o", "x.csv"]);
    assert_eq!(sampled.status, Some(0), "{}", sampled.stderr);
    assert!(sampled.stderr.contains("training has not finished"), "{}", sampled.stderr);
    assert!(sampled.stderr.contains("of 100000"), "{}", sampled.stderr);
    drop(running);
    assert!(at.join("my run/.lock").exists());
    let third = training(at, "my run", &resume);
    let (status, text) = signalled(third, "-TERM");
    assert_eq!(status, Some(143), "{text}");
}

#[test]
fn a_run_in_training_is_evaluated_and_compared_by_its_checkpoint() {
    let folder = copy_of(numbers());
    let at = folder.path();
    remove_file(at.join("run/model.safetensors")).unwrap();
    let judged = object(at, &["evaluate", "run", "--metric", "samples", "-n", "40"]);
    assert_eq!(judged["step"], 60);
    let compared = object(at, &["compare", "run", "--steps", "4", "-n", "40", "--log-p-rows", "0"]);
    assert_eq!(compared["runs"][0]["step"], 60);
    // A run that goes on beyond its end has weights older than its checkpoint, but this one has all its steps.
    let finished = copy_of(digits());
    let path = finished.path().join("run/checkpoint.safetensors");
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(60)).unwrap();
    let sampled = object(finished.path(), &["sample", "run", "-n", "4"]);
    assert!(sampled.get("step").is_none(), "{sampled}");
}

#[test]
fn a_divergence_names_the_learning_rate_and_the_checkpoint_that_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    // Weights grow a thousandfold at every step.
    let growing =
        ["training.learning_rate=1", "training.adamw.weight_decay=1e3", "training.warmup=1"];
    let often = ["training.log_every=1", "training.checkpoint_seconds=0", "data.n=64"];
    let mut train = vec!["train", "points", "--out", "run"];
    growing.iter().chain(&often).for_each(|key| train.extend(["--set", *key]));
    let words = [
        "at step",
        "lower training.learning_rate",
        "1.0 in this run",
        "kept in run/checkpoint.safetensors",
    ];
    failed(folder.path(), 1, &words, &train);
}

#[test]
fn without_a_terminal_training_ends_with_a_line_of_progress() {
    let folder = tempfile::tempdir().unwrap();
    let train = [&["train", "points", "--out", "run", "--set", "data.n=200"], &TINY[..]].concat();
    let ran = tweedie(folder.path(), &train);
    let line = ran.stderr.lines().find(|line| line.starts_with("training: 60 of 60 steps, loss "));
    assert!(line.is_some_and(|line| line.ends_with(" s")), "{}", ran.stderr);
}

#[test]
fn of_runs_started_at_once_in_one_folder_one_is_trained() {
    let here = tempfile::tempdir().unwrap();
    write(here.path().join("table.csv"), table(120, false)).unwrap();
    let arguments = long(&["--set", "training.steps=5"]);
    let all: Vec<Running> = (0..6).map(|_| started(here.path(), &arguments)).collect();
    let mut trained = 0;
    for mut running in all {
        let mut text = String::new();
        running.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        match running.0.wait().unwrap().code() {
            Some(0) => trained += 1,
            Some(2) => assert!(text.contains("my run holds a run already"), "{text}"),
            other => panic!("{other:?}: {text}"),
        }
    }
    assert_eq!(trained, 1);
    assert!(here.path().join("my run/report.html").exists());
}
