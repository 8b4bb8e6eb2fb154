//! A run that is killed at any moment and resumed ends with the bytes of one that was not.

use crate::support::{TINY, content, done, program, table};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tweedie::family::{FAMILIES, Opener};
use tweedie::run::Recipe;

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

/// Starts or resumes a run and kills it so long after a checkpoint appears; whether it was still going.
fn kill(folder: &Path, arguments: &[&str], after: Duration) -> bool {
    let checkpoint = folder.join("run/checkpoint.safetensors");
    let written = || std::fs::metadata(&checkpoint).and_then(|m| m.modified()).ok();
    let before = written();
    let mut command = program(folder);
    let mut child =
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
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
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for folder in &folders {
        std::fs::write(folder.path().join("table.csv"), table(120, false)).unwrap();
    }
    let [whole, broken] = [0, 1].map(|k| folders[k].path());
    let (start, resume) = (arguments(false, more), arguments(true, more));
    survives(whole, broken, [&start, &resume], (&MOMENTS, 3));
    let curves = std::fs::read_to_string(whole.join("run/curves.jsonl")).unwrap();
    assert_eq!(curves.lines().count(), 1200 / 5 + 1200 / 20);
}

/// Trains in `whole` without a stop, and in `broken` with a SIGKILL at each of `moments`, in milliseconds after a
/// checkpoint, and a resumption after each. Both runs must end with the same bytes, and at least `least` kills must
/// come before the end of training.
fn survives(
    whole: &Path,
    broken: &Path,
    [start, resume]: [&[&str]; 2],
    (moments, least): (&[u64], usize),
) {
    done(whole, start);
    let mut killed = 0;
    for (k, after) in moments.iter().enumerate() {
        let arguments = if k == 0 { start } else { resume };
        killed += usize::from(kill(broken, arguments, Duration::from_millis(*after)));
    }
    let all = moments.len();
    assert!(killed >= least, "{start:?}: only {killed} of {all} kills met a run still going");
    // What a killed writer leaves does not stay.
    std::fs::write(broken.join("run/.tweedie-killed"), "half").unwrap();
    done(broken, resume);
    let [mut whole, mut broken] = [whole, broken].map(|folder| {
        let mut files = content(folder);
        // It names the folder of the data.
        if let Some(run) = files.get_mut("run/run.json") {
            let folder = folder.display().to_string();
            *run = String::from_utf8_lossy(run).replace(&folder, "").into_bytes();
        }
        files
    });
    // Its records hold the time.
    for files in [&mut whole, &mut broken] {
        assert!(files.remove("run/events.out.tfevents.tweedie").is_some());
    }
    assert_eq!(whole.keys().collect::<Vec<_>>(), broken.keys().collect::<Vec<_>>(), "{start:?}");
    for (name, bytes) in &whole {
        assert!(broken[name] == *bytes, "{start:?}: {name} differs");
    }
}

/// What makes families quick whose defaults are not, or gives them rows in the plane.
const QUICK: [(&str, &[&str]); 3] = [
    (
        "diffusion",
        &["network.name=mlp", "network.hidden=16", "network.blocks=1", "sampling.steps=6"],
    ),
    ("flow", &["flow.depth=3"]),
    ("chains", &["target=pinwheel", "chains.rows=12", "chains.keep=8"]),
];

fn quick_keys(family: &str) -> &'static [&'static str] {
    QUICK.iter().find(|(name, _)| *name == family).map_or(&[], |(_, keys)| keys)
}

/// A recipe of a family: on moons, unless the family needs no data.
fn quick(family: &str) -> String {
    let training = "[training]\nsteps = 500\nlog_every = 5\nheld_out_every = 50\nsample_every = 200\n\
        checkpoint_seconds = 0.0\n[evaluation]\nsamples = 60\n";
    let text = format!("family = \"{family}\"\n{training}");
    let open: Opener =
        Arc::new(|_: &Path| Err(tweedie::Error::undefined("another run", "there is none")));
    let set: Vec<String> = quick_keys(family).iter().map(|set| set.to_string()).collect();
    let recipe = Recipe::parse(&text, &set).unwrap();
    match recipe.plan.own_space(&open) {
        Ok(_) => text,
        Err(_) => format!("{text}[data]\nsource = \"moons\"\nn = 240\n"),
    }
}

/// A family is any that is registered: a new one is killed here unnamed.
#[test]
fn so_does_every_family() {
    for family in FAMILIES.iter().map(|entry| entry.name) {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        for folder in &folders {
            std::fs::write(folder.path().join("quick.toml"), quick(family)).unwrap();
        }
        let [whole, broken] = [0, 1].map(|k| folders[k].path());
        let mut start = vec!["train", "quick.toml", "--out", "run"];
        let resume = [&start[..], &["--resume"]].concat();
        quick_keys(family).iter().for_each(|set| start.extend(["--set", *set]));
        survives(whole, broken, [&start, &resume], (&[0, 15, 40], 1));
    }
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
