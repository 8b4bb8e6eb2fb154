//! `tweedie train`.

use crate::{Settings, output, progress};
use std::path::{Path, PathBuf};
use std::time::Instant;
use toml::Value;
use tweedie::data::Dataset;
use tweedie::judge::{self, Judgement, score_rows};
use tweedie::run::pictures::keep;
use tweedie::run::{Recipe, Run, shipped as recipes};
use tweedie::train::{Event, Learner};
use tweedie::{Error, Result};

/// Options of `tweedie train`.
#[derive(clap::Args)]
pub struct Options {
    /// A shipped recipe (see `tweedie list recipes`) or the path of a .toml file.
    recipe: String,
    /// Data to train on, replacing the recipe's: a shipped data set, a toy, a .csv, .csv.gz, .dat, .npy or .npz file,
    /// or a folder of pictures (PNG, JPEG, WebP, or the files of MNIST or CIFAR).
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

/// Trains, samples, judges and reports.
pub fn run(options: &Options, settings: &Settings) -> Result<()> {
    let (name, text) = recipes::find(&options.recipe)?;
    let (run, data) =
        if options.resume { resume(options, &name)? } else { start(options, &name, &text)? };
    let judged = finish(&run, data.as_ref(), settings)?;
    if settings.json {
        output::json(&judged);
    } else {
        print(&judged);
    }
    Ok(())
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

/// Trains a shipped recipe on the data of `source` in a folder; resumes a run that has stopped, and skips one that has
/// finished.
pub fn finished(recipe: &str, source: &str, folder: &Path, settings: &Settings) -> Result<()> {
    let started = folder.join("run.json").exists();
    if started && folder.join("report.html").exists() {
        return Ok(());
    }
    let options = Options {
        recipe: recipe.into(),
        data: (!started).then(|| source.into()),
        label: None,
        condition: Vec::new(),
        set: Vec::new(),
        out: Some(folder.into()),
        seed: None,
        resume: started,
    };
    let (name, text) = recipes::find(recipe)?;
    let (run, data) =
        if started { resume(&options, &name)? } else { start(&options, &name, &text)? };
    finish(&run, data.as_ref(), settings).map(drop)
}

/// Trains a run to its end and writes its report.
fn finish(run: &Run, data: Option<&Dataset>, settings: &Settings) -> Result<Judgement> {
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
    train(run, data, &mut *learner, settings)?;
    run.save_weights(&learner.weights()?)?;
    settings.with(recipe.seed, |at| judge::finish(run, data, at))
}

impl Options {
    /// The options that change the recipe, as overrides. `--data` replaces the whole `data` table of a new run's
    /// recipe, and its `source` alone for a run to `resume`.
    fn overrides(&self, resume: bool) -> Vec<String> {
        let quoted = |text: &String| Value::String(text.clone()).to_string();
        let source = |data: &String| match resume {
            true => format!("data.source={}", quoted(data)),
            false => format!("data={{ source = {} }}", quoted(data)),
        };
        let mut overrides: Vec<String> = self.data.iter().map(source).collect();
        overrides.extend(self.set.iter().cloned());
        overrides.extend(self.label.iter().map(|label| format!("data.label={}", quoted(label))));
        if !self.condition.is_empty() {
            let names: Vec<String> = self.condition.iter().map(quoted).collect();
            overrides.push(format!("data.condition=[{}]", names.join(", ")));
        }
        overrides.extend(self.seed.iter().map(|seed| format!("seed={seed}")));
        overrides
    }
}

/// Creates a run; with its data, if its family has some.
fn start(options: &Options, name: &str, text: &str) -> Result<(Run, Option<Dataset>)> {
    let located = |error| recipes::located(error, &options.recipe, text);
    let recipe = Recipe::parse(text, &options.overrides(false)).map_err(located)?;
    let data = recipe.data.is_some().then(|| recipe.load_data()).transpose()?;
    let folder = match &options.out {
        Some(folder) => folder.clone(),
        None => numbered(name).find(|p| !p.exists()).unwrap_or_else(|| PathBuf::from("runs")),
    };
    Ok((Run::create(&folder, recipe, data.as_ref()).map_err(located)?, data))
}

/// Opens a run to resume; with its data, if its family has some.
fn resume(options: &Options, name: &str) -> Result<(Run, Option<Dataset>)> {
    let folder = match &options.out {
        Some(folder) => folder.clone(),
        None => numbered(name).take_while(|p| p.exists()).last().ok_or_else(|| {
            Error::config(
                "--resume",
                format!("no run of {name} under runs/"),
                "--out with a run directory",
            )
        })?,
    };
    let run = Run::open(&folder)?.with_overrides(&options.overrides(true))?;
    let data = (!run.is_without_data() || run.is_imported()).then(|| run.data()).transpose()?;
    for folder in [folder.clone(), run.file("samples")].iter().filter(|f| f.is_dir()) {
        tweedie::files::remove_leftovers(folder)?;
    }
    Ok((run, data))
}

/// The paths runs/NAME, runs/NAME-2, runs/NAME-3, …
fn numbered(name: &str) -> impl Iterator<Item = PathBuf> {
    let name = name.to_string();
    (1..10_000u32).map(move |k| match k {
        1 => Path::new("runs").join(&name),
        k => Path::new("runs").join(format!("{name}-{k}")),
    })
}

/// Runs the training loop with a progress bar; keeps samples at the steps of the recipe.
fn train(
    run: &Run,
    data: Option<&Dataset>,
    learner: &mut dyn Learner,
    settings: &Settings,
) -> Result<()> {
    let config = run.training_loop();
    let bar = progress::bar(config.steps, "steps", settings.json);
    bar.set_prefix("training");
    let (mut smooth, mut held_out) = (None, String::new());
    let mut began = 0;
    let (before, started) = (run.training_seconds()?.unwrap_or(0.0), Instant::now());
    let seconds = || before + started.elapsed().as_secs_f64();
    tweedie::train::train(learner, run.folder(), &config, |event| {
        match event {
            Event::Resumed(step) => {
                began = step;
                bar.set_position(step);
            }
            Event::Step(step, loss) => {
                bar.set_position(step);
                if let Some(loss) = loss {
                    let mean: f64 = smooth.map_or(loss, |s: f64| s + 0.02 * (loss - s));
                    smooth = Some(mean);
                    bar.set_message(format!("loss {mean:.4}{held_out}"));
                }
            }
            Event::HeldOut(_, values) => {
                run.save_training_seconds(seconds())?;
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
    bar.finish();
    if began < config.steps {
        run.save_training_seconds(seconds())?
    }
    Ok(())
}
