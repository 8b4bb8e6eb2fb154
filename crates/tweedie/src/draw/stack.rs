//! Pictures below each other, each under its heading.

use super::canvas::{Align, Canvas, text_width};
use super::colour::INK;
use crate::Result;
use image::RgbImage;

/// Room for a heading, and between pictures.
const HEAD: u32 = 52;
const TEXT: f32 = 25.0;
const MARGIN: u32 = 12;

/// Pictures below each other on one page that is wide enough for the widest picture or heading.
///
/// # Errors
/// [`crate::Error::Config`] if there is no picture or the page would have more than 2²⁸ pixels.
pub fn stacked(parts: &[(&str, RgbImage)]) -> Result<RgbImage> {
    let width = |(heading, picture): &(&str, RgbImage)| {
        picture.width().max(text_width(heading, TEXT).ceil() as u32 + 2 * MARGIN)
    };
    let width = parts.iter().map(width).max().unwrap_or(0);
    let height = parts.iter().fold(0u32, |sum, (_, p)| sum.saturating_add(HEAD + p.height()));
    let mut canvas = Canvas::new(width, height)?;
    let mut top = 0;
    for (heading, picture) in parts {
        let place = (MARGIN as f32, top as f32 + 28.0);
        canvas.text(heading, place, TEXT, INK, Align::Start, false);
        canvas.picture(picture, 0, i64::from(top + HEAD));
        top += HEAD + picture.height();
    }
    Ok(canvas.into_image())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stay_what_they_are_and_headings_are_whole() {
        let picture =
            |size: u32| RgbImage::from_fn(size, size, |x, y| image::Rgb([9, x as u8, y as u8]));
        let long = "a heading that is wider than its picture";
        let page = stacked(&[("one", picture(30)), (long, picture(20))]).unwrap();
        assert!(page.width() as f32 >= text_width(long, TEXT));
        assert_eq!(page.height(), 2 * HEAD + 50);
        for (top, size) in [(HEAD, 30), (2 * HEAD + 30, 20)] {
            let found = image::imageops::crop_imm(&page, 0, top, size, size).to_image();
            assert_eq!(found, picture(size));
        }
        let white = |x: u32| (0..page.height()).all(|y| page.get_pixel(x, y).0 == [255; 3]);
        assert!(white(page.width() - 1));
        assert!(stacked(&[]).is_err());
    }
}
