//! Folders of pictures: PNG, JPEG and WebP files.
//!
//! A folder holds the files themselves, or a sub-folder for each class; or it holds these in `train`, with held-out
//! pictures in `test` (or else `val`). Other and hidden files are skipped.
//!
//! Values are the sRGB bytes of the files, rotated by their EXIF orientation. Transparent pixels are composited on
//! white. For one channel colours become grey by their Rec. 709 luma. `size` crops the greatest square in the centre
//! and resizes it by Lanczos's filter with three lobes. A square of eight times the size or more is first reduced to
//! four to eight times the size, by averaging squares of pixels.

mod decode;

use super::parts::Parts;
use super::{Rows, Space, Split};
use crate::{Error, Result};
use decode::Decoder;
use image::DynamicImage;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// The endings of the names of picture files.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];
/// The expectation named in an error where there are no pictures.
const EXPECTED: &str = "pictures that end in .png, .jpg, .jpeg or .webp";
/// The folders of parts: for training, and for held-out pictures (the first that exists).
const PARTS: [&str; 3] = ["train", "test", "val"];
/// The most values of a folder: 8 GiB.
const MOST_VALUES: usize = 1 << 31;
/// The greatest `size`.
const MOST_SIZE: usize = 1 << 12;

/// Options of a folder of pictures.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PictureOptions {
    /// The side of the square that all pictures are cropped and resized to; without it all must have one size.
    pub size: Option<usize>,
    /// The channels, 1 or 3; 3 if not given, unless all pictures are grey.
    pub channels: Option<usize>,
}

/// Reads a folder of pictures.
///
/// # Errors
/// [`Error::Config`] if an option cannot be used; [`Error::Io`] if a file cannot be read; [`Error::File`] if there are
/// no pictures or too many, if one is damaged or of another size than the first, if pictures lie beside the folders of
/// classes, or if a class is empty, or occurs among held-out pictures alone.
pub(super) fn read(folder: &Path, options: PictureOptions) -> Result<Parts> {
    if let Some(size) = options.size.filter(|size| !(1..=MOST_SIZE).contains(size)) {
        return Err(Error::config("size", size.to_string(), format!("from 1 to {MOST_SIZE}")));
    }
    if let Some(channels) = options.channels.filter(|channels| ![1, 3].contains(channels)) {
        return Err(Error::config("channels", channels.to_string(), "1 or 3"));
    }
    let top = Listing::of(folder)?;
    let part = |name: &str| top.folders.iter().find(|path| is_called(path, name));
    let only_parts = top.files.is_empty()
        && top.folders.iter().all(|path| PARTS.iter().any(|name| is_called(path, name)));
    let (train, held_out) = match part(PARTS[0]).filter(|_| only_parts) {
        None => (Files::of(folder, top)?, None),
        Some(train) => {
            let train = Files::of(train, Listing::of(train)?)?;
            let held_out = PARTS[1..].iter().find_map(|name| part(name));
            let held_out = held_out.map(|path| Files::of(path, Listing::of(path)?)?.under(&train));
            (train, held_out.transpose()?)
        }
    };
    let first = &train.paths[0];
    let decoder = Decoder::new(options.size, first)?;
    let count = train.paths.len() + held_out.as_ref().map_or(0, |files| files.paths.len());
    let (height, width) = decoder.shape();
    let most = MOST_VALUES / (options.channels.unwrap_or(3) * height * width).max(1);
    if count > most {
        let problem = format!("there are {count} pictures of {height}×{width} pixels");
        let expected = format!("at most {most}, or a smaller `size`");
        return Err(Error::file(folder, "pictures", problem, expected));
    }
    let pictures = decoder.decode(&train.paths)?;
    let others = held_out.as_ref().map(|files| decoder.decode(&files.paths)).transpose()?;
    let all_grey = pictures.iter().chain(others.iter().flatten()).all(|p| !p.color().has_color());
    let channels = options.channels.unwrap_or(if all_grey { 1 } else { 3 });
    let held_out = match (held_out, others) {
        (Some(files), Some(others)) => Some(Split::new(rows(others, channels)?, files.labels)?),
        _ => None,
    };
    let space = Space::image(channels, height, width, 256)?.with_classes(train.classes);
    Ok(Parts { space, train: Split::new(rows(pictures, channels)?, train.labels)?, held_out })
}

/// Pictures of equal size as rows, channel by channel.
fn rows(pictures: Vec<DynamicImage>, channels: usize) -> Result<Rows> {
    let width = pictures.first().map_or(1, |p| channels * p.width() as usize * p.height() as usize);
    let mut values = vec![0.0; pictures.len() * width];
    values.par_chunks_exact_mut(width).zip(pictures).for_each(|(row, picture)| {
        let bytes = match channels {
            1 => picture.into_luma8().into_raw(),
            _ => picture.into_rgb8().into_raw(),
        };
        for (c, channel) in row.chunks_exact_mut(width / channels).enumerate() {
            let own = bytes.iter().skip(c).step_by(channels);
            channel.iter_mut().zip(own).for_each(|(value, &byte)| *value = f32::from(byte));
        }
    });
    Rows::new(values, width)
}

/// The pictures and the folders in a folder, by name.
struct Listing {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Listing {
    fn of(folder: &Path) -> Result<Self> {
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
            let path = entry.map_err(|e| Error::io(folder, e))?.path();
            let hidden = path.file_name().is_none_or(|n| n.to_string_lossy().starts_with('.'));
            let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            if path.is_dir() && !hidden {
                folders.push(path);
            } else if ENDINGS.contains(&ending.as_str()) && !hidden {
                files.push(path);
            }
        }
        files.sort_unstable();
        folders.sort_unstable();
        Ok(Self { files, folders })
    }
}

/// The pictures of one part with their classes.
struct Files {
    paths: Vec<PathBuf>,
    labels: Option<Vec<u32>>,
    classes: Vec<String>,
    folder: PathBuf,
}

impl Files {
    /// The files of a folder, or of its sub-folders as classes.
    fn of(folder: &Path, listing: Listing) -> Result<Self> {
        let Listing { files: mut paths, folders } = listing;
        let (mut labels, mut classes) = (Vec::new(), Vec::new());
        let side_by_side = !paths.is_empty();
        for path in folders {
            let inside = Listing::of(&path)?.files;
            if side_by_side && !inside.is_empty() {
                let problem = "there are pictures both here and in folders";
                let expected = "one or the other: folders are classes";
                return Err(Error::file(folder, "directory", problem, expected));
            }
            if !side_by_side && inside.is_empty() {
                let problem = "there are no pictures of this class";
                return Err(Error::file(path, "directory", problem, EXPECTED));
            }
            labels.extend(inside.iter().map(|_| classes.len() as u32));
            paths.extend(inside);
            classes.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
        if paths.is_empty() {
            let expected = format!("{EXPECTED}, or the files of MNIST or CIFAR");
            return Err(Error::file(folder, "directory", "there are no pictures", expected));
        }
        if side_by_side {
            classes.clear();
        }
        let labels = (!side_by_side).then_some(labels);
        Ok(Self { paths, labels, classes, folder: folder.to_path_buf() })
    }

    /// The same files with labels by the classes of another part.
    fn under(mut self, other: &Self) -> Result<Self> {
        let fault = |problem: String, expected: String| {
            Err(Error::file(&self.folder, "directory", problem, expected))
        };
        let expected = || format!("the classes of {}", other.folder.display());
        if self.labels.is_some() != other.labels.is_some() {
            return fault("only one of the two parts has folders of classes".into(), expected());
        }
        let mut numbers = Vec::with_capacity(self.classes.len());
        for class in &self.classes {
            match other.classes.iter().position(|known| known == class) {
                Some(number) => numbers.push(number as u32),
                None => return fault(format!("there is a class '{class}'"), expected()),
            }
        }
        self.labels.iter_mut().flatten().for_each(|label| *label = numbers[*label as usize]);
        Ok(self)
    }
}

fn is_called(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|own| own == name)
}
