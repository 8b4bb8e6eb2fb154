//! The objective of a learned schedule: the variance of the bound's estimate.
//!
//! At t uniform in [0, 1] and ε normal, the diffusion loss of a row per column is
//!
//! > ℓ = −½ λ′(t) ‖ε − ε̂‖²/d,
//!
//! whose mean is ½ ∫ E‖ε − ε̂‖² dλ/d for every schedule with these ends (*An Introduction to Generative Modeling with
//! Flows and Diffusion Models*, eq. 6.60). The variance is therefore least where E ℓ² is least. ℓ² is differentiated by
//! the schedule's weights through λ′, x_t and ε̂ (*Demystifying Variational Diffusion Models*, app. A.2; Kingma et al.
//! 2021, app. I.2).
//!
//! One pass through the network serves both: the backward pass of Σ ℓ for the network also yields ∂ℓ/∂λ of each row,
//! and with ∂ℓ/∂λ′ = ℓ/λ′ the gradient of the schedule is the gradient of
//!
//! > 2 ℓ (∂ℓ/∂λ · λ_η(t) + ℓ/λ′ · λ′_η(t)),
//!
//! with constant factors.

use crate::data::Batch;
use crate::denoise::NeuralDenoiser;
use crate::nn::Network;
use crate::process::{LearnedSchedule, Levels, NoiseLevels};
use crate::tensor::{column, detached};
use crate::{Draws, Result};
use burn::tensor::{DType, Gradients, Tensor};

/// The diffusion loss at levels of a learned schedule; see the module documentation.
///
/// ```
/// use tweedie::burn::{module::Module, tensor::{Device, Tensor}};
/// use tweedie::denoise::{NeuralDenoiser, Prediction};
/// use tweedie::data::{Batch, Condition};
/// use tweedie::objective::ScheduledLoss;
/// use tweedie::process::{Cosine, LearnedSchedule};
/// use tweedie::Draws;
/// use tweedie::nn::ResidualMlpConfig;
/// let (device, draws) = (Device::flex(), Draws::new(0));
/// let network = ResidualMlpConfig::new(2).init(&draws, &device);
/// let model = NeuralDenoiser::new(network, Prediction::Edm, Cosine::default());
/// let schedule = LearnedSchedule::new(-12.0, 12.0, 16, &draws, &device)?.train();
/// let batch = Batch { x: Tensor::ones([8, 2], &device.autodiff()), condition: Condition::None };
/// let loss = ScheduledLoss::new(&schedule, &model, &batch, true, &draws)?;
/// // Of the network's weights and the noise levels.
/// let gradients = loss.value.clone().mean().backward();
/// let of_schedule = loss.surrogate(&schedule, &gradients)?.backward();
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ScheduledLoss {
    /// The loss ℓ of each row, `[n, 1]`.
    pub value: Tensor<2>,
    /// The times, `[n, 1]`.
    t: Tensor<2>,
    /// The log-SNRs at these times, a leaf of the graph, `[n, 1]`.
    lambda: Tensor<2>,
    /// dλ/dt at these times, outside the graph, `[n, 1]`.
    rate: Tensor<2>,
}

impl ScheduledLoss {
    /// The loss of a batch, inside a graph. With `low_discrepancy` the times cover [0, 1] evenly.
    ///
    /// # Errors
    /// The errors of the model.
    pub fn new<N: Network>(
        schedule: &LearnedSchedule,
        model: &NeuralDenoiser<N>,
        batch: &Batch,
        low_discrepancy: bool,
        draws: &Draws,
    ) -> Result<Self> {
        let [n, d] = batch.x.dims();
        let places = NoiseLevels { low_discrepancy, ..NoiseLevels::default() }.places(n, draws);
        let t = column(&detached(batch.x.clone()), places.into_iter()).cast(DType::F32);
        let (levels, rate) = schedule.tracked(Tensor::from_inner(t.clone()));
        let (rate, lambda) = (detached(rate), detached(levels.lambda(&t)?));
        let lambda = Tensor::from_inner(lambda).require_grad();
        let levels = Levels::Tracked { t: Tensor::from_inner(t.clone()), lambda: lambda.clone() };
        let noise = draws.purpose("noise").normals(0..n as u64, d);
        let noise = noise.to_tensor(&batch.x.device()).cast(batch.x.dtype());
        let sigma = levels.sigma(&batch.x)?;
        let x = batch.x.clone() * levels.alpha(&batch.x)? + noise.clone() * sigma.clone();
        // ε̂ = −σ s.
        let score = model.score(x.into(), &levels, &batch.condition)?.value;
        let error = (noise + score * sigma).square().mean_dim(1);
        let rates = Tensor::from_inner(rate.clone()).cast(batch.x.dtype());
        let value = error * rates.mul_scalar(-0.5);
        Ok(Self { value, t, lambda, rate })
    }

    /// The surrogate of the schedule, `[1]`: its gradient by the schedule's weights is the gradient of the mean of ℓ².
    /// `gradients` are the gradients of the mean of [`ScheduledLoss::value`].
    ///
    /// # Errors
    /// The errors of [`Levels::lambda`].
    pub fn surrogate(
        &self,
        schedule: &LearnedSchedule,
        gradients: &Gradients,
    ) -> Result<Tensor<1>> {
        let loss = detached(self.value.clone()).cast(DType::F32);
        let twice = loss.clone().mul_scalar(2.0);
        let (levels, rate) = schedule.tracked(Tensor::from_inner(self.t.clone()));
        let of_rate = Tensor::from_inner(loss.clone() * twice.clone() / self.rate.clone());
        let mut sum = of_rate * rate;
        if let Some(slope) = self.lambda.grad(gradients) {
            // The gradient of the mean, so that the gradient of a row is n times as large.
            let slope = slope.mul_scalar(loss.dims()[0] as f64);
            sum = sum + Tensor::from_inner(slope * twice) * levels.lambda(&loss)?;
        }
        Ok(sum.mean())
    }
}
