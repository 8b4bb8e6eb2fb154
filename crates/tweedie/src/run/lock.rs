//! The lock of a run's folder: one process trains a run at a time.

use super::Run;
use crate::{Error, Result};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The file that is locked.
const LOCK: &str = ".lock";

/// The lock of a run's folder, free again when it is dropped or its process ends, however that may be.
///
/// The system locks an open file, so that a file left by a killed process locks nothing.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    /// None where the file system has no locks.
    file: Option<File>,
}

impl Run {
    /// Locks the folder against other processes that would train the run.
    ///
    /// # Errors
    /// [`Error::Config`] if another process has the lock; [`Error::Io`] if the folder cannot be written.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.file(LOCK);
        loop {
            let open = File::options().write(true).create(true).truncate(false).open(&path);
            let file = open.map_err(|e| Error::io(&path, e))?;
            match file.try_lock() {
                // Its last owner may have removed it in between: then another file has this name, or none.
                Ok(()) if is_at(&file, &path) => return Ok(Lock { path, file: Some(file) }),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let problem =
                        format!("{} is being trained by another process", self.folder.display());
                    return Err(Error::config("--out", problem, "another folder, or to wait"));
                }
                Err(TryLockError::Error(_)) => return Ok(Lock { path, file: None }),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is locked, so that nobody else can have locked it under this name.
        let _ = std::fs::remove_file(&self.path);
        drop(self.file.take());
    }
}

/// Whether an open file has this name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(own), Ok(there)) => (own.dev(), own.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Whether an open file has this name: an open file cannot be removed here.
#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}
