//! The networks of a game (Goodfellow et al. 2014, *Generative adversarial nets*): a generator maps noise z to a row, a
//! critic maps a row to one number, or to several for a kernel that is learnt.
//!
//! No layer of a critic normalises over a batch: penalties are of the gradient of each row's own value, and
//! normalisation over a batch would make that value a function of all rows. Generators of pictures normalise over
//! groups of channels of each picture.
//!
//! A critic may keep the spectral norm of each of its layers at a limit (Miyato et al. 2018, *Spectral normalization
//! for generative adversarial networks*, sec. 2.1): the norm of the operator, for a convolution as well, not that of
//! its reshaped kernel; see [`residual`](super::flow::Residual) for how it is bounded. There is no state: the norm is
//! computed from the weights.

mod convolutional;
mod perceptron;

pub use convolutional::{ConvolutionalPlayer, ConvolutionalPlayerConfig};
pub use perceptron::{PerceptronPlayer, PerceptronPlayerConfig};

use super::Activation;
use super::flow::{convolution_norm, matrix_norm};
use crate::data::{Condition, Generate, Space};
use crate::registry::modules;
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use std::ops::Range;

/// The side of a network in a game.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Role {
    /// From noise of this width to rows.
    Generator(usize),
    /// From rows to numbers.
    Critic {
        /// The number of numbers.
        features: usize,
        /// The spectral norm of each layer; free if absent.
        norm: Option<f64>,
    },
}

impl Role {
    /// The spectral norm of each layer.
    fn norm(self) -> Option<f64> {
        match self {
            Role::Generator(_) => None,
            Role::Critic { norm, .. } => norm,
        }
    }
}

/// The configuration of a player's network as recipes write it.
pub trait PlayerConfig: std::fmt::Debug + Send + Sync {
    /// Fails, naming the key, unless every value is valid, whatever the data.
    ///
    /// # Errors
    /// [`Error::Config`].
    fn check(&self) -> Result<()>;

    /// Fails unless the network fits rows of `space`.
    ///
    /// # Errors
    /// [`Error::Config`] with an empty key.
    fn check_space(&self, space: &Space) -> Result<()>;

    /// The network for rows of `space`, with initial values from `draws`.
    ///
    /// # Errors
    /// As [`PlayerConfig::check_space`].
    fn init(&self, role: Role, space: &Space, draws: &Draws, device: &Device) -> Result<Player>;

    /// The number of values in the parameters.
    fn parameters(&self, role: Role, space: &Space) -> u128;

    /// The approximate number of activations of a row.
    fn activations(&self, space: &Space) -> usize;
}

/// The network of a player.
pub trait Play: Module + Send + Sync + 'static {
    /// The network's output, `[n, out]`, for `x`, `[n, in]`, with one condition per row.
    ///
    /// # Errors
    /// [`Error::Shape`] if the batch or the condition does not fit the network.
    fn forward(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>>;

    /// The width of its input.
    fn input(&self) -> usize;
}

modules! {
    /// The configuration of a player: `mlp`, or `{ name = "mlp", hidden = [64, 64] }`.
    configurations AnyPlayerConfig: PlayerConfig = Perceptron, "player";

    /// The network of a player: a generator or a critic.
    ///
    /// ```
    /// use tweedie::burn::tensor::{Device, Tensor};
    /// use tweedie::data::{Condition, Space};
    /// use tweedie::nn::game::{AnyPlayerConfig, Play, Role};
    /// let (space, device) = (Space::vector(&["x", "y"])?, Device::flex());
    /// let critic = Role::Critic { features: 1, norm: None };
    /// let draws = tweedie::Draws::new(0);
    /// let critic = AnyPlayerConfig::default().init(critic, &space, &draws, &device)?;
    /// let x = Tensor::<2>::ones([5, 2], &device);
    /// assert_eq!(critic.forward(x.into(), &Condition::None)?.dims(), [5, 1]);
    /// # Ok::<(), tweedie::Error>(())
    /// ```
    modules Player: Play {
        "mlp" Perceptron(PerceptronPlayerConfig => PerceptronPlayer)
            "fully connected layers, for points, tables and tiny pictures",
        "convolutional" Convolutional(ConvolutionalPlayerConfig => ConvolutionalPlayer)
            "convolutions, for pictures: doubled sides in a generator, halved ones in a critic",
    }

    fn forward(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>>;
    fn input(&self) -> usize;
}

impl Generate for Player {
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        let z = draws.purpose("z").normals(rows.clone(), self.input()).to_tensor(device);
        condition.check((rows.end - rows.start) as usize)?;
        Ok(self.forward(z.into(), condition)?.value)
    }

    fn name(&self) -> String {
        "generator".into()
    }
}

/// W, divided by its spectral norm over `norm` if there is one.
fn normed(weight: Tensor<2>, norm: Option<f64>) -> Tensor<2> {
    let Some(norm) = norm else { return weight };
    let factor = matrix_norm(weight.clone()).recip().mul_scalar(norm);
    weight * factor.reshape([1, 1])
}

/// W of a convolution of pictures with these sides, divided by its spectral norm over `norm` if there is one.
fn normed_kernel(weight: Tensor<4>, sides: [usize; 2], norm: Option<f64>) -> Tensor<4> {
    let Some(norm) = norm else { return weight };
    let factor = convolution_norm(weight.clone(), sides).recip().mul_scalar(norm);
    weight * factor.reshape([1, 1, 1, 1])
}

/// The default activation of players.
const ACTIVATION: Activation = Activation::Silu;

/// An error of a player that does not fit a space.
fn misfit(name: &str, expected: &str) -> Error {
    Error::config("name", name, expected)
}
