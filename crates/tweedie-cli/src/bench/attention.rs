//! The networks with attention: the library's UNet and its transformer.

use super::networks::{Model, Problem, conv_flops, draws};
use std::path::Path;
use tweedie::Result;
use tweedie::burn::tensor::{Device, TensorData};
use tweedie::data::Condition;
use tweedie::nn::{
    DownBlock, Network, Params, Transformer, TransformerConfig, UNet, UNetConfig, UpBlock,
    collect_params, map_params,
};
use tweedie::tensor::Dual;

/// Additions and multiplications of attention over `tokens` of `width`, its four linear layers included.
fn attention_flops(tokens: usize, width: usize) -> f64 {
    4.0 * conv_flops(tokens, width, width, 1) + 4.0 * (tokens * tokens * width) as f64
}

impl Model for UNet {
    fn output(&self, x: Dual<2>, features: Dual<2>) -> Result<Dual<2>> {
        self.forward(x, features, &Condition::None)
    }
}

/// A UNet for colour pictures of 32 × 32 with three levels and attention at 16 × 16 and in the middle.
pub fn unet(rows: usize, device: &Device) -> Result<Problem<UNet>> {
    let side = 32;
    let config = UNetConfig {
        sample_size: [side, side],
        down_block_types: vec![DownBlock::Plain, DownBlock::Attention, DownBlock::Plain],
        up_block_types: vec![UpBlock::Plain, UpBlock::Attention, UpBlock::Plain],
        block_out_channels: vec![32, 64, 128],
        layers_per_block: 1,
        norm_num_groups: 8,
        attention_head_dim: Some(32),
        ..UNetConfig::of_diffusers()
    };
    let model = config.init(&draws("unet-attention"), device)?;
    let weights = collect_params(&model)?.into_iter().map(awake).collect::<Params>();
    let model = map_params(model, &weights, Path::new("weights"))?;
    let width = model.width();
    let flops = rows as f64 * unet_flops(&config);
    let mut problem = Problem::new(model, rows, [width, 1, width], flops, device);
    let times = draws("times").uniforms(0..rows as u64, 1);
    problem.features = times.to_tensor(device).mul_scalar(1000.0).floor();
    Ok(problem)
}

/// Replaces zero weights by random ones: zeros would keep gradients at zero, and hide a difference from a peer.
fn awake((name, data): (String, TensorData)) -> (String, TensorData) {
    let shape = data.shape().to_vec();
    if shape.len() < 2 || data.iter::<f32>().any(|v| v != 0.0) {
        return (name, data);
    }
    let inputs: usize = shape[1..].iter().product();
    let scale = 1.0 / (inputs as f32).sqrt();
    let drawn = draws(&name).uniforms(0..1, data.num_elements());
    let values: Vec<f32> = drawn.values().iter().map(|u| scale * (2.0 * u - 1.0)).collect();
    (name, TensorData::new(values, shape))
}

/// Additions and multiplications for one picture.
fn unet_flops(config: &UNetConfig) -> f64 {
    let time = config.time_width();
    let channels = &config.block_out_channels;
    let pixels = |level: usize| (config.sample_size[0] >> level) * (config.sample_size[1] >> level);
    let residual = |pixels, i: usize, o: usize| {
        let skip = if i == o { 0.0 } else { conv_flops(pixels, i, o, 1) };
        conv_flops(pixels, i, o, 3) + conv_flops(pixels, o, o, 3) + skip + conv_flops(1, time, o, 1)
    };
    let (first, last) = (channels[0], channels[channels.len() - 1]);
    let ends = conv_flops(pixels(0), config.in_channels + config.out_channels, first, 3);
    let mut sum = ends + conv_flops(1, first, time, 1) + conv_flops(1, time, time, 1);
    for (level, &c) in channels.iter().enumerate() {
        let here = pixels(level);
        let deeper = level + 1 < channels.len();
        // Channels from the level below and from the skip connection.
        let (below, above) =
            (channels[(level + 1).min(channels.len() - 1)], channels[level.max(1) - 1]);
        sum += residual(here, above, c);
        sum += residual(here, below + c, c) + residual(here, c + above, c);
        if config.down_block_types[level] == DownBlock::Attention {
            sum += 3.0 * attention_flops(here, c);
        }
        if deeper {
            let resampled = conv_flops(pixels(level + 1), c, c, 3);
            sum += resampled + conv_flops(here, below, below, 3);
        }
    }
    let lowest = pixels(channels.len() - 1);
    sum + 2.0 * residual(lowest, last, last) + attention_flops(lowest, last)
}

/// Tokens of a sample, the width of each, heads and layers of the transformer.
const TOKENS: usize = 64;
const WIDTH: usize = 128;
const HEADS: usize = 4;
const LAYERS: usize = 4;

impl Model for Transformer {
    fn output(&self, x: Dual<2>, _features: Dual<2>) -> Result<Dual<2>> {
        let [rows, width] = x.dims();
        let tokens = x.reshape([rows, TOKENS, WIDTH]);
        Ok(self.forward(tokens).reshape([rows, width]))
    }
}

/// A transformer of four pre-norm layers on 64 tokens of 128 values.
pub fn transformer(rows: usize, device: &Device) -> Result<Problem<Transformer>> {
    let model = TransformerConfig::new(WIDTH, HEADS, LAYERS).init(&draws("transformer"), device)?;
    let layer = attention_flops(TOKENS, WIDTH) + 2.0 * conv_flops(TOKENS, WIDTH, 4 * WIDTH, 1);
    let flops = (rows * LAYERS) as f64 * layer;
    Ok(Problem::new(model, rows, [TOKENS * WIDTH, 1, TOKENS * WIDTH], flops, device))
}
