//! Exact densities from log densities whose integral is known: log p = ln γ − ln Z.

use super::{Density, Kind, LogProb, Measure, check_batch};
use crate::data::{Condition, LogDensity};
use crate::tensor::host_column;
use crate::{Error, Result};
use burn::tensor::Tensor;
use std::sync::Arc;

/// The exact density of a [`LogDensity`] in model units.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::data::Condition;
/// use tweedie::density::{Density, NormalisedDensity};
/// use tweedie::mcmc::Banana;
/// let density = NormalisedDensity::new(Arc::new(Banana::default()))?;
/// let x = Tensor::<2>::from_floats([[0.0, -3.0]], &Device::flex()); // the mode
/// let log_p = density.log_prob(x, &Condition::None)?.value[0];
/// assert!((log_p + (10.0 * std::f64::consts::TAU).ln()).abs() < 1e-6);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone)]
pub struct NormalisedDensity {
    density: Arc<dyn LogDensity>,
    log_z: f64,
}

impl NormalisedDensity {
    /// The density γ/Z of a log density ln γ.
    ///
    /// # Errors
    /// [`Error::Undefined`] if ln Z is not known.
    pub fn new(density: Arc<dyn LogDensity>) -> Result<Self> {
        match density.log_z() {
            Some(log_z) => Ok(Self { density, log_z }),
            None => Err(Error::undefined("log p", "the integral of this log density is not known")),
        }
    }
}

impl Density for NormalisedDensity {
    fn log_prob(&self, x: Tensor<2>, condition: &Condition) -> Result<LogProb> {
        check_batch(self.density.width(), &x, condition)?;
        let log = self.density.log_density(x.into(), condition)?.value;
        let value = host_column(&log.inner())?.iter().map(|log| log - self.log_z).collect();
        let measure = Measure::Standardised;
        Ok(LogProb { value, kind: Kind::Exact, standard_error: None, measure })
    }
}
