//! What a learned schedule minimises: the variance of the bound's estimate.
//!
//! At t uniform in [0, 1] and ε normal, a row's diffusion loss for each column is
//!
//! > ℓ = −½ λ′(t) ‖ε − ε̂‖²/d,
//!
//! whose mean is ½ ∫ E‖ε − ε̂‖² dλ/d for every schedule with these ends (*An Introduction to Generative Modeling with Flows and
//! Diffusion Models*, eq. 6.60). So its variance is least where E ℓ² is, and ℓ² is differentiated by the schedule's weights,
//! through λ′ and through x_t and ε̂ (*Demystifying Variational Diffusion Models*, app. A.2; Kingma et al. 2021, app. I.2).

use super::{Batch, Loss, NoiseLevels};
use crate::denoise::NeuralDenoiser;
use crate::nn::Network;
use crate::process::{LearnedSchedule, column};
use crate::{Draws, Result};

/// ℓ of each row as its value, ℓ² as its surrogate for the schedule's weights; see the module's head. Times cover [0, 1]
/// evenly if `low_discrepancy` says so. Batch, schedule and network live on one device, with its graph if one of them does.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::denoise::{Condition, NeuralDenoiser, Prediction};
/// use tweedie::objective::{Batch, schedule_variance};
/// use tweedie::process::{Cosine, LearnedSchedule};
/// use tweedie::{Draws, nn::ResidualMlpConfig};
/// let (device, draws) = (Device::flex(), Draws::new(0));
/// let network = ResidualMlpConfig::new(2).init(&draws, &device);
/// let model = NeuralDenoiser::new(network, Prediction::Edm, Cosine::default());
/// let schedule = LearnedSchedule::new(-12.0, 12.0, 16, &draws, &device)?;
/// let batch = Batch { x: Tensor::ones([8, 2], &device), condition: Condition::None };
/// let loss = schedule_variance(&schedule, &model, &batch, true, &draws)?;
/// assert_eq!(loss.value.dims(), [8, 1]);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// The model's.
pub fn schedule_variance<N: Network>(
    schedule: &LearnedSchedule,
    model: &NeuralDenoiser<N>,
    batch: &Batch,
    low_discrepancy: bool,
    draws: &Draws,
) -> Result<Loss> {
    let [n, d] = batch.x.dims();
    let places = NoiseLevels { low_discrepancy, ..NoiseLevels::default() }.places(n, draws);
    let (levels, rate) = schedule.tracked(column(&batch.x, places.into_iter()));
    let noise = draws.purpose("noise").normals(0..n as u64, d);
    let noise = noise.to_tensor(&batch.x.device()).cast(batch.x.dtype());
    let sigma = levels.sigma(&batch.x)?;
    let x = batch.x.clone() * levels.alpha(&batch.x)? + noise.clone() * sigma.clone();
    // ε̂ = −σ s.
    let score = model.score(x.into(), &levels, &batch.condition)?.value;
    let error = (noise + score * sigma).square().mean_dim(1);
    let value = error * rate.mul_scalar(-0.5);
    Ok(Loss { surrogate: value.clone().square(), value })
}
