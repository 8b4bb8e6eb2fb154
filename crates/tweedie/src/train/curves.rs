//! Curves of a run: each logged step goes to `curves.jsonl`, for programs, and to an event file, for TensorBoard.
//!
//! `curves.jsonl` holds one JSON object a line, `{"step":10,"loss":0.5}`. JSON has no NaN and no infinity: they are
//! written as `null` and read as NaN.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::tensorboard::{EventFile, read_if_there, replace_and_append};
use crate::{Error, Result};

/// The names of the files in the folder of a run.
const LINES: &str = "curves.jsonl";
const EVENTS: &str = "events.out.tfevents.tweedie";

/// One logged step: its number and its named values, in the order in which they were logged.
pub type Entry = (u64, Vec<(String, f64)>);

/// The curves of a run, open for appending.
///
/// ```
/// use tweedie::train::curves::{Curves, read};
/// let folder = tempfile::tempdir()?;
/// let mut curves = Curves::open(folder.path(), None)?;
/// curves.log(10, &[("loss", 0.5), ("rate", 1e-3)])?;
/// curves.log(20, &[("loss", 0.4)])?;
/// drop(curves);
/// // Resumed from a checkpoint of step 15.
/// Curves::open(folder.path(), Some(15))?.log(20, &[("loss", 0.3)])?;
/// let entries = read(folder.path().join("curves.jsonl"))?;
/// assert_eq!(entries[1], (20, vec![("loss".to_string(), 0.3)]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Curves {
    lines: BufWriter<File>,
    path: PathBuf,
    events: EventFile,
}

impl Curves {
    /// Opens the curves in `folder`, which must exist.
    ///
    /// With `resume_from`, the step of a checkpoint, both files keep their content up to that step, byte for byte;
    /// later entries, and a last line or record cut off by a crash, are dropped. With `None` both files start empty.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read or written; [`Error::File`] if a file to be continued has other content.
    pub fn open(folder: impl AsRef<Path>, resume_from: Option<u64>) -> Result<Self> {
        let path = folder.as_ref().join(LINES);
        let events = folder.as_ref().join(EVENTS);
        let before = read_if_there(&path)?;
        let kept = match resume_from {
            Some(last) => kept_lines(&path, &before, last)?,
            None => {
                File::create(&events).map_err(|e| Error::io(&events, e))?;
                Vec::new()
            }
        };
        let events = EventFile::open(events, resume_from)?;
        let lines = BufWriter::new(replace_and_append(&path, &before, &kept)?);
        Ok(Self { lines, path, events })
    }

    /// Logs the values of a step.
    ///
    /// # Errors
    /// [`Error::Config`] if two values have one name, or a value has the name `step`; [`Error::Io`] if a file cannot be
    /// written.
    pub fn log(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let line = line(step, values)?;
        self.lines.write_all(line.as_bytes()).map_err(|e| Error::io(&self.path, e))?;
        self.events.scalars(step, values)
    }

    /// Passes everything to the operating system; to be called before a checkpoint is written.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.lines.flush().map_err(|e| Error::io(&self.path, e))?;
        self.events.flush()
    }
}

/// Reads the steps of a `curves.jsonl`. An incomplete last line, of a crash or of a run in progress, is skipped.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`], with the number of the line, if a line is not such an
/// object.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Entry>> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let lines = whole_lines(&bytes).enumerate();
    lines.map(|(i, line)| parsed(path, i, line)).collect()
}

/// The complete lines, each with its line break.
fn whole_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|&b| b == b'\n').filter(|line| line.ends_with(b"\n"))
}

fn parsed(path: &Path, i: usize, line: &[u8]) -> Result<Entry> {
    let Line(step, values) = serde_json::from_slice(line).map_err(|e| {
        let expected = "an object such as {\"step\":10,\"loss\":0.5}";
        Error::file(path, format!("line {}", i + 1), e.to_string(), expected)
    })?;
    Ok((step, values))
}

/// The lines up to step `last`, without a damaged last line.
fn kept_lines(path: &Path, bytes: &[u8], last: u64) -> Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut lines = whole_lines(bytes).enumerate().peekable();
    while let Some((i, line)) = lines.next() {
        match parsed(path, i, line) {
            Ok((step, _)) if step <= last => kept.extend_from_slice(line),
            Err(error) if lines.peek().is_some() => return Err(error),
            _ => {}
        }
    }
    Ok(kept)
}

/// A step as a line of JSON.
fn line(step: u64, values: &[(&str, f64)]) -> Result<String> {
    let mut line = format!("{{\"step\":{step}");
    for (i, (name, value)) in values.iter().enumerate() {
        if *name == "step" || values[..i].iter().any(|(earlier, _)| earlier == name) {
            let expected = "names that differ from each other and from `step`";
            return Err(Error::config("curves", format!("`{name}` twice in a line"), expected));
        }
        let name = serde_json::Value::from(*name);
        // NaN and infinities become null.
        let value = serde_json::Value::from(*value);
        line.push_str(&format!(",{name}:{value}"));
    }
    line.push_str("}\n");
    Ok(line)
}

/// A line as read: step, and values in the order of the line.
struct Line(u64, Vec<(String, f64)>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(LineVisitor)
    }
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Line;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an object with a step and numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Line, A::Error> {
        let (mut step, mut values) = (None, Vec::new());
        while let Some(name) = map.next_key::<String>()? {
            if name == "step" {
                step = Some(map.next_value()?);
            } else {
                values.push((name, map.next_value::<Option<f64>>()?.unwrap_or(f64::NAN)));
            }
        }
        let step = step.ok_or_else(|| A::Error::missing_field("step"))?;
        Ok(Line(step, values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> String {
        text.to_string()
    }

    fn logged(folder: &Path, steps: u64) {
        let mut curves = Curves::open(folder, None).unwrap();
        for step in 1..=steps {
            curves.log(step, &[("loss", 1.0 / step as f64), ("rate", 0.1)]).unwrap();
        }
    }

    #[test]
    fn values_come_back_in_order_and_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let mut curves = Curves::open(folder.path(), None).unwrap();
        let values = [("z", 0.1 + 0.2), ("a\"\\\n λ", 5e-324), ("m", -f64::MAX), ("zero", -0.0)];
        curves.log(u64::MAX, &values).unwrap();
        curves.log(2, &[]).unwrap();
        drop(curves);
        let entries = read(folder.path().join(LINES)).unwrap();
        assert_eq!(entries[0].0, u64::MAX);
        for ((found_name, found), (name, value)) in entries[0].1.iter().zip(values) {
            assert_eq!((found_name.as_str(), found.to_bits()), (name, value.to_bits()));
        }
        assert_eq!(entries[1], (2, vec![]));
    }

    #[test]
    fn what_is_no_number_is_valid_json_and_reads_as_nan() {
        let folder = tempfile::tempdir().unwrap();
        let mut curves = Curves::open(folder.path(), None).unwrap();
        let values = [("a", f64::NAN), ("b", f64::INFINITY), ("c", f64::NEG_INFINITY), ("d", 1.0)];
        curves.log(3, &values).unwrap();
        drop(curves);
        let path = folder.path().join(LINES);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"step\":3,\"a\":null,\"b\":null,\"c\":null,\"d\":1.0}\n");
        let entries = read(&path).unwrap();
        assert!(entries[0].1[..3].iter().all(|(_, v)| v.is_nan()));
        assert_eq!(entries[0].1[3], (name("d"), 1.0));
    }

    #[test]
    fn resuming_at_any_step_leaves_the_bytes_of_an_uninterrupted_run() {
        let folder = tempfile::tempdir().unwrap();
        let (path, events) = (folder.path().join(LINES), folder.path().join(EVENTS));
        logged(folder.path(), 20);
        let (lines, records) = (std::fs::read(&path).unwrap(), std::fs::read(&events).unwrap());
        for last in 0..=20 {
            std::fs::write(&path, &lines).unwrap();
            std::fs::write(&events, &records).unwrap();
            let mut curves = Curves::open(folder.path(), Some(last)).unwrap();
            assert!(records.starts_with(&std::fs::read(&events).unwrap()));
            for step in last + 1..=20 {
                curves.log(step, &[("loss", 1.0 / step as f64), ("rate", 0.1)]).unwrap();
            }
            curves.flush().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), lines);
            assert_eq!(std::fs::read(&events).unwrap().len(), records.len());
        }
    }

    #[test]
    fn a_cut_at_any_byte_loses_only_the_cut_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LINES);
        logged(folder.path(), 4);
        let lines = std::fs::read(&path).unwrap();
        for cut in 0..lines.len() {
            std::fs::write(&path, &lines[..cut]).unwrap();
            let whole = lines[..cut].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
            let count = lines[..whole].iter().filter(|&&b| b == b'\n').count();
            assert_eq!(read(&path).unwrap().len(), count);
            drop(Curves::open(folder.path(), Some(100)).unwrap());
            assert_eq!(std::fs::read(&path).unwrap(), lines[..whole]);
        }
    }

    #[test]
    fn damage_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LINES);
        let wrong =
            ["nonsense", "{\"loss\":1}", "{\"step\":-1}", "{\"step\":1,\"loss\":\"x\"}", "[1]"];
        for wrong in wrong {
            let text = format!("{{\"step\":1}}\n{wrong}\n{{\"step\":3}}\n");
            std::fs::write(&path, &text).unwrap();
            for error in
                [read(&path).unwrap_err(), Curves::open(folder.path(), Some(9)).unwrap_err()]
            {
                assert!(error.to_string().contains("line 2"), "{error}");
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        // A crash of the machine may leave zeros in the last line.
        std::fs::write(&path, b"{\"step\":1}\n\0\0\0\n").unwrap();
        drop(Curves::open(folder.path(), Some(9)).unwrap());
        assert_eq!(read(&path).unwrap(), [(1, vec![])]);
    }

    #[test]
    fn a_new_run_starts_empty_and_bad_names_are_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        logged(folder.path(), 3);
        let mut curves = Curves::open(folder.path(), None).unwrap();
        assert!(curves.log(1, &[("step", 1.0)]).is_err());
        assert!(curves.log(1, &[("a", 1.0), ("b", 1.0), ("a", 2.0)]).is_err());
        curves.log(1, &[("a", 1.0)]).unwrap();
        drop(curves);
        let entries = read(folder.path().join(LINES)).unwrap();
        assert_eq!(entries, [(1, vec![(name("a"), 1.0)])]);
        assert!(Curves::open(folder.path().join("absent"), None).is_err());
    }
}
