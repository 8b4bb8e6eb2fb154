//! Import and export of diffusers' checkpoints: a folder with `model_index.json`, a `UNet2DModel` and a scheduler.
//!
//! | file | content |
//! |---|---|
//! | `model_index.json` | the classes of the parts |
//! | `unet/config.json`, `unet/diffusion_pytorch_model.safetensors` | the network |
//! | `scheduler/scheduler_config.json` | process, prediction and sampling |
//! | `tweedie.json` | the space of the data, for which diffusers has no place; ours alone |
//!
//! A checkpoint of a training script may hold `unet_ema` beside `unet`: the averaged weights are taken, or those of the
//! folder that is named itself. Weights may be in shards under an index, or files of a variant such as
//! `diffusion_pytorch_model.fp16.safetensors`. A pipeline with further parts, such as a decoder of latents or an
//! encoder of text, is refused by its index.
//!
//! An imported network becomes a run like any other. By default it samples as its scheduler: with solver, spacing,
//! variance, clipping and end of DDPM, DDIM, PNDM, DEIS, UniPC, multistep and stochastic DPM-Solver++, Euler
//! (ancestral or not), Heun and LMS, Euler and DPM-Solver++ of EDM, Euler and Heun of flow matching, and predictor and
//! corrector of score SDEs; by DPM-Solver++(2M) for the single-step DPM-Solver. Pictures lie in [−1, 1], or in [0, 1]
//! for the variance-exploding score SDE, and are rounded as in diffusers' pipelines.

mod edm;
mod flow;
mod model;
mod pipeline;
mod scheduler;
mod score_sde;
mod weights;

use crate::data::{Coordinate, Kind, Layout, Source, Space};
use crate::denoise::Clock;
use crate::family::diffusion::{Diffusion, ModelRecipe};
use crate::files::write_atomically;
use crate::nn::{AnyNetworkConfig, UNet, UNetConfig, map_params, safetensors_bytes};
use crate::process::AnySchedule;
use crate::run::{EvaluationRecipe, Recipe, Run};
use crate::train::Training;
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use scheduler::Range;
use serde_json::{Map, Value, json};
use std::path::Path;
use weights::Weights;

const INDEX: &str = "model_index.json";
const CONFIG: &str = "config.json";
const SCHEDULER: &str = "scheduler/scheduler_config.json";
const WEIGHTS: &str = "unet/diffusion_pytorch_model.safetensors";
const SPACE: &str = "tweedie.json";

/// Loads the network of a folder with `config.json` and weights.
///
/// # Errors
/// [`Error::Io`] and [`Error::File`] naming the file and key that cannot be used.
pub fn load_unet(folder: &Path, device: &Device) -> Result<UNet> {
    let path = folder.join(CONFIG);
    let config = model::from_json(&model::read_object(&path)?, &path)?;
    let Weights { params: weights, origin, .. } = weights::load(folder)?;
    // A network of another size is refused before its memory is allocated.
    let found: u128 = weights.values().map(|data| data.num_elements() as u128).sum();
    if found != config.parameters() {
        let expected = format!("{} by {}", config.parameters(), path.display());
        return Err(Error::file(&origin, "parameters", format!("{found} numbers"), expected));
    }
    map_params(config.init(&Draws::new(0), device)?, &weights, &origin)
}

/// A run made from a checkpoint, with remarks.
#[derive(Debug, Clone)]
pub struct Import {
    /// The run.
    pub run: Run,
    /// Remarks for the user on the choice among the checkpoint's files.
    pub notes: Vec<String>,
}

/// Imports a checkpoint as a run in the folder `out`. `source` is the folder of a pipeline, or of a network alone,
/// which gets the chain of DDPM unless the configuration of a scheduler lies beside it.
///
/// # Errors
/// [`Error::Io`] and [`Error::File`] naming the file and key that cannot be used, or the part that makes a pipeline
/// another one than of pictures; as [`Run::import`].
pub fn import(source: &Path, out: &Path) -> Result<Import> {
    if !source.is_dir() {
        let expected = "a folder with unet/config.json, or with config.json and weights";
        return Err(Error::file(source, "folder", "missing", expected));
    }
    pipeline::check(source)?;
    let (folder, note) = pipeline::network(source);
    let mut notes: Vec<String> = note.into_iter().collect();
    let path = folder.join(CONFIG);
    if !path.exists() {
        pipeline::refuse_several(source)?;
    }
    let unet = model::from_json(&model::read_object(&path)?, &path)?;
    let scheduler = match pipeline::scheduler(source) {
        Some(path) => scheduler::from_json(&model::read_object(&path)?, &path)?,
        None => {
            let at = source.display();
            notes
                .push(format!("{at}: no scheduler_config.json, so that the chain is that of DDPM"));
            let ddpm = Map::from_iter([("_class_name".to_string(), json!("DDPMScheduler"))]);
            scheduler::from_json(&ddpm, &path)?
        }
    };
    scheduler.check_variance(&unet, &folder)?;
    let Weights { params: weights, origin, note } = weights::load(&folder)?;
    notes.extend(note);
    let space = match source.join(SPACE) {
        path if path.exists() => {
            let object = model::read_object(&path)?;
            serde_json::from_value(Value::Object(object)).map_err(|e| {
                Error::file(&path, "content", e.to_string(), "a space written by tweedie")
            })?
        }
        _ => pictures(&unet, scheduler.range)?,
    };
    let recipe = Recipe {
        about: format!("Imported from {}", source.display()),
        seed: 0,
        data: Some(Source::named("imported")),
        training: Training::default(),
        evaluation: EvaluationRecipe::default(),
        plan: Box::new(Diffusion {
            schedule: scheduler.schedule,
            network: AnyNetworkConfig::Unet(UNetConfig { classes: 0, ..unet }),
            model: ModelRecipe {
                energy: false,
                prediction: scheduler.prediction,
                sigma_data: Some(scheduler.sigma_data),
                scale_input: scheduler.scale_input,
                clock: Some(scheduler.clock),
            },
            sampling: scheduler.sampling,
            ..Diffusion::default()
        }),
    };
    let run = Run::import(out, recipe, space, &weights, &origin)?;
    Ok(Import { run, notes })
}

/// The space of pictures of 256 levels in a range, rounded as in diffusers' pipelines, with numbered classes.
fn pictures(unet: &UNetConfig, range: Range) -> Result<Space> {
    let (shift, scale) = match range {
        Range::Symmetric => (128.0, 127.5),
        Range::Unit => (0.5, 255.0),
    };
    let [height, width] = unet.sample_size;
    let kind = Kind::Quantised { low: Some(0), high: Some(255) };
    let pixel = Coordinate { shift, scale, kind, ..Coordinate::real("pixel") };
    let layout = Layout::Image { channels: unet.in_channels, height, width };
    let classes = (0..unet.classes).map(|class| class.to_string()).collect();
    Ok(Space::new(layout, vec![pixel])?.with_classes(classes))
}

/// Exports the averaged weights of a run as a checkpoint of diffusers, into a folder that is created if needed.
///
/// The network must take its input as diffusers' schedulers give it: a variance-preserving schedule, `model.sigma_data
/// = 1.0` or `model.scale_input = false`, the clock `index`, and noise, data or v as prediction; or the schedule and
/// the clock `straight`, `model.scale_input = false` and velocity. A continuous variance-preserving schedule becomes
/// its chain of 1,000 steps.
///
/// # Errors
/// [`Error::Config`] naming the key that diffusers has no equivalent of; [`Error::Io`] if a file cannot be written; as
/// [`Run::weights`].
pub fn export(run: &Run, out: &Path) -> Result<()> {
    let recipe = run.info.resolved_as::<Diffusion>()?;
    let AnyNetworkConfig::Unet(unet) = &recipe.network else {
        return Err(Error::config("network.name", "mlp", "unet, for diffusers' UNet2DModel"));
    };
    if !unet.fourier_features.is_empty() {
        let found = format!("{:?}", unet.fourier_features);
        let expected = "none: diffusers' UNet2DModel has no such features";
        return Err(Error::config("network.fourier_features", found, expected));
    }
    if recipe.model.energy {
        let expected = "false: diffusers takes a network's output for the prediction";
        return Err(Error::config("model.energy", "true", expected));
    }
    let straight = matches!(recipe.schedule, AnySchedule::Straight(_));
    if recipe.model.scale_input && straight {
        let expected = "false: diffusers does not scale a network's input";
        return Err(Error::config("model.scale_input", "true", expected));
    }
    if recipe.model.scale_input && recipe.sigma_data() != 1.0 {
        let found = format!("{:?}", recipe.sigma_data());
        let expected = "1.0: diffusers does not scale a network's input";
        return Err(Error::config("model.sigma_data", found, expected));
    }
    let clock = recipe.model.clock.unwrap_or(recipe.network.clock());
    let (own, expected) = match straight {
        true => (Clock::Straight, "straight: the clock of diffusers' flow matching"),
        false => (Clock::Index, "index: the clock of diffusers' chains"),
    };
    if clock != own {
        return Err(Error::config("model.clock", format!("{clock:?}"), expected));
    }
    let scheduler = scheduler::to_json(recipe)?;
    let class = model::class(&scheduler).to_string();
    let pipeline = scheduler::pipeline(&class);
    let weights = run.weights()?;
    for folder in ["unet", "scheduler"].map(|name| out.join(name)) {
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    }
    let index = json!({
        "_class_name": pipeline,
        "scheduler": ["diffusers", class],
        "unet": ["diffusers", "UNet2DModel"],
    });
    let space = serde_json::to_value(&run.info.space).unwrap_or_default();
    write_atomically(out.join(WEIGHTS), &safetensors_bytes(&weights)?)?;
    for (name, value) in [
        ("unet/config.json", Value::Object(model::to_json(unet))),
        (SCHEDULER, Value::Object(scheduler)),
        (INDEX, index),
        (SPACE, space),
    ] {
        write_atomically(out.join(name), format!("{value:#}\n").as_bytes())?;
    }
    Ok(())
}
