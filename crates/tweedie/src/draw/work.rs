//! Errors of solvers against network evaluations.

use super::Plot;
use crate::Result;
use image::RgbImage;

/// A solver's name, and for each number of evaluations a row the median distance to the end of the exact path.
pub type Work = (String, Vec<(f64, f64)>);

/// A line for each solver, on logarithmic axes: orders of convergence are slopes.
///
/// # Errors
/// As [`Plot::draw`].
pub fn error_by_work(solvers: &[Work], rows: usize) -> Result<RgbImage> {
    let title = format!("Distance to the end of the exact path, median of {rows} samples");
    let plot = Plot::new(&title)
        .x_name("network evaluations a sample")
        .y_name("root mean square distance, model units")
        .log_x()
        .log_y();
    let draw = |plot: Plot, (name, points): &Work| {
        let marked: Vec<(f64, f64, f64)> = points.iter().map(|(x, y)| (*x, *y, 0.0)).collect();
        plot.line_with_errors(name, &marked)
    };
    solvers.iter().fold(plot, draw).draw()
}
