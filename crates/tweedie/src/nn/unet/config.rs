//! The configuration of a UNet, with the field names and defaults of diffusers' `UNet2DModel`.

use super::UNet;
use crate::nn::Activation;
use crate::{Draws, Error, Result};
use burn::tensor::Device;
use serde::{Deserialize, Deserializer, Serialize};

/// The type of an encoder level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DownBlock {
    /// Residual blocks, then a convolution of stride 2.
    #[serde(rename = "DownBlock2D")]
    Plain,
    /// Residual blocks, then a residual block that halves the size.
    #[serde(rename = "ResnetDownsampleBlock2D")]
    Resnet,
    /// Residual blocks with attention after each, then `downsample_type`.
    #[serde(rename = "AttnDownBlock2D")]
    Attention,
}

/// The type of a decoder level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpBlock {
    /// Residual blocks, then nearest-neighbour enlargement and a convolution.
    #[serde(rename = "UpBlock2D")]
    Plain,
    /// Residual blocks, then a residual block that doubles the size.
    #[serde(rename = "ResnetUpsampleBlock2D")]
    Resnet,
    /// Residual blocks with attention after each, then `upsample_type`.
    #[serde(rename = "AttnUpBlock2D")]
    Attention,
}

/// The block at the lowest resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MidBlock {
    /// Two residual blocks with attention between them.
    #[serde(rename = "UNetMidBlock2D")]
    Attention,
}

/// The change of resolution at attention levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resampling {
    /// A convolution.
    Conv,
    /// A residual block that resamples inside: 2×2 means down, nearest neighbours up.
    Resnet,
}

/// The use of the noise level's features in residual blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeScaleShift {
    /// The features are added before the second normalisation.
    Default,
    /// The features are scale and shift after the second normalisation.
    ScaleShift,
}

/// The embedding of the noise level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeEmbeddingType {
    /// Sines and cosines of geometric frequencies (Ho et al. 2020).
    Positional,
    /// Sines and cosines of the logarithm at random frequencies (Song et al. 2021); the output is divided by the
    /// noise level.
    Fourier,
    /// A table, one row per index, interpolated between them.
    Learned,
}

/// The embedding of class labels, where it is not a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassEmbedType {
    /// The label's number, embedded like the noise level.
    Timestep,
    /// No embedding: the condition is a vector of features.
    Identity,
}

/// Configuration of [`UNet`]: the fields of diffusers' `UNet2DModel`, and `classes`.
///
/// ```
/// use tweedie::{Draws, nn::UNetConfig, burn::tensor::Device};
/// let config = UNetConfig { block_out_channels: vec![8, 16], norm_num_groups: 4, ..UNetConfig::small([1, 8, 8]) };
/// let network = config.init(&Draws::new(0), &Device::flex())?;
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UNetConfig {
    /// The height and width of a picture; 0 takes them from the data.
    #[serde(deserialize_with = "one_or_two")]
    pub sample_size: [usize; 2],
    /// The channels of a picture; 0 takes them from the data.
    pub in_channels: usize,
    /// The channels of the output, equal to the picture's, or twice as many where an imported network also learnt the
    /// variances of reverse steps; 0 takes them from the data.
    pub out_channels: usize,
    /// Whether the input lies in [0, 1], and the network maps it to [−1, 1] first.
    pub center_input_sample: bool,
    /// The embedding of the noise level.
    pub time_embedding_type: TimeEmbeddingType,
    /// The width of the noise level's features; four times the first level's channels if absent.
    pub time_embedding_dim: Option<usize>,
    /// The shift of the frequencies; with 1 the last frequency is 10⁻⁴.
    pub freq_shift: f64,
    /// Whether cosines precede sines.
    pub flip_sin_to_cos: bool,
    /// The encoder's levels, the highest resolution first.
    pub down_block_types: Vec<DownBlock>,
    /// The block at the lowest resolution, if any.
    pub mid_block_type: Option<MidBlock>,
    /// The decoder's levels, the lowest resolution first.
    pub up_block_types: Vec<UpBlock>,
    /// The channels of each level, the highest resolution first.
    pub block_out_channels: Vec<usize>,
    /// The residual blocks of an encoder level; a decoder level has one more.
    pub layers_per_block: usize,
    /// The divisor of the sums in the middle block.
    pub mid_block_scale_factor: f64,
    /// The zeros around a picture that a convolution halves; 0 pads below and to the right only.
    pub downsample_padding: usize,
    /// The way to halve the size at attention levels.
    pub downsample_type: Resampling,
    /// The way to double the size at attention levels.
    pub upsample_type: Resampling,
    /// The probability of dropping a value in training, before the second convolution of each residual block.
    pub dropout: f64,
    /// The activation of residual blocks.
    pub act_fn: Activation,
    /// The channels of an attention head; all channels of the level if absent.
    pub attention_head_dim: Option<usize>,
    /// The groups of every normalisation.
    pub norm_num_groups: usize,
    /// The groups of the normalisation before the middle block's attention; `norm_num_groups` if absent, or no
    /// normalisation with `scale_shift`.
    pub attn_norm_num_groups: Option<usize>,
    /// ε, added to variances.
    pub norm_eps: f64,
    /// The use of the noise level's features in residual blocks.
    pub resnet_time_scale_shift: TimeScaleShift,
    /// Whether the middle block has attention.
    pub add_attention: bool,
    /// The embedding of class labels, if not by a table.
    pub class_embed_type: Option<ClassEmbedType>,
    /// The rows of the table of classes.
    pub num_class_embeds: Option<usize>,
    /// The rows of a learned time embedding.
    pub num_train_timesteps: Option<usize>,
    /// Exponents n of the Fourier features sin(2ⁿ π x) and cos(2ⁿ π x), which are appended to the channels of the input
    /// (Kingma et al. 2021, app. C), so that the network distinguishes neighbouring integers; not in diffusers.
    pub fourier_features: Vec<u32>,
    /// The number of numbers that describe an augmented picture; `training.augmentation` sets it. Not in diffusers.
    #[serde(skip_serializing_if = "crate::registry::is_default")]
    pub augmentation: usize,
    /// The number of classes in the table; one more row is "none". 0 means the classes of the data, and adds the row.
    pub classes: usize,
}

impl Default for UNetConfig {
    /// The default has three levels of 32, 64 and 128 channels, one residual block each, and attention in the middle
    /// only: for pictures of about 28 × 28.
    fn default() -> Self {
        Self {
            sample_size: [0, 0],
            in_channels: 0,
            out_channels: 0,
            down_block_types: vec![DownBlock::Plain; 3],
            up_block_types: vec![UpBlock::Plain; 3],
            block_out_channels: vec![32, 64, 128],
            layers_per_block: 1,
            norm_num_groups: 8,
            attention_head_dim: None,
            ..Self::of_diffusers()
        }
    }
}

impl UNetConfig {
    /// The defaults of diffusers' `UNet2DModel`.
    pub fn of_diffusers() -> Self {
        Self {
            sample_size: [0, 0],
            in_channels: 3,
            out_channels: 3,
            center_input_sample: false,
            time_embedding_type: TimeEmbeddingType::Positional,
            time_embedding_dim: None,
            freq_shift: 0.0,
            flip_sin_to_cos: true,
            down_block_types: {
                let rest = [DownBlock::Attention; 3];
                [vec![DownBlock::Plain], rest.to_vec()].concat()
            },
            mid_block_type: Some(MidBlock::Attention),
            up_block_types: {
                let first = [UpBlock::Attention; 3];
                [first.to_vec(), vec![UpBlock::Plain]].concat()
            },
            block_out_channels: vec![224, 448, 672, 896],
            layers_per_block: 2,
            mid_block_scale_factor: 1.0,
            downsample_padding: 1,
            downsample_type: Resampling::Conv,
            upsample_type: Resampling::Conv,
            dropout: 0.0,
            augmentation: 0,
            act_fn: Activation::Silu,
            attention_head_dim: Some(8),
            norm_num_groups: 32,
            attn_norm_num_groups: None,
            norm_eps: 1e-5,
            resnet_time_scale_shift: TimeScaleShift::Default,
            add_attention: true,
            class_embed_type: None,
            num_class_embeds: None,
            num_train_timesteps: None,
            fourier_features: Vec::new(),
            classes: 0,
        }
    }

    /// A network of two levels for small pictures of the given channels, height and width.
    pub fn small([channels, height, width]: [usize; 3]) -> Self {
        Self {
            sample_size: [height, width],
            in_channels: channels,
            out_channels: channels,
            down_block_types: vec![DownBlock::Plain; 2],
            up_block_types: vec![UpBlock::Plain; 2],
            block_out_channels: vec![32, 64],
            ..Self::default()
        }
    }

    /// The width of the noise level's features.
    pub fn time_width(&self) -> usize {
        let first = self.block_out_channels.first().copied().unwrap_or(0);
        self.time_embedding_dim.unwrap_or(4 * first)
    }

    /// The width of the time embedding before its two linear layers.
    pub(super) fn frequencies(&self) -> usize {
        let first = self.block_out_channels.first().copied().unwrap_or(0);
        if self.time_embedding_type == TimeEmbeddingType::Fourier { 2 * first } else { first }
    }

    /// The channels of the first convolution's input.
    pub(super) fn seen_channels(&self) -> usize {
        self.in_channels * (1 + 2 * self.fourier_features.len())
    }

    /// The groups of the normalisation before the middle block's attention, if it has one.
    pub(super) fn mid_groups(&self) -> Option<usize> {
        match self.resnet_time_scale_shift {
            _ if self.attn_norm_num_groups.is_some() => self.attn_norm_num_groups,
            TimeScaleShift::Default => Some(self.norm_num_groups),
            TimeScaleShift::ScaleShift => None,
        }
    }

    /// The channels of a head in a level of `channels` channels.
    pub(super) fn head(&self, channels: usize) -> usize {
        self.attention_head_dim.unwrap_or(channels)
    }

    /// The network with initial values from `draws`, distributed as in PyTorch; residual branches and the output start
    /// at zero (as in Dhariwal & Nichol 2021).
    ///
    /// # Errors
    /// As [`UNetConfig::check`].
    pub fn init(&self, draws: &Draws, device: &Device) -> Result<UNet> {
        self.check()?;
        Ok(UNet::new(self, draws, device))
    }

    /// Fails, naming the key, unless the numbers are valid and consistent.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        let wrong = |key: &str, found: String, expected: String| {
            Err(Error::config(format!("network.{key}"), found, expected))
        };
        let levels = self.block_out_channels.len();
        if !(1..=10).contains(&levels) {
            return wrong("block_out_channels", format!("{levels} levels"), "1 to 10".into());
        }
        for (key, found) in [
            ("down_block_types", self.down_block_types.len()),
            ("up_block_types", self.up_block_types.len()),
        ] {
            if found != levels {
                let expected = format!("{levels}, as many as block_out_channels");
                return wrong(key, format!("{found} levels"), expected);
            }
        }
        let numbers = [
            ("layers_per_block", Some(self.layers_per_block), 64),
            ("norm_num_groups", Some(self.norm_num_groups), 1 << 16),
            ("attn_norm_num_groups", self.attn_norm_num_groups, 1 << 16),
            ("attention_head_dim", self.attention_head_dim, 1 << 16),
            ("time_embedding_dim", self.time_embedding_dim, 1 << 16),
            ("num_class_embeds", self.num_class_embeds, 1 << 20),
            ("num_train_timesteps", self.num_train_timesteps, 1 << 20),
            ("sample_size", Some(self.sample_size[0]), 1 << 12),
            ("sample_size", Some(self.sample_size[1]), 1 << 12),
            ("in_channels", Some(self.in_channels), 1 << 10),
            ("out_channels", Some(self.out_channels), 1 << 10),
        ];
        for (key, value, most) in numbers {
            if value.is_some_and(|value| value == 0 || value > most) {
                let found = value.unwrap_or_default().to_string();
                return wrong(key, found, format!("from 1 to {most}"));
            }
        }
        if self.fourier_features.len() > 16 || self.fourier_features.iter().any(|n| *n > 16) {
            let found = format!("{:?}", self.fourier_features);
            return wrong("fourier_features", found, "at most 16 numbers from 0 to 16".into());
        }
        if ![self.in_channels, 2 * self.in_channels].contains(&self.out_channels) {
            let expected =
                format!("{}, as many as in_channels, or twice as many", self.in_channels);
            return wrong("out_channels", self.out_channels.to_string(), expected);
        }
        let factor = 1usize << (levels - 1);
        if let Some(side) = self.sample_size.iter().find(|side| !side.is_multiple_of(factor)) {
            let expected = format!("a multiple of {factor}, since {levels} levels halve it");
            return wrong("sample_size", side.to_string(), expected);
        }
        for &channels in &self.block_out_channels {
            let odd = channels % 2 == 1;
            if channels == 0 || channels > 1 << 14 || odd {
                return wrong("block_out_channels", channels.to_string(), "even, to 16384".into());
            }
            if !channels.is_multiple_of(self.norm_num_groups) {
                let expected = format!("multiples of norm_num_groups, {}", self.norm_num_groups);
                return wrong("block_out_channels", channels.to_string(), expected);
            }
            if self.head(channels) > channels {
                let expected = format!("at most {channels}, a level's channels");
                return wrong("attention_head_dim", self.head(channels).to_string(), expected);
            }
        }
        let last = self.block_out_channels[levels - 1];
        if let Some(groups) = self.mid_groups().filter(|groups| !last.is_multiple_of(*groups)) {
            let expected = format!("a divisor of {last}, the last level's channels");
            return wrong("attn_norm_num_groups", groups.to_string(), expected);
        }
        if self.downsample_padding > 1 {
            let expected = "0 or 1, with which convolutions halve the size".into();
            return wrong("downsample_padding", self.downsample_padding.to_string(), expected);
        }
        let learned = self.time_embedding_type == TimeEmbeddingType::Learned;
        if learned && self.num_train_timesteps.is_none() {
            let expected = "a number, for a learned time embedding".into();
            return wrong("num_train_timesteps", "absent".into(), expected);
        }
        let positive = [
            ("norm_eps", self.norm_eps, 1e-12, 1.0),
            ("mid_block_scale_factor", self.mid_block_scale_factor, 1e-6, 1e6),
            ("freq_shift", self.freq_shift, 0.0, 1.0),
            ("dropout", self.dropout, 0.0, 0.99),
        ];
        for (key, value, low, high) in positive {
            if !(low..=high).contains(&value) {
                return wrong(key, format!("{value:?}"), format!("from {low:?} to {high:?}"));
            }
        }
        if self.time_embedding_type == TimeEmbeddingType::Positional
            && self.block_out_channels[0] as f64 / 2.0 <= self.freq_shift
        {
            let expected = "below half the first level's channels".into();
            return wrong("freq_shift", format!("{:?}", self.freq_shift), expected);
        }
        self.check_classes()
    }

    fn check_classes(&self) -> Result<()> {
        let rows = match (self.class_embed_type, self.num_class_embeds) {
            (None, Some(rows)) => rows,
            (Some(ClassEmbedType::Timestep), _) => return Ok(()),
            _ => 0,
        };
        if self.classes == 0 || rows == self.classes || rows == self.classes + 1 {
            return Ok(());
        }
        let expected = format!("{} or, with one for \"none\", {}", self.classes, self.classes + 1);
        Err(Error::config("network.num_class_embeds", rows.to_string(), expected))
    }
}

/// Reads a side, or height and width; neither may be 0.
fn one_or_two<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<[usize; 2], D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a side, or height and width")]
    enum Size {
        One(usize),
        Two([usize; 2]),
        None(()),
    }
    Ok(match Size::deserialize(deserializer)? {
        Size::One(side) => [side, side],
        Size::Two(both) => both,
        Size::None(()) => [0, 0],
    })
}
