//! `tweedie train`.

use crate::{Settings, output, progress};
use std::path::{Path, PathBuf};
use toml::Value;
use tweedie::data::Dataset;
use tweedie::judge::samples::HEADINGS;
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
    /// Train on this instead: a shipped data set, a toy, a .csv, .csv.gz, .dat, .npy or .npz file, or a folder of
    /// pictures (PNG, JPEG, WebP, or the files of MNIST or CIFAR).
    #[arg(long)]
    data: Option<String>,
    /// The label column of a table, by name or `last`, which makes the model class-conditional; or `none` to leave out
    /// the labels of pictures.
    #[arg(long)]
    label: Option<String>,
    /// Override a key of the recipe, such as training.steps=500; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The run directory; runs/RECIPE by default, numbered where that is taken.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The seed of everything random.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    seed: Option<u64>,
    /// Go on with the run in --out, or with the newest run of this recipe. Other options must be those that it was started
    /// with, but for --set training.steps=N, which may grow.
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

/// Prints the table and the places.
fn print(judged: &Judgement) {
    if !judged.scores.is_empty() {
        output::table(&HEADINGS, &score_rows(&judged.scores));
        output::line("");
    }
    output::line(&format!("run      {}", judged.run));
    output::line(&format!("samples  {}", judged.samples));
    output::line(&format!("report   {}", judged.report));
}

/// A shipped recipe's run in a folder, trained on the data of `source` as far as it is not yet.
pub fn finished(recipe: &str, source: &str, folder: &Path, settings: &Settings) -> Result<()> {
    let started = folder.join("run.json").exists();
    if started && folder.join("report.html").exists() {
        return Ok(());
    }
    let options = Options {
        recipe: recipe.into(),
        data: (!started).then(|| source.into()),
        label: None,
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

/// Trains a run to its end and reports on it.
fn finish(run: &Run, data: Option<&Dataset>, settings: &Settings) -> Result<Judgement> {
    let recipe = &run.info.recipe;
    if !settings.json {
        let (folder, steps) = (run.folder().display(), recipe.training.steps);
        match data {
            Some(data) => eprintln!(
                "{folder}: {} training and {} held-out rows of {}, {steps} steps",
                data.train.len(),
                data.held_out.len(),
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
    /// All options that change the recipe, as overrides.
    fn overrides(&self) -> Vec<String> {
        let mut overrides = self.set.clone();
        let quoted = |text: &String| Value::String(text.clone()).to_string();
        overrides.extend(self.data.iter().map(|data| format!("data.source={}", quoted(data))));
        overrides.extend(self.label.iter().map(|label| format!("data.label={}", quoted(label))));
        overrides.extend(self.seed.iter().map(|seed| format!("seed={seed}")));
        overrides
    }
}

/// A new run, with its data if it has some.
fn start(options: &Options, name: &str, text: &str) -> Result<(Run, Option<Dataset>)> {
    let recipe = Recipe::parse(text, &options.overrides())
        .map_err(|error| recipes::located(error, &options.recipe, text))?;
    let data = recipe.data.is_some().then(|| recipe.load_data()).transpose()?;
    let folder = match &options.out {
        Some(folder) => folder.clone(),
        None => numbered(name).find(|p| !p.exists()).unwrap_or_else(|| PathBuf::from("runs")),
    };
    Ok((Run::create(&folder, recipe, data.as_ref())?, data))
}

/// A run to go on with.
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
    let run = Run::open(&folder)?.with_overrides(&options.overrides())?;
    let data = (!run.is_without_data() || run.is_imported()).then(|| run.data()).transpose()?;
    for folder in [folder.clone(), run.file("samples")].iter().filter(|f| f.is_dir()) {
        tweedie::files::remove_leftovers(folder)?;
    }
    Ok((run, data))
}

/// runs/NAME, runs/NAME-2, runs/NAME-3, …
fn numbered(name: &str) -> impl Iterator<Item = PathBuf> {
    let name = name.to_string();
    (1..10_000u32).map(move |k| match k {
        1 => Path::new("runs").join(&name),
        k => Path::new("runs").join(format!("{name}-{k}")),
    })
}

/// Runs the loop with a progress bar, keeping samples from time to time.
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
    tweedie::train::train(learner, run.folder(), &config, |event| {
        match event {
            Event::Resumed(step) => bar.set_position(step),
            Event::Step(step, loss) => {
                bar.set_position(step);
                if let Some(loss) = loss {
                    let mean: f64 = smooth.map_or(loss, |s: f64| s + 0.02 * (loss - s));
                    smooth = Some(mean);
                    bar.set_message(format!("loss {mean:.4}{held_out}"));
                }
            }
            Event::HeldOut(_, values) => {
                if let Some(value) = values.loss() {
                    held_out = format!(", held out {value:.4}");
                }
            }
            Event::Sample(step, learner) => {
                let (weights, origin) = (learner.weights()?, run.file("checkpoint.safetensors"));
                let model = run.model_with(&weights, &origin, &settings.device)?;
                keep(run, data, &*model, step, &settings.device)?;
            }
        }
        Ok(())
    })?;
    bar.finish();
    Ok(())
}
