//! Checkpoints: everything that a learner needs to go on, in one file, written atomically.

use crate::nn::{Params, load_safetensors, safetensors_bytes};
use crate::{Error, Result};
use std::io::Write;
use std::path::Path;

/// Writes a file so that it is either all there or not there at all: to a temporary file beside it, which is then
/// renamed.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |e| Error::io(path, e);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".tweedie-")
        .tempfile_in(folder)
        .map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.as_file().sync_data().map_err(fail)?;
    make_readable(file.as_file()).map_err(fail)?;
    file.persist(path).map_err(|e| Error::io(path, e.error))?;
    Ok(())
}

/// Temporary files are private; a result should be as readable as any other file.
#[cfg(unix)]
fn make_readable(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_file: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}

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
