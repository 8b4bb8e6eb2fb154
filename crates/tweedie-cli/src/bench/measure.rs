//! Times, rates and memory.

use std::time::{Duration, Instant};
use tweedie::Result;

/// What is measured once: it does its work and says how long that took.
pub type Work = Box<dyn FnMut() -> Result<Duration>>;

/// A round goes on for this long, and for so many executions at least.
const ROUND: Duration = Duration::from_millis(300);
const EXECUTIONS: usize = 3;

/// The time of `work`.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// The median time of an execution over a round, in milliseconds.
pub fn round(work: &mut Work) -> Result<f64> {
    let start = Instant::now();
    let mut times = Vec::new();
    while times.len() < EXECUTIONS || start.elapsed() < ROUND {
        times.push(1e3 * work()?.as_secs_f64());
    }
    Ok(median(&mut times))
}

/// The median of some numbers, which it sorts.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => 0.5 * (values[middle - 1] + values[middle]),
    }
}

/// The memory of this process in MB (10⁶ bytes), where the system tells.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Now.
    pub resident: f64,
    /// The most since the start, or since [`forget_peak`].
    pub peak: f64,
}

impl Memory {
    /// What the process holds now.
    pub fn now() -> Option<Self> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let of = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            let kib: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
            Some(kib * 1024.0 / 1e6)
        };
        Some(Self { resident: of("VmRSS:")?, peak: of("VmHWM:")? })
    }

    /// Counts the peak from now on, where the system can.
    pub fn forget_peak() {
        let _ = std::fs::write("/proc/self/clear_refs", "5");
    }
}
