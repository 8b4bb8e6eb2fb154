//! Layers between two axes: lines, points, histograms, and densities on a grid.

use super::axis::Scale;
use super::canvas::{Area, Canvas, Mark};
use super::colour::{self, Colour};

/// A layer between two axes. `series` numbers the colour.
#[derive(Debug, Clone)]
pub(super) enum Layer {
    /// A line through points in order; a faint one is the unsmoothed line behind a smoothed one.
    Line { name: String, points: Vec<(f64, f64)>, series: usize, faint: bool },
    /// A cloud of points.
    Points { name: String, points: Vec<(f64, f64)>, series: usize },
    /// Thin white lines over a density; one of a single point is a dot.
    Paths { paths: Vec<Vec<(f64, f64)>> },
    /// Bars from y − e to y + e at points (x, y, e), with a mark at y.
    Errors { points: Vec<(f64, f64, f64)>, series: usize },
    /// Bars from zero to `heights[i]` between `edges[i]` and `edges[i + 1]`.
    Bars { name: String, edges: Vec<f64>, heights: Vec<f64>, series: usize },
    /// Values on a grid of equal cells, rows from the bottom up.
    Heat {
        name: String,
        values: Vec<f64>,
        columns: usize,
        x: (f64, f64),
        y: (f64, f64),
        /// The values of the ends of the colours.
        range: Option<(f64, f64)>,
    },
}

/// The space between two axes, on a page of its own.
pub(super) struct Panel {
    pub canvas: Canvas,
    pub width: f32,
    pub height: f32,
    pub x: Scale,
    pub y: Scale,
}

impl Panel {
    /// The place of a point; places far outside are clamped, so that coordinates stay small.
    fn place(&self, (x, y): (f64, f64)) -> Option<(f32, f32)> {
        let (across, up) = (self.x.fraction(x)?, self.y.fraction(y)?);
        let near = |fraction: f64| fraction.clamp(-20.0, 20.0) as f32;
        Some((near(across) * self.width, (1.0 - near(up)) * self.height))
    }
}

impl Layer {
    /// Its name in the legend; none if it is not in the legend.
    pub(super) fn name(&self) -> &str {
        match self {
            Layer::Line { faint: true, .. }
            | Layer::Paths { .. }
            | Layer::Errors { .. }
            | Layer::Heat { .. } => "",
            Layer::Line { name, .. } | Layer::Points { name, .. } | Layer::Bars { name, .. } => {
                name
            }
        }
    }

    /// The horizontal coordinates of the layer.
    pub(super) fn xs(&self) -> Vec<f64> {
        match self {
            Layer::Line { points, .. } | Layer::Points { points, .. } => {
                points.iter().filter(|p| p.1.is_finite()).map(|p| p.0).collect()
            }
            // Error bars have the points of their line; paths lie on the axes of their density.
            Layer::Errors { .. } | Layer::Paths { .. } => Vec::new(),
            Layer::Bars { edges, .. } => edges.clone(),
            Layer::Heat { x, .. } => vec![x.0, x.1],
        }
    }

    /// The vertical coordinates of the layer.
    pub(super) fn ys(&self) -> Vec<f64> {
        match self {
            Layer::Line { points, .. } | Layer::Points { points, .. } => {
                points.iter().filter(|p| p.0.is_finite()).map(|p| p.1).collect()
            }
            Layer::Errors { points, .. } => {
                points.iter().flat_map(|(_, y, error)| [y - error, y + error]).collect()
            }
            Layer::Paths { .. } => Vec::new(),
            Layer::Bars { heights, .. } => heights.clone(),
            Layer::Heat { y, .. } => vec![y.0, y.1],
        }
    }

    fn draw(&self, panel: &mut Panel) {
        match self {
            Layer::Line { points, series, faint, .. } => line(panel, points, *series, *faint),
            Layer::Points { .. } => clouds(panel, &[self]),
            Layer::Paths { paths } => paths.iter().for_each(|path| thin(panel, path)),
            Layer::Errors { points, series } => errors(panel, points, *series),
            Layer::Bars { edges, heights, series, .. } => bars(panel, edges, heights, *series),
            Layer::Heat { values, columns, x, y, range, .. } => {
                if let Some(range) = range {
                    heat(panel, values, *columns, (*x, *y), *range);
                }
            }
        }
    }

    /// Draws the sign in the legend, `width` wide, with its middle at height `y`.
    pub(super) fn sign(&self, canvas: &mut Canvas, left: f32, y: f32, width: f32) {
        match self {
            Layer::Line { series, .. } => {
                let (ink, dashed) = (colour::series(*series), colour::round(*series) % 2 == 1);
                canvas.line(&[(left, y), (left + width, y)], 4.0, ink, 1.0, dashed);
            }
            Layer::Points { series, .. } => {
                let mark = Mark::of_round(colour::round(*series));
                canvas.mark((left + width / 2.0, y), 9.0, mark, colour::series(*series), 1.0);
            }
            Layer::Bars { series, .. } => {
                let area = Area { left, top: y - 10.0, width, height: 20.0 };
                bar_box(canvas, area, colour::series(*series));
            }
            Layer::Paths { .. } | Layer::Errors { .. } | Layer::Heat { .. } => {}
        }
    }
}

/// Draws layers in order, but faint lines below all others; clouds of points that follow one another are drawn as
/// one.
pub(super) fn draw_all(panel: &mut Panel, layers: &[&Layer]) {
    let (faint, layers): (Vec<&Layer>, Vec<&Layer>) =
        layers.iter().partition(|l| matches!(l, Layer::Line { faint: true, .. }));
    faint.iter().for_each(|layer| layer.draw(panel));
    let is_cloud = |layer: &&Layer| matches!(layer, Layer::Points { .. });
    for group in layers.chunk_by(|a, b| is_cloud(a) && is_cloud(b)) {
        match group {
            [only] => only.draw(panel),
            _ => clouds(panel, group),
        }
    }
}

fn bar_box(canvas: &mut Canvas, area: Area, ink: Colour) {
    canvas.fill(area, ink, 0.35);
    let (left, top, right, bottom) = (area.left, area.top, area.right(), area.bottom());
    let corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
    canvas.line(&corners, 2.5, ink, 1.0, false);
}

fn line(panel: &mut Panel, points: &[(f64, f64)], series: usize, faint: bool) {
    let (width, alpha) = if faint { (1.5, 0.25) } else { (4.0, 1.0) };
    let (ink, dashed) = (colour::series(series), colour::round(series) % 2 == 1);
    let places: Vec<_> = points.iter().map(|&p| panel.place(p)).collect();
    // A value that cannot be drawn breaks the line.
    for piece in places.split(Option::is_none) {
        let piece: Vec<(f32, f32)> = piece.iter().flatten().copied().collect();
        match piece[..] {
            [] => {}
            [only] => panel.canvas.mark(only, width, Mark::Disc, ink, alpha),
            _ => panel.canvas.line(&thinned(&piece), width, ink, alpha, dashed && !faint),
        }
    }
}

fn thin(panel: &mut Panel, path: &[(f64, f64)]) {
    let places: Vec<(f32, f32)> = path.iter().filter_map(|&p| panel.place(p)).collect();
    match places[..] {
        [] => {}
        [only] => panel.canvas.mark(only, 2.6, Mark::Disc, [255; 3], 0.85),
        _ => panel.canvas.line(&thinned(&places), 2.0, [255; 3], 0.9, false),
    }
}

/// The first, lowest, highest and last of each run of points within one column of pixels: the same picture from
/// fewer points.
fn thinned(points: &[(f32, f32)]) -> Vec<(f32, f32)> {
    let mut kept = Vec::new();
    for run in points.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
        if run.len() <= 4 {
            kept.extend_from_slice(run);
            continue;
        }
        let height = |i: &usize, j: &usize| run[*i].1.total_cmp(&run[*j].1);
        let lowest = (0..run.len()).max_by(height).unwrap_or(0);
        let highest = (0..run.len()).min_by(height).unwrap_or(0);
        let (early, late) = (lowest.min(highest), lowest.max(highest));
        kept.extend([run[0], run[early], run[late], run[run.len() - 1]]);
    }
    kept
}

/// Clouds of points, their points taken in turn, so that no cloud hides another.
fn clouds(panel: &mut Panel, layers: &[&Layer]) {
    let size = (panel.width.min(panel.height) / 700.0).clamp(0.5, 1.0);
    let mut turns: Vec<(f64, (f64, f64), usize, f32)> = Vec::new();
    for layer in layers {
        if let Layer::Points { points, series, .. } = layer {
            let count = points.len();
            // Many points are drawn smaller and more transparent, so that density shows.
            let crowd = (count.max(1) as f32 / 100.0).log10();
            let turn = |(i, &point): (usize, &(f64, f64))| {
                (i as f64 / count as f64, point, *series, crowd)
            };
            turns.extend(points.iter().enumerate().map(turn));
        }
    }
    turns.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (_, point, series, crowd) in turns {
        let radius = (7.0 - 1.7 * crowd).clamp(2.5, 7.0) * size.sqrt();
        let alpha = (0.8 - 0.18 * crowd).clamp(0.3, 0.8);
        let (ink, mark) = (colour::series(series), Mark::of_round(colour::round(series)));
        if let Some(place) = panel.place(point) {
            panel.canvas.mark(place, radius, mark, ink, alpha);
        }
    }
}

fn errors(panel: &mut Panel, points: &[(f64, f64, f64)], series: usize) {
    let ink = colour::series(series);
    for &(x, y, error) in points {
        let Some(middle) = panel.place((x, y)) else {
            continue;
        };
        // Values that cannot be drawn, as below zero on a logarithmic axis, lie beyond the edge.
        let low = panel.place((x, y - error)).map_or(2.0 * panel.height, |p| p.1);
        let high = panel.place((x, y + error)).map_or(-panel.height, |p| p.1);
        panel.canvas.line(&[(middle.0, low), (middle.0, high)], 2.5, ink, 0.8, false);
        // Short bars are hidden by their mark.
        let ends = if low - high > 14.0 { vec![low, high] } else { Vec::new() };
        for end in ends {
            let cap = [(middle.0 - 6.0, end), (middle.0 + 6.0, end)];
            panel.canvas.line(&cap, 2.5, ink, 0.8, false);
        }
        panel.canvas.mark(middle, 5.5, Mark::Disc, ink, 1.0);
    }
}

fn bars(panel: &mut Panel, edges: &[f64], heights: &[f64], series: usize) {
    let ink = colour::series(series);
    let mut outline = Vec::with_capacity(2 * heights.len() + 2);
    let (Some(&first), Some(&last)) = (edges.first(), edges.last()) else {
        return;
    };
    outline.push((first, 0.0));
    for (pair, &height) in edges.windows(2).zip(heights) {
        outline.extend([(pair[0], height), (pair[1], height)]);
    }
    outline.push((last, 0.0));
    let places: Vec<(f32, f32)> = outline.iter().filter_map(|&p| panel.place(p)).collect();
    panel.canvas.polygon(&places, ink, 0.3);
    panel.canvas.line(&places, 2.5, ink, 1.0, false);
}

fn heat(
    panel: &mut Panel,
    values: &[f64],
    columns: usize,
    (x, y): ((f64, f64), (f64, f64)),
    (low, high): (f64, f64),
) {
    let rows = values.len() / columns.max(1);
    let (width, height) = (panel.width as i64, panel.height as i64);
    let cell = |value: f64, (from, to): (f64, f64), count: usize| {
        let place = (value - from) / (to - from) * count as f64;
        (place >= 0.0 && place < count as f64).then_some(place as usize)
    };
    for py in 0..height {
        let up = 1.0 - (py as f64 + 0.5) / height as f64;
        let at = panel.y.outer(panel.y.inner(panel.y.low) + up * span(&panel.y));
        let Some(row) = cell(at, y, rows) else {
            continue;
        };
        for px in 0..width {
            let across = (px as f64 + 0.5) / width as f64;
            let at = panel.x.outer(panel.x.inner(panel.x.low) + across * span(&panel.x));
            let Some(column) = cell(at, x, columns) else {
                continue;
            };
            let value = values[row * columns + column];
            if !value.is_nan() {
                let ink = colour::viridis((value - low) / (high - low));
                panel.canvas.pixel(px, py, ink, 1.0);
            }
        }
    }
}

fn span(scale: &Scale) -> f64 {
    scale.inner(scale.high) - scale.inner(scale.low)
}

/// The least and the greatest finite value, apart from each other; none if there is no finite value.
pub(super) fn extent(values: &[f64]) -> Option<(f64, f64)> {
    let finite = values.iter().filter(|v| v.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
    (low <= high).then_some(if low < high { (low, high) } else { (low, low + 1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel() -> Panel {
        let scale = Scale { low: 0.0, high: 1.0, log: false };
        let canvas = Canvas::new(100, 100).unwrap();
        Panel { canvas, width: 100.0, height: 100.0, x: scale, y: scale }
    }

    #[test]
    fn thinning_keeps_the_envelope() {
        let points: Vec<(f32, f32)> =
            (0..10_000).map(|i| (i as f32 / 100.0, ((i * 7919) % 1013) as f32)).collect();
        let kept = thinned(&points);
        assert!(kept.len() <= 400);
        for column in 0..100 {
            let extremes = |set: &[(f32, f32)]| {
                let ys = set.iter().filter(|p| p.0.floor() == column as f32).map(|p| p.1);
                ys.fold((f32::MAX, f32::MIN), |(l, h), y| (l.min(y), h.max(y)))
            };
            assert_eq!(extremes(&kept), extremes(&points));
        }
    }

    #[test]
    fn a_grid_of_values_is_drawn_from_the_bottom_up() {
        let mut panel = panel();
        let unit = (0.0, 1.0);
        heat(&mut panel, &[0.0, 1.0, 2.0, f64::NAN], 2, (unit, unit), (0.0, 2.0));
        let image = panel.canvas.into_image();
        assert_eq!(image.get_pixel(25, 75).0, colour::viridis(0.0));
        assert_eq!(image.get_pixel(75, 75).0, colour::viridis(0.5));
        assert_eq!(image.get_pixel(25, 25).0, colour::viridis(1.0));
        assert_eq!(image.get_pixel(75, 25).0, [255; 3]);
    }

    #[test]
    fn values_that_cannot_be_drawn_break_a_line() {
        let mut panel = panel();
        line(
            &mut panel,
            &[(0.1, 0.5), (0.4, 0.5), (0.5, f64::NAN), (0.6, 0.5), (0.9, 0.5)],
            0,
            false,
        );
        let image = panel.canvas.into_image();
        assert_eq!(image.get_pixel(25, 50).0, colour::series(0));
        assert_eq!(image.get_pixel(50, 50).0, [255; 3]);
        assert_eq!(image.get_pixel(75, 50).0, colour::series(0));
    }
}
