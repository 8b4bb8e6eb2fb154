//! `tweedie sample`.

use crate::{Settings, output, progress};
use std::io::Write;
use std::path::{Path, PathBuf};
use toml::{Table, Value};
use tweedie::data::{Layout, Rows, Space, Split, npy, table::TableWriter};
use tweedie::family;
use tweedie::files::AtomicFile;
use tweedie::run::Run;
use tweedie::{Draws, Error, Result};

/// So many samples are written at most, so that every size in a file's header can be held.
const MOST: u64 = 1 << 40;

/// Options of `tweedie sample`.
#[derive(clap::Args)]
pub struct Options {
    /// The run directory.
    run: PathBuf,
    /// How many samples.
    #[arg(short, default_value_t = 100, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    n: u64,
    /// The file to write; its ending picks the format: .png, .npy, .csv or .safetensors.
    #[arg(short, long)]
    output: PathBuf,
    #[command(flatten)]
    sampling: Sampling,
    /// The seed; row i of the output depends on the seed and i alone.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    seed: u64,
    /// The class to sample, by name or number; `all` for all in turn, `data` for as often as in the training data,
    /// or `none`. By default `data` for a .csv, which records them, else `all`.
    #[arg(long, allow_negative_numbers = true)]
    label: Option<String>,
    /// Sample under another schedule than the run's (see `tweedie list schedules`), with its options as in
    /// 'edm, sigma_max = 20.0'; its log-SNRs must lie within those trained on.
    #[arg(long)]
    schedule: Option<String>,
    /// Where the noise of a stochastic solver comes from: `steps`, each with its own, or `tree`, a path in time that
    /// more steps refine.
    #[arg(long, value_enum, default_value_t = Noise::Steps)]
    noise: Noise,
    /// Start from the rows of this .npy file (model units, noisiest level) in place of the seed's noise.
    #[arg(long)]
    init: Option<PathBuf>,
}

/// Where the noise of a solver's steps comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Noise {
    /// Each step's own.
    Steps,
    /// A Brownian tree.
    Tree,
}

/// How samples are made, where it is not as the recipe says.
#[derive(Default, clap::Args)]
pub struct Sampling {
    /// The solver (see `tweedie list solvers`), with its options as in 'ddim, eta = 0.5'.
    #[arg(long)]
    pub solver: Option<String>,
    /// The spacing of its levels (see `tweedie list grids`), with its options as in 'karras, rho = 5.0'.
    #[arg(long)]
    pub grid: Option<String>,
    /// Its steps, the last denoising included.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    pub steps: Option<usize>,
    /// The weight of classifier-free guidance; 1 is none.
    #[arg(long, allow_negative_numbers = true)]
    pub guidance: Option<f64>,
    /// Give the noise of `ancestral` the variance that is best for the run's own errors, measured on 512 training rows first.
    #[arg(long)]
    pub analytic_variance: bool,
}

impl Sampling {
    /// The overrides of a run's `sampling` table.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        let mut set = |key: &str, value: Option<Value>| {
            table.extend(value.map(|value| (key.to_string(), value)));
        };
        let written = |text: &String| text.parse().unwrap_or_else(|_| Value::String(text.clone()));
        set("solver", self.solver.as_ref().map(written));
        set("grid", self.grid.as_ref().map(written));
        set("steps", self.steps.map(|steps| Value::Integer(steps as i64)));
        set("guidance", self.guidance.map(Value::Float));
        set("variance", self.analytic_variance.then(|| "measured".into()));
        table
    }

    /// The error with its key as an option.
    pub fn as_option(error: Error) -> Error {
        match error {
            Error::Config { key, problem, expected } if !key.starts_with('-') => {
                let key = if key == "variance" { "analytic-variance" } else { &key };
                Error::config(format!("--{key}"), problem, expected)
            }
            other => other,
        }
    }
}

impl Options {
    /// The overrides of the run's `sampling` table.
    fn table(&self) -> Table {
        let mut table = self.sampling.table();
        let written = |text: &String| text.parse().unwrap_or_else(|_| Value::String(text.clone()));
        table.extend(self.schedule.as_ref().map(|text| ("schedule".into(), written(text))));
        table.extend((self.noise == Noise::Tree).then(|| ("noise".into(), "tree".into())));
        let path = self.init.as_ref().map(|path| path.display().to_string());
        table.extend(path.map(|path| ("init".into(), path.into())));
        table
    }
}

/// What the command did.
#[derive(serde::Serialize)]
struct Done {
    output: String,
    samples: u64,
    evaluations_per_sample: f64,
}

/// Samples and writes as the rows come.
pub fn run(options: &Options, settings: &Settings) -> Result<()> {
    if options.n == 0 || options.n > MOST {
        return Err(Error::config("-n", options.n.to_string(), format!("from 1 to {MOST}")));
    }
    let run = Run::open(&options.run)?;
    let model = run.model(&settings.device)?;
    let generator = settings.with(options.seed, |at| model.generator(&options.table(), at));
    let generator = generator.map_err(Sampling::as_option)?;
    let label = Label::parse(options, &run)?;
    let mut sink = Sink::create(&options.output, &run, options.n, label.of(0).is_some())?;
    let bar = progress::bar(options.n, "samples", settings.json);
    bar.set_prefix("sampling");
    let chunk = generator.rows_at_once();
    for first in (0..options.n).step_by(chunk as usize) {
        let range = first..(first + chunk).min(options.n);
        let (seed, device) = (options.seed, &settings.device);
        let rows = family::sample(
            &*model,
            &*generator,
            range.clone(),
            |i| label.of(i),
            seed,
            device,
            |_| {},
        )?;
        let labels = range.clone().map(|i| label.of(i)).collect::<Option<Vec<u32>>>();
        sink.write(rows, labels)?;
        bar.set_position(range.end);
    }
    bar.finish_and_clear();
    sink.finish()?;
    let done = Done {
        output: options.output.display().to_string(),
        samples: options.n,
        evaluations_per_sample: generator.network_evaluations() as f64 / options.n as f64,
    };
    if settings.json {
        output::json(&done);
    } else {
        output::line(&format!(
            "{}: {} samples, {:.1} network evaluations each",
            done.output, done.samples, done.evaluations_per_sample
        ));
    }
    Ok(())
}

/// Which class each row gets.
enum Label {
    None,
    One(u32),
    InTurn(u64),
    /// As often as in the training data, which have so many rows of each class.
    AsData(Vec<usize>, Draws),
}

impl Label {
    fn parse(options: &Options, run: &Run) -> Result<Self> {
        let classes = run.info.space.classes();
        let csv = options.output.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        match options.label.as_deref() {
            None if classes.is_empty() => Ok(Label::None),
            None if csv => Ok(Label::as_data(options, run)),
            None | Some("all") if !classes.is_empty() => Ok(Label::InTurn(classes.len() as u64)),
            Some("data") if !classes.is_empty() => Ok(Label::as_data(options, run)),
            None | Some("none") => Ok(Label::None),
            Some(text) => {
                let by_name = classes.iter().position(|c| c == text);
                let by_number = text.parse::<usize>().ok().filter(|k| *k < classes.len());
                match by_name.or(by_number) {
                    Some(class) => Ok(Label::One(class as u32)),
                    None if classes.is_empty() => {
                        Err(Error::config("--label", text, "no label: the model has no classes"))
                    }
                    None => {
                        let mut names: Vec<&str> = classes.iter().map(String::as_str).collect();
                        names.extend(["all", "data", "none"]);
                        Err(Error::config("--label", text, tweedie::error::one_of(text, &names)))
                    }
                }
            }
        }
    }

    fn as_data(options: &Options, run: &Run) -> Self {
        Label::AsData(run.info.train.classes.clone(), Draws::new(options.seed).purpose("label"))
    }

    fn of(&self, row: u64) -> Option<u32> {
        match self {
            Label::None => None,
            Label::One(class) => Some(*class),
            Label::InTurn(count) => Some((row % count) as u32),
            Label::AsData(counts, draws) => {
                let total: usize = counts.iter().sum();
                let mut place = draws.below(row, 0, total as u64) as usize;
                let class = counts.iter().position(|count| match place.checked_sub(*count) {
                    Some(rest) => {
                        place = rest;
                        false
                    }
                    None => true,
                });
                class.map(|class| class as u32)
            }
        }
    }
}

/// A file that samples are written to as they come; it appears under its name when it is complete.
enum Sink {
    Npy(npy::NpyWriter<AtomicFile>),
    Csv(Box<TableWriter<AtomicFile>>),
    /// Raw values behind a header of known size.
    Safetensors(AtomicFile, PathBuf),
    /// Pictures need all rows.
    Png {
        out: AtomicFile,
        path: PathBuf,
        space: Box<Space>,
        samples: Option<Split>,
    },
}

/// A picture holds at most so many samples.
const MOST_IN_PICTURE: u64 = 100_000;

impl Sink {
    fn create(path: &Path, run: &Run, n: u64, labelled: bool) -> Result<Self> {
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
                Ok(Sink::Csv(Box::new(TableWriter::new(out, path, space, label)?)))
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

    fn write(&mut self, rows: Rows, labels: Option<Vec<u32>>) -> Result<()> {
        match self {
            Sink::Npy(out) => out.write(&rows),
            Sink::Csv(out) => out.write(&rows, labels.as_deref()),
            Sink::Safetensors(out, path) => rows
                .values()
                .iter()
                .try_for_each(|v| out.write_all(&v.to_le_bytes()))
                .map_err(|e| Error::io(&*path, e)),
            Sink::Png { samples, .. } => {
                let new = Split::new(rows, labels)?;
                *samples = Some(match samples.take() {
                    None => new,
                    Some(earlier) => earlier.followed_by(&new)?,
                });
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<()> {
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
