//! Corruption of batches by noise: the counterpart for rows of a [`Schedule`], which acts on scalars.
//!
//! Training needs x_t given x₀; sampling needs the distribution of x_T. For a linear Gaussian process they are (*An
//! Introduction to Generative Modeling with Flows and Diffusion Models*, eqs. 6.12–6.16)
//!
//! > x_t = α x₀ + σ ε, x_T ≈ N(m(T), (α_T² σ_data² + σ_T²) I),
//!
//! the second with the moments at the last time T of data with mean 0 and standard deviation σ_data. x_t is centred:
//! the offset m(t) of a linear SDE ([`Schedule::offset`]) is not part of it, and denoisers never see one.

use super::{Levels, Schedule};
use crate::data::{Batch, Condition};
use crate::{Draws, Result};
use burn::tensor::{Device, Tensor};
use std::sync::Arc;

/// A process that turns rows into noise.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::data::{Batch, Condition};
/// use tweedie::process::{Corruption, Cosine, Gaussian, Schedule};
/// let process = Gaussian { schedule: Arc::new(Cosine::default()), sigma_data: 1.0 };
/// let batch = Batch { x: Tensor::ones([3, 2], &Device::flex()), condition: Condition::None };
/// let level = process.schedule.level(0.4);
/// let noised = process.corrupt(&batch, level.into(), &[0, 1, 2], &Draws::new(7))?;
/// let again = batch.x.mul_scalar(level.alpha) + noised.noise.mul_scalar(level.sigma);
/// assert_eq!((again - noised.x).abs().max().into_scalar::<f32>(), 0.0);
/// # Ok::<(), tweedie::Error>(())
/// ```
pub trait Corruption: std::fmt::Debug + Send + Sync {
    /// The batch at its noise levels. Row k of the batch has the noise of row `rows[k]` of `draws`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the number of levels differs from the number of rows.
    fn corrupt(
        &self,
        batch: &Batch,
        levels: Levels,
        rows: &[u64],
        draws: &Draws,
    ) -> Result<NoisedBatch>;

    /// The start of sampling, `[rows, width]` in single precision at the last time, with its offset. Row k has the
    /// noise of row `rows[k]` of `draws`.
    fn prior(&self, rows: &[u64], width: usize, draws: &Draws, device: &Device) -> Tensor<2>;
}

/// A noised batch.
#[derive(Debug, Clone)]
pub struct NoisedBatch {
    /// x_t, `[n, width]`.
    pub x: Tensor<2>,
    /// ε, `[n, width]`.
    pub noise: Tensor<2>,
    /// One level for all rows, or one per row.
    pub levels: Levels,
    /// One condition per row.
    pub condition: Condition,
}

/// The linear Gaussian process of a schedule: x_t = α x₀ + σ ε.
#[derive(Debug, Clone)]
pub struct Gaussian {
    /// The schedule: α and σ as functions of time.
    pub schedule: Arc<dyn Schedule>,
    /// The standard deviation of the data in model units; enters the prior's.
    pub sigma_data: f64,
}

impl Corruption for Gaussian {
    fn corrupt(
        &self,
        batch: &Batch,
        levels: Levels,
        rows: &[u64],
        draws: &Draws,
    ) -> Result<NoisedBatch> {
        let noise = draws.normals_for(rows, batch.x.dims()[1]);
        let noise = noise.to_tensor(&batch.x.device()).cast(batch.x.dtype());
        let x = levels.noised(&batch.x, &noise)?;
        Ok(NoisedBatch { x, noise, levels, condition: batch.condition.clone() })
    }

    fn prior(&self, rows: &[u64], width: usize, draws: &Draws, device: &Device) -> Tensor<2> {
        let noise = draws.normals_for(rows, width).to_tensor(device);
        let x = noise.mul_scalar(self.schedule.prior_sd(self.sigma_data));
        match self.schedule.offset(self.schedule.range().1) {
            0.0 => x,
            offset => x.add_scalar(offset),
        }
    }
}
