//! A denoiser with its process.

use super::Denoiser;
use crate::process::{Gaussian, Schedule};
use std::sync::Arc;

/// A denoiser with the process that it reverses: the input of a sampler or a density.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::burn::tensor::Device;
/// use tweedie::data::{Condition, Generate};
/// use tweedie::denoise::{Component, Diffusing, GaussianMixture};
/// use tweedie::density::PfOde;
/// use tweedie::process::VpLinear;
/// use tweedie::solve::Sampler;
/// let data = GaussianMixture::new(vec![Component::isotropic(1.0, vec![0.0], 0.25)])?;
/// let model = Diffusing::new(Arc::new(data), Arc::new(VpLinear::default())).with_sigma_data(0.5);
/// let (sampler, density) = (Sampler::from(model.clone()), PfOde::from(model));
/// let x = sampler.generate(0..4, &Condition::None, &tweedie::Draws::new(1), &Device::flex())?;
/// # use tweedie::density::Density;
/// assert_eq!(density.log_prob(x, &Condition::None)?.value.len(), 4);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone)]
pub struct Diffusing {
    /// The denoiser, E[x₀ | x_t].
    pub denoiser: Arc<dyn Denoiser>,
    /// The schedule: α and σ as functions of time.
    pub schedule: Arc<dyn Schedule>,
    /// The standard deviation of the data in model units; enters the prior's.
    pub sigma_data: f64,
}

impl Diffusing {
    /// A denoiser under a schedule, for data of unit variance.
    pub fn new(denoiser: Arc<dyn Denoiser>, schedule: Arc<dyn Schedule>) -> Self {
        Self { denoiser, schedule, sigma_data: 1.0 }
    }

    /// Sets the standard deviation of the data in model units.
    pub fn with_sigma_data(mut self, sigma_data: f64) -> Self {
        self.sigma_data = sigma_data;
        self
    }

    /// The process that turns data into noise.
    pub fn corruption(&self) -> Gaussian {
        Gaussian { schedule: self.schedule.clone(), sigma_data: self.sigma_data }
    }
}
