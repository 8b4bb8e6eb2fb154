//! log p: what models assign to data, always tagged with what kind of number it is and against which measure.

mod pf_ode;

pub use pf_ode::{Divergence, PfOde};

use crate::data::Rows;
use crate::denoise::Condition;
use crate::{Error, Result};
use burn::tensor::Tensor;
use serde::Serialize;

/// What kind of number a log-probability is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Equal to log p up to rounding and solver tolerance.
    Exact,
    /// Its expectation is at most log p.
    LowerBound,
    /// Its expectation is at least log p.
    UpperBound,
    /// Neither.
    Estimate,
}

/// What a density is taken against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Probabilities of discrete values.
    Counting,
    /// Densities in the data's own units.
    Raw,
    /// Densities in model units.
    Standardised,
}

/// log p of each row of a batch, in nats.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogProb {
    /// One value per row, nats.
    pub value: Vec<f64>,
    /// What kind of number each is.
    pub kind: Kind,
    /// The standard error of each value's own Monte Carlo estimate; none if it has none.
    pub standard_error: Option<Vec<f64>>,
    /// What the density is taken against.
    pub measure: Measure,
}

impl LogProb {
    /// The mean over rows and its standard error, which includes the spread between rows.
    pub fn mean(&self) -> (f64, f64) {
        mean_and_error(&self.value)
    }

    /// The mean of `self − other` over paired rows and its standard error.
    ///
    /// # Errors
    /// [`Error::Config`] if the two are taken against different measures; [`Error::Shape`] if their lengths differ.
    pub fn mean_difference(&self, other: &LogProb) -> Result<(f64, f64)> {
        if self.measure != other.measure {
            return Err(Error::config(
                "log p",
                format!("{:?} compared with {:?}", self.measure, other.measure),
                "two densities against the same measure",
            ));
        }
        if self.value.len() != other.value.len() {
            return Err(Error::shape("log p", other.value.len(), self.value.len()));
        }
        let pairs = self.value.iter().zip(&other.value);
        Ok(mean_and_error(&pairs.map(|(a, b)| a - b).collect::<Vec<_>>()))
    }

    /// The same densities against another volume: adds `shift` nats to every row.
    pub fn shifted(mut self, shift: f64, measure: Measure) -> Self {
        self.value.iter_mut().for_each(|v| *v += shift);
        self.measure = measure;
        self
    }
}

/// batch ↦ log p.
pub trait Density {
    /// log p of each row of a batch in model units, `[n, width]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if batch and condition do not fit; [`Error::Diverged`] if the integration fails.
    fn log_prob(&self, x: Tensor<2>, condition: &Condition) -> Result<LogProb>;
}

/// A sample's mean and the standard error of that mean (0 for fewer than two values).
pub fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    if values.is_empty() {
        return (f64::NAN, f64::NAN);
    }
    let mean = values.iter().sum::<f64>() / n;
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// log p of raw data under a model in `space`'s model units, in chunks of `chunk` rows.
///
/// Integer columns are dequantised uniformly with `draws`, one draw per row: if every column is an integer the
/// result is a lower bound of the log-probability of the integers themselves (Theis et al. 2016, eq. 5), against the
/// counting measure; otherwise it is a density in raw units. `observe` hears how many rows are done.
///
/// # Errors
/// As [`Density::log_prob`] and [`crate::data::Space::encode`]; [`Error::Undefined`] if a column is categorical.
pub fn log_prob_raw(
    density: &dyn Density,
    space: &crate::data::Space,
    raw: &Rows,
    condition: &Condition,
    draws: &crate::Draws,
    device: &burn::tensor::Device,
    chunk: usize,
    mut observe: impl FnMut(usize),
) -> Result<LogProb> {
    let counting = space.bits_per_dimension(0.0).is_some();
    let volume = space.log_volume();
    let mut all: Option<LogProb> = None;
    for start in (0..raw.len()).step_by(chunk.max(1)) {
        let range = start..(start + chunk.max(1)).min(raw.len());
        let ids: Vec<u64> = range.clone().map(|i| i as u64).collect();
        let indices: Vec<usize> = range.clone().collect();
        let x = space.encode_dequantised(
            &raw.slice(range.clone()),
            &draws.purpose("dequantise"),
            &ids,
        )?;
        let mut part = density.log_prob(x.to_tensor(device), &condition.select(&indices))?;
        if counting && part.kind == Kind::Exact {
            part.kind = Kind::LowerBound;
        }
        let measure = if counting { Measure::Counting } else { Measure::Raw };
        let part = part.shifted(-volume, measure);
        match &mut all {
            None => all = Some(part),
            Some(all) => {
                all.value.extend(part.value);
                if let (Some(a), Some(b)) = (&mut all.standard_error, part.standard_error) {
                    a.extend(b);
                }
            }
        }
        observe(range.end);
    }
    all.ok_or_else(|| Error::shape("data", "0 rows", "at least one row"))
}
