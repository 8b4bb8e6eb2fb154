//! Files written whole or not at all.

use crate::{Error, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The beginning of the names of temporary files.
const PREFIX: &str = ".tweedie-";

/// A file that appears under its name only when it is complete: a temporary file beside it, renamed at the end.
///
/// Dropped before [`AtomicFile::finish`], it leaves no trace, and an earlier file of that name stays unchanged. A
/// symbolic link stays a link, and the file that it leads to is written. A pipe or a device is written as it is.
///
/// ```
/// use std::io::Write;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("numbers.txt");
/// let mut file = tweedie::files::AtomicFile::create(&path)?;
/// write!(file, "1 2 3")?;
/// assert!(!path.exists());
/// file.finish()?;
/// assert_eq!(std::fs::read_to_string(path)?, "1 2 3");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    out: Out,
    path: PathBuf,
}

/// The destination of the bytes.
#[derive(Debug)]
enum Out {
    /// To a temporary file.
    Beside(BufWriter<tempfile::NamedTempFile>),
    /// To a pipe or a device.
    Into(BufWriter<File>),
}

/// Whether a path is a pipe or a device.
fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// The target of symbolic links, which need not exist.
fn followed(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    // As many links as Linux follows.
    for _ in 0..40 {
        let Ok(next) = std::fs::read_link(&path) else { break };
        path = path.parent().map(|folder| folder.join(&next)).unwrap_or(next);
    }
    path
}

impl AtomicFile {
    /// Opens a temporary file for `path`, whose folder must exist.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be written.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if is_special(path) {
            let out = File::options().write(true).open(path).map_err(|e| Error::io(path, e))?;
            return Ok(Self { out: Out::Into(BufWriter::new(out)), path: path.to_path_buf() });
        }
        let path = followed(path);
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Without these checks both errors would come late, or name the temporary file.
        std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
        if path.is_dir() {
            return Err(Error::io(&path, std::io::ErrorKind::IsADirectory.into()));
        }
        let file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder);
        let out = BufWriter::new(file.map_err(|e| Error::io(&path, e))?);
        Ok(Self { out: Out::Beside(out), path })
    }

    /// Renames the complete file to its name.
    ///
    /// # Errors
    /// [`Error::Io`] if the last bytes cannot be written or the file cannot be renamed.
    pub fn finish(self) -> Result<()> {
        let path = self.path.clone();
        match self.complete()? {
            Some(file) => file.persist(&path).map(drop).map_err(|e| Error::io(&path, e.error)),
            None => Ok(()),
        }
    }

    /// Renames the complete file to its name, unless another has this name by now; gives whether it did.
    ///
    /// # Errors
    /// As [`AtomicFile::finish`].
    pub fn finish_new(self) -> Result<bool> {
        let path = self.path.clone();
        let Some(file) = self.complete()? else { return Ok(true) };
        match file.persist_noclobber(&path) {
            Ok(_) => Ok(true),
            Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(Error::io(&path, e.error)),
        }
    }

    /// Writes what is left; gives the temporary file, if there is one.
    fn complete(self) -> Result<Option<tempfile::NamedTempFile>> {
        let path = self.path;
        let out = match self.out {
            Out::Beside(out) => out,
            Out::Into(mut out) => {
                return out.flush().map(|()| None).map_err(|e| Error::io(&path, e));
            }
        };
        let file = out.into_inner().map_err(|e| Error::io(&path, e.into_error()))?;
        readable_by_all(file.as_file()).map_err(|e| Error::io(&path, e))?;
        // The content is on disk before the file has its name, so that a power cut leaves the old file or the new one.
        file.as_file().sync_data().map_err(|e| Error::io(&path, e))?;
        Ok(Some(file))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut self.out {
            Out::Beside(out) => out.write(bytes),
            Out::Into(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match &mut self.out {
            Out::Beside(out) => out.flush(),
            Out::Into(out) => out.flush(),
        }
    }
}

/// A path as a word of a command line: in quotes if a shell would part it.
///
/// ```
/// use tweedie::files::shell_word;
/// assert_eq!(shell_word("runs/digits"), "runs/digits");
/// assert_eq!(shell_word("my runs/it's"), r"'my runs/it'\''s'");
/// ```
pub fn shell_word(path: impl AsRef<Path>) -> String {
    let text = path.as_ref().to_string_lossy().into_owned();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%,".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Removes temporary files that killed processes left in a folder; no other process may be writing there.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be read or a file cannot be removed.
pub fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let entry = entry.map_err(|e| Error::io(folder, e))?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            std::fs::remove_file(entry.path()).map_err(|e| Error::io(entry.path(), e))?;
        }
    }
    Ok(())
}

/// Writes a file, all or nothing.
///
/// # Errors
/// [`Error::Io`] if it cannot be written.
pub fn write_atomically(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(|e| Error::io(path, e))?;
    file.finish()
}

/// Temporary files are private; a result is an ordinary file.
#[cfg(unix)]
fn readable_by_all(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_all(_file: &File) -> std::io::Result<()> {
    Ok(())
}
