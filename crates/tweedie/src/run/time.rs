//! The training time of a run: the one thing in its folder that is not a function of its recipe.

use super::Run;
use crate::files::write_atomically;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The name of the file.
const TIME: &str = "time.json";

/// The content of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Time {
    /// The seconds of training, over all sessions.
    seconds: f64,
}

impl Run {
    /// The seconds of training so far, over all sessions; none for a run whose time was not measured. The time of a
    /// killed session after its last record is not counted.
    ///
    /// # Errors
    /// [`Error::File`] if the file is damaged; [`Error::Io`] if it cannot be read.
    pub fn training_seconds(&self) -> Result<Option<f64>> {
        let path = self.file(TIME);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
        match serde_json::from_str(&text) {
            Ok(Time { seconds }) if seconds >= 0.0 => Ok(Some(seconds)),
            _ => Err(Error::file(&path, "seconds", "no time", "{\"seconds\": a number}")),
        }
    }

    /// Records the seconds of training, over all sessions.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save_training_seconds(&self, seconds: f64) -> Result<()> {
        write_atomically(self.file(TIME), format!("{{\"seconds\": {seconds:.3}}}\n").as_bytes())
    }
}
