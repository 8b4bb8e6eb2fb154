//! Decoding of picture files to bytes, grey or in colour, of one size: see [`super`].

use super::jpeg;
use crate::{Error, Result};
use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{
    DynamicImage, GrayImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage,
};
use rayon::prelude::*;
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// The most pixels of a file, so that a few bytes cannot claim all memory.
const MOST_PIXELS: u64 = 1 << 27;
/// The factor on the target size down to which squares of pixels are averaged first.
const REDUCED: u32 = 4;

/// A picture of bytes.
pub(super) struct Bitmap {
    pub picture: DynamicImage,
    /// The brightest value of a file of 16 bits.
    pub deep: Option<u16>,
}

/// A decoder of files to pictures of one size.
pub(super) struct Decoder {
    /// Height and width after cropping and resizing, if given.
    size: Option<u32>,
    /// Height and width of the first file, and that file.
    first: ((u32, u32), PathBuf),
    /// Whether damaged files are passed over.
    skip: bool,
}

impl Decoder {
    /// A decoder that crops and resizes files to `size`, or without it refuses files of another size than the first;
    /// with `skip`, than the first that is not damaged.
    ///
    /// # Errors
    /// As [`decode`](Self::decode) for the first file.
    pub fn new<'a>(
        size: Option<usize>,
        skip: bool,
        paths: impl Iterator<Item = &'a PathBuf>,
    ) -> Result<Self> {
        let size = size.map(|size| size as u32);
        let mut fault = None;
        for path in paths {
            let shape = match skip {
                true => loaded(path).map(|(picture, _)| (picture.height(), picture.width())),
                false => read(path).and_then(|bytes| Ok(opened(&bytes, path)?.2)),
            };
            match shape {
                Ok(shape) => return Ok(Self { size, first: (shape, path.clone()), skip }),
                Err(error) if !skip => return Err(error),
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        Err(fault.unwrap_or_else(|| Error::config("source", "no pictures", "at least one")))
    }

    /// Height and width of every picture.
    pub fn shape(&self) -> (usize, usize) {
        let (height, width) = self.size.map_or(self.first.0, |size| (size, size));
        (height as usize, width as usize)
    }

    /// Decodes files in their order, on all cores; gives the faults of damaged files, if they are passed over.
    ///
    /// # Errors
    /// The error of the first faulty file: [`Error::Io`] if it cannot be read; [`Error::File`] if it is damaged, has
    /// too many pixels or another size than the first.
    pub fn decode(&self, paths: &[PathBuf]) -> Result<Vec<Result<Bitmap>>> {
        let all: Vec<_> = paths.par_iter().map(|path| self.one(path)).collect();
        all.into_iter().collect()
    }

    /// A picture, or the fault of a damaged file that is passed over.
    fn one(&self, path: &Path) -> Result<Result<Bitmap>> {
        let (picture, deep) = match loaded(path) {
            Err(fault) if self.skip => return Ok(Err(fault)),
            loaded => loaded?,
        };
        let shape = (picture.height(), picture.width());
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
        let picture = match self.size {
            Some(size) => resized(picture, size),
            None => picture,
        };
        Ok(Ok(Bitmap { picture, deep }))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io(path, e))
}

/// The picture of a file, upright and on white, and its brightest value if it has 16 bits.
fn loaded(path: &Path) -> Result<(DynamicImage, Option<u16>)> {
    let bytes = read(path)?;
    let (decoder, orientation, _) = opened(&bytes, path)?;
    let picture = DynamicImage::from_decoder(decoder);
    let mut picture = picture.map_err(|e| fault(path, &e))?;
    if matches!(picture, DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_)) {
        let problem = "its values are floating-point numbers";
        return Err(Error::file(path, "picture", problem, "values of 8 or 16 bits"));
    }
    picture.apply_orientation(orientation);
    let deep = brightest(&picture);
    Ok((on_white(picture), deep))
}

/// The brightest colour or grey of a picture of 16 bits.
fn brightest(picture: &DynamicImage) -> Option<u16> {
    let (values, channels, colours) = match picture {
        DynamicImage::ImageLuma16(p) => (p.as_raw(), 1, 1),
        DynamicImage::ImageLumaA16(p) => (p.as_raw(), 2, 1),
        DynamicImage::ImageRgb16(p) => (p.as_raw(), 3, 3),
        DynamicImage::ImageRgba16(p) => (p.as_raw(), 4, 3),
        _ => return None,
    };
    values.chunks_exact(channels).flat_map(|pixel| &pixel[..colours]).copied().max()
}

/// The decoder of a file, its orientation, and its height and width after rotation.
fn opened<'a>(
    bytes: &'a [u8],
    path: &Path,
) -> Result<(impl ImageDecoder + 'a, Orientation, (u32, u32))> {
    let bytes = match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => {
            let whole = jpeg::length(bytes).and_then(|length| bytes.get(..length));
            whole.ok_or_else(|| damaged(path, "the file ends within the picture".into()))?
        }
        _ => bytes,
    };
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(|e| Error::io(path, e))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(8 * MOST_PIXELS);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| fault(path, &e))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        let problem = format!("it is {height}×{width} pixels");
        let expected = format!("at most {MOST_PIXELS} pixels");
        return Err(Error::file(path, "picture", problem, expected));
    }
    let orientation = decoder.orientation().map_err(|e| fault(path, &e))?;
    let turned = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    Ok((decoder, orientation, if turned { (width, height) } else { (height, width) }))
}

/// The error of a file that cannot be decoded.
fn fault(path: &Path, error: &ImageError) -> Error {
    match error {
        ImageError::Unsupported(_) => {
            let expected = "a kind of PNG, JPEG, WebP, BMP, TIFF or GIF that is read here";
            Error::file(path, "picture", error.to_string(), expected)
        }
        _ => damaged(path, error.to_string()),
    }
}

fn damaged(path: &Path, problem: String) -> Error {
    let expected =
        "a whole PNG, JPEG, WebP, BMP, TIFF or GIF file; `skip_damaged = true` passes over others";
    Error::file(path, "picture", problem, expected)
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
