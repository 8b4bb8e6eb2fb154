//! Comparison plots of data sets: real and generated points, columns of tables, pairs of columns.
//!
//! The first set is the reference: it alone sets the axes, so that a few outliers among generated rows cannot squeeze
//! the picture. The legend counts the rows outside. Histograms are densities (area 1 for each set, counting the rows
//! that do not fit), with bins after Freedman and Diaconis, *On the histogram as a density estimator* (1981): width 2
//! (q₇₅ − q₂₅) n^(−1/3). A column of few whole numbers gets a bar for each.

use image::RgbImage;

use super::axis::Scale;
use super::canvas::{Align, Area, Canvas, fitting_size};
use super::colour;
use super::frame::{self, GridLines};
use super::layer::Layer;
use super::page::{panels, whole};
use super::plot::{Plot, pairs_of};
use crate::data::Rows;
use crate::metric;
use crate::{Error, Result};

/// A named data set of a comparison.
pub type Set<'a> = (&'a str, &'a Rows);

/// Most rows of a set that are drawn as points, evenly spread over the set.
const MOST_POINTS: usize = 3000;
/// Most columns of a pair plot.
const MOST_COLUMNS: usize = 6;

/// Two-dimensional sets beside each other, on the axes of the first set.
///
/// # Errors
/// [`Error::Shape`] if a set is not 2 wide; [`Error::Config`] if there is no set.
pub fn side_by_side(sets: &[Set], x_name: &str, y_name: &str) -> Result<RgbImage> {
    let scales = scales_of(sets, 2)?;
    let (x, y) = (scales[0], scales[1]);
    let shape = ((y.high - y.low) / (x.high - x.low)).clamp(0.4, 1.2);
    let height = (700.0 * shape) as u32 + 170;
    let mut plots = Vec::new();
    for (series, (name, rows)) in sets.iter().enumerate() {
        let title = format!("{name}{}", outside(rows, &scales));
        let points = pairs_of(&spread(rows))?;
        let plot = Plot::new(&title).size(860, height).x_name(x_name).y_name(y_name);
        // Each set has the same colour here and where sets are drawn over each other.
        let plot = plot.starting_at(series).points("", &points);
        plots.push(plot.x_range(x.low, x.high).y_range(y.low, y.high).equal_units());
    }
    panels(&plots, 3)
}

/// Columns against each other, all sets over each other: histograms on the diagonal, points below it, Pearson's
/// correlations above it.
///
/// ```
/// use tweedie::data::Rows;
/// use tweedie::draw::pair_plot;
/// let real = Rows::new((0..300).map(|i| (i % 7 * (i % 11)) as f32).collect(), 3)?;
/// let names = ["length", "width", "height"].map(String::from);
/// let picture = pair_plot(&names, &[("real", &real), ("again", &real)])?;
/// assert_eq!(picture.width(), 1500);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] unless all sets are as wide as there are names; [`Error::Config`] if there is no set, or
/// more than 6 columns (choose some).
pub fn pair_plot(names: &[String], sets: &[Set]) -> Result<RgbImage> {
    if names.len() > MOST_COLUMNS {
        let expected = format!("at most {MOST_COLUMNS}");
        return Err(Error::config("pair plot", format!("{} columns", names.len()), expected));
    }
    let scales = scales_of(sets, names.len())?;
    let (page, left, gap) = (1500.0, 150.0, 16.0);
    let cell = ((page - left - 30.0 + gap) / names.len() as f32 - gap).min(560.0);
    let legend = legend_of(sets, &scales);
    let legend: Vec<&Layer> = legend.iter().collect();
    let top = 20.0 + frame::legend_height(&legend, page - 60.0) + 10.0;
    let bottom = top + (cell + gap) * names.len() as f32 + 90.0;
    let mut canvas = Canvas::new(page as u32, bottom as u32)?;
    frame::legend(&mut canvas, &legend, 30.0, 20.0, page - 60.0);
    let place = |i: usize| (cell + gap) * i as f32;
    for (row, y_name) in names.iter().enumerate() {
        for (column, x_name) in names.iter().enumerate() {
            let corner = (left + place(column), top + place(row));
            let area = whole(Area { left: corner.0, top: corner.1, width: cell, height: cell });
            if column > row {
                write_correlations(&mut canvas, area, sets, (column, row));
                continue;
            }
            let layers = match row == column {
                true => diagonal(sets, column, &scales[column]),
                false => cloud(sets, column, row),
            };
            let y = if row == column { height_scale(&layers) } else { scales[row] };
            let layers: Vec<&Layer> = layers.iter().collect();
            let lines = if row == column { GridLines::Upright } else { GridLines::Both };
            frame::panel(&mut canvas, area, (scales[column], y), &layers, lines)?;
            if row + 1 == names.len() {
                frame::below(&mut canvas, area, &scales[column], x_name, gap / 2.0);
            }
            if column == 0 && row > 0 {
                frame::left_of(&mut canvas, area, &y, y_name, 32.0);
            }
        }
    }
    Ok(canvas.into_image())
}

/// The axis of each column, by the first set, after the widths have been checked.
pub(super) fn scales_of(sets: &[Set], width: usize) -> Result<Vec<Scale>> {
    for (name, rows) in sets {
        if rows.width() != width {
            let found = format!("width {}", rows.width());
            return Err(Error::shape(format!("rows of {name}"), found, format!("width {width}")));
        }
    }
    let Some((_, first)) = sets.first() else {
        return Err(Error::config("comparison", "no data set", "at least one"));
    };
    let one = Scale { low: 0.0, high: 1.0, log: false };
    let column = |c| Scale::around(column_of(first, c).into_iter(), false, 0.08).unwrap_or(one);
    Ok((0..width).map(column).collect())
}

fn column_of(rows: &Rows, column: usize) -> Vec<f64> {
    rows.iter().map(|row| f64::from(row[column])).collect()
}

/// The number of rows outside, in words; empty if there are none.
pub(super) fn outside(rows: &Rows, scales: &[Scale]) -> String {
    let fits = |row: &&[f32]| row.iter().zip(scales).all(|(v, s)| s.holds(f64::from(*v)));
    match rows.len() - rows.iter().filter(fits).count() {
        0 => String::new(),
        count => format!(" ({count} of {} outside)", rows.len()),
    }
}

/// At most [`MOST_POINTS`] rows, evenly spread.
pub(super) fn spread(rows: &Rows) -> Rows {
    let every = rows.len().div_ceil(MOST_POINTS).max(1);
    let chosen: Vec<usize> = (0..rows.len()).step_by(every).collect();
    rows.select(&chosen)
}

fn legend_of(sets: &[Set], scales: &[Scale]) -> Vec<Layer> {
    let entry = |(series, (name, rows)): (usize, &Set)| Layer::Bars {
        name: format!("{name}{}", outside(rows, scales)),
        edges: Vec::new(),
        heights: Vec::new(),
        series,
    };
    sets.iter().enumerate().map(entry).collect()
}

fn cloud(sets: &[Set], x: usize, y: usize) -> Vec<Layer> {
    let layer = |(series, (_, rows)): (usize, &Set)| Layer::Points {
        name: String::new(),
        points: spread(rows).iter().map(|r| (f64::from(r[x]), f64::from(r[y]))).collect(),
        series,
    };
    sets.iter().enumerate().map(layer).collect()
}

fn diagonal(sets: &[Set], column: usize, scale: &Scale) -> Vec<Layer> {
    let Some((_, first)) = sets.first() else {
        return Vec::new();
    };
    let edges = edges(&column_of(first, column), scale);
    let layer = |(series, (_, rows)): (usize, &Set)| Layer::Bars {
        name: String::new(),
        edges: edges.clone(),
        heights: densities(&column_of(rows, column), &edges),
        series,
    };
    sets.iter().enumerate().map(layer).collect()
}

/// Writes each set's correlation of two columns into an area, in the set's colour.
fn write_correlations(canvas: &mut Canvas, area: Area, sets: &[Set], columns: (usize, usize)) {
    for (series, (_, rows)) in sets.iter().enumerate() {
        let text = match correlation(rows, columns) {
            Some(r) => format!("r = {r:.2}").replace('-', "−"),
            None => "r = –".to_string(),
        };
        let x = area.left + area.width / 2.0;
        let lines = sets.len() as f32;
        let y = area.top + area.height / 2.0 + 44.0 * (series as f32 - (lines - 1.0) / 2.0);
        let size = fitting_size(&text, 30.0, area.width);
        canvas.text(&text, (x, y), size, colour::series(series), Align::Middle, false);
    }
}

/// Pearson's correlation of two columns over the rows where both are finite; none if a column is constant.
fn correlation(rows: &Rows, (a, b): (usize, usize)) -> Option<f64> {
    let number = |value: f32| if value.is_finite() { f64::from(value) } else { f64::NAN };
    let column = |j: usize| rows.iter().map(|row| number(row[j])).collect::<Vec<f64>>();
    metric::correlation(&column(a), &column(b))
}

/// A scale from zero to a little above the highest bar.
fn height_scale(layers: &[Layer]) -> Scale {
    let highest = layers.iter().flat_map(Layer::ys).fold(0.0, f64::max);
    Scale { low: 0.0, high: if highest > 0.0 { 1.08 * highest } else { 1.0 }, log: false }
}

/// The edges of the bins of a column whose axis is `scale`.
fn edges(values: &[f64], scale: &Scale) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let (Some(&low), Some(&high)) = (sorted.first(), sorted.last()) else {
        return vec![scale.low, scale.high];
    };
    if high - low <= 30.0 && sorted.iter().all(|v| v.fract() == 0.0) {
        let bars = (high - low) as usize + 1;
        return (0..=bars).map(|i| low - 0.5 + i as f64).collect();
    }
    let quartile = |q: usize| sorted[(sorted.len() - 1) * q / 4];
    let width = 2.0 * (quartile(3) - quartile(1)) / (sorted.len() as f64).cbrt();
    let length = scale.high - scale.low;
    let bins = if width > 0.0 { (length / width).ceil().clamp(10.0, 60.0) as usize } else { 30 };
    (0..=bins).map(|i| scale.low + length * i as f64 / bins as f64).collect()
}

/// The density of the values in each bin: its share of all values, over its width.
fn densities(values: &[f64], edges: &[f64]) -> Vec<f64> {
    let mut counts = vec![0.0; edges.len().saturating_sub(1)];
    for value in values.iter().filter(|v| !v.is_nan()) {
        let after = edges.partition_point(|edge| edge <= value);
        if (1..edges.len()).contains(&after) {
            counts[after - 1] += 1.0;
        }
    }
    let total = values.len().max(1) as f64;
    let width = |i: usize| edges[i + 1] - edges[i];
    counts.iter().enumerate().map(|(i, count)| count / total / width(i)).collect()
}

#[cfg(test)]
mod tests;
