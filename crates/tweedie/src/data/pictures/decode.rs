//! Decoding of picture files to bytes, grey or in colour, of one size: see [`super`].

use crate::{Error, Result};
use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use rayon::prelude::*;
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// The most pixels of a file, so that a few bytes cannot claim all memory.
const MOST_PIXELS: u64 = 1 << 27;
/// The factor on the target size down to which squares of pixels are averaged first.
const REDUCED: u32 = 4;

/// A decoder of files to pictures of one size.
pub(super) struct Decoder<'a> {
    /// The side of the square that files are cropped and resized to, if given.
    size: Option<u32>,
    /// Height and width of the first file, and that file.
    first: ((u32, u32), &'a Path),
}

impl<'a> Decoder<'a> {
    /// A decoder that crops and resizes files to `size`; without `size` it refuses files of another size than the
    /// first.
    ///
    /// # Errors
    /// As [`decode`](Self::decode) for the first file.
    pub fn new(size: Option<usize>, first: &'a Path) -> Result<Self> {
        let bytes = std::fs::read(first).map_err(|e| Error::io(first, e))?;
        let (_, _, shape) = opened(&bytes, first)?;
        Ok(Self { size: size.map(|size| size as u32), first: (shape, first) })
    }

    /// Height and width of every picture.
    pub fn shape(&self) -> (usize, usize) {
        let (height, width) = self.size.map_or(self.first.0, |size| (size, size));
        (height as usize, width as usize)
    }

    /// Decodes files in their order, on all cores.
    ///
    /// # Errors
    /// The error of the first faulty file: [`Error::Io`] if it cannot be read; [`Error::File`] if it is damaged, has
    /// too many pixels or another size than the first.
    pub fn decode(&self, paths: &[PathBuf]) -> Result<Vec<DynamicImage>> {
        let all: Vec<_> = paths.par_iter().map(|path| self.one(path)).collect();
        all.into_iter().collect()
    }

    fn one(&self, path: &Path) -> Result<DynamicImage> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let (decoder, orientation, shape) = opened(&bytes, path)?;
        if self.size.is_none() && shape != self.first.0 {
            let named = |(height, width): (u32, u32)| format!("{height}×{width}");
            let problem = format!("it is {} pixels", named(shape));
            let first = self.first.1.display();
            let expected = format!(
                "{} as in {first}, or `size`, to which all are resized",
                named(self.first.0)
            );
            return Err(Error::file(path, "picture", problem, expected));
        }
        let picture = DynamicImage::from_decoder(decoder);
        let mut picture = picture.map_err(|e| damaged(path, e.to_string()))?;
        picture.apply_orientation(orientation);
        let picture = on_white(picture);
        Ok(match self.size {
            Some(size) => resized(picture, size),
            None => picture,
        })
    }
}

/// The decoder of a file, its orientation, and its height and width after rotation.
fn opened<'a>(
    bytes: &'a [u8],
    path: &Path,
) -> Result<(impl ImageDecoder + 'a, Orientation, (u32, u32))> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(|e| Error::io(path, e))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(8 * MOST_PIXELS);
    reader.limits(limits);
    if reader.format() == Some(ImageFormat::Jpeg) && !is_whole_jpeg(bytes) {
        return Err(damaged(path, "the file ends within the picture".into()));
    }
    let fault = |e: image::ImageError| damaged(path, e.to_string());
    let mut decoder = reader.into_decoder().map_err(fault)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        let problem = format!("it is {height}×{width} pixels");
        let expected = format!("at most {MOST_PIXELS} pixels");
        return Err(Error::file(path, "picture", problem, expected));
    }
    let orientation = decoder.orientation().map_err(fault)?;
    let turned = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    Ok((decoder, orientation, if turned { (width, height) } else { (height, width) }))
}

fn damaged(path: &Path, problem: String) -> Error {
    Error::file(path, "picture", problem, "a whole PNG, JPEG or WebP file")
}

/// Whether the end marker comes after the last scan, which the decoder does not check. Neither marker occurs within a
/// scan, and the markers of a thumbnail precede those of the picture.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    last(0xd9) > last(0xda)
}

/// The picture in bytes, grey or in colour, on white.
fn on_white(picture: DynamicImage) -> DynamicImage {
    let colour = picture.color();
    let (width, height) = (picture.width(), picture.height());
    let blend = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    match (colour.has_color(), colour.has_alpha()) {
        (false, false) => picture.into_luma8().into(),
        (true, false) => picture.into_rgb8().into(),
        (false, true) => {
            let pixels = picture.into_luma_alpha8();
            GrayImage::from_fn(width, height, |x, y| {
                let [value, alpha] = pixels.get_pixel(x, y).0;
                [blend(value, alpha)].into()
            })
            .into()
        }
        (true, true) => {
            let pixels = picture.into_rgba8();
            RgbImage::from_fn(width, height, |x, y| {
                let [r, g, b, alpha] = pixels.get_pixel(x, y).0;
                [r, g, b].map(|value| blend(value, alpha)).into()
            })
            .into()
        }
    }
}

/// The greatest square in the centre, resized to `size`; it is first cropped to a multiple of the averaged squares, by
/// less than a quarter of a target pixel.
fn resized(picture: DynamicImage, size: u32) -> DynamicImage {
    let (width, height) = (picture.width(), picture.height());
    let side = width.min(height);
    let factor = (side / (REDUCED * size)).max(1);
    let side = side - side % factor;
    let mut square = match (width, height) == (side, side) {
        true => picture,
        false => picture.crop_imm((width - side) / 2, (height - side) / 2, side, side),
    };
    if factor > 1 {
        square = square.thumbnail_exact(side / factor, side / factor);
    }
    match square.width() == size {
        true => square,
        false => square.resize_exact(size, size, FilterType::Lanczos3),
    }
}
