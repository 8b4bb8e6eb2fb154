//! `tweedie sample`.

use crate::{Settings, output, progress};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tweedie::burn::tensor::Tensor;
use tweedie::data::table::TableWriter;
use tweedie::data::{Condition, Layout, Rows, Space, Split, npy};
use tweedie::denoise::{Denoiser, Moved, level_errors};
use tweedie::files::AtomicFile;
use tweedie::process::{AnySchedule, Schedule};
use tweedie::solve::{AnalyticVariance, AnySolver, Grid, Sampler};
use tweedie::train::{Run, named_option};
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

/// Training rows and noise levels at which a run's errors are measured.
const MEASURED: (usize, usize) = (512, 41);

impl Sampling {
    /// The run's sampler with these changes.
    pub fn sampler(&self, run: &Run, settings: &Settings) -> Result<Sampler> {
        self.sampler_of(run, run.denoiser(&settings.device)?, settings)
    }

    /// The sampler of the run's denoiser with these changes.
    pub fn sampler_of(
        &self,
        run: &Run,
        denoiser: Arc<dyn Denoiser>,
        settings: &Settings,
    ) -> Result<Sampler> {
        let sampler = self.changed(run, denoiser, None);
        sampler.and_then(|s| self.with_variance(run, s, settings)).map_err(as_option)
    }

    fn changed(
        &self,
        run: &Run,
        denoiser: Arc<dyn Denoiser>,
        schedule: Option<AnySchedule>,
    ) -> Result<Sampler> {
        let guidance = self.guidance.unwrap_or(run.info.recipe.sampling.guidance);
        let mut sampler = run.sampler(denoiser, guidance)?.with_solver(self.solver(run)?);
        if let Some(schedule) = schedule {
            sampler = sampler.with_schedule(Arc::new(schedule));
        }
        if let Some(grid) = &self.grid {
            sampler = sampler.with_grid(named_option("grid", grid)?);
        }
        if let Some(steps) = self.steps {
            sampler = sampler.with_steps(steps);
        }
        sampler.levels()?;
        Ok(sampler)
    }

    /// The sampler with the variance asked for.
    fn with_variance(&self, run: &Run, sampler: Sampler, settings: &Settings) -> Result<Sampler> {
        if !self.analytic_variance {
            return Ok(sampler);
        }
        if !matches!(self.solver(run)?, AnySolver::Ancestral(_)) {
            let expected = "`--solver ancestral`, whose steps have a variance to choose";
            return Err(Error::config("analytic-variance", "given for another solver", expected));
        }
        Ok(sampler.with_reverse_variance(Arc::new(best_variance(run, settings)?)))
    }

    /// The solver given, or the run's.
    fn solver(&self, run: &Run) -> Result<AnySolver> {
        let Some(solver) = &self.solver else { return Ok(run.info.recipe.sampling.solver) };
        let solver: AnySolver = named_option("solver", solver)?;
        solver.check()?;
        Ok(solver)
    }
}

/// The best variance of a run's ancestral steps, by the errors of its denoiser without guidance.
fn best_variance(run: &Run, settings: &Settings) -> Result<AnalyticVariance> {
    let (data, space) = (run.data()?, &run.info.space);
    let (most, levels) = MEASURED;
    let count = data.train.len().min(most);
    let rows: Vec<usize> = (0..count).map(|i| i * data.train.len() / count).collect();
    let (split, draws) = (data.train.select(&rows), Draws::new(0).purpose("variance"));
    let ids: Vec<u64> = (0..count as u64).collect();
    let encoding = run.info.recipe.training.encoding();
    let x = encoding.encode(space, split.rows(), &draws.purpose("dequantise"), &ids)?;
    let (schedule, condition) = (run.schedule()?, split.labels().into());
    let levels = Grid::LogSnr.levels(&*schedule, levels - 1)?;
    let finite: Vec<_> = levels.into_iter().filter(|level| level.lambda.is_finite()).collect();
    let (denoiser, device) = (run.denoiser(&settings.device)?, &settings.device);
    let bar = progress::bar(finite.len() as u64, "levels", settings.json);
    bar.set_prefix("measuring errors");
    let mut errors = Vec::with_capacity(finite.len());
    for level in finite {
        errors.extend(level_errors(&*denoiser, &x, &condition, &x, &[level], &draws, device)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    AnalyticVariance::measured(&errors)
}

/// The error with its key as an option.
fn as_option(error: Error) -> Error {
    match error {
        Error::Config { key, problem, expected } => {
            Error::config(format!("--{key}"), problem, expected)
        }
        other => other,
    }
}

impl Options {
    /// The run's sampler, moved to another schedule if there is one, with noise as asked for.
    fn sampler(&self, run: &Run, settings: &Settings) -> Result<Sampler> {
        let denoiser = run.denoiser(&settings.device)?;
        let schedule =
            self.schedule.as_deref().map(|text| schedule_within(text, run)).transpose()?;
        let denoiser: Arc<dyn Denoiser> = match schedule {
            None => denoiser,
            Some(_) => Arc::new(Moved::new(denoiser, Arc::new(run.info.recipe.schedule.clone()))),
        };
        let sampler = self.sampling.changed(run, denoiser, schedule)?;
        let sampler = self.sampling.with_variance(run, sampler, settings)?;
        if self.noise == Noise::Steps {
            return Ok(sampler);
        }
        self.sampling.solver(run)?.check_path_noise()?;
        Ok(sampler.with_path_noise())
    }
}

/// The schedule of that name, whose log-SNRs the run's network was trained on.
fn schedule_within(text: &str, run: &Run) -> Result<AnySchedule> {
    let schedule: AnySchedule = named_option("schedule", text)?;
    schedule.check()?;
    let ends = |schedule: &AnySchedule| {
        let (first, last) = schedule.range();
        (schedule.level(first).lambda, schedule.level(last).lambda)
    };
    let ((high, low), (most, least)) = (ends(&schedule), ends(&run.info.recipe.schedule));
    if high <= most + 1e-6 && low >= least - 1e-6 {
        return Ok(schedule);
    }
    let found = format!("{text}, whose log-SNR falls from {high:.4} to {low:.4}");
    let expected = format!("log-SNRs that the run was trained on, {most:.4} to {least:.4}");
    Err(Error::config("schedule", found, expected))
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
    let sampler = options.sampler(&run, settings).map_err(as_option)?;
    let label = Label::parse(options, &run)?;
    let start =
        options.init.as_deref().map(|path| read_start(path, &run, options.n)).transpose()?;
    let mut sink = Sink::create(&options.output, &run, options.n, label.of(0).is_some())?;
    let bar = progress::bar(options.n, "samples", settings.json);
    bar.set_prefix("sampling");
    let chunk = run.rows_at_once();
    for first in (0..options.n).step_by(chunk as usize) {
        let range = first..(first + chunk).min(options.n);
        let rows = match &start {
            None => run.generate(
                &sampler,
                range.clone(),
                |i| label.of(i),
                options.seed,
                &settings.device,
                |_| {},
            )?,
            Some(start) => {
                from_start(&run, &sampler, start, range.clone(), &label, options.seed, settings)?
            }
        };
        let labels = range.clone().map(|i| label.of(i)).collect::<Option<Vec<u32>>>();
        sink.write(rows, labels)?;
        bar.set_position(range.end);
    }
    bar.finish_and_clear();
    sink.finish()?;
    let done = Done {
        output: options.output.display().to_string(),
        samples: options.n,
        evaluations_per_sample: sampler.evaluations() as f64 / options.n as f64,
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

/// The start of every row, from a file.
fn read_start(path: &Path, run: &Run, n: u64) -> Result<Rows> {
    let (_, rows) = npy::read(path)?;
    let width = run.info.space.model_width();
    if rows.width() != width || (rows.len() as u64) < n {
        let problem = format!("{} rows of {} values", rows.len(), rows.width());
        return Err(Error::file(
            path,
            "shape",
            problem,
            format!("at least {n} rows of {width} values"),
        ));
    }
    Ok(rows)
}

fn from_start(
    run: &Run,
    sampler: &Sampler,
    start: &Rows,
    range: std::ops::Range<u64>,
    label: &Label,
    seed: u64,
    settings: &Settings,
) -> Result<Rows> {
    let ids: Vec<u64> = range.clone().collect();
    let x: Tensor<2> =
        start.slice(range.start as usize..range.end as usize).to_tensor(&settings.device);
    let condition = match run.info.space.classes() {
        [] => Condition::None,
        _ => Condition::Class(range.map(|i| label.of(i)).collect()),
    };
    let draws = Draws::new(seed).purpose("sample");
    let x = sampler.generate_from(x, &ids, &condition, &draws, |_| {})?;
    run.info.space.decode(&Rows::from_tensor(&x)?)
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
                let own = run.info.recipe.data.label.as_deref().filter(|name| *name != "last");
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
                let picture = tweedie::show::picture(&space, &samples, None)?;
                let bytes = tweedie::show::png_bytes(&picture)?;
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
