//! A multilayer perceptron as a generator or as a critic, whose first layer also takes the condition.

use super::{ACTIVATION, Play, Player, PlayerConfig, Role, normed};
use crate::data::{Condition, Space};
use crate::error::rows_of;
use crate::nn::Activation;
use crate::nn::perceptron::{Perceptron, Sizes, check_hidden};
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

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
    fn sizes(&self, role: Role, space: &Space) -> Sizes<'_> {
        let (input, output) = match role {
            Role::Generator(latent) => (latent, space.model_width()),
            Role::Critic { features, .. } => (space.model_width(), features),
        };
        let given = [space.classes().len(), space.given_width()];
        Sizes { input, hidden: &self.hidden, output, given }
    }
}

impl PlayerConfig for PerceptronPlayerConfig {
    fn check(&self) -> Result<()> {
        check_hidden("hidden", &self.hidden)
    }

    fn check_space(&self, _: &Space) -> Result<()> {
        Ok(())
    }

    fn init(&self, role: Role, space: &Space, draws: &Draws, device: &Device) -> Result<Player> {
        let sizes = self.sizes(role, space);
        let network = sizes.init(self.activation, 1.0, draws, device);
        Ok(PerceptronPlayer { network, input: sizes.input, norm: role.norm() }.into())
    }

    fn parameters(&self, role: Role, space: &Space) -> u128 {
        self.sizes(role, space).parameters()
    }

    fn activations(&self, space: &Space) -> usize {
        space.model_width() + 2 * self.hidden.iter().sum::<usize>()
    }
}

/// A multilayer perceptron of a game; see [`PerceptronPlayerConfig`].
#[derive(Module, Debug)]
pub struct PerceptronPlayer {
    network: Perceptron,
    #[module(skip)]
    input: usize,
    #[module(skip)]
    norm: Option<f64>,
}

impl Play for PerceptronPlayer {
    fn forward(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        rows_of(x.dims(), self.input)?;
        match self.norm {
            None => self.network.forward(x, condition),
            norm => self.network.forward_with(x, condition, |weight| normed(weight, norm)),
        }
    }

    fn input(&self) -> usize {
        self.input
    }
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
