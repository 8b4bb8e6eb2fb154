//! Samples are written as they come: memory does not grow with their number.

use crate::support::{digits, program};
use std::process::Stdio;
use std::time::Duration;
use tweedie::data::npy;

/// The greatest memory that the program held while sampling, in KiB.
fn peak(n: usize, output: &str) -> u64 {
    let mut command = program(digits());
    let n = n.to_string();
    command.args(["sample", "run", "-n", &n, "-o", output, "--steps", "3", "--threads", "1"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let found = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(found.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return peak;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn sampling_streams() {
    for ending in ["npy", "csv", "safetensors"] {
        let output = format!("many.{ending}");
        let (few, many) = (peak(5_000, &output), peak(100_000, &output));
        assert!(few > 1000, "{few} KiB");
        // Kept rows would take 24,000 KiB more, and several times that as cells of a table.
        assert!(many < few + 3_000, "{few} KiB for 5,000 rows, {many} KiB for 100,000 as {ending}");
        let path = digits().join(&output);
        let rows = match ending {
            "npy" => npy::read(&path).unwrap().1.len(),
            "csv" => std::fs::read_to_string(&path).unwrap().lines().count() - 1,
            _ => tweedie::nn::load_safetensors(&path).unwrap()["samples"].shape()[0],
        };
        assert_eq!(rows, 100_000);
        std::fs::remove_file(path).unwrap();
    }
}
