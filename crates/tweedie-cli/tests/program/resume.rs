//! A run that is killed at any moment and resumed ends with the bytes of one that was not.

use crate::support::{TINY, content, done, program, table};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Times between a checkpoint and the kill, in milliseconds.
const MOMENTS: [u64; 5] = [0, 7, 40, 110, 200];

/// Starts or resumes a run on the table, with more options where it is started.
fn arguments(resume: bool, more: &[&'static str]) -> Vec<&'static str> {
    let mut arguments = vec!["train", "table", "--out", "run"];
    if resume {
        arguments.push("--resume");
        return arguments;
    }
    arguments.extend(["--data", "table.csv", "--label", "kind"]);
    arguments.extend(TINY);
    for item in
        ["training.steps=1200", "training.checkpoint_seconds=0", "training.sample_every=400"]
    {
        arguments.extend(["--set", item]);
    }
    arguments.extend(more);
    arguments
}

/// Starts or resumes the run and kills it so long after a checkpoint appears; whether it was still going.
fn kill(folder: &Path, resume: bool, more: &[&'static str], after: Duration) -> bool {
    let checkpoint = folder.join("run/checkpoint.safetensors");
    let written = || std::fs::metadata(&checkpoint).and_then(|m| m.modified()).ok();
    let before = written();
    let mut command = program(folder);
    let mut child = command
        .args(arguments(resume, more))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while written() == before && child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(60), "no checkpoint for a minute");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(after);
    let _ = child.kill();
    child.wait().unwrap().code().is_none()
}

#[test]
fn a_killed_and_resumed_run_equals_an_uninterrupted_one() {
    compare_with_an_uninterrupted_run(&[]);
}

/// A learned schedule has weights and means of its own.
#[test]
fn so_does_one_that_learns_its_schedule() {
    let learned = ["schedule={name='learned',units=8}", "objective.kind=bound"];
    compare_with_an_uninterrupted_run(&["--set", learned[0], "--set", learned[1]]);
}

fn compare_with_an_uninterrupted_run(more: &[&'static str]) {
    let [whole, broken] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for folder in [&whole, &broken] {
        std::fs::write(folder.path().join("table.csv"), table(120, false)).unwrap();
    }
    done(whole.path(), &arguments(false, more));
    let mut killed = 0;
    for (k, after) in MOMENTS.into_iter().enumerate() {
        killed += usize::from(kill(broken.path(), k > 0, more, Duration::from_millis(after)));
    }
    assert!(killed >= 3, "only {killed} of {} kills met a run still going", MOMENTS.len());
    // What a killed writer leaves does not stay.
    std::fs::write(broken.path().join("run/.tweedie-killed"), "half").unwrap();
    done(broken.path(), &arguments(true, more));
    let [mut whole, mut broken] = [whole, broken].map(|folder| content(folder.path()));
    // Its records hold the time.
    for files in [&mut whole, &mut broken] {
        assert!(files.remove("run/events.out.tfevents.tweedie").is_some());
    }
    assert_eq!(whole.keys().collect::<Vec<_>>(), broken.keys().collect::<Vec<_>>());
    for (name, bytes) in &whole {
        assert!(broken[name] == *bytes, "{name} differs");
    }
    assert_eq!(
        whole["run/curves.jsonl"].iter().filter(|b| **b == b'\n').count(),
        1200 / 5 + 1200 / 20
    );
}

#[test]
fn resuming_a_finished_run_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("table.csv"), table(120, false)).unwrap();
    let mut first = arguments(false, &[]);
    first.extend(["--set", "training.steps=40", "--set", "training.sample_every=0"]);
    done(folder.path(), &first);
    let before = content(folder.path());
    done(folder.path(), &arguments(true, &[]));
    assert!(before == content(folder.path()));
}
