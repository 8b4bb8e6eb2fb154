//! The picture of a density in the plane, whatever the family.

use super::Showing;
use crate::data::{Condition, Kind, Rows, Space, Toy};
use crate::density::{Density, Measure};
use crate::draw::{Plot, in_the_plane, panels};
use crate::{Error, Result};
use burn::tensor::Device;
use image::RgbImage;

/// Cells in either direction, and how many rows are judged at once.
const CELLS: usize = 90;
const AT_ONCE: usize = 4096;

/// A model's density of points in the plane.
pub(super) struct Plane<'a> {
    /// What a row means.
    pub space: &'a Space,
    /// How many training rows each class has; empty without classes.
    pub classes: &'a [usize],
    /// The density in model units.
    pub density: &'a dyn Density,
    /// The heading of its panel.
    pub title: &'a str,
}

impl Plane<'_> {
    /// The data, or their density where it is known, beside the model's density.
    ///
    /// # Errors
    /// [`Error::Undefined`] if rows are no points in the plane, or the data cannot be read; the density's.
    pub fn draw(&self, at: &Showing) -> Result<RgbImage> {
        let what = "a picture of the density";
        let undefined = |why: &str| Error::undefined(what, why);
        if !in_the_plane(self.space) {
            return Err(undefined("there are only those of points in the plane"));
        }
        if (0..2).any(|k| self.space.coordinate(k).kind != Kind::Real) {
            return Err(undefined("not all columns are real numbers"));
        }
        let data = at.data.as_ref().map_err(|why| undefined(why))?;
        let real = data.train.rows();
        let side = |k: usize| {
            let column: Vec<f64> = real.iter().map(|row| f64::from(row[k])).collect();
            let low = column.iter().copied().fold(f64::INFINITY, f64::min);
            let high = column.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let margin = 0.15 * (high - low).max(1e-6);
            (low - margin, high + margin)
        };
        let (x, y) = (side(0), side(1));
        let middle = |cell: usize, (low, high): (f64, f64)| {
            low + (high - low) * (cell as f64 + 0.5) / CELLS as f64
        };
        let cells = || (0..CELLS * CELLS).map(|at| [middle(at % CELLS, x), middle(at / CELLS, y)]);
        let raw = Rows::new(cells().flatten().map(|v| v as f32).collect(), 2)?;
        let model = self.densities(&raw, at.device)?;
        let names = [0, 1].map(|k| self.space.column_name(k));
        let plot = |title: &str| {
            Plot::new(title).size(820, 720).x_name(&names[0]).y_name(&names[1]).equal_units()
        };
        let heat = |title: &str, values: &[f64]| plot(title).heat("p", values, CELLS, x, y);
        let truth = match data.name.parse::<Toy>() {
            Ok(toy) => {
                let values: Vec<f64> = cells().map(|x| toy.log_density(x).exp()).collect();
                heat("The data's density, which is known", &values)?
            }
            Err(_) => plot("Data").x_range(x.0, x.1).y_range(y.0, y.1).scatter("", real)?,
        };
        panels(&[truth, heat(self.title, &model)?], 2)
    }

    /// p of raw rows under the model; with classes, of their mixture as frequent as in training.
    fn densities(&self, raw: &Rows, device: &Device) -> Result<Vec<f64>> {
        let counts = self.classes;
        let all: usize = counts.iter().sum();
        let x = self.space.encode(raw)?;
        let mut sums = vec![0.0; raw.len()];
        for class in 0..counts.len().max(1) {
            let share = counts.get(class).map_or(1.0, |count| *count as f64 / all.max(1) as f64);
            if share == 0.0 {
                continue;
            }
            for start in (0..x.len()).step_by(AT_ONCE) {
                let rows = start..(start + AT_ONCE).min(x.len());
                let condition = match counts.is_empty() {
                    true => Condition::None,
                    false => Condition::Class(vec![Some(class as u32); rows.len()]),
                };
                let part = x.slice(rows.clone()).to_tensor(device);
                let log_p = self.density.log_prob(part, &condition)?;
                let log_p = log_p.shifted(-self.space.log_volume(), Measure::Raw);
                for (sum, log_p) in sums[rows].iter_mut().zip(log_p.value) {
                    *sum += share * log_p.exp();
                }
            }
        }
        Ok(sums)
    }
}
