//! `tweedie sample`.

mod given;
mod label;
mod output;
mod rejection;
mod sampling;
mod sink;

pub use sampling::Sampling;

use crate::progress::Progress;
use crate::{Settings, runs};
use given::Conditions;
use label::Label;
use output::{Format, Output};
use rejection::Rejection;
use sink::{Content, Sink};
use std::ops::Range;
use std::path::PathBuf;
use toml::{Table, Value};
use tweedie::data::{Rows, Split};
use tweedie::family;
use tweedie::{Error, Result};

/// Most samples of a file, so that 64 bits hold every size in its header.
const MOST: u64 = 1 << 40;

/// Options of `tweedie sample`.
#[derive(clap::Args)]
pub struct Options {
    /// The run directory.
    run: PathBuf,
    /// Number of samples.
    #[arg(short, default_value_t = 100, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    n: u64,
    /// The file to write; its ending picks the format: .png, .npy, .npz, .csv, .tsv or .safetensors. `-` is stdout,
    /// as a table. By default RUN/samples.csv, or RUN/samples.png for pictures.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// The format, where the ending of the file does not say it.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Units of the values: `data`, as the columns of the data are, or `model`, as the model has them: standardised,
    /// neither rounded nor cut to the limits of their columns, a category as a number for each of its names.
    #[arg(long, value_enum, default_value_t = Units::Data)]
    units: Units,
    /// The present path of the run's data, if they were moved and conditions are drawn from them.
    #[arg(long)]
    data: Option<String>,
    #[command(flatten)]
    sampling: Sampling,
    /// The seed; row i of the output depends on the seed and i alone.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    seed: u64,
    /// The class to sample, by name or number; `all` for all in turn, `data` for frequencies of the training data,
    /// `none` for no class. By default `data` for a .csv, which has a column of classes, else `all`.
    #[arg(long, allow_negative_numbers = true)]
    label: Option<String>,
    /// Condition of a model that is conditioned on columns: a value for each column, as in 'age = 40, smokes = "yes"';
    /// a .csv file with these columns, its rows used in turn; `data` for conditions of random training rows (the
    /// default); or `none` for the unconditional model.
    #[arg(long)]
    condition: Option<String>,
    /// Conditions on any columns, by rejection of rows that do not satisfy them all, as in 'age > 40, sex = f': =, !=,
    /// <, <=, > and >=, values as the table writes them, an empty one for a missing one. What a model is conditioned on
    /// (columns of --condition, the label) is a condition of the model instead. Row k is the k-th of the rows drawn
    /// that satisfies them.
    #[arg(long = "where", value_name = "CONDITIONS")]
    filter: Option<String>,
    /// Most rows to draw for --where; by default 200 times -n, and at least 20000.
    #[arg(long, value_name = "ROWS", allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    most_rows: Option<u64>,
    /// Noise schedule to sample on, in place of the schedule of training (see `tweedie list schedules`), with options
    /// as in 'edm, sigma_min = 0.01'. Its log-SNR must stay within the range of the schedule of training.
    #[arg(long)]
    schedule: Option<String>,
    /// Noise of a stochastic solver: `steps`, independent for each step, or `tree`, one path in time that more steps
    /// refine.
    #[arg(long, value_enum, default_value_t = Noise::Steps)]
    noise: Noise,
    /// Rows to start from, in place of noise: a .npy file in model units, at the noisiest level.
    #[arg(long)]
    init: Option<PathBuf>,
}

/// Units of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Units {
    /// Units of the columns.
    Data,
    /// Units of the model.
    Model,
}

/// The noise of a stochastic solver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Noise {
    /// Independent noise for each step.
    Steps,
    /// A Wiener path, refined by more steps.
    Tree,
}

impl Options {
    /// The options as overrides of the `sampling` table.
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

/// The result of the command.
#[derive(serde::Serialize)]
struct Summary {
    output: String,
    samples: u64,
    evaluations_per_sample: f64,
    /// The rows drawn, with --where.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_drawn: Option<u64>,
    /// The step of the checkpoint, if training has not finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u64>,
}

/// Generates rows in chunks and writes each chunk.
pub fn run(options: &Options, settings: &Settings) -> Result<()> {
    if options.n == 0 || options.n > MOST {
        return Err(Error::config("-n", options.n.to_string(), format!("from 1 to {MOST}")));
    }
    let run = runs::open_with(&options.run, options.data.as_deref())?;
    let output = Output::parse(options, &run, settings)?;
    let (model, step) = runs::model(&run, settings)?;
    let generator = settings.with(options.seed, |at| model.generator(&options.table(), at));
    let generator = generator.map_err(Sampling::as_option)?;
    let mut rejection = Rejection::parse(options, &run, generator.most_rows())?;
    let filter = rejection.filter.as_ref();
    let given = Conditions::parse(options, &run, filter)?;
    let label = Label::parse(options, &run, filter, output.format == Format::Csv)?;
    let encoded = options.units == Units::Model;
    let content = Content { given: given.is_some(), model: encoded, filtered: filter.is_some() };
    let mut sink = Sink::create(&output, &run, options.n, &label, content)?;
    let progress = Progress::new("sampling", options.n, "samples", settings.json);
    let (space, seed, device) = (&run.info.space, options.seed, &settings.device);
    let condition = |rows: Range<u64>| match &given {
        Some(given) => given.condition(rows, space, device),
        None => space.condition(rows.map(|i| label.of(i)).collect()),
    };
    let with_conditions = |rows: Rows, range: Range<u64>| -> Result<Split> {
        let labels = range.clone().map(|i| label.of(i)).collect::<Option<Vec<u32>>>();
        let samples = Split::new(rows, labels)?;
        match &given {
            Some(given) => samples.with_given(given.values(range)),
            None => Ok(samples),
        }
    };
    while let Some(range) = rejection.next(generator.rows_at_once())? {
        let model = family::sample_encoded(&*generator, range.clone(), condition, seed, device)?;
        let rows = if encoded {
            None
        } else {
            Some(with_conditions(space.decode(&model)?, range.clone())?)
        };
        let kept = rejection.keep(range.clone(), || match &rows {
            Some(rows) => Ok(rows.clone()),
            None => with_conditions(space.decode(&model)?, range.clone()),
        })?;
        let rows = rows.map_or_else(|| with_conditions(model, range), Ok)?;
        sink.write(match kept {
            Some(kept) => rows.select(&kept),
            None => rows,
        })?;
        progress.note(rejection.note());
        progress.set(rejection.accepted);
    }
    progress.clear();
    sink.finish()?;
    let done = Summary {
        output: output.name(),
        samples: options.n,
        evaluations_per_sample: generator.network_evaluations() as f64 / options.n as f64,
        rows_drawn: rejection.drawn(),
        step,
    };
    let mut line = format!(
        "{}: {} samples, {:.1} network evaluations each",
        done.output, done.samples, done.evaluations_per_sample
    );
    if rejection.filter.is_some() {
        line = format!("{line}; {}", rejection.note());
    }
    match (settings.json, output.is_stdout) {
        (true, _) => crate::output::json(&done),
        // The samples alone go to stdout.
        (false, true) => eprintln!("{line}"),
        (false, false) => crate::output::line(&line),
    }
    Ok(())
}
