//! Score matching without denoising: explicit, implicit, sliced, and by finite differences.
//!
//! With s the model's score, s* the score of the (noised) data, and every random v with E[v vᵀ] = I:
//!
//! | objective | a row's loss | |
//! |---|---|---|
//! | explicit | ‖s − s*‖² | Hyvärinen 2005, eq. 2; *An Introduction …*, eq. 5.2 |
//! | implicit | ½ ‖s‖² + ∇·s | Hyvärinen 2005, theorem 1; *An Introduction …*, eq. 5.4 |
//! | sliced | ½ (v·s)² + vᵀ ∇s v | Song et al. 2019, eq. 7 |
//! | sliced, variance-reduced | ½ ‖s‖² + vᵀ ∇s v | Song et al. 2019, eq. 8; *An Introduction …*, eqs. 5.5–5.6 |
//! | finite differences | the same with v·s and vᵀ ∇s v by central differences | Pang et al. 2020, sec. 4 |
//!
//! *An Introduction …* is *An Introduction to Generative Modeling with Flows and Diffusion Models*.
//!
//! The mean of the explicit loss is twice the mean of the implicit one plus E‖s*‖², which corrects eq. 5.4 of *An
//! Introduction …*; the implicit loss is the mean of either sliced loss over v. Each is multiplied by the level's
//! weight on the squared error of the score, σ² by default (Song & Ermon 2019, eq. 6). A larger weight at high noise
//! multiplies the variance of all but the explicit loss without bound, because nearly all of s is known there and the
//! rest is a difference of large numbers.

use super::any::MOST_EXACT;
use super::{Loss, Noising, Objective, ObjectiveConfig, Objectives, ScoreModel, Weighting};
use crate::data::Batch;
use crate::denoise::{Denoiser, Prediction};
use crate::error::within;
use crate::process::NoisedBatch;
use crate::tensor::{Divergence, Probe, Probes};
use crate::{Draws, Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Explicit score matching, the Fisher divergence from a known score; see the module documentation.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::denoise::{Component, GaussianMixture, NeuralDenoiser, Prediction};
/// use tweedie::data::{Batch, Condition};
/// use tweedie::nn::ResidualMlpConfig;
/// use tweedie::objective::{ExplicitScoreMatching, Objective};
/// use tweedie::process::Cosine;
/// let device = Device::flex();
/// let network = ResidualMlpConfig::new(2).init(&Draws::new(0), &device);
/// let model = NeuralDenoiser::new(network, Prediction::Edm, Cosine::default());
/// let truth = GaussianMixture::new(vec![Component::isotropic(1.0, vec![0.0; 2], 1.0)])?;
/// let batch = Batch { x: Tensor::ones([4, 2], &device), condition: Condition::None };
/// let objective = ExplicitScoreMatching::new(Arc::new(Cosine::default()), Arc::new(truth));
/// let (loss, _) = objective.loss(&model, &batch, &Draws::new(1))?.mean()?;
/// assert!(loss < 1e-6); // an untrained network in EDM's F is the score of a unit normal
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Clone)]
pub struct ExplicitScoreMatching {
    noising: Noising,
    truth: Arc<dyn Denoiser>,
}

impl ExplicitScoreMatching {
    /// The objective with `truth`, an exact denoiser or a teacher, as the source of the target score.
    pub fn new(noising: impl Into<Noising>, truth: Arc<dyn Denoiser>) -> Self {
        Self { noising: noising.into(), truth }
    }
}

impl<M: ScoreModel> Objective<M> for ExplicitScoreMatching {
    fn loss(&self, model: &M, batch: &Batch, draws: &Draws) -> Result<Loss> {
        let schedule = &*self.noising.schedule;
        let noised = self.noising.draw(batch, draws)?;
        let NoisedBatch { x, levels, condition, .. } = &noised;
        let data = self.truth.denoise(x.clone().into(), levels, condition)?;
        let truth = Prediction::Data.convert_batch(
            Prediction::Score,
            data,
            x.clone().into(),
            levels,
            schedule,
            1.0,
        )?;
        let truth = truth.value.detach();
        let square = |s: Tensor<2>| (s - truth.clone()).square().sum_dim(1);
        let loss = model.of_score(noised.at(), &square)?;
        weighted(loss, &self.noising, &noised, model)
    }
}

/// Implicit score matching in recipes; it has no options.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Implicit;

impl ObjectiveConfig for Implicit {
    fn most_width(&self) -> Option<usize> {
        Some(MOST_EXACT)
    }

    fn passes(&self, width: usize) -> usize {
        3 * width
    }

    fn build(&self, noising: Noising) -> Objectives {
        Objectives::both(ImplicitScoreMatching::new(noising))
    }
}

/// Implicit score matching, with the exact divergence; see the module documentation.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::denoise::{NeuralDenoiser, Prediction};
/// use tweedie::data::{Batch, Condition};
/// use tweedie::nn::ResidualMlpConfig;
/// use tweedie::objective::{ImplicitScoreMatching, Objective};
/// use tweedie::process::Cosine;
/// let device = Device::flex();
/// let network = ResidualMlpConfig::new(2).init(&Draws::new(0), &device);
/// let model = NeuralDenoiser::new(network, Prediction::Edm, Cosine::default());
/// let batch = Batch { x: Tensor::ones([4, 2], &device), condition: Condition::None };
/// let objective = ImplicitScoreMatching::new(Arc::new(Cosine::default()));
/// let loss = objective.loss(&model, &batch, &Draws::new(1))?;
/// assert_eq!(loss.value.dims(), [4, 1]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ImplicitScoreMatching {
    noising: Noising,
}

impl ImplicitScoreMatching {
    /// The objective under `noising`, or under a schedule with default levels and weight.
    pub fn new(noising: impl Into<Noising>) -> Self {
        Self { noising: noising.into() }
    }
}

impl<M: ScoreModel> Objective<M> for ImplicitScoreMatching {
    fn loss(&self, model: &M, batch: &Batch, draws: &Draws) -> Result<Loss> {
        let noised = self.noising.draw(batch, draws)?;
        let basis = Divergence::Exact.probes(draws, &[], &noised.x)?;
        // ½ ‖s‖² + ∇·s is the sum of the slices over the standard basis.
        let loss = sliced(model, &noised, &basis, None, false)?;
        weighted(loss, &self.noising, &noised, model)
    }
}

/// The options of sliced score matching.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slices {
    /// The number of random vectors per row.
    pub slices: usize,
    /// The law of the random vectors.
    pub law: Probe,
    /// Whether ½ ‖s‖² replaces its estimate ½ (v·s)².
    pub variance_reduced: bool,
    /// The step of central differences in units of the level's σ; exact derivatives if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
}

impl Default for Slices {
    fn default() -> Self {
        Self { slices: 1, law: Probe::Rademacher, variance_reduced: true, step: None }
    }
}

impl ObjectiveConfig for Slices {
    fn check(&self) -> Result<()> {
        if !(1..=1000).contains(&self.slices) {
            let found = self.slices.to_string();
            return Err(Error::config("objective.kind.slices", found, "from 1 to 1000"));
        }
        match self.step {
            Some(step) => within("objective.kind.step", step, 1e-3, 10.0),
            None => Ok(()),
        }
    }

    fn passes(&self, _: usize) -> usize {
        3 * self.slices + 2
    }

    fn build(&self, noising: Noising) -> Objectives {
        Objectives::both(SlicedScoreMatching::new(noising, *self))
    }
}

/// Sliced score matching, also by finite differences; see the module documentation.
///
/// In single precision a step below 0.03 σ loses an energy's second difference to rounding.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::denoise::{NeuralDenoiser, Prediction};
/// use tweedie::data::{Batch, Condition};
/// use tweedie::nn::ResidualMlpConfig;
/// use tweedie::objective::{Objective, SlicedScoreMatching, Slices};
/// use tweedie::process::Cosine;
/// let device = Device::flex();
/// let network = ResidualMlpConfig::new(2).init(&Draws::new(0), &device);
/// let model = NeuralDenoiser::new(network, Prediction::Edm, Cosine::default());
/// let batch = Batch { x: Tensor::ones([4, 2], &device), condition: Condition::None };
/// let objective = SlicedScoreMatching::new(Arc::new(Cosine::default()), Slices::default());
/// let loss = objective.loss(&model, &batch, &Draws::new(1))?;
/// assert_eq!(loss.value.dims(), [4, 1]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SlicedScoreMatching {
    noising: Noising,
    slices: Slices,
}

impl SlicedScoreMatching {
    /// The objective under `noising`, or under a schedule with default levels and weight.
    pub fn new(noising: impl Into<Noising>, slices: Slices) -> Self {
        Self { noising: noising.into(), slices }
    }
}

impl<M: ScoreModel> Objective<M> for SlicedScoreMatching {
    fn loss(&self, model: &M, batch: &Batch, draws: &Draws) -> Result<Loss> {
        let Slices { slices, law, variance_reduced, step } = self.slices;
        let noised = self.noising.draw(batch, draws)?;
        let random = Divergence::Hutchinson { probes: slices, law };
        let probes = random.probes(&draws.purpose("slices"), &noised.rows(), &noised.x)?;
        let loss = sliced(model, &noised, &probes, step, variance_reduced)?;
        weighted(loss, &self.noising, &noised, model)
    }
}

/// The sliced loss over the given vectors, `[n, 1]`.
fn sliced<M: ScoreModel>(
    model: &M,
    noised: &NoisedBatch,
    probes: &Probes,
    step: Option<f64>,
    variance_reduced: bool,
) -> Result<Loss> {
    let step = step.map(|step| noised.column(|l| Ok(step * l.sigma))).transpose()?;
    let mut terms = Vec::with_capacity(probes.vectors().len());
    for v in probes.vectors() {
        let [along, bend] = match &step {
            None => model.slice(noised.at(), v.clone())?,
            Some(step) => model.slice_by_differences(noised.at(), v.clone(), step.clone())?,
        };
        terms.push(if variance_reduced { bend } else { along.square().mul_scalar(0.5) + bend });
    }
    let terms = probes.gather(terms).mean_dim(1);
    if !variance_reduced {
        return Ok(terms.into());
    }
    let half_square = |s: Tensor<2>| s.square().sum_dim(1).mul_scalar(0.5);
    let Loss { value, surrogate } = model.of_score(noised.at(), &half_square)?;
    Ok(Loss { value: value + terms.clone(), surrogate: surrogate + terms })
}

/// The loss of each row times the weight of its level.
fn weighted<M: ScoreModel>(
    loss: Loss,
    noising: &Noising,
    noised: &NoisedBatch,
    model: &M,
) -> Result<Loss> {
    let (own, sigma_data) = (model.prediction(), model.sigma_data());
    let weight =
        noised.column(|l| noising.weight_on_score(Weighting::Noise, own, l, sigma_data))?;
    Ok(Loss { value: loss.value * weight.clone(), surrogate: loss.surrogate * weight })
}
