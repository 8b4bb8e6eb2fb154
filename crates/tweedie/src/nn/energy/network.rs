//! A network as an energy, E(x) = f(x) + ½ ‖x‖²: an MLP f grows at most linearly, so that Z is finite (*An
//! Introduction to Generative Modeling with Flows and Diffusion Models*, sec. 2.3.3; Du & Mordatch, "Implicit
//! generation and modeling with energy based models", 2019).

use super::{AnyEnergy, Energy, EnergyConfig, Moments, of_machines};
use crate::data::{Condition, Space};
use crate::error::rows_of;
use crate::nn::Activation;
use crate::nn::perceptron::{Perceptron, Sizes, check_hidden};
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// Configuration of [`NetworkEnergy`].
///
/// ```
/// use tweedie::nn::energy::{EnergyConfig, NetworkEnergyConfig};
/// let config = NetworkEnergyConfig { hidden: vec![64, 64], ..NetworkEnergyConfig::default() };
/// assert_eq!(config.parameters(2), 3 * 64 + 65 * 64 + 65);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkEnergyConfig {
    /// The widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// The activation.
    pub activation: Activation,
    /// Whether ½ ‖x‖² is added to the network's output. Without it Z may be infinite.
    pub quadratic: bool,
}

impl Default for NetworkEnergyConfig {
    fn default() -> Self {
        Self { hidden: vec![128, 128], activation: Activation::Silu, quadratic: true }
    }
}

impl NetworkEnergyConfig {
    fn sizes(&self, input: usize) -> Sizes<'_> {
        Sizes { input, hidden: &self.hidden, output: 1, given: [0, 0] }
    }
}

impl EnergyConfig for NetworkEnergyConfig {
    fn check(&self) -> Result<()> {
        check_hidden("hidden", &self.hidden)
    }

    fn is_discrete(&self) -> bool {
        false
    }

    fn init(&self, space: &Space, draws: &Draws, device: &Device) -> Result<AnyEnergy> {
        let width = space.model_width();
        let network = self.sizes(width).init(self.activation, 1.0, draws, device);
        Ok(NetworkEnergy { network, width, quadratic: self.quadratic }.into())
    }

    fn is_enumerable(&self, _: usize) -> bool {
        false
    }

    fn parameters(&self, width: usize) -> u128 {
        self.sizes(width).parameters()
    }

    fn activations(&self, width: usize) -> usize {
        self.sizes(width).activations()
    }
}

/// A network as an energy; see the module's head.
#[derive(Module, Debug)]
pub struct NetworkEnergy {
    network: Perceptron,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    quadratic: bool,
}

impl Energy for NetworkEnergy {
    fn width(&self) -> usize {
        self.width
    }

    fn energy(&self, x: Dual<2>) -> Result<Dual<2>> {
        rows_of(x.dims(), self.width)?;
        let own = self.network.forward(x.clone(), &Condition::None)?;
        Ok(if self.quadratic { own + x.square().sum_dim(1).mul_scalar(0.5) } else { own })
    }

    fn has_blocks(&self) -> bool {
        false
    }

    fn sweep(&self, _: Tensor<2>, _: &[u64], _: &Draws) -> Result<Tensor<2>> {
        Err(of_machines("a Gibbs step"))
    }

    fn is_enumerable(&self) -> bool {
        false
    }

    fn log_z(&self) -> Result<Tensor<2>> {
        Err(of_machines("ln Z by enumeration"))
    }

    fn log_z_uncoupled(&self) -> Result<f64> {
        Err(of_machines("ln Z of uncoupled units"))
    }

    fn heated(self, _: f64, _: &Moments) -> Result<Self> {
        Err(of_machines("a base-rate machine"))
    }

    fn start(self, _: &Moments) -> Result<Self> {
        Ok(self)
    }
}
