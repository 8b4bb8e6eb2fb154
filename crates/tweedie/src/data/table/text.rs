//! From the bytes of a table to its records: encoding, comments, and the separator of cells.
//!
//! The separator is the first, of `;` tab `|` `,` and blanks, that gives the first lines equal numbers of cells, more
//! than one; a comma if there is none. Blanks separate cells only if each line behind the first holds a number. A first
//! line `sep=;`, as Excel reads it, names the separator. Lines in front that begin with `#` are comments, unless the
//! last of them names as many columns as the next line has cells; where no separator does, lines of one cell in front
//! may be a title. In KEEL's `.dat` files all lines that begin with `@` are comments.

use super::cell::is_number;
use crate::{Error, Result};
use csv::StringRecord;
use std::borrow::Cow;
use std::path::Path;

/// Lines that decide the separator.
const LINES: usize = 100;
/// Most lines of a title.
pub(super) const TITLE: usize = 10;

/// The text of a table.
pub(super) struct Text<'a> {
    text: Cow<'a, str>,
    separator: Separator,
    /// The sign at the beginning of comments.
    comment: Option<u8>,
    /// The byte at which the first record begins.
    start: usize,
    /// Whether the first record is a comment that names the columns.
    hash: bool,
    path: &'a Path,
}

/// The separator of cells.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Separator {
    /// One byte between two cells.
    Byte(u8),
    /// Any number of blanks.
    Blanks,
}

impl<'a> Text<'a> {
    /// Decodes bytes and finds their separator.
    pub fn new(bytes: &'a [u8], path: &'a Path) -> Result<Self> {
        let text = decoded(bytes, path)?;
        let start: String = text.trim_start().chars().take(9).collect::<String>().to_lowercase();
        for (sign, what) in [
            ("<!doctype", "a page of HTML, as after a failed download"),
            ("<html", "a page of HTML"),
            ("<?xml", "XML"),
            ("[{", "JSON"),
            ("{\"", "JSON"),
        ] {
            if start.starts_with(sign) {
                return Err(Error::file(path, "line 1", format!("the file is {what}"), "a table"));
            }
        }
        let name = path.to_string_lossy().to_ascii_lowercase();
        let comment = (name.ends_with(".dat") || name.ends_with(".dat.gz")).then_some(b'@');
        let mut found =
            Self { text, separator: Separator::Byte(b','), comment, start: 0, hash: false, path };
        match found.excels_separator() {
            Some((separator, start)) => (found.separator, found.start) = (separator, start),
            None => {
                found.separator = found.separator();
                (found.start, found.hash) = found.first_record();
            }
        }
        Ok(found)
    }

    /// Whether cells are separated by something else than commas, so that a comma may be a decimal point.
    pub fn has_free_commas(&self) -> bool {
        self.separator != Separator::Byte(b',')
    }

    /// The records with their lines, from 1; the first may be a header.
    pub fn records(&self) -> Result<Vec<(u64, StringRecord)>> {
        let text = &self.text[self.start..];
        let mut here = Cursor { text: self.text.as_bytes(), at: 0, line: 1 };
        let mut records = Vec::new();
        for record in self.reader(text).records() {
            let mut record = record.map_err(|e| {
                let place = format!("after line {}", here.line);
                Error::file(self.path, place, e.to_string(), "a table of cells")
            })?;
            let start = record.position().map_or(here.at, |p| self.start + p.byte() as usize);
            let line = here.line_of_record(start, self.comment);
            if self.separator == Separator::Blanks {
                record = without_empty(&record);
            }
            if self.hash && records.is_empty() {
                record = without_hash(&record);
            }
            records.push((line, record));
        }
        Ok(records)
    }

    fn reader<'t>(&self, text: &'t str) -> csv::Reader<&'t [u8]> {
        let separator = match self.separator {
            Separator::Byte(byte) => byte,
            Separator::Blanks => b' ',
        };
        csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(separator)
            .trim(csv::Trim::All)
            .comment(self.comment)
            .from_reader(text.as_bytes())
    }

    /// The separator that a first line `sep=;` names, and the byte behind this line.
    fn excels_separator(&self) -> Option<(Separator, usize)> {
        let (first, _) = self.text.split_once('\n')?;
        let [separator] = first.trim_end_matches('\r').strip_prefix("sep=")?.as_bytes() else {
            return None;
        };
        Some((Separator::Byte(*separator), first.len() + 1))
    }

    /// The separator of the first lines.
    fn separator(&mut self) -> Separator {
        let comma = Separator::Byte(b',');
        // Commas and blanks are frequent in texts and numbers, so that others go first.
        let bytes = [b';', b'\t', b'|', b','].map(Separator::Byte);
        for title in [0, TITLE] {
            for separator in bytes.into_iter().chain((title == 0).then_some(Separator::Blanks)) {
                self.separator = separator;
                if self.common_width(title).is_some_and(|width| width > 1) {
                    return separator;
                }
            }
            self.separator = comma;
            if self.common_width(title).is_some() {
                return comma;
            }
        }
        comma
    }

    /// The number of cells that all of the first lines have, behind at most `title` lines of one cell; none if they
    /// differ. Comments do not count.
    fn common_width(&self, title: usize) -> Option<usize> {
        let (mut width, mut titles) = (0, 0);
        let lines = self.reader(&self.text).into_records().take(LINES);
        for record in lines.map_while(std::result::Result::ok) {
            let found = match self.separator {
                Separator::Blanks if width != 0 && !record.iter().any(is_number) => return None,
                Separator::Blanks => without_empty(&record).len(),
                Separator::Byte(_) => record.len(),
            };
            if (width == 0 || found != width) && is_comment(&record) {
                continue;
            }
            if width == 0 && found == 1 && titles < title {
                titles += 1;
                continue;
            }
            if width != 0 && found != width {
                return None;
            }
            width = found;
        }
        Some(width)
    }

    /// The byte at which the first record begins, behind comments, and whether it is one that names the columns.
    fn first_record(&self) -> (usize, bool) {
        let (mut at, mut last) = (0, None);
        while self.text[at..].starts_with('#') {
            last = Some(at);
            let rest = &self.text[at..];
            let line = rest.find(['\n', '\r']).unwrap_or(rest.len());
            at += rest.len() - rest[line..].trim_start_matches(['\n', '\r']).len();
        }
        let Some(last) = last.filter(|_| at < self.text.len()) else { return (0, false) };
        let cells = |from: usize| {
            let record = self.reader(&self.text[from..]).into_records().next()?.ok()?;
            let blanks = self.separator == Separator::Blanks;
            Some(if blanks { without_empty(&record) } else { record })
        };
        let names = cells(last).map(|record| without_hash(&record));
        match (names, cells(at)) {
            (Some(names), Some(next)) if names.len() == next.len() && names.len() > 1 => {
                (last, true)
            }
            _ => (at, false),
        }
    }
}

/// Whether a record begins as comments do.
pub(super) fn is_comment(record: &StringRecord) -> bool {
    record.get(0).is_some_and(|cell| cell.starts_with('#'))
}

/// A record without the cells that have no text.
fn without_empty(record: &StringRecord) -> StringRecord {
    record.iter().filter(|cell| !cell.is_empty()).collect()
}

/// A record of names without the sign of a comment in front.
fn without_hash(record: &StringRecord) -> StringRecord {
    let first = record.get(0).unwrap_or_default();
    let Some(name) = first.strip_prefix('#') else { return record.clone() };
    let name = name.trim();
    let own = (!name.is_empty()).then_some(name);
    own.into_iter().chain(record.iter().skip(1)).collect()
}

/// The text of bytes in UTF-8, or in UTF-16 with its mark, as spreadsheets write "Unicode text".
fn decoded<'a>(bytes: &'a [u8], path: &Path) -> Result<Cow<'a, str>> {
    if let Some((wide, big_endian)) = match bytes {
        [0xff, 0xfe, wide @ ..] => Some((wide, false)),
        [0xfe, 0xff, wide @ ..] => Some((wide, true)),
        _ => None,
    } {
        let unit = |pair: &[u8]| match big_endian {
            true => u16::from_be_bytes([pair[0], pair[1]]),
            false => u16::from_le_bytes([pair[0], pair[1]]),
        };
        let text = char::decode_utf16(wide.chunks_exact(2).map(unit))
            .collect::<std::result::Result<String, _>>();
        return text.map(Cow::Owned).map_err(|_| {
            Error::file(
                path,
                "table",
                "the text begins as UTF-16 and is not",
                "a table in UTF-8 or UTF-16",
            )
        });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let zero = bytes.iter().position(|&b| b == 0);
    let (at, problem) = match (std::str::from_utf8(bytes), zero) {
        (_, Some(1)) => (1, "every second byte is zero, as in UTF-16 without its mark"),
        (_, Some(zero)) => (zero, "there is a zero byte, as in binary files"),
        (Err(error), None) => {
            (error.valid_up_to(), "the text is not UTF-8 (perhaps Latin-1 or Windows-1252)")
        }
        (Ok(text), None) => return Ok(Cow::Borrowed(text)),
    };
    let before = &bytes[..at];
    let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    let column = before[line_start..].iter().filter(|&&b| b == b',').count() + 1;
    Err(Error::file(path, format!("line {line}, column {column}"), problem, "a table in UTF-8"))
}

/// The start of a record in a text, found in a forward pass.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Cursor<'_> {
    /// The line of the first cell of the next record after `start`, past blank lines and comments.
    fn line_of_record(&mut self, start: usize, comment: Option<u8>) -> u64 {
        while self.at < start {
            self.step();
        }
        loop {
            match self.text.get(self.at) {
                Some(b'\n' | b'\r') => self.step(),
                Some(&byte) if Some(byte) == comment => self.skip_line(),
                _ => return self.line,
            }
        }
    }

    fn step(&mut self) {
        let next = self.text.get(self.at + 1);
        match self.text.get(self.at) {
            Some(b'\n') => self.line += 1,
            Some(b'\r') if next != Some(&b'\n') => self.line += 1,
            _ => {}
        }
        self.at += 1;
    }

    fn skip_line(&mut self) {
        while !matches!(self.text.get(self.at), None | Some(b'\n' | b'\r')) {
            self.at += 1;
        }
    }
}
