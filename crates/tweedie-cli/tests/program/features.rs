//! Judging pictures by a classifier, and samples beside their nearest training pictures.

use crate::support::*;
use std::path::Path;
use tweedie::burn::tensor::TensorData;
use tweedie::data::{Part, Rows, Validation, shipped};
use tweedie::metric::{copies, evaluation_rows, frechet};
use tweedie::nn::{Params, safetensors_bytes};

/// A classifier of digits whose features are the pixels and who takes every picture for a zero.
fn eye(folder: &Path) {
    let layers = "layers = [\n  { type = \"flatten\" },\n  { type = \"features\" },\n  \
                  { type = \"linear\", name = \"head\" },\n]\n";
    let classes =
        "classes = [\"9\", \"8\", \"7\", \"6\", \"5\", \"4\", \"3\", \"2\", \"1\", \"0\"]\n";
    let input = "[input]\nshape = [1, 8, 8]\nmax = 16\n";
    let text = format!("weights = \"eye.safetensors\"\n{classes}{layers}{input}");
    std::fs::write(folder.join("eye.toml"), text).expect("a file");
    let bias = (0..10).map(|k| k as f32).collect::<Vec<f32>>();
    let params: Params = [
        ("head.weight".to_string(), TensorData::new(vec![0.0f32; 640], [10, 64])),
        ("head.bias".to_string(), TensorData::new(bias, [10])),
    ]
    .into();
    std::fs::write(folder.join("eye.safetensors"), safetensors_bytes(&params).expect("tensors"))
        .expect("a file");
}

#[test]
fn pictures_are_judged_by_a_classifier() {
    let folder = copy_of(digits());
    eye(folder.path());
    let more = ["--metric", "features", "--features", "eye.toml", "--nearest", "near.png"];
    let arguments = [&["evaluate", "run", "-n", "60"][..], &more].concat();
    let found = object(folder.path(), &arguments);
    assert!(
        found["scores"].as_array().expect("scores").is_empty()
            && found["log_p"].as_array().expect("log p").is_empty()
    );
    let (by, near) = (&found["features"], &found["nearest"]);
    assert_eq!((&by["classifier"], &by["width"]), (&"eye".into(), &64.into()));
    let score = |name: &str| {
        let scores = by["scores"].as_array().expect("scores");
        scores.iter().find(|score| score["name"] == name).unwrap_or_else(|| panic!("{name}"))
    };
    // What the classifier sees of real pictures is known.
    let data = shipped::digits().expect("they ship");
    let view = Validation::of(&data);
    let data = data.with_validation(view).expect("a view").judged_on(Part::Test);
    let seen = |rows: &Rows| {
        Rows::new(rows.values().iter().map(|v| v / 16.0).collect(), 64).expect("whole rows")
    };
    let (train, held_out) = (data.train.rows(), data.held_out.rows());
    let sixty = seen(&train.select(&evaluation_rows(train.len(), 60)));
    let floor = frechet::distance(&sixty, &seen(held_out)).expect("a distance");
    let given = score("Fréchet distance")["floor"].as_f64().expect("a floor");
    assert!((given - floor).abs() < 1e-6 * floor, "{given} {floor}");
    for (name, of) in [("Fréchet distance", [60, 400]), ("precision", [60, 60])] {
        let found = ["rows", "reference_rows"].map(|key| score(name)[key].as_u64().expect("rows"));
        assert_eq!(found, of, "{name}");
    }
    // Samples bear the labels of random held-out rows.
    let labels = data.held_out.labels().expect("labels");
    let zeros = evaluation_rows(labels.len(), 60).into_iter().map(|row| labels[row] as usize);
    let zeros = zeros.filter(|label| data.space.classes()[*label] == "0");
    let accuracy = score("label accuracy")["value"].as_f64().expect("a share");
    assert!((accuracy - zeros.count() as f64 / 60.0).abs() < 1e-12, "{accuracy}");
    for name in ["kernel distance", "precision", "recall"] {
        assert!(score(name)["standard_error"].is_f64() && score(name)["floor"].is_f64());
    }
    assert_eq!((&near["by"], &near["samples"]), (&"features of eye".into(), &60.into()));
    let usual = copies::matches(&seen(held_out), &seen(train)).expect("matches");
    let usual = copies::nearer(&usual).expect("a share").value;
    assert!((near["held_out"]["value"].as_f64().expect("a share") - usual).abs() < 1e-12);
    let picture = image::open(folder.path().join("near.png")).expect("a picture");
    assert!(picture.height() > 12 * 96 && picture.width() > 3 * 96);
    // In words, with the weights from elsewhere.
    std::fs::rename(folder.path().join("eye.safetensors"), folder.path().join("moved"))
        .expect("moved");
    let text = done(folder.path(), &[&arguments[..8], &["--weights", "moved"]].concat());
    for words in ["by features of eye (64 numbers a picture)", "Fréchet distance", "label accuracy"]
    {
        assert!(text.contains(words), "{text}");
    }
    assert!(!text.contains("FID") && !text.contains("sliced W2"), "{text}");
}

#[test]
fn training_shows_samples_beside_their_nearest_pictures() {
    let run = digits().join("run");
    let picture = image::open(run.join("nearest.png")).expect("a picture");
    assert!(picture.height() > 12 * 96);
    let report = std::fs::read_to_string(run.join("report.html")).expect("a report");
    assert!(report.contains("nearest training pictures") && report.contains("By pixels, "));
    assert!(!numbers().join("run/nearest.png").exists());
}

#[test]
fn what_a_classifier_cannot_judge_is_refused_before_sampling() {
    let folder = copy_of(digits());
    eye(folder.path());
    let small = std::fs::read_to_string(folder.path().join("eye.toml")).expect("text");
    let wide = small.replace("[1, 8, 8]", "[1, 4, 16]");
    std::fs::write(folder.path().join("wide.toml"), wide).expect("a file");
    let bytes = small.replace("max = 16", "max = 255");
    std::fs::write(folder.path().join("bytes.toml"), bytes).expect("a file");
    let run = ["evaluate", "run"];
    for (status, words, more) in [
        (1, &["wide.toml", "1×8×8", "1×4×16"][..], &["--features", "wide.toml"][..]),
        (1, &["bytes.toml", "input.max", "16"], &["--features", "bytes.toml"]),
        (1, &["none.toml"], &["--features", "none.toml"]),
        (1, &["none"], &["--features", "eye.toml", "--weights", "none"]),
        (2, &["--metric", "--features"], &["--metric", "features"]),
        (2, &["--nearest", ".png"], &["--nearest", "near.gif"]),
        (1, &["eye.toml"], &["--nearest", "eye.toml/near.png"]),
    ] {
        refused(folder.path(), status, words, &[&run[..], more].concat());
    }
    let ran = tweedie(folder.path(), &[&run[..], &["--weights", "eye.safetensors"]].concat());
    assert!(ran.status == Some(2) && ran.stderr.contains("--features"), "{}", ran.stderr);
    let table = copy_of(numbers());
    eye(table.path());
    refused(
        table.path(),
        2,
        &["--nearest", "no pictures"],
        &[&run[..], &["--nearest", "n.png"]].concat(),
    );
    refused(
        table.path(),
        1,
        &["eye.toml", "no pictures"],
        &[&run[..], &["--features", "eye.toml"]].concat(),
    );
}
