//! A canvas: smooth lines, marks and rectangles by tiny-skia, text by ab_glyph.
//!
//! The font is DejaVu Sans, compiled in, so that pictures have text (Greek, arrows, sub- and superscripts
//! included) on machines without fonts. Lengths are pixels, y grows downwards.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use image::RgbImage;
use tiny_skia::{
    FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, PixmapPaint, Rect, Stroke,
    StrokeDash, Transform,
};

use super::colour::Colour;
use crate::{Error, Result};

/// Most pixels of a picture (1 GiB while it is drawn).
const MOST_PIXELS: u64 = 1 << 28;

static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(dejavu::sans::regular()).expect("the font compiled in is a font")
});

/// The place of a text relative to its point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Align {
    Start,
    Middle,
    End,
}

/// The shape of a mark.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mark {
    Disc,
    Square,
    Triangle,
}

impl Mark {
    /// The mark for each round through the palette.
    pub(super) fn of_round(round: usize) -> Self {
        [Mark::Disc, Mark::Triangle, Mark::Square][round % 3]
    }
}

/// A rectangle of the page: left, top, width, height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub left: f32,
    pub top: f32,
    pub width: f32,
    pub height: f32,
}

impl Area {
    pub(super) fn right(&self) -> f32 {
        self.left + self.width
    }

    pub(super) fn bottom(&self) -> f32 {
        self.top + self.height
    }
}

/// A white page.
pub(super) struct Canvas {
    pixels: Pixmap,
}

impl Canvas {
    /// A white page of `width × height` pixels.
    ///
    /// # Errors
    /// [`Error::Config`] if it has no pixels or more than 2²⁸.
    pub(super) fn new(width: u32, height: u32) -> Result<Self> {
        let page = (u64::from(width) * u64::from(height) <= MOST_PIXELS)
            .then(|| Pixmap::new(width, height))
            .flatten();
        let Some(mut pixels) = page else {
            return Err(Error::config(
                "picture",
                format!("{width} × {height} pixels"),
                format!("between 1 and {MOST_PIXELS} pixels"),
            ));
        };
        pixels.fill(tiny_skia::Color::WHITE);
        Ok(Self { pixels })
    }

    /// The finished picture.
    pub(super) fn into_image(self) -> RgbImage {
        let (width, height) = (self.pixels.width(), self.pixels.height());
        RgbImage::from_fn(width, height, |x, y| {
            let at = 4 * (y as usize * width as usize + x as usize);
            let pixel = &self.pixels.data()[at..at + 3];
            image::Rgb([pixel[0], pixel[1], pixel[2]])
        })
    }

    /// Colours one pixel; ignores pixels outside the page.
    pub(super) fn pixel(&mut self, x: i64, y: i64, colour: Colour, alpha: f32) {
        let (width, height) = (i64::from(self.pixels.width()), i64::from(self.pixels.height()));
        if (0..width).contains(&x) && (0..height).contains(&y) {
            let at = 4 * (y * width + x) as usize;
            for (below, above) in self.pixels.data_mut()[at..at + 3].iter_mut().zip(colour) {
                let mixed = f32::from(*below) * (1.0 - alpha) + f32::from(above) * alpha;
                *below = mixed.round() as u8;
            }
        }
    }

    /// Fills a rectangle.
    pub(super) fn fill(&mut self, area: Area, colour: Colour, alpha: f32) {
        if let Some(rect) = Rect::from_xywh(area.left, area.top, area.width, area.height) {
            self.pixels.fill_rect(rect, &paint(colour, alpha), Transform::identity(), None);
        }
    }

    /// A line through `points`, solid or dashed.
    pub(super) fn line(
        &mut self,
        points: &[(f32, f32)],
        width: f32,
        colour: Colour,
        alpha: f32,
        dashed: bool,
    ) {
        let dash = dashed.then(|| StrokeDash::new(vec![4.0 * width, 3.0 * width], 0.0)).flatten();
        let stroke = Stroke {
            width,
            line_cap: LineCap::Round,
            line_join: LineJoin::Round,
            dash,
            ..Stroke::default()
        };
        if let Some(path) = open_path(points) {
            let paint = paint(colour, alpha);
            self.pixels.stroke_path(&path, &paint, &stroke, Transform::identity(), None);
        }
    }

    /// Fills the polygon with the given corners.
    pub(super) fn polygon(&mut self, corners: &[(f32, f32)], colour: Colour, alpha: f32) {
        if let Some(path) = open_path(corners) {
            self.fill_path(&path, colour, alpha);
        }
    }

    /// A mark of about `radius` around a point.
    pub(super) fn mark(
        &mut self,
        (x, y): (f32, f32),
        radius: f32,
        mark: Mark,
        colour: Colour,
        alpha: f32,
    ) {
        let r = radius;
        match mark {
            Mark::Disc => {
                if let Some(path) = PathBuilder::from_circle(x, y, r) {
                    self.fill_path(&path, colour, alpha);
                }
            }
            Mark::Square => {
                let r = 0.85 * r;
                let area = Area { left: x - r, top: y - r, width: 2.0 * r, height: 2.0 * r };
                self.fill(area, colour, alpha);
            }
            Mark::Triangle => {
                let r = 1.2 * r;
                let corners = [(x, y - r), (x + 0.9 * r, y + 0.6 * r), (x - 0.9 * r, y + 0.6 * r)];
                self.polygon(&corners, colour, alpha);
            }
        }
    }

    fn fill_path(&mut self, path: &Path, colour: Colour, alpha: f32) {
        let paint = paint(colour, alpha);
        self.pixels.fill_path(path, &paint, FillRule::Winding, Transform::identity(), None);
    }

    /// Draws another page on this one, with its corner at (`left`, `top`).
    pub(super) fn paste(&mut self, other: &Canvas, left: i32, top: i32) {
        let (paint, place) = (PixmapPaint::default(), Transform::identity());
        self.pixels.draw_pixmap(left, top, other.pixels.as_ref(), &paint, place, None);
    }

    /// Draws a picture on this page, pixel for pixel, with its corner at (`left`, `top`).
    pub(super) fn picture(&mut self, picture: &RgbImage, left: i64, top: i64) {
        for (x, y, pixel) in picture.enumerate_pixels() {
            self.pixel(left + i64::from(x), top + i64::from(y), pixel.0, 1.0);
        }
    }

    /// Text of `size` pixels an em; `y` is the middle of its capitals. A vertical text reads upwards and has
    /// the middle of its capitals at `x`.
    pub(super) fn text(
        &mut self,
        text: &str,
        (x, y): (f32, f32),
        size: f32,
        colour: Colour,
        align: Align,
        vertical: bool,
    ) {
        let start = match align {
            Align::Start => 0.0,
            Align::Middle => -text_width(text, size) / 2.0,
            Align::End => -text_width(text, size),
        };
        // Capitals of DejaVu Sans are 0.73 em high.
        let baseline = 0.365 * size;
        // Glyphs keep fractions of a pixel, so that spacing is even.
        let (along, across) = if vertical { (y, x) } else { (x, y) };
        let origin = (along.floor(), across.floor());
        let sign = if vertical { -1.0 } else { 1.0 };
        let offset = (start + sign * (along - origin.0), baseline + across - origin.1);
        each_pixel(text, size, offset, |dx, dy, coverage| {
            let (px, py) = if vertical {
                (origin.1 as i64 + dy, origin.0 as i64 - dx - 1)
            } else {
                (origin.0 as i64 + dx, origin.1 as i64 + dy)
            };
            self.pixel(px, py, colour, coverage);
        });
    }
}

fn paint(colour: Colour, alpha: f32) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    let alpha = (255.0 * alpha.clamp(0.0, 1.0)).round() as u8;
    paint.set_color_rgba8(colour[0], colour[1], colour[2], alpha);
    paint
}

fn open_path(points: &[(f32, f32)]) -> Option<Path> {
    let (first, rest) = points.split_first()?;
    let mut path = PathBuilder::new();
    path.move_to(first.0, first.1);
    for point in rest {
        path.line_to(point.0, point.1);
    }
    path.finish()
}

/// The scale at which an em is `size` pixels.
fn scale(size: f32) -> PxScale {
    let em = FONT.units_per_em().unwrap_or(2048.0);
    PxScale::from(size * FONT.height_unscaled() / em)
}

/// The glyphs of `text` with their starts, kerned, and the end of the last one.
fn positions(text: &str, size: f32) -> (Vec<(ab_glyph::GlyphId, f32)>, f32) {
    let font = FONT.as_scaled(scale(size));
    let (mut glyphs, mut x, mut previous) = (Vec::new(), 0.0, None);
    for letter in text.chars() {
        let id = font.glyph_id(letter);
        x += previous.map_or(0.0, |p| font.kern(p, id));
        glyphs.push((id, x));
        x += font.h_advance(id);
        previous = Some(id);
    }
    (glyphs, x)
}

/// The width of `text` in pixels, at `size` pixels an em.
pub(super) fn text_width(text: &str, size: f32) -> f32 {
    positions(text, size).1
}

/// The largest size up to `size` at which `text` is at most `room` pixels wide, but never below 10 pixels.
pub(super) fn fitting_size(text: &str, size: f32, room: f32) -> f32 {
    let width = text_width(text, size);
    if width <= room { size } else { (size * room / width).max(10.0).min(size) }
}

/// The lines, broken at spaces, on which `text` fits a width of `room` pixels; a word that is wider ends in an
/// ellipsis.
pub(super) fn lines_of(text: &str, size: f32, room: f32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word = cut(word, size, room);
        match lines.last_mut() {
            Some(line) if text_width(&format!("{line} {word}"), size) <= room => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// The beginning of a word that fits a width, with an ellipsis unless it is the whole word.
fn cut(word: &str, size: f32, room: f32) -> String {
    if text_width(word, size) <= room {
        return word.to_string();
    }
    let mut kept: Vec<char> = word.chars().collect();
    loop {
        kept.pop();
        let text: String = kept.iter().chain(['…'].iter()).collect();
        if kept.is_empty() || text_width(&text, size) <= room {
            return text;
        }
    }
}

/// Calls `draw(dx, dy, coverage)` for each pixel that the text covers, baseline and start at `offset`.
fn each_pixel(text: &str, size: f32, offset: (f32, f32), mut draw: impl FnMut(i64, i64, f32)) {
    for (id, x) in positions(text, size).0 {
        let glyph = id.with_scale_and_position(scale(size), point(offset.0 + x, offset.1));
        if let Some(outline) = FONT.outline_glyph(glyph) {
            let corner = outline.px_bounds().min;
            outline.draw(|gx, gy, coverage| {
                let (dx, dy) = (corner.x as i64 + i64::from(gx), corner.y as i64 + i64::from(gy));
                draw(dx, dy, coverage.clamp(0.0, 1.0));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::colour::INK;

    fn darkness(image: &RgbImage) -> f64 {
        image.pixels().map(|p| 1.0 - f64::from(p.0[0]) / 255.0).sum()
    }

    #[test]
    fn the_font_has_the_letters_of_the_field() {
        let letters = "αβγδελμσφψωΣ∇∂→←×·−±≤≥≈∞√‖ℓ₀₁₂ₜₓ⁰¹²³⁴⁵⁶⁷⁸⁹⁻éñø";
        for letter in letters.chars() {
            assert_ne!(FONT.glyph_id(letter).0, 0, "{letter}");
        }
    }

    #[test]
    fn areas_and_marks_cover_what_geometry_says() {
        let mut page = Canvas::new(100, 100).unwrap();
        page.fill(Area { left: 10.5, top: 20.0, width: 30.0, height: 7.0 }, [0; 3], 1.0);
        assert!((darkness(&page.into_image()) - 210.0).abs() < 1.0);
        let mut page = Canvas::new(100, 100).unwrap();
        page.mark((50.3, 49.9), 20.0, Mark::Disc, [0; 3], 1.0);
        let disc = darkness(&page.into_image());
        assert!((disc - std::f64::consts::PI * 400.0).abs() < 8.0, "{disc}");
        let mut page = Canvas::new(100, 100).unwrap();
        page.line(&[(20.0, 20.0), (20.0, 80.0)], 4.0, [0; 3], 0.5, false);
        // 60 × 4, and two round ends that make a disc of radius 2; half transparent.
        let line = darkness(&page.into_image());
        assert!((line - 0.5 * (240.0 + 4.0 * std::f64::consts::PI)).abs() < 3.0, "{line}");
    }

    #[test]
    fn upright_and_vertical_text_have_the_same_ink_and_lie_where_they_should() {
        let mut inks = Vec::new();
        for vertical in [false, true] {
            let mut page = Canvas::new(200, 200).unwrap();
            page.text("HHλH", (100.0, 100.0), 30.0, INK, Align::Middle, vertical);
            let image = page.into_image();
            inks.push(darkness(&image));
            let (mut sum, mut x, mut y) = (0.0, 0.0, 0.0);
            for (px, py, pixel) in image.enumerate_pixels() {
                let dark = 255.0 - f64::from(pixel.0[0]);
                (sum, x, y) = (sum + dark, x + dark * f64::from(px), y + dark * f64::from(py));
            }
            assert!((x / sum - 100.0).abs() < 4.0 && (y / sum - 100.0).abs() < 4.0);
        }
        assert!((inks[0] - inks[1]).abs() < 1e-6 * inks[0] + 1.0);
        let half = text_width("HHλH", 15.0);
        assert!((text_width("HHλH", 30.0) - 2.0 * half).abs() < 1e-3);
        assert!(text_width("HHλH", fitting_size("HHλH", 30.0, 50.0)) <= 50.01);
    }

    #[test]
    fn lines_fit_their_room_and_lose_no_word_that_does() {
        for room in [30.0, 60.0, 90.0, 500.0] {
            let lines = lines_of("grinning face with  big eyes", 20.0, room);
            assert!(lines.iter().all(|line| text_width(line, 20.0) <= room), "{lines:?}");
            let cut = lines.iter().any(|line| line.contains('…'));
            assert_eq!(cut, text_width("grinning", 20.0) > room);
            assert!(cut || lines.join(" ") == "grinning face with big eyes");
        }
        assert_eq!(lines_of("WWW", 20.0, 1.0), ["…"]);
        assert!(lines_of(" ", 20.0, 50.0).is_empty());
    }

    #[test]
    fn impossible_pages_are_errors() {
        assert!(Canvas::new(0, 5).is_err());
        assert!(Canvas::new(1 << 20, 1 << 20).is_err());
    }
}
