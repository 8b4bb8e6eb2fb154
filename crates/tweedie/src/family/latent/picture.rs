//! Pictures of what a latent-variable model keeps of a row.

use crate::data::{Condition, Layout, Rows, Space, Split};
use crate::draw::Grid;
use crate::latent::LatentVariable;
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
    Grid::new(&all, [channels, height, width], highest(space))?.columns(real.len()).draw()
}

/// The greatest value of a pixel.
pub(super) fn highest(space: &Space) -> f32 {
    let highest = (0..space.width()).filter_map(|j| space.coordinate(j).highest());
    highest.fold(1.0f64, f64::max) as f32
}

/// The number of pictures drawn below one fixed upper part, and of upper parts.
const BELOW: u64 = 3;
const PARTS: usize = 10;

/// Pictures of a model with several layers: for each layer from the highest down, it and the layers above are fixed in
/// a column, and everything below is drawn anew in each line.
///
/// # Errors
/// [`Error::Undefined`] unless there are several layers, and rows are pictures without a condition; errors of the
/// networks.
pub(super) fn latent_layers(
    network: &LatentVariable,
    space: &Space,
    draws: &Draws,
    device: &Device,
) -> Result<RgbImage> {
    let what = "a picture of latent layers";
    let Layout::Image { channels, height, width } = space.layout() else {
        return Err(Error::undefined(what, "there are only those of pictures"));
    };
    let count = network.layers().len();
    if count < 2 {
        return Err(Error::undefined(what, "there is one layer"));
    }
    if !space.classes().is_empty() || space.given().is_some() {
        return Err(Error::undefined(what, "each row depends on a condition of its own"));
    }
    let rows: Vec<u64> = (0..PARTS as u64).collect();
    let layers = network.latents(&rows, draws, device)?;
    let (mut all, mut names) = (Rows::new(Vec::new(), space.width())?, Vec::new());
    for from in (0..count).rev() {
        for k in 0..BELOW {
            let draws = draws.at(1 + from as u64).at(k);
            let layers = network.redraw(&layers, from, &draws, &rows)?;
            let x = network.decode(layers, &Condition::None, &draws, &rows)?;
            all.extend(&space.decode(&Rows::from_tensor(&x)?)?)?;
            let first = if from + 1 == count { "layer" } else { "layers" };
            let range: Vec<String> = (from + 1..=count).map(|layer| layer.to_string()).collect();
            names.push(if k == 0 {
                format!("{first} {} fixed", range.join(", "))
            } else {
                String::new()
            });
        }
    }
    let grid = Grid::new(&all, [channels, height, width], highest(space))?.columns(PARTS);
    grid.row_names(&names).draw()
}
