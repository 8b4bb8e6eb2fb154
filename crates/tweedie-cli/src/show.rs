//! `tweedie show`.

use crate::sample::Sampling;
use crate::{Settings, output, progress::Progress, runs};
use serde::Serialize;
use std::path::PathBuf;
use tweedie::data::Part;
use tweedie::draw::{save_animation, save_png};
use tweedie::family::{Drawing, PictureSetting};
use tweedie::run::pictures::pictures;
use tweedie::{Error, Result};

/// Options of `tweedie show`.
#[derive(clap::Args)]
pub struct Options {
    /// The run directory.
    run: PathBuf,
    /// The present path of the run's data, if they were moved.
    #[arg(long)]
    data: Option<String>,
    /// The folder to draw into; RUN/show by default.
    #[arg(short, long)]
    output: Option<PathBuf>,
    #[command(flatten)]
    sampling: Sampling,
    /// The seed of samples and noise; by default the seed of the recipe.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    seed: Option<u64>,
}

/// A picture on disk.
#[derive(Serialize)]
struct PictureFile {
    file: String,
    what: &'static str,
    width: u32,
    height: u32,
}

/// A picture that this run does not have, with the reason.
#[derive(Serialize)]
struct MissingPicture {
    name: &'static str,
    why: String,
}

/// The result of the command.
#[derive(Serialize)]
struct Summary {
    run: String,
    /// The step of the checkpoint, if training has not finished.
    step: Option<u64>,
    pictures: Vec<PictureFile>,
    absent: Vec<MissingPicture>,
}

/// Draws a run.
pub fn run(options: &Options, settings: &Settings) -> Result<()> {
    let run = runs::open_with(&options.run, options.data.as_deref())?;
    let (model, step) = run.model_so_far(&settings.device)?;
    let sampling = options.sampling.table();
    let seed = options.seed.unwrap_or(run.info.recipe.seed);
    settings
        .with(seed, |at| model.generator(&sampling, at).map(drop))
        .map_err(Sampling::as_option)?;
    let data = run.data().map(|data| data.judged_on(Part::Test));
    let data = match data {
        // Data that were named have to be those of the run.
        Err(error) if options.data.is_some() => return Err(error),
        data => data,
    };
    let showing = PictureSetting {
        sampling: &sampling,
        data: data.as_ref().map_err(ToString::to_string),
        seed,
        device: &settings.device,
    };
    let all = pictures(&run, &*model, &showing);
    let folder = options.output.clone().unwrap_or_else(|| run.file("show"));
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    let bar = Progress::new("drawing", all.len() as u64, "pictures", settings.json);
    let run = options.run.display().to_string();
    let mut done = Summary { run, step, pictures: Vec::new(), absent: Vec::new() };
    for picture in &all {
        bar.note(picture.name);
        let path = folder.join(format!("{}.png", picture.name));
        let size = match (picture.draw)() {
            Ok(Drawing::Still(image)) => {
                save_png(&image, &path)?;
                image.dimensions()
            }
            Ok(Drawing::Moving(animation)) => {
                save_animation(&animation, &path)?;
                animation.frames.first().map(|frame| frame.dimensions()).unwrap_or_default()
            }
            Err(Error::Undefined { why, .. }) => {
                done.absent.push(MissingPicture { name: picture.name, why });
                bar.advance();
                continue;
            }
            Err(error) => return Err(error),
        };
        let (file, (width, height)) = (path.display().to_string(), size);
        done.pictures.push(PictureFile { file, what: picture.about, width, height });
        bar.advance();
    }
    bar.clear();
    if settings.json {
        output::json(&done);
    } else {
        print(&done);
    }
    Ok(())
}

fn print(done: &Summary) {
    if let Some(step) = done.step {
        output::line(&format!("Training has not finished: drawn from step {step}."));
    }
    let size = |p: &PictureFile| format!("{} × {}", p.width, p.height);
    let rows: Vec<Vec<String>> =
        done.pictures.iter().map(|p| vec![p.file.clone(), size(p), p.what.into()]).collect();
    output::table(&["picture", "pixels", "what"], &rows);
    for absent in &done.absent {
        output::line(&format!("No {}: {}.", absent.name, absent.why));
    }
}
