//! `tweedie sample`.

mod sink;

use crate::{Settings, output, progress};
use sink::Sink;
use std::ops::Range;
use std::path::PathBuf;
use toml::{Table, Value};
use tweedie::burn::tensor::Device;
use tweedie::data::table::{TableOptions, read};
use tweedie::data::{Condition, Coordinate, Kind, Rows, Space, Split};
use tweedie::family;
use tweedie::run::Run;
use tweedie::{Draws, Error, Result};

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
    /// The file to write; its ending picks the format: .png, .npy, .csv or .safetensors.
    #[arg(short, long)]
    output: PathBuf,
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

/// The noise of a stochastic solver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Noise {
    /// Independent noise for each step.
    Steps,
    /// A Wiener path, refined by more steps.
    Tree,
}

/// Options of sampling, which override the recipe.
#[derive(Default, clap::Args)]
pub struct Sampling {
    /// The solver (see `tweedie list solvers`), with options as in 'ddim, eta = 0.5'.
    #[arg(long)]
    pub solver: Option<String>,
    /// The grid of noise levels (see `tweedie list grids`), with options as in 'karras, rho = 5.0'.
    #[arg(long)]
    pub grid: Option<String>,
    /// Number of steps of the solver; the last denoising counts as one.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    pub steps: Option<usize>,
    /// Weight of classifier-free guidance; 1 is none.
    #[arg(long, allow_negative_numbers = true)]
    pub guidance: Option<f64>,
    /// A weaker run that guides in place of the model without its condition (autoguidance): its folder, or a file of
    /// its earlier weights, as training.keep_every keeps them.
    #[arg(long, value_name = "RUN")]
    pub weak: Option<PathBuf>,
    /// Override a key of the recipe's sampling, such as sampling.solver.eta=0.5; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = sampling_key)]
    pub set: Vec<(String, Value)>,
    /// Use the best variance of each `ancestral` step for the errors of this run, measured on 512 training rows first.
    #[arg(long)]
    pub analytic_variance: bool,
}

impl Sampling {
    /// The options as overrides of the `sampling` table.
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
        let path = self.weak.as_ref().map(|path| path.display().to_string());
        set("weak", path.map(Value::String));
        set("variance", self.analytic_variance.then(|| "measured".into()));
        table.extend(self.set.iter().cloned());
        table
    }

    /// The same error with its key as a command-line option.
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

/// A key inside of `sampling` with its value, out of `sampling.key=value`.
fn sampling_key(text: &str) -> std::result::Result<(String, Value), String> {
    let expected = || "expected sampling.KEY=VALUE".to_string();
    let (key, value) = text.split_once('=').ok_or_else(expected)?;
    let key = key.trim().strip_prefix("sampling.").filter(|key| !key.is_empty());
    let value = value.trim();
    let value = value.parse().unwrap_or_else(|_| Value::String(value.to_string()));
    Ok((key.ok_or_else(expected)?.to_string(), value))
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
}

/// Generates rows in chunks and writes each chunk.
pub fn run(options: &Options, settings: &Settings) -> Result<()> {
    if options.n == 0 || options.n > MOST {
        return Err(Error::config("-n", options.n.to_string(), format!("from 1 to {MOST}")));
    }
    let run = Run::open(&options.run)?;
    let model = run.model(&settings.device)?;
    let generator = settings.with(options.seed, |at| model.generator(&options.table(), at));
    let generator = generator.map_err(Sampling::as_option)?;
    let given = Conditions::parse(options, &run)?;
    let label = Label::parse(options, &run)?;
    let mut sink =
        Sink::create(&options.output, &run, options.n, label.of(0).is_some(), given.is_some())?;
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
            |rows| match &given {
                Some(given) => given.condition(rows, &run.info.space, device),
                None => run.info.space.condition(rows.map(|i| label.of(i)).collect()),
            },
            seed,
            device,
            |_| {},
        )?;
        let labels = range.clone().map(|i| label.of(i)).collect::<Option<Vec<u32>>>();
        let samples = Split::new(rows, labels)?;
        sink.write(match &given {
            Some(given) => samples.with_given(given.values(range.clone()))?,
            None => samples,
        })?;
        bar.set_position(range.end);
    }
    bar.finish_and_clear();
    sink.finish()?;
    let done = Summary {
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

/// The class of each row.
enum Label {
    None,
    One(u32),
    InTurn(u64),
    /// Random classes with the frequencies of the training rows, whose numbers are given by class.
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

/// The values of the columns that samples are conditioned on.
enum Conditions {
    /// The same for all.
    One(Rows),
    /// Rows in turn.
    InTurn(Rows),
    /// Random rows.
    Random(Rows, Draws),
}

impl Conditions {
    /// The conditions that the options name; none for an unconditional sample, or a model without such columns.
    fn parse(options: &Options, run: &Run) -> Result<Option<Self>> {
        let wrong =
            |found: &str, expected: String| Err(Error::config("--condition", found, expected));
        let Some(space) = run.info.space.given() else {
            return match options.condition.as_deref() {
                None | Some("none") => Ok(None),
                Some(text) => {
                    wrong(text, "no condition: the model is conditioned on no columns".into())
                }
            };
        };
        if let Some(label) = &options.label {
            let expected = "--condition: the model is conditioned on columns";
            return Err(Error::config("--label", label, expected));
        }
        match options.condition.as_deref() {
            Some("none") => Ok(None),
            None | Some("data") => {
                let data = run.data()?.fit_rows();
                let draws = Draws::new(options.seed).purpose("condition");
                Ok(data.given().map(|values| Conditions::Random(values.clone(), draws)))
            }
            Some(path) if [".csv", ".csv.gz"].iter().any(|ending| path.ends_with(ending)) => {
                let columns = (0..space.width()).map(|j| space.column_name(j)).collect();
                let options = TableOptions { columns: Some(columns), ..TableOptions::default() };
                let found = read(path, &options)?;
                Ok(Some(Conditions::InTurn(
                    space.adopt(&found.space, &found.rows, path)?.rows().clone(),
                )))
            }
            Some(text) => {
                let names: Vec<String> = (0..space.width()).map(|j| space.column_name(j)).collect();
                let expected = || format!("a value for each of {}", names.join(", "));
                let Ok(table) = format!("of = {{ {text} }}").parse::<Table>() else {
                    return wrong(text, expected());
                };
                let Some(of) = table.get("of").and_then(Value::as_table) else {
                    return wrong(text, expected());
                };
                if of.len() != names.len() {
                    return wrong(text, expected());
                }
                let value = |(j, name): (usize, &String)| {
                    let value = of.get(name).and_then(|value| number(space.coordinate(j), value));
                    value.ok_or_else(|| Error::config("--condition", text, expected()))
                };
                let values = names.iter().enumerate().map(value).collect::<Result<Vec<f32>>>()?;
                let row = Rows::new(values, space.width())?;
                space.validate(&row).map_err(|error| match error {
                    Error::Config { problem, expected, .. } => {
                        Error::config("--condition", problem, expected)
                    }
                    other => other,
                })?;
                Ok(Some(Conditions::One(row)))
            }
        }
    }

    /// The values of samples by their numbers.
    fn values(&self, rows: Range<u64>) -> Rows {
        match self {
            Conditions::One(row) => row.select(&vec![0; (rows.end - rows.start) as usize]),
            Conditions::InTurn(all) => {
                all.select(&rows.map(|i| (i % all.len() as u64) as usize).collect::<Vec<_>>())
            }
            Conditions::Random(all, draws) => {
                let chosen = rows.map(|i| draws.below(i, 0, all.len() as u64) as usize);
                all.select(&chosen.collect::<Vec<_>>())
            }
        }
    }

    /// The condition of samples by their numbers.
    fn condition(&self, rows: Range<u64>, space: &Space, device: &Device) -> Result<Condition> {
        space.given_condition(&self.values(rows), device)
    }
}

/// A value of a column: a number, or the number of a category by its name.
fn number(column: &Coordinate, value: &Value) -> Option<f32> {
    match (&column.kind, value) {
        (Kind::Category { names }, Value::String(name)) => {
            names.iter().position(|known| known == name).map(|k| k as f32)
        }
        (Kind::Category { .. }, _) => None,
        (_, Value::Integer(value)) => Some(*value as f32),
        (_, Value::Float(value)) => Some(*value as f32),
        _ => None,
    }
}
