//! One process seen as a reverse SDE, as its probability-flow ODE and as a chain of denoising steps (*Introduction to
//! generative modeling*, figure 6.1; *Generative modeling with diffusion models*, figure 1 and equations 61–63), by the
//! exact denoiser of a mixture on the line.
//!
//! At a level with x_t = α x₀ + σ ε the exact density is Σ_k w_k N(α μ_k, α² s_k² + σ²), and the distance of samples to
//! it is Kolmogorov's, the greatest difference of the distribution functions: about 0.87/√n for n draws of the density
//! itself, and above 1.63/√n in one case of a hundred.

use super::{Lesson, for_machines, table};
use crate::data::{Condition, Rows};
use crate::denoise::{Component, Diffusing, GaussianMixture};
use crate::draw::{Paths, Plot, flow, panels};
use crate::process::{Level, Schedule, VpLinear};
use crate::solve::{Ancestral, AnySolver, EulerMaruyama, Moment, Sampler};
use crate::tensor::below_normal;
use crate::{Draws, Result};
use burn::tensor::Device;
use image::RgbImage;
use serde::Serialize;
use std::sync::Arc;

/// The weights, means and standard deviations of the components.
const LAW: [(f64, f64, f64); 3] = [(0.3, -1.3, 0.25), (0.45, 0.2, 0.3), (0.25, 1.5, 0.15)];
/// Steps of the SDE, of the ODE and of the chain.
const STEPS: [usize; 3] = [600, 60, 25];
/// Paths drawn, samples that distances are of, and points of the density behind the paths.
const PATHS: u64 = 12;
const SAMPLES: u64 = 10_000;
const DATA: usize = 1000;
/// Levels of the table, the noise aside, and bins of histograms.
const LEVELS: usize = 4;
const BINS: usize = 60;
/// The ends of the histograms.
const SEEN: (f64, f64) = (-3.2, 3.2);

/// The distance of samples of one kind to the exact density at some levels.
#[derive(Debug, Serialize)]
struct Distances {
    kind: &'static str,
    steps: usize,
    /// The log-SNRs; none at clean data.
    log_snr: Vec<Option<f64>>,
    /// Kolmogorov's distances.
    distance: Vec<f64>,
}

/// The probability of values of at most `x` at a level.
fn cumulative(level: &Level, x: f64) -> f64 {
    let below = |(weight, mean, deviation): &(f64, f64, f64)| {
        weight
            * below_normal((x - level.alpha * mean) / (level.alpha * deviation).hypot(level.sigma))
    };
    LAW.iter().map(below).sum()
}

/// The density at a level.
fn density(level: &Level, x: f64) -> f64 {
    let at = |(weight, mean, deviation): &(f64, f64, f64)| {
        let s = (level.alpha * deviation).hypot(level.sigma);
        let z = (x - level.alpha * mean) / s;
        weight * (-0.5 * z * z).exp() / (s * std::f64::consts::TAU.sqrt())
    };
    LAW.iter().map(at).sum()
}

/// Kolmogorov's distance of values to the density at a level.
fn distance(level: &Level, values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let apart = |(i, x): (usize, &f64)| {
        let p = cumulative(level, *x);
        (p - i as f64 / n).abs().max((p - (i + 1) as f64 / n).abs())
    };
    sorted.iter().enumerate().map(apart).fold(0.0, f64::max)
}

/// The values of a moment.
fn values(moment: &Moment) -> Result<Vec<f64>> {
    Ok(Rows::from_tensor(&moment.x)?.iter().map(|row| f64::from(row[0])).collect())
}

/// A page on the three views.
///
/// # Errors
/// Errors of sampling and of drawing.
pub fn paths() -> Result<Lesson> {
    let component = |(w, m, s): (f64, f64, f64)| Component::isotropic(w, vec![m], s * s);
    let law = Arc::new(GaussianMixture::new(LAW.map(component).to_vec())?);
    let schedule: Arc<dyn Schedule> = Arc::new(VpLinear::default());
    let mean: f64 = LAW.iter().map(|(w, m, _)| w * m).sum();
    let square: f64 = LAW.iter().map(|(w, m, s)| w * (m * m + s * s)).sum();
    let sigma_data = (square - mean * mean).sqrt();
    let model = Diffusing::new(law.clone(), schedule.clone()).with_sigma_data(sigma_data);
    let sde = AnySolver::EulerMaruyama(EulerMaruyama::default());
    let chain = AnySolver::Ancestral(Ancestral::default());
    let solvers = [sde, AnySolver::default(), chain];
    let kinds = ["reverse SDE", "probability-flow ODE", "chain of denoising steps"];
    let device = Device::flex();
    let draws = Draws::new(1);
    let sampler =
        |k: usize| Sampler::from(model.clone()).with_solver(solvers[k]).with_steps(STEPS[k]);
    let path = |k: usize, n: u64, count: usize| {
        sampler(k).path(0..n, &Condition::None, &draws, &device, count)
    };
    let drawn = (0..3).map(|k| {
        let moments = path(k, PATHS, STEPS[k] + 1)?;
        let all = moments.iter().map(values).collect::<Result<Vec<_>>>()?;
        let levels = moments.iter().map(|moment| moment.level).collect();
        let row = |i: usize| all.iter().map(|x| x[i]).collect();
        let title = format!("{}, {} steps", kinds[k], STEPS[k]);
        Ok(Paths { title, levels, values: (0..PATHS as usize).map(row).collect() })
    });
    let drawn = drawn.collect::<Result<Vec<Paths>>>()?;
    let data = Rows::from_tensor(&law.sample(DATA, &Draws::new(8), &device))?;
    let data: Vec<f64> = data.iter().map(|row| f64::from(row[0])).collect();
    let over = flow(&drawn, &data, &*schedule, sigma_data, "x, scaled to the data")?;
    let moments = (0..3).map(|k| path(k, SAMPLES, LEVELS + 1)).collect::<Result<Vec<_>>>()?;
    let of = |(k, moments): (usize, &Vec<Moment>)| {
        let seen = &moments[1..];
        let found = seen.iter().map(|m| Ok(distance(&m.level, &values(m)?)));
        Ok(Distances {
            kind: kinds[k],
            steps: STEPS[k],
            log_snr: seen.iter().map(|m| Some(m.level.lambda).filter(|l| l.is_finite())).collect(),
            distance: found.collect::<Result<Vec<f64>>>()?,
        })
    };
    let distances = moments.iter().enumerate().map(of).collect::<Result<Vec<_>>>()?;
    let pictures = vec![
        ("paths-one.png".into(), over),
        ("paths-marginals.png".into(), marginals(&moments[..2])?),
    ];
    Ok(Lesson { text: text(&distances), pictures, figures: for_machines(&distances)? })
}

/// Histograms of the SDE's and of the ODE's samples at each level, with the exact density.
fn marginals(kinds: &[Vec<Moment>]) -> Result<RgbImage> {
    let (low, high) = SEEN;
    let width = (high - low) / BINS as f64;
    let steps = |values: &[f64]| {
        let mut counts = [0.0; BINS];
        for x in values.iter().filter(|x| (low..high).contains(*x)) {
            counts[(((x - low) / width) as usize).min(BINS - 1)] += 1.0;
        }
        let height = |count: f64| count / (values.len() as f64 * width);
        let bar = |(i, count): (usize, &f64)| {
            let left = low + i as f64 * width;
            [(left, height(*count)), (left + width, height(*count))]
        };
        counts.iter().enumerate().flat_map(bar).collect::<Vec<(f64, f64)>>()
    };
    let plots = (1..=LEVELS).map(|at| {
        let level = kinds[0][at].level;
        let title = place(Some(level.lambda).filter(|lambda| lambda.is_finite()));
        let exact = (0..=8 * BINS).map(|i| low + (high - low) * i as f64 / (8 * BINS) as f64);
        let exact: Vec<(f64, f64)> = exact.map(|x| (x, density(&level, x))).collect();
        let plot = Plot::new(&title).size(820, 620).x_name("x").y_name("p");
        let plot = plot.line("SDE", &steps(&values(&kinds[0][at])?));
        let plot = plot.line("ODE", &steps(&values(&kinds[1][at])?));
        Ok(plot.line("exact", &exact))
    });
    panels(&plots.collect::<Result<Vec<_>>>()?, 2)
}

/// The name of a level by its log-SNR, which clean data do not have.
fn place(log_snr: Option<f64>) -> String {
    let number = |log_snr: f64| format!("{log_snr:.1}").replace('-', "−");
    log_snr.map_or("data".to_string(), |log_snr| format!("log-SNR {}", number(log_snr)))
}

/// The page in Markdown.
fn text(distances: &[Distances]) -> String {
    let mut headings = vec!["view".to_string(), "steps".to_string()];
    headings.extend(distances[0].log_snr.iter().copied().map(place));
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let line = |of: &Distances| {
        let first = [of.kind.to_string(), of.steps.to_string()];
        first.into_iter().chain(of.distance.iter().map(|d| format!("{d:.4}"))).collect()
    };
    let table = table(&headings, &distances.iter().map(line).collect::<Vec<_>>());
    let chance = [0.87, 1.63].map(|factor| factor / (SAMPLES as f64).sqrt());
    format!(
        "# One path, seen three ways\n\nWritten by `tweedie reproduce paths`. The data are a mixture of three \
         Gaussians on the line, whose denoiser is exact, so that what is left is the numerical error of the steps and \
         the chance of samples.\n\n## The same noise, three ways to the data\n\nThe reverse SDE takes new noise at \
         every step. The probability-flow ODE takes none: its paths never cross. A chain of denoising steps draws each \
         state from a Gaussian given the one before, as diffusion models did first; with more and smaller steps it \
         becomes the SDE.\n\n![Paths of the SDE, of the ODE and of the chain from the same \
         noise](images/paths-one.png)\n\n## Other paths, the same densities\n\nAt every level the samples of SDE and \
         ODE have the same density, though no path of one is a path of the other.\n\n![Histograms of both, and the \
         exact density](images/paths-marginals.png)\n\nThe greatest difference between the distribution functions of \
         {SAMPLES} samples and of the exact density: by chance about {:.4}, and above {:.4} in one case of a hundred. \
         What is above that is the error of the steps.\n\n{table}",
        chance[0], chance[1],
    )
}
