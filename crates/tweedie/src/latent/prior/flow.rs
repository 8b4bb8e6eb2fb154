//! Normalising flows as priors, learnt with the model (Chen et al. 2017, *Variational lossy autoencoder*, sec. 3.2).

use super::{AnyPrior, Encode, Prior, PriorConfig};
use crate::data::{Condition, LogDensity, Space};
use crate::error::inside;
use crate::nn::flow::{AnyBijectionConfig, Flow, FlowConfig};
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// Configuration of [`FlowPrior`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowPriorConfig {
    /// The bijections of one round, the nearest to z first.
    pub layers: Vec<AnyBijectionConfig>,
    /// The number of rounds.
    pub depth: usize,
}

impl Default for FlowPriorConfig {
    fn default() -> Self {
        Self { layers: FlowConfig::default().layers, depth: 4 }
    }
}

impl FlowPriorConfig {
    fn flow(&self, width: usize) -> FlowConfig {
        FlowConfig::new(width).with_depth(self.depth).with_layers(self.layers.clone())
    }
}

impl PriorConfig for FlowPriorConfig {
    fn check(&self) -> Result<()> {
        self.flow(0).check()
    }

    fn parameters(&self, width: usize, _: &Space) -> u128 {
        self.flow(width).parameters()
    }

    fn init(&self, width: usize, _: &Space, draws: &Draws, device: &Device) -> Result<AnyPrior> {
        let flow = self.flow(width).init(draws, device).map_err(|e| inside("prior", e))?;
        Ok(FlowPrior { flow }.into())
    }
}

/// A flow as a prior.
#[derive(Module, Debug)]
pub struct FlowPrior {
    flow: Flow,
}

impl Prior for FlowPrior {
    fn log_prob(&self, z: Tensor<2>, _: &Encode<'_>) -> Result<Tensor<2>> {
        Ok(self.flow.log_density(z.into(), &Condition::None)?.value)
    }

    fn draw(&self, noise: Tensor<2>, _: &[f32], _: &Encode<'_>) -> Result<Tensor<2>> {
        self.flow.sample(noise, &Condition::None)
    }
}
