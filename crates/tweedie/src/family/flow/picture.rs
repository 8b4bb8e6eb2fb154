//! A grid of noise carried through the layers of a flow.
//!
//! The lines of a grid, which a sample of noise would fill, are mapped by one layer after the other until they lie in
//! the plane of the data. Where lines are close the flow has drawn noise together, and the density is high.

use crate::data::{Condition, Rows, Space};
use crate::draw::{Plot, in_the_plane, panels};
use crate::nn::flow::Flow;
use crate::{Error, Result};
use burn::tensor::Device;
use image::RgbImage;

/// The edge of the grid in standard deviations of the noise.
const EDGE: f64 = 2.5;
/// Lines in either direction, and points of a line.
const LINES: usize = 17;
const POINTS: usize = 161;
/// Most panels of a picture, and panels beside each other.
const PANELS: usize = 6;
const BESIDE: usize = 3;

/// Points of all lines in one direction: `across` 0 for lines along the first axis, 1 for the second.
fn lines(across: usize) -> Vec<[f64; 2]> {
    let place = |k: usize, count: usize| EDGE * (2.0 * k as f64 / (count - 1) as f64 - 1.0);
    let point = |k: usize| {
        let (fixed, free) = (place(k / POINTS, LINES), place(k % POINTS, POINTS));
        if across == 0 { [free, fixed] } else { [fixed, free] }
    };
    (0..LINES * POINTS).map(point).collect()
}

/// The grid after some of the layers, from noise to data, in model units.
///
/// # Errors
/// [`Error::Undefined`] unless rows are points in the plane without a condition; errors of the flow.
pub(super) fn layers(flow: &Flow, space: &Space, device: &Device) -> Result<RgbImage> {
    let what = "a picture of layers";
    if !in_the_plane(space) {
        return Err(Error::undefined(what, "there are only those of points in the plane"));
    }
    if space.given().is_some() || !space.classes().is_empty() {
        return Err(Error::undefined(what, "each row depends on a condition of its own"));
    }
    let grid: Vec<[f64; 2]> = [0, 1].into_iter().flat_map(lines).collect();
    let grid = Rows::new(grid.iter().flatten().map(|v| *v as f32).collect(), 2)?;
    let stages = flow.stages(grid.to_tensor(device), &Condition::None)?;
    let last = stages.len() - 1;
    let count = PANELS.min(stages.len());
    let plots = (0..count).map(|k| {
        let stage = k * last / (count - 1).max(1);
        let title = match stage {
            0 => "Noise".to_string(),
            stage if stage == last => format!("Data, after {last} layers"),
            stage => format!("After {stage} layers"),
        };
        let values = Rows::from_tensor(&stages[stage])?;
        let points: Vec<(f64, f64)> =
            values.iter().map(|p| (f64::from(p[0]), f64::from(p[1]))).collect();
        let plot = Plot::new(&title).size(600, 560).equal_units();
        Ok(points.chunks(LINES * POINTS).fold(plot, |plot, way| {
            // A point that is no number ends a line.
            let broken = way
                .chunks(POINTS)
                .flat_map(|line| line.iter().copied().chain([(f64::NAN, f64::NAN)]));
            plot.line("", &broken.collect::<Vec<_>>())
        }))
    });
    panels(&plots.collect::<Result<Vec<_>>>()?, BESIDE)
}
