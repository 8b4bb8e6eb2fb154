//! Networks, written once over [`Dual`]: the same code gives values, gradients and directional derivatives.

mod any;
mod attention;
pub mod autoregressive;
pub mod conditional;
mod conv;
mod dropout;
mod embed;
pub mod energy;
pub mod flow;
pub mod game;
mod layer_norm;
mod layers;
mod masked;
mod mlp;
mod params;
pub(crate) mod perceptron;
mod resize;
mod safetensors;
mod sequential;
mod transformer;
mod unet;

pub use any::{AnyNetwork, AnyNetworkConfig, Clock, NetworkConfig};
pub use attention::{attention, causal_self_attention, self_attention};
pub use conv::{Conv2d, Conv2dConfig};
pub use dropout::Dropout;
pub use embed::{
    ConditionEmbedding, ConditionEmbeddingConfig, DescriptionEmbedding, TimeEmbedding,
    TimeEmbeddingConfig,
};
pub use layer_norm::{LayerNorm, LayerNormConfig};
pub use layers::{
    Activation, Embedding, EmbeddingConfig, GroupNorm, GroupNormConfig, Linear, LinearConfig, mlp,
};
pub use masked::{MaskedMlp, MaskedMlpConfig, Sequence};
pub use mlp::{ResidualMlp, ResidualMlpConfig};
pub(crate) use params::{EachParam, MapParam, each_param, fitted, map_each};
pub use params::{collect_params, dtype_of, map_params, param_count};
pub use resize::{double, halve};
pub use safetensors::{Params, State, load_safetensors, safetensors_bytes, save_safetensors};
pub(crate) use safetensors::{array, load_safetensors_of, not_finite, singles};
pub use sequential::{Layer, Pool, Sequential};
pub use transformer::{Transformer, TransformerBlock, TransformerConfig};
pub use unet::{
    ClassEmbedType, DownBlock, MidBlock, Resampling, TimeEmbeddingType, TimeScaleShift, UNet,
    UNetConfig, UpBlock,
};

use crate::data::Condition;
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// The network of a denoiser: (x, level, condition) ↦ an output of the width of x.
pub trait Network: Module + Send + Sync + 'static {
    /// The network's output for a batch, `[n, width]`; `[n, 2 width]` of a network that also learnt variances.
    ///
    /// * `x` — `[n, width]`, scaled to unit variance;
    /// * `noise` — `[n, 1]` or `[1, 1]`, the noise level in the form of the denoiser's [`Clock`];
    /// * `condition` — one condition per row, each possibly "none".
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the batch or the condition does not fit the network.
    fn forward(&self, x: Dual<2>, noise: Dual<2>, condition: &Condition) -> Result<Dual<2>>;

    /// The network for a batch in training: its [`Dropout`], if any, uses the random numbers of `draws`, and
    /// `description`, `[n, numbers]`, is the batch's [`Augmentation`](crate::data::Augmentation).
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if there is a description that the network does not take.
    fn in_training(self, _draws: &Draws, description: Option<Tensor<2>>) -> Result<Self> {
        match description {
            None => Ok(self),
            Some(_) => Err(Error::shape(
                "description of augmented pictures",
                "one",
                "none: no input for it",
            )),
        }
    }

    /// The width of a row.
    fn width(&self) -> usize;
}

/// The device of a module's first parameter.
pub fn device_of<M: Module>(module: &M) -> Option<Device> {
    module.devices().into_iter().next()
}
