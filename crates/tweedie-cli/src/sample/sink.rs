//! The file that samples are written to, chunk by chunk, in any format.

use super::label::{self, Label};
use super::output::{Format, Output, Target};
use std::io::Write;
use std::path::{Path, PathBuf};
use tweedie::data::table::TableWriter;
use tweedie::data::{Coordinate, Kind, Layout, Rows, Space, Split, npy, npz};
use tweedie::files::AtomicFile;
use tweedie::run::Run;
use tweedie::{Error, Result};

/// The space of rows with the columns of their conditions beside them.
fn beside(space: &Space, given: &Space) -> Result<Space> {
    let columns = |space: &Space| (0..space.width()).map(|j| space.coordinate(j).clone()).collect();
    let all: Vec<Vec<Coordinate>> = vec![columns(space), columns(given)];
    let width = space.width() + given.width();
    Ok(Space::new(Layout::Vector { width }, all.concat())?.with_classes(space.classes().to_vec()))
}

/// The space of rows in the units of the model: real numbers, a category being a column for each of its names.
fn encoded(space: &Space) -> Result<Space> {
    let classes = space.classes().to_vec();
    if let Layout::Image { .. } = space.layout() {
        return Ok(
            Space::new(space.layout(), vec![Coordinate::real("pixel")])?.with_classes(classes)
        );
    }
    let names = (0..space.width()).flat_map(|j| {
        let (column, name) = (space.coordinate(j), space.column_name(j));
        match (&column.kind, column.model_width()) {
            (Kind::Category { names }, width) if names.len() == width => {
                names.iter().map(|value| format!("{name} = {value}")).collect()
            }
            (_, 1) => vec![name],
            (_, width) => (1..=width).map(|k| format!("{name} {k}")).collect(),
        }
    });
    Ok(Space::vector(&names.collect::<Vec<_>>())?.with_classes(classes))
}

/// Rows with others beside them, as many.
fn side_by_side(left: &Rows, right: &Rows) -> Result<Rows> {
    let rows = left.iter().zip(right.iter()).flat_map(|(a, b)| a.iter().chain(b));
    Rows::new(rows.copied().collect(), left.width() + right.width())
}

/// An output file, written chunk by chunk; it appears under its name when it is complete.
pub(super) enum Sink {
    /// An array, and the array of its labels.
    Npy(npy::NpyWriter<Target>, Option<AtomicFile>),
    /// Arrays of samples, labels and names of classes.
    Npz(Box<npz::NpzWriter<Target>>, Vec<String>),
    Csv(Box<TableWriter<Target>>),
    /// Raw values behind a header and labels of known size.
    Safetensors {
        out: Target,
        path: PathBuf,
        /// Labels and values, held to the end where labels are not known at the start.
        held: Option<[Vec<u8>; 2]>,
    },
    /// A picture, drawn once all rows are there.
    Png {
        out: Target,
        path: PathBuf,
        space: Box<Space>,
        samples: Option<Split>,
    },
}

/// What a file of samples holds.
pub(super) struct Content {
    /// Whether columns of conditions stand beside the samples.
    pub given: bool,
    /// Whether samples are in the units of the model.
    pub model: bool,
    /// Whether samples pass a filter, so that their labels are known at the end only.
    pub filtered: bool,
}

/// Most samples in a picture.
const MOST_IN_PICTURE: u64 = 100_000;

impl Sink {
    /// Opens the output for `n` samples of a run.
    pub fn create(
        output: &Output,
        run: &Run,
        n: u64,
        label: &Label,
        Content { given, model, filtered }: Content,
    ) -> Result<Self> {
        let (path, labelled) = (&output.path, label.of(0).is_some());
        let space = if model { encoded(&run.info.space)? } else { run.info.space.clone() };
        match output.format {
            Format::Npy => {
                let out = output.open()?;
                let labels = if labelled { output.open_labels()? } else { None };
                let labels = labels.map(|file| with_header(file, n)).transpose()?;
                Ok(Sink::Npy(npy::NpyWriter::new(out, path, n as usize, space.layout())?, labels))
            }
            Format::Npz => {
                let out = npz::NpzWriter::new(output.open()?, path, n as usize, space.layout())?;
                Ok(Sink::Npz(Box::new(out), space.classes().to_vec()))
            }
            Format::Csv => {
                let label = labelled.then(|| label::column(run));
                let with_given = run.info.space.given().filter(|_| given);
                let space = with_given.map_or(Ok(space.clone()), |given| beside(&space, given))?;
                Ok(Sink::Csv(Box::new(TableWriter::new(output.open()?, path, &space, label)?)))
            }
            Format::Safetensors => {
                let mut out = output.open()?;
                let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(|e| Error::io(path, e));
                write(&header(n, &space, labelled)?)?;
                let held = (labelled && filtered).then(Default::default);
                if labelled && !filtered {
                    (0..n)
                        .filter_map(|row| label.of(row))
                        .try_for_each(|label| write(&wide(label)))?;
                }
                Ok(Sink::Safetensors { out, path: path.clone(), held })
            }
            Format::Png if n > MOST_IN_PICTURE => {
                let expected = format!("at most {MOST_IN_PICTURE} for a .png");
                Err(Error::config("-n", n.to_string(), expected))
            }
            Format::Png => {
                let (out, path, space) = (output.open()?, path.clone(), Box::new(space));
                Ok(Sink::Png { out, path, space, samples: None })
            }
        }
    }

    /// Writes the next rows.
    pub fn write(&mut self, new: Split) -> Result<()> {
        match self {
            Sink::Npy(out, labels) => {
                if let (Some(file), Some(labels)) = (labels, new.labels()) {
                    let bytes: Vec<u8> = labels.iter().flat_map(|label| wide(*label)).collect();
                    write(file, Path::new("labels"), &bytes)?;
                }
                out.write(new.rows())
            }
            Sink::Npz(out, _) => out.write(new.rows(), new.labels()),
            Sink::Csv(out) => match new.given() {
                None => out.write(new.rows(), new.labels()),
                Some(given) => out.write(&side_by_side(new.rows(), given)?, new.labels()),
            },
            Sink::Safetensors { out, path, held } => {
                let values = new.rows().values().iter().flat_map(|v| v.to_le_bytes());
                match held {
                    None => return write(out, path, &values.collect::<Vec<_>>()),
                    Some([labels, rows]) => {
                        labels
                            .extend(new.labels().unwrap_or_default().iter().flat_map(|k| wide(*k)));
                        rows.extend(values);
                    }
                }
                Ok(())
            }
            Sink::Png { samples, .. } => {
                *samples = Some(match samples.take() {
                    None => new,
                    Some(earlier) => earlier.followed_by(&new)?,
                });
                Ok(())
            }
        }
    }

    /// Ends the file.
    pub fn finish(self) -> Result<()> {
        match self {
            Sink::Npy(out, labels) => {
                labels.map_or(Ok(()), AtomicFile::finish)?;
                out.finish()?.finish()
            }
            Sink::Npz(out, classes) => out.finish(&classes)?.finish(),
            Sink::Csv(out) => out.finish()?.finish(),
            Sink::Safetensors { mut out, path, held } => {
                held.iter().flatten().try_for_each(|bytes| write(&mut out, &path, bytes))?;
                out.finish()
            }
            Sink::Png { mut out, path, space, samples: Some(samples) } => {
                let picture = tweedie::draw::picture(&space, &samples, None)?;
                write(&mut out, &path, &tweedie::draw::png_bytes(&picture)?)?;
                out.finish()
            }
            Sink::Png { samples: None, .. } => Ok(()),
        }
    }
}

/// Writes bytes; `path` names the file in errors.
fn write(out: &mut impl Write, path: &Path, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(|e| Error::io(path, e))
}

/// A label as files have it.
fn wide(label: u32) -> [u8; 8] {
    i64::from(label).to_le_bytes()
}

/// A .npy file of `n` whole numbers, with its header written.
fn with_header(mut file: AtomicFile, n: u64) -> Result<AtomicFile> {
    write(&mut file, Path::new("labels"), &npy::header("<i8", &format!("({n},)")))?;
    Ok(file)
}

/// The header of a safetensors file with one float32 array `samples`, after an int64 array `labels` if there are
/// labels. Its metadata name the columns and the classes, as JSON.
fn header(n: u64, space: &Space, labelled: bool) -> Result<Vec<u8>> {
    let layout = space.layout();
    let shape: Vec<u64> = match layout {
        Layout::Vector { width } => vec![n, width as u64],
        Layout::Image { channels, height, width } => {
            [&[n][..], &[channels, height, width].map(|k| k as u64)].concat()
        }
    };
    let begin = if labelled { 8 * n } else { 0 };
    let end = begin + 4 * n * layout.width() as u64;
    let mut arrays = serde_json::Map::new();
    let mut about = serde_json::Map::new();
    if let Layout::Vector { width } = layout {
        let names: Vec<String> = (0..width).map(|j| space.column_name(j)).collect();
        about.insert("columns".into(), serde_json::json!(names).to_string().into());
        let categories: serde_json::Map<String, serde_json::Value> = (0..width)
            .filter_map(|j| match &space.coordinate(j).kind {
                Kind::Category { names } => Some((space.column_name(j), serde_json::json!(names))),
                _ => None,
            })
            .collect();
        if !categories.is_empty() {
            let categories = serde_json::Value::Object(categories).to_string();
            about.insert("categories".into(), categories.into());
        }
    }
    if labelled {
        about.insert("classes".into(), serde_json::json!(space.classes()).to_string().into());
        let labels = serde_json::json!({"dtype": "I64", "shape": [n], "data_offsets": [0, begin]});
        arrays.insert("labels".into(), labels);
    }
    if !about.is_empty() {
        arrays.insert("__metadata__".into(), serde_json::Value::Object(about));
    }
    let samples = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, end]});
    arrays.insert("samples".into(), samples);
    let mut json = serde_json::Value::Object(arrays).to_string();
    while !json.len().is_multiple_of(8) {
        json.push(' ');
    }
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json.into_bytes());
    Ok(header)
}
