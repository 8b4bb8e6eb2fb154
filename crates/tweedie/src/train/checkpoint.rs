//! Checkpoints: everything that a learner needs to go on, in one file, written atomically.

use crate::files::write_atomically;
use crate::nn::{Params, load_safetensors, safetensors_bytes};
use crate::{Error, Result};
use std::path::Path;

/// The name under which a checkpoint keeps its step.
const STEP: &str = "step";

/// Writes a learner's state after `step` steps.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
pub fn save_checkpoint(mut state: Params, step: u64, path: &Path) -> Result<()> {
    state.insert(STEP.into(), halves(step));
    write_atomically(path, &safetensors_bytes(&state)?)
}

/// Reads a checkpoint: the learner's state and the step after which it was saved.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is not a checkpoint.
pub fn load_checkpoint(path: &Path) -> Result<(Params, u64)> {
    let mut state = load_safetensors(path)?;
    let step = take_count(&mut state, STEP, path)?;
    Ok((state, step))
}

/// A count as an array of two exact halves.
pub(super) fn halves(count: u64) -> (Vec<usize>, Vec<f32>) {
    (vec![2], vec![(count >> 20) as f32, (count & 0xf_ffff) as f32])
}

/// Removes a count that [`halves`] has written.
///
/// # Errors
/// [`Error::File`] if it is missing or no count.
pub(super) fn take_count(state: &mut Params, name: &str, origin: &Path) -> Result<u64> {
    let fault = |problem: String| Error::file(origin, name, problem, "a count written by tweedie");
    let (_, values) = state.remove(name).ok_or_else(|| fault("missing".into()))?;
    match values[..] {
        [high, low] if halves(((high as u64) << 20) | low as u64).1 == values => {
            Ok(((high as u64) << 20) | low as u64)
        }
        _ => Err(fault(format!("{values:?}"))),
    }
}
