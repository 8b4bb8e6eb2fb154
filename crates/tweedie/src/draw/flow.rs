//! Paths from noise to data over the density that they share: one coordinate of points in the plane against the log-SNR
//! (after *Generative Modeling with Diffusion Models*, fig. 1).
//!
//! The density is that of the data under noise, a Gaussian around each α xᵢ; a coordinate is shown as
//! σ_d x_t/√(α² σ_d² + σ²), with the data's standard deviation σ_d at every level, and each column of colours as a
//! share of its greatest value. The Gaussians have a least width, so that data without noise have a density as well.

use super::{Plot, panels};
use crate::Result;
use crate::process::{Level, Schedule};
use image::RgbImage;

/// Cells of the density along both axes.
const COLUMNS: usize = 240;
const ROWS: usize = 180;
/// The least width of a data point, as a share of σ_d.
const LEAST: f64 = 0.05;
/// The range of log-SNRs shown, beyond which nothing changes.
const SEEN: (f64, f64) = (-7.0, 9.0);
const WIDTH: u32 = 1000;
const HEIGHT: u32 = 700;

/// The factor that gives x_t the standard deviation of the data; exactly 1 without noise, so that a sample keeps its
/// bits.
pub(crate) fn scaling(level: &Level, sigma_data: f64) -> f64 {
    if level.sigma == 0.0 {
        return 1.0;
    }
    sigma_data / level.sigma.hypot(level.alpha * sigma_data)
}

/// A data point under noise, scaled: the factor of its place, and its standard deviation.
pub(crate) fn blur(level: &Level, sigma_data: f64) -> (f64, f64) {
    let scale = scaling(level, sigma_data);
    (scale * level.alpha, (scale * level.sigma).hypot(LEAST * sigma_data))
}

/// Paths under a title, with their levels and values.
pub(crate) struct Paths {
    pub title: String,
    pub levels: Vec<Level>,
    /// One path a row, in model units.
    pub values: Vec<Vec<f64>>,
}

/// A panel for each kind of paths over the density of `data`, the same coordinate of data points in model units.
///
/// # Errors
/// As [`panels`].
pub(crate) fn flow(
    kinds: &[Paths],
    data: &[f64],
    schedule: &dyn Schedule,
    sigma_data: f64,
    name: &str,
) -> Result<RgbImage> {
    let finite = kinds.iter().flat_map(|kind| &kind.levels).map(|level| level.lambda);
    let finite: Vec<f64> = finite.filter(|lambda| lambda.is_finite()).collect();
    let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // A schedule outside of the range on one side is shown whole.
    let (low, high) = match (low.max(SEEN.0), high.min(SEEN.1)) {
        (seen_low, seen_high) if seen_low < seen_high => (seen_low, seen_high),
        _ => (low, high),
    };
    let reach = data.iter().fold(3.0 * sigma_data, |reach, x| reach.max(1.1 * x.abs()));
    let values = density(data, schedule, sigma_data, (low, high), reach);
    let plots = kinds.iter().map(|kind| {
        let paths = kind.values.iter().map(|path| {
            let place = |(level, x): (&Level, &f64)| (level.lambda, scaling(level, sigma_data) * x);
            let seen = |(lambda, _): &(f64, f64)| (low..=high).contains(lambda);
            kind.levels.iter().zip(path).map(place).filter(seen).collect()
        });
        let plot = Plot::new(&kind.title).size(WIDTH, HEIGHT).y_name(name);
        let plot = plot.x_name("log-SNR λ: from noise to data");
        let plot = plot.heat("density", &values, COLUMNS, (low, high), (-reach, reach))?;
        Ok(plot.paths(paths.collect()))
    });
    panels(&plots.collect::<Result<Vec<Plot>>>()?, 2)
}

/// The density at the middle of each cell, row after row from the bottom up.
fn density(
    data: &[f64],
    schedule: &dyn Schedule,
    sigma_data: f64,
    (low, high): (f64, f64),
    reach: f64,
) -> Vec<f64> {
    let mut values = vec![0.0; ROWS * COLUMNS];
    for column in 0..COLUMNS {
        let lambda = low + (high - low) * (column as f64 + 0.5) / COLUMNS as f64;
        let (shrink, sd) = blur(&schedule.level(schedule.time(lambda)), sigma_data);
        let at = |row: usize| {
            let y = reach * (2.0 * (row as f64 + 0.5) / ROWS as f64 - 1.0);
            data.iter().map(|x| (-0.5 * ((y - shrink * x) / sd).powi(2)).exp()).sum::<f64>()
        };
        let all: Vec<f64> = (0..ROWS).map(at).collect();
        let most = all.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        for (row, value) in all.into_iter().enumerate() {
            values[row * COLUMNS + column] = value / most;
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::colour::viridis;
    use crate::process::VpLinear;

    /// Two values whose density under noise is known: at the noisy end one hill at 0, at the clean one two at ±1.
    #[test]
    fn one_hill_parts_into_two_and_paths_lie_where_they_are() {
        let schedule = VpLinear::default();
        let (first, last) = schedule.range();
        let data = [-1.0, 1.0];
        let ends = (schedule.level(last).lambda, schedule.level(first).lambda);
        let values = density(&data, &schedule, 1.0, ends, 3.0);
        let hills = |column: usize| -> Vec<f64> {
            let at = |row: usize| values[row * COLUMNS + column];
            let is_top = |row: &usize| at(*row) > at(row - 1) && at(*row) >= at(row + 1);
            let place = |row: usize| 6.0 * (row as f64 + 0.5) / ROWS as f64 - 3.0;
            (1..ROWS - 1).filter(is_top).map(place).collect()
        };
        let noisy = hills(0);
        assert!(noisy.len() == 1 && noisy[0].abs() < 0.05, "{noisy:?}");
        let clean = hills(COLUMNS - 1);
        assert!(clean.len() == 2, "{clean:?}");
        assert!(clean.iter().zip(data).all(|(hill, x)| (hill - x).abs() < 0.05), "{clean:?}");
        let levels: Vec<Level> = [last, 0.3, first].map(|t| schedule.level(t)).into();
        let path = vec![levels[0].sigma, 0.0, -1.0];
        let paths = Paths { title: "one".into(), levels, values: vec![path] };
        let picture = flow(&[paths], &data, &schedule, 1.0, "x").unwrap();
        assert_eq!(picture.dimensions(), (WIDTH, HEIGHT));
        let greatest = picture.pixels().filter(|p| p.0 == viridis(1.0)).count();
        assert!(greatest > COLUMNS, "{greatest}");
    }
}
