//! Densities under the Fokker–Planck equation, at several times.

use super::{Plot, panels};
use crate::process::Mesh;
use crate::{Error, Result};
use image::RgbImage;

/// Draws densities on a mesh, each under its title and up to four beside each other: curves over the line on one scale,
/// colours in the plane, each on its own.
///
/// # Errors
/// [`Error::Shape`] if there is no density or one has not a value for each cell.
pub fn densities(mesh: &Mesh, moments: &[(String, Vec<f64>)]) -> Result<RgbImage> {
    if moments.is_empty() {
        return Err(Error::shape("densities", 0, "at least one"));
    }
    let most = moments.iter().flat_map(|(_, density)| density).fold(0.0, |m: f64, p| m.max(*p));
    let plot = |(title, density): &(String, Vec<f64>)| {
        if density.len() != mesh.cells() {
            return Err(Error::shape(format!("density {title}"), density.len(), mesh.cells()));
        }
        match mesh.axes() {
            [x, y] => {
                // A picture's rows go up the second axis.
                let up = (0..y.cells).flat_map(|j| (0..x.cells).map(move |i| i * y.cells + j));
                let values: Vec<f64> = up.map(|cell| density[cell]).collect();
                let (across, along) = ((x.low, x.high), (y.low, y.high));
                let plot = Plot::new(title).size(560, 420).x_name("x₁").y_name("x₂");
                plot.heat("p", &values, x.cells, across, along).map(Plot::equal_units)
            }
            axes => {
                let curve = axes.iter().flat_map(|x| (0..x.cells).map(|i| x.centre(i)));
                let curve: Vec<(f64, f64)> = curve.zip(density.iter().copied()).collect();
                let plot = Plot::new(title).size(420, 320).x_name("x").y_name("p");
                Ok(plot.y_range(0.0, 1.05 * most).line("", &curve))
            }
        }
    };
    panels(&moments.iter().map(plot).collect::<Result<Vec<_>>>()?, 4)
}
