//! Pictures of samples, by their space: a grid of images, a scatter plot, or a pair plot.

use super::{Grid, pair_plot, side_by_side};
use crate::Result;
use crate::data::{Kind, Layout, Rows, Space, Split};
use image::RgbImage;

/// Pictures of each class in a grid.
pub(super) const PER_CLASS: usize = 10;
/// Pictures in a grid without classes.
pub(super) const UNLABELLED: usize = 64;
/// Most classes that are all shown; of more, [`SPREAD`] are.
const MOST_CLASSES: usize = 12;
const SPREAD: usize = 10;

/// The classes shown in pictures: all of up to 12, else 10 spread evenly from the first to the last.
pub fn chosen_classes(classes: usize) -> Vec<u32> {
    let all = 0..classes as u32;
    if classes <= MOST_CLASSES {
        return all.collect();
    }
    let place = |i: usize| (i * (classes - 1) + (SPREAD - 1) / 2) / (SPREAD - 1);
    (0..SPREAD).map(|i| place(i) as u32).collect()
}

/// Draws raw rows; `real` rows stand beside points and tables, for comparison.
///
/// Images with labels become one line of pictures per class.
///
/// # Errors
/// Errors of [`Grid`], [`side_by_side`] and [`pair_plot`].
pub fn picture(space: &Space, generated: &Split, real: Option<&Rows>) -> Result<RgbImage> {
    if matches!(space.layout(), Layout::Image { .. }) {
        return grid(space, generated)?.draw();
    }
    // There are as many real rows as generated ones, for a fair comparison by eye.
    let real = real.filter(|r| !r.is_empty()).map(|r| r.slice(0..r.len().min(generated.len())));
    let mut sets: Vec<(&str, &Rows)> = real.iter().map(|real| ("real", real)).collect();
    sets.push(("generated", generated.rows()));
    let names: Vec<String> = (0..space.width()).map(|j| space.column_name(j)).collect();
    match &names[..] {
        [x, y] => side_by_side(&sets, x, y),
        _ => {
            let shown = names.len().min(6);
            let first = |rows: &Rows| {
                let values = rows.iter().flat_map(|row| row[..shown].to_vec()).collect();
                Rows::new(values, shown)
            };
            let cut: Vec<(&str, Rows)> =
                sets.iter().map(|(name, rows)| Ok((*name, first(rows)?))).collect::<Result<_>>()?;
            let sets: Vec<(&str, &Rows)> = cut.iter().map(|(name, rows)| (*name, rows)).collect();
            pair_plot(&names[..shown], &sets)
        }
    }
}

fn grid(space: &Space, images: &Split) -> Result<Grid> {
    let classes = space.classes();
    let labels = images.labels().unwrap_or_default();
    let mut of_class = vec![Vec::new(); classes.len()];
    for (i, &label) in labels.iter().enumerate() {
        if let Some(rows) = of_class.get_mut(label as usize) {
            rows.push(i);
        }
    }
    let mut counts: Vec<usize> = of_class.iter().map(Vec::len).filter(|n| *n > 0).collect();
    counts.sort_unstable();
    if counts.len() < 2 {
        let shown: Vec<usize> = (0..images.len().min(UNLABELLED)).collect();
        return pictures(space, &images.rows().select(&shown));
    }
    // As many of each class as most classes have.
    let columns = counts[counts.len() / 2].min(PER_CLASS);
    let full: Vec<usize> = (0..classes.len()).filter(|&k| of_class[k].len() >= columns).collect();
    let lines = chosen_classes(full.len()).into_iter().map(|k| full[k as usize]);
    let (mut shown, mut names) = (Vec::new(), Vec::new());
    for class in lines {
        shown.extend_from_slice(&of_class[class][..columns]);
        names.push(classes[class].clone());
    }
    Ok(pictures(space, &images.rows().select(&shown))?.columns(columns).row_names(&names))
}

/// A grid of raw rows of an image space, whatever its values and channels: the least value is black, the greatest
/// white, real values within two standard deviations from black to white; of two channels the first is shown, of more
/// than three the first three.
pub(super) fn pictures(space: &Space, rows: &Rows) -> Result<Grid> {
    let shape = match space.layout() {
        Layout::Image { channels, height, width } => [channels, height, width],
        Layout::Vector { width } => [1, 1, width],
    };
    let pixel = space.coordinate(0);
    let (low, high) = match &pixel.kind {
        Kind::Real => (pixel.shift - 2.0 * pixel.scale, pixel.shift + 2.0 * pixel.scale),
        Kind::Quantised { low, high } => {
            (low.map_or(0.0, |v| v as f64), high.map_or(255.0, |v| v as f64))
        }
        Kind::Bounded { low, high } => (*low, *high),
        Kind::Periodic { low, period } => (*low, low + period),
        Kind::Category { names } => (0.0, names.len() as f64 - 1.0),
        Kind::Identifier { .. } => (0.0, 1.0),
    };
    let seen = match shape[0] {
        0..=2 => 1,
        _ => 3,
    };
    let max = if high > low { (high - low) as f32 } else { 1.0 };
    if (low, seen) == (0.0, shape[0]) {
        return Grid::new(rows, shape, max);
    }
    let width = seen * shape[1] * shape[2];
    let value = |v: &f32| (f64::from(*v) - low) as f32;
    let values = rows.iter().flat_map(|row| row[..width].iter().map(value)).collect();
    Grid::new(&Rows::new(values, width)?, [seen, shape[1], shape[2]], max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Coordinate;

    #[test]
    fn many_classes_are_thinned_evenly_with_both_ends() {
        assert!(chosen_classes(0).is_empty());
        assert_eq!(chosen_classes(12), (0..12).collect::<Vec<u32>>());
        for classes in [13, 19, 47, 100, 1000] {
            let chosen = chosen_classes(classes);
            assert_eq!((chosen.len(), chosen[0]), (10, 0));
            assert_eq!(chosen[9] as usize, classes - 1);
            let gaps: Vec<u32> = chosen.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
            assert!(*least >= 1 && most - least <= 1, "{chosen:?}");
        }
    }

    /// Pictures of 2 × 2 pixels, all of value `i` in row i.
    fn flat(n: usize, channels: usize) -> Rows {
        let width = 4 * channels;
        Rows::new((0..n * width).map(|v| (v / width) as f32).collect(), width).unwrap()
    }

    /// The grey of the picture in a line and a column of a grid without names.
    fn grey(space: &Space, grid: &Grid, line: u32, column: u32) -> u8 {
        let image = grid.clone().row_names(&[]).zoom(8).draw().unwrap();
        assert!(matches!(space.layout(), Layout::Image { .. }));
        image.get_pixel(4 + 20 * column + 8, 4 + 20 * line + 8).0[0]
    }

    #[test]
    fn each_line_has_its_class_however_many_there_are() {
        for classes in [2usize, 10, 12, 13, 47] {
            let names: Vec<String> = (0..classes).map(|k| format!("class {k}")).collect();
            let space = Space::image(1, 2, 2, 256).unwrap().with_classes(names);
            // Three of each class, in turn; the value is the class.
            let values = (0..3 * classes).flat_map(|i| [(i % classes) as f32; 4]).collect();
            let labels = (0..3 * classes).map(|i| (i % classes) as u32).collect();
            let split = Split::new(Rows::new(values, 4).unwrap(), Some(labels)).unwrap();
            let grid = grid(&space, &split).unwrap();
            for (line, class) in chosen_classes(classes).into_iter().enumerate() {
                for column in 0..3 {
                    assert_eq!(grey(&space, &grid, line as u32, column), class as u8);
                }
            }
            let named = picture(&space, &split, None).unwrap();
            let bare = grid.row_names(&[]).draw().unwrap();
            assert!(named.width() > 90 && bare.height() > 8);
        }
    }

    #[test]
    fn pictures_without_classes_or_of_one_class_fill_a_square() {
        let one = Space::image(1, 2, 2, 256).unwrap().with_classes(vec!["only".into()]);
        let none = Space::image(1, 2, 2, 256).unwrap();
        for (space, labels) in [(&none, None), (&one, Some(vec![0; 100])), (&one, None)] {
            let split = Split::new(flat(100, 1), labels).unwrap();
            let grid = grid(space, &split).unwrap();
            assert_eq!(grey(space, &grid, 7, 7), 63);
            assert_eq!(grey(space, &grid, 0, 7), 7);
        }
    }

    #[test]
    fn every_kind_of_pixel_is_seen() {
        let of = |coordinate: Coordinate, channels: usize| {
            let layout = Layout::Image { channels, height: 2, width: 2 };
            let space = Space::new(layout, vec![coordinate]).unwrap();
            let grid = pictures(&space, &flat(5, channels)).unwrap().columns(5);
            [0, 2, 4].map(|column| grey(&space, &grid, 0, column))
        };
        let bounded = Coordinate {
            kind: Kind::Bounded { low: -4.0, high: 4.0 },
            ..Coordinate::real("pixel")
        };
        for channels in [1, 2, 3, 4, 7] {
            assert_eq!(of(bounded.clone(), channels), [128, 191, 255]);
            // Mean 2 and standard deviation 1: black at 0, white at 4.
            let real = Coordinate { shift: 2.0, scale: 1.0, ..Coordinate::real("pixel") };
            assert_eq!(of(real, channels), [0, 128, 255]);
        }
    }
}
