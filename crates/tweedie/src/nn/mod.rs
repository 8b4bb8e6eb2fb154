//! Networks, written once over [`Dual`]: the same code gives values, gradients and directional derivatives.

mod attention;
mod embed;
pub mod flow;
mod layer_norm;
mod layers;
mod mlp;
mod params;
mod resize;
mod sequential;
mod transformer;
mod unet;

pub use attention::{attention, self_attention};
pub use embed::{ConditionEmbedding, ConditionEmbeddingConfig, TimeEmbedding, TimeEmbeddingConfig};
pub use layer_norm::{LayerNorm, LayerNormConfig};
pub use layers::{
    Activation, Conv2d, Conv2dConfig, Embedding, EmbeddingConfig, GroupNorm, GroupNormConfig,
    Linear, LinearConfig, mlp,
};
pub use mlp::{ResidualMlp, ResidualMlpConfig};
pub(crate) use params::{
    EachParam, MapParam, each_param, load_safetensors_of, map_each, not_finite, singles,
};
pub use params::{
    Params, collect_params, dtype_of, load_safetensors, map_params, param_count, safetensors_bytes,
    save_safetensors,
};
pub use resize::{double, halve};
pub use sequential::{Layer, Pool, Sequential};
pub use transformer::{Transformer, TransformerBlock, TransformerConfig};
pub use unet::{
    ClassEmbedType, DownBlock, MidBlock, Resampling, TimeEmbeddingType, TimeScaleShift, UNet,
    UNetConfig, UpBlock,
};

use crate::Result;
use crate::data::Condition;
use crate::tensor::Dual;
use burn::module::Module;
use burn::tensor::Device;

/// What a model family asks of a network: (x, level, condition) ↦ an output as wide as x.
pub trait Network: Module + Send + Sync + 'static {
    /// The network's output for a batch.
    ///
    /// * `x` — `[n, width]`, scaled to unit variance;
    /// * `noise` — `[n, 1]` or `[1, 1]`, the noise level by the denoiser's [`crate::denoise::Clock`];
    /// * `condition` — one condition per row, each possibly "none".
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the batch or the condition does not fit the network.
    fn forward(&self, x: Dual<2>, noise: Dual<2>, condition: &Condition) -> Result<Dual<2>>;

    /// The width of a row.
    fn width(&self) -> usize;
}

/// The device of a module's first parameter.
pub fn device_of<M: Module>(module: &M) -> Option<Device> {
    module.devices().into_iter().next()
}
