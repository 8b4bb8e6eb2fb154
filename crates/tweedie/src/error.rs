//! Errors as values: each names the fault, its place, and the expectation.

use std::path::{Path, PathBuf};

/// The result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure: the fault, its place, and the expectation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason that the system gives.
        source: std::io::Error,
    },
    /// A file has unexpected content.
    #[error("{}: {place}: {problem}; expected {expected}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The place in the file: a line, a column, the name of an array.
        place: String,
        /// The fault there.
        problem: String,
        /// The expectation.
        expected: String,
    },
    /// A recipe, an option or an argument has a value that cannot be used.
    #[error("{key}: {problem}; expected {expected}")]
    Config {
        /// The key, option or argument.
        key: String,
        /// The fault of the value.
        problem: String,
        /// The expectation.
        expected: String,
    },
    /// A batch, a condition or an array has the wrong shape.
    #[error("{what}: found {found}, expected {expected}")]
    Shape {
        /// The batch, condition or array with the wrong shape.
        what: String,
        /// The shape found.
        found: String,
        /// The shape expected.
        expected: String,
    },
    /// A quantity that does not exist mathematically.
    #[error("{what} does not exist: {why}")]
    Undefined {
        /// The quantity.
        what: String,
        /// The reason why it does not exist.
        why: String,
    },
    /// A value became NaN or infinite, or a solver could not continue.
    #[error("{what} at step {step}")]
    Diverged {
        /// The quantity that diverged.
        what: String,
        /// The step of training, or of a solver, at which it diverged.
        step: u64,
    },
    /// Another error, with advice on how to go on.
    #[error("{source}; {advice}")]
    Advised {
        /// The error.
        source: Box<Error>,
        /// The advice.
        advice: String,
    },
    /// A device that is not compiled in or not present.
    #[error("device {device}: {why}")]
    Device {
        /// The name of the device, as given.
        device: String,
        /// The reason why it cannot be used.
        why: String,
    },
}

impl Error {
    /// An [`Error::Io`] for `path`.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// An [`Error::File`] for `path`.
    pub fn file(
        path: impl AsRef<Path>,
        place: impl Into<String>,
        problem: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Error::File {
            path: path.as_ref().to_path_buf(),
            place: place.into(),
            problem: problem.into(),
            expected: expected.into(),
        }
    }

    /// An [`Error::Config`] for `key`.
    pub fn config(
        key: impl Into<String>,
        problem: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Error::Config { key: key.into(), problem: problem.into(), expected: expected.into() }
    }

    /// An [`Error::Shape`] for `what`.
    pub fn shape(
        what: impl Into<String>,
        found: impl std::fmt::Display,
        expected: impl std::fmt::Display,
    ) -> Self {
        Error::Shape { what: what.into(), found: found.to_string(), expected: expected.to_string() }
    }

    /// The same error with advice on how to go on.
    ///
    /// ```
    /// use tweedie::Error;
    /// let error = Error::config("label", "kin", "a column").advised("the columns are kind, age");
    /// assert_eq!(error.to_string(), "label: kin; expected a column; the columns are kind, age");
    /// ```
    pub fn advised(self, advice: impl Into<String>) -> Self {
        Error::Advised { source: Box::new(self), advice: advice.into() }
    }

    /// An [`Error::Undefined`] for `what`.
    pub fn undefined(what: impl Into<String>, why: impl Into<String>) -> Self {
        Error::Undefined { what: what.into(), why: why.into() }
    }
}

/// Fails, naming `key`, unless a count is from 1 to `most`.
pub(crate) fn count(key: &str, value: u64, most: u64) -> Result<()> {
    match value {
        0 => Err(Error::config(key, "0", "at least 1")),
        v if v > most => Err(Error::config(key, v.to_string(), format!("at most {most}"))),
        _ => Ok(()),
    }
}

/// Fails, naming `key`, unless a number is from `low` to `high`.
pub(crate) fn within(key: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if value >= low && value <= high {
        return Ok(());
    }
    Err(Error::config(key, format!("{value:?}"), format!("a number from {low:?} to {high:?}")))
}

/// Fails unless a batch of shape `[n, d]` has rows of length `width`.
pub(crate) fn rows_of([n, d]: [usize; 2], width: usize) -> Result<()> {
    if d == width {
        return Ok(());
    }
    Err(Error::shape("batch", format!("{n} × {d}"), format!("n × {width}")))
}

/// The same error with its key inside a table.
pub(crate) fn inside(table: &str, error: Error) -> Error {
    match error {
        Error::Config { key, problem, expected } => {
            Error::config(format!("{table}.{key}"), problem, expected)
        }
        other => other,
    }
}

/// "one of a, b, c", preceded by the nearest name where one is near.
pub fn one_of(found: &str, names: &[&str]) -> String {
    let list = names.join(", ");
    match nearest(found, names) {
        Some(name) => format!("`{name}` perhaps; one of {list}"),
        None => format!("one of {list}"),
    }
}

/// The known name nearest to a misspelt one, if at most a third of its letters differ. A number is no misspelt name.
///
/// ```
/// use tweedie::error::nearest;
/// assert_eq!(nearest("moosn", &["moons", "pinwheel"]), Some("moons"));
/// assert_eq!(nearest("10", &["0", "1"]), None);
/// ```
pub fn nearest<'a>(found: &str, names: &[&'a str]) -> Option<&'a str> {
    if found.parse::<f64>().is_ok() {
        return None;
    }
    let letters = |name: &str| name.chars().count().max(found.chars().count());
    // Of a short name one letter is more than a third.
    let slip = |name: &str| name.chars().next() == found.chars().next();
    names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(found, name), *name))
        .filter(|(distance, name)| 3 * distance <= letters(name) || *distance == 1 && slip(name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
