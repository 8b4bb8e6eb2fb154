//! Where samples go: files by default, stdout, links and pipes; labels beside arrays; units of the model.

use crate::support::{
    coloured, copy_of, digits, done, failed, numbers, object, program, refused, tweedie,
};
use serde_json::Value;
use std::fs::{create_dir_all, read, read_to_string};
use std::process::Stdio;
use tweedie::data::npy;
use tweedie::nn::load_safetensors;
use tweedie::run::Run;

#[test]
fn without_o_samples_go_into_the_run_and_folders_of_o_are_made() {
    for (run, file) in [(numbers(), "run/samples.csv"), (digits(), "run/samples.png")] {
        let folder = copy_of(run);
        let told = object(folder.path(), &["sample", "run", "-n", "5"]);
        assert_eq!(told["output"], file);
        assert!(folder.path().join(file).is_file());
    }
    let folder = copy_of(numbers());
    for file in ["a/b/out.csv", "a/b/out.npy", "c/out.png", "d/out.safetensors"] {
        done(folder.path(), &["sample", "run", "-n", "5", "-o", file]);
        assert!(folder.path().join(file).is_file());
    }
}

#[test]
fn a_dash_is_stdout_in_any_format() {
    let folder = copy_of(numbers());
    let sample = ["sample", "run", "-n", "7", "--seed", "4", "-o"];
    done(folder.path(), &[&sample[..], &["out.csv"]].concat());
    let ran = tweedie(folder.path(), &[&sample[..], &["-"]].concat());
    assert_eq!(ran.stdout, read_to_string(folder.path().join("out.csv")).unwrap());
    assert!(ran.stderr.contains("stdout: 7 samples"), "{}", ran.stderr);
    done(folder.path(), &[&sample[..], &["out.npy", "--label", "data"]].concat());
    let more = ["-", "--format", "npy", "--label", "data"];
    let output = program(folder.path()).args(sample).args(more).output().unwrap();
    assert!(output.stdout == read(folder.path().join("out.npy")).unwrap());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_stdout_is_an_error_and_a_closed_pipe_is_none() {
    let folder = copy_of(numbers());
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let commands: [&[&str]; 5] = [
        &["list"],
        &["--help"],
        &["completions", "bash"],
        &["sample", "run", "-n", "5", "-o", "-"],
        &["sample", "run", "-n", "5", "-o", "x.csv", "--json"],
    ];
    for command in commands {
        let ran = program(folder.path()).args(command).stdout(full()).output().unwrap();
        let text = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(1), "{command:?}: {text}");
        assert!(text.contains("error: stdout: No space left"), "{command:?}: {text}");
    }
    let mut sample = program(folder.path());
    sample.args(["sample", "run", "-n", "20000", "-o", "-", "--steps", "2"]);
    let mut child = sample.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !text.contains("error"), "{text}");
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link_and_a_pipe_is_written_to() {
    let folder = copy_of(numbers());
    let at = folder.path();
    create_dir_all(at.join("far")).unwrap();
    for (link, target) in [("one.csv", "far/one.csv"), ("two.csv", "one.csv")] {
        std::os::unix::fs::symlink(target, at.join(link)).unwrap();
        done(at, &["sample", "run", "-n", "5", "-o", link]);
        assert!(at.join(link).is_symlink());
        assert_eq!(read_to_string(at.join("far/one.csv")).unwrap().lines().count(), 6);
        std::fs::write(at.join("far/one.csv"), "").unwrap();
    }
    let pipe = at.join("pipe.csv");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || read_to_string(pipe).unwrap()
    });
    done(at, &["sample", "run", "-n", "5", "-o", "pipe.csv"]);
    assert_eq!(reader.join().unwrap().lines().count(), 6);
    use std::os::unix::fs::FileTypeExt;
    assert!(std::fs::metadata(pipe).unwrap().file_type().is_fifo());
}

#[test]
fn labels_stand_beside_arrays() {
    let folder = copy_of(digits());
    let at = folder.path();
    for file in ["out.npy", "out.safetensors"] {
        done(at, &["sample", "run", "-n", "23", "-o", file]);
    }
    let state = load_safetensors(&at.join("out.safetensors")).unwrap();
    assert_eq!(state["samples"].shape().to_vec(), [23, 1, 8, 8]);
    let expected: Vec<i64> = (0..23).map(|row| row % 10).collect();
    assert_eq!(state["labels"].as_slice::<i64>().unwrap(), expected);
    let (_, rows) = npy::read(at.join("out.npy")).unwrap();
    assert_eq!(state["samples"].as_slice::<f32>().unwrap(), rows.values());
    let labels = read(at.join("out.labels.npy")).unwrap();
    assert!(labels[..128].windows(12).any(|part| part == b"'shape': (23"));
    let bytes: Vec<u8> = expected.iter().flat_map(|label| label.to_le_bytes()).collect();
    assert_eq!((labels.len(), &labels[128..]), (128 + 8 * 23, &bytes[..]));
    done(at, &["sample", "run", "-n", "3", "--label", "none", "-o", "plain.npy"]);
    assert!(!at.join("plain.labels.npy").exists());
}

#[test]
fn units_of_the_model_decode_to_the_units_of_the_data() {
    for run in [numbers(), digits(), coloured()] {
        let folder = copy_of(run);
        let at = folder.path();
        let sample = ["sample", "run", "-n", "40", "--seed", "3"];
        done(at, &[&sample[..], &["-o", "data.npy"]].concat());
        done(at, &[&sample[..], &["-o", "model.npy", "--units", "model"]].concat());
        let (_, data) = npy::read(at.join("data.npy")).unwrap();
        let (_, model) = npy::read(at.join("model.npy")).unwrap();
        let space = Run::open(&at.join("run")).unwrap().info.space;
        assert_eq!(model.width(), space.model_width());
        assert_eq!(space.decode(&model).unwrap(), data);
        // Rounding has made a difference.
        assert_ne!(space.encode(&data).unwrap(), model);
    }
    let folder = copy_of(coloured());
    let sample = ["sample", "run", "-n", "4", "--units", "model"];
    done(folder.path(), &[&sample[..], &["-o", "out.csv"]].concat());
    let text = read_to_string(folder.path().join("out.csv")).unwrap();
    assert!(text.lines().next().unwrap().contains("colour = dark blue"), "{text}");
    refused(folder.path(), 2, &["--units", ".npy"], &[&sample[..], &["-o", "x.png"]].concat());
}

#[test]
fn files_without_a_known_ending_take_a_format() {
    let folder = copy_of(numbers());
    let sample = ["sample", "run", "-n", "4", "-o", "out"];
    failed(folder.path(), 2, &["-o: out", "--format"], &sample);
    let told: Value = object(folder.path(), &[&sample[..], &["--format", "csv"]].concat());
    assert_eq!(told["output"], "out");
    assert_eq!(read_to_string(folder.path().join("out")).unwrap().lines().count(), 5);
}
