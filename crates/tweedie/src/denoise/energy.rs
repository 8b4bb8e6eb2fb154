//! A denoiser whose prediction is the gradient of a scalar.
//!
//! A potential U of x at a level is the sum of a network's outputs, and the prediction is P = −∇ₓU. Since every
//! prediction determines the score by s = a x + b P with a, b functions of the level, the score is −∇E of the energy
//!
//! > E(x) = −½ a ‖x‖² + b U(x),
//!
//! so that exp(−E) is the model's density at that level up to a constant, and its score field has no curl (*An
//! Introduction to Generative Modeling with Flows and Diffusion Models*, eqs. 5.1–5.3; Salimans & Ho 2021). A network
//! with zero output is a Gaussian energy in EDM's prediction.

use super::{Denoiser, NeuralDenoiser, Prediction};
use crate::Result;
use crate::data::Condition;
use crate::nn::Network;
use crate::process::Levels;
use crate::tensor::{Dual, gradient};

/// A network as an energy; see the module documentation.
///
/// [`EnergyDenoiser::energy`] is differentiable by the weights. [`Denoiser::denoise`] is the gradient of an energy and
/// not differentiable by the weights: train with the objectives, which accept energies too.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::denoise::{Denoiser, EnergyDenoiser, NeuralDenoiser, Prediction};
/// use tweedie::data::Condition;
/// use tweedie::{Draws, nn::ResidualMlpConfig, process::{Edm, Schedule}};
/// let device = Device::flex();
/// let network = ResidualMlpConfig::new(2).init(&Draws::new(0), &device);
/// let model = EnergyDenoiser::new(NeuralDenoiser::new(network, Prediction::Edm, Edm::default()));
/// let level = Edm::default().level(1.0).into(); // untrained: N(0, (1 + 1) I)
/// let x = Tensor::<2>::from_floats([[2.0, 0.0]], &device);
/// let energy = model.energy(x.into(), &level, &Condition::None)?.value;
/// assert!((energy.into_scalar::<f32>() - 1.0).abs() < 1e-6);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct EnergyDenoiser<N> {
    /// The network with its prediction, schedule and clock.
    pub model: NeuralDenoiser<N>,
}

impl<N: Network> EnergyDenoiser<N> {
    /// The energy whose gradient replaces the output of `model`'s network.
    pub fn new(model: NeuralDenoiser<N>) -> Self {
        Self { model }
    }

    /// The same energy detached from any graph.
    pub fn valid(&self) -> Self {
        Self::new(self.model.valid())
    }

    /// The potential U of each row, `[n, 1]`; the prediction is −∇U.
    ///
    /// # Errors
    /// The errors of [`Denoiser::denoise`].
    pub fn potential(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        // The network's input is x divided by the scale; multiplied by it, the gradient has the units of the network's
        // output.
        let scale = self.model.scale(levels, &x.value)?;
        Ok(self.model.predict(x, levels, condition)?.sum_dim(1) * scale)
    }

    /// The energy E of each row, `[n, 1]` in nats: −log p_t up to a constant that depends on the level.
    ///
    /// # Errors
    /// The errors of [`Denoiser::denoise`]; [`crate::Error::Undefined`] at σ = 0.
    pub fn energy(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        let NeuralDenoiser { prediction, schedule, sigma_data, .. } = &self.model;
        let to = Prediction::Score;
        let [of_x, of_prediction] =
            prediction.columns(to, &x.value, levels, &**schedule, *sigma_data)?;
        let potential = self.potential(x.clone(), levels, condition)?;
        Ok(x.square().sum_dim(1) * of_x.mul_scalar(-0.5) + potential * of_prediction)
    }
}

impl<N: Network> Denoiser for EnergyDenoiser<N> {
    fn denoise(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        let frozen = self.valid();
        let prediction = -gradient(|x| frozen.potential(x, levels, condition), x.clone())?;
        let NeuralDenoiser { prediction: own, schedule, sigma_data, .. } = &self.model;
        own.convert_batch(Prediction::Data, prediction, x, levels, &**schedule, *sigma_data)
    }

    fn log_noised(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        Ok(-self.valid().energy(x, levels, condition)?)
    }

    fn width(&self) -> usize {
        self.model.width()
    }

    fn evaluations(&self) -> u64 {
        self.model.evaluations()
    }
}
