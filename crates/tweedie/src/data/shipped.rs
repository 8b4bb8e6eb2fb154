//! Data sets shipped with the program, each with a recorded split and, in its directory, its licence.
//!
//! Wine is the example of a table: its columns have plain names, some are integers, its three classes are well
//! separated, and a reader can tell whether a generated wine is plausible.

use super::parts::channels_first;
use super::table::{self, Table, TableOptions};
use super::{Dataset, Rows, Space, Split};
use crate::{Error, Result};
use image::ImageFormat;
use std::io::Read;
use std::path::Path;

const DIGITS: &[u8] = include_bytes!("../../../../data/digits/digits.csv.gz");
const DIGITS_HELD_OUT: &str = include_str!("../../../../data/digits/held_out.txt");
const WINE: &[u8] = include_bytes!("../../../../data/wine/wine.csv");
const WINE_HELD_OUT: &str = include_str!("../../../../data/wine/held_out.txt");
const EMOJI: &[u8] = include_bytes!("../../../../data/emoji/emoji.webp");
const EMOJI_NAMES: &str = include_str!("../../../../data/emoji/emoji.csv");
const EMOJI_HELD_OUT: &str = include_str!("../../../../data/emoji/held_out.txt");
/// Height and width of an emoji.
const EMOJI_SIDE: usize = 32;

/// Names and descriptions of the shipped data sets.
pub(super) const NAMES: [(&str, &str); 3] = [
    ("digits", "1,797 handwritten digits, 8×8 pixels of 17 levels, 10 classes; 600 held out"),
    ("wine", "178 wines, 13 measurements, 3 cultivars; 36 held out"),
    ("emoji", "1,911 Noto emoji, 32×32 pixels in colour, 10 categories; 300 held out"),
];

/// Handwritten digits: 1,197 to train on and 600, 60 of each digit, held out; 8×8 pixels with values 0 to 16.
///
/// Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998; by way of scikit-learn.
///
/// # Errors
/// None in practice: the data are part of the program.
pub fn digits() -> Result<Dataset> {
    let label = Some("last".into());
    let options = TableOptions { label, pixels: true, ..TableOptions::default() };
    let table = read(DIGITS, "digits.csv.gz", &options)?;
    let space = Space::image(1, 8, 8, 17)?.with_classes(table.space.classes().to_vec());
    let (train, held_out) = recorded(&table.rows, DIGITS_HELD_OUT, "digits")?;
    Dataset::new("digits", space, train, held_out)
}

/// Wines of three cultivars: 142 to train on and 36 held out; 13 measurements, two of them integers.
///
/// Aeberhard and Forina, "Wine", UCI, 1992; by way of scikit-learn.
///
/// # Errors
/// None in practice: the data are part of the program.
pub fn wine() -> Result<Dataset> {
    let options = TableOptions { label: Some("cultivar".into()), ..TableOptions::default() };
    let table = read(WINE, "wine.csv", &options)?;
    let (train, held_out) = recorded(&table.rows, WINE_HELD_OUT, "wine")?;
    let space = table.space.fitted(train.rows())?.covering(held_out.rows())?;
    Dataset::new("wine", space, train, held_out)
}

/// Emoji by their categories: 1,611 to train on and 300 held out; 3×32×32 sRGB bytes, on white.
///
/// Google, "Noto Emoji"; by way of emoji-datasource-google.
///
/// # Errors
/// None in practice: the data are part of the program.
pub fn emoji() -> Result<Dataset> {
    let fault = |problem: String| Error::file("emoji.webp", "picture", problem, "tiles of emoji");
    let sheet = image::load_from_memory_with_format(EMOJI, ImageFormat::WebP)
        .map_err(|e| fault(e.to_string()))?
        .into_rgb8();
    let across = sheet.width() as usize / EMOJI_SIDE;
    let line = 3 * EMOJI_SIDE;
    let mut values = Vec::with_capacity(sheet.len());
    for band in sheet.as_raw().chunks_exact(EMOJI_SIDE * line * across) {
        for tile in 0..across {
            let lines = band.chunks_exact(line * across).map(|all| &all[tile * line..][..line]);
            values.extend(lines.flatten().map(|&byte| f32::from(byte)));
        }
    }
    let mut rows = Rows::new(values, line * EMOJI_SIDE)?;
    channels_first(&mut rows, 3);
    let names: Vec<&str> =
        EMOJI_NAMES.lines().skip(1).filter_map(|l| Some(l.split_once(',')?.1)).collect();
    let mut classes: Vec<String> = names.iter().map(ToString::to_string).collect();
    classes.sort_unstable();
    classes.dedup();
    let label = |name: &&str| classes.partition_point(|class| class.as_str() < *name) as u32;
    let all = Split::new(rows, Some(names.iter().map(label).collect()))?;
    let (train, held_out) = recorded(&all, EMOJI_HELD_OUT, "emoji")?;
    let space = Space::image(3, EMOJI_SIDE, EMOJI_SIDE, 256)?.with_classes(classes);
    Dataset::new("emoji", space, train, held_out)
}

fn read(bytes: &[u8], name: &str, options: &TableOptions) -> Result<Table> {
    let gz = name.ends_with(".gz");
    let plain: Box<dyn Read> =
        if gz { Box::new(flate2::read::GzDecoder::new(bytes)) } else { Box::new(bytes) };
    table::parse(plain, Path::new(name), options)
}

/// All rows in two parts; the second has the rows whose numbers are listed in `held_out`, one per line, in order.
fn recorded(all: &Split, held_out: &str, name: &str) -> Result<(Split, Split)> {
    let mut held = vec![false; all.len()];
    for line in held_out.lines() {
        let row = line.parse().ok().and_then(|row: usize| held.get_mut(row));
        *row.ok_or_else(|| Error::file("held_out.txt", name, line, "a row's number"))? = true;
    }
    let (held, kept): (Vec<usize>, Vec<usize>) = (0..all.len()).partition(|&i| held[i]);
    Ok((all.select(&kept), all.select(&held)))
}
