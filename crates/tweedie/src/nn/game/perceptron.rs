//! A multilayer perceptron as a generator or as a critic, whose first layer also takes the condition.

use super::{ACTIVATION, Play, Player, PlayerConfig, Role, check_input, normed};
use crate::data::{Condition, Space};
use crate::error::count;
use crate::nn::layers::project;
use crate::nn::{Activation, ConditionEmbedding, ConditionEmbeddingConfig, Linear, LinearConfig};
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use tweedie_ops::LinearLayer;

/// The options of a [`PerceptronPlayer`].
///
/// ```
/// use tweedie::nn::game::PerceptronPlayerConfig;
/// assert_eq!(PerceptronPlayerConfig::default().hidden, [128, 128, 128]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PerceptronPlayerConfig {
    /// The widths of the hidden layers; none makes it linear.
    pub hidden: Vec<usize>,
    /// The activation of the hidden layers.
    pub activation: Activation,
}

impl Default for PerceptronPlayerConfig {
    fn default() -> Self {
        Self { hidden: vec![128; 3], activation: ACTIVATION }
    }
}

impl PerceptronPlayerConfig {
    /// The input and the output of each layer.
    fn layers(&self, role: Role, space: &Space) -> Vec<(usize, usize)> {
        let (input, output) = match role {
            Role::Generator(latent) => (latent, space.model_width()),
            Role::Critic { features, .. } => (space.model_width(), features),
        };
        let inputs = std::iter::once(input).chain(self.hidden.iter().copied());
        inputs.zip(self.hidden.iter().copied().chain([output])).collect()
    }

    fn condition(&self, role: Role, space: &Space) -> ConditionEmbeddingConfig {
        let first = self.layers(role, space)[0].1;
        ConditionEmbeddingConfig::new(space.classes().len(), space.given_width(), first)
    }
}

impl PlayerConfig for PerceptronPlayerConfig {
    fn check(&self) -> Result<()> {
        if !self.hidden.is_empty() {
            count("hidden", self.hidden.len() as u64, 64)?;
        }
        self.hidden.iter().try_for_each(|units| count("hidden", *units as u64, 1 << 16))
    }

    fn check_space(&self, _: &Space) -> Result<()> {
        Ok(())
    }

    fn init(&self, role: Role, space: &Space, draws: &Draws, device: &Device) -> Result<Player> {
        let layer = |(k, (input, output)): (u64, (usize, usize))| {
            LinearConfig::new(input, output).init(&draws.purpose("linears").at(k), device)
        };
        let layers = self.layers(role, space);
        let own = PerceptronPlayer {
            input: layers[0].0,
            linears: (0..).zip(layers).map(layer).collect(),
            condition: self.condition(role, space).init(&draws.purpose("condition"), device),
            activation: self.activation,
            norm: role.norm(),
        };
        Ok(own.into())
    }

    fn parameters(&self, role: Role, space: &Space) -> u128 {
        let linear = |(input, output): (usize, usize)| (input as u128 + 1) * output as u128;
        let layers = self.layers(role, space).into_iter().map(linear).sum::<u128>();
        layers + self.condition(role, space).parameters()
    }

    fn activations(&self, space: &Space) -> usize {
        space.model_width() + 2 * self.hidden.iter().sum::<usize>()
    }
}

/// A multilayer perceptron of a game; see [`PerceptronPlayerConfig`].
#[derive(Module, Debug)]
pub struct PerceptronPlayer {
    linears: Vec<Linear>,
    condition: ConditionEmbedding,
    #[module(skip)]
    input: usize,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    norm: Option<f64>,
}

impl PerceptronPlayer {
    /// Weights and bias of each layer, with their activations.
    fn layers(&self) -> impl Iterator<Item = (Tensor<2>, Option<Tensor<1>>, Option<Activation>)> {
        let last = self.linears.len() - 1;
        self.linears.iter().enumerate().map(move |(k, linear)| {
            let weight = normed(linear.weight.val(), self.norm);
            (weight, linear.bias(), (k < last).then_some(self.activation))
        })
    }
}

impl Play for PerceptronPlayer {
    fn forward(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        check_input(&x, self.input)?;
        let [n, _] = x.dims();
        let features = self.condition.forward(condition, n, &x.value.device())?;
        let Some(features) = features else {
            return Ok(all(x, self.layers()));
        };
        let mut layers = self.layers();
        let Some((weight, bias, activation)) = layers.next() else { return Ok(x) };
        let first = project(x, weight, bias) + features;
        Ok(match activation {
            None => first,
            Some(activation) => all(activation.forward(first), layers),
        })
    }

    fn input(&self) -> usize {
        self.input
    }
}

/// Applies linear layers with their activations, in one pass where there are no tangents.
fn all(
    x: Dual<2>,
    layers: impl Iterator<Item = (Tensor<2>, Option<Tensor<1>>, Option<Activation>)>,
) -> Dual<2> {
    if x.tangent.is_some() {
        return layers.fold(x, |x, (weight, bias, activation)| {
            let y = project(x, weight, bias);
            if let Some(activation) = activation { activation.forward(y) } else { y }
        });
    }
    let layer = |(weight, bias, activation): (_, _, Option<Activation>)| LinearLayer {
        weight,
        bias,
        activation: activation.map_or(tweedie_ops::Activation::None, Activation::fused),
        reach: None,
    };
    tweedie_ops::mlp(x.value, layers.map(layer).collect(), None).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::param_count;

    #[test]
    fn parameters_are_counted_before_they_are_made() -> Result<()> {
        let config = PerceptronPlayerConfig { hidden: vec![5, 3], ..Default::default() };
        for classes in [0, 4] {
            let names = (0..classes).map(|k| k.to_string()).collect();
            let space = Space::vector(&["x", "y", "z"])?.with_classes(names);
            for role in [Role::Generator(7), Role::Critic { features: 2, norm: Some(1.0) }] {
                let made = config.init(role, &space, &Draws::new(0), &Device::flex())?;
                assert_eq!(config.parameters(role, &space), param_count(&made) as u128);
            }
        }
        Ok(())
    }
}
