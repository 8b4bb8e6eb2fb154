//! Training on a folder of pictures.

use crate::support::{done, refused, training, tweedie};
use image::RgbImage;
use std::fs::{create_dir_all, read_to_string, write};
use std::path::Path;

/// Pictures of two classes: bright on the left, and bright on the right in another colour; of unequal sizes.
fn pictures(folder: &Path) {
    for (class, bright) in [("left", 0), ("right", 1)] {
        let inside = folder.join("pictures").join(class);
        create_dir_all(&inside).unwrap();
        for i in 0..12u32 {
            let (width, height) = (12 + i % 3, 10 + i % 2);
            let picture = RgbImage::from_fn(width, height, |x, y| {
                let lit = (x * 2 / width) == bright;
                [if lit { 200 + y as u8 } else { 30 }, (10 * i) as u8, 60 * bright as u8].into()
            });
            picture.save(inside.join(format!("{i}.png"))).unwrap();
        }
    }
}

#[test]
fn a_folder_of_pictures_is_trained_on_and_sampled() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path());
    let more = ["--data", "pictures", "--set", "data.size=6", "--set", "training.flip=true"];
    done(folder.path(), &training("digits", &more));
    let run: serde_json::Value =
        serde_json::from_str(&read_to_string(folder.path().join("run/run.json")).unwrap()).unwrap();
    assert_eq!(run["space"]["classes"], serde_json::json!(["left", "right"]));
    assert_eq!(run["train"]["classes"], serde_json::json!([9, 10]));
    assert_eq!(run["recipe"]["data"]["size"], 6);
    assert_eq!(run["recipe"]["training"]["flip"], true);
    done(folder.path(), &["sample", "run", "-n", "4", "--label", "right", "-o", "right.npy"]);
    let array = std::fs::read(folder.path().join("right.npy")).unwrap();
    assert!(String::from_utf8_lossy(&array[..128]).contains("(4, 3, 6, 6)"));

    let unlabelled = ["--data", "pictures", "--label", "none", "--set", "data.size=6"];
    let second: Vec<&str> = training("digits", &unlabelled)
        .into_iter()
        .map(|argument| if argument == "run" { "plain" } else { argument })
        .collect();
    done(folder.path(), &second);
    let run = read_to_string(folder.path().join("plain/run.json")).unwrap();
    let run: serde_json::Value = serde_json::from_str(&run).unwrap();
    assert_eq!(run["space"]["classes"], serde_json::json!([]));
}

/// `--data` leaves in place what a recipe says of any pictures.
#[test]
fn other_pictures_are_binarised_as_a_recipe_says() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path());
    let recipe = "family = \"autoregressive\"\n[data]\nsource = \"digits\"\nlabel = \"none\"\n\
                  binarise = \"dynamic\"\n[autoregressive]\n\
                  network = { name = \"masked\", hidden = [32] }\n[training]\nsteps = 3\nbatch = 4\n\
                  [evaluation]\nsamples = 4\n";
    write(folder.path().join("bits.toml"), recipe).unwrap();
    let options = ["--data", "pictures", "--set", "data.size=4", "--out", "run"];
    done(folder.path(), &[&["train", "bits.toml"], &options[..]].concat());
    let run = read_to_string(folder.path().join("run/run.json")).unwrap();
    let run: serde_json::Value = serde_json::from_str(&run).unwrap();
    let data = &run["recipe"]["data"];
    assert_eq!(data["source"], "pictures");
    assert_eq!((&data["label"], &data["binarise"]), (&"none".into(), &"dynamic".into()));
    assert_eq!(run["space"]["classes"], serde_json::json!([]));
}

#[test]
fn what_cannot_be_trained_on_is_named() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path());
    write(folder.path().join("table.csv"), "a,b\n1,2\n3,4\n5,6\n").unwrap();
    create_dir_all(folder.path().join("empty")).unwrap();
    let cases: [(&str, i32, &[&str], &[&str]); 7] = [
        ("pictures", 1, &["left/1.png: picture", "11×13 pixels", "`size`"], &[]),
        ("pictures", 2, &["data.size", "0", "from 1 to"], &["--set", "data.size=0"]),
        ("pictures", 2, &["data.channels", "2", "1 or 3"], &["--set", "data.channels=2"]),
        ("pictures", 2, &["data.label", "'kind'", "'none'"], &["--label", "kind"]),
        ("empty", 1, &["empty: directory", "no pictures", ".png", "MNIST"], &[]),
        ("mnist", 2, &["data.source", "--data FOLDER", "train-images-idx3-ubyte"], &[]),
        ("table.csv", 2, &["training.flip", "pictures"], &["--set", "training.flip=true"]),
    ];
    for (data, status, words, more) in cases {
        let fixed = ["train", "table", "--out", "run", "--data", data];
        let arguments: Vec<&str> = fixed.iter().chain(more).copied().collect();
        refused(folder.path(), status, words, &arguments);
    }
    write(folder.path().join("pictures/left/4.png"), b"\x89PNG\r\n\x1a\nbroken").unwrap();
    let arguments =
        ["train", "digits", "--out", "run", "--data", "pictures", "--set", "data.size=6"];
    refused(
        folder.path(),
        1,
        &["left/4.png: picture", "a whole PNG, JPEG, WebP, BMP, TIFF or GIF file", "skip_damaged"],
        &arguments,
    );
}

#[test]
fn what_is_passed_over_is_one_line_each_beside_the_training() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path());
    write(folder.path().join("pictures/left/4.png"), b"broken").unwrap();
    write(folder.path().join("pictures/labels.csv"), "a,b").unwrap();
    let more = ["--data", "pictures", "--set", "data.size=6", "--set", "data.skip_damaged=true"];
    let ran = tweedie(folder.path(), &training("digits", &more));
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    for line in
        ["note: pictures: passed over 1 .csv", "note: pictures: passed over 1 damaged: left/4.png"]
    {
        assert_eq!(ran.stderr.lines().filter(|l| l.starts_with(line)).count(), 1, "{}", ran.stderr);
    }
    // The nearest size that its levels can halve is in the error.
    let more = ["--set", "data.size=28", "--set", "training.steps=1"];
    let words = ["network.sample_size: 28", "--set data.size=32 or 24", "4 levels"];
    let fixed = ["train", "emoji", "--data", "pictures", "--set", "data.skip_damaged=true"];
    refused(folder.path(), 2, &words, &[&fixed[..], &more].concat());
}

/// A folder like MNIST's, of 40 + 12 pictures of 4 × 4 of two classes.
fn as_mnist(folder: &std::path::Path) {
    create_dir_all(folder).unwrap();
    for (part, count) in [("train", 40u32), ("t10k", 12)] {
        let pixels = (0..count * 16).map(|i| (i * 7919 % 251) as u8);
        let header = [0x803, count, 4, 4].into_iter().flat_map(u32::to_be_bytes);
        let images: Vec<u8> = header.chain(pixels).collect();
        write(folder.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        let header = [0x801, count].into_iter().flat_map(u32::to_be_bytes);
        let labels: Vec<u8> = header.chain((0..count).map(|i| (i % 2) as u8)).collect();
        write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
}

#[test]
fn recorded_parts_judge_as_the_run_s_own() {
    let folder = tempfile::tempdir().unwrap();
    as_mnist(&folder.path().join("pictures"));
    done(folder.path(), &training("digits", &["--data", "pictures"]));
    let judged = |more: &[&str]| {
        let fixed = ["evaluate", "run", "--metric", "samples", "-n", "12", "--json"];
        let found = done(folder.path(), &[&fixed[..], more].concat());
        serde_json::from_str::<serde_json::Value>(&found).unwrap()["scores"].clone()
    };
    let own = judged(&[]);
    assert!(!own.as_array().unwrap().is_empty());
    assert_eq!(own, judged(&["--data", "pictures"]));
}
