//! `tweedie show`.

use crate::sample::Sampling;
use crate::{Settings, output, progress};
use serde::Serialize;
use std::path::PathBuf;
use tweedie::show::run::{PICTURES, Shown};
use tweedie::show::{save_animation, save_png};
use tweedie::train::Run;
use tweedie::{Error, Result};

/// The picture that moves, and what it shows.
const MOVEMENT: (&str, &str) =
    ("movement", "points on their way from noise to data over their density; it moves");

/// Options of `tweedie show`.
#[derive(clap::Args)]
pub struct Options {
    /// The run directory.
    run: PathBuf,
    /// The folder to draw into; RUN/show by default.
    #[arg(short, long)]
    output: Option<PathBuf>,
    #[command(flatten)]
    sampling: Sampling,
    /// The seed of samples and noise; the recipe's by default.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    seed: Option<u64>,
}

/// A picture that was drawn.
#[derive(Serialize)]
struct Drawn {
    file: String,
    what: &'static str,
    width: u32,
    height: u32,
}

/// A picture that this run does not have.
#[derive(Serialize)]
struct Absent {
    name: &'static str,
    why: String,
}

/// What the command did.
#[derive(Serialize)]
struct Done {
    run: String,
    /// The step of the checkpoint that was drawn, if training has not finished.
    step: Option<u64>,
    pictures: Vec<Drawn>,
    absent: Vec<Absent>,
}

/// Draws a run.
pub fn run(options: &Options, settings: &Settings) -> Result<()> {
    let run = Run::open(&options.run)?;
    let (denoiser, step) = run.denoiser_so_far(&settings.device)?;
    let sampler = options.sampling.sampler_of(&run, denoiser.clone(), settings)?;
    let data = run.data();
    let shown = Shown {
        run: &run,
        denoiser,
        sampler,
        data: data.as_ref().map_err(ToString::to_string),
        seed: options.seed.unwrap_or(run.info.recipe.seed),
        device: &settings.device,
    };
    let folder = options.output.clone().unwrap_or_else(|| run.file("show"));
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    let bar = progress::bar(PICTURES.len() as u64 + 1, "pictures", settings.json);
    bar.set_prefix("drawing");
    let run = options.run.display().to_string();
    let mut done = Done { run, step, pictures: Vec::new(), absent: Vec::new() };
    for (name, what) in PICTURES {
        bar.set_message(name);
        match shown.draw(name) {
            Ok(picture) => {
                let path = folder.join(format!("{name}.png"));
                save_png(&picture, &path)?;
                let (file, (width, height)) = (path.display().to_string(), picture.dimensions());
                done.pictures.push(Drawn { file, what, width, height });
            }
            Err(Error::Undefined { why, .. }) => done.absent.push(Absent { name, why }),
            Err(error) => return Err(error),
        }
        bar.inc(1);
    }
    bar.set_message(MOVEMENT.0);
    match shown.movement() {
        Ok(animation) => {
            let path = folder.join(format!("{}.png", MOVEMENT.0));
            save_animation(&animation, &path)?;
            let size = animation.frames.first().map(|frame| frame.dimensions());
            let (width, height) = size.unwrap_or_default();
            let file = path.display().to_string();
            done.pictures.push(Drawn { file, what: MOVEMENT.1, width, height });
        }
        Err(Error::Undefined { why, .. }) => done.absent.push(Absent { name: MOVEMENT.0, why }),
        Err(error) => return Err(error),
    }
    bar.finish_and_clear();
    if settings.json {
        output::json(&done);
    } else {
        print(&done);
    }
    Ok(())
}

fn print(done: &Done) {
    if let Some(step) = done.step {
        output::line(&format!("Training has not finished: drawn from step {step}."));
    }
    let size = |p: &Drawn| format!("{} × {}", p.width, p.height);
    let rows: Vec<Vec<String>> =
        done.pictures.iter().map(|p| vec![p.file.clone(), size(p), p.what.into()]).collect();
    output::table(&["picture", "pixels", "what"], &rows);
    for absent in &done.absent {
        output::line(&format!("No {}: {}.", absent.name, absent.why));
    }
}
