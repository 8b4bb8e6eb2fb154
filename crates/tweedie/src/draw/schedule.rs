//! A schedule, and the denoiser's error at each of its levels.

use super::{Plot, panels};
use crate::Result;
use crate::denoise::LevelError;
use crate::process::{Level, Schedule};
use image::RgbImage;

/// Points on each curve.
const POINTS: usize = 400;
const WIDTH: u32 = 860;
const HEIGHT: u32 = 640;

/// α and σ over t, and beside them the log-SNR with a mark at each of the levels that a solver visits.
///
/// # Errors
/// As [`panels`].
pub fn schedule(schedule: &dyn Schedule, visited: &[Level]) -> Result<RgbImage> {
    let (first, last) = schedule.range();
    // Where t is σ, the axis is logarithmic.
    let log = first > 0.0 && last > 10.0;
    let at = |i: usize| {
        let u = i as f64 / (POINTS - 1) as f64;
        let t = if log { first * (last / first).powf(u) } else { first + u * (last - first) };
        schedule.level(t.clamp(first, last))
    };
    let levels: Vec<Level> = (0..POINTS).map(at).collect();
    let curve = |of: fn(&Level) -> f64| levels.iter().map(|l| (l.t, of(l))).collect::<Vec<_>>();
    let named = |title: &str, y: &str| {
        let plot = Plot::new(title).size(WIDTH, HEIGHT).x_name("t").y_name(y);
        if log { plot.log_x() } else { plot }
    };
    let scales = named("Data and noise", "factor").line("α, of the data", &curve(|l| l.alpha));
    let scales = scales.line("σ, of the noise", &curve(|l| l.sigma));
    let wide = levels.iter().any(|l| l.sigma > 5.0);
    let marks: Vec<(f64, f64)> = visited.iter().map(|l| (l.t, l.lambda)).collect();
    let ratio = named("Log-SNR", "λ = 2 ln(α/σ)")
        .line("λ", &curve(|l| l.lambda))
        .points("levels of the sampler", &marks);
    panels(&[if wide { scales.log_y() } else { scales }, ratio], 2)
}

/// The error of E[x₀ | x_t] at each level, with bars of two standard errors, beside the errors of guesses without a
/// network; `rows` names the denoised rows.
///
/// # Errors
/// As [`Plot::draw`].
pub fn error_by_level(errors: &[LevelError], rows: &str) -> Result<RgbImage> {
    let curve = |of: fn(&LevelError) -> f64| {
        errors.iter().map(|e| (e.level.lambda, of(e))).collect::<Vec<_>>()
    };
    let model: Vec<(f64, f64, f64)> =
        errors.iter().map(|e| (e.level.lambda, e.mean, 2.0 * e.standard_error)).collect();
    Plot::new(&format!("Error of E[x₀ | xₜ] by noise level, {rows}"))
        .x_name("log-SNR λ (noise on the left, data on the right)")
        .y_name("mean squared error, model units")
        .log_y()
        .line_with_errors("model, ± 2 standard errors", &model)
        .line("best affine guess of each coordinate", &curve(|e| e.affine))
        .line("best constant guess", &curve(|e| e.constant))
        .draw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::AnySchedule;
    use crate::solve::AnyGrid;

    #[test]
    fn every_schedule_has_a_picture() {
        for (name, _) in AnySchedule::NAMES {
            let any = AnySchedule::parse(name).unwrap();
            let levels = AnyGrid::default().levels(&any, 8).unwrap();
            let image = schedule(&any, &levels).unwrap();
            assert_eq!(image.dimensions(), (2 * WIDTH, HEIGHT));
            // Both curves of the left panel and the marks of the right one are there.
            let of = |from: u32, series: usize| {
                let ink = super::super::colour::series(series);
                let near = |p: &[u8; 3]| p.iter().zip(ink).all(|(a, b)| a.abs_diff(b) < 60);
                let pixels = image.enumerate_pixels().filter(|(x, y, _)| *x > from && *y > 130);
                pixels.filter(|(x, _, p)| *x < from + WIDTH && near(&p.0)).count()
            };
            assert!(of(0, 0) > 300 && of(0, 1) > 300, "{name}");
            assert!(of(WIDTH, 0) > 300 && of(WIDTH, 1) > 100, "{name}");
        }
    }
}
