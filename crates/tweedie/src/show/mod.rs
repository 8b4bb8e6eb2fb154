//! What people look at: grids of pictures, plots, and reports that hold them.
//!
//! All pictures are 8-bit sRGB on white, with colours that colour-blind readers can tell apart and a font of their
//! own, so that they look the same on every machine. Files are written whole or not at all.

mod axis;
mod canvas;
mod colour;
mod compare;
mod draw;
mod frame;
mod grid;
mod layer;
mod nearest;
mod plot;
mod report;
mod samples;

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, RgbImage};

pub use compare::{Set, histograms, pair_plot, side_by_side};
pub use draw::panels;
pub use grid::Grid;
pub use nearest::nearest;
pub use plot::Plot;
pub use report::Report;
pub use samples::picture;

use crate::files::write_atomically;
use crate::{Error, Result};

/// The picture as the bytes of a PNG file.
///
/// # Errors
/// [`Error::Io`] if the picture has no pixels.
pub fn png_bytes(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    let written = picture.write_to(&mut bytes, ImageFormat::Png);
    written.map_err(|e| Error::io("picture", std::io::Error::other(e)))?;
    Ok(bytes.into_inner())
}

/// Writes the picture as a PNG file, whole or not at all: it is written beside the file and then renamed.
///
/// # Errors
/// [`Error::Io`] if the folder or the file cannot be written.
pub fn save_png(picture: &RgbImage, path: impl AsRef<Path>) -> Result<()> {
    write_atomically(path, &png_bytes(picture)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        let picture = RgbImage::from_fn(9, 4, |x, y| image::Rgb([x as u8, y as u8, 77]));
        std::fs::write(&path, "old").unwrap();
        save_png(&picture, &path).unwrap();
        let read = image::load_from_memory(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read.into_rgb8(), picture);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let absent = folder.path().join("absent").join("picture.png");
        assert!(matches!(save_png(&picture, absent), Err(Error::Io { .. })));
        // A folder cannot be replaced by a file: the old content stays, and nothing else.
        assert!(save_png(&picture, folder.path()).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(png_bytes(&RgbImage::new(0, 3)).is_err());
    }
}
