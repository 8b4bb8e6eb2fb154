//! ZIP archives, as far as NumPy writes them: stored or deflated entries, with 64-bit extensions, not encrypted.

use crate::data::parts::MOST_BYTES;
use crate::{Error, Result};
use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The longest end of an archive: its fixed part and a comment.
const LONGEST_END: u64 = 22 + 65_535;

/// An archive that is open for reading.
pub(super) struct Archive {
    file: File,
    length: u64,
    path: PathBuf,
    entries: Vec<Entry>,
}

struct Entry {
    name: String,
    encrypted: bool,
    method: u64,
    crc: u64,
    /// Bytes as they are in the archive.
    packed: u64,
    /// Where its local header begins.
    start: u64,
}

/// Little-endian numbers at places of a slice; what lies outside reads as 0.
fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    let own = bytes.get(at..at + size).unwrap_or_default();
    own.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

impl Archive {
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is no archive.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
        let mut archive = Self { file, length, path: path.to_path_buf(), entries: Vec::new() };
        let start = length.saturating_sub(LONGEST_END);
        let end = archive.bytes(start, length - start)?;
        let Some(at) = end.windows(4).rposition(|word| word == b"PK\x05\x06") else {
            return Err(archive.fault("archive", "there is no ZIP directory at the file's end"));
        };
        let (mut size, mut from) = (number(&end, at + 12, 4), number(&end, at + 16, 4));
        let locator = &end[at.saturating_sub(20)..at];
        if locator.starts_with(b"PK\x06\x07") {
            let wide = archive.bytes(number(locator, 8, 8), 56)?;
            (size, from) = (number(&wide, 40, 8), number(&wide, 48, 8));
        }
        let directory = archive.bytes(from, size)?;
        let mut rest = &directory[..];
        while rest.starts_with(b"PK\x01\x02") {
            let lengths = [28, 30, 32].map(|at| number(rest, at, 2) as usize);
            let whole = 46 + lengths.iter().sum::<usize>();
            let (Some(entry), Some(others)) = (rest.get(..whole), rest.get(whole..)) else {
                return Err(archive.fault("archive", "its directory ends within an entry"));
            };
            archive.entries.push(Entry::new(entry, lengths[0], lengths[1]));
            rest = others;
        }
        if !rest.is_empty() {
            return Err(archive.fault("archive", "its directory is not where it should be"));
        }
        Ok(archive)
    }

    /// What the archive is called in errors.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The entries' names.
    pub fn names(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| entry.name.as_str()).collect()
    }

    /// Whether there is an entry of this name.
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
    }

    /// The content of an entry, which must be as its checksum says.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::File`] if the entry is missing, damaged, too large, encrypted
    /// or packed otherwise than by deflation.
    pub fn read(&mut self, name: &str) -> Result<Vec<u8>> {
        let Some(entry) = self.entries.iter().find(|entry| entry.name == name) else {
            return Err(self.fault(name, "missing"));
        };
        let (method, crc, packed, start) = (entry.method, entry.crc, entry.packed, entry.start);
        if entry.encrypted || ![0, 8].contains(&method) {
            return Err(self.fault(name, "it is encrypted or packed by an unusual method"));
        }
        let header = self.bytes(start, 30)?;
        let begin = start + 30 + number(&header, 26, 2) + number(&header, 28, 2);
        if !header.starts_with(b"PK\x03\x04") || begin.saturating_add(packed) > self.length {
            return Err(
                self.fault(name, "the file ends within it, or it is not where it should be")
            );
        }
        self.file.seek(SeekFrom::Start(begin)).map_err(|e| Error::io(&self.path, e))?;
        let stored = BufReader::new(&self.file).take(packed);
        let mut content = Vec::new();
        let read = match method {
            0 => stored.take(MOST_BYTES + 1).read_to_end(&mut content),
            _ => DeflateDecoder::new(stored).take(MOST_BYTES + 1).read_to_end(&mut content),
        };
        if let Err(e) = read {
            return Err(self.fault(name, format!("unpacking fails: {e}")));
        }
        if content.len() as u64 > MOST_BYTES {
            return Err(self.fault(name, format!("it is longer than {MOST_BYTES} bytes")));
        }
        let mut found = Crc::new();
        found.update(&content);
        match u64::from(found.sum()) == crc {
            true => Ok(content),
            false => Err(self.fault(name, "its content is not what its checksum says")),
        }
    }

    /// `size` bytes from `start` on, which must be inside the file.
    fn bytes(&mut self, start: u64, size: u64) -> Result<Vec<u8>> {
        if start.checked_add(size).is_none_or(|end| end > self.length) {
            return Err(self.fault("archive", "a part of it would lie outside the file"));
        }
        let mut bytes = vec![0; size as usize];
        let read = self.file.seek(SeekFrom::Start(start));
        read.and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|e| Error::io(&self.path, e))?;
        Ok(bytes)
    }

    fn fault(&self, place: &str, problem: impl Into<String>) -> Error {
        Error::file(&self.path, place, problem, "a whole .npz file as numpy.savez writes it")
    }
}

impl Entry {
    /// From a record of the directory with a name and extra fields of the given lengths.
    fn new(record: &[u8], name: usize, extra: usize) -> Self {
        let [mut packed, unpacked, mut start] = [20, 24, 42].map(|at| number(record, at, 4));
        let mut fields = &record[46 + name..46 + name + extra];
        while fields.len() >= 4 {
            let size = number(fields, 2, 2) as usize;
            if number(fields, 0, 2) == 1 {
                // Those of unpacked size, packed size and start that 32 bits do not hold, in this order.
                let mut at = 4;
                for (value, kept) in
                    [(unpacked, None), (packed, Some(&mut packed)), (start, Some(&mut start))]
                {
                    if value == 0xffff_ffff {
                        kept.into_iter().for_each(|kept| *kept = number(fields, at, 8));
                        at += 8;
                    }
                }
            }
            fields = fields.get(4 + size..).unwrap_or_default();
        }
        Self {
            name: String::from_utf8_lossy(&record[46..46 + name]).into_owned(),
            encrypted: number(record, 8, 2) & 1 == 1,
            method: number(record, 10, 2),
            crc: number(record, 16, 4),
            packed,
            start,
        }
    }
}
