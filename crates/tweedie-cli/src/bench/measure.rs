//! Times and rates.

use std::time::{Duration, Instant};
use tweedie::Result;

/// One execution: it runs and gives its duration.
pub type Work = Box<dyn FnMut() -> Result<Duration>>;

/// The least duration of a round, and its least number of executions.
const ROUND: Duration = Duration::from_millis(300);
const EXECUTIONS: usize = 3;

/// The duration of `work`.
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

/// The use of the processors by other processes, where the system reports it.
pub struct Others(Option<[f64; 3]>);

impl Others {
    /// A measurement that starts now.
    pub fn since_now() -> Self {
        Self(Self::ticks())
    }

    /// The share of all processors' time since then that was taken by other processes, or by other machines on the same
    /// host.
    pub fn share(&self) -> Option<f64> {
        let ([all, idle, own], [all_then, idle_then, own_then]) = (Self::ticks()?, self.0?);
        let (all, busy) = (all - all_then, (all - all_then) - (idle - idle_then));
        // Ticks are coarse: a negative share counts as zero.
        (all > 0.0).then(|| ((busy - (own - own_then)) / all).max(0.0))
    }

    /// Clock ticks since the start: of all processors, of idle ones, and of this process's threads.
    fn ticks() -> Option<[f64; 3]> {
        let numbers = |text: &str| -> Vec<f64> {
            text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
        };
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        // user, nice, system, idle, iowait, irq, softirq, steal; the first two include guests.
        let all = numbers(stat.lines().next()?.strip_prefix("cpu ")?);
        let own = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The command's name, in parentheses, may hold anything; then a letter, and the times are 11 numbers on.
        let own = numbers(own.rsplit_once(')')?.1.trim_start().get(1..)?);
        Some([
            all.get(..8)?.iter().sum(),
            all.get(3..5)?.iter().sum(),
            own.get(10..12)?.iter().sum(),
        ])
    }
}
