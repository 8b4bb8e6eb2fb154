//! Pictures of densities in the plane, for any model.

use super::{Judge, PictureSetting};
use crate::data::{Condition, Dataset, Kind, Rows, Space, Toy};
use crate::density::{Density, Measure};
use crate::draw::{Plot, in_the_plane, panels};
use crate::{Error, Result};
use burn::tensor::Device;
use image::RgbImage;
use std::ops::Range;

/// The number of cells of a picture in either direction, if no other is given, and of rows whose densities are computed
/// at once.
const CELLS: usize = 90;
const AT_ONCE: usize = 4096;

/// A rectangle in raw units, divided into cells.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    /// The ends of the sides.
    pub x: (f64, f64),
    pub y: (f64, f64),
    /// The number of cells in either direction.
    pub cells: usize,
}

impl Window {
    /// The rectangle around rows of two real columns, enlarged on each side by the share `margin` of its own size.
    ///
    /// # Errors
    /// [`Error::Undefined`], naming the picture `what`, unless rows are points of real columns in the plane.
    pub fn around(rows: &Rows, space: &Space, margin: f64, what: &str) -> Result<Self> {
        if !in_the_plane(space) {
            return Err(Error::undefined(what, "there are only those of points in the plane"));
        }
        if space.given().is_some() {
            return Err(Error::undefined(what, "each row depends on a condition of its own"));
        }
        let real = |k| matches!(space.coordinate(k).kind, Kind::Real | Kind::Bounded { .. });
        if !(0..2).all(|k| real(k) && space.coordinate(k).is_number()) {
            return Err(Error::undefined(what, "not all columns are real numbers"));
        }
        let side = |k: usize| {
            let column = || rows.iter().map(|row| f64::from(row[k]));
            let low = column().fold(f64::INFINITY, f64::min);
            let high = column().fold(f64::NEG_INFINITY, f64::max);
            let margin = margin * (high - low).max(1e-6);
            (low - margin, high + margin)
        };
        Ok(Self { x: side(0), y: side(1), cells: CELLS })
    }

    /// The same rectangle with `cells` cells in either direction.
    pub fn divided(self, cells: usize) -> Self {
        Self { cells, ..self }
    }

    /// The cells' centres, row after row from the bottom.
    pub fn centres(&self) -> impl Iterator<Item = [f64; 2]> {
        let (x, y, cells) = (self.x, self.y, self.cells);
        let middle = move |cell: usize, (low, high): (f64, f64)| {
            low + (high - low) * (cell as f64 + 0.5) / cells as f64
        };
        (0..cells * cells).map(move |at| [middle(at % cells, x), middle(at / cells, y)])
    }

    /// The centres as raw rows.
    pub fn rows(&self) -> Result<Rows> {
        Rows::new(self.centres().flatten().map(|v| v as f32).collect(), 2)
    }

    /// The density of a toy's points at the centres; none for other data.
    pub fn known(&self, data: &Dataset) -> Option<Vec<f64>> {
        let toy = data.name.parse::<Toy>().ok()?;
        Some(self.centres().map(|x| toy.log_density(x).exp()).collect())
    }

    /// An empty panel with the space's axes.
    fn plot(&self, title: &str, space: &Space) -> Plot {
        let names = [0, 1].map(|k| space.column_name(k));
        Plot::new(title).size(820, 720).x_name(&names[0]).y_name(&names[1]).equal_units()
    }

    /// A panel with raw rows as a point cloud, cut off at the sides.
    pub fn cloud(&self, title: &str, space: &Space, rows: &Rows) -> Result<Plot> {
        let plot = self.plot(title, space).x_range(self.x.0, self.x.1);
        plot.y_range(self.y.0, self.y.1).scatter("", rows)
    }

    /// A panel with values at the centres as colours.
    pub fn heat(&self, title: &str, space: &Space, values: &[f64]) -> Result<Plot> {
        self.plot(title, space).heat("p", values, self.cells, self.x, self.y)
    }
}

/// The data, or their density where known, beside a model's density, which `density` computes at raw rows.
///
/// # Errors
/// [`Error::Undefined`] unless rows are points of real columns in the plane and data are present; errors of `density`.
pub(super) fn beside_data(
    space: &Space,
    at: &PictureSetting,
    title: &str,
    density: impl Fn(&Rows) -> Result<Vec<f64>>,
) -> Result<RgbImage> {
    let what = "a picture of the density";
    let data = at.data.as_ref().map_err(|why| Error::undefined(what, why))?;
    let real = data.train.rows();
    let window = Window::around(real, space, 0.15, what)?;
    let model = density(&window.rows()?)?;
    let truth = match window.known(data) {
        Some(values) => window.heat("The data's density, which is known", space, &values)?,
        None => window.cloud("Data", space, real)?,
    };
    panels(&[truth, window.heat(title, space, &model)?], 2)
}

/// A picture of a model's density of points in the plane; with classes, of their mixture.
pub(super) struct Plane<'a> {
    /// The meaning of a row's columns.
    pub space: &'a Space,
    /// The number of training rows of each class; empty without classes.
    pub classes: &'a [usize],
    /// The density in model units.
    pub density: &'a dyn Density,
    /// The heading of the density's panel.
    pub title: &'a str,
}

impl Plane<'_> {
    /// The data, or their density where known, beside the model's density.
    ///
    /// # Errors
    /// As [`beside_data`].
    pub fn draw(&self, at: &PictureSetting) -> Result<RgbImage> {
        beside_data(self.space, at, self.title, |raw| self.densities(raw, at.device))
    }

    /// The model's density p of raw rows; with classes, of their mixture with the frequencies of training.
    fn densities(&self, raw: &Rows, device: &Device) -> Result<Vec<f64>> {
        let x = self.space.encode(raw)?;
        mixed(self.classes, x.len(), |rows, condition| {
            let part = x.slice(rows);
            let log_p = self.density.log_prob(part.to_tensor(device), condition)?;
            Ok(log_p.in_units_of(&self.space.log_volumes(&part)?, Measure::Raw).value)
        })
    }
}

/// The density p of raw rows by one of a model's densities; with `classes`, the numbers of training rows of each, of
/// their mixture.
///
/// # Errors
/// As [`crate::density::RawDensity::log_prob`].
pub(crate) fn judged(judge: &Judge, raw: &Rows, classes: &[usize]) -> Result<Vec<f64>> {
    mixed(classes, raw.len(), |rows, condition| {
        Ok(judge.density.log_prob(&raw.slice(rows), condition, &mut |_| {})?.value)
    })
}

/// Σ_c π_c p(x | c) of `len` rows, π_c being the shares of the classes; p(x) without classes. `log_p` gives log p of a
/// range of rows under a condition.
fn mixed(
    classes: &[usize],
    len: usize,
    log_p: impl Fn(Range<usize>, &Condition) -> Result<Vec<f64>>,
) -> Result<Vec<f64>> {
    let all: usize = classes.iter().sum();
    let mut sums = vec![0.0; len];
    for class in 0..classes.len().max(1) {
        let share = classes.get(class).map_or(1.0, |count| *count as f64 / all.max(1) as f64);
        if share == 0.0 {
            continue;
        }
        for start in (0..len).step_by(AT_ONCE) {
            let rows = start..(start + AT_ONCE).min(len);
            let condition = match classes.is_empty() {
                true => Condition::None,
                false => Condition::Class(vec![Some(class as u32); rows.len()]),
            };
            let log_p = log_p(rows.clone(), &condition)?;
            sums[rows].iter_mut().zip(log_p).for_each(|(sum, log_p)| *sum += share * log_p.exp());
        }
    }
    Ok(sums)
}
