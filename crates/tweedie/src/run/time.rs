//! What training a run cost, in time and memory: the one thing in its folder that is not a function of its recipe.

use super::Run;
use crate::files::write_atomically;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The name of the file.
const TIME: &str = "time.json";

/// The cost of training a run so far, over all sessions. What a killed session took after its last record is not
/// counted.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// The seconds of training, by the clock.
    pub seconds: f64,
    /// The seconds of all cores together that the process took in training; none where they were not measured. Other
    /// work on the machine lengthens `seconds`, and these hardly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// The most memory of a process that trained the run, in MB (10⁶ bytes); none where it was not measured. It
    /// includes the data, and not the memory of an accelerator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_mb: Option<f64>,
}

impl Cost {
    /// The cost that a file's text states; none unless it is one.
    fn of(text: &str) -> Option<Self> {
        let cost: Self = serde_json::from_str(text).ok()?;
        let optional = [cost.cpu_seconds, cost.peak_memory_mb];
        let sound = cost.seconds >= 0.0 && optional.into_iter().flatten().all(|of| of >= 0.0);
        sound.then_some(cost)
    }

    /// The text of the file.
    fn text(&self) -> String {
        let cpu = self.cpu_seconds.map(|seconds| format!(", \"cpu_seconds\": {seconds:.3}"));
        let memory = self.peak_memory_mb.map(|mb| format!(", \"peak_memory_mb\": {mb:.1}"));
        let optional = [cpu, memory].into_iter().flatten().collect::<String>();
        format!("{{\"seconds\": {:.3}{optional}}}\n", self.seconds)
    }
}

impl Run {
    /// The cost of training so far; none for a run whose time was not measured.
    ///
    /// # Errors
    /// [`Error::File`] if the file is damaged; [`Error::Io`] if it cannot be read.
    pub fn cost(&self) -> Result<Option<Cost>> {
        let path = self.file(TIME);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
        let expected = "{\"seconds\": a number}";
        let found = Cost::of(&text);
        found.map(Some).ok_or_else(|| Error::file(&path, "seconds", "no time", expected))
    }

    /// Records the cost of training so far.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save_cost(&self, cost: Cost) -> Result<()> {
        write_atomically(self.file(TIME), cost.text().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_read_as_written_and_older_runs_have_seconds_alone() {
        for (cpu_seconds, peak_memory_mb) in
            [(None, None), (None, Some(123.5)), (Some(4.5), Some(123.5))]
        {
            let cost = Cost { seconds: 2.25, cpu_seconds, peak_memory_mb };
            assert_eq!(Cost::of(&cost.text()), Some(cost));
        }
        let older = "{\"seconds\": 1.500}\n";
        assert_eq!(Cost { seconds: 1.5, ..Cost::default() }.text(), older);
        for damaged in ["", "{}", "{\"seconds\": -1}", "{\"seconds\": 1, \"minutes\": 2}"] {
            assert_eq!(Cost::of(damaged), None);
        }
    }
}
