//! The surroundings of a panel: grid lines, frame, ticks, names of axes, legend and colour bar.

use super::axis::Scale;
use super::canvas::{Align, Area, Canvas, fitting_size, text_width};
use super::colour::{self, FAINT, INK, SOFT_INK};
use super::layer::{Layer, Panel, draw_all};
use crate::Result;

/// Text sizes in pixels an em.
pub(super) const TITLE: f32 = 32.0;
pub(super) const NAME: f32 = 27.0;
pub(super) const TICK: f32 = 24.0;
const LEGEND_ROW: f32 = 40.0;
const SIGN: f32 = 42.0;

/// The approximate number of ticks on a horizontal axis of this length in pixels.
fn count_across(pixels: f32) -> usize {
    (pixels / 120.0).round().clamp(4.0, 9.0) as usize
}

/// The approximate number of ticks on a vertical axis of this length in pixels.
fn count_up(pixels: f32) -> usize {
    (pixels / 95.0).round().clamp(4.0, 9.0) as usize
}

/// The ticks of a horizontal axis: as many as have room for their labels.
fn ticks_across(scale: &Scale, width: f32) -> Vec<super::axis::Tick> {
    let mut wanted = count_across(width);
    loop {
        let ticks = scale.ticks(wanted);
        let room: f32 = ticks.iter().map(|t| text_width(&t.label, TICK) + 18.0).sum();
        if room <= width || wanted <= 1 {
            return ticks;
        }
        wanted -= 1;
    }
}

/// The width of the labels of a vertical axis.
pub(super) fn label_width(scale: &Scale, height: f32) -> f32 {
    let ticks = scale.ticks(count_up(height));
    ticks.iter().map(|t| text_width(&t.label, TICK)).fold(0.0, f32::max)
}

/// The ticks with lines across the panel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum GridLines {
    Both,
    /// Ticks of the horizontal axis alone, where heights have no labels.
    Upright,
}

/// Draws the layers between their axes, with grid lines behind and a frame around.
pub(super) fn panel(
    canvas: &mut Canvas,
    area: Area,
    (x, y): (Scale, Scale),
    layers: &[&Layer],
    lines: GridLines,
) -> Result<()> {
    let (width, height) = (area.width.round().max(1.0), area.height.round().max(1.0));
    let page = Canvas::new(width as u32, height as u32)?;
    let mut panel = Panel { canvas: page, width, height, x, y };
    grid_lines(&mut panel, lines);
    draw_all(&mut panel, layers);
    canvas.paste(&panel.canvas, area.left as i32, area.top as i32);
    let (left, top, right, bottom) = (area.left, area.top, area.right(), area.bottom());
    let frame = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
    canvas.line(&frame, 1.5, SOFT_INK, 0.45, false);
    Ok(())
}

fn grid_lines(panel: &mut Panel, lines: GridLines) {
    let (width, height, x, y) = (panel.width, panel.height, panel.x, panel.y);
    let mut across = |scale: &Scale, value: f64, upright: bool, alpha: f32| {
        let Some(fraction) = scale.fraction(value) else {
            return;
        };
        let ends = if upright {
            let at = (fraction as f32 * width).round();
            [(at, 0.0), (at, height)]
        } else {
            let at = ((1.0 - fraction as f32) * height).round();
            [(0.0, at), (width, at)]
        };
        panel.canvas.line(&ends, 2.0, FAINT, alpha, false);
    };
    let upright = (&x, true, ticks_across(&x, width));
    let level = (&y, false, y.ticks(count_up(height)));
    let axes = if lines == GridLines::Both { vec![upright, level] } else { vec![upright] };
    for (scale, upright, ticks) in axes {
        scale.minor_ticks().into_iter().for_each(|value| across(scale, value, upright, 0.45));
        ticks.iter().for_each(|tick| across(scale, tick.value, upright, 1.0));
    }
}

/// Ticks, labels and name below a panel. Labels may jut out of the panel's width by `spare` pixels at most.
pub(super) fn below(canvas: &mut Canvas, area: Area, scale: &Scale, name: &str, spare: f32) {
    for tick in ticks_across(scale, area.width) {
        let Some(fraction) = scale.fraction(tick.value) else {
            continue;
        };
        let x = area.left + (fraction as f32 * area.width).round();
        canvas.line(&[(x, area.bottom()), (x, area.bottom() + 7.0)], 2.0, SOFT_INK, 1.0, false);
        let place = (x, area.bottom() + 9.0 + 0.75 * TICK);
        let half = text_width(&tick.label, TICK) / 2.0;
        if x - half >= area.left - spare && x + half <= area.right() + spare {
            canvas.text(&tick.label, place, TICK, SOFT_INK, Align::Middle, false);
        }
    }
    let size = fitting_size(name, NAME, area.width + 2.0 * spare);
    let place = (area.left + area.width / 2.0, area.bottom() + 60.0);
    canvas.text(name, place, size, INK, Align::Middle, false);
}

/// Ticks, labels and name left of a panel; the middle of the name is at `name_x`.
pub(super) fn left_of(canvas: &mut Canvas, area: Area, scale: &Scale, name: &str, name_x: f32) {
    for tick in scale.ticks(count_up(area.height)) {
        let Some(fraction) = scale.fraction(tick.value) else {
            continue;
        };
        let y = area.top + ((1.0 - fraction as f32) * area.height).round();
        canvas.line(&[(area.left - 7.0, y), (area.left, y)], 2.0, SOFT_INK, 1.0, false);
        let place = (area.left - 13.0, y);
        canvas.text(&tick.label, place, TICK, SOFT_INK, Align::End, false);
    }
    let size = fitting_size(name, NAME, 1.05 * area.height);
    let place = (name_x, area.top + area.height / 2.0);
    canvas.text(name, place, size, INK, Align::Middle, true);
}

/// The entries of a legend in rows no wider than `width`: left edge, row and layer.
fn legend_places<'a>(layers: &[&'a Layer], width: f32) -> Vec<(f32, usize, &'a Layer)> {
    let (mut places, mut x, mut row) = (Vec::new(), 0.0, 0);
    for layer in layers.iter().filter(|l| !l.name().is_empty()) {
        let entry = SIGN + 12.0 + text_width(layer.name(), TICK);
        if x > 0.0 && x + entry > width {
            (x, row) = (0.0, row + 1);
        }
        places.push((x, row, *layer));
        x += entry + 40.0;
    }
    places
}

/// The height of the legend of these layers.
pub(super) fn legend_height(layers: &[&Layer], width: f32) -> f32 {
    legend_places(layers, width).last().map_or(0.0, |(_, row, _)| (row + 1) as f32 * LEGEND_ROW)
}

/// Draws the legend with its corner at (`left`, `top`).
pub(super) fn legend(canvas: &mut Canvas, layers: &[&Layer], left: f32, top: f32, width: f32) {
    for (x, row, layer) in legend_places(layers, width) {
        let y = top + (row as f32 + 0.5) * LEGEND_ROW;
        layer.sign(canvas, left + x, y, SIGN);
        let size = fitting_size(layer.name(), TICK, width - SIGN - 12.0);
        let place = (left + x + SIGN + 12.0, y);
        canvas.text(layer.name(), place, size, INK, Align::Start, false);
    }
}

/// The colour bar right of a panel that shows values from `low` to `high`.
pub(super) fn colour_bar(canvas: &mut Canvas, area: Area, (low, high): (f64, f64), name: &str) {
    let scale = Scale { low, high, log: false };
    let (left, width) = ((area.right() + 30.0).round(), 30.0);
    for py in 0..area.height as i64 {
        let ink = colour::viridis(1.0 - (py as f64 + 0.5) / f64::from(area.height));
        let line = Area { left, top: area.top + py as f32, width, height: 1.0 };
        canvas.fill(line, ink, 1.0);
    }
    for tick in scale.ticks(count_up(area.height)) {
        let Some(fraction) = scale.fraction(tick.value) else {
            continue;
        };
        let y = area.top + ((1.0 - fraction as f32) * area.height).round();
        let edge = left + width;
        canvas.line(&[(edge, y), (edge + 7.0, y)], 2.0, SOFT_INK, 1.0, false);
        canvas.text(&tick.label, (edge + 13.0, y), TICK, SOFT_INK, Align::Start, false);
    }
    let x = left + width + 13.0 + label_width(&scale, area.height) + 30.0;
    let size = fitting_size(name, NAME, 1.05 * area.height);
    canvas.text(name, (x, area.top + area.height / 2.0), size, INK, Align::Middle, true);
}

/// The width of the colour bar of a panel of this height.
pub(super) fn colour_bar_width((low, high): (f64, f64), height: f32) -> f32 {
    label_width(&Scale { low, high, log: false }, height) + 130.0
}
