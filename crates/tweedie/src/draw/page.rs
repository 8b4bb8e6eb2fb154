//! Layout of plots: the ranges of axes, and the places of parts on the page.

use image::RgbImage;

use super::axis::Scale;
use super::canvas::{Align, Area, Canvas, fitting_size};
use super::colour::INK;
use super::frame::{self, GridLines};
use super::layer::Layer;
use super::plot::{Axis, Plot};
use crate::Result;

impl Plot {
    /// Draws the plot.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if the size is zero or larger than 2²⁸ pixels.
    pub fn draw(&self) -> Result<RgbImage> {
        let mut canvas = Canvas::new(self.width, self.height)?;
        let (width, height) = (self.width as f32, self.height as f32);
        self.draw_into(&mut canvas, Area { left: 0.0, top: 0.0, width, height })?;
        Ok(canvas.into_image())
    }

    /// Draws the plot on a part of a page.
    pub(super) fn draw_into(&self, canvas: &mut Canvas, page: Area) -> Result<()> {
        let layers: Vec<&Layer> = self.layers.iter().collect();
        let heat = self.heat_layer();
        let (mut x, mut y) = self.scales();
        let top = if self.title.is_empty() { 22.0 } else { 68.0 };
        let legend_room = page.width - 60.0;
        let head = top + frame::legend_height(&layers, legend_room) + 8.0;
        let mut area = self.area(page, head, &y);
        if self.equal && !x.log && !y.log {
            // A density on a grid gets no empty margins.
            match heat {
                Some(_) => area = cut(x, y, area),
                None => (x, y) = equalised(x, y, area),
            }
        }
        let (area, left) = (whole(area), page.left + 30.0);
        let size = fitting_size(&self.title, frame::TITLE, legend_room);
        canvas.text(&self.title, (left, page.top + 38.0), size, INK, Align::Start, false);
        frame::legend(canvas, &layers, left, page.top + top, legend_room);
        frame::panel(canvas, area, (x, y), &layers, GridLines::Both)?;
        frame::below(canvas, area, &x, &self.x.name, 60.0);
        frame::left_of(canvas, area, &y, &self.y.name, page.left + 32.0);
        if let Some((name, range)) = heat {
            frame::colour_bar(canvas, area, range, name);
        }
        Ok(())
    }

    /// The area between the axes: the page without title and legend (as high as `head`), ticks, names and colour bar.
    fn area(&self, page: Area, head: f32, y: &Scale) -> Area {
        let foot = if self.x.name.is_empty() { 52.0 } else { 90.0 };
        let height = (page.height - head - foot).max(10.0);
        let name = if self.y.name.is_empty() { 16.0 } else { 52.0 };
        let left = name + frame::label_width(y, height) + 20.0;
        let bar = |(_, range)| frame::colour_bar_width(range, height);
        let width = (page.width - left - self.heat_layer().map_or(30.0, bar)).max(10.0);
        Area { left: page.left + left, top: page.top + head, width, height }
    }

    /// The ranges of the axes.
    fn scales(&self) -> (Scale, Scale) {
        (self.scale(&self.x, Layer::xs, 0.02), self.scale(&self.y, Layer::ys, 0.06))
    }

    /// The name and the range of the values of the density, if there is one.
    fn heat_layer(&self) -> Option<(&str, (f64, f64))> {
        self.layers.iter().find_map(|layer| match layer {
            Layer::Heat { name, range, .. } => Some((name.as_str(), (*range)?)),
            _ => None,
        })
    }

    /// The scale of an axis on which the layers have the given coordinates: the range set by the caller, else that of a
    /// density, else that of all layers.
    fn scale(&self, axis: &Axis, extent: impl Fn(&Layer) -> Vec<f64>, margin: f64) -> Scale {
        let is_heat = |l: &&Layer| matches!(l, Layer::Heat { .. });
        let is_cloud = |l: &Layer| matches!(l, Layer::Points { .. });
        let margin = if self.layers.iter().any(is_cloud) { 0.06 } else { margin };
        let (low, high) = if axis.log { (0.1, 10.0) } else { (0.0, 1.0) };
        let asked = axis.range.and_then(|(low, high)| Scale::between(low, high, axis.log));
        let exact = || {
            let heats = self.layers.iter().filter(is_heat).flat_map(&extent);
            Scale::around(heats, axis.log, 0.0)
        };
        let all = || Scale::around(self.layers.iter().flat_map(&extent), axis.log, margin);
        asked.or_else(exact).or_else(all).unwrap_or(Scale { low, high, log: axis.log })
    }
}

/// The area on whole pixels.
pub(super) fn whole(area: Area) -> Area {
    let (left, top) = (area.left.round(), area.top.round());
    Area { left, top, width: area.width.floor(), height: area.height.floor() }
}

/// Widens the scale that has more pixels a unit until both have the same.
fn equalised(x: Scale, y: Scale, area: Area) -> (Scale, Scale) {
    let (width, height) = (f64::from(area.width), f64::from(area.height));
    let unit = ((x.high - x.low) / width).max((y.high - y.low) / height);
    let widened = |scale: Scale, pixels: f64| {
        let room = (unit * pixels - (scale.high - scale.low)) / 2.0;
        Scale { low: scale.low - room, high: scale.high + room, log: false }
    };
    (widened(x, width), widened(y, height))
}

/// The part of the area in which a unit has the same length on both axes.
fn cut(x: Scale, y: Scale, area: Area) -> Area {
    let units = ((x.high - x.low) as f32, (y.high - y.low) as f32);
    let unit = (area.width / units.0).min(area.height / units.1);
    Area { width: (unit * units.0).max(1.0), height: (unit * units.1).max(1.0), ..area }
}

/// Several plots on one page, `columns` beside each other.
///
/// # Errors
/// [`crate::Error::Config`] if there is no plot, no column, or the page would be larger than 2²⁸ pixels.
pub fn panels(plots: &[Plot], columns: usize) -> Result<RgbImage> {
    let columns = columns.min(plots.len());
    let width = plots.iter().map(|p| p.width).max().unwrap_or(0);
    let height = plots.iter().map(|p| p.height).max().unwrap_or(0);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let rows = plots.len().div_ceil(columns.max(1));
    let mut canvas =
        Canvas::new(width.saturating_mul(count(columns)), height.saturating_mul(count(rows)))?;
    for (i, plot) in plots.iter().enumerate() {
        let (left, top) =
            ((i % columns) as f32 * width as f32, (i / columns) as f32 * height as f32);
        let page = Area { left, top, width: plot.width as f32, height: plot.height as f32 };
        plot.draw_into(&mut canvas, page)?;
    }
    Ok(canvas.into_image())
}
