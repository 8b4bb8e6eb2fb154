//! `tweedie import` and `tweedie export`.

use crate::{Settings, output};
use serde::Serialize;
use std::path::{Path, PathBuf};
use toml::Value;
use tweedie::run::Run;
use tweedie::{Result, diffusers};

/// Options of `tweedie import`.
#[derive(clap::Args)]
pub struct Import {
    /// Folder of a diffusers checkpoint: a pipeline with model_index.json, or a UNet2DModel with config.json. Of a
    /// folder with unet_ema and unet the former is taken; FOLDER/unet is the latter.
    source: PathBuf,
    /// The run directory to create; runs/NAME by default.
    #[arg(short, long)]
    out: Option<PathBuf>,
}

/// Options of `tweedie export`.
#[derive(clap::Args)]
pub struct Export {
    /// The run directory.
    run: PathBuf,
    /// The folder to create; RUN/diffusers by default.
    #[arg(short, long)]
    out: Option<PathBuf>,
}

/// The result of an import or an export.
#[derive(Serialize)]
struct Summary {
    folder: String,
    schedule: String,
    prediction: String,
    solver: String,
    steps: i64,
}

impl Summary {
    fn report(run: &Run, folder: &Path, settings: &Settings) -> Result<()> {
        let recipe = Value::Table(run.info.resolved.table()?);
        let at = |keys: &[&str]| keys.iter().try_fold(&recipe, |at, key| at.get(key));
        let word = |keys| at(keys).and_then(Value::as_str).unwrap_or_default().to_string();
        let done = Summary {
            folder: folder.display().to_string(),
            schedule: word(&["schedule", "name"]),
            prediction: word(&["model", "prediction"]),
            solver: word(&["sampling", "solver", "name"]),
            steps: at(&["sampling", "steps"]).and_then(Value::as_integer).unwrap_or_default(),
        };
        if settings.json {
            output::json(&done);
        } else {
            output::line(&format!(
                "{}: schedule {}, predicts {}, samples by {} in {} steps",
                done.folder, done.schedule, done.prediction, done.solver, done.steps
            ));
        }
        Ok(())
    }
}

/// Imports a checkpoint of diffusers as a run.
pub fn import(options: &Import, settings: &Settings) -> Result<()> {
    let name = options.source.file_name().map_or("imported".into(), |n| n.to_os_string());
    let out = options.out.clone().unwrap_or_else(|| Path::new("runs").join(name));
    let diffusers::Import { run, notes } = diffusers::import(&options.source, &out)?;
    notes.iter().for_each(|note| eprintln!("note: {note}"));
    Summary::report(&run, &out, settings)
}

/// Exports a run as a checkpoint of diffusers.
pub fn export(options: &Export, settings: &Settings) -> Result<()> {
    let run = crate::runs::open(&options.run)?;
    let out = options.out.clone().unwrap_or_else(|| run.file("diffusers"));
    diffusers::export(&run, &out)?;
    Summary::report(&run, &out, settings)
}
