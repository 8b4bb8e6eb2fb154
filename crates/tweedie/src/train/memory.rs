//! The memory that a process takes.

/// The memory of this process in MB (10⁶ bytes), where the system reports it: on Linux. The memory of an accelerator is
/// not in it.
///
/// ```
/// use tweedie::train::Memory;
/// if let Some(memory) = Memory::now() {
///     assert!(memory.peak >= memory.resident && memory.resident > 0.0);
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// The current resident set.
    pub resident: f64,
    /// The peak since the start, or since [`forget_peak`](Self::forget_peak).
    pub peak: f64,
}

impl Memory {
    /// The memory now; none where the system does not report it.
    pub fn now() -> Option<Self> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let of = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            let kib: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
            Some(kib * 1024.0 / 1e6)
        };
        Some(Self { resident: of("VmRSS:")?, peak: of("VmHWM:")? })
    }

    /// Resets the peak, where the system can.
    pub fn forget_peak() {
        let _ = std::fs::write("/proc/self/clear_refs", "5");
    }
}
