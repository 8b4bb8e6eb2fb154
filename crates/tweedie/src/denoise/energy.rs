//! A denoiser whose prediction is the gradient of a scalar.
//!
//! A network's outputs, summed, are a potential U of x at a level, and the prediction is P = −∇ₓU. Since every
//! prediction determines the score by s = a x + b P with a, b known from the level, the score is −∇E of the energy
//!
//! > E(x) = −½ a ‖x‖² + b U(x),
//!
//! so that exp(−E) is the model's density at that level up to a constant, and its score field has no curl (*An
//! Introduction to Generative Modeling with Flows and Diffusion Models*, eqs. 5.1–5.3; Salimans & Ho 2021). A network
//! that outputs zero is a Gaussian energy in EDM's prediction.

use super::{Denoiser, NeuralDenoiser, Prediction};
use crate::Result;
use crate::data::Condition;
use crate::nn::Network;
use crate::process::Levels;
use crate::tensor::{Dual, gradient};

/// A network as an energy; see the module's head.
///
/// [`EnergyDenoiser::energy`] can be differentiated by the weights. [`Denoiser::denoise`] is an energy's gradient, and no
/// derivative of it by the weights exists: train with the objectives, which take energies too.
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
    /// The network, its prediction, its schedule and its clock.
    pub model: NeuralDenoiser<N>,
}

impl<N: Network> EnergyDenoiser<N> {
    /// The energy whose gradient predicts what `model`'s network would.
    pub fn new(model: NeuralDenoiser<N>) -> Self {
        Self { model }
    }

    /// The same outside any graph.
    pub fn valid(&self) -> Self {
        Self::new(self.model.valid())
    }

    /// U of each row, `[n, 1]`; the prediction is −∇U.
    ///
    /// # Errors
    /// As [`Denoiser::denoise`].
    pub fn potential(&self, x: Dual<2>, levels: &Levels, condition: &Condition) -> Result<Dual<2>> {
        // The network sees x divided by the scale; times it, the gradient has the network's own units.
        let scale = self.model.scale(levels, &x.value)?;
        Ok(self.model.predict(x, levels, condition)?.sum_dim(1) * scale)
    }

    /// E of each row, `[n, 1]`: −log p_t up to a constant of the level, in nats.
    ///
    /// # Errors
    /// As [`Denoiser::denoise`]; [`crate::Error::Undefined`] at σ = 0.
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
