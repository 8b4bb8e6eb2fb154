//! The components of a mixture over the steps of EM.
//!
//! EM is run again on the training rows from the starts of a seed, and the start of greatest likelihood is drawn. Each
//! component is the ellipse of points two standard deviations from its mean,
//!
//! > x = μ + 2 L (cos θ, sin θ), where L Lᵀ is its covariance,
//!
//! which holds 1 − e⁻² = 86 % of the component's mass.

use super::EmFit;
use super::learner::{encoded, row_draws};
use crate::data::Space;
use crate::density::fit::{Em, Mixture};
use crate::draw::{Plot, panels, spread};
use crate::family::PictureSetting;
use crate::family::plane::Window;
use crate::{Error, Result};
use image::RgbImage;

/// The most steps of EM, and the most panels.
const STEPS: u64 = 1000;
const PANELS: usize = 6;
/// Panels beside each other, the most rows drawn, points of an ellipse, and its radius in standard deviations.
const BESIDE: usize = 3;
const ROWS: usize = 1500;
const POINTS: usize = 97;
const RADIUS: f64 = 2.0;

/// The data with the components' ellipses at some steps of EM, log p under each; `found` is the mixture of the run.
///
/// # Errors
/// [`Error::Undefined`] unless rows are points of real columns in the plane and data are present; errors of EM.
pub(super) fn steps(
    fit: &EmFit,
    found: &Mixture,
    space: &Space,
    at: &PictureSetting,
) -> Result<RgbImage> {
    let what = "a picture of the steps of EM";
    let data = at.data.as_ref().map_err(|why| Error::undefined(what, why))?;
    Window::around(data.train.rows(), space, 0.0, what)?;
    let (noise, starts) = row_draws(at.seed, 0);
    let (points, _, volume) = encoded(&data.fit_rows(), space, &noise)?;
    let mut em = Em::new(points.clone(), &fit.config(found.components()), &starts)?;
    let mut all: Vec<Vec<Mixture>> = vec![em.starts().cloned().collect()];
    while !em.converged() && em.steps() < STEPS && em.mixture() != found {
        em.step()?;
        all.push(em.starts().cloned().collect());
    }
    let best = em.best_start();
    let some: Vec<(f64, f64)> = spread(points.len(), ROWS)
        .into_iter()
        .map(|i| (points.row(i)[0], points.row(i)[1]))
        .collect();
    let plots = chosen(all.len()).into_iter().map(|step| {
        let mixture = &all[step][best];
        let log_p = mixture.mean_log_density(&points) - volume;
        let step = match step {
            0 => "Start".to_string(),
            1 => "1 step".to_string(),
            step => format!("{step} steps"),
        };
        panel(&format!("{step}: log p {log_p:.3}").replace('-', "−"), mixture, &some, space)
    });
    panels(&plots.collect::<Vec<_>>(), BESIDE)
}

/// The numbers of the steps to draw, out of `count` from 0: the first, the last, and others at growing distances.
fn chosen(count: usize) -> Vec<usize> {
    let last = count.saturating_sub(1);
    let parts = (PANELS - 1) as f64;
    let place = |k: usize| ((last as f64 + 1.0).powf(k as f64 / parts) - 1.0).round() as usize;
    let mut steps: Vec<usize> = (0..PANELS).map(place).collect();
    // Early steps fall on one number; each panel has a step of its own where there are enough.
    for k in 1..PANELS {
        steps[k] = steps[k].max(steps[k - 1] + 1).min(last);
    }
    steps.dedup();
    steps
}

/// The points of a component's ellipse.
fn ellipse(mixture: &Mixture, component: usize) -> Vec<(f64, f64)> {
    let (mean, covariance) = (mixture.mean(component), mixture.covariance(component));
    let [a, b, d] = [covariance[0], covariance[1], covariance[3]];
    let (across, along) = (a.sqrt(), b / a.sqrt());
    let up = (d - along * along).max(0.0).sqrt();
    let point = |k: usize| {
        let angle = std::f64::consts::TAU * k as f64 / (POINTS - 1) as f64;
        let (sine, cosine) = angle.sin_cos();
        let x = mean[0] + RADIUS * across * cosine;
        (x, mean[1] + RADIUS * (along * cosine + up * sine))
    };
    (0..POINTS).map(point).collect()
}

/// Points under the ellipses of a mixture, in model units.
fn panel(title: &str, mixture: &Mixture, points: &[(f64, f64)], space: &Space) -> Plot {
    let names = [0, 1].map(|k| format!("{}, scaled", space.column_name(k)));
    let plot = Plot::new(title).size(620, 560).x_name(&names[0]).y_name(&names[1]);
    // A point that is no number ends a line.
    let all = (0..mixture.components())
        .flat_map(|k| ellipse(mixture, k).into_iter().chain([(f64::NAN, f64::NAN)]));
    let side = |of: fn(&(f64, f64)) -> f64| {
        let low = points.iter().map(of).fold(f64::INFINITY, f64::min);
        let high = points.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
        let margin = 0.12 * (high - low);
        (low - margin, high + margin)
    };
    let (x, y) = (side(|p| p.0), side(|p| p.1));
    let plot = plot.x_range(x.0, x.1).y_range(y.0, y.1).equal_units();
    plot.points("", points).line("", &all.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::density::fit::Covariance;

    #[test]
    fn steps_grow_from_the_first_to_the_last() {
        for count in 1..300 {
            let steps = chosen(count);
            assert_eq!((steps[0], *steps.last().unwrap()), (0, count - 1), "{count}");
            assert!(steps.is_sorted_by(|a, b| a < b), "{steps:?}");
            assert_eq!(steps.len(), count.min(PANELS), "{steps:?}");
        }
        assert_eq!(chosen(101), [0, 2, 5, 15, 39, 100]);
    }

    /// Every point is two standard deviations from the mean: (x − μ)ᵀ Σ⁻¹ (x − μ) = 4.
    #[test]
    fn ellipses_are_two_standard_deviations_away() {
        let covariance = vec![2.0, -0.9, -0.9, 0.7];
        let mixture =
            Mixture::new(Covariance::Full, vec![1.0], vec![3.0, -1.0], covariance, 2).unwrap();
        let [a, b, d] = [2.0, -0.9, 0.7];
        for (x, y) in ellipse(&mixture, 0) {
            let (x, y) = (x - 3.0, y + 1.0);
            let squared = (d * x * x - 2.0 * b * x * y + a * y * y) / (a * d - b * b);
            assert!((squared - 4.0).abs() < 1e-12, "{squared}");
        }
    }
}
