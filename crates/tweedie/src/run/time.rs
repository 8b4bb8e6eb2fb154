//! How long a run was trained: the one thing in its folder that is not a function of its recipe.

use super::Run;
use crate::files::write_atomically;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The file.
const TIME: &str = "time.json";

/// What the file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Time {
    /// Seconds of training, over all sessions.
    seconds: f64,
}

impl Run {
    /// Seconds of training so far, over all sessions; none for a run whose time was not measured. What a killed session
    /// did after it last wrote them is not counted.
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

    /// Records how many seconds it was trained, over all sessions.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save_training_seconds(&self, seconds: f64) -> Result<()> {
        write_atomically(self.file(TIME), format!("{{\"seconds\": {seconds:.3}}}\n").as_bytes())
    }
}
