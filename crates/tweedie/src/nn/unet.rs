//! The time-conditional UNet (Ronneberger et al. 2015; Ho et al. 2020; *An Introduction to Generative Modeling with
//! Flows and Diffusion Models*, sec. 6.5.1), with the parameters of diffusers' `UNet2DModel`.
//!
//! The encoder halves the picture level by level. The decoder doubles it again, with skip connections from the encoder
//! at the same resolution. An embedding turns noise level and class into features, which every residual block adds.

mod blocks;
mod config;
mod size;

pub use config::{
    ClassEmbedType, DownBlock, MidBlock, Resampling, TimeEmbeddingType, TimeScaleShift, UNetConfig,
    UpBlock,
};

use super::conv::{channels_first, channels_last};
use super::{
    Activation, Conv2d, Conv2dConfig, DescriptionEmbedding, Embedding, EmbeddingConfig, GroupNorm,
    GroupNormConfig, Linear, LinearConfig, Network,
};
use crate::data::Condition;
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use blocks::Block;
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};

/// The scale of random frequencies (Song et al. 2021).
const FOURIER_SCALE: f32 = 16.0;

/// The UNet; see the module's head. It takes the noise level in the form of its denoiser's clock.
#[derive(Module, Debug)]
pub struct UNet {
    conv_in: Conv2d,
    time_proj: Option<TimeTable>,
    time_embedding: TimeMlp,
    class_embedding: Option<ClassEmbedding>,
    description: Option<DescriptionEmbedding>,
    down_blocks: Vec<Block>,
    mid_block: Option<Block>,
    up_blocks: Vec<Block>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    #[module(skip)]
    config: UNetConfig,
}

/// Fixed frequencies `[count]`, or a trained table `[times, width]`.
#[derive(Module, Debug)]
enum TimeTable {
    Fourier(Frequencies),
    Learned(Embedding),
}

#[derive(Module, Debug)]
struct Frequencies {
    weight: Param<Tensor<1>>,
}

/// Two linear layers with SiLU between them.
#[derive(Module, Debug)]
struct TimeMlp {
    linear_1: Linear,
    linear_2: Linear,
}

impl TimeMlp {
    fn new(input: usize, width: usize, draws: &Draws, device: &Device) -> Self {
        Self {
            linear_1: LinearConfig::new(input, width).init(&draws.purpose("linear_1"), device),
            linear_2: LinearConfig::new(width, width).init(&draws.purpose("linear_2"), device),
        }
    }

    fn forward(&self, x: Dual<2>) -> Dual<2> {
        self.linear_2.forward(self.linear_1.forward_then(x, Activation::Silu))
    }
}

#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a network has one")]
enum ClassEmbedding {
    Table(Embedding),
    Timestep(TimeMlp),
}

impl UNet {
    /// Builds the network of a checked configuration.
    fn new(config: &UNetConfig, draws: &Draws, device: &Device) -> Self {
        let channels = &config.block_out_channels;
        let (first, time) = (channels[0], config.time_width());
        let time_mlp =
            |name: &str| TimeMlp::new(config.frequencies(), time, &draws.purpose(name), device);
        let time_proj = match config.time_embedding_type {
            TimeEmbeddingType::Positional => None,
            TimeEmbeddingType::Fourier => {
                let weight = draws.purpose("time_proj").normals(0..1, first);
                let weight = weight.to_tensor(device).mul_scalar(FOURIER_SCALE).reshape([first]);
                Some(TimeTable::Fourier(Frequencies { weight: Param::from_tensor(weight) }))
            }
            TimeEmbeddingType::Learned => {
                let times = config.num_train_timesteps.unwrap_or(1);
                let table = EmbeddingConfig::new(times, first);
                Some(TimeTable::Learned(table.init(&draws.purpose("time_proj"), device)))
            }
        };
        let class_embedding = match (config.class_embed_type, config.num_class_embeds) {
            (None, Some(rows)) => {
                let table = EmbeddingConfig::new(rows, time);
                Some(ClassEmbedding::Table(table.init(&draws.purpose("class_embedding"), device)))
            }
            (Some(ClassEmbedType::Timestep), _) => {
                Some(ClassEmbedding::Timestep(time_mlp("class_embedding")))
            }
            _ => None,
        };
        let down = draws.purpose("down_blocks");
        let up = draws.purpose("up_blocks");
        let levels = 0..channels.len();
        Self {
            conv_in: Conv2dConfig::new(config.seen_channels(), first, 3)
                .init(&draws.purpose("conv_in"), device),
            time_proj,
            time_embedding: time_mlp("time_embedding"),
            class_embedding,
            description: DescriptionEmbedding::new(
                config.augmentation,
                time,
                &draws.purpose("description"),
                device,
            ),
            down_blocks: levels
                .clone()
                .map(|k| Block::down(config, k, &down.at(k as u64), device))
                .collect(),
            mid_block: config
                .mid_block_type
                .map(|_| Block::middle(config, &draws.purpose("mid_block"), device)),
            up_blocks: levels.map(|k| Block::up(config, k, &up.at(k as u64), device)).collect(),
            conv_norm_out: GroupNormConfig::new(config.norm_num_groups, first)
                .with_epsilon(config.norm_eps)
                .init(device),
            conv_out: Conv2dConfig::new(first, config.out_channels, 3)
                .with_gain(0.0)
                .init(&draws.purpose("conv_out"), device),
            config: config.clone(),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// Features `[n, frequencies]` of times `[n, 1]`.
    fn embed(&self, time: Dual<2>) -> Dual<2> {
        match &self.time_proj {
            None => {
                let count = self.config.block_out_channels[0] / 2;
                let step = -1e4f64.ln() / (count as f64 - self.config.freq_shift);
                let frequencies = (0..count).map(|k| (step * k as f64).exp() as f32).collect();
                let frequencies = row(frequencies, &time.value);
                self.waves(time * frequencies, self.config.flip_sin_to_cos)
            }
            Some(TimeTable::Fourier(table)) => {
                // The frequencies are not trained.
                let weight = table.weight.val().detach();
                let [count] = weight.dims();
                let frequencies = weight.reshape([1, count]).mul_scalar(std::f64::consts::TAU);
                self.waves(time.log() * frequencies, false)
            }
            Some(TimeTable::Learned(table)) => {
                // Linear interpolation in the index: at an index its row, between two the weighted mean of both.
                let weight = table.weight.val();
                let [count, _] = weight.dims();
                let indices = row((0..count).map(|k| k as f32).collect(), &weight);
                let last = count as f64 - 1.0;
                let inside = |x: Dual<2>, y: Dual<2>| {
                    x.value.zeros_like().mask_fill(x.value.equal(y.value), 1.0).into()
                };
                let distance = time.map(|x| x.clamp(0.0, last), inside) - indices;
                let hat = distance.map(
                    |d| d.abs().neg().add_scalar(1.0).clamp_min(0.0),
                    |d, y| {
                        let within = y.value.zeros_like();
                        let within = within.mask_fill(y.value.greater_scalar(0.0), 1.0);
                        (d.value.sign().neg() * within).into()
                    },
                );
                hat.matmul(weight.into())
            }
        }
    }

    /// Appends the Fourier features to the channels of `[n, h, w, c]`.
    fn with_fourier_features(&self, x: Dual<4>) -> Dual<4> {
        let mut all = vec![x.clone()];
        for n in &self.config.fourier_features {
            let phase = x.clone().mul_scalar(2f64.powi(*n as i32) * std::f64::consts::PI);
            all.extend([phase.clone().sin(), phase.cos()]);
        }
        if all.len() == 1 { x } else { Dual::cat(all, 3) }
    }

    fn waves(&self, phase: Dual<2>, flip: bool) -> Dual<2> {
        let (sin, cos) = (phase.clone().sin(), phase.cos());
        Dual::cat(if flip { vec![cos, sin] } else { vec![sin, cos] }, 1)
    }

    /// The features `[rows, time]` of the conditions, if the network takes conditions.
    fn classes(
        &self,
        condition: &Condition,
        rows: usize,
        device: &Device,
    ) -> Result<Option<Dual<2>>> {
        condition.check(rows)?;
        let width = self.config.time_width();
        let identity = self.config.class_embed_type == Some(ClassEmbedType::Identity);
        match (condition, &self.class_embedding) {
            (Condition::None, None) if !identity => Ok(None),
            (Condition::Vector { values, present }, None) if identity => {
                if values.dims()[1] != width || present.contains(&false) {
                    let expected = format!("one of length {width} for every row");
                    return Err(Error::shape("condition vector", values.dims()[1], expected));
                }
                Ok(Some(values.clone().into()))
            }
            (Condition::None, Some(embedding)) => {
                self.labels(embedding, &vec![None; rows], device).map(Some)
            }
            (Condition::Class(labels), Some(embedding)) => {
                self.labels(embedding, labels, device).map(Some)
            }
            (other, _) => {
                let expected = match &self.class_embedding {
                    Some(_) => "a class".to_string(),
                    None if identity => format!("vectors of length {width}"),
                    None => "none: this network takes no condition".to_string(),
                };
                Err(Error::shape("condition", other.kind(), expected))
            }
        }
    }

    /// The features `[labels, time]` of labels; "none" is the row of the table after the classes, if it has one.
    fn labels(
        &self,
        embedding: &ClassEmbedding,
        labels: &[Option<u32>],
        device: &Device,
    ) -> Result<Dual<2>> {
        let rows = self.config.num_class_embeds.unwrap_or(u32::MAX as usize);
        let table = matches!(embedding, ClassEmbedding::Table(_));
        let classes = if self.config.classes > 0 { self.config.classes } else { rows };
        let none = (table && classes < rows).then_some(classes as u32);
        let indices: Vec<u32> = labels
            .iter()
            .map(|label| match (label, none) {
                (Some(label), _) if (*label as usize) < classes => Ok(*label),
                (Some(label), _) => {
                    Err(Error::shape("class label", label, format!("a label below {classes}")))
                }
                (None, Some(none)) => Ok(none),
                (None, None) => {
                    let expected = "a class: this network was trained with one for every row";
                    Err(Error::shape("condition", "none", expected))
                }
            })
            .collect::<Result<_>>()?;
        Ok(match embedding {
            ClassEmbedding::Table(table) => table.forward(&indices),
            ClassEmbedding::Timestep(mlp) => {
                let numbers: Vec<f32> = indices.iter().map(|&i| i as f32).collect();
                let data = TensorData::new(numbers, [indices.len(), 1]);
                let numbers = Tensor::<2>::from_data(data, (device, DType::F32));
                mlp.forward(self.embed(numbers.into()))
            }
        })
    }
}

/// Permutes `[n, c, h, w]`, the order of rows, to `[n, h, w, c]`, the order of layers.
/// A constant row `[1, len]` on the device and in the type of `like`.
fn row(values: Vec<f32>, like: &Tensor<2>) -> Tensor<2> {
    let data = TensorData::new::<f32, _>(values.clone(), [1, values.len()]);
    Tensor::from_data(data.convert_dtype(like.dtype()), (&like.device(), like.dtype()))
}

impl Network for UNet {
    fn forward(&self, x: Dual<2>, noise: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let [rows, width] = x.dims();
        if width != self.width() {
            let expected = format!("rows of {}", self.width());
            return Err(Error::shape("network input", format!("rows of {width}"), expected));
        }
        let [h, w] = self.config.sample_size;
        let mut x = channels_last(x.reshape([rows, self.config.in_channels, h, w]));
        if self.config.center_input_sample {
            x = x.mul_scalar(2.0).add_scalar(-1.0);
        }
        let mut time = self.time_embedding.forward(self.embed(noise.clone()));
        if let Some(classes) = self.classes(condition, rows, &x.value.device())? {
            time = time + classes;
        }
        if let Some(description) = &self.description {
            time = description.add_to(time);
        }
        x = self.conv_in.forward(self.with_fourier_features(x));
        let mut skips = vec![x.clone()];
        for block in &self.down_blocks {
            x = block.descend(x, &time, &mut skips);
        }
        if let Some(block) = &self.mid_block {
            x = block.cross(x, &time);
        }
        for block in &self.up_blocks {
            x = block.ascend(x, &time, &mut skips);
        }
        let y =
            self.conv_out.forward(self.conv_norm_out.forward_then(x, None, Some(Activation::Silu)));
        let outputs = width / self.config.in_channels * self.config.out_channels;
        let y = channels_first(y).reshape([rows, outputs]);
        Ok(match self.config.time_embedding_type {
            TimeEmbeddingType::Fourier => y * noise.recip(),
            TimeEmbeddingType::Positional | TimeEmbeddingType::Learned => y,
        })
    }

    fn in_training(mut self, draws: &Draws, description: Option<Tensor<2>>) -> Result<Self> {
        self.description = DescriptionEmbedding::describing(self.description, description)?;
        if self.config.dropout == 0.0 {
            return Ok(self);
        }
        let all = |blocks: Vec<Block>, name| {
            let draws = draws.purpose(name);
            let each = |(block, k): (Block, u64)| block.with_dropout(&draws.at(k));
            blocks.into_iter().zip(0..).map(each).collect()
        };
        self.down_blocks = all(self.down_blocks, "down");
        self.mid_block = self.mid_block.map(|block| block.with_dropout(&draws.purpose("middle")));
        self.up_blocks = all(self.up_blocks, "up");
        Ok(self)
    }

    fn width(&self) -> usize {
        self.config.in_channels * self.config.sample_size.iter().product::<usize>()
    }
}
