//! Pictures of densities in the plane, whatever the model.

use super::Showing;
use crate::data::{Kind, Rows, Space, Toy};
use crate::draw::{Plot, in_the_plane, panels};
use crate::{Error, Result};
use image::RgbImage;

/// Cells of a picture in either direction.
const CELLS: usize = 90;

/// A rectangle of raw units in cells.
pub(super) struct Window {
    /// The sides.
    pub x: (f64, f64),
    pub y: (f64, f64),
}

impl Window {
    /// The rectangle around rows of two real columns, wider by `margin` of it on each side.
    ///
    /// # Errors
    /// [`Error::Undefined`], naming `what`, unless rows are points of real columns in the plane.
    pub fn around(rows: &Rows, space: &Space, margin: f64, what: &str) -> Result<Self> {
        if !in_the_plane(space) {
            return Err(Error::undefined(what, "there are only those of points in the plane"));
        }
        if (0..2).any(|k| space.coordinate(k).kind != Kind::Real) {
            return Err(Error::undefined(what, "not all columns are real numbers"));
        }
        let side = |k: usize| {
            let column = || rows.iter().map(|row| f64::from(row[k]));
            let low = column().fold(f64::INFINITY, f64::min);
            let high = column().fold(f64::NEG_INFINITY, f64::max);
            let margin = margin * (high - low).max(1e-6);
            (low - margin, high + margin)
        };
        Ok(Self { x: side(0), y: side(1) })
    }

    /// The cells' centres, row after row from below.
    pub fn centres(&self) -> impl Iterator<Item = [f64; 2]> {
        let middle = |cell: usize, (low, high): (f64, f64)| {
            low + (high - low) * (cell as f64 + 0.5) / CELLS as f64
        };
        let (x, y) = (self.x, self.y);
        (0..CELLS * CELLS).map(move |at| [middle(at % CELLS, x), middle(at / CELLS, y)])
    }

    /// The centres as raw rows.
    pub fn rows(&self) -> Result<Rows> {
        Rows::new(self.centres().flatten().map(|v| v as f32).collect(), 2)
    }

    /// A panel with the space's axes.
    fn plot(&self, title: &str, space: &Space) -> Plot {
        let names = [0, 1].map(|k| space.column_name(k));
        Plot::new(title).size(820, 720).x_name(&names[0]).y_name(&names[1]).equal_units()
    }

    /// Raw rows as a cloud, cut off at the sides.
    pub fn cloud(&self, title: &str, space: &Space, rows: &Rows) -> Result<Plot> {
        let plot = self.plot(title, space).x_range(self.x.0, self.x.1);
        plot.y_range(self.y.0, self.y.1).scatter("", rows)
    }

    /// Values at the centres as colours.
    pub fn heat(&self, title: &str, space: &Space, values: &[f64]) -> Result<Plot> {
        self.plot(title, space).heat("p", values, CELLS, self.x, self.y)
    }
}

/// The data, or their density where it is known, beside a model's, which `density` gives at raw rows.
///
/// # Errors
/// [`Error::Undefined`] unless rows are points of real columns in the plane and there are data; the density's.
pub(super) fn beside_data(
    space: &Space,
    at: &Showing,
    title: &str,
    density: impl Fn(&Rows) -> Result<Vec<f64>>,
) -> Result<RgbImage> {
    let what = "a picture of the density";
    let data = at.data.as_ref().map_err(|why| Error::undefined(what, why))?;
    let real = data.train.rows();
    let window = Window::around(real, space, 0.15, what)?;
    let model = density(&window.rows()?)?;
    let truth = match data.name.parse::<Toy>() {
        Ok(toy) => {
            let values: Vec<f64> = window.centres().map(|x| toy.log_density(x).exp()).collect();
            window.heat("The data's density, which is known", space, &values)?
        }
        Err(_) => window.cloud("Data", space, real)?,
    };
    panels(&[truth, window.heat(title, space, &model)?], 2)
}
