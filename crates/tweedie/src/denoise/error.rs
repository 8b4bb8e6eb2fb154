//! The error of a denoiser at each noise level.
//!
//! At one level the mean squared error of an estimate x̂₀ of x₀ from x_t = α x₀ + σ ε, over rows, noise and
//! coordinates, is least for E[x₀ | x_t]. Two estimates need no network: with m and v the mean and variance of each
//! coordinate in a reference sample, the constant m, and the affine (Wiener's) m + k (x_t − α m) with k = α v/(α² v +
//! σ²). Their errors have a closed form in the noise, so that only the rows are sampled:
//!
//! > E_ε (m + k (x_t − α m) − x₀)² = (1 − k α)² (x₀ − m)² + k² σ².

use crate::data::{Condition, Rows};
use crate::denoise::Denoiser;
use crate::process::{Level, Levels};
use crate::tensor::{host_column, mean_and_error};
use crate::{Draws, Error, Result};
use burn::tensor::Device;

/// The number of rows in one evaluation of the denoiser.
const CHUNK: usize = 256;

/// Mean squared errors at one noise level, over rows and coordinates.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct LevelError {
    /// The noise level.
    pub level: Level,
    /// The mean squared error of the denoiser.
    pub mean: f64,
    /// The standard error of `mean`, over rows.
    pub standard_error: f64,
    /// The mean squared error of the best affine estimate of each coordinate from itself.
    pub affine: f64,
    /// The mean squared error of the reference sample's mean.
    pub constant: f64,
}

/// The errors of a denoiser at each of `levels`, on `rows` with one condition each. `reference` is the sample whose
/// mean and variance define the estimates without a network. All values are in model units. The noise is the same at
/// every level; row i has the draws of row i.
///
/// # Errors
/// [`Error::Shape`] if `rows` is empty; the errors of the denoiser.
pub fn level_errors(
    denoiser: &dyn Denoiser,
    rows: &Rows,
    condition: &Condition,
    reference: &Rows,
    levels: &[Level],
    draws: &Draws,
    device: &Device,
) -> Result<Vec<LevelError>> {
    let (n, width) = (rows.len(), rows.width());
    if n == 0 || reference.is_empty() || reference.width() != width {
        let found = format!("{n} rows and {} of width {}", reference.len(), reference.width());
        let expected = format!("some of each, of width {width}");
        return Err(Error::shape("rows to denoise and their reference", found, expected));
    }
    condition.check(n)?;
    let (means, variances) = moments(reference);
    let spread = spread(rows, &means);
    let mut square = vec![Vec::with_capacity(n); levels.len()];
    for start in (0..n).step_by(CHUNK) {
        let range = start..(start + CHUNK).min(n);
        let x0 = rows.slice(range.clone()).to_tensor(device);
        let noise = draws.normals(range.start as u64..range.end as u64, width).to_tensor(device);
        let condition = condition.slice(range);
        for (level, square) in levels.iter().zip(&mut square) {
            let levels = Levels::from(*level);
            let x = levels.noised(&x0, &noise)?;
            let guess = denoiser.denoise(x.into(), &levels, &condition)?.value;
            square.extend(host_column(&(guess - x0.clone()).square().mean_dim(1))?);
        }
    }
    let of_level = |(level, square): (&Level, Vec<f64>)| {
        let (mean, standard_error) = mean_and_error(&square);
        let (a, s2) = (level.alpha, level.sigma * level.sigma);
        let affine = variances.iter().zip(&spread).map(|(v, spread)| {
            let total = a * a * v + s2;
            let k = if total > 0.0 { a * v / total } else { 0.0 };
            (1.0 - k * a).powi(2) * spread + k * k * s2
        });
        LevelError {
            level: *level,
            mean,
            standard_error,
            affine: affine.sum::<f64>() / width as f64,
            constant: spread.iter().sum::<f64>() / width as f64,
        }
    };
    Ok(levels.iter().zip(square).map(of_level).collect())
}

/// The mean and variance of each column.
fn moments(rows: &Rows) -> (Vec<f64>, Vec<f64>) {
    let mut means = vec![0.0; rows.width()];
    for row in rows.iter() {
        means.iter_mut().zip(row).for_each(|(m, v)| *m += f64::from(*v) / rows.len() as f64);
    }
    let variances = spread(rows, &means);
    (means, variances)
}

/// The mean of (x − m)² in each column.
fn spread(rows: &Rows, means: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; rows.width()];
    for row in rows.iter() {
        for ((sum, v), m) in sums.iter_mut().zip(row).zip(means) {
            *sum += (f64::from(*v) - m).powi(2) / rows.len() as f64;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denoise::{Component, GaussianMixture};
    use crate::process::{Edm, Schedule, VpLinear};

    fn levels() -> Vec<Level> {
        let (vp, edm) = (VpLinear::default(), Edm::default());
        let mut levels: Vec<Level> = [0.01, 0.3, 0.7, 1.0].map(|t| vp.level(t)).to_vec();
        levels.extend([0.01, 0.5, 20.0].map(|t| edm.level(t)));
        levels
    }

    /// N(m, diag v): three coordinates, 4,000 rows.
    fn gaussian(seed: u64) -> (Rows, Vec<f64>, Vec<f64>) {
        let (mean, variance) = (vec![1.0, -2.0, 0.5], vec![0.25f64, 1.0, 4.0]);
        let mut rows = Draws::new(seed).normals(0..4000, 3);
        for (i, value) in rows.values_mut().iter_mut().enumerate() {
            *value = (mean[i % 3] + variance[i % 3].sqrt() * f64::from(*value)) as f32;
        }
        (rows, mean, variance)
    }

    #[test]
    fn the_oracle_s_error_is_the_posterior_variance() {
        let (rows, mean, variance) = gaussian(1);
        let component = Component::diagonal(1.0, mean, variance.clone());
        let oracle = GaussianMixture::new(vec![component]).unwrap();
        let errors = level_errors(
            &oracle,
            &rows,
            &Condition::None,
            &gaussian(2).0,
            &levels(),
            &Draws::new(3),
            &Device::flex(),
        );
        for error in errors.unwrap() {
            let Level { alpha, sigma, .. } = error.level;
            let posterior = |v: &f64| v * sigma.powi(2) / (alpha * alpha * v + sigma.powi(2));
            let exact = variance.iter().map(posterior).sum::<f64>() / 3.0;
            let sd = error.standard_error;
            assert!((error.mean - exact).abs() < 6.0 * sd, "{error:?}, {exact}");
            assert!(sd < 0.05 * exact, "{error:?}");
            // For Gaussians the affine estimate is optimal.
            assert!((error.affine - exact).abs() < 0.05 * exact, "{error:?}, {exact}");
            assert!((error.constant - 1.75).abs() < 0.1);
        }
    }

    /// The affine estimate, measured as a denoiser, has the error of the closed form, for any rows.
    #[test]
    fn the_affine_error_is_that_of_the_affine_guess() {
        let (reference, ..) = gaussian(4);
        let uniform = Draws::new(5).uniforms(0..4000, 3);
        let (mean, variance) = moments(&reference);
        let guess = GaussianMixture::new(vec![Component::diagonal(1.0, mean, variance)]).unwrap();
        let (none, device) = (Condition::None, Device::flex());
        let draws = Draws::new(6);
        let errors =
            level_errors(&guess, &uniform, &none, &reference, &levels(), &draws, &device).unwrap();
        for error in errors {
            assert!((error.mean - error.affine).abs() < 6.0 * error.standard_error, "{error:?}");
        }
        let empty = Rows::new(Vec::new(), 3).unwrap();
        for (rows, reference) in [(&empty, &reference), (&reference, &empty)] {
            let result = level_errors(&guess, rows, &none, reference, &levels(), &draws, &device);
            assert!(matches!(result, Err(Error::Shape { .. })));
        }
    }
}
