//! `tweedie import` and `tweedie export`.

use crate::{Settings, output};
use serde::Serialize;
use std::path::{Path, PathBuf};
use tweedie::family::diffusion::Diffusion;
use tweedie::run::Run;
use tweedie::{Result, diffusers};

/// Options of `tweedie import`.
#[derive(clap::Args)]
pub struct Import {
    /// A folder of diffusers: a pipeline with model_index.json, or a UNet2DModel with config.json.
    source: PathBuf,
    /// The run directory to make; runs/NAME by default.
    #[arg(short, long)]
    out: Option<PathBuf>,
}

/// Options of `tweedie export`.
#[derive(clap::Args)]
pub struct Export {
    /// The run directory.
    run: PathBuf,
    /// The folder to write; RUN/diffusers by default.
    #[arg(short, long)]
    out: Option<PathBuf>,
}

/// What was made.
#[derive(Serialize)]
struct Done {
    folder: String,
    schedule: String,
    prediction: String,
    solver: String,
    steps: usize,
}

impl Done {
    fn report(run: &Run, folder: &Path, settings: &Settings) -> Result<()> {
        let word = |value: serde_json::Value| match &value["name"] {
            serde_json::Value::String(name) => name.clone(),
            _ => value.as_str().unwrap_or_default().to_string(),
        };
        let json = |value: serde_json::Result<serde_json::Value>| word(value.unwrap_or_default());
        let recipe = run.info.resolved_as::<Diffusion>()?;
        let done = Done {
            folder: folder.display().to_string(),
            schedule: json(serde_json::to_value(&recipe.schedule)),
            prediction: json(serde_json::to_value(recipe.model.prediction)),
            solver: json(serde_json::to_value(recipe.sampling.solver)),
            steps: recipe.sampling.steps,
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

/// Makes a run of a checkpoint.
pub fn import(options: &Import, settings: &Settings) -> Result<()> {
    let name = options.source.file_name().map_or("imported".into(), |n| n.to_os_string());
    let out = options.out.clone().unwrap_or_else(|| Path::new("runs").join(name));
    let run = diffusers::import(&options.source, &out)?;
    Done::report(&run, &out, settings)
}

/// Writes a run as a checkpoint.
pub fn export(options: &Export, settings: &Settings) -> Result<()> {
    let run = Run::open(&options.run)?;
    let out = options.out.clone().unwrap_or_else(|| run.file("diffusers"));
    diffusers::export(&run, &out)?;
    Done::report(&run, &out, settings)
}
