//! Plots with two axes: curves, clouds of points, histograms, densities.
//!
//! A smoothed curve is the exponential moving average
//! m_k = β m_{k−1} + (1 − β) y_k, corrected for its start by m_k / (1 − βᵏ)
//! (Kingma and Ba, *Adam*, 2015, section 3), with β = 1 − 1/window.

use super::axis::Scale;
use super::layer::{Layer, extent};
use crate::data::Rows;
use crate::{Error, Result};

/// The settings of an axis.
#[derive(Debug, Clone, Default)]
pub(super) struct Axis {
    pub(super) name: String,
    pub(super) log: bool,
    pub(super) range: Option<(f64, f64)>,
}

/// A plot with two axes. Colours follow the order of layers.
///
/// Values that cannot be drawn (NaN, infinities, on a logarithmic axis also those that are not positive) break a line
/// and are left out of clouds.
///
/// ```
/// use tweedie::draw::Plot;
/// let loss: Vec<(f64, f64)> = (1..100).map(|k| (f64::from(k), 1.0 / f64::from(k))).collect();
/// let plot = Plot::new("Training").x_name("step").y_name("loss").log_y().line("loss", &loss);
/// assert_eq!(plot.draw()?.dimensions(), (1400, 880));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Plot {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) layers: Vec<Layer>,
    series: usize,
    pub(super) equal: bool,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Plot {
    /// An empty plot of 1400 × 880 pixels; an empty title takes no room.
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_string(),
            x: Axis::default(),
            y: Axis::default(),
            layers: Vec::new(),
            series: 0,
            equal: false,
            width: 1400,
            height: 880,
        }
    }

    /// Sets the size of the picture in pixels.
    pub fn size(self, width: u32, height: u32) -> Self {
        Self { width, height, ..self }
    }

    /// Sets the name of the horizontal axis.
    pub fn x_name(mut self, name: &str) -> Self {
        self.x.name = name.to_string();
        self
    }

    /// Sets the name of the vertical axis.
    pub fn y_name(mut self, name: &str) -> Self {
        self.y.name = name.to_string();
        self
    }

    /// Makes the horizontal axis logarithmic.
    pub fn log_x(mut self) -> Self {
        self.x.log = true;
        self
    }

    /// Makes the vertical axis logarithmic.
    pub fn log_y(mut self) -> Self {
        self.y.log = true;
        self
    }

    /// Sets the range of the horizontal axis; by default all layers fit. A range that is empty, not finite or, on a
    /// logarithmic axis, not positive is ignored.
    pub fn x_range(mut self, low: f64, high: f64) -> Self {
        self.x.range = Some((low, high));
        self
    }

    /// Sets the range of the vertical axis, as [`Plot::x_range`].
    pub fn y_range(mut self, low: f64, high: f64) -> Self {
        self.y.range = Some((low, high));
        self
    }

    /// Gives a unit the same length on both axes, if both are linear.
    pub fn equal_units(mut self) -> Self {
        self.equal = true;
        self
    }

    /// Starts with the colour of series `series`.
    pub(super) fn starting_at(self, series: usize) -> Self {
        Self { series, ..self }
    }

    fn next(&mut self) -> usize {
        self.series += 1;
        self.series - 1
    }

    /// Adds a line through `points` (x, y) in their order.
    pub fn line(mut self, name: &str, points: &[(f64, f64)]) -> Self {
        let (name, points, series) = (name.to_string(), points.to_vec(), self.next());
        self.layers.push(Layer::Line { name, points, series, faint: false });
        self
    }

    /// Adds a line through points (x, y, e), each with a mark and a bar from y − e to y + e.
    pub fn line_with_errors(mut self, name: &str, points: &[(f64, f64, f64)]) -> Self {
        let series = self.next();
        let line = points.iter().map(|p| (p.0, p.1)).collect();
        self.layers.push(Layer::Errors { points: points.to_vec(), series });
        self.layers.push(Layer::Line {
            name: name.to_string(),
            points: line,
            series,
            faint: false,
        });
        self
    }

    /// Adds the exponential moving average of `points` over about `window` of them, over a faint line through the
    /// points.
    pub fn smoothed(mut self, name: &str, points: &[(f64, f64)], window: usize) -> Self {
        let series = self.next();
        let raw = Layer::Line { name: String::new(), points: points.to_vec(), series, faint: true };
        let points = smooth(points, window);
        let smooth = Layer::Line { name: name.to_string(), points, series, faint: false };
        self.layers.extend([raw, smooth]);
        self
    }

    /// Adds thin white lines over a density; a line of a single point is a dot.
    pub(super) fn paths(mut self, paths: Vec<Vec<(f64, f64)>>) -> Self {
        self.layers.push(Layer::Paths { paths });
        self
    }

    /// Adds a cloud of points (x, y).
    pub fn points(mut self, name: &str, points: &[(f64, f64)]) -> Self {
        let (name, points, series) = (name.to_string(), points.to_vec(), self.next());
        self.layers.push(Layer::Points { name, points, series });
        self
    }

    /// Adds a cloud of points, one a row of width 2.
    ///
    /// # Errors
    /// [`Error::Shape`] if the rows are not 2 wide.
    pub fn scatter(self, name: &str, rows: &Rows) -> Result<Self> {
        Ok(self.points(name, &pairs_of(rows)?))
    }

    /// A density as colours: `values` on `columns` equal cells from `x.0` to `x.1`, row after row, the rows
    /// from `y.0` up to `y.1`. The colour bar is called `name`; NaN stays white.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are no values or `columns` does not divide their number;
    /// [`Error::Config`] if a range is empty or not finite.
    pub fn heat(
        mut self,
        name: &str,
        values: &[f64],
        columns: usize,
        x: (f64, f64),
        y: (f64, f64),
    ) -> Result<Self> {
        if values.is_empty() || columns == 0 || !values.len().is_multiple_of(columns) {
            let expected = format!("a positive multiple of its {columns} columns");
            return Err(Error::shape("values on a grid", values.len(), expected));
        }
        for (key, (low, high)) in [("x", x), ("y", y)] {
            if Scale::between(low, high, false).is_none() {
                return Err(Error::config(key, format!("{low} to {high}"), "a range of numbers"));
            }
        }
        let (name, values) = (name.to_string(), values.to_vec());
        let range = extent(&values);
        self.layers.push(Layer::Heat { name, values, columns, x, y, range });
        Ok(self)
    }

    /// Sets the values of the ends of the colours of all densities, for panels to share; values beyond an end have its
    /// colour. A range that is empty or not finite is ignored.
    pub fn colours(mut self, low: f64, high: f64) -> Self {
        if Scale::between(low, high, false).is_some() {
            for layer in &mut self.layers {
                if let Layer::Heat { range, .. } = layer {
                    *range = Some((low, high));
                }
            }
        }
        self
    }
}

/// The rows of width 2 as points.
pub(super) fn pairs_of(rows: &Rows) -> Result<Vec<(f64, f64)>> {
    if rows.width() != 2 {
        return Err(Error::shape(
            "rows of a scatter plot",
            format!("width {}", rows.width()),
            "width 2",
        ));
    }
    Ok(rows.iter().map(|row| (f64::from(row[0]), f64::from(row[1]))).collect())
}

/// The bias-corrected exponential moving average; values that are not finite are skipped.
fn smooth(points: &[(f64, f64)], window: usize) -> Vec<(f64, f64)> {
    let keep = 1.0 - 1.0 / window.max(1) as f64;
    let (mut mean, mut weight) = (0.0, 0.0);
    let finite = points.iter().filter(|p| p.1.is_finite());
    let smoothed = finite.map(|&(x, y)| {
        mean = keep * mean + (1.0 - keep) * y;
        weight = keep * weight + (1.0 - keep);
        (x, mean / weight)
    });
    smoothed.collect()
}

#[cfg(test)]
mod tests;
