//! NumPy's `.npy` arrays (NumPy enhancement proposal 1, format versions 1 to 3).
//!
//! ```text
//! \x93NUMPY, version (2 bytes), header length (2 bytes little-endian; 4 from version 2 on),
//! header {'descr': '<f4', 'fortran_order': False, 'shape': (100, 3), }, values
//! ```
//! The header has a reader of its own, without a parser of Python literals, so that neither nesting nor a claimed size
//! can exhaust stack or memory: nothing is allocated before the file's length has confirmed the shape.

use super::{Coordinate, Layout, Rows, Space, parts};
use crate::{Error, Result};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Reads a `.npy` array as rows along its first axis, with the space of its shape and type.
///
/// `[n]` gives rows of one value, `[n, d]` vectors, `[n, h, w]` pictures of one channel, `[n, c, h, w]` pictures, and
/// more axes are flattened. Pictures of bytes have 256 levels and those of booleans 2 ([`Space::image`]). Pictures may
/// also be `[n, h, w, c]` with up to 4 channels and h > 4, and w > 4 unless they are bytes. All other values are real,
/// in raw units. Floats of 4 or 8 bytes, integers and booleans are read, little- or big-endian, in C or Fortran order.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is not such an array, does not have the length of
/// its shape, is empty, or holds a value that is not finite or not exact in single precision (floats of 8 bytes are
/// rounded).
pub fn read(path: impl AsRef<Path>) -> Result<(Space, Rows)> {
    read_noted(path.as_ref()).map(|Array { space, rows, .. }| (space, rows))
}

/// An array as rows.
pub(super) struct Array {
    pub space: Space,
    pub rows: Rows,
    /// A remark on the order of its axes, where it had to be found out.
    pub note: Option<String>,
}

/// [`read`], with its remark.
pub(super) fn read_noted(path: &Path) -> Result<Array> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
    parse(&mut BufReader::new(file), length, path)
}

/// [`read`] from `length` bytes, with the name `path` in errors.
pub(super) fn parse(bytes: &mut impl Read, length: u64, path: &Path) -> Result<Array> {
    let header = Header::read(bytes, length, path)?;
    let shape = header.confirmed_shape(length, path)?;
    let mut rows = header.rows(bytes, &shape, path)?;
    if let ([channels, ..], true) = header.picture_axes(&shape).unwrap_or_default() {
        parts::channels_first(&mut rows, channels);
    }
    let note = header.note(&shape).map(|note| format!("{}: {note}", path.display()));
    Ok(Array { space: header.space(&shape)?, rows, note })
}

struct Header {
    element: Element,
    fortran: bool,
    shape: Vec<u64>,
    /// The offset of the values.
    start: u64,
}

/// The type of the values.
#[derive(Clone, Copy)]
struct Element {
    big_endian: bool,
    /// The kind letter of NumPy: `f`, `i`, `u` or `b`.
    kind: u8,
    size: usize,
}

impl Header {
    fn read(bytes: &mut impl Read, length: u64, path: &Path) -> Result<Self> {
        let fault =
            |problem: String, expected: &str| Error::file(path, "header", problem, expected);
        let mut fixed = [0; 8];
        let read = bytes.read_exact(&mut fixed);
        if let Err(e) = read
            && e.kind() != ErrorKind::UnexpectedEof
        {
            return Err(Error::io(path, e));
        }
        if !fixed.starts_with(b"\x93NUMPY") {
            return Err(fault("the file does not begin with \\x93NUMPY".into(), "a .npy file"));
        }
        let mut size = [0; 4];
        let size_bytes = match fixed[6] {
            1 => 2,
            2 | 3 => 4,
            other => return Err(fault(format!("the format's version is {other}"), "1, 2 or 3")),
        };
        let truncated = |_| fault("the file ends within it".into(), "a whole .npy file");
        bytes.read_exact(&mut size[..size_bytes]).map_err(truncated)?;
        let size = u64::from(u32::from_le_bytes(size));
        let start = 8 + size_bytes as u64 + size;
        if start > length {
            return Err(truncated(ErrorKind::UnexpectedEof.into()));
        }
        if size > 1 << 20 {
            return Err(fault(format!("its length is {size} bytes"), "a shorter header"));
        }
        let mut text = vec![0; size as usize];
        bytes.read_exact(&mut text).map_err(truncated)?;
        let text = String::from_utf8_lossy(&text);
        Ok(Self {
            element: Element::of(value_of(&text, "descr"), path)?,
            fortran: match value_of(&text, "fortran_order") {
                Some(value) if value.starts_with("False") => false,
                Some(value) if value.starts_with("True") => true,
                _ => return Err(fault("'fortran_order' is missing".into(), "True or False")),
            },
            shape: shape_of(value_of(&text, "shape"))
                .ok_or_else(|| fault("'shape' cannot be read".into(), "a tuple of lengths"))?,
            start,
        })
    }

    /// The shape, if it has at least one value and the rest of the file its length.
    fn confirmed_shape(&self, length: u64, path: &Path) -> Result<Vec<usize>> {
        let fault =
            |problem: String, expected: String| Error::file(path, "shape", problem, expected);
        let claimed = self
            .shape
            .iter()
            .try_fold(self.element.size as u64, |product, &n| product.checked_mul(n));
        let there = length - self.start;
        if self.shape.is_empty() {
            return Err(fault("the array is a single value".into(), "one axis or more".into()));
        }
        if self.shape.contains(&0) {
            return Err(fault(
                format!("{:?} holds no value", self.shape),
                "at least one row".into(),
            ));
        }
        if claimed != Some(there) {
            let values = format!("{:?} values of {} bytes each", self.shape, self.element.size);
            let problem = format!("{values} do not make the {there} bytes that follow the header");
            return Err(fault(problem, "a whole .npy file".into()));
        }
        Ok(self.shape.iter().map(|&n| n as usize).collect())
    }

    fn rows(&self, bytes: &mut impl Read, shape: &[usize], path: &Path) -> Result<Rows> {
        let width = shape[1..].iter().product();
        if self.element.is_byte() && !self.fortran {
            let mut stored = vec![0; shape[0] * width];
            bytes.read_exact(&mut stored).map_err(|e| Error::io(path, e))?;
            return parts::byte_rows(&stored, width);
        }
        let mut values = vec![0.0; shape[0] * width];
        let mut place = Place::new(shape, self.fortran);
        let mut item = [0; 8];
        for _ in 0..values.len() {
            let stored = &mut item[..self.element.size];
            bytes.read_exact(stored).map_err(|e| Error::io(path, e))?;
            values[place.offset] = self.element.value(stored).map_err(|(problem, expected)| {
                let (row, column) = (place.offset / width, place.offset % width);
                Error::file(path, format!("row {row}, column {column}"), problem, expected)
            })?;
            place.step();
        }
        Rows::new(values, width)
    }

    /// Channels, height and width of pictures, and whether the channels come last.
    fn picture_axes(&self, shape: &[usize]) -> Option<([usize; 3], bool)> {
        match *shape {
            [_, height, width] => Some(([1, height, width], false)),
            // Bytes of few columns are pictures sooner than floats are.
            [_, a, b, c] if self.element.is_byte() || b > 4 => Some(parts::picture_axes([a, b, c])),
            [_, channels, height, width] => Some(([channels, height, width], false)),
            _ => None,
        }
    }

    /// A remark on the order of the axes of pictures, unless it is plain.
    fn note(&self, shape: &[usize]) -> Option<String> {
        let ([channels, height, width], last) = self.picture_axes(shape)?;
        let order =
            if last { "height × width × channels" } else { "channels × height × width" };
        let unclear = shape.len() == 4 && width <= 4 && !matches!(channels, 1 | 3);
        let axes = format!("the axes {shape:?} are read as pictures × {order}");
        (unclear || (last && !self.element.is_byte()))
            .then(|| format!("{axes}: {channels} channels of {height}×{width} pixels"))
    }

    fn space(&self, shape: &[usize]) -> Result<Space> {
        let Some(([channels, height, width], _)) = self.picture_axes(shape) else {
            let width = shape[1..].iter().product();
            let names: Vec<String> = (1..=width).map(|j| format!("x{j}")).collect();
            return Space::vector(&names);
        };
        match self.element.kind {
            b'b' => Space::image(channels, height, width, 2),
            _ if self.element.is_byte() => Space::image(channels, height, width, 256),
            _ => Space::new(
                Layout::Image { channels, height, width },
                vec![Coordinate::real("pixel")],
            ),
        }
    }
}

impl Element {
    fn of(descr: Option<&str>, path: &Path) -> Result<Self> {
        let expected = "floats of 4 or 8 bytes, integers or booleans";
        let fault = |problem: String| Error::file(path, "descr", problem, expected);
        let Some(descr) = descr else { return Err(fault("'descr' is missing".into())) };
        let Some(quoted) = descr.strip_prefix(['\'', '"']) else {
            return Err(fault("the values are records".into()));
        };
        let name = quoted.split(['\'', '"']).next().unwrap_or_default();
        let (order, kind, size) = match *name.as_bytes() {
            [order @ (b'<' | b'>' | b'|' | b'='), kind, ref size @ ..] => (order, kind, size),
            _ => return Err(fault(format!("the type is '{name}'"))),
        };
        let size = match (kind, size) {
            (b'f' | b'i' | b'u', b"4") => 4,
            (b'f' | b'i' | b'u', b"8") => 8,
            (b'i' | b'u' | b'b', b"1") => 1,
            (b'i' | b'u', b"2") => 2,
            (b'c', _) => return Err(fault(format!("the values are complex: '{name}'"))),
            (b'O', _) => return Err(fault("the values are Python objects".into())),
            _ => return Err(fault(format!("the type is '{name}'"))),
        };
        let big_endian = order == b'>' || (order == b'=' && cfg!(target_endian = "big"));
        Ok(Self { big_endian, kind, size })
    }

    fn is_byte(&self) -> bool {
        self.kind == b'u' && self.size == 1
    }

    /// A stored value in single precision, or its fault and what was expected.
    fn value(&self, stored: &mut [u8]) -> std::result::Result<f32, (String, &'static str)> {
        if self.big_endian {
            stored.reverse();
        }
        let mut wide = [0; 8];
        wide[..self.size].copy_from_slice(stored);
        let bits = u64::from_le_bytes(wide);
        if self.kind == b'f' {
            let value = if self.size == 4 {
                f32::from_bits(bits as u32)
            } else {
                f64::from_bits(bits) as f32
            };
            let fault = || (format!("the value is {value} in single precision"), "a finite number");
            return if value.is_finite() { Ok(value) } else { Err(fault()) };
        }
        let unused = 64 - 8 * self.size as u32;
        let integer = match self.kind {
            b'i' => i128::from((bits << unused) as i64 >> unused),
            _ => i128::from(bits),
        };
        if self.kind == b'b' && integer > 1 {
            return Err((format!("the boolean is {integer}"), "0 or 1"));
        }
        if integer as f32 as i128 != integer {
            let expected = "an integer that single precision holds exactly";
            return Err((format!("the value is {integer}"), expected));
        }
        Ok(integer as f32)
    }
}

/// The texts of an array of one axis, of a type as `<U12`: code points of 4 bytes, zeros at the end; none for another
/// or a damaged array.
pub(super) fn texts(bytes: &[u8]) -> Option<Vec<String>> {
    let size = usize::from(u16::from_le_bytes(bytes.get(8..10)?.try_into().ok()?));
    let (header, values) = (bytes.get(10..10 + size)?, bytes.get(10 + size..)?);
    let header =
        std::str::from_utf8(header).ok().filter(|_| bytes.starts_with(b"\x93NUMPY\x01"))?;
    let kind = value_of(header, "descr")?.strip_prefix(['\'', '"'])?;
    let letters: usize = kind.strip_prefix("<U")?.split(['\'', '"']).next()?.parse().ok()?;
    let [len] = shape_of(value_of(header, "shape"))?[..] else { return None };
    let whole = letters > 0 && len.checked_mul(4 * letters as u64) == Some(values.len() as u64);
    let text = |bytes: &[u8]| {
        let points = bytes.chunks(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        points.take_while(|point| *point != 0).map(char::from_u32).collect::<Option<String>>()
    };
    whole.then(|| values.chunks(4 * letters).map(text).collect())?
}

/// The text after `'key':` in a header.
fn value_of<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let quoted = [format!("'{key}'"), format!("\"{key}\"")];
    let rest = quoted.iter().find_map(|quoted| header.split_once(quoted.as_str()))?.1;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

/// Parses `(100, 3)` as numbers.
fn shape_of(tuple: Option<&str>) -> Option<Vec<u64>> {
    let (inside, _) = tuple?.strip_prefix('(')?.split_once(')')?;
    let inside = inside.trim().trim_end_matches(',');
    if inside.is_empty() {
        return Some(Vec::new());
    }
    inside.split(',').map(|n| n.trim().trim_end_matches('L').parse().ok()).collect()
}

/// The position of the next stored value among the values in C order.
struct Place {
    offset: usize,
    index: Vec<usize>,
    /// The length of each axis and the distance of its neighbours in C order, the fastest axis first.
    axes: Vec<(usize, usize)>,
}

impl Place {
    fn new(shape: &[usize], fortran: bool) -> Self {
        let distance = |axis: usize| shape[axis + 1..].iter().product();
        let mut axes: Vec<_> = shape.iter().enumerate().map(|(i, &n)| (n, distance(i))).collect();
        if !fortran {
            axes = vec![(shape.iter().product(), 1)];
        }
        Self { offset: 0, index: vec![0; axes.len()], axes }
    }

    fn step(&mut self) {
        for (index, &(length, distance)) in self.index.iter_mut().zip(&self.axes) {
            *index += 1;
            self.offset += distance;
            if *index < length {
                return;
            }
            self.offset -= length * distance;
            *index = 0;
        }
    }
}

/// The beginning of an array, up to its values, of the type `descr`, as `<f4`, and a shape, as `(100, 3)`.
pub fn header(descr: &str, shape: &str) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // The values begin at a multiple of 64 bytes, after 10 bytes, the header and a newline.
    let padding = (64 - (header.len() + 11) % 64) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes
}

/// A writer of rows as a `.npy` array of single-precision floats, chunk by chunk.
///
/// ```
/// use tweedie::data::{npy::NpyWriter, Layout, Rows};
/// let mut array = NpyWriter::new(Vec::new(), "out.npy", 2, Layout::Vector { width: 3 })?;
/// array.write(&Rows::new(vec![0.0; 6], 3)?)?;
/// assert_eq!(array.finish()?.len(), 128 + 24);
/// # Ok::<(), tweedie::Error>(())
/// ```
pub struct NpyWriter<W: Write> {
    out: W,
    path: PathBuf,
    width: usize,
    left: usize,
}

impl<W: Write> NpyWriter<W> {
    /// Writes the header for `rows` rows: `[rows, width]`, or `[rows, channels, height, width]` for pictures. `path`
    /// names the output in errors.
    ///
    /// # Errors
    /// [`Error::Io`] if writing fails.
    pub fn new(mut out: W, path: impl AsRef<Path>, rows: usize, layout: Layout) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let shape = match layout {
            Layout::Vector { width } => format!("({rows}, {width})"),
            Layout::Image { channels, height, width } => {
                format!("({rows}, {channels}, {height}, {width})")
            }
        };
        out.write_all(&header("<f4", &shape)).map_err(|e| Error::io(&path, e))?;
        Ok(Self { out, path, width: layout.width(), left: rows })
    }

    /// Writes the next rows.
    ///
    /// # Errors
    /// [`Error::Shape`] if they have another width or exceed the announced number; [`Error::Io`] if writing fails.
    pub fn write(&mut self, rows: &Rows) -> Result<()> {
        if rows.width() != self.width || rows.len() > self.left {
            let found = format!("{} rows of {}", rows.len(), rows.width());
            let expected = format!("at most {} of {}", self.left, self.width);
            return Err(Error::shape("rows to write", found, expected));
        }
        let bytes: Vec<u8> = rows.values().iter().flat_map(|value| value.to_le_bytes()).collect();
        self.out.write_all(&bytes).map_err(|e| Error::io(&self.path, e))?;
        self.left -= rows.len();
        Ok(())
    }

    /// Flushes and returns the writer.
    ///
    /// # Errors
    /// [`Error::Shape`] if fewer rows were written than announced; [`Error::Io`] if writing fails.
    pub fn finish(mut self) -> Result<W> {
        if self.left > 0 {
            return Err(Error::shape("rows written", format!("{} too few", self.left), "all"));
        }
        self.out.flush().map_err(|e| Error::io(&self.path, e))?;
        Ok(self.out)
    }
}
