//! The parts of a UNet: residual blocks, attention over pixels, changes of resolution.

use super::config::{DownBlock, Resampling, TimeScaleShift, UNetConfig, UpBlock};
use crate::Draws;
use crate::nn::{
    Activation, Conv2d, Conv2dConfig, Dropout, GroupNorm, GroupNormConfig, Linear, LinearConfig,
    attention, double, halve,
};
use crate::tensor::Dual;
use burn::module::Module;
use burn::tensor::Device;

/// The change of resolution by a residual block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Change {
    None,
    Down,
    Up,
}

impl Change {
    fn apply(self, x: Dual<4>) -> Dual<4> {
        match self {
            Change::None => x,
            Change::Down => halve(x),
            Change::Up => double(x),
        }
    }
}

/// x ← (skip(x) + conv₂(dropout(act(norm₂(conv₁(act(norm₁(x))) + time))))) / scale.
#[derive(Module, Debug)]
pub(super) struct Resnet {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Linear,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    scale_shift: bool,
    #[module(skip)]
    change: Change,
    #[module(skip)]
    scale: f64,
    #[module(skip)]
    dropout: Dropout,
}

impl Resnet {
    pub(super) fn new(
        config: &UNetConfig,
        [input, output]: [usize; 2],
        change: Change,
        scale: f64,
        draws: &Draws,
        device: &Device,
    ) -> Self {
        let norm = |channels| {
            GroupNormConfig::new(config.norm_num_groups, channels)
                .with_epsilon(config.norm_eps)
                .init(device)
        };
        let scale_shift = config.resnet_time_scale_shift == TimeScaleShift::ScaleShift;
        let time = if scale_shift { 2 * output } else { output };
        Self {
            norm1: norm(input),
            conv1: Conv2dConfig::new(input, output, 3).init(&draws.purpose("conv1"), device),
            time_emb_proj: LinearConfig::new(config.time_width(), time)
                .init(&draws.purpose("time_emb_proj"), device),
            norm2: norm(output),
            conv2: Conv2dConfig::new(output, output, 3)
                .with_gain(0.0)
                .init(&draws.purpose("conv2"), device),
            conv_shortcut: (input != output).then(|| {
                Conv2dConfig::new(input, output, 1).init(&draws.purpose("conv_shortcut"), device)
            }),
            activation: config.act_fn,
            scale_shift,
            change,
            scale,
            dropout: Dropout::new(config.dropout),
        }
    }

    fn with_dropout(mut self, draws: Draws) -> Self {
        self.dropout = self.dropout.with_draws(draws);
        self
    }

    /// Applies the block to `[n, h, w, input]` with features `[n, time]`, or `[1, time]` for all pictures.
    pub(super) fn forward(&self, x: Dual<4>, time: &Dual<2>) -> Dual<4> {
        let then = Some(self.activation);
        let h = self.change.apply(self.norm1.forward_then(x.clone(), None, then));
        let x = self.change.apply(x);
        let time = self.time_emb_proj.forward(self.activation.forward(time.clone()));
        let h = if self.scale_shift {
            self.norm2.forward_then(self.conv1.forward(h), Some(time), then)
        } else {
            self.norm2.forward_then(self.conv1.forward_plus(h, Some(time), None), None, then)
        };
        let x = match &self.conv_shortcut {
            Some(conv) => conv.forward(x),
            None => x,
        };
        divided(self.conv2.forward_plus(self.dropout.forward(h), None, Some(x)), self.scale)
    }
}

fn divided(x: Dual<4>, by: f64) -> Dual<4> {
    if by == 1.0 { x } else { x.mul_scalar(1.0 / by) }
}

/// Self-attention over the pixels of a picture (Vaswani et al. 2017), with a skip around it.
#[derive(Module, Debug)]
pub(super) struct Attention {
    group_norm: Option<GroupNorm>,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Vec<Linear>,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    scale: f64,
}

impl Attention {
    pub(super) fn new(
        config: &UNetConfig,
        channels: usize,
        groups: Option<usize>,
        scale: f64,
        draws: &Draws,
        device: &Device,
    ) -> Self {
        let head = config.head(channels);
        let heads = channels / head;
        let to = |name: &str| {
            LinearConfig::new(channels, heads * head).init(&draws.purpose(name), device)
        };
        let out = LinearConfig::new(heads * head, channels).with_gain(0.0);
        Self {
            group_norm: groups.map(|groups| {
                GroupNormConfig::new(groups, channels).with_epsilon(config.norm_eps).init(device)
            }),
            to_q: to("to_q"),
            to_k: to("to_k"),
            to_v: to("to_v"),
            to_out: vec![out.init(&draws.purpose("to_out"), device)],
            heads,
            scale,
        }
    }

    /// Applies attention to `[n, h, w, channels]`; the shape stays the same.
    pub(super) fn forward(&self, x: Dual<4>) -> Dual<4> {
        let [n, h, w, c] = x.dims();
        let y = match &self.group_norm {
            Some(norm) => norm.forward(x.clone()),
            None => x.clone(),
        };
        let pixels = y.reshape([n * h * w, c]);
        let of = |linear: &Linear| {
            let y = linear.forward(pixels.clone());
            let [_, inner] = y.dims();
            y.reshape([n, h * w, inner])
        };
        let mixed = attention(of(&self.to_q), of(&self.to_k), of(&self.to_v), self.heads);
        let [_, _, inner] = mixed.dims();
        let (mixed, x) = (mixed.reshape([n * h * w, inner]), x.reshape([n * h * w, c]));
        let y = match self.to_out.first() {
            Some(linear) => linear.forward_plus(mixed, x),
            None => mixed + x,
        };
        divided(y.reshape([n, h, w, c]), self.scale)
    }
}

/// A convolution that changes the resolution.
#[derive(Module, Debug)]
pub(super) struct Resample {
    conv: Conv2d,
    #[module(skip)]
    up: bool,
}

impl Resample {
    fn new(config: &UNetConfig, channels: usize, up: bool, draws: &Draws, device: &Device) -> Self {
        let conv = Conv2dConfig::new(channels, channels, 3);
        let conv = match (up, config.downsample_padding) {
            (true, _) => conv,
            (false, 0) => conv.with_stride(2).with_padding(0, 1),
            (false, p) => conv.with_stride(2).with_padding(p, p as isize),
        };
        Self { conv: conv.init(&draws.purpose("conv"), device), up }
    }

    fn forward(&self, x: Dual<4>) -> Dual<4> {
        self.conv.forward(if self.up { double(x) } else { x })
    }
}

/// One level of the encoder or decoder, or the middle. `downsamplers` and `upsamplers` hold at most one part, a
/// convolution or a residual block, as in the keys of checkpoints.
#[derive(Module, Debug)]
pub(super) struct Block {
    resnets: Vec<Resnet>,
    attentions: Vec<Attention>,
    downsamplers: Vec<Resampler>,
    upsamplers: Vec<Resampler>,
}

/// The resampling at the end of a level.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a network has a handful of them")]
pub(super) enum Resampler {
    Conv(Resample),
    Resnet(Resnet),
}

impl Resampler {
    fn forward(&self, x: Dual<4>, time: &Dual<2>) -> Dual<4> {
        match self {
            Resampler::Conv(conv) => conv.forward(x),
            Resampler::Resnet(resnet) => resnet.forward(x, time),
        }
    }
}

impl Block {
    /// Level `level` of the encoder; the last does not halve the size.
    pub(super) fn down(config: &UNetConfig, level: usize, draws: &Draws, device: &Device) -> Self {
        let channels = &config.block_out_channels;
        let c = channels[level];
        let kind = config.down_block_types[level];
        let parts = Parts { config, draws, device };
        let inputs = (0..config.layers_per_block)
            .map(|layer| if layer == 0 { channels[level.max(1) - 1] } else { c });
        let by_resnet = match kind {
            DownBlock::Plain => false,
            DownBlock::Resnet => true,
            DownBlock::Attention => config.downsample_type == Resampling::Resnet,
        };
        Self {
            resnets: parts.resnets(inputs, c, 1.0),
            attentions: match kind {
                DownBlock::Attention => parts.attentions(config.layers_per_block, c),
                DownBlock::Plain | DownBlock::Resnet => Vec::new(),
            },
            downsamplers: (level + 1 < channels.len())
                .then(|| parts.resampler("downsamplers", c, by_resnet, false))
                .into_iter()
                .collect(),
            upsamplers: Vec::new(),
        }
    }

    /// The middle: two residual blocks with attention between them.
    pub(super) fn middle(config: &UNetConfig, draws: &Draws, device: &Device) -> Self {
        let c = config.block_out_channels[config.block_out_channels.len() - 1];
        let scale = config.mid_block_scale_factor;
        let parts = Parts { config, draws, device };
        let attention = || {
            let draws = draws.purpose("attentions").at(0);
            Attention::new(config, c, config.mid_groups(), scale, &draws, device)
        };
        Self {
            resnets: parts.resnets([c, c].into_iter(), c, scale),
            attentions: config.add_attention.then(attention).into_iter().collect(),
            downsamplers: Vec::new(),
            upsamplers: Vec::new(),
        }
    }

    /// Block `index` of the decoder, the lowest resolution first; the last does not double the size.
    pub(super) fn up(config: &UNetConfig, index: usize, draws: &Draws, device: &Device) -> Self {
        let channels = &config.block_out_channels;
        let level = channels.len() - 1 - index;
        let c = channels[level];
        let before = channels[(level + 1).min(channels.len() - 1)];
        let kind = config.up_block_types[index];
        let parts = Parts { config, draws, device };
        let inputs = (0..=config.layers_per_block).map(|layer| {
            let own = if layer == 0 { before } else { c };
            let last = layer == config.layers_per_block;
            own + if last { channels[level.max(1) - 1] } else { c }
        });
        let by_resnet = match kind {
            UpBlock::Plain => false,
            UpBlock::Resnet => true,
            UpBlock::Attention => config.upsample_type == Resampling::Resnet,
        };
        Self {
            resnets: parts.resnets(inputs, c, 1.0),
            attentions: match kind {
                UpBlock::Attention => parts.attentions(config.layers_per_block + 1, c),
                UpBlock::Plain | UpBlock::Resnet => Vec::new(),
            },
            downsamplers: Vec::new(),
            upsamplers: (level > 0)
                .then(|| parts.resampler("upsamplers", c, by_resnet, true))
                .into_iter()
                .collect(),
        }
    }

    /// The level in training; see [`Network::in_training`](crate::nn::Network::in_training).
    pub(super) fn with_dropout(mut self, draws: &Draws) -> Self {
        let each = |(resnet, k): (Resnet, u64)| resnet.with_dropout(draws.at(k));
        self.resnets = self.resnets.into_iter().zip(0..).map(each).collect();
        let change = |resamplers: Vec<Resampler>| {
            let change = |resampler| match resampler {
                Resampler::Resnet(resnet) => {
                    Resampler::Resnet(resnet.with_dropout(draws.purpose("change")))
                }
                conv => conv,
            };
            resamplers.into_iter().map(change).collect()
        };
        self.downsamplers = change(self.downsamplers);
        self.upsamplers = change(self.upsamplers);
        self
    }

    /// Applies an encoder block; pushes the inputs of the skip connections onto `skips`.
    pub(super) fn descend(
        &self,
        mut x: Dual<4>,
        time: &Dual<2>,
        skips: &mut Vec<Dual<4>>,
    ) -> Dual<4> {
        for (k, resnet) in self.resnets.iter().enumerate() {
            x = resnet.forward(x, time);
            if let Some(attention) = self.attentions.get(k) {
                x = attention.forward(x);
            }
            skips.push(x.clone());
        }
        for resampler in &self.downsamplers {
            x = resampler.forward(x, time);
            skips.push(x.clone());
        }
        x
    }

    /// Applies the middle block.
    pub(super) fn cross(&self, mut x: Dual<4>, time: &Dual<2>) -> Dual<4> {
        for (k, resnet) in self.resnets.iter().enumerate() {
            if let Some(attention) = k.checked_sub(1).and_then(|k| self.attentions.get(k)) {
                x = attention.forward(x);
            }
            x = resnet.forward(x, time);
        }
        x
    }

    /// Applies a decoder block; pops the inputs of the skip connections.
    pub(super) fn ascend(
        &self,
        mut x: Dual<4>,
        time: &Dual<2>,
        skips: &mut Vec<Dual<4>>,
    ) -> Dual<4> {
        for (k, resnet) in self.resnets.iter().enumerate() {
            if let Some(skip) = skips.pop() {
                x = x.join(skip);
            }
            x = resnet.forward(x, time);
            if let Some(attention) = self.attentions.get(k) {
                x = attention.forward(x);
            }
        }
        for resampler in &self.upsamplers {
            x = resampler.forward(x, time);
        }
        x
    }
}

/// The parameters shared by all parts of a level.
struct Parts<'a> {
    config: &'a UNetConfig,
    draws: &'a Draws,
    device: &'a Device,
}

impl Parts<'_> {
    fn resnets(&self, inputs: impl Iterator<Item = usize>, c: usize, scale: f64) -> Vec<Resnet> {
        let draws = self.draws.purpose("resnets");
        let resnet = |(k, input)| {
            let draws = draws.at(k as u64);
            Resnet::new(self.config, [input, c], Change::None, scale, &draws, self.device)
        };
        inputs.enumerate().map(resnet).collect()
    }

    fn attentions(&self, count: usize, c: usize) -> Vec<Attention> {
        let draws = self.draws.purpose("attentions");
        let groups = Some(self.config.norm_num_groups);
        let attention =
            |k| Attention::new(self.config, c, groups, 1.0, &draws.at(k as u64), self.device);
        (0..count).map(attention).collect()
    }

    fn resampler(&self, name: &str, c: usize, by_resnet: bool, up: bool) -> Resampler {
        let draws = self.draws.purpose(name);
        if by_resnet {
            let change = if up { Change::Up } else { Change::Down };
            Resampler::Resnet(Resnet::new(self.config, [c, c], change, 1.0, &draws, self.device))
        } else {
            Resampler::Conv(Resample::new(self.config, c, up, &draws, self.device))
        }
    }
}
