//! Clouds of points in the plane, panel by panel on the same axes, under one legend.

use super::canvas::{Area, Canvas};
use super::compare::{Set, outside, scales_of, spread};
use super::frame;
use super::layer::Layer;
use super::plot::{Plot, pairs_of};
use crate::Result;
use crate::data::Rows;
use image::RgbImage;

/// Panels beside each other.
const ACROSS: usize = 3;
const WIDTH: f32 = 600.0;
const MARGIN: f32 = 30.0;

/// A panel: its title and its clouds, in the order of the legend.
pub(super) type Panel<'a> = (String, Vec<&'a Rows>);

/// Panels of clouds with the names `series` (none for no legend), on axes of the range of `reference`.
///
/// # Errors
/// [`crate::Error::Shape`] if rows are not 2 wide; [`crate::Error::Config`] if there is no panel.
pub(super) fn clouds(
    panels: &[Panel],
    series: &[&str],
    reference: &Rows,
    names: [&str; 2],
) -> Result<RgbImage> {
    let mut sets: Vec<Set> = vec![("reference", reference)];
    sets.extend(panels.iter().flat_map(|(title, rows)| rows.iter().map(move |r| (&title[..], *r))));
    let scales = scales_of(&sets, 2)?;
    let (x, y) = (scales[0], scales[1]);
    let shape = ((y.high - y.low) / (x.high - x.low)).clamp(0.4, 1.2) as f32;
    let height = (shape * (WIDTH - 110.0)).round() + 180.0;
    let sign = |(series, name): (usize, &&str)| Layer::Points {
        name: name.to_string(),
        points: Vec::new(),
        series,
    };
    let legend: Vec<Layer> = series.iter().enumerate().map(sign).collect();
    let legend: Vec<&Layer> = legend.iter().collect();
    let across = panels.len().min(ACROSS);
    let page = WIDTH * across as f32;
    let room = page - 2.0 * MARGIN;
    let head = match frame::legend_height(&legend, room) {
        0.0 => 0.0,
        height => height + 20.0,
    };
    let bottom = head + height * panels.len().div_ceil(ACROSS) as f32;
    let mut canvas = Canvas::new(page as u32, bottom as u32)?;
    frame::legend(&mut canvas, &legend, MARGIN, 20.0, room);
    for (i, (title, rows)) in panels.iter().enumerate() {
        let missing = rows.iter().map(|rows| outside(rows, &scales)).next().unwrap_or_default();
        let mut plot = Plot::new(&format!("{title}{missing}")).x_name(names[0]).y_name(names[1]);
        for rows in rows {
            plot = plot.points("", &pairs_of(&spread(rows))?);
        }
        let plot = plot.x_range(x.low, x.high).y_range(y.low, y.high).equal_units();
        let left = WIDTH * (i % ACROSS) as f32;
        let top = head + height * (i / ACROSS) as f32;
        plot.draw_into(&mut canvas, Area { left, top, width: WIDTH, height })?;
    }
    Ok(canvas.into_image())
}
