//! `sample --where`: rows by rejection, where the conditional distribution is known.

use crate::support::{coloured, content, copy_of, done, failed, object, refused};
use std::path::Path;
use tempfile::TempDir;
use tweedie::data::Source;
use tweedie::run::Run;

/// The columns of a table as numbers.
fn columns<const N: usize>(path: &Path) -> Vec<[f64; N]> {
    let text = std::fs::read_to_string(path).unwrap();
    let row = |line: &str| {
        let cells: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        cells.try_into().unwrap()
    };
    text.lines().skip(1).map(row).collect()
}

/// P(z < Z) for a standard normal Z, by Simpson's rule.
fn above(z: f64) -> f64 {
    let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    let (n, h) = (2000, 10.0 / 2000.0);
    let weight = |k: usize| match k {
        0 => 1.0,
        k if k == n => 1.0,
        k if k % 2 == 1 => 4.0,
        _ => 2.0,
    };
    (0..=n).map(|k| weight(k) * density(z + h * k as f64)).sum::<f64>() * h / 3.0
}

/// A folder with a kernel estimate of 60 points in `run`.
fn kernels() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::from("x,y\n");
    for i in 0..60 {
        let u = |step: f64| (f64::from(i) * step).fract();
        let x = 4.0 * u(0.618_034) - 2.0;
        text += &format!("{x:.4},{:.4}\n", x * x + u(0.414_214));
    }
    std::fs::write(folder.path().join("table.csv"), text).unwrap();
    let set = ["--set", "mixture.bandwidth=0.4", "--set", "data.limits=false"];
    let train = ["train", "kde", "--data", "table.csv", "--out", "run"];
    done(folder.path(), &[&train[..], &set].concat());
    folder
}

#[test]
fn accepted_rows_have_the_moments_of_the_conditional_distribution() {
    let folder = kernels();
    let (n, limit) = (4000_u32, 0.8);
    let count = n.to_string();
    let sample = ["sample", "run", "-n", &count, "-o", "out.csv", "--where", "x > 0.8"];
    let drawn = object(folder.path(), &sample)["rows_drawn"].as_f64().unwrap();
    let rows = columns::<2>(&folder.path().join("out.csv"));
    assert!(rows.len() == n as usize && rows.iter().all(|row| row[0] > limit));

    // The kernels' centres, in raw units, and their standard deviations h·s.
    let run = Run::open(&folder.path().join("run")).unwrap();
    let weights = run.weights().unwrap();
    let array = |end: &str| weights.iter().find(|(name, _)| name.ends_with(end)).unwrap().1.clone();
    let points: Vec<f64> = array("rows").convert::<f64>().try_into_vec().unwrap();
    let factor = array("factor").convert::<f64>().try_into_vec::<f64>().unwrap()[0];
    assert!((factor - 0.4).abs() < 1e-6);
    let column = |j: usize| -> Vec<f64> {
        let of = run.info.space.coordinate(j);
        points.iter().skip(j).step_by(2).map(|x| x * of.scale + of.shift).collect()
    };
    let (x, y) = (column(0), column(1));
    let deviation = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        factor * (squares / (values.len() as f64 - 1.0)).sqrt()
    };
    let (sx, sy) = (deviation(&x), deviation(&y));
    let kept: Vec<f64> = x.iter().map(|x| above((limit - x) / sx)).collect();
    let total: f64 = kept.iter().sum();
    let mean = kept.iter().zip(&y).map(|(w, y)| w * y).sum::<f64>() / total;
    let square = kept.iter().zip(&y).map(|(w, y)| w * (y * y + sy * sy)).sum::<f64>() / total;
    let spread = (square - mean * mean).sqrt();

    let found = rows.iter().map(|row| row[1]).sum::<f64>() / f64::from(n);
    let error = spread / f64::from(n).sqrt();
    assert!((found - mean).abs() < 4.9 * error, "{found} not {mean} ± {error}");
    let deviations = rows.iter().map(|row| (row[1] - mean).powi(2));
    let found = deviations.clone().sum::<f64>() / f64::from(n);
    let fourth = deviations.map(|v| v * v).sum::<f64>() / f64::from(n);
    let error = ((fourth - found * found) / f64::from(n)).sqrt();
    assert!(
        (found - spread * spread).abs() < 4.9 * error,
        "{found} not {} ± {error}",
        spread * spread
    );
    let share = total / x.len() as f64;
    let error = share * ((1.0 - share) / f64::from(n)).sqrt();
    let found = f64::from(n) / drawn;
    assert!((found - share).abs() < 4.9 * error, "{found} not {share} ± {error}");
}

#[test]
fn a_row_depends_on_its_number_among_the_accepted_and_the_errors_of_few_say_how_many() {
    let folder = kernels();
    let text = |n: &str| {
        let options = ["-n", n, "-o", "out.csv", "--where", "y < 0.5, x != 0", "--seed", "3"];
        done(folder.path(), &[&["sample", "run"], &options[..]].concat());
        std::fs::read_to_string(folder.path().join("out.csv")).unwrap()
    };
    let (few, many) = (text("7"), text("300"));
    assert!(many.starts_with(&few) && few.lines().count() == 8);
    std::fs::remove_file(folder.path().join("out.csv")).unwrap();
    let sample = |more: &[&'static str]| [&["sample", "run", "-o", "out.csv"], more].concat();
    for (words, more) in [
        (
            "0 of 20000 rows drawn satisfy it; expected 100: a range in place of =",
            vec!["--where", "x = 0.5, y > 90"],
        ),
        ("of 150 rows drawn satisfy it", vec!["--where", "x > 0.5", "--most-rows", "150"]),
        ("--most-rows: 20; expected at least 100", vec!["--where", "x > 0.5", "--most-rows", "20"]),
        ("--most-rows: 20; expected --where beside it", vec!["--most-rows", "20"]),
        ("--where: no column 'z'; expected one of x, y", vec!["--where", "z > 0.5"]),
    ] {
        refused(folder.path(), 2, &[words], &sample(&more));
    }
}

#[test]
fn categories_and_labels_are_conditions_and_every_format_takes_them() {
    let copy = copy_of(coloured());
    let folder = copy.path();
    let sample = |output: &str, filter: &str| {
        let more = ["-n", "20", "-o", output, "--where", filter];
        done(folder, &[&["sample", "run"], &more[..]].concat())
    };
    let line = sample("out.csv", "colour = dark blue, kind = oak, count >= 2");
    assert!(line.contains("20 samples") && line.contains("rows drawn satisfy --where"), "{line}");
    let text = std::fs::read_to_string(folder.join("out.csv")).unwrap();
    for row in text.lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        assert!(cells[1].parse::<f64>().unwrap() >= 2.0, "{row}");
        assert_eq!(cells[2..], ["dark blue", "oak"], "{row}");
    }
    // A label stated is the label of the model: nothing is rejected for it.
    let only = ["sample", "run", "-n", "20", "-o", "out.csv", "--where", "kind = elm"];
    assert_eq!(object(folder, &only)["rows_drawn"], 20);
    let filtered = content(folder)["out.csv"].clone();
    done(folder, &["sample", "run", "-n", "20", "-o", "out.csv", "--label", "elm"]);
    assert_eq!(content(folder)["out.csv"], filtered);

    sample("out.safetensors", "kind != oak, colour != red");
    sample("out.npy", "kind != oak, colour != red");
    let files = content(folder);
    let (all, header) = (&files["out.safetensors"], 8);
    let length = u64::from_le_bytes(all[..header].try_into().unwrap()) as usize;
    let body = &all[header + length..];
    let [labels, values] = ["out.labels.npy", "out.npy"].map(|name| &files[name]);
    assert_eq!(body.len(), 20 * 8 + 20 * 3 * 4);
    assert_eq!(body[..160], labels[labels.len() - 160..]);
    assert_eq!(body[160..], values[values.len() - 240..]);
    let oak = 1;
    assert!(body[..160].chunks(8).all(|label| label[0] != oak));

    sample("out.npz", "kind != oak, colour != red");
    let path = folder.join("out.npz").display().to_string();
    let read = Source { held_out: Some(0.0), ..Source::named(path) }.load().unwrap();
    assert_eq!(read.space.classes(), ["elm", "oak", "yew"]);
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(bytes(read.train.rows().values()), values[values.len() - 240..]);
    let found = read.train.labels().unwrap().iter().flat_map(|k| i64::from(*k).to_le_bytes());
    assert_eq!(found.collect::<Vec<u8>>(), body[..160]);

    let wrong = ["sample", "run", "--where", "kind = elm", "--label", "oak"];
    failed(folder, 2, &["--label: oak, beside a condition on the label"], &wrong);
}
