//! Log-probabilities that models assign to data, always with their kind (exact, bound, estimate) and their measure.

mod bound;
mod dequantise;
pub mod fit;
mod integers;
mod normalised;
mod pf_ode;
mod raw;
mod sde;

pub use bound::{Bound, Terms};
pub(crate) use bound::{edge, ends, prior_terms, probe, step};
pub use dequantise::{Dequantise, DequantisedBatch, Dequantiser, Uniform};
pub use integers::Decoder;
pub use normalised::NormalisedDensity;
pub use pf_ode::PfOde;
use pf_ode::centred;
pub(crate) use pf_ode::{log_prior, velocity_and_divergence};
pub(crate) use raw::in_parts;
pub use raw::{InSpace, RawDensity};
pub use sde::ReverseSde;

use crate::data::Condition;
use crate::tensor::mean_and_error;
use crate::{Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The kind of a log-probability: how it relates to log p.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Equal to log p up to rounding and solver tolerance.
    Exact,
    /// A lower bound: its expectation is at most log p.
    LowerBound,
    /// An upper bound: its expectation is at least log p.
    UpperBound,
    /// An estimate without a known direction of bias.
    Estimate,
}

/// The measure that a density is taken against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The counting measure: probabilities of discrete values.
    Counting,
    /// Lebesgue measure in the data's own units.
    Raw,
    /// Lebesgue measure in model units.
    Standardised,
}

impl Measure {
    /// What numbers against this measure are, in words.
    pub fn words(self) -> &'static str {
        match self {
            Measure::Counting => "probabilities of integers",
            Measure::Raw => "densities in the data's units",
            Measure::Standardised => "densities in model units",
        }
    }
}

/// log p of each row of a batch, in nats.
///
/// ```
/// use tweedie::density::{Kind, LogProb, Measure};
/// let of = |value| LogProb { value, kind: Kind::Exact, standard_error: None, measure: Measure::Raw };
/// let (truth, model) = (of(vec![-1.0, -2.0, -1.5]), of(vec![-1.1, -2.3, -1.4]));
/// let (divergence, error) = truth.mean_difference(&model)?; // on the same rows
/// assert!((divergence - 0.1).abs() < 1e-12 && error < model.mean().1);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogProb {
    /// One value per row, nats.
    pub value: Vec<f64>,
    /// The kind of all the values.
    pub kind: Kind,
    /// The standard error of each value's own Monte Carlo estimate; none if the values are not estimates.
    pub standard_error: Option<Vec<f64>>,
    /// The measure that the density is taken against.
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

    /// The log-probabilities of these rows followed by those of `other`; without standard errors if either part has
    /// none.
    ///
    /// # Errors
    /// [`Error::Config`] if the two are of different kinds or taken against different measures.
    pub fn followed_by(mut self, other: LogProb) -> Result<Self> {
        let of = |part: &LogProb| (part.kind, part.measure);
        if of(&self) != of(&other) {
            let problem = format!("{:?} followed by {:?}", of(&self), of(&other));
            let expected = "log p of one kind against one measure";
            return Err(Error::config("log p", problem, expected));
        }
        self.standard_error =
            self.standard_error.zip(other.standard_error).map(|(mut all, more)| {
                all.extend(more);
                all
            });
        self.value.extend(other.value);
        Ok(self)
    }

    /// The same densities relative to another measure: takes `volumes` nats from the rows
    /// ([`Space::log_volumes`](crate::data::Space::log_volumes)).
    pub fn in_units_of(mut self, volumes: &[f64], measure: Measure) -> Self {
        self.value.iter_mut().zip(volumes).for_each(|(value, volume)| *value -= volume);
        self.measure = measure;
        self
    }
}

/// A log-density of batches in model units.
pub trait Density {
    /// log p of each row of a batch in model units, `[n, width]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if batch and condition do not fit; [`Error::Diverged`] if the integration fails.
    fn log_prob(&self, x: Tensor<2>, condition: &Condition) -> Result<LogProb>;
}

/// Fails unless `x` is `[n, width]` with n ≥ 1 and `condition` has n entries.
pub(crate) fn check_batch(width: usize, x: &Tensor<2>, condition: &Condition) -> Result<()> {
    let [n, d] = x.dims();
    if n == 0 || d != width {
        let expected = format!("n × {width}, n above 0");
        return Err(Error::shape("batch", format!("{n} × {d}"), expected));
    }
    condition.check(n)
}
