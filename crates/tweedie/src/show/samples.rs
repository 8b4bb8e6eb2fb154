//! The picture of a sample, as its space asks for: a grid of images, a scatter plot or a pair plot.

use super::{Grid, pair_plot, side_by_side};
use crate::Result;
use crate::data::{Layout, Rows, Space, Split};
use image::RgbImage;

/// How many pictures of each class a grid shows.
const PER_CLASS: usize = 10;
/// How many pictures a grid without classes shows.
const UNLABELLED: usize = 64;

/// A picture of raw rows; `real` rows are drawn beside points and tables, so that they can be compared.
///
/// Images with labels become one line of pictures per class.
///
/// # Errors
/// Those of [`Grid`], [`side_by_side`] and [`pair_plot`].
pub fn picture(space: &Space, generated: &Split, real: Option<&Rows>) -> Result<RgbImage> {
    if let Layout::Image { channels, height, width } = space.layout() {
        return grid(space, generated, [channels, height, width])?.draw();
    }
    // As many real rows as generated ones, so that the eye compares like with like.
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

fn grid(space: &Space, images: &Split, shape: [usize; 3]) -> Result<Grid> {
    let max = space.coordinate(0).highest().unwrap_or(255.0) as f32;
    let classes = space.classes();
    let Some(labels) = images.labels().filter(|_| !classes.is_empty()) else {
        let shown: Vec<usize> = (0..images.len().min(UNLABELLED)).collect();
        return Grid::new(&images.rows().select(&shown), shape, max);
    };
    let mut shown = Vec::new();
    let mut names = Vec::new();
    for (class, name) in classes.iter().enumerate() {
        let of_class: Vec<usize> =
            (0..labels.len()).filter(|&i| labels[i] as usize == class).take(PER_CLASS).collect();
        if of_class.len() == PER_CLASS {
            shown.extend(of_class);
            names.push(name.clone());
        }
    }
    if shown.is_empty() {
        shown = (0..images.len().min(UNLABELLED)).collect();
    }
    Ok(Grid::new(&images.rows().select(&shown), shape, max)?.columns(PER_CLASS).row_names(&names))
}
