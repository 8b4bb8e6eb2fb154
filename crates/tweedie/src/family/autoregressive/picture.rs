//! Pictures that a model fills value by value, and where it is uncertain.

use crate::data::{Layout, Rows, Space, Split};
use crate::draw::{Grid, Plot, panels, stacked};
use crate::nn::autoregressive::Autoregressive;
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use image::RgbImage;
use std::f64::consts::LN_2;

/// Samples that are shown in the order of their columns, and the stages of each.
const SAMPLES: usize = 6;
const STAGES: usize = 7;
/// The most real pictures whose surprise is averaged.
const REAL: usize = 256;

/// Samples in raw units at several stages, in which what is not yet drawn is orange, above the mean surprise
/// −log₂ p of each pixel of real pictures given the pixels before it, of an ensemble the mean over its members.
/// Samples are the first rows by `draws`.
///
/// # Errors
/// [`Error::Undefined`] unless rows are pictures that can be drawn; errors of the network.
pub(super) fn filling(
    network: &Autoregressive,
    space: &Space,
    samples: &Rows,
    draws: &Draws,
    real: Option<&Split>,
    device: &Device,
) -> Result<RgbImage> {
    let Layout::Image { channels, height, width } = space.layout() else {
        let what = "a picture of the order of columns";
        return Err(Error::undefined(what, "there are only those of pictures"));
    };
    let mut stages = Rows::new(Vec::new(), samples.width())?;
    for (i, sample) in samples.iter().take(SAMPLES).enumerate() {
        let order = network.order_of(i as u64, draws);
        for stage in 0..STAGES {
            let known = order.len() * stage / (STAGES - 1);
            let mut row = sample.to_vec();
            order[known..].iter().for_each(|place| row[*place] = f32::NAN);
            stages.extend(&Rows::new(row, samples.width())?)?;
        }
    }
    let highest = (0..space.width()).filter_map(|j| space.coordinate(j).highest());
    let highest = highest.fold(1.0f64, f64::max) as f32;
    let grid = Grid::new(&stages, [channels, height, width], highest)?.columns(STAGES).draw()?;
    let Some(real) = real.filter(|real| !real.is_empty()) else { return Ok(grid) };
    let some = real.select(&(0..real.len().min(REAL)).collect::<Vec<_>>());
    let condition = some.condition(space, device)?;
    let x = space.encode(some.rows())?.to_tensor(device);
    let mut bits = vec![0.0; height * width];
    for member in 0..network.members() {
        let log_p = network.log_conditionals(member, x.clone().into(), &condition)?;
        let log_p = Rows::from_tensor(&log_p.value.mean_dim(0))?;
        for (place, log_p) in network.places().iter().zip(log_p.row(0)) {
            let (row, column) = (place / width % height, place % width);
            let surprise = -f64::from(*log_p) / LN_2 / network.members() as f64;
            // Rows of a heat map go up.
            bits[(height - 1 - row) * width + column] += surprise;
        }
    }
    let (x, y) = ((0.0, width as f64), (0.0, height as f64));
    let plot = Plot::new("").size(720, 640).equal_units().x_name("column").y_name("row from below");
    let plot = plot.heat("bits", &bits, width, x, y)?;
    let surprise = panels(&[plot], 1)?;
    stacked(&[
        ("Samples in the order of their columns; orange is not yet drawn", grid),
        ("Mean surprise of each pixel of real pictures, given those before it", surprise),
    ])
}
