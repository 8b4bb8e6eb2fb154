//! TensorBoard event files with scalars.
//!
//! The file is a sequence of TFRecords (TensorFlow, *TFRecord and tf.train.Example*): the length n of the data as
//! u64, its masked CRC as u32, n bytes of data, their masked CRC as u32, all little-endian, where
//! mask(c) = rotate_right(c, 15) + 0xa282ead8 and c is CRC-32C. The data are protocol buffers (`event.proto`,
//! `summary.proto`):
//!
//! ```text
//! Event   { 1: wall_time double, 2: step int64, 3: file_version string, 5: summary Summary }
//! Summary { 1: repeated Value }
//! Value   { 1: tag string, 2: simple_value float }
//! ```

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::files::write_atomically;
use crate::{Error, Result};

const VERSION: &[u8] = b"brain.Event:2";

/// The number of bytes of a record besides its data: length, its CRC, the CRC of the data.
const FRAME: usize = 16;

/// A file cut off within its first record is shorter than this many bytes; a longer one without a valid record is no
/// event file.
const FIRST_RECORD: usize = 64;

/// An event file open for appending. TensorBoard finds files whose name contains `tfevents`.
#[derive(Debug)]
pub struct EventFile {
    file: BufWriter<File>,
    path: PathBuf,
}

impl EventFile {
    /// Opens the file, new or existing, to append to it.
    ///
    /// An existing file keeps its complete records before the first damaged one (where a crash cut the file off) whose
    /// step is at most `keep_until_step`; with `None` it keeps all complete records. The shortened file replaces it
    /// atomically, so that a crash loses nothing.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read or written; [`Error::File`] if it is not an event file.
    pub fn open(path: impl AsRef<Path>, keep_until_step: Option<u64>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let before = read_if_there(&path)?;
        let mut kept = kept_records(&before, keep_until_step.unwrap_or(u64::MAX));
        if kept.is_empty() {
            if before.len() >= FIRST_RECORD {
                let expected = "a TensorBoard event file, or no file";
                return Err(Error::file(&path, "record 1", "damaged or of another kind", expected));
            }
            kept = record(&event(now(), 0, 3, VERSION));
        }
        let file = replace_and_append(&path, &before, &kept)?;
        Ok(Self { file: BufWriter::new(file), path })
    }

    /// Appends the values of a step: any names, numbers that TensorBoard shows as f32, NaN and infinities included.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let record = record(&event(now(), step, 5, &summary(values)));
        self.file.write_all(&record).map_err(|e| Error::io(&self.path, e))
    }

    /// Passes everything to the operating system.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|e| Error::io(&self.path, e))
    }
}

/// The bytes of a file; empty if the file does not exist.
pub(super) fn read_if_there(path: &Path) -> Result<Vec<u8>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Error::io(path, e)),
    }
}

/// Replaces the content `before` of a file by `kept`, atomically, and opens the file for appending.
pub(super) fn replace_and_append(path: &Path, before: &[u8], kept: &[u8]) -> Result<File> {
    if before != kept {
        write_atomically(path, kept)?;
    }
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.map_err(|e| Error::io(path, e))
}

/// The complete records before the first damaged one whose step is at most `last`.
fn kept_records(mut bytes: &[u8], last: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    while let Some(data) = first_record(bytes) {
        let (record, rest) = bytes.split_at(data.len() + FRAME);
        match step_of(data) {
            Some(step) if step <= last => kept.extend_from_slice(record),
            Some(_) => {}
            None => break,
        }
        bytes = rest;
    }
    kept
}

/// The data of the first record, if it is complete and undamaged.
fn first_record(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.get(..8)?;
    if bytes.get(8..12)? != masked_crc(length) {
        return None;
    }
    let count = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
    let data = bytes.get(12..)?.get(..count)?;
    (bytes.get(12 + count..)?.get(..4)? == masked_crc(data)).then_some(data)
}

/// The step of an event, 0 if absent, as in the first record; `None` if the data are not an event.
fn step_of(mut data: &[u8]) -> Option<u64> {
    let mut step = 0;
    while !data.is_empty() {
        let key = take_varint(&mut data)?;
        match (key >> 3, key & 7) {
            (2, 0) => step = take_varint(&mut data)?,
            (_, 0) => drop(take_varint(&mut data)?),
            (_, 1) => data = data.get(8..)?,
            (_, 2) => {
                let count = usize::try_from(take_varint(&mut data)?).ok()?;
                data = data.get(count..)?;
            }
            (_, 5) => data = data.get(4..)?,
            _ => return None,
        }
    }
    Some(step)
}

fn take_varint(data: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..10 {
        let (&byte, rest) = data.split_first()?;
        *data = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// An event with one more field of bytes.
fn event(seconds: f64, step: u64, field: u64, bytes: &[u8]) -> Vec<u8> {
    let mut event = Vec::new();
    put_key(&mut event, 1, 1);
    event.extend(seconds.to_le_bytes());
    // Protocol buffers leave zeros out.
    if step > 0 {
        put_key(&mut event, 2, 0);
        put_varint(&mut event, step);
    }
    put_bytes(&mut event, field, bytes);
    event
}

fn summary(values: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (name, number) in values {
        let mut value = Vec::new();
        put_bytes(&mut value, 1, name.as_bytes());
        put_key(&mut value, 2, 5);
        value.extend((*number as f32).to_le_bytes());
        put_bytes(&mut summary, 1, &value);
    }
    summary
}

fn put_key(out: &mut Vec<u8>, field: u64, kind: u64) {
    put_varint(out, field << 3 | kind);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(out, field, 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The data framed as a TFRecord.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), data, &masked_crc(data)].concat()
}

fn masked_crc(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests;
