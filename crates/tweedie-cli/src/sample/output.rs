//! `-o` and `--format`: where samples go, and as what.

use super::{Options, Units};
use crate::Settings;
use std::io::{BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};
use tweedie::data::Layout;
use tweedie::files::AtomicFile;
use tweedie::run::Run;
use tweedie::{Error, Result};

/// The format of a file of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A picture.
    Png,
    /// An array of NumPy, with labels in a second file.
    Npy,
    /// Arrays of NumPy: `x`, `labels` and `classes`.
    Npz,
    /// A table.
    Csv,
    /// Arrays `samples` and `labels`.
    Safetensors,
}

impl Format {
    /// The format of a file by its ending.
    fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?;
        if ending.eq_ignore_ascii_case("tsv") {
            return Some(Format::Csv);
        }
        <Self as clap::ValueEnum>::from_str(ending, true).ok()
    }
}

/// The destination and the format of samples.
pub(super) struct Output {
    pub path: PathBuf,
    pub format: Format,
    pub is_stdout: bool,
}

impl Output {
    /// The output that the options name, or the default of the run's space.
    pub fn parse(options: &Options, run: &Run, settings: &Settings) -> Result<Self> {
        let image = matches!(run.info.space.layout(), Layout::Image { .. });
        let is_stdout = options.output.as_deref() == Some(Path::new("-"));
        if is_stdout && settings.json {
            return Err(Error::config("-o", "- with --json", "one of them: both write to stdout"));
        }
        let wanted = options.format.or(is_stdout.then_some(Format::Csv));
        let path = match &options.output {
            Some(_) if is_stdout => "stdout".into(),
            Some(path) => path.clone(),
            None => {
                let model = options.units == Units::Model;
                let format = wanted.unwrap_or(match (image, model) {
                    (true, false) => Format::Png,
                    (true, true) => Format::Npy,
                    (false, _) => Format::Csv,
                });
                run.file(&format!("samples.{}", ending(format)))
            }
        };
        let Some(format) = wanted.or_else(|| Format::of(&path)) else {
            let expected =
                "a file ending in .png, .npy, .npz, .csv, .tsv or .safetensors, or --format";
            return Err(Error::config("-o", path.display().to_string(), expected));
        };
        if format == Format::Png && options.units == Units::Model {
            let expected = "a .npy, .npz, .csv or .safetensors file: pictures are of data";
            return Err(Error::config("--units", "model with a .png", expected));
        }
        Ok(Self { path, format, is_stdout })
    }

    /// Opens it, its folders made if need be.
    pub fn open(&self) -> Result<Target> {
        if self.is_stdout {
            return Ok(Target::Stdout(BufWriter::new(std::io::stdout())));
        }
        crate::output::make_folder_of(&self.path)?;
        AtomicFile::create(&self.path).map(Target::File)
    }

    /// Opens the file of labels beside an array, `out.labels.npy` for `out.npy`; none beside stdout.
    pub fn open_labels(&self) -> Result<Option<AtomicFile>> {
        let path = self.path.with_extension("labels.npy");
        (!self.is_stdout).then(|| AtomicFile::create(path)).transpose()
    }

    /// Its name in messages.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// The ending of a format's files.
fn ending(format: Format) -> &'static str {
    match format {
        Format::Png => "png",
        Format::Npy => "npy",
        Format::Npz => "npz",
        Format::Csv => "csv",
        Format::Safetensors => "safetensors",
    }
}

/// An open output.
pub(super) enum Target {
    File(AtomicFile),
    Stdout(BufWriter<Stdout>),
}

impl Target {
    /// Ends it: a file then has its name.
    pub fn finish(self) -> Result<()> {
        match self {
            Target::File(file) => file.finish(),
            Target::Stdout(mut out) => out.flush().map_err(|e| Error::io("stdout", e)),
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Target::File(file) => file.write(bytes),
            Target::Stdout(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Target::File(file) => file.flush(),
            Target::Stdout(out) => out.flush(),
        }
    }
}
