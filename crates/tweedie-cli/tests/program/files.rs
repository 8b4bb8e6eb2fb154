//! What the program writes: samples in every format, pictures, the report.

use crate::support::{coloured, content, copy_of, digits, done, numbers};
use std::collections::BTreeSet;
use std::fs::read;
use std::path::Path;
use tempfile::TempDir;
use tweedie::data::{Layout, npy};
use tweedie::nn::load_safetensors;

/// A sample of a run, written in a copy of its folder.
fn sample(run: &Path, output: &str, more: &[&str]) -> TempDir {
    let folder = copy_of(run);
    done(folder.path(), &[&["sample", "run", "-o", output], more].concat());
    folder
}

fn bytes(run: &Path, output: &str, more: &[&str]) -> Vec<u8> {
    read(sample(run, output, more).path().join(output)).unwrap()
}

#[test]
fn a_table_comes_back_as_it_went_in() {
    let folder = sample(coloured(), "out.csv", &["-n", "200"]);
    let mut table = csv::Reader::from_path(folder.path().join("out.csv")).unwrap();
    let own = std::fs::read_to_string(folder.path().join("table.csv")).unwrap();
    let header: Vec<String> = table.headers().unwrap().iter().map(String::from).collect();
    assert_eq!(header.join(","), own.lines().next().unwrap());
    let mut seen = [BTreeSet::new(), BTreeSet::new()];
    let mut rows = 0;
    for record in table.records() {
        let record = record.unwrap();
        let length: f32 = record[0].parse().unwrap();
        assert!(length.is_finite());
        let count: u32 = record[1].parse().unwrap();
        assert!(count <= 9);
        seen[0].insert(record[2].to_string());
        seen[1].insert(record[3].to_string());
        rows += 1;
    }
    assert_eq!(rows, 200);
    let names = |names: [&str; 3]| names.map(String::from).into_iter().collect::<BTreeSet<_>>();
    assert!(seen[0].is_subset(&names(["red", "green", "dark blue"])) && seen[0].len() > 1);
    assert_eq!(seen[1], names(["yew", "oak", "elm"]));
    // Its own reader takes it, and the program trains on it.
    let own = ["train", "table", "--data", "out.csv", "--label", "kind", "--out", "again"];
    let few = ["--set", "training.steps=3", "--set", "evaluation.samples=20"];
    done(folder.path(), &[&own[..], &few].concat());
}

#[test]
fn labels_are_those_asked_for() {
    let labels = |more: &[&str]| {
        let text = String::from_utf8(bytes(numbers(), "out.csv", more)).unwrap();
        let last = |line: &str| line.rsplit(',').next().unwrap().to_string();
        text.lines().skip(1).map(last).collect::<Vec<_>>()
    };
    assert_eq!(labels(&["-n", "4", "--label", "oak"]), ["oak"; 4]);
    assert_eq!(labels(&["-n", "4", "--label", "0"]), ["elm"; 4]);
    assert_eq!(labels(&["-n", "4", "--label", "all"]), ["elm", "oak", "yew", "elm"]);
    let text =
        String::from_utf8(bytes(numbers(), "out.csv", &["-n", "4", "--label", "none"])).unwrap();
    assert!(text.starts_with("length [mm],count\n"));
}

#[test]
fn arrays_and_tensors_hold_the_same_samples() {
    let folder = sample(digits(), "out.npy", &["-n", "13"]);
    let (space, rows) = npy::read(folder.path().join("out.npy")).unwrap();
    assert_eq!(space.layout(), Layout::Image { channels: 1, height: 8, width: 8 });
    assert_eq!((rows.len(), rows.width()), (13, 64));
    assert!(rows.values().iter().all(|v| v.fract() == 0.0 && (0.0..=16.0).contains(v)));
    done(folder.path(), &["sample", "run", "-o", "out.safetensors", "-n", "13"]);
    let tensors = load_safetensors(&folder.path().join("out.safetensors")).unwrap();
    assert_eq!(tensors.keys().collect::<Vec<_>>(), ["labels", "samples"]);
    let samples = &tensors["samples"];
    assert_eq!(samples.shape().as_slice(), [13, 1, 8, 8]);
    assert_eq!(samples.as_slice::<f32>().unwrap(), rows.values());
    let folder = sample(numbers(), "out.npy", &["-n", "5"]);
    let (_, rows) = npy::read(folder.path().join("out.npy")).unwrap();
    assert_eq!((rows.len(), rows.width()), (5, 2));
}

#[test]
fn pictures_can_be_decoded() {
    let decoded = |bytes: &[u8]| image::load_from_memory(bytes).unwrap().into_rgb8();
    for run in [numbers(), coloured(), digits()] {
        let of_run = decoded(&read(run.join("run/samples.png")).unwrap());
        let of_command = decoded(&bytes(run, "out.png", &["-n", "30"]));
        for picture in [of_run, of_command] {
            assert!(picture.width() > 50 && picture.height() > 50);
            // Something is drawn on the white.
            assert!(picture.pixels().any(|p| p.0 != [255; 3]));
        }
        let steps = content(&run.join("run/samples"));
        // Beside the picture a few rows of images and points, from early on.
        let kept: Vec<&str> = steps.keys().filter_map(|name| name.strip_suffix(".npy")).collect();
        let early = ["step-000010", "step-000030", "step-000060"];
        assert_eq!(kept, if run == coloured() { &early[..0] } else { &early[..] });
        assert_eq!(steps.len(), 1 + kept.len());
        decoded(&steps["step-000060.png"]);
    }
}

#[test]
fn the_report_needs_nothing_else() {
    for run in [numbers(), digits()] {
        let html = std::fs::read_to_string(run.join("run/report.html")).unwrap();
        for outside in ["http:", "https:", "<script", "<link", "@import", "href"] {
            assert!(!html.contains(outside), "{outside}");
        }
        let sources: Vec<&str> = html.split("src=\"").skip(1).collect();
        assert!(sources.len() >= 3);
        assert!(sources.iter().all(|source| source.starts_with("data:image/png;base64,")));
        assert!(html.contains("label agreement") && html.contains("steps = 60"));
        assert!(html.contains("From noise to samples") && html.contains("While it learnt"));
    }
}

#[test]
fn a_run_leaves_its_files_and_no_others() {
    let names: Vec<String> = content(&numbers().join("run")).into_keys().collect();
    let expected = [
        "checkpoint.safetensors",
        "curves.jsonl",
        "events.out.tfevents.tweedie",
        "model.safetensors",
        "report.html",
        "run.json",
        "samples.png",
        "samples/",
        "samples/step-000010.npy",
        "samples/step-000030.npy",
        "samples/step-000060.npy",
        "samples/step-000060.png",
    ];
    assert_eq!(names, expected);
}

#[test]
fn equal_seeds_give_equal_bytes_on_any_number_of_threads() {
    for output in ["out.npy", "out.csv", "out.safetensors", "out.png"] {
        let with = |threads: &str, seed: &str| {
            bytes(digits(), output, &["-n", "300", "--seed", seed, "--threads", threads])
        };
        let first = with("1", "5");
        for threads in ["1", "2", "3", "8"] {
            assert!(with(threads, "5") == first, "{output} on {threads} threads");
        }
        assert!(with("1", "6") != first);
    }
}

#[test]
fn trained_weights_do_not_depend_on_threads() {
    let trained = |threads: &str| {
        let folder = tempfile::tempdir().unwrap();
        let short = ["training.steps=8", "evaluation.samples=10", "evaluation.log_p_rows=4"];
        let mut arguments = vec!["train", "digits", "--out", "run", "--threads", threads];
        short.iter().for_each(|item| arguments.extend(["--set", item]));
        done(folder.path(), &arguments);
        read(folder.path().join("run/model.safetensors")).unwrap()
    };
    let first = trained("1");
    for threads in ["2", "3", "8"] {
        assert!(trained(threads) == first, "{threads} threads");
    }
}

#[test]
fn a_sample_begins_like_a_longer_one() {
    // Real values: those of digits would hide small differences by rounding.
    let rows = |n: &str| {
        let folder = sample(numbers(), "out.npy", &["-n", n, "--label", "all"]);
        npy::read(folder.path().join("out.npy")).unwrap().1
    };
    let (short, long) = (rows("100"), rows("200"));
    let differences = short.values().iter().zip(long.values()).map(|(a, b)| (a - b).abs());
    // The kernels differ with the size of the batch, so the last bits may too.
    assert!(differences.fold(0.0, f32::max) <= 1e-4);
    // Over the chunks in which samples are made.
    let (short, long) = (rows("1030"), rows("1100"));
    let differences = short.values().iter().zip(long.values()).map(|(a, b)| (a - b).abs());
    assert!(differences.fold(0.0, f32::max) <= 1e-4);
}
