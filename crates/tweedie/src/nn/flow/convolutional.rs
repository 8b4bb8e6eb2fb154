//! Coupling layers of pictures, with convolutional networks.
//!
//! A mask keeps half of a picture, a, and a network computes from it the parameters of a monotone map of each value of
//! the other half, b:
//!
//! > z_a = x_a,  z_b = g(x_b; θ(x_a)),  log|det ∂z/∂x| = Σ_j log g′(x_j; θ_j).
//!
//! The mask is a checkerboard of pixels or the first half of the channels (Dinh, Sohl-Dickstein & Bengio 2017, *Density
//! estimation using Real NVP*, sec. 3.4), and keeps the other half in every second round. The network is a convolution,
//! residual blocks of gated convolutions, h ← h + a ⊙ σ(b) with (a, b) = W₂ silu(W₁ ∗ silu(h)) (Ho et al. 2019,
//! *Flow++*, sec. 3.3), and a convolution to the parameters. It sees its input bounded by [`REACH`], approached as by
//! tanh, so that log p stays finite far from the data.

use super::permutation::chosen;
use super::scalar::{AnyScalarMap, bounded};
use super::{AnyBijection, Bijection, BijectionConfig, Permutation, Place, REACH};
use crate::data::Condition;
use crate::error::{count, inside};
use crate::nn::conv::{Conv2d, Conv2dConfig, at_pixels, channels_last};
use crate::nn::layers::{Linear, LinearConfig};
use crate::nn::{Activation, ConditionEmbedding, ConditionEmbeddingConfig};
use crate::tensor::Dual;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// The most channels of the network, and the most blocks.
const MOST_CHANNELS: u64 = 1 << 12;
const MOST_BLOCKS: u64 = 64;
/// The side of the kernels.
const KERNEL: usize = 3;

/// The half of a picture that a coupling keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mask {
    /// Half of the channels at every pixel.
    #[default]
    Channels,
    /// Every second pixel, as the fields of one colour on a chessboard.
    Checkerboard,
}

/// Configuration of [`ConvolutionalCoupling`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConvolutionalCouplingConfig {
    /// The half of a picture that determines the map of the other: `channels` or `checkerboard`.
    pub mask: Mask,
    /// The channels of the network.
    pub features: usize,
    /// The residual blocks of the network.
    pub blocks: usize,
    /// The map of the values that are transformed.
    pub map: AnyScalarMap,
}

impl Default for ConvolutionalCouplingConfig {
    fn default() -> Self {
        Self { mask: Mask::default(), features: 32, blocks: 2, map: AnyScalarMap::default() }
    }
}

/// A mask at a place.
struct Halves {
    /// All columns, those that stay first.
    order: Vec<usize>,
    /// The number of columns that stay.
    kept: usize,
    /// The channels, and the pixels, that are transformed.
    channels: usize,
    pixels: Vec<usize>,
}

impl ConvolutionalCouplingConfig {
    /// The halves of a picture of c × h × w values in a round.
    fn halves(&self, [c, h, w]: [usize; 3], round: usize) -> Halves {
        let second = round.is_multiple_of(2);
        let moves = |channel: usize, pixel: usize| match self.mask {
            Mask::Channels => (channel < c / 2) == second,
            Mask::Checkerboard => (pixel / w + pixel % w).is_multiple_of(2) == second,
        };
        let of = |which: bool| {
            (0..c * h * w).filter(move |column| moves(column / (h * w), column % (h * w)) == which)
        };
        let kept = of(false).count();
        let channels = match (self.mask, second) {
            (Mask::Checkerboard, _) => c,
            (Mask::Channels, true) => c / 2,
            (Mask::Channels, false) => c - c / 2,
        };
        let pixel = |p: &usize| self.mask == Mask::Channels || moves(0, *p);
        let pixels = (0..h * w).filter(pixel).collect();
        Halves { order: of(false).chain(of(true)).collect(), kept, channels, pixels }
    }

    /// The channels that the network sees and the parameters that it computes at a pixel.
    fn ends(&self, picture: [usize; 3], round: usize) -> (usize, usize) {
        let [c, ..] = picture;
        let moved = self.halves(picture, round).channels;
        let seen = if self.mask == Mask::Channels { c - moved } else { c };
        (seen, self.map.parameters() * moved)
    }
}

impl BijectionConfig for ConvolutionalCouplingConfig {
    fn check(&self) -> Result<()> {
        count("features", self.features as u64, MOST_CHANNELS)?;
        count("blocks", self.blocks as u64, MOST_BLOCKS)?;
        self.map.check().map_err(|e| inside("map", e))
    }

    fn fits(&self, place: &Place) -> Result<()> {
        let Some([c, h, w]) = place.picture else {
            let expected = "coupling: the rows are no pictures";
            return Err(Error::config("name", "convolutional-coupling", expected));
        };
        match self.mask {
            Mask::Channels if c < 2 => {
                let expected = "checkerboard, or flow.levels: the pictures have one channel";
                Err(Error::config("mask", "channels", expected))
            }
            Mask::Checkerboard if h * w < 2 => {
                let expected = "channels: the pictures have one pixel";
                Err(Error::config("mask", "checkerboard", expected))
            }
            _ => Ok(()),
        }
    }

    fn init(&self, place: &Place, draws: &Draws, device: &Device) -> Result<AnyBijection> {
        self.check()?;
        self.fits(place)?;
        let Some(picture) = place.picture else {
            return Err(Error::config("picture", "none", "the sides of pictures"));
        };
        let halves = self.halves(picture, place.round);
        let (seen, parameters) = self.ends(picture, place.round);
        let f = self.features;
        let block = |k: usize| {
            let draws = draws.purpose("blocks").at(k as u64);
            Block {
                conv: Conv2dConfig::new(f, f, KERNEL).init(&draws.purpose("conv"), device),
                gate: LinearConfig::new(f, 2 * f).init(&draws.purpose("gate"), device),
            }
        };
        let condition = ConditionEmbeddingConfig::new(place.classes, place.vector, f);
        let last = Conv2dConfig::new(f, parameters, KERNEL).with_gain(self.map.initial_gain());
        Ok(ConvolutionalCoupling {
            first: Conv2dConfig::new(seen, f, KERNEL).init(&draws.purpose("first"), device),
            condition: condition.init(&draws.purpose("condition"), device),
            blocks: (0..self.blocks).map(block).collect(),
            last: last.init(&draws.purpose("last"), device),
            permutation: Permutation::new(halves.order)?,
            kept: halves.kept,
            pixels: halves.pixels,
            picture,
            mask: self.mask,
            map: self.map,
        }
        .into())
    }

    fn parameters(&self, place: &Place) -> u128 {
        let Some(picture) = place.picture else { return 0 };
        let (f, area) = (self.features as u128, (KERNEL * KERNEL) as u128);
        let (seen, parameters) = self.ends(picture, place.round);
        let condition =
            ConditionEmbeddingConfig::new(place.classes, place.vector, self.features).parameters();
        let block = (area * f + 1) * f + (f + 1) * 2 * f;
        let ends = (area * seen as u128 + 1) * f + (area * f + 1) * parameters as u128;
        condition + ends + self.blocks as u128 * block
    }

    fn activations(&self, place: &Place) -> usize {
        let Some(picture @ [_, h, w]) = place.picture else { return 0 };
        let (seen, parameters) = self.ends(picture, place.round);
        h * w * (seen + (2 + 7 * self.blocks) * self.features + 2 * parameters) + 2 * place.width
    }
}

/// A residual block of a coupling's network.
#[derive(Module, Debug)]
struct Block {
    conv: Conv2d,
    /// The linear map at every pixel to the values and their gates.
    gate: Linear,
}

impl Block {
    fn forward(&self, h: Dual<4>) -> Dual<4> {
        let [.., f] = h.dims();
        let inner =
            Activation::Silu.forward(self.conv.forward(Activation::Silu.forward(h.clone())));
        let both = at_pixels(&self.gate, inner);
        let half = |from| both.clone().linear(|both: Tensor<4>| both.narrow(3, from, f));
        h + half(0) * half(f).sigmoid()
    }
}

/// A coupling layer of pictures; see the module's head.
#[derive(Module, Debug)]
pub struct ConvolutionalCoupling {
    first: Conv2d,
    /// The embedding of the condition, added to the first convolution.
    condition: ConditionEmbedding,
    blocks: Vec<Block>,
    last: Conv2d,
    /// The columns that stay, then the others.
    permutation: Permutation,
    /// The number of columns that stay.
    #[module(skip)]
    kept: usize,
    /// The numbers of the pixels that are transformed.
    #[module(skip)]
    pixels: Vec<usize>,
    #[module(skip)]
    picture: [usize; 3],
    #[module(skip)]
    mask: Mask,
    #[module(skip)]
    map: AnyScalarMap,
}

impl ConvolutionalCoupling {
    /// The columns that stay, and the columns that are transformed.
    fn split(&self, x: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        let (x, _) = self.permutation.to_noise(x, condition)?;
        let ([_, d], kept) = (x.dims(), self.kept);
        let part = |from, len| x.clone().linear(|x| x.narrow(1, from, len));
        Ok((part(0, kept), part(kept, d - kept)))
    }

    /// What the network sees of the columns that stay, `[n, h, w, channels]`; other pixels are zero.
    fn seen(&self, kept: Dual<2>, condition: &Condition) -> Result<Dual<4>> {
        let ([n, stay], [c, h, w]) = (kept.dims(), self.picture);
        let channels = match self.mask {
            Mask::Channels => stay / (h * w),
            Mask::Checkerboard => c,
        };
        let kept = bounded(kept, REACH);
        let picture = match self.mask {
            Mask::Channels => kept,
            Mask::Checkerboard => {
                let whole = c * h * w;
                let filled = kept.linear(|kept| {
                    let zeros = Tensor::zeros([n, whole - stay], (&kept.device(), kept.dtype()));
                    Tensor::cat(vec![kept, zeros], 1)
                });
                self.permutation.to_data(filled, condition)?.0
            }
        };
        Ok(channels_last(picture.reshape([n, channels, h, w])))
    }

    /// The parameters of the maps of the transformed columns, from the columns that stay.
    fn parameters(&self, kept: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let ([n, _], [_, height, width]) = (kept.dims(), self.picture);
        let device = kept.value.device();
        let features = self.condition.forward(condition, n, &device)?;
        let mut h = self.first.forward_plus(self.seen(kept, condition)?, features, None);
        for block in &self.blocks {
            h = block.forward(h);
        }
        let h = self.last.forward(Activation::Silu.forward(h));
        let [.., all] = h.dims();
        Ok(self.arranged(h.reshape([n, height * width, all])))
    }

    /// The parameters `[n, pixels, parameters]` of all pixels, arranged as the map reads those of transformed columns.
    fn arranged(&self, all: Dual<3>) -> Dual<2> {
        let ([n, pixels, outputs], count) = (all.dims(), self.map.parameters());
        let all = match self.pixels.len() == pixels {
            true => all,
            false => chosen(all, 1, &self.pixels),
        };
        let (channels, pixels) = (outputs / count, self.pixels.len());
        match self.map.by_parameter() {
            true => all.swap_dims(1, 2).reshape([n, outputs * pixels]),
            false => all
                .reshape([n, pixels, channels, count])
                .swap_dims(1, 2)
                .reshape([n, outputs * pixels]),
        }
    }

    /// A row from the columns that stay and the transformed ones.
    fn joined(&self, kept: Dual<2>, moved: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        Ok(self.permutation.to_data(kept.join(moved), condition)?.0)
    }
}

impl Bijection for ConvolutionalCoupling {
    fn to_noise(&self, x: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        let (kept, moved) = self.split(x, condition)?;
        let parameters = self.parameters(kept.clone(), condition)?;
        let (z, log_det) = self.map.to_noise(moved, parameters);
        Ok((self.joined(kept, z, condition)?, log_det))
    }

    fn to_data(&self, z: Dual<2>, condition: &Condition) -> Result<(Dual<2>, Dual<2>)> {
        let (kept, moved) = self.split(z, condition)?;
        let parameters = self.parameters(kept.clone(), condition)?;
        let (x, log_det) = self.map.to_data(moved, parameters);
        Ok((self.joined(kept, x, condition)?, log_det))
    }
}
