//! Animated PNG files: browsers play them, other viewers show the last frame.

use crate::files::write_atomically;
use crate::{Error, Result};
use image::RgbImage;
use png::{BitDepth, ColorType, Encoder, EncodingError, SrgbRenderingIntent};
use std::path::Path;

/// Frames of an endless loop.
#[derive(Debug, Clone)]
pub struct Animation {
    /// The frames, all of one size.
    pub frames: Vec<RgbImage>,
    /// The duration of a frame, in hundredths of a second.
    pub each: u16,
    /// The duration of the last frame, in hundredths of a second.
    pub last: u16,
}

impl Animation {
    /// The animation as the bytes of a PNG file. Viewers without animation show the last frame.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are no frames or they differ in size; [`Error::Io`] if they have no pixels.
    pub fn png_bytes(&self) -> Result<Vec<u8>> {
        let (first, last) = match &self.frames[..] {
            [first, .., last] => (first, last),
            [only] => (only, only),
            [] => return Err(Error::shape("frames of an animation", 0, "at least one")),
        };
        if let Some(other) = self.frames.iter().find(|f| f.dimensions() != first.dimensions()) {
            let size = |f: &RgbImage| format!("{} × {}", f.width(), f.height());
            return Err(Error::shape("frames of an animation", size(other), size(first)));
        }
        let mut bytes = Vec::new();
        let failed = |e: EncodingError| Error::io("animation", std::io::Error::other(e));
        self.encode(last, &mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    fn encode(
        &self,
        still: &RgbImage,
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), EncodingError> {
        let mut encoder = Encoder::new(out, still.width(), still.height());
        encoder.set_color(ColorType::Rgb);
        encoder.set_depth(BitDepth::Eight);
        encoder.set_source_srgb(SrgbRenderingIntent::Perceptual);
        encoder.set_compression(png::Compression::High);
        let frames = u32::try_from(self.frames.len()).unwrap_or(u32::MAX);
        encoder.set_animated(frames, 0)?;
        encoder.set_sep_def_img(true)?;
        let mut writer = encoder.write_header()?;
        writer.write_image_data(still.as_raw())?;
        for (k, frame) in self.frames.iter().enumerate() {
            let end = k + 1 == self.frames.len();
            writer.set_frame_delay(if end { self.last } else { self.each }, 100)?;
            writer.write_image_data(frame.as_raw())?;
        }
        writer.finish()
    }
}

/// Writes an animation as a PNG file, atomically.
///
/// # Errors
/// As [`Animation::png_bytes`]; [`Error::Io`] if the folder or the file cannot be written.
pub fn save_animation(animation: &Animation, path: impl AsRef<Path>) -> Result<()> {
    write_atomically(path, &animation.png_bytes()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(colour: u8) -> RgbImage {
        RgbImage::from_pixel(20, 10, image::Rgb([colour, 0, 255 - colour]))
    }

    #[test]
    fn frames_come_back_after_a_still_of_the_last() {
        let frames: Vec<RgbImage> = [0, 90, 250].map(plain).into();
        let animation = Animation { frames: frames.clone(), each: 4, last: 150 };
        let bytes = animation.png_bytes().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let control = reader.info().animation_control.unwrap();
        assert_eq!((control.num_frames, control.num_plays), (3, 0));
        let mut values = vec![0; reader.output_buffer_size().unwrap()];
        let mut next = || {
            reader.next_frame(&mut values).unwrap();
            let delay = reader.info().frame_control.map(|c| (c.delay_num, c.delay_den));
            (RgbImage::from_raw(20, 10, values.clone()).unwrap(), delay)
        };
        assert_eq!(next().0, frames[2]);
        let shown: Vec<_> = (0..3).map(|_| next()).collect();
        assert!(shown.iter().map(|(frame, _)| frame).eq(&frames));
        let delays: Vec<_> = shown.iter().map(|(_, delay)| delay.unwrap()).collect();
        assert_eq!(delays, [(4, 100), (4, 100), (150, 100)]);
    }

    #[test]
    fn frames_must_be_there_and_of_one_size() {
        let of = |frames| Animation { frames, each: 4, last: 4 }.png_bytes();
        assert!(matches!(of(vec![]), Err(Error::Shape { .. })));
        assert!(matches!(of(vec![plain(1), RgbImage::new(3, 3)]), Err(Error::Shape { .. })));
        assert!(of(vec![RgbImage::new(0, 3)]).is_err());
        assert!(of(vec![plain(1)]).is_ok());
    }
}
