//! The file that samples are written to, in the format of its ending.

use std::io::Write;
use std::path::{Path, PathBuf};
use tweedie::data::table::TableWriter;
use tweedie::data::{Coordinate, Layout, Rows, Space, Split, npy};
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

/// Rows with others beside them, as many.
fn side_by_side(left: &Rows, right: &Rows) -> Result<Rows> {
    let rows = left.iter().zip(right.iter()).flat_map(|(a, b)| a.iter().chain(b));
    Rows::new(rows.copied().collect(), left.width() + right.width())
}

/// An output file, written chunk by chunk; it appears under its name when it is complete.
pub(super) enum Sink {
    Npy(npy::NpyWriter<AtomicFile>),
    Csv(Box<TableWriter<AtomicFile>>),
    /// Raw values behind a header of known size.
    Safetensors(AtomicFile, PathBuf),
    /// A picture, drawn once all rows are there.
    Png {
        out: AtomicFile,
        path: PathBuf,
        space: Box<Space>,
        samples: Option<Split>,
    },
}

/// Most samples in a picture.
const MOST_IN_PICTURE: u64 = 100_000;

impl Sink {
    pub fn create(path: &Path, run: &Run, n: u64, labelled: bool, given: bool) -> Result<Self> {
        let ending =
            path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        let space = &run.info.space;
        match ending.as_str() {
            "npy" => {
                let out = AtomicFile::create(path)?;
                Ok(Sink::Npy(npy::NpyWriter::new(out, path, n as usize, space.layout())?))
            }
            "csv" => {
                let own = run.info.recipe.data.as_ref().and_then(|data| data.label.as_deref());
                let own = own.filter(|name| *name != "last");
                let label = labelled.then(|| own.unwrap_or("label"));
                let out = AtomicFile::create(path)?;
                let with_given = space.given().filter(|_| given);
                let space = with_given.map_or(Ok(space.clone()), |given| beside(space, given))?;
                Ok(Sink::Csv(Box::new(TableWriter::new(out, path, &space, label)?)))
            }
            "safetensors" => {
                let mut out = AtomicFile::create(path)?;
                out.write_all(&header(n, space.layout())).map_err(|e| Error::io(path, e))?;
                Ok(Sink::Safetensors(out, path.to_path_buf()))
            }
            "png" if n > MOST_IN_PICTURE => {
                let expected = format!("at most {MOST_IN_PICTURE} for a .png");
                Err(Error::config("-n", n.to_string(), expected))
            }
            "png" => {
                let (path, space) = (path.to_path_buf(), Box::new(space.clone()));
                Ok(Sink::Png { out: AtomicFile::create(&path)?, path, space, samples: None })
            }
            _ => {
                let name = path.display().to_string();
                Err(Error::config("-o", name, "a file ending in .png, .npy, .csv or .safetensors"))
            }
        }
    }

    pub fn write(&mut self, new: Split) -> Result<()> {
        match self {
            Sink::Npy(out) => out.write(new.rows()),
            Sink::Csv(out) => match new.given() {
                None => out.write(new.rows(), new.labels()),
                Some(given) => out.write(&side_by_side(new.rows(), given)?, new.labels()),
            },
            Sink::Safetensors(out, path) => new
                .rows()
                .values()
                .iter()
                .try_for_each(|v| out.write_all(&v.to_le_bytes()))
                .map_err(|e| Error::io(&*path, e)),
            Sink::Png { samples, .. } => {
                *samples = Some(match samples.take() {
                    None => new,
                    Some(earlier) => earlier.followed_by(&new)?,
                });
                Ok(())
            }
        }
    }

    pub fn finish(self) -> Result<()> {
        match self {
            Sink::Npy(out) => out.finish()?.finish(),
            Sink::Csv(out) => out.finish()?.finish(),
            Sink::Safetensors(out, _) => out.finish(),
            Sink::Png { mut out, path, space, samples: Some(samples) } => {
                let picture = tweedie::draw::picture(&space, &samples, None)?;
                let bytes = tweedie::draw::png_bytes(&picture)?;
                out.write_all(&bytes).map_err(|e| Error::io(path, e))?;
                out.finish()
            }
            Sink::Png { samples: None, .. } => Ok(()),
        }
    }
}

/// The header of a safetensors file with one float32 tensor `samples`.
fn header(n: u64, layout: Layout) -> Vec<u8> {
    let shape = match layout {
        Layout::Vector { width } => format!("{n},{width}"),
        Layout::Image { channels, height, width } => format!("{n},{channels},{height},{width}"),
    };
    let bytes = 4 * n * layout.width() as u64;
    let mut json =
        format!(r#"{{"samples":{{"dtype":"F32","shape":[{shape}],"data_offsets":[0,{bytes}]}}}}"#);
    while !json.len().is_multiple_of(8) {
        json.push(' ');
    }
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json.into_bytes());
    header
}
