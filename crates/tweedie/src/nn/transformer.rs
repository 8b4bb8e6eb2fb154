//! The transformer's encoder (Vaswani et al. 2017, sec. 3.1) with the normalisation before each part (Xiong et al.
//! 2020, "On layer normalization in the transformer architecture"), with the parameters of PyTorch's
//! `nn.TransformerEncoder` of layers with `norm_first=True` and without dropout:
//!
//! > x ← x + attention(norm₁(x)), x ← x + W₂ f(W₁ norm₂(x)).

use super::layers::{constant, mlp, project, uniform};
use super::{Activation, LayerNorm, LayerNormConfig, Linear, LinearConfig, self_attention};
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// Configuration of [`Transformer`].
#[derive(Debug, Clone)]
pub struct TransformerConfig {
    width: usize,
    heads: usize,
    layers: usize,
    hidden: usize,
    epsilon: f64,
}

impl TransformerConfig {
    /// A configuration of `layers` blocks with `heads` heads on tokens of `width` values; 4 · `width` hidden units,
    /// GELU, and a last normalisation.
    pub fn new(width: usize, heads: usize, layers: usize) -> Self {
        Self { width, heads, layers, hidden: 4 * width, epsilon: 1e-5 }
    }

    /// Sets the number of hidden units between the two linear layers of a block.
    pub fn with_hidden(mut self, hidden: usize) -> Self {
        self.hidden = hidden;
        self
    }

    /// The network with initial values from `draws`, distributed as in PyTorch.
    ///
    /// # Errors
    /// [`Error::Config`] if a size is 0, or the heads do not divide the width.
    pub fn init(&self, draws: &Draws, device: &Device) -> Result<Transformer> {
        for (key, size) in [("width", self.width), ("heads", self.heads), ("hidden", self.hidden)] {
            if size == 0 {
                return Err(Error::config(format!("transformer.{key}"), "0", "at least 1"));
            }
        }
        if !self.width.is_multiple_of(self.heads) {
            let expected = format!("a divisor of {}, the width", self.width);
            return Err(Error::config("transformer.heads", self.heads.to_string(), expected));
        }
        let layer =
            |k: usize| TransformerBlock::new(self, &draws.purpose("layers").at(k as u64), device);
        Ok(Transformer { layers: (0..self.layers).map(layer).collect(), norm: self.norm(device) })
    }

    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNormConfig::new(self.width).with_epsilon(self.epsilon).init(device)
    }
}

/// Blocks of self-attention and linear layers over tokens; see the module's head.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::Draws;
/// use tweedie::nn::TransformerConfig;
/// let device = Device::flex();
/// let network = TransformerConfig::new(16, 4, 2).init(&Draws::new(0), &device)?;
/// let tokens = Tensor::<3>::ones([5, 7, 16], &device); // 5 samples of 7 tokens
/// assert_eq!(network.forward(tokens.into()).dims(), [5, 7, 16]);
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct Transformer {
    /// The blocks, in order.
    pub layers: Vec<TransformerBlock>,
    /// The normalisation after the last block.
    pub norm: LayerNorm,
}

impl Transformer {
    /// Maps `[n, tokens, width]` to the same shape. Without positions among the features, tokens are a set.
    pub fn forward(&self, x: Dual<3>) -> Dual<3> {
        self.norm.forward(self.layers.iter().fold(x, |x, layer| layer.forward(x)))
    }
}

/// One block of a [`Transformer`].
#[derive(Module, Debug)]
pub struct TransformerBlock {
    self_attn: SelfAttention,
    linear1: Linear,
    linear2: Linear,
    norm1: LayerNorm,
    norm2: LayerNorm,
}

impl TransformerBlock {
    fn new(config: &TransformerConfig, draws: &Draws, device: &Device) -> Self {
        let (width, hidden) = (config.width, config.hidden);
        let linear = |name: &str, input, output| {
            LinearConfig::new(input, output).init(&draws.purpose(name), device)
        };
        Self {
            self_attn: SelfAttention::new(config, &draws.purpose("self_attn"), device),
            linear1: linear("linear1", width, hidden),
            linear2: linear("linear2", hidden, width),
            norm1: config.norm(device),
            norm2: config.norm(device),
        }
    }

    /// Maps `[n, tokens, width]` to the same shape.
    pub fn forward(&self, x: Dual<3>) -> Dual<3> {
        let [n, tokens, width] = x.dims();
        let x = self.self_attn.forward_plus(self.norm1.forward(x.clone()), x);
        let rows = self.norm2.forward(x.clone()).reshape([n * tokens, width]);
        let layers = [(&self.linear1, Some(Activation::Gelu)), (&self.linear2, None)];
        let x = mlp(rows, &layers, Some(x.reshape([n * tokens, width])));
        x.reshape([n, tokens, width])
    }
}

/// Self-attention whose queries, keys and values are three linear layers in one weight.
#[derive(Module, Debug)]
struct SelfAttention {
    /// The weights of queries, keys and values, `[3 · width, width]`.
    in_proj_weight: Param<Tensor<2>>,
    /// The biases of queries, keys and values, `[3 · width]`.
    in_proj_bias: Param<Tensor<1>>,
    out_proj: Linear,
    #[module(skip)]
    heads: usize,
}

impl SelfAttention {
    fn new(config: &TransformerConfig, draws: &Draws, device: &Device) -> Self {
        let width = config.width;
        // Bound by Glorot & Bengio (2010), equation 16, for the three layers as one.
        let bound = (6.0 / (4 * width) as f64).sqrt();
        let out_proj = LinearConfig::new(width, width).init(&draws.purpose("out_proj"), device);
        let bias = out_proj.bias.map(|_| constant(0.0, [width], device));
        let in_proj = draws.purpose("in_proj_weight");
        Self {
            in_proj_weight: uniform(&in_proj, bound, [3 * width, width], device),
            in_proj_bias: constant(0.0, [3 * width], device),
            out_proj: Linear { bias, ..out_proj },
            heads: config.heads,
        }
    }

    /// Applies attention and adds `residual`.
    fn forward_plus(&self, x: Dual<3>, residual: Dual<3>) -> Dual<3> {
        let [n, tokens, width] = x.dims();
        let rows = x.reshape([n * tokens, width]);
        let (weight, bias) = (self.in_proj_weight.val(), self.in_proj_bias.val());
        let qkv = project(rows, weight, Some(bias)).reshape([n, tokens, 3 * width]);
        let mixed = self_attention(qkv, self.heads);
        let mixed = mixed.reshape([n * tokens, width]);
        let rows = self.out_proj.forward_plus(mixed, residual.reshape([n * tokens, width]));
        rows.reshape([n, tokens, width])
    }
}
