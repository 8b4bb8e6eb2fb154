//! Pages that teach: computations in closed form or by quadrature, with their pictures.

mod dirac;
mod estimators;
mod finite_samples;
mod fits;
mod gap;
mod paths;

pub use dirac::dirac;
pub use estimators::{Bowl, Gradient, draw_by_size, estimators, exponential_variance, mean_size};
pub use finite_samples::{critic_of_equals, critic_slopes, finite_samples, generator_gradient};
pub use fits::{Gaussian, fits, least_kl, least_w1};
pub use gap::{LinearModel, LinearPosterior, Matrix, Pairs, gap};
pub use paths::paths;

use crate::Result;
use image::RgbImage;
use serde_json::Value;

/// A page that teaches.
pub struct Lesson {
    /// The page in Markdown; it has its pictures in the folder `images` beside it.
    pub text: String,
    /// The names of the files of its pictures, with the pictures.
    pub pictures: Vec<(String, RgbImage)>,
    /// The numbers of the page.
    pub figures: Value,
}

/// A table in Markdown.
fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let headings: Vec<String> = headings.iter().map(|heading| heading.to_string()).collect();
    let rule = vec!["---".to_string(); headings.len()];
    [&headings, &rule].into_iter().chain(rows).map(|cells| line(cells)).collect()
}

/// Steps of a search; each leaves 0.618 of the bracket.
const SECTIONS: usize = 80;

/// Where a concave function is greatest between `low` and `high`, by golden section.
fn greatest(mut low: f64, mut high: f64, of: impl Fn(f64) -> f64) -> f64 {
    let golden = 0.5 * (5f64.sqrt() - 1.0);
    for _ in 0..SECTIONS {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if of(a) > of(b) {
            high = b;
        } else {
            low = a;
        }
    }
    0.5 * (low + high)
}

/// Numbers as JSON.
fn for_machines(numbers: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(numbers)
        .map_err(|e| crate::Error::config("figure", e.to_string(), "values that JSON can hold"))
}
