//! Checkpoints: everything that a learner needs to go on, in one file, written atomically.

use crate::nn::{Params, load_safetensors, safetensors_bytes};
use crate::files::write_atomically;
use crate::{Error, Result};
use std::path::Path;

/// The name under which a checkpoint keeps its step, as two exact halves.
const STEP: &str = "step";

/// Writes a learner's state after `step` steps.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
pub fn save_checkpoint(mut state: Params, step: u64, path: &Path) -> Result<()> {
    let halves = vec![(step >> 20) as f32, (step & 0xf_ffff) as f32];
    state.insert(STEP.into(), (vec![2], halves));
    write_atomically(path, &safetensors_bytes(&state)?)
}

/// Reads a checkpoint: the learner's state and the step after which it was saved.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is not a checkpoint.
pub fn load_checkpoint(path: &Path) -> Result<(Params, u64)> {
    let mut state = load_safetensors(path)?;
    match state.remove(STEP) {
        Some((_, halves)) if halves.len() == 2 => {
            Ok((state, ((halves[0] as u64) << 20) | halves[1] as u64))
        }
        _ => Err(Error::file(path, STEP, "missing", "a checkpoint written by tweedie")),
    }
}
