//! Columns of a table as conditions: trained, sampled and judged where the conditional distribution is known.

use crate::support::{done, refused};
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;
use tempfile::TempDir;
use tweedie::Draws;

/// The standard deviation of each column given the conditions.
const SPREAD: f64 = 0.2;

/// The means of x and y given s and the side.
fn means(s: f64, side: &str) -> [f64; 2] {
    [2.0 * s + if side == "left" { 1.0 } else { -1.0 }, -s]
}

/// A folder with a table of x and y, which are Gaussian given s and the side.
fn folder(rows: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (normals, uniforms) = (Draws::new(5).normals(0..rows, 2), Draws::new(6));
    let mut text = String::from("x [m],y,s [kg],side\n");
    for (i, noise) in normals.iter().enumerate() {
        let s = 4.0 * uniforms.uniform_f64(i as u64, 0) - 2.0;
        let side = if uniforms.uniform_f64(i as u64, 1) < 0.3 { "left" } else { "right" };
        let [x, y] = means(s, side);
        let [x, y] = [(x, noise[0]), (y, noise[1])].map(|(m, e)| m + SPREAD * f64::from(e));
        writeln!(text, "{x},{y},{s},{side}").unwrap();
    }
    std::fs::write(folder.path().join("table.csv"), text).unwrap();
    folder
}

/// Trains a recipe for some steps, given s and the side.
fn train(folder: &Path, recipe: &str, steps: u64, more: &[&str]) {
    let steps = format!("training.steps={steps}");
    let given = ["--data", "table.csv", "--condition", "s,side", "--out", "run", "--set", &steps];
    done(folder, &[&["train", recipe], &given[..], more].concat());
}

/// The numbers of a column of a table.
fn column(path: &Path, wanted: usize) -> Vec<f64> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().skip(1).map(|l| l.split(',').nth(wanted).unwrap().parse().unwrap()).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Samples 400 rows and gives the file's path.
fn sampled(folder: &Path, condition: &str) -> std::path::PathBuf {
    let more = ["-n", "400", "-o", "out.csv", "--condition", condition];
    done(folder, &[&["sample", "run"], &more[..]].concat());
    folder.join("out.csv")
}

#[test]
fn a_flow_has_the_density_of_rows_given_columns() {
    let folder = folder(4000);
    let small = ["--set", "flow.depth=6", "--set", "training.batch=256"];
    train(folder.path(), "coupling", 700, &small);
    let text = done(folder.path(), &["evaluate", "run", "--json", "-n", "300"]);
    let found: Value = serde_json::from_str(&text).unwrap();
    let log_p = found["log_p"][0]["mean"].as_f64().unwrap();
    let error = found["log_p"][0]["standard_error"].as_f64().unwrap();
    // Without the conditions the columns are spread over units, at some −3 nats.
    let truth = -(std::f64::consts::TAU * std::f64::consts::E * SPREAD * SPREAD).ln();
    assert!((log_p - truth).abs() < 0.1 + 4.9 * error, "{log_p} ± {error}, not {truth}");
    for (condition, s, side) in
        [("s = 1.5, side = 'left'", 1.5, "left"), ("side = 'right', s = -1", -1.0, "right")]
    {
        let path = sampled(folder.path(), condition);
        let header = std::fs::read_to_string(&path).unwrap();
        assert!(header.starts_with("x [m],y,s [kg],side\n"), "{header}");
        for (j, expected) in means(s, side).into_iter().enumerate() {
            let values = column(&path, j);
            assert!((mean(&values) - expected).abs() < 0.1, "{condition}: {}", mean(&values));
        }
        assert!(column(&path, 2).iter().all(|found| *found == s));
    }
}

#[test]
fn a_diffusion_model_is_conditioned_on_columns_of_the_data_of_a_file_or_on_none() {
    let folder = folder(2000);
    let small = ["--set", "network.hidden=64", "--set", "network.blocks=2"];
    train(folder.path(), "table", 500, &small);
    let path = sampled(folder.path(), "s = 0.5, side = 'left'");
    let expected = means(0.5, "left");
    for (j, expected) in expected.into_iter().enumerate() {
        let values = column(&path, j);
        assert!((mean(&values) - expected).abs() < 0.15, "{}", mean(&values));
    }
    // Conditions of the training rows, by default: x follows 2 s closely.
    done(folder.path(), &["sample", "run", "-n", "200", "-o", "out.csv"]);
    let (x, s) = (column(&path, 0), column(&path, 2));
    let off = x.iter().zip(&s).map(|(x, s)| ((x - 2.0 * s).abs() - 1.0).powi(2));
    assert!(mean(&off.collect::<Vec<_>>()) < 0.3);
    std::fs::write(folder.path().join("given.csv"), "side,s\nleft,1\nright,0.5\n").unwrap();
    let from = ["sample", "run", "-n", "4", "-o", "out.csv", "--condition", "given.csv"];
    done(folder.path(), &from);
    assert_eq!(column(&path, 2), [1.0, 0.5, 1.0, 0.5]);
    // `--where` states the same, or draws conditions from the training rows that satisfy it, and rejects by the rest.
    let wanted = |option: &str, text: &str| {
        done(folder.path(), &["sample", "run", "-n", "30", "-o", "out.csv", option, text]);
        std::fs::read_to_string(&path).unwrap()
    };
    let stated = wanted("--condition", "s = 0.5, side = 'left'");
    assert_eq!(wanted("--where", "side = left, s = 0.5"), stated);
    let some = wanted("--where", "side = left, s > 1, x > 2.5");
    for row in some.lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        let [x, s] = [cells[0], cells[2]].map(|cell| cell.parse::<f64>().unwrap());
        assert!(x > 2.5 && s > 1.0 && cells[3] == "left", "{row}");
    }
    let none = ["sample", "run", "-n", "4", "-o", "out.csv", "--condition", "none"];
    done(folder.path(), &none);
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("x [m],y\n"));
    done(folder.path(), &["show", "run"]);
    let beside = ["sample", "run", "-o", "out.csv", "--condition", "none", "--where", "s > 0"];
    refused(folder.path(), 2, &["--condition: none; expected conditions"], &beside);
    let outside = ["sample", "run", "-o", "out.csv", "--where", "s > 9"];
    refused(folder.path(), 2, &["no training row satisfies"], &outside);
    for (words, text) in [
        ("a value for each of s, side", "s = 1"),
        ("a value for each of s, side", "s = 1, side = 2"),
        ("a value for each of s, side", "s = 1, side = 'up'"),
        ("No such file", "absent.csv"),
    ] {
        let status = if text.ends_with("csv") { 1 } else { 2 };
        let arguments = ["sample", "run", "-o", "out.csv", "--condition", text];
        refused(folder.path(), status, &[words], &arguments);
    }
}

#[test]
fn conditions_that_cannot_be_are_refused() {
    let folder = folder(20);
    let start = |recipe, more: &[&'static str]| {
        [&["train", recipe, "--data", "table.csv", "--out", "run"], more].concat()
    };
    for (status, words, arguments) in [
        (1, "no column 'sid'", start("table", &["--condition", "sid"])),
        (1, "kept twice", start("table", &["--condition", "s,s"])),
        (1, "the label or a condition", {
            start("table", &["--condition", "s", "--set", "data.columns=['x', 's']"])
        }),
        (2, "data.condition: given beside a label", {
            start("table", &["--condition", "s", "--label", "side"])
        }),
        (2, "data.condition: columns", start("gmm", &["--condition", "s,side"])),
    ] {
        refused(folder.path(), status, &[words], &arguments);
    }
}
