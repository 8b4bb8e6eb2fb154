//! `tweedie show`: which pictures it draws of which run, and what it says where there are none.

use crate::support::{coloured, content, copy_of, digits, done, failed, numbers, refused, tweedie};
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// The pictures of points in the plane; those of the plane alone.
const ALL: [&str; 10] = [
    "samples",
    "trajectory",
    "flow",
    "density",
    "schedule",
    "levels",
    "solvers",
    "movement",
    "progress",
    "curves",
];
const PLANE: [&str; 3] = ["flow", "density", "movement"];

/// Draws a run of `folder` into a fresh folder and checks every picture: its size as told, and an sRGB chunk.
fn show(folder: &Path, more: &[&str]) -> (TempDir, Value) {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().to_string_lossy().into_owned();
    let arguments = [&["show", "run", "--json", "-o", &path], more].concat();
    let told: Value = serde_json::from_str(&done(folder, &arguments)).unwrap();
    let mut names: Vec<String> = content(out.path()).into_keys().collect();
    for picture in told["pictures"].as_array().unwrap() {
        let bytes = std::fs::read(picture["file"].as_str().unwrap()).unwrap();
        let image = image::load_from_memory(&bytes).unwrap().into_rgb8();
        assert_eq!((picture["width"].as_u64(), picture["height"].as_u64()), {
            (Some(image.width().into()), Some(image.height().into()))
        });
        assert!(bytes.windows(4).any(|chunk| chunk == b"sRGB"));
        assert!(image.pixels().any(|p| p.0 != [255; 3]));
        let file = Path::new(picture["file"].as_str().unwrap()).file_name().unwrap();
        names.retain(|name| *name != file.to_string_lossy());
    }
    assert!(names.is_empty(), "{names:?} are not listed");
    (out, told)
}

fn names(told: &Value, key: &str, field: &str) -> Vec<String> {
    let stem = |v: &Value| {
        let path = Path::new(v[field].as_str().unwrap());
        path.file_stem().unwrap().to_string_lossy().into_owned()
    };
    told[key].as_array().unwrap().iter().map(stem).collect()
}

#[test]
fn points_have_every_picture_and_images_all_but_those_of_the_plane() {
    // One of the columns holds integers.
    let (_, told) = show(numbers(), &[]);
    let rest: Vec<&str> = ALL.into_iter().filter(|name| *name != "density").collect();
    assert_eq!(names(&told, "pictures", "file"), rest);
    assert_eq!(names(&told, "absent", "name"), ["density"]);
    assert_eq!(told["step"], Value::Null);
    let (_, told) = show(digits(), &[]);
    let (plane, rest): (Vec<&str>, Vec<&str>) = ALL.iter().partition(|name| PLANE.contains(name));
    assert_eq!(names(&told, "pictures", "file"), rest);
    assert_eq!(names(&told, "absent", "name"), plane);
}

#[test]
fn tables_have_those_that_make_sense_and_the_reason_for_the_others() {
    let (_, told) = show(coloured(), &[]);
    let drawn = ["samples", "schedule", "levels", "solvers", "curves"];
    assert_eq!(names(&told, "pictures", "file"), drawn);
    let absent = ["trajectory", "flow", "density", "movement", "progress"];
    assert_eq!(names(&told, "absent", "name"), absent);
    let folder = copy_of(coloured());
    let text = done(folder.path(), &["show", "run"]);
    for word in ["run/show/samples.png", "1400 × 880", "No trajectory: ", "No progress: "] {
        assert!(text.contains(word), "no {word} in {text}");
    }
    let drawn: Vec<String> = content(&folder.path().join("run/show")).into_keys().collect();
    let all = ["curves.png", "levels.png", "samples.png", "schedule.png", "solvers.png"];
    assert_eq!(drawn, all);
}

#[test]
fn a_run_in_training_is_drawn_from_its_checkpoint() {
    let folder = copy_of(digits());
    let (finished, _) = show(folder.path(), &["--steps", "5"]);
    std::fs::remove_file(folder.path().join("run/model.safetensors")).unwrap();
    let (checkpoint, told) = show(folder.path(), &["--steps", "5"]);
    assert_eq!(told["step"], 60);
    // The last checkpoint's average is the model.
    assert!(content(finished.path()) == content(checkpoint.path()));
    let text = done(folder.path(), &["show", "run"]);
    assert!(text.contains("not finished: drawn from step 60"), "{text}");
    // Nothing was kept beside this copy.
    assert!(text.contains("No progress: this run has kept none"), "{text}");
    std::fs::remove_file(folder.path().join("run/checkpoint.safetensors")).unwrap();
    let words = ["run/model.safetensors", "missing", "train --resume"];
    refused(folder.path(), 1, &words, &["show", "run"]);
}

#[test]
fn equal_seeds_give_equal_pictures() {
    let (first, _) = show(digits(), &["--steps", "4", "--threads", "1"]);
    let (again, _) = show(digits(), &["--steps", "4", "--threads", "2"]);
    let (other, _) = show(digits(), &["--steps", "4", "--seed", "1"]);
    let [first, again, other] = [first, again, other].map(|folder| content(folder.path()));
    assert!(first == again);
    for name in ["samples.png", "trajectory.png", "levels.png"] {
        assert!(first[name] != other[name], "{name}");
    }
}

#[test]
fn without_its_data_a_run_keeps_all_but_the_errors() {
    let folder = copy_of(numbers());
    std::fs::remove_file(folder.path().join("table.csv")).unwrap();
    // The run knows the table by this path.
    let ran = tweedie(folder.path(), &["show", "run", "--json", "-o", "out"]);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    let absent = ["flow", "density", "levels", "movement", "progress"];
    assert_eq!(names(&told, "absent", "name"), absent);
    assert!(told["absent"][2]["why"].as_str().unwrap().contains("table.csv"));
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let folder = copy_of(numbers());
    refused(folder.path(), 1, &["absent/run.json"], &["show", "absent"]);
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    refused(folder.path(), 1, &["empty/run.json", "No such file"], &["show", "empty"]);
    refused(folder.path(), 2, &["--steps: 1"], &["show", "run", "--steps", "1"]);
    refused(folder.path(), 2, &["--solver: eular", "euler"], &["show", "run", "--solver", "eular"]);
    // A file where the folder should be.
    failed(folder.path(), 1, &["table.csv"], &["show", "run", "-o", "table.csv"]);
}
