//! Grids of pictures, pixel for pixel.
//!
//! Byte = round(255 · value / max), clamped: the values of image data sets are already sRGB, so no gamma is applied,
//! and pictures are enlarged by whole factors without interpolation, so every pixel keeps its value.

use image::RgbImage;

use super::canvas::{Align, Area, Canvas, fitting_size, lines_of, text_width};
use super::colour::{ALARM, Colour, INK};
use crate::data::Rows;
use crate::{Error, Result};

/// The target width of a page, for the choice of the zoom.
const WIDTH: f32 = 900.0;
const MOST_ZOOM: u32 = 32;
/// Pixels between pictures and around them.
const GAP: u64 = 4;
const SEPARATOR: Colour = [150, 150, 150];
const TEXT: f32 = 22.0;
/// The least size of column names.
const LEAST_TEXT: f32 = 14.0;
/// The height of a line of column names.
const LINE: f32 = 26.0;
/// Pixels for row names within the target width; longer names make the page wider.
const MOST_NAMES: f32 = 300.0;

/// A grid of pictures, filled row by row.
///
/// A row of the batch holds one picture as `channels × height × width` values from 0 to `max`. Values
/// outside are clamped; a pixel that is NaN is orange.
///
/// ```
/// use tweedie::data::Rows;
/// use tweedie::draw::Grid;
/// let pictures = Rows::new((0..6 * 64).map(|i| (i % 17) as f32).collect(), 64)?;
/// let grid = Grid::new(&pictures, [1, 8, 8], 16.0)?.columns(3).zoom(2);
/// assert_eq!(grid.draw()?.dimensions(), (3 * 16 + 4 * 4, 2 * 16 + 3 * 4));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Grid {
    pictures: Rows,
    shape: [usize; 3],
    max: f32,
    columns: usize,
    zoom: Option<u32>,
    row_names: Vec<String>,
    column_names: Vec<String>,
    corner: String,
}

impl Grid {
    /// A grid of the pictures in `rows`, of `shape` (channels, height, width) with 1 or 3 channels, in raw units from 0
    /// to `max` (255 for bytes).
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no picture, or the shape does not give the width of a row or has other than 1
    /// or 3 channels; [`Error::Config`] if `max` is not positive and finite.
    pub fn new(rows: &Rows, shape: [usize; 3], max: f32) -> Result<Self> {
        let [channels, height, width] = shape;
        let fits = channels.checked_mul(height).and_then(|n| n.checked_mul(width));
        if rows.is_empty() || fits != Some(rows.width()) || !matches!(channels, 1 | 3) {
            let found = format!("{} rows of {} values", rows.len(), rows.width());
            let expected = format!(
                "at least one row of {channels} × {height} × {width} values, with 1 or 3 channels"
            );
            return Err(Error::shape("pictures", found, expected));
        }
        if !(max.is_finite() && max > 0.0) {
            return Err(Error::config("max", format!("{max}"), "a positive number"));
        }
        let columns = (rows.len() as f64).sqrt().ceil() as usize;
        let (row_names, column_names) = (Vec::new(), Vec::new());
        Ok(Self {
            pictures: rows.clone(),
            shape,
            max,
            columns,
            zoom: None,
            row_names,
            column_names,
            corner: String::new(),
        })
    }

    /// Sets the number of columns (at least 1); by default the grid is about square.
    pub fn columns(mut self, columns: usize) -> Self {
        self.columns = columns.max(1);
        self
    }

    /// Sets the zoom in pixels for each pixel of a picture (at least 1); by default the grid is about 900 pixels wide.
    pub fn zoom(mut self, zoom: u32) -> Self {
        self.zoom = Some(zoom.max(1));
        self
    }

    /// Sets the names left of the rows of pictures, from the top; rows beyond have none.
    pub fn row_names(mut self, names: &[String]) -> Self {
        self.row_names = names.to_vec();
        self
    }

    /// Sets the names above the columns, from the left, broken into lines where needed; columns beyond have none.
    pub fn column_names(mut self, names: &[String]) -> Self {
        self.column_names = names.to_vec();
        self
    }

    /// Sets the heading of the column names, written left of them.
    pub fn corner(mut self, name: &str) -> Self {
        self.corner = name.to_string();
        self
    }

    /// Draws the grid.
    ///
    /// # Errors
    /// [`Error::Config`] if it would have more than 2²⁸ pixels.
    pub fn draw(&self) -> Result<RgbImage> {
        let tiles = self.tiles();
        let mut canvas = Canvas::new(side(tiles.x(tiles.columns)), side(tiles.y(tiles.lines)))?;
        for i in 0..self.pictures.len() {
            let (x, y) = (tiles.x(i % tiles.columns), tiles.y(i / tiles.columns));
            let frame = Area {
                left: (x - GAP) as f32,
                top: (y - GAP) as f32,
                width: (tiles.width + 2 * GAP) as f32,
                height: (tiles.height + 2 * GAP) as f32,
            };
            canvas.fill(frame, SEPARATOR, 1.0);
        }
        for i in 0..self.pictures.len() {
            let (x, y) = (tiles.x(i % tiles.columns), tiles.y(i / tiles.columns));
            self.draw_tile(&mut canvas, i, (x as i64, y as i64), tiles.zoom as i64);
        }
        self.write_names(&mut canvas, &tiles);
        Ok(canvas.into_image())
    }

    fn tiles(&self) -> Tiles {
        let columns = self.columns.min(self.pictures.len());
        let zoom = u64::from(self.zoom.unwrap_or_else(|| self.fitting_zoom(columns)));
        let width = (self.shape[2] as u64).saturating_mul(zoom);
        let shown = || self.column_names.iter().take(columns);
        // All names have the size that the longest word needs, as long as it can be read.
        let words = shown().flat_map(|name| name.split_whitespace());
        let fitting = words.map(|word| fitting_size(word, TEXT, width as f32));
        let text = fitting.fold(TEXT, f32::min).max(LEAST_TEXT);
        let lines = shown().map(|name| lines_of(name, text, width as f32).len()).max();
        let lines = lines.unwrap_or(0).max(usize::from(!self.corner.is_empty()));
        Tiles {
            columns,
            lines: self.pictures.len().div_ceil(columns),
            zoom,
            text,
            left: u64::from(self.left()),
            top: if lines == 0 { 0 } else { 10 + lines as u64 * LINE as u64 },
            width,
            height: (self.shape[1] as u64).saturating_mul(zoom),
        }
    }

    fn write_names(&self, canvas: &mut Canvas, tiles: &Tiles) {
        for (line, name) in self.row_names.iter().enumerate().take(tiles.lines) {
            let place =
                (tiles.left as f32 - 12.0, tiles.y(line) as f32 + tiles.height as f32 / 2.0);
            canvas.text(name, place, TEXT, INK, Align::End, false);
        }
        // The last lines of all names stand on one level.
        let level = |below: usize| tiles.top as f32 - 13.0 - LINE * below as f32;
        for (column, name) in self.column_names.iter().enumerate().take(tiles.columns) {
            let x = tiles.x(column) as f32 + tiles.width as f32 / 2.0;
            let lines = lines_of(name, tiles.text, tiles.width as f32);
            for (below, line) in lines.iter().rev().enumerate() {
                canvas.text(line, (x, level(below)), tiles.text, INK, Align::Middle, false);
            }
        }
        let place = (tiles.left as f32 - 12.0, level(0));
        canvas.text(&self.corner, place, TEXT, INK, Align::End, false);
    }

    /// The room for the names of rows.
    fn left(&self) -> u32 {
        let names = self.row_names.iter().chain([&self.corner]);
        let widest = names.map(|n| text_width(n, TEXT)).fold(0.0, f32::max);
        if widest > 0.0 { widest.min(4000.0) as u32 + 24 } else { 0 }
    }

    /// The whole zoom whose width is nearest to [`WIDTH`] by ratio.
    fn fitting_zoom(&self, columns: usize) -> u32 {
        let names = (self.left() as f32).min(MOST_NAMES);
        let room = WIDTH - names - GAP as f32 * (columns + 1) as f32;
        let zoom = room.max(1.0) / (columns * self.shape[2]) as f32;
        let (below, above) = (zoom.floor().max(1.0), zoom.ceil().max(1.0));
        let best = if zoom / below <= above / zoom { below } else { above };
        // Names of rows have room beside their pictures.
        let lines = if self.row_names.is_empty() { 1 } else { LINE as usize };
        let least = lines.div_ceil(self.shape[1].max(1)) as u32;
        (best as u32).clamp(1, MOST_ZOOM).max(least)
    }

    fn draw_tile(&self, canvas: &mut Canvas, i: usize, (left, top): (i64, i64), zoom: i64) {
        let [channels, height, width] = self.shape;
        let picture = self.pictures.row(i);
        for y in 0..height {
            for x in 0..width {
                let colour = self.colour(picture, channels, y * width + x, height * width);
                for dy in 0..zoom {
                    for dx in 0..zoom {
                        let place = (left + x as i64 * zoom + dx, top + y as i64 * zoom + dy);
                        canvas.pixel(place.0, place.1, colour, 1.0);
                    }
                }
            }
        }
    }

    fn colour(&self, picture: &[f32], channels: usize, at: usize, plane: usize) -> Colour {
        let values: [f32; 3] = std::array::from_fn(|c| picture[at + c % channels * plane]);
        if values.iter().any(|v| v.is_nan()) {
            return ALARM;
        }
        values.map(|v| (255.0 * (v / self.max).clamp(0.0, 1.0)).round() as u8)
    }
}

/// The places of the pictures of a grid, in pixels.
struct Tiles {
    columns: usize,
    lines: usize,
    zoom: u64,
    /// The size of column names.
    text: f32,
    /// Room for names left of all pictures and above them.
    left: u64,
    top: u64,
    /// The size of one enlarged picture.
    width: u64,
    height: u64,
}

impl Tiles {
    /// The left edge of the pictures in a column; of the column after the last: the width of all.
    fn x(&self, column: usize) -> u64 {
        self.left + GAP + (self.width + GAP).saturating_mul(column as u64)
    }

    /// The upper edge of the pictures in a line; of the line after the last: the height of all.
    fn y(&self, line: usize) -> u64 {
        self.top + GAP + (self.height + GAP).saturating_mul(line as u64)
    }
}

/// A length in pixels, saturating: lengths beyond a picture stay beyond.
fn side(length: u64) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(count: usize, width: usize) -> Rows {
        let values = (0..count * width).map(|i| ((i * 37) % 23) as f32 - 3.0).collect();
        Rows::new(values, width).unwrap()
    }

    #[test]
    fn every_pixel_is_the_value_it_should_be() {
        for channels in [1, 3] {
            let rows = ramp(5, channels * 6);
            let grid = Grid::new(&rows, [channels, 2, 3], 16.0).unwrap().columns(2).zoom(7);
            let image = grid.draw().unwrap();
            assert_eq!(image.dimensions(), (2 * 21 + 3 * 4, 3 * 14 + 4 * 4));
            for (x, y, pixel) in image.enumerate_pixels() {
                let (column, across) = ((x as usize) / 25, x as usize % 25);
                let (line, down) = ((y as usize) / 18, y as usize % 18);
                let picture = 2 * line + column;
                let expected = if picture == 5 && across >= 4 && down >= 4 {
                    [255; 3]
                } else if across < 4 || down < 4 {
                    continue;
                } else {
                    let at = (down - 4) / 7 * 3 + (across - 4) / 7;
                    [0, 1, 2].map(|c| {
                        let value = rows.row(picture)[at + if channels == 3 { 6 * c } else { 0 }];
                        // 16 is white, 0 black.
                        (value.clamp(0.0, 16.0) * 15.9375 + 0.5).floor() as u8
                    })
                };
                assert_eq!(pixel.0, expected, "{x} {y}");
            }
        }
    }

    #[test]
    fn bytes_stay_what_they_were() {
        let rows = Rows::new((0..256).map(|v| v as f32).collect(), 256).unwrap();
        let image = Grid::new(&rows, [1, 16, 16], 255.0).unwrap().zoom(1).draw().unwrap();
        for value in 0..256_u32 {
            assert_eq!(image.get_pixel(4 + value % 16, 4 + value / 16).0, [value as u8; 3]);
        }
    }

    #[test]
    fn the_zoom_makes_grids_of_a_readable_size() {
        for (side, columns) in [(8, 10), (8, 4), (8, 16), (28, 8), (28, 16), (32, 10), (64, 8)] {
            let rows = ramp(columns, side * side);
            let grid = Grid::new(&rows, [1, side, side], 1.0).unwrap().columns(columns);
            let width = grid.draw().unwrap().width();
            assert!((680..=1200).contains(&width), "{side} {columns}: {width}");
        }
        let rows = ramp(1, 64);
        assert_eq!(Grid::new(&rows, [1, 8, 8], 1.0).unwrap().draw().unwrap().width(), 8 * 32 + 8);
    }

    #[test]
    fn names_stand_beside_and_above_and_leave_the_pictures_alone() {
        let rows = ramp(6, 64);
        let grid = Grid::new(&rows, [1, 8, 8], 16.0).unwrap().columns(3).zoom(8);
        let plain = grid.draw().unwrap();
        let names = |count| vec!["seven".to_string(); count];
        let grid = grid.corner("a number");
        // More names than rows and columns do no harm.
        let named = grid.row_names(&names(4)).column_names(&names(9)).draw().unwrap();
        let (left, top) = (named.width() - plain.width(), named.height() - plain.height());
        assert!(left > 40 && top > 20);
        let same =
            plain.enumerate_pixels().all(|(x, y, p)| named.get_pixel(x + left, y + top) == p);
        assert!(same);
        let dark = |p: &&image::Rgb<u8>| p.0[0] < 128;
        let beside = (0..left).flat_map(|x| (top..named.height()).map(move |y| (x, y)));
        assert!(beside.map(|(x, y)| named.get_pixel(x, y)).filter(dark).count() > 50);
    }

    /// Names of columns, whatever their length, end above the pictures and leave their neighbours alone; names of rows
    /// are whole.
    #[test]
    fn long_names_stay_in_their_columns_and_on_the_page() {
        let long = "face with medical mask Donaudampfschifffahrt 0.00055".to_string();
        let grid = Grid::new(&ramp(4, 64), [1, 8, 8], 16.0).unwrap().columns(4).zoom(8);
        let bare = grid.draw().unwrap();
        let row = "a name that is far longer than the picture is wide, by quite a lot of words";
        let names: Vec<String> = vec![long.clone(), String::new(), long, String::new()];
        let named = grid.row_names(&[row.to_string()]).column_names(&names).draw().unwrap();
        let (left, top) = (named.width() - bare.width(), named.height() - bare.height());
        assert!(left as f32 > text_width(row, TEXT) && top > 100);
        let ink = |from: u32, to: u32, rows: std::ops::Range<u32>| {
            let pixels = (from..to).flat_map(|x| rows.clone().map(move |y| (x, y)));
            pixels.filter(|(x, y)| named.get_pixel(*x, *y).0[0] < 128).count()
        };
        for column in 0..4 {
            let from = left + 4 + 68 * column;
            assert_eq!(ink(from, from + 64, 0..top) > 0, column % 2 == 0);
            assert_eq!(ink(from - 4, from, 0..top), 0);
        }
        assert_eq!(ink(0, 8, 0..named.height()), 0);
        assert_eq!(ink(left - 8, left, top..named.height()), 0);
        assert!(ink(8, 40, top..named.height()) > 20);
    }

    #[test]
    fn what_is_no_picture_is_refused_and_nan_is_seen() {
        let rows = ramp(2, 12);
        for shape in [[2, 2, 3], [1, 3, 3], [0, 0, 0], [1, usize::MAX, 12], [3, 2, 0]] {
            assert!(matches!(Grid::new(&rows, shape, 1.0), Err(Error::Shape { .. })));
        }
        for max in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(matches!(Grid::new(&rows, [3, 2, 2], max), Err(Error::Config { .. })));
        }
        let none = Rows::new(Vec::new(), 12).unwrap();
        assert!(Grid::new(&none, [3, 2, 2], 1.0).is_err());
        let huge = Grid::new(&rows, [3, 2, 2], 1.0).unwrap().zoom(u32::MAX).draw();
        assert!(matches!(huge, Err(Error::Config { .. })));
        let values = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.5];
        let wild = Rows::new(values, 4).unwrap();
        let image = Grid::new(&wild, [1, 2, 2], 1.0).unwrap().zoom(1).draw().unwrap();
        let pixels = [(4, 4), (5, 4), (4, 5), (5, 5)].map(|(x, y)| image.get_pixel(x, y).0);
        assert_eq!(pixels, [ALARM, [255; 3], [0; 3], [128; 3]]);
    }
}
