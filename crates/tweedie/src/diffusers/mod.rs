//! Checkpoints of diffusers, in and out: a pipeline folder with `model_index.json`, a `UNet2DModel` and a scheduler.

mod model;
mod weights;

use crate::nn::{UNet, map_params};
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use std::path::Path;

/// The network of a folder with `config.json` and weights.
///
/// # Errors
/// [`Error::Io`] and [`Error::File`] naming the file and key that cannot be used.
pub fn load_unet(folder: &Path, device: &Device) -> Result<UNet> {
    let path = folder.join("config.json");
    let config = model::from_json(&model::read_object(&path)?, &path)?;
    let (weights, origin) = weights::load(folder)?;
    let network = config.init(&Draws::new(0), device).map_err(|error| match error {
        Error::Config { key, problem, expected } => Error::file(&path, key, problem, expected),
        other => other,
    })?;
    map_params(network, &weights, &origin)
}
