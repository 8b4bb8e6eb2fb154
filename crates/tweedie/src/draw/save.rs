//! PNG files: 8-bit RGB with an sRGB chunk, so that every viewer shows the same colours.

use crate::files::write_atomically;
use crate::{Error, Result};
use image::RgbImage;
use png::{BitDepth, ColorType, Encoder, SrgbRenderingIntent};
use std::path::Path;

/// The picture as the bytes of a PNG file.
///
/// # Errors
/// [`Error::Io`] if the picture has no pixels.
pub fn png_bytes(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    encode(picture, &mut bytes).map_err(|e| Error::io("picture", std::io::Error::other(e)))?;
    Ok(bytes)
}

fn encode(picture: &RgbImage, out: &mut Vec<u8>) -> std::result::Result<(), png::EncodingError> {
    let mut encoder = Encoder::new(out, picture.width(), picture.height());
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_source_srgb(SrgbRenderingIntent::Perceptual);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.as_raw())?;
    writer.finish()
}

/// Writes the picture as a PNG file, atomically.
///
/// # Errors
/// [`Error::Io`] if the folder or the file cannot be written.
pub fn save_png(picture: &RgbImage, path: impl AsRef<Path>) -> Result<()> {
    write_atomically(path, &png_bytes(picture)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> RgbImage {
        RgbImage::from_fn(256, 4, |x, y| image::Rgb([x as u8, 255 - x as u8, y as u8]))
    }

    #[test]
    fn files_are_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        std::fs::write(&path, "old").unwrap();
        save_png(&ramp(), &path).unwrap();
        let read = image::load_from_memory(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read.into_rgb8(), ramp());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let absent = folder.path().join("absent").join("picture.png");
        assert!(matches!(save_png(&ramp(), absent), Err(Error::Io { .. })));
        // A folder cannot be replaced by a file: the old content stays, and nothing else.
        assert!(save_png(&ramp(), folder.path()).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(png_bytes(&RgbImage::new(0, 3)).is_err());
    }

    #[test]
    fn files_say_that_they_are_srgb() {
        let bytes = png_bytes(&ramp()).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        assert_eq!(reader.info().srgb, Some(SrgbRenderingIntent::Perceptual));
        // The decoder does nothing to the bytes on account of it.
        let mut values = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut values).unwrap();
        assert_eq!(&values, ramp().as_raw());
        // The chunk itself, before the pixels: 1 byte long, intent 0.
        let place = |name: &[u8; 4]| bytes.windows(4).position(|w| w == name).unwrap();
        let at = place(b"sRGB");
        assert!(at < place(b"IDAT"));
        assert_eq!((&bytes[at - 4..at], bytes[at + 4]), (&[0, 0, 0, 1][..], 0));
    }
}
