//! Folders of pictures: PNG, JPEG, WebP, BMP, TIFF and GIF files (of several pictures in a file the first).
//!
//! A folder holds the files themselves, or folders of classes, which may lie inside each other: a class is then the
//! path of its folder, as in `birds/wren`. Folders `train` (or `training`), `valid` (`val`, `validation`) and `test`
//! (`testing`), in any case, are parts; they may lie within one folder more, or within each class. Pictures of `test`
//! are held out, and pictures of `valid` are the validation rows; without `test` they are held out in its place.
//! Files of other endings, hidden files and folders without pictures are passed over, with a note.
//!
//! Values are the sRGB bytes of the files, rotated by their EXIF orientation. Transparent pixels are composited on
//! white. For one channel colours become grey by their Rec. 709 luma. `size` crops the greatest square in the centre
//! and resizes it by Lanczos's filter with three lobes. A square of eight times the size or more is first reduced to
//! four to eight times the size, by averaging squares of pixels.

mod decode;
mod jpeg;
mod listing;

use super::parts::Parts;
use super::{Rows, Space, Split};
use crate::{Error, Result};
use decode::{Bitmap, Decoder};
use image::DynamicImage;
use listing::{Files, Listing};
use rayon::prelude::*;
use std::path::Path;

/// Most values of a folder: 8 GiB.
const MOST_VALUES: usize = 1 << 31;
/// The greatest `size`.
const MOST_SIZE: usize = 1 << 12;
/// Share of the range below which the brightest value of all pictures gives a note.
const DARK: u16 = 8;
/// Most damaged files named in a note.
const SHOWN: usize = 5;

/// Options of a folder of pictures.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PictureOptions {
    /// The side of the square that all pictures are cropped and resized to; without it all must have one size.
    pub size: Option<usize>,
    /// The channels, 1 or 3; 3 if not given, unless all pictures are grey.
    pub channels: Option<usize>,
    /// Whether damaged files are passed over, with a note, in place of an error.
    pub skip_damaged: bool,
}

/// Reads a folder of pictures.
///
/// # Errors
/// [`Error::Config`] if an option cannot be used; [`Error::Io`] if a file cannot be read; [`Error::File`] if there are
/// no pictures or too many, if one is damaged or of another size than the first, if pictures lie beside the folders of
/// classes, or if a class occurs among held-out pictures alone.
pub(super) fn read(folder: &Path, options: PictureOptions) -> Result<Parts> {
    if let Some(size) = options.size.filter(|size| !(1..=MOST_SIZE).contains(size)) {
        return Err(Error::config("size", size.to_string(), format!("from 1 to {MOST_SIZE}")));
    }
    if let Some(channels) = options.channels.filter(|channels| ![1, 3].contains(channels)) {
        return Err(Error::config("channels", channels.to_string(), "1 or 3"));
    }
    let listing = Listing::of(folder)?;
    let decoder = Decoder::new(options.size, options.skip_damaged, listing.paths())?;
    let count = listing.paths().count();
    let (height, width) = decoder.shape();
    let most = MOST_VALUES / (options.channels.unwrap_or(3) * height * width).max(1);
    if count > most {
        let problem = format!("there are {count} pictures of {height}×{width} pixels");
        let expected = format!("at most {most}, or a smaller `size`");
        return Err(Error::file(folder, "pictures", problem, expected));
    }
    let mut notes = listing.notes;
    let mut faults = Vec::new();
    let mut decode = |files: Files| -> Result<Pictures> {
        let all = decoder.decode(&files.paths)?;
        Ok(Pictures::of(files, all, &mut faults))
    };
    let train = decode(listing.train)?;
    let validation = listing.validation.map(&mut decode).transpose()?;
    let test = listing.test.map(&mut decode).transpose()?;
    if train.pictures.is_empty() {
        let expected = "at least one to train on that is not damaged";
        return Err(Error::file(&train.folder, "pictures", "all are damaged", expected));
    }
    notes.extend(damaged(folder, &faults));
    let classes = train.class_names();
    let all = || std::iter::once(&train).chain(&validation).chain(&test).flat_map(|p| &p.pictures);
    let all_grey = all().all(|one| !one.picture.color().has_color());
    let channels = options.channels.unwrap_or(if all_grey { 1 } else { 3 });
    let deep = all().filter_map(|one| one.deep).max();
    let known = (&classes, train.folder.clone());
    let held_out = |part: Option<Pictures>| {
        part.filter(|part| !part.pictures.is_empty())
            .map(|part| part.under(known.0, &known.1)?.split(known.0, channels))
            .transpose()
    };
    let (validation, held_out) = (held_out(validation)?, held_out(test)?);
    let train = train.split(&classes, channels)?;
    let parts = [Some(&train), validation.as_ref(), held_out.as_ref()];
    let values = parts.into_iter().flatten().flat_map(|part| part.rows().values());
    let brightest = values.fold(0.0f32, |most, value| most.max(*value));
    notes.extend(dark(folder, deep, brightest));
    let space = Space::image(channels, height, width, 256)?.with_classes(classes);
    Ok(Parts { space, train, held_out, validation, notes })
}

/// A note on files that are passed over since they are damaged.
fn damaged(folder: &Path, faults: &[Error]) -> Option<String> {
    let (first, at) = (faults.first()?, folder.display());
    let names = faults.iter().take(SHOWN).map(|fault| match fault {
        Error::Io { path, .. } | Error::File { path, .. } => {
            path.strip_prefix(folder).unwrap_or(path).display().to_string()
        }
        other => other.to_string(),
    });
    let names: Vec<String> = names.collect();
    let more = match faults.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let count = faults.len();
    Some(format!("{at}: passed over {count} damaged: {}{more} (first: {first})", names.join(", ")))
}

/// A note on pictures that are almost black; `deep` is the brightest value of pictures of 16 bits, if there are some.
fn dark(folder: &Path, deep: Option<u16>, brightest: f32) -> Option<String> {
    let at = folder.display();
    match deep {
        Some(most) if most > 0 && most < u16::MAX / DARK => {
            let factor = 1u32 << (u16::MAX / most).ilog2();
            let bits = u16::BITS - most.leading_zeros();
            Some(format!(
                "{at}: the brightest value of pictures of 16 bits is {most} of 65535, so that they are almost \
                 black; values of {bits} bits fill the range once multiplied by {factor}"
            ))
        }
        Some(_) => None,
        None => (brightest < f32::from(u8::MAX) / f32::from(DARK)).then(|| {
            format!("{at}: the brightest value is {brightest} of 255, so that all pictures are almost black")
        }),
    }
}

/// The decoded pictures of one part.
struct Pictures {
    pictures: Vec<Bitmap>,
    /// The class of each, if folders are classes.
    classes: Option<Vec<String>>,
    folder: std::path::PathBuf,
}

impl Pictures {
    /// The pictures that could be decoded; the faults of the others are added to `faults`.
    fn of(files: Files, all: Vec<Result<Bitmap>>, faults: &mut Vec<Error>) -> Self {
        let Files { classes, folder, .. } = files;
        let good: Vec<bool> = all.iter().map(Result::is_ok).collect();
        let classes = classes.map(|all| {
            all.into_iter().zip(&good).filter(|(_, good)| **good).map(|(class, _)| class).collect()
        });
        let mut pictures = Vec::with_capacity(all.len());
        for one in all {
            match one {
                Ok(picture) => pictures.push(picture),
                Err(fault) => faults.push(fault),
            }
        }
        Self { pictures, classes, folder }
    }

    /// The names of classes, in the order of their folders.
    fn class_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for class in self.classes.iter().flatten() {
            // Pictures of a class follow each other.
            if names.last() != Some(class) && !names.contains(class) {
                names.push(class.clone());
            }
        }
        names
    }

    /// The same, unless its classes are not among those of the training part in `folder`.
    fn under(self, known: &[String], folder: &Path) -> Result<Self> {
        let fault = |problem: String| {
            let expected = format!("the classes of {}", folder.display());
            Err(Error::file(&self.folder, "directory", problem, expected))
        };
        if self.classes.is_some() == known.is_empty() {
            return fault("only one of the two parts has folders of classes".into());
        }
        match self.class_names().into_iter().find(|class| !known.contains(class)) {
            Some(class) => fault(format!("there is a class '{class}'")),
            None => Ok(self),
        }
    }

    /// Rows with labels, the places of classes among `known`.
    fn split(self, known: &[String], channels: usize) -> Result<Split> {
        let places: std::collections::HashMap<&String, u32> = known.iter().zip(0..).collect();
        let labels = self.classes.map(|all| all.iter().map(|class| places[class]).collect());
        Split::new(
            rows(self.pictures.into_iter().map(|one| one.picture).collect(), channels)?,
            labels,
        )
    }
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
