//! `tweedie train`.

mod start;

use crate::stop::Stop;
use crate::{Settings, output, progress::Progress};
use start::Session;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tweedie::data::Dataset;
use tweedie::files::shell_word;
use tweedie::judge::{self, Judgement, score_rows};
use tweedie::run::pictures::keep;
use tweedie::run::{Cost, Run, shipped};
use tweedie::train::{Event, Learner, Memory, train_until};
use tweedie::{Error, Result};

/// Options of `tweedie train`.
#[derive(clap::Args)]
pub struct Options {
    /// A shipped recipe (see `tweedie list recipes`) or the path of a .toml file.
    recipe: Option<String>,
    /// Data to train on, replacing the recipe's: a shipped data set, a toy, a .csv, .csv.gz, .dat, .npy or .npz file,
    /// or a folder of pictures (PNG, JPEG, WebP, BMP, TIFF, GIF, or the files of MNIST or CIFAR). With --resume, the
    /// new place of the run's data.
    #[arg(long)]
    data: Option<String>,
    /// The label column of a table, by name or `last`; it makes the model class-conditional. `class` labels the points
    /// of a toy, `none` leaves labels out.
    #[arg(long)]
    label: Option<String>,
    /// The columns of a table to condition its rows on, by name, with commas: they are given, not learnt.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    condition: Vec<String>,
    /// Override a key of the recipe, such as training.steps=500; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The run directory; by default runs/RECIPE, or the next free runs/RECIPE-N.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The seed of all random numbers in training.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    seed: Option<u64>,
    /// Go on with the run in --out, or with the newest run of this recipe. Other options must equal the options at the
    /// start; only --set training.steps=N may grow.
    #[arg(long)]
    resume: bool,
}

/// The end of a training session.
enum Outcome {
    /// The run is trained and judged.
    Judged(Judgement),
    /// A signal stopped it after this step.
    Stopped(u64),
}

/// Trains, samples, judges and reports. Ctrl-C and SIGTERM stop training with a checkpoint.
pub fn run(options: &Options, settings: &Settings) -> Result<ExitCode> {
    let stop = Stop::listen();
    let Session { run, data, lock: _lock } = options.begin()?;
    match finish(&run, data.as_ref(), settings, Some(&stop))? {
        Outcome::Judged(judged) if settings.json => output::json(&judged),
        Outcome::Judged(judged) => print(&judged),
        Outcome::Stopped(step) => {
            eprintln!("stopped after step {step}, with a checkpoint; this goes on:");
            eprintln!("{}", options.resuming(&run, settings));
            return Ok(ExitCode::from(stop.status().unwrap_or(1)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the table of metrics and the paths of the results.
fn print(judged: &Judgement) {
    if !judged.scores.is_empty() {
        output::table(&judged.headings, &score_rows(&judged.scores));
        output::line("");
    }
    output::line(&format!("run      {}", judged.run));
    output::line(&format!("samples  {}", judged.samples));
    output::line(&format!("report   {}", judged.report));
}

/// Trains a shipped recipe on the data of `source`, or else of the recipe, in a folder; resumes a run that has stopped,
/// and skips one that has finished, saying where its recipe differs.
pub fn finished(
    recipe: &str,
    source: Option<&str>,
    folder: &Path,
    settings: &Settings,
) -> Result<()> {
    let started = folder.join("run.json").exists();
    if started && folder.join("report.html").exists() {
        let (_, text) = shipped::find(recipe)?;
        start::say_differences(&Run::open(folder)?, &text, recipe);
        return Ok(());
    }
    let options = Options {
        recipe: Some(recipe.into()),
        data: source.filter(|_| !started).map(String::from),
        label: None,
        condition: Vec::new(),
        set: Vec::new(),
        out: Some(folder.into()),
        seed: None,
        resume: started,
    };
    let Session { run, data, lock: _lock } = options.begin()?;
    finish(&run, data.as_ref(), settings, None).map(drop)
}

/// Trains a run to its end and writes its report.
fn finish(
    run: &Run,
    data: Option<&Dataset>,
    settings: &Settings,
    stop: Option<&Stop>,
) -> Result<Outcome> {
    let recipe = &run.info.recipe;
    data.iter().flat_map(|data| &data.notes).for_each(|note| eprintln!("note: {note}"));
    if !settings.json {
        let (folder, steps) = (run.folder().display(), recipe.training.steps);
        match data {
            Some(data) => eprintln!(
                "{folder}: {} training, {} validation and {} test rows of {}, {steps} steps",
                data.fit_rows().len(),
                data.view().map_or(0, |view| view.rows),
                data.test().len(),
                data.name,
            ),
            None => eprintln!("{folder}: {}, {steps} steps", recipe.plan.family()),
        }
    }
    let mut learner = run.learner(data, &settings.device)?;
    stop.inspect(|stop| stop.defer());
    let stopped = train(run, data, &mut *learner, settings, stop);
    stop.inspect(|stop| stop.at_once());
    if let Some(step) = stopped.map_err(|error| diverged(error, run))? {
        return Ok(Outcome::Stopped(step));
    }
    learner.notes().iter().for_each(|note| eprintln!("note: {note}"));
    run.save_weights(&learner.weights()?)?;
    if stop.and_then(Stop::status).is_some() {
        return Ok(Outcome::Stopped(recipe.training.steps));
    }
    settings.with(recipe.seed, |at| judge::finish(run, data, at)).map(Outcome::Judged)
}

/// A divergence with advice: the key to lower, and what is kept.
fn diverged(error: Error, run: &Run) -> Error {
    if !matches!(error, Error::Diverged { .. }) {
        return error;
    }
    let table = run.info.recipe.table().unwrap_or_default();
    let rate = table.get("training").and_then(|training| training.get("learning_rate"));
    let lower = rate.map(|rate| {
        format!("lower training.learning_rate, which is {rate} in this run, in a new run")
    });
    let checkpoint = run.file("checkpoint.safetensors");
    let kept = checkpoint.exists().then(|| {
        let path = checkpoint.display();
        format!("the last good checkpoint is kept in {path}, for `sample` and `show`")
    });
    let advice: Vec<String> = lower.into_iter().chain(kept).collect();
    if advice.is_empty() { error } else { error.advised(advice.join("; ")) }
}

impl Options {
    /// The command line that goes on with a run.
    fn resuming(&self, run: &Run, settings: &Settings) -> String {
        let mut line = String::from("tweedie train");
        if let Some(recipe) = &self.recipe {
            line += &format!(" {}", shell_word(recipe));
        }
        line += &format!(" --resume --out {}", shell_word(run.folder()));
        if settings.device_name != "cpu" {
            line += &format!(" --device {}", settings.device_name);
        }
        line
    }
}

/// The seconds of all cores together that this process has taken; none where the system does not report them.
fn cpu_seconds() -> Option<f64> {
    #[cfg(unix)]
    {
        use rustix::time::{ClockId, clock_gettime};
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
    }
    #[cfg(not(unix))]
    None
}

/// Runs the training loop with its progress, and keeps samples at the steps of the recipe; gives the step if a signal
/// stopped it.
fn train(
    run: &Run,
    data: Option<&Dataset>,
    learner: &mut dyn Learner,
    settings: &Settings,
    stop: Option<&Stop>,
) -> Result<Option<u64>> {
    let config = run.training_loop();
    let progress = Progress::new("training", config.steps, "steps", settings.json);
    let (mut smooth, mut held_out) = (None, String::new());
    let mut began = 0;
    let (before, started, cpu_started) =
        (run.cost()?.unwrap_or_default(), Instant::now(), cpu_seconds());
    // Runs begun before these were measured stay without.
    let cpu_before = if before.seconds > 0.0 { before.cpu_seconds } else { Some(0.0) };
    Memory::forget_peak();
    let cost = || {
        let peaks = [Memory::now().map(|memory| memory.peak), before.peak_memory_mb];
        let peak_memory_mb = peaks.into_iter().flatten().reduce(f64::max);
        let cpu_now = cpu_seconds().zip(cpu_started).map(|(now, started)| now - started);
        Cost {
            seconds: before.seconds + started.elapsed().as_secs_f64(),
            cpu_seconds: cpu_before.zip(cpu_now).map(|(before, now)| before + now),
            peak_memory_mb,
        }
    };
    let wanted = || stop.and_then(Stop::status).is_some();
    let stopped = train_until(learner, run.folder(), &config, wanted, |event| {
        match event {
            Event::Resumed(step) => {
                began = step;
                progress.begin_at(step);
            }
            Event::Step(step, loss) => {
                if let Some(loss) = loss {
                    let mean: f64 = smooth.map_or(loss, |s: f64| s + 0.02 * (loss - s));
                    smooth = Some(mean);
                    progress.note(format!("loss {mean:.4}{held_out}"));
                }
                progress.set(step);
            }
            Event::HeldOut(_, values) => {
                run.save_cost(cost())?;
                if let Some(value) = values.loss() {
                    held_out = format!(", held out {value:.4}");
                }
            }
            Event::Sample(step, learner) => {
                let (weights, origin) = (learner.weights()?, run.file("checkpoint.safetensors"));
                let model = run.model_with(&weights, &origin, &settings.device)?;
                keep(run, data, &*model, step, &settings.device)?;
            }
            Event::Keep(step, learner) => run.keep_weights(&learner.weights()?, step)?,
        }
        Ok(())
    })?;
    if began < config.steps {
        progress.finish();
        run.save_cost(cost())?
    }
    Ok(stopped)
}
