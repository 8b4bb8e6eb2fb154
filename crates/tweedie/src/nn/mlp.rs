//! A residual, time-conditional MLP for points, tables and tiny images.
//!
//! Each block is x ← x + W₂ · dropout(silu(W₁ ((1 + a) ⊙ norm(x) + b))) with (a, b) a linear map of the noise level's
//! and condition's features: the adaptive normalisation of DiT (Peebles & Xie 2023) on vectors.

use super::{
    Activation, AnyNetwork, AnyNetworkConfig, ConditionEmbedding, ConditionEmbeddingConfig,
    DescriptionEmbedding, Dropout, GroupNorm, GroupNormConfig, Linear, LinearConfig, Network,
    NetworkConfig, TimeEmbedding, TimeEmbeddingConfig, any, mlp,
};
use crate::data::{Condition, Space};
use crate::error::{count, within};
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// The number of frequencies of the time embedding.
const FREQUENCIES: usize = 16;

/// Configuration of [`ResidualMlp`].
///
/// ```
/// use tweedie::Draws;
/// use tweedie::nn::ResidualMlpConfig;
/// use tweedie::burn::tensor::Device;
/// let network = ResidualMlpConfig::new(2).with_hidden(64).with_blocks(2).init(&Draws::new(0), &Device::flex());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResidualMlpConfig {
    /// The width of a row; 0 means the width of the data.
    pub width: usize,
    /// The number of classes that the network takes as a condition; 0 for none.
    pub classes: usize,
    /// The length of vectors that the network takes as a condition; 0 for none.
    pub vector: usize,
    /// The width of the hidden layers.
    pub hidden: usize,
    /// The number of residual blocks.
    pub blocks: usize,
    /// The activation of the blocks.
    pub activation: Activation,
    /// The probability of dropping a value in training, inside each block.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub dropout: f64,
    /// The number of numbers that describe an augmented picture; `training.augmentation` sets it.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub augmentation: usize,
}

impl Default for ResidualMlpConfig {
    fn default() -> Self {
        Self {
            width: 0,
            classes: 0,
            vector: 0,
            hidden: 128,
            blocks: 3,
            activation: Activation::Silu,
            dropout: 0.0,
            augmentation: 0,
        }
    }
}

impl ResidualMlpConfig {
    /// A network for rows of `width` values: 3 blocks of 128 hidden units.
    pub fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// Sets the number of classes to condition on.
    pub fn with_classes(mut self, classes: usize) -> Self {
        self.classes = classes;
        self
    }

    /// Sets the length of vectors to condition on.
    pub fn with_vector(mut self, vector: usize) -> Self {
        self.vector = vector;
        self
    }

    /// Sets the width of the hidden layers.
    pub fn with_hidden(mut self, hidden: usize) -> Self {
        self.hidden = hidden;
        self
    }

    /// Sets the number of residual blocks.
    pub fn with_blocks(mut self, blocks: usize) -> Self {
        self.blocks = blocks;
        self
    }

    /// Sets the probability of dropping a value in training.
    pub fn with_dropout(mut self, dropout: f64) -> Self {
        self.dropout = dropout;
        self
    }

    /// The number of parameters of the network.
    pub fn parameters(&self) -> u128 {
        let [width, h, blocks] = [self.width, self.hidden, self.blocks].map(|n| n as u128);
        let linear = |input: u128, output: u128| (input + 1) * output;
        let condition =
            ConditionEmbeddingConfig::new(self.classes, self.vector, self.hidden).parameters();
        let block = 2 * h + linear(h, 2 * h) + 2 * linear(h, h);
        let time = linear(2 * FREQUENCIES as u128, h) + linear(h, h);
        let description = self.augmentation as u128 * h;
        time + condition
            + description
            + linear(width, h)
            + blocks * block
            + 2 * h
            + linear(h, width)
    }

    /// The network with initial values from `draws`.
    pub fn init(&self, draws: &Draws, device: &Device) -> ResidualMlp {
        let h = self.hidden;
        ResidualMlp {
            time: TimeEmbeddingConfig::new(FREQUENCIES, h).init(&draws.purpose("time"), device),
            condition: ConditionEmbeddingConfig::new(self.classes, self.vector, h)
                .init(&draws.purpose("condition"), device),
            description: DescriptionEmbedding::new(
                self.augmentation,
                h,
                &draws.purpose("description"),
                device,
            ),
            input: LinearConfig::new(self.width, h).init(&draws.purpose("input"), device),
            blocks: (0..self.blocks)
                .map(|k| Block::new(self, &draws.purpose("blocks").at(k as u64), device))
                .collect(),
            norm: GroupNormConfig::new(1, h).init(device),
            output: LinearConfig::new(h, self.width)
                .with_gain(0.0)
                .init(&draws.purpose("output"), device),
            width: self.width,
            activation: self.activation,
        }
    }
}

impl NetworkConfig for ResidualMlpConfig {
    fn for_space(&self, space: &Space) -> Result<AnyNetworkConfig> {
        count("network.hidden", self.hidden as u64, 1 << 16)?;
        count("network.blocks", self.blocks as u64, 1 << 10)?;
        within("network.dropout", self.dropout, 0.0, 0.99)?;
        let mut own = self.clone();
        any::own("width", &mut own.width, space.model_width())?;
        any::own("classes", &mut own.classes, space.classes().len())?;
        any::own("vector", &mut own.vector, space.given_width())?;
        Ok(own.into())
    }

    fn describing(&self, numbers: usize) -> Result<Option<AnyNetworkConfig>> {
        let mut own = self.clone();
        any::own("augmentation", &mut own.augmentation, numbers)?;
        Ok(Some(own.into()))
    }

    fn init(&self, draws: &Draws, device: &Device) -> Result<AnyNetwork> {
        Ok(ResidualMlpConfig::init(self, draws, device).into())
    }

    fn width(&self) -> usize {
        self.width
    }

    fn parameters(&self) -> u128 {
        ResidualMlpConfig::parameters(self)
    }

    fn size(&self) -> (&'static str, String) {
        ("hidden", format!("{} hidden units in {} blocks", self.hidden, self.blocks))
    }

    fn activations(&self) -> usize {
        self.hidden * (self.blocks + 4) + 4 * self.width
    }
}

#[derive(Module, Debug)]
struct Block {
    norm: GroupNorm,
    modulation: Linear,
    linear_1: Linear,
    linear_2: Linear,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    dropout: Dropout,
}

impl Block {
    fn new(config: &ResidualMlpConfig, draws: &Draws, device: &Device) -> Self {
        let hidden = config.hidden;
        Self {
            norm: GroupNormConfig::new(1, hidden).init(device),
            modulation: LinearConfig::new(hidden, 2 * hidden)
                .with_gain(0.0)
                .init(&draws.purpose("modulation"), device),
            linear_1: LinearConfig::new(hidden, hidden).init(&draws.purpose("linear_1"), device),
            linear_2: LinearConfig::new(hidden, hidden)
                .with_gain(0.0)
                .init(&draws.purpose("linear_2"), device),
            activation: config.activation,
            dropout: Dropout::new(config.dropout),
        }
    }

    fn forward(&self, x: Dual<2>, features: Dual<2>) -> Dual<2> {
        let scale_shift = self.modulation.forward(features);
        let y = self.norm.forward_then(x.clone(), Some(scale_shift), None);
        if self.dropout.acts() {
            let y = self.linear_1.forward_then(y, self.activation);
            return self.linear_2.forward_plus(self.dropout.forward(y), x);
        }
        mlp(y, &[(&self.linear_1, Some(self.activation)), (&self.linear_2, None)], Some(x))
    }
}

/// The residual MLP; see the module's head.
#[derive(Module, Debug)]
pub struct ResidualMlp {
    time: TimeEmbedding,
    condition: ConditionEmbedding,
    description: Option<DescriptionEmbedding>,
    input: Linear,
    blocks: Vec<Block>,
    norm: GroupNorm,
    output: Linear,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    activation: Activation,
}

impl Network for ResidualMlp {
    fn forward(&self, x: Dual<2>, noise: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let [rows, width] = x.dims();
        if width != self.width {
            return Err(Error::shape(
                "network input",
                format!("rows of {width}"),
                format!("rows of {}", self.width),
            ));
        }
        let mut features = self.time.forward(noise);
        if let Some(condition) = self.condition.forward(condition, rows, &x.value.device())? {
            features = features + condition;
        }
        if let Some(description) = &self.description {
            features = description.add_to(features);
        }
        let features = self.activation.forward(features);
        let mut h = self.input.forward(x);
        for block in &self.blocks {
            h = block.forward(h, features.clone());
        }
        Ok(self.output.forward(self.norm.forward_then(h, None, Some(self.activation))))
    }

    fn in_training(mut self, draws: &Draws, description: Option<Tensor<2>>) -> Result<Self> {
        for (block, k) in self.blocks.iter_mut().zip(0..) {
            block.dropout = block.dropout.with_draws(draws.at(k));
        }
        self.description = DescriptionEmbedding::describing(self.description, description)?;
        Ok(self)
    }

    fn width(&self) -> usize {
        self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::param_count;

    #[test]
    fn parameters_are_counted_before_they_are_made() {
        for (classes, vector) in [(0, 0), (3, 0), (0, 2), (5, 4)] {
            let config = ResidualMlpConfig { classes, vector, ..ResidualMlpConfig::new(7) };
            let config = config.with_hidden(6).with_blocks(2);
            let network = config.init(&Draws::new(0), &Device::flex());
            assert_eq!(config.parameters(), param_count(&network) as u128);
        }
    }
}
