//! Pictures of what a latent-variable model keeps of a row.

use crate::data::{Layout, Rows, Space, Split};
use crate::draw::Grid;
use crate::nn::latent::LatentVariable;
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use image::RgbImage;

/// Real pictures side by side, and draws below each.
const REAL: usize = 12;
const DRAWS: u64 = 4;

/// Real pictures in the first line, and below each draws of the decoder from draws of its posterior.
///
/// # Errors
/// [`Error::Undefined`] unless rows are pictures that can be drawn, and some are there; errors of the networks.
pub(super) fn reconstructions(
    network: &LatentVariable,
    space: &Space,
    real: Option<&Split>,
    draws: &Draws,
    device: &Device,
) -> Result<RgbImage> {
    let what = "a picture of reconstructions";
    let Layout::Image { channels, height, width } = space.layout() else {
        return Err(Error::undefined(what, "there are only those of pictures"));
    };
    let Some(real) = real.filter(|real| !real.is_empty()) else {
        return Err(Error::undefined(what, "there are no real pictures"));
    };
    let real = real.select(&(0..real.len().min(REAL)).collect::<Vec<_>>());
    let condition = real.condition(space, device)?;
    let x = space.encode(real.rows())?.to_tensor(device);
    let mut all = real.rows().clone();
    for k in 0..DRAWS {
        let again = network.reconstruct(x.clone(), &condition, &draws.at(k))?;
        all.extend(&space.decode(&Rows::from_tensor(&again)?)?)?;
    }
    let highest = (0..space.width()).filter_map(|j| space.coordinate(j).highest());
    let highest = highest.fold(1.0f64, f64::max) as f32;
    Grid::new(&all, [channels, height, width], highest)?.columns(real.len()).draw()
}
