//! UNets in recipes: widths from the data, and the size before construction.

use super::config::{
    ClassEmbedType, DownBlock, Resampling, TimeEmbeddingType, TimeScaleShift, UNetConfig, UpBlock,
};
use crate::data::{Layout, Space};
use crate::nn::{AnyNetwork, AnyNetworkConfig, Clock, NetworkConfig, any};
use crate::{Draws, Error, Result};
use burn::tensor::Device;

impl UNetConfig {
    /// The number of values in the parameters of the network.
    pub fn parameters(&self) -> u128 {
        let time = self.time_width() as u128;
        let conv = |i: usize, o: usize| (9 * i as u128 + 1) * o as u128;
        let linear = |i: u128, o: u128| (i + 1) * o;
        let resnet = |i: usize, o: usize| {
            let double = self.resnet_time_scale_shift == TimeScaleShift::ScaleShift;
            let width = if double { 2 * o } else { o } as u128;
            let shortcut = if i == o { 0 } else { linear(i as u128, o as u128) };
            2 * (i + o) as u128 + conv(i, o) + conv(o, o) + linear(time, width) + shortcut
        };
        let attention = |c: usize, normed: bool| {
            let head = self.head(c).max(1);
            let inner = (c / head * head) as u128;
            let c = c as u128;
            3 * linear(c, inner) + linear(inner, c) + if normed { 2 * c } else { 0 }
        };
        let channels = &self.block_out_channels;
        let (Some(&first), Some(&last)) = (channels.first(), channels.last()) else { return 0 };
        let embedded = linear(self.frequencies() as u128, time) + linear(time, time);
        let mut sum = conv(self.seen_channels(), first) + embedded;
        sum += self.augmentation as u128 * time;
        sum += match (self.class_embed_type, self.num_class_embeds) {
            (None, Some(rows)) => rows as u128 * time,
            (Some(ClassEmbedType::Timestep), _) => embedded,
            _ => 0,
        };
        sum += match self.time_embedding_type {
            TimeEmbeddingType::Positional => 0,
            TimeEmbeddingType::Fourier => first as u128,
            TimeEmbeddingType::Learned => {
                self.num_train_timesteps.unwrap_or(0) as u128 * first as u128
            }
        };
        let resample =
            |c: usize, by_resnet: bool| if by_resnet { resnet(c, c) } else { conv(c, c) };
        let mut before = first;
        for (k, (&c, block)) in channels.iter().zip(&self.down_block_types).enumerate() {
            for layer in 0..self.layers_per_block {
                sum += resnet(if layer == 0 { before } else { c }, c);
                sum += if *block == DownBlock::Attention { attention(c, true) } else { 0 };
            }
            if k + 1 < channels.len() {
                let by_resnet = match block {
                    DownBlock::Plain => false,
                    DownBlock::Resnet => true,
                    DownBlock::Attention => self.downsample_type == Resampling::Resnet,
                };
                sum += resample(c, by_resnet);
            }
            before = c;
        }
        if self.mid_block_type.is_some() {
            sum += 2 * resnet(last, last);
            sum +=
                if self.add_attention { attention(last, self.mid_groups().is_some()) } else { 0 };
        }
        for (k, block) in self.up_block_types.iter().take(channels.len()).enumerate() {
            let level = channels.len() - 1 - k;
            let c = channels[level];
            for layer in 0..=self.layers_per_block {
                let own = if layer == 0 { before } else { c };
                let skip =
                    if layer < self.layers_per_block { c } else { channels[level.max(1) - 1] };
                sum += resnet(own + skip, c);
                sum += if *block == UpBlock::Attention { attention(c, true) } else { 0 };
            }
            if level > 0 {
                let by_resnet = match block {
                    UpBlock::Plain => false,
                    UpBlock::Resnet => true,
                    UpBlock::Attention => self.upsample_type == Resampling::Resnet,
                };
                sum += resample(c, by_resnet);
            }
            before = c;
        }
        sum + 2 * first as u128 + conv(first, self.out_channels)
    }
}

impl UNetConfig {
    /// The error of pictures whose size cannot be halved at every level, with the nearest sizes that can.
    fn with_sizes_that_fit(&self, error: Error) -> Error {
        let levels = self.block_out_channels.len();
        match error {
            Error::Config { key, problem, expected } if expected.starts_with("a multiple of") => {
                let (side, factor) =
                    (self.sample_size[0].max(self.sample_size[1]), 1 << (levels - 1));
                let (below, above) = (side / factor * factor, side.div_ceil(factor) * factor);
                let (near, other) = match side - below < above - side && below > 0 {
                    true => (below, above),
                    false => (above, below),
                };
                let other =
                    if other > 0 && other != near { format!(" or {other}") } else { String::new() };
                let resized = format!("--set data.size={near}{other} resizes a folder's pictures");
                let fewer = "fewer network.block_out_channels are fewer levels";
                Error::config(key, problem, format!("{expected}: {resized}, {fewer}"))
            }
            other => other,
        }
    }
}

impl NetworkConfig for UNetConfig {
    fn for_space(&self, space: &Space) -> Result<AnyNetworkConfig> {
        let Layout::Image { channels, height, width } = space.layout() else {
            let expected = "pictures: data with an image shape, or the network `mlp`";
            return Err(Error::config("network.name", "unet", expected));
        };
        if space.given().is_some() {
            let expected = "the network `mlp`, which takes columns as conditions";
            return Err(Error::config("network.name", "unet", expected));
        }
        let (mut own, classes) = (self.clone(), space.classes().len());
        any::own("sample_size", &mut own.sample_size[0], height)?;
        any::own("sample_size", &mut own.sample_size[1], width)?;
        any::own("in_channels", &mut own.in_channels, channels)?;
        if own.out_channels != 2 * channels {
            any::own("out_channels", &mut own.out_channels, channels)?;
        }
        any::own("classes", &mut own.classes, classes)?;
        if own.class_embed_type.is_none() && classes > 0 {
            own.num_class_embeds.get_or_insert(classes + 1);
        }
        own.check().map_err(|error| own.with_sizes_that_fit(error))?;
        Ok(own.into())
    }

    fn describing(&self, numbers: usize) -> Result<Option<AnyNetworkConfig>> {
        let mut own = self.clone();
        any::own("augmentation", &mut own.augmentation, numbers)?;
        Ok(Some(own.into()))
    }

    fn init(&self, draws: &Draws, device: &Device) -> Result<AnyNetwork> {
        Ok(UNetConfig::init(self, draws, device)?.into())
    }

    fn clock(&self) -> Clock {
        match self.time_embedding_type {
            TimeEmbeddingType::Fourier => Clock::Sigma,
            _ => Clock::Index,
        }
    }

    fn check_trainable(&self) -> Result<()> {
        if self.out_channels != self.in_channels {
            let expected = "as many as in_channels: no variance is learnt here";
            let found = self.out_channels.to_string();
            return Err(Error::config("network.out_channels", found, expected));
        }
        Ok(())
    }

    fn width(&self) -> usize {
        self.in_channels * self.sample_size.iter().product::<usize>()
    }

    fn parameters(&self) -> u128 {
        UNetConfig::parameters(self)
    }

    fn size(&self) -> (&'static str, String) {
        let Self { block_out_channels, layers_per_block, .. } = self;
        let size = format!("{block_out_channels:?} channels in {layers_per_block} blocks");
        ("block_out_channels", size)
    }

    fn activations(&self) -> usize {
        let pixels = self.sample_size[0].saturating_mul(self.sample_size[1]);
        let levels = self.block_out_channels.iter().enumerate();
        let of_level = |(k, c): (usize, &usize)| {
            let pixels = (pixels >> (2 * k)).max(1);
            c.saturating_mul(pixels).saturating_mul(6 * (2 * self.layers_per_block + 1))
        };
        levels.map(of_level).fold(0, usize::saturating_add).max(1)
    }
}
