//! Trajectories from noise to samples: x_t and the denoiser's guess E[x₀ | x_t] at several noise levels.
//!
//! x_t is shown as σ_d x_t/√(α² σ_d² + σ²): with the standard deviation σ_d of the data at every level, and as itself
//! where no noise is left.

use super::clouds::{Panel, clouds};
use super::flow::scaling;
use super::samples::pictures;
use crate::data::{Layout, Rows, Space};
use crate::process::Level;
use crate::solve::Moment;
use crate::{Error, Result};
use burn::tensor::Tensor;
use image::RgbImage;

const ON_THE_WAY: &str = "xₜ, on its way from noise to a sample";
const BOTH: &str = "Noise on its way to samples, and the denoiser's guess of where it goes";
const GUESS: &str = "E[x₀ | xₜ], the denoiser's guess of where it goes";

/// Draws the trajectory of a batch in model units; `sigma_data` is the standard deviation of the data there, `names`
/// are those of the rows.
///
/// Images become two pictures, of xₜ and of E[x₀ | xₜ], with a line for each row and a column for each level; points in
/// the plane become one picture, with a panel for each level. Each picture has a heading.
///
/// # Errors
/// [`Error::Undefined`] if the space is neither; [`Error::Shape`] if there is no moment.
pub fn path(
    space: &Space,
    moments: &[Moment],
    sigma_data: f64,
    names: &[String],
) -> Result<Vec<(&'static str, RgbImage)>> {
    if moments.is_empty() {
        return Err(Error::shape("moments of a path", 0, "at least one"));
    }
    let shown = |moment: &Moment| {
        decoded(space, &moment.x.clone().mul_scalar(scaling(&moment.level, sigma_data)))
    };
    let xs = moments.iter().map(shown).collect::<Result<Vec<Rows>>>()?;
    let means = moments.iter().map(|m| decoded(space, &m.mean)).collect::<Result<Vec<Rows>>>()?;
    if matches!(space.layout(), Layout::Image { .. }) {
        let levels: Vec<String> = moments.iter().map(|m| level_name(&m.level)).collect();
        let grid = |columns: &[Rows]| {
            let grid = pictures(space, &transposed(columns)?)?.columns(columns.len());
            grid.row_names(names).column_names(&levels).corner("σ/α").draw()
        };
        return Ok(vec![(ON_THE_WAY, grid(&xs)?), (GUESS, grid(&means)?)]);
    }
    if !in_the_plane(space) {
        return Err(Error::undefined(
            "a picture of the way from noise to a sample",
            "there are only pictures of images and of points in the plane",
        ));
    }
    let title = |m: &Moment| format!("σ/α = {}", level_name(&m.level));
    let both = moments.iter().zip(xs.iter().zip(&means));
    let panels: Vec<Panel> = both
        .map(|(m, (x, mean))| match m.level.sigma {
            0.0 => (title(m), vec![x]),
            _ => (title(m), vec![x, mean]),
        })
        .collect();
    // The axes fit noise of the width of the data, and the data themselves.
    let mut reference = xs[0].clone();
    reference.extend(&xs[xs.len() - 1])?;
    let names = [space.column_name(0), space.column_name(1)];
    let legend = ["xₜ", "E[x₀ | xₜ]"];
    Ok(vec![(BOTH, clouds(&panels, &legend, &reference, [&names[0], &names[1]])?)])
}

/// Whether rows are two real numbers.
pub(crate) fn in_the_plane(space: &Space) -> bool {
    space.width() == 2 && space.model_width() == 2
}

fn decoded(space: &Space, x: &Tensor<2>) -> Result<Rows> {
    space.decode(&Rows::from_tensor(x)?)
}

/// Row i of each batch in turn, then row i + 1.
pub(crate) fn transposed(columns: &[Rows]) -> Result<Rows> {
    let rows = columns.iter().map(Rows::len).min().unwrap_or(0);
    let width = columns.first().map_or(1, Rows::width);
    let mut values = Vec::with_capacity(rows * columns.len() * width);
    for i in 0..rows {
        columns.iter().for_each(|column| values.extend_from_slice(column.row(i)));
    }
    Rows::new(values, width)
}

/// σ/α in two digits.
pub(crate) fn level_name(level: &Level) -> String {
    let ratio = (-0.5 * level.lambda).exp();
    if ratio == 0.0 {
        return "0".into();
    }
    if !ratio.is_finite() {
        return "∞".into();
    }
    if !(1e-4..1e5).contains(&ratio) {
        return super::axis::scientific(ratio, 1);
    }
    let digits = 1 - ratio.log10().floor() as i32;
    let unit = 10f64.powi(digits);
    let rounded = (ratio * unit).round() / unit;
    // Rounding up to a power of ten leaves one digit less.
    let places = (1 - rounded.log10().floor() as i32).max(0) as usize;
    format!("{rounded:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn moment(level: Level, x: Vec<f32>, mean: Vec<f32>, width: usize) -> Moment {
        let tensor = |values| Rows::new(values, width).unwrap().to_tensor(&Device::flex());
        Moment { level, x: tensor(x), mean: tensor(mean) }
    }

    #[test]
    fn noise_levels_are_written_in_two_digits() {
        let name = |ratio: f64| level_name(&Level::new(0.0, 1.0, ratio));
        let cases = [
            (1808.04, "1800"),
            (66.2, "66"),
            (9.96, "10"),
            (2.449, "2.4"),
            (0.9999, "1.0"),
            (0.0998, "0.10"),
            (0.01234, "0.012"),
            (0.00055, "0.00055"),
            (2.54e-7, "2.5×10⁻⁷"),
        ];
        for (ratio, expected) in cases {
            assert_eq!(name(ratio), expected);
        }
        assert_eq!(level_name(&Level::clean(0.0)), "0");
        assert_eq!(name(f64::INFINITY), "∞");
    }

    /// Every pixel of every picture, found where the grid has it.
    #[test]
    fn columns_are_noise_of_the_data_s_scale_first_and_the_sample_last() {
        let space = Space::image(1, 2, 2, 256).unwrap();
        // σ_d = ½: noise of standard deviation 3 is shown as if it had ½.
        let start = Level::new(1.0, 0.0, 3.0);
        let noise = vec![1.5, -1.5, 0.75, 0.0, -3.0, 3.0, 9.0, -9.0];
        let (middle, sample) = (vec![0.25; 8], vec![-1.0, -0.5, 0.0, 0.5, 0.9, -0.9, 1.5, -1.5]);
        let moments = [
            moment(start, noise.clone(), middle.clone(), 4),
            moment(Level::clean(0.0), sample.clone(), sample.clone(), 4),
        ];
        let names = ["one".to_string(), "two".to_string()];
        let parts = path(&space, &moments, 0.5, &names).unwrap();
        let raw = |model: &f32| (128.0 * model + 128.0).floor().clamp(0.0, 255.0) as u8;
        let bytes = |x: &[f32]| x.iter().map(raw).collect::<Vec<u8>>();
        let shown: Vec<f32> = noise.iter().map(|v| v / 6.0).collect();
        let expected = [[bytes(&shown), bytes(&sample)], [bytes(&middle), bytes(&sample)]];
        for ((_, image), columns) in parts.iter().zip(expected) {
            // Two lines of two pictures of 2 × 2 pixels, each 32 wide, end at the lower right corner.
            let tile = 64;
            for (column, values) in columns.iter().enumerate() {
                for line in 0..2u32 {
                    for pixel in 0..4u32 {
                        let left = image.width() - (2 - column as u32) * (tile + 4);
                        let top = image.height() - (2 - line) * (tile + 4);
                        let x = left + tile / 4 + tile / 2 * (pixel % 2);
                        let y = top + tile / 4 + tile / 2 * (pixel / 2);
                        let expected = values[(4 * line + pixel) as usize];
                        assert_eq!(image.get_pixel(x, y).0, [expected; 3], "{column} {line}");
                    }
                }
            }
        }
    }

    #[test]
    fn points_have_a_panel_a_level_and_tables_no_picture() {
        let plane = Space::vector(&["x", "y"]).unwrap();
        let level = |sigma| Level::new(sigma, 1.0, sigma);
        let batch = |n: usize| (0..n).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<f32>>();
        let moments: Vec<Moment> =
            (0..4).map(|k| moment(level(f64::from(k)), batch(80), batch(80), 2)).collect();
        let [(_, image)] = &path(&plane, &moments, 1.0, &[]).unwrap()[..] else { panic!() };
        // Three panels across, two down.
        assert_eq!(image.width(), 1800);
        assert!(image.height() > 900);
        let table = Space::vector(&["a", "b", "c"]).unwrap();
        let moments = [moment(level(1.0), batch(9), batch(9), 3)];
        assert!(matches!(path(&table, &moments, 1.0, &[]), Err(Error::Undefined { .. })));
        assert!(path(&plane, &[], 1.0, &[]).is_err());
    }
}
