//! Samples beside the training pictures nearest to them.

use super::Grid;
use crate::data::{Layout, Rows, Space};
use crate::metric::copies::Match;
use crate::{Error, Result};
use image::RgbImage;

/// The number of samples shown.
const SHOWN: usize = 12;
/// The approximate width of a picture in pixels.
const SIDE: usize = 96;

/// One line for each of the first 12 matches ([`crate::metric::copies::matches`] puts those most like copies first):
/// the sample, the training picture nearest to it, and the training picture nearest to that one. Each line is labelled
/// with both distances, sample to training picture and training picture to the other.
///
/// # Errors
/// [`Error::Undefined`] if the rows are no pictures; [`Error::Shape`] if there is no match, or one names a row that is
/// not there; those of [`Grid`].
pub fn nearest(
    space: &Space,
    samples: &Rows,
    training: &Rows,
    matches: &[Match],
) -> Result<RgbImage> {
    let Layout::Image { channels, height, width } = space.layout() else {
        return Err(Error::undefined("a picture of a row", "the rows are no pictures"));
    };
    let shown = &matches[..matches.len().min(SHOWN)];
    let mut rows = Vec::with_capacity(3 * shown.len() * space.width());
    for found in shown {
        for (from, at) in [
            (samples, found.sample),
            (training, found.nearest.index),
            (training, found.other.index),
        ] {
            if at >= from.len() {
                return Err(Error::shape(
                    "match",
                    format!("row {at}"),
                    format!("{} rows", from.len()),
                ));
            }
            rows.extend_from_slice(from.row(at));
        }
    }
    let name = |m: &Match| format!("{} ({})", short(m.nearest.distance), short(m.other.distance));
    let names: Vec<String> = shown.iter().map(name).collect();
    let max = space.coordinate(0).highest().unwrap_or(255.0) as f32;
    let zoom = (SIDE as f64 / width.max(height).max(1) as f64).round().max(1.0) as u32;
    let columns = ["sample", "nearest", "its own"].map(String::from);
    let grid = Grid::new(&Rows::new(rows, samples.width())?, [channels, height, width], max)?;
    grid.columns(3).zoom(zoom).row_names(&names).column_names(&columns).draw()
}

/// A distance in three digits or all before the point.
fn short(distance: f64) -> String {
    let digits = if distance == 0.0 { 0.0 } else { 2.0 - distance.log10().floor() };
    format!("{distance:.*}", digits.clamp(0.0, 6.0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::copies::matches;

    #[test]
    fn each_line_holds_the_sample_and_its_two_training_pictures() {
        let picture = |seed: usize| (0..64).map(move |i| ((i * 7 + seed * 5) % 17) as f32);
        let training = Rows::new((0..40).flat_map(picture).collect(), 64).unwrap();
        let mut samples = training.select(&[4, 30]);
        samples.values_mut()[3] += 2.0;
        let found = matches(&samples, &training).unwrap();
        let space = Space::image(1, 8, 8, 17).unwrap();
        let image = nearest(&space, &samples, &training, &found).unwrap();
        let left = image.width() - 3 * 96 - 4 * 4;
        let top = image.height() - 2 * 96 - 3 * 4;
        for (line, found) in found.iter().enumerate() {
            let rows = [
                samples.row(found.sample),
                training.row(found.nearest.index),
                training.row(found.other.index),
            ];
            for (column, row) in rows.into_iter().enumerate() {
                for (i, value) in row.iter().enumerate() {
                    let x = left + 4 + column as u32 * 100 + 12 * (i as u32 % 8) + 6;
                    let y = top + 4 + line as u32 * 100 + 12 * (i as u32 / 8) + 6;
                    let expected = (255.0 * value.min(16.0) / 16.0).round() as u8;
                    assert_eq!(image.get_pixel(x, y).0, [expected; 3], "{line} {column} {i}");
                }
            }
        }
        assert_eq!((found[0].sample, found[0].ratio()), (1, 0.0));
    }

    #[test]
    fn what_cannot_be_shown_is_refused() {
        let rows = Rows::new(vec![1.0; 12], 4).unwrap();
        let found = matches(&rows, &rows).unwrap();
        let space = Space::image(1, 2, 2, 17).unwrap();
        assert!(nearest(&space, &rows, &rows.slice(0..1), &found[1..]).is_err());
        assert!(nearest(&space, &rows, &rows, &[]).is_err());
        let table = Space::vector(&["a", "b", "c", "d"]).unwrap();
        assert!(matches!(nearest(&table, &rows, &rows, &found), Err(Error::Undefined { .. })));
    }

    #[test]
    fn distances_are_short() {
        let shown = [0.0, 0.012345, 1.2345, 123.45, 12345.6].map(short);
        assert_eq!(shown, ["0", "0.0123", "1.23", "123", "12346"]);
    }
}
