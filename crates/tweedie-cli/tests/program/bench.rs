//! `tweedie bench`: its keys and what follows from the networks' sizes; how long anything takes is not asserted.

use crate::support::{refused, tweedie};
use serde_json::Value;

#[test]
fn a_network_s_times_and_counts_are_one_object() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["bench", "mlp.3-128x4-2.256", "--rounds", "1", "--json", "--export", "first"];
    let ran = tweedie(folder.path(), &arguments);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert_eq!((ran.stdout.matches('\n').count(), ran.stderr.as_str()), (1, ""));
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    let value = |key: &str| found[key].as_f64().unwrap_or_else(|| panic!("no {key} in {found}"));
    assert_eq!(value("rounds"), 1.0);
    assert!(value("threads") >= 1.0 && value("gemm.gflops") > 0.0);

    // 3 → 128 → 128 → 128 → 128 → 2 with biases, on 256 rows.
    let weights = (3 * 128 + 3 * 128 * 128 + 128 * 2) as f64;
    let forward = 2.0 * 256.0 * weights;
    let name = "mlp.3-128x4-2.256";
    for (kind, flops) in
        [("train", 3.0 * forward), ("train-ema", 3.0 * forward), ("forward", forward)]
    {
        let of = |key: &str| value(&format!("{name}.{kind}.{key}"));
        assert_eq!(of("flops"), flops);
        let rate = flops / of("ms") / 1e6;
        assert!((of("gflops") / rate - 1.0).abs() < 1e-9);
        assert!((of("gemm_share") * value("gemm.gflops") / rate - 1.0).abs() < 1e-9);
        assert!(of("ms") > 0.0 && of("min_ms") <= of("ms") && of("ms") <= of("max_ms"));
    }
    let of = |key: &str| value(&format!("{name}.train.{key}"));
    let parameters = weights + f64::from(4 * 128 + 2);
    assert_eq!(of("parameters"), parameters);
    // The losses fall by steps of AdamW.
    assert!(of("last_warm_up_loss") < of("first_loss") && of("first_loss") < 2.0);
    if cfg!(target_os = "linux") {
        // Weights, gradients and two means, in MB.
        assert!(of("step_memory_mb") > 4.0 * 4.0 * parameters / 1e6);
        assert!(of("peak_memory_mb") > of("step_memory_mb"));
        assert!((0.0..=1.0).contains(&value("others_cpu")));
    }
    let other = found
        .as_object()
        .unwrap()
        .keys()
        .find(|key| key.starts_with("ops") || key.starts_with("unet"));
    assert_eq!(other, None);

    let file = folder.path().join("first").join(format!("{name}.train.safetensors"));
    let arrays = tweedie::nn::load_safetensors(&file).unwrap();
    let shape = |name: &str| arrays[name].shape().as_slice();
    assert_eq!(shape("network.layers.1.weight"), [128, 128]);
    assert_eq!((shape("x"), shape("y")), (&[256, 3][..], &[256, 2][..]));
    let held = arrays.iter().filter(|(key, _)| key.starts_with("network."));
    assert_eq!(held.map(|(_, data)| data.num_elements()).sum::<usize>() as f64, parameters);
}

#[test]
fn an_operation_s_times_are_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let ran = tweedie(folder.path(), &["bench", "ops.conv3x3-128", "--rounds", "1"]);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    let lines: Vec<&str> = ran.stdout.lines().map(str::trim).collect();
    assert!(lines[0].contains("GFLOP/s") && lines[1].starts_with("ms"), "{}", ran.stdout);
    let names: Vec<&str> = lines[2..].iter().filter_map(|l| l.split(' ').next()).collect();
    assert_eq!(names, ["ops.conv3x3-128.forward", "ops.conv3x3-128.backward"]);
}

#[test]
fn wrong_names_and_rounds_are_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let refuse = |words: &[&str], more: &[&str]| {
        refused(folder.path(), 2, words, &[&["bench"], more].concat());
    };
    refuse(&["NAME: lstm", "one of", "unet.train", "ops.linear.forward"], &["lstm"]);
    refuse(&["NAME: unet.trian", "`unet.train` perhaps"], &["mlp", "unet.trian"]);
    refuse(&["--rounds: 0", "1 to 100000"], &["mlp", "--rounds", "0"]);
    refuse(&["--rounds", "a whole number"], &["mlp", "--rounds", "-1"]);
}
