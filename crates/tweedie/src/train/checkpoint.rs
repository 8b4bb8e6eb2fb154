//! Checkpoints: the whole state of a learner in one file, written atomically.

use super::window::Window;
use crate::nn::{State, load_safetensors, save_safetensors};
use crate::{Error, Result};
use burn::tensor::TensorData;
use std::path::Path;

/// The name of the step in a checkpoint.
const STEP: &str = "step";

/// Writes a learner's state after `step` steps.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written; [`Error::Config`] naming an array of a type that files do not have.
pub fn save_checkpoint(mut state: State, step: u64, path: &Path) -> Result<()> {
    state.insert(STEP.into(), count(step));
    save_safetensors(&state, path)
}

/// Reads a checkpoint: the learner's state and the step after which it was saved.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is not a checkpoint.
pub fn load_checkpoint(path: &Path) -> Result<(State, u64)> {
    load_whole(path).map(|(state, step, _)| (state, step))
}

/// Reads a checkpoint with the sums of a window of the curves that had begun.
///
/// # Errors
/// As [`load_checkpoint`].
pub(super) fn load_whole(path: &Path) -> Result<(State, u64, Window)> {
    let mut state = load_safetensors(path)?;
    let step = take_count(&mut state, STEP, path)?;
    let window = Window::take(&mut state, path)?;
    Ok((state, step, window))
}

/// A count as an array of one number.
pub(crate) fn count(count: u64) -> TensorData {
    TensorData::new(vec![count], [1])
}

/// Removes a count from a state: one integer, or in old checkpoints two numbers of single precision, the bits from the
/// 20th on and those below.
///
/// # Errors
/// [`Error::File`] if the count is missing or no integer.
pub(crate) fn take_count(state: &mut State, name: &str, origin: &Path) -> Result<u64> {
    let fault = |problem: String| Error::file(origin, name, problem, "a count written by tweedie");
    let data = state.remove(name).ok_or_else(|| fault("missing".into()))?;
    if let Ok(&[count]) = data.as_slice::<u64>() {
        return Ok(count);
    }
    let Ok(&[high, low]) = data.as_slice::<f32>() else {
        let (kind, shape) = (data.dtype(), data.shape().as_slice());
        return Err(fault(format!("type {kind:?} of shape {shape:?}")));
    };
    let count = ((high as u64) << 20) | low as u64;
    if ((count >> 20) as f32, (count & 0xf_ffff) as f32) != (high, low) {
        return Err(fault(format!("[{high:?}, {low:?}]")));
    }
    Ok(count)
}
