//! Points in the plane on their way from noise to data, frame by frame over the exact density of noised data.
//!
//! Scaled as in [`flow`](super::flow): the density is a Gaussian around each data point, which at every level factors
//! into its two coordinates, so that a frame is one product of two thin matrices.

use super::Plot;
use super::flow::{blur, scaling};
use super::path::level_name;
use crate::process::Level;
use crate::{Error, Result};
use image::RgbImage;
use rayon::prelude::*;

/// Cells of the density in either direction.
const CELLS: usize = 90;
const WIDTH: u32 = 620;
const HEIGHT: u32 = 560;

/// The points of one level, in model units.
pub(crate) type Frame = (Level, Vec<[f64; 2]>);

/// Draws each frame; `data` are points in model units, `names` those of the coordinates.
///
/// # Errors
/// [`Error::Shape`] if there are no frames or no data.
pub(crate) fn movement(
    frames: &[Frame],
    data: &[[f64; 2]],
    sigma_data: f64,
    names: [&str; 2],
) -> Result<Vec<RgbImage>> {
    if frames.is_empty() || data.is_empty() {
        return Err(Error::shape("frames and data of a movement", 0, "at least one of each"));
    }
    let reach = |k: usize| data.iter().fold(2.2 * sigma_data, |r, x| r.max(1.15 * x[k].abs()));
    let reach = reach(0).max(reach(1));
    let draw = |(level, points): &Frame| {
        let (shrink, sd) = blur(level, sigma_data);
        let mut values = density(data, shrink, sd, reach);
        // Densities are shares of their maximum, so that all frames have the same axes.
        let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        values.iter_mut().for_each(|value| *value /= most);
        let scale = scaling(level, sigma_data);
        let dots = points.iter().map(|x| vec![(scale * x[0], scale * x[1])]).collect();
        let range = (-reach, reach);
        let plot = Plot::new(&format!("σ/α = {}", level_name(level))).size(WIDTH, HEIGHT);
        let plot = plot.x_name(names[0]).y_name(names[1]).equal_units();
        plot.heat("density", &values, CELLS, range, range)?.paths(dots).draw()
    };
    frames.par_iter().map(draw).collect()
}

/// The mean of Gaussians of standard deviation `sd` around shrunk points, at the middle of each cell of a square.
fn density(data: &[[f64; 2]], shrink: f64, sd: f64, reach: f64) -> Vec<f64> {
    let middle = |cell: usize| reach * (2.0 * (cell as f64 + 0.5) / CELLS as f64 - 1.0);
    let hill = |cell: usize, x: f64| (-0.5 * ((middle(cell) - shrink * x) / sd).powi(2)).exp();
    let across: Vec<f64> =
        data.iter().flat_map(|x| (0..CELLS).map(|cell| hill(cell, x[0]))).collect();
    let factor = 1.0 / (std::f64::consts::TAU * sd * sd * data.len() as f64);
    let mut values = vec![0.0; CELLS * CELLS];
    for (row, values) in values.chunks_mut(CELLS).enumerate() {
        for (x, across) in data.iter().zip(across.chunks(CELLS)) {
            let up = factor * hill(row, x[1]);
            if up > 0.0 {
                values.iter_mut().zip(across).for_each(|(value, across)| *value += up * across);
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Schedule, VpLinear};

    #[test]
    fn the_density_integrates_to_one_and_has_its_hills_where_the_data_are() {
        let data = [[-1.0, 0.5], [1.0, -0.5]];
        let (reach, sd) = (4.0, 0.3);
        let values = density(&data, 0.9, sd, reach);
        let cell = 2.0 * reach / CELLS as f64;
        assert!((values.iter().sum::<f64>() * cell * cell - 1.0).abs() < 1e-9);
        let most = values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        let place = |i: usize| cell * (i as f64 + 0.5) - reach;
        let (x, y) = (place(most % CELLS), place(most / CELLS));
        assert!((x.abs() - 0.9).abs() < cell && (y + 0.45 * x.signum()).abs() < cell, "{x} {y}");
    }

    #[test]
    fn each_level_has_a_frame_with_its_points() {
        let schedule = VpLinear::default();
        let levels = [schedule.level(1.0), schedule.level(0.2), Level::clean(0.0)];
        let points = vec![[0.5, 0.5]; 4];
        let frames: Vec<Frame> = levels.iter().map(|level| (*level, points.clone())).collect();
        let pictures = movement(&frames, &[[1.0, 1.0], [-1.0, 0.0]], 1.0, ["x", "y"]).unwrap();
        assert_eq!(pictures.len(), 3);
        for picture in &pictures {
            assert_eq!(picture.dimensions(), (WIDTH, HEIGHT));
            // A white dot inside colours.
            let white = |x: u32, y: u32| picture.get_pixel(x, y).0.iter().all(|v| *v > 200);
            let inner = (160..400u32).flat_map(|x| (120..420u32).map(move |y| (x, y)));
            assert!(inner.clone().any(|(x, y)| white(x, y)));
            assert!(inner.filter(|(x, y)| white(*x, *y)).count() < 200);
        }
        assert!(movement(&[], &[[0.0; 2]], 1.0, ["x", "y"]).is_err());
    }
}
