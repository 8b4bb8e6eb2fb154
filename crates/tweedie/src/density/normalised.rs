//! Log densities whose integral is known, as densities: log p = ln γ − ln Z.

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
/// use tweedie::density::{Density, Normalised};
/// use tweedie::mcmc::Banana;
/// let density = Normalised::new(Arc::new(Banana::default()))?;
/// let x = Tensor::<2>::from_floats([[0.0, -3.0]], &Device::flex()); // the mode
/// let log_p = density.log_prob(x, &Condition::None)?.value[0];
/// assert!((log_p + (10.0 * std::f64::consts::TAU).ln()).abs() < 1e-6);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone)]
pub struct Normalised {
    density: Arc<dyn LogDensity>,
    log_z: f64,
}

impl Normalised {
    /// γ/Z.
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

impl Density for Normalised {
    fn log_prob(&self, x: Tensor<2>, condition: &Condition) -> Result<LogProb> {
        check_batch(self.density.width(), &x, condition)?;
        let log = self.density.log_density(x.into(), condition)?.value;
        let value = host_column(&log.inner())?.iter().map(|log| log - self.log_z).collect();
        let measure = Measure::Standardised;
        Ok(LogProb { value, kind: Kind::Exact, standard_error: None, measure })
    }
}
