//! Maximum likelihood of the probability-flow ODE, discretised and then differentiated.
//!
//! The loss of a row is −log p by the change of density along dx/dt = u (Grathwohl et al. 2019, eq. 3; Song et al.
//! 2021, eq. 39; *An Introduction to Generative Modeling with Flows and Diffusion Models*, eqs. 2.7–2.8),
//!
//! > −log p(x₀) = −log N(x_T; 0, s² I) − ∫ ∇·u dt,
//!
//! with (x, ∫ ∇·u) integrated by the classical Runge–Kutta method in equal steps of the log-SNR, with gradients through
//! all steps. The error is of order 4 in the step; with too few steps for a stiff flow the model is rewarded for that
//! error.

use super::any::MOST_EXACT;
use super::{Loss, Noising, Objective, ObjectiveConfig, Objectives};
use crate::data::Batch;
use crate::denoise::NeuralDenoiser;
use crate::density::{log_prior, velocity_and_divergence};
use crate::error::count;
use crate::nn::Network;
use crate::process::{Schedule, finite_log_snrs};
use crate::solve::Clock;
use crate::tensor::{Divergence, Dual, Stage, runge_kutta};
use crate::{Draws, Error, Result};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The options of [`OdeLikelihood`] in recipes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Likelihood {
    /// The number of steps of the solver, each with four evaluations.
    pub steps: usize,
}

impl Default for Likelihood {
    fn default() -> Self {
        Self { steps: 16 }
    }
}

impl ObjectiveConfig for Likelihood {
    fn check(&self) -> Result<()> {
        count("objective.kind.steps", self.steps as u64, 1000)
    }

    fn is_adaptive(&self) -> bool {
        false
    }

    fn most_width(&self) -> Option<usize> {
        Some(MOST_EXACT)
    }

    fn passes(&self, width: usize) -> usize {
        8 * self.steps * width
    }

    fn build(&self, noising: Noising) -> Objectives {
        let of_network = Arc::new(OdeLikelihood::new(noising.schedule, self.steps));
        Objectives { of_network, of_energy: None }
    }
}

/// −log p by the probability-flow ODE, in nats and model units; see the module documentation.
///
/// ```
/// use std::sync::Arc;
/// use tweedie::Draws;
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::denoise::{NeuralDenoiser, Prediction};
/// use tweedie::data::{Batch, Condition};
/// use tweedie::nn::ResidualMlpConfig;
/// use tweedie::objective::{Objective, OdeLikelihood};
/// use tweedie::process::Cosine;
/// let device = Device::flex();
/// let network = ResidualMlpConfig::new(2).init(&Draws::new(0), &device);
/// let model = NeuralDenoiser::new(network, Prediction::Edm, Cosine::default());
/// let batch = Batch { x: Tensor::ones([4, 2], &device), condition: Condition::None };
/// let objective = OdeLikelihood::new(Arc::new(Cosine::default()), 4);
/// let loss = objective.loss(&model, &batch, &Draws::new(1))?;
/// assert_eq!(loss.value.dims(), [4, 1]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct OdeLikelihood {
    schedule: Arc<dyn Schedule>,
    steps: usize,
    divergence: Divergence,
}

impl OdeLikelihood {
    /// The likelihood with the exact divergence, in `steps` steps of four evaluations each.
    pub fn new(schedule: Arc<dyn Schedule>, steps: usize) -> Self {
        Self { schedule, steps, divergence: Divergence::Exact }
    }

    /// Sets the estimator of the divergence.
    pub fn with_divergence(mut self, divergence: Divergence) -> Self {
        self.divergence = divergence;
        self
    }
}

impl<N: Network> Objective<NeuralDenoiser<N>> for OdeLikelihood {
    fn loss(&self, model: &NeuralDenoiser<N>, batch: &Batch, draws: &Draws) -> Result<Loss> {
        if self.steps == 0 {
            return Err(Error::config("steps", "0", "at least 1"));
        }
        let schedule = &*self.schedule;
        let [n, d] = batch.x.dims();
        let rows: Vec<u64> = (0..n as u64).collect();
        let probes = self.divergence.probes(&draws.purpose("probes"), &rows, &batch.x)?;
        let clock = Clock::of_log_snr(schedule);
        let (high, low) = finite_log_snrs(schedule);
        let rates = |at: Stage, y: Dual<2>| -> Result<Dual<2>> {
            let levels = clock.levels(&vec![at.time; n]);
            let x = y.value.narrow(1, 0, d);
            let rates =
                velocity_and_divergence(model, schedule, x, &levels, &batch.condition, &probes)?;
            Ok(clock.rates(rates, &levels).into())
        };
        let zeros = Tensor::zeros([n, probes.estimates()], (&batch.x.device(), batch.x.dtype()));
        let start = Tensor::cat(vec![batch.x.clone(), zeros], 1);
        let y = runge_kutta(rates, start.into(), (-high, -low), self.steps)?.value;
        let prior_sd = schedule.level(schedule.time(low)).sd(model.sigma_data);
        let trace = y.clone().narrow(1, d, probes.estimates()).mean_dim(1);
        Ok((log_prior(y.narrow(1, 0, d), prior_sd) + trace).neg().into())
    }
}
