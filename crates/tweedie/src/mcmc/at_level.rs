//! A denoiser at one noise level as a target: by Tweedie's formula its score is
//!
//! > ∇log p_t(x) = (α E[x₀ | x] − x)/σ²,
//!
//! and its log density is known where the denoiser belongs to an energy or a mixture.

use crate::data::{Condition, LogDensity};
use crate::denoise::Denoiser;
use crate::process::Level;
use crate::tensor::Dual;
use crate::{Error, Result};
use burn::tensor::Tensor;
use std::sync::Arc;

/// The noised density p_t of a denoiser at one level, by its score. [`super::Ula`] runs on any of them; kernels that
/// compare densities need a denoiser whose log density is known, such as an energy's or a mixture's.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::denoise::{Component, GaussianMixture, Guidance};
/// use tweedie::mcmc::{AtLevel, Mala, Transition, Ula};
/// use tweedie::process::Level;
/// let unit = GaussianMixture::new(vec![Component::isotropic(1.0, vec![0.0], 1.0)])?;
/// let (unit, level) = (Arc::new(unit), Level::new(0.5, 1.0, 0.5));
/// let start = || Tensor::zeros([3, 1], &Device::flex());
/// let target = AtLevel::new(unit.clone(), level)?;
/// assert!(Mala::default().init(start(), &target).is_ok());
/// // Guidance has a score alone.
/// let target = AtLevel::new(Arc::new(Guidance::new(unit, 2.0)?), level)?;
/// assert!(Ula::default().init(start(), &target).is_ok());
/// assert!(Mala::default().init(start(), &target).is_err());
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone)]
pub struct AtLevel {
    denoiser: Arc<dyn Denoiser>,
    level: Level,
}

impl AtLevel {
    /// The density of `denoiser` at `level`.
    ///
    /// # Errors
    /// [`Error::Undefined`] at σ = 0, where a denoiser has no score.
    pub fn new(denoiser: Arc<dyn Denoiser>, level: Level) -> Result<Self> {
        if level.sigma > 0.0 {
            return Ok(Self { denoiser, level });
        }
        Err(Error::undefined("the score of a denoiser at σ = 0", "there x is the data themselves"))
    }
}

impl LogDensity for AtLevel {
    fn width(&self) -> usize {
        self.denoiser.width()
    }

    fn log_density(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        self.denoiser.log_noised(x, &self.level.into(), condition)
    }

    fn score(&self, x: Tensor<2>, condition: &Condition) -> Result<Tensor<2>> {
        let x = x.inner();
        let data = self.denoiser.denoise(x.clone().into(), &self.level.into(), condition)?.value;
        let residual = data.inner().mul_scalar(self.level.alpha) - x;
        Ok(residual.mul_scalar(self.level.sigma.powi(-2)))
    }

    fn log_z(&self) -> Option<f64> {
        None
    }
}
