//! Samples over training: from the same noise at several steps.

use super::clouds::{Panel, clouds};
use super::path::in_the_plane;
use super::samples::pictures;
use crate::data::{Layout, Rows, Space, Split};
use crate::{Error, Result};
use image::RgbImage;

/// Samples after a number of steps, in raw units.
pub type Snapshot = (u64, Split);

/// Most steps with a line of pictures, or with a panel of points.
const MOST_LINES: usize = 10;
const MOST_PANELS: usize = 6;

/// Draws the same samples at each step, in the order of steps: for images a line for each step and a column for each
/// row; for points in the plane a panel for each step, after a panel of `real` points, if given. Of many steps it draws
/// some, the first and the last among them.
///
/// # Errors
/// [`Error::Undefined`] if the space is neither; [`Error::Shape`] if nothing was kept.
pub fn progress(space: &Space, kept: &[Snapshot], real: Option<&Rows>) -> Result<RgbImage> {
    let Some((_, last)) = kept.last() else {
        return Err(Error::shape("samples kept in training", 0, "those of at least one step"));
    };
    let name = |(step, _): &Snapshot| format!("step {step}");
    if matches!(space.layout(), Layout::Image { .. }) {
        let kept = some_of(kept, MOST_LINES);
        // The columns of a class stand together.
        let labels = last.labels().unwrap_or_default();
        let mut order: Vec<usize> = (0..last.len()).collect();
        order.sort_by_key(|&i| labels.get(i));
        let mut all = Rows::new(Vec::new(), space.width())?;
        for (step, split) in &kept {
            if split.len() != last.len() {
                let expected = format!("{}, as at the last step", last.len());
                return Err(Error::shape(format!("samples of step {step}"), split.len(), expected));
            }
            all.extend(&split.rows().select(&order))?;
        }
        let classes = space.classes();
        let class = |&i: &usize| classes.get(*labels.get(i)? as usize).cloned();
        let columns: Vec<String> = order.iter().filter_map(class).collect();
        let lines: Vec<String> = kept.iter().map(|kept| name(kept)).collect();
        let grid = pictures(space, &all)?.columns(order.len());
        return grid.row_names(&lines).column_names(&columns).draw();
    }
    if !in_the_plane(space) {
        return Err(Error::undefined(
            "a picture of samples over training",
            "there are only pictures of images and of points in the plane",
        ));
    }
    let real = real.filter(|real| !real.is_empty());
    // There are as many real points as generated ones.
    let real = real.map(|real| real.slice(0..real.len().min(last.len())));
    let mut panels: Vec<Panel> = real.iter().map(|r| ("real".to_string(), vec![r])).collect();
    let kept = some_of(kept, MOST_PANELS - panels.len());
    panels.extend(kept.iter().map(|k| (name(k), vec![k.1.rows()])));
    let names = [space.column_name(0), space.column_name(1)];
    let reference = real.as_ref().unwrap_or(last.rows());
    clouds(&panels, &[], reference, [&names[0], &names[1]])
}

/// A limited number of items, evenly spread, the first and the last among them.
fn some_of(kept: &[Snapshot], most: usize) -> Vec<&Snapshot> {
    if kept.len() <= most {
        return kept.iter().collect();
    }
    let gaps = most.max(2) - 1;
    (0..=gaps).map(|i| &kept[(i * (kept.len() - 1) + gaps / 2) / gaps]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures of 2 × 2 pixels, two of each of three classes in turn, all of value 10 step + row.
    fn kept(steps: u64) -> Vec<Snapshot> {
        let of = |step: u64| {
            let values = (0..6).flat_map(|i| [(10 * step + i) as f32; 4]).collect();
            let labels = Some(vec![0, 1, 2, 0, 1, 2]);
            (step, Split::new(Rows::new(values, 4).unwrap(), labels).unwrap())
        };
        (1..=steps).map(of).collect()
    }

    #[test]
    fn a_line_is_a_step_and_a_column_a_row() {
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let space = Space::image(1, 2, 2, 256).unwrap().with_classes(names);
        let image = progress(&space, &kept(15), None).unwrap();
        // Ten lines of six pictures end at the lower right corner.
        let zoom = (0..).find(|zoom| 10 * (2 * zoom + 4) + 4 + 36 >= image.height()).unwrap();
        let tile = 2 * zoom;
        let value = |line: u32, column: u32| {
            let x = image.width() - 4 - (5 - column) * (tile + 4) - tile / 2;
            let y = image.height() - 4 - (9 - line) * (tile + 4) - tile / 2;
            image.get_pixel(x, y).0[0]
        };
        // Of 15 steps ten, both ends among them; a class's columns together.
        for (column, row) in [0, 3, 1, 4, 2, 5].into_iter().enumerate() {
            assert_eq!(value(0, column as u32), 10 + row);
            assert_eq!(value(9, column as u32), 150 + row);
            assert_eq!(value(4, column as u32) % 10, row);
        }
        let mut uneven = kept(2);
        uneven[0].1 = uneven[0].1.select(&[0]);
        assert!(matches!(progress(&space, &uneven, None), Err(Error::Shape { .. })));
        assert!(progress(&space, &[], None).is_err());
    }

    #[test]
    fn points_have_a_panel_a_step() {
        let space = Space::vector(&["x", "y"]).unwrap();
        let cloud = Rows::new((0..200).map(|i| (i as f32).sin()).collect(), 2).unwrap();
        let split = Split::new(cloud.clone(), None).unwrap();
        let kept: Vec<Snapshot> = (1..=9).map(|step| (step, split.clone())).collect();
        let alone = progress(&space, &kept, None).unwrap();
        let beside = progress(&space, &kept, Some(&cloud)).unwrap();
        // Six panels either way.
        assert_eq!(alone.dimensions(), beside.dimensions());
        assert_eq!(progress(&space, &kept[..2], None).unwrap().width(), 1200);
        let table = Space::vector(&["a", "b", "c"]).unwrap();
        assert!(matches!(progress(&table, &kept, None), Err(Error::Undefined { .. })));
    }
}
