//! PixelCNN++: gated residual blocks at several resolutions.
//!
//! Two stacks read the pixels before a pixel (Salimans, Karpathy, Chen & Kingma 2017, *PixelCNN++*, secs. 2.3–2.4 and
//! fig. 2). Stack u has convolutions of 2 × 3 pixels, which read a row and the one above it; stack v those of 2 × 2,
//! which read a pixel, the one to its left, and those above both. Of the picture itself, u reads rows above alone, and
//! v also pixels to the left, so that nothing reads its own pixel and no pixel before it is blind. A block changes its
//! stack x by
//!
//! > x ← x + a ⊙ σ(b),  (a, b) = W₂ ∗ e(W₁ ∗ e(x) + W_s e(s)),  e(x) = (elu x, elu(−x)),
//!
//! where s is the short-cut of the block. A resolution has `blocks` blocks, then the coarser resolution, half as high
//! and wide by convolutions of stride 2, comes and goes back by transposed convolutions of 2 × 2 pixels, then the
//! blocks back. v's short-cut is u at its block, and on the way back u beside v's own values on the way there, whose
//! last is the first short-cut back; u's is its own values. There is no weight normalisation.
//!
//! The channels of a pixel follow each other by a masked MLP, as those of [`PixelCnn`](super::PixelCnn): a mean may
//! depend on the channels before in any way, not only linearly as in eq. 3. A sample computes each row of u and each
//! pixel of v once at each resolution.

mod stream;

use super::network::{AnyColumnNetwork, ColumnNetwork, ColumnNetworkConfig, Columns, Outline};
use super::pixels::{self, Channels, moved};
use crate::data::{Condition, Layout};
use crate::error::count;
use crate::nn::conv::{at_pixels, gate};
use crate::nn::{
    ConditionEmbedding, ConditionEmbeddingConfig, Conv2d, Conv2dConfig, Linear, LinearConfig,
    MaskedMlp, MaskedMlpConfig,
};
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use stream::Stacks;

/// A factor on the initial weights of the change of a block.
const GAIN: f64 = 0.1;

/// Configuration of [`PixelCnnPlus`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PixelCnnPlusConfig {
    /// The number of channels of each stack.
    pub channels: usize,
    /// The number of blocks of a stack at a resolution, on the way to the coarser one.
    pub blocks: usize,
    /// The number of resolutions, each half as high and wide as the one before.
    pub levels: usize,
    /// The width of the hidden layer that leads from a pixel's features to its parameters.
    pub hidden: usize,
}

impl Default for PixelCnnPlusConfig {
    fn default() -> Self {
        Self { channels: 32, blocks: 2, levels: 2, hidden: 64 }
    }
}

impl PixelCnnPlusConfig {
    fn head(&self, columns: &Outline, channels: usize) -> MaskedMlpConfig {
        pixels::head(columns, channels, self.hidden)
    }

    /// The condition's part of a block.
    fn condition(&self, columns: &Outline) -> ConditionEmbeddingConfig {
        ConditionEmbeddingConfig::new(columns.classes, columns.vector, 2 * self.channels)
    }

    /// The number of blocks of each stack at a resolution, there and back. Back there is one more, for the values
    /// before all blocks, but at the coarsest resolution, where the way back starts from the last values.
    fn counts(&self, level: usize) -> [usize; 2] {
        [self.blocks, self.blocks + usize::from(level + 1 < self.levels)]
    }

    fn init_level(
        &self,
        level: usize,
        condition: &ConditionEmbeddingConfig,
        draws: &Draws,
        device: &Device,
    ) -> Level {
        let (f, [there, back]) = (self.channels, self.counts(level));
        let block = |name: &str,
                     k: usize,
                     across: usize,
                     conv: fn(usize, usize) -> Conv2dConfig| {
            let draws = draws.purpose(name).at(k as u64);
            let across = (across > 0).then(|| LinearConfig::new(2 * across, f).with_bias(false));
            Block {
                first: conv(2 * f, f).init(&draws.purpose("first"), device),
                across: across.map(|config| config.init(&draws.purpose("across"), device)),
                second: conv(2 * f, 2 * f).with_gain(GAIN).init(&draws.purpose("second"), device),
                condition: condition.init(&draws.purpose("condition"), device),
            }
        };
        let coarser = level + 1 < self.levels;
        let halve = |name: &str, conv: fn(usize, usize) -> Conv2dConfig| {
            coarser.then(|| conv(f, f).with_stride(2).init(&draws.purpose(name), device))
        };
        let double = |name: &str| {
            coarser.then(|| LinearConfig::new(f, 4 * f).init(&draws.purpose(name), device))
        };
        Level {
            u: (0..there).map(|k| block("u", k, 0, rows_above)).collect(),
            v: (0..there).map(|k| block("v", k, f, up_and_left)).collect(),
            u_back: (0..back).map(|k| block("u back", k, f, rows_above)).collect(),
            v_back: (0..back).map(|k| block("v back", k, 2 * f, up_and_left)).collect(),
            u_halve: halve("u halve", rows_above),
            v_halve: halve("v halve", up_and_left),
            u_double: double("u double"),
            v_double: double("v double"),
        }
    }
}

/// A convolution that reads a row and the one above it, of three columns.
fn rows_above(input: usize, output: usize) -> Conv2dConfig {
    Conv2dConfig::new(input, output, 3).with_rows(2).with_row_padding(1, 0)
}

/// A convolution that reads a pixel, the one to its left, and those above both.
fn up_and_left(input: usize, output: usize) -> Conv2dConfig {
    Conv2dConfig::new(input, output, 2).with_padding(1, 0)
}

impl ColumnNetworkConfig for PixelCnnPlusConfig {
    fn check(&self) -> Result<()> {
        count("channels", self.channels as u64, 1 << 12)?;
        count("blocks", self.blocks as u64, 64)?;
        count("levels", self.levels as u64, 8)?;
        count("hidden", self.hidden as u64, 1 << 14)
    }

    fn natural_order(&self, layout: Layout) -> Option<Vec<usize>> {
        pixels::natural_order(layout)
    }

    fn fits(&self, columns: &Outline) -> Result<()> {
        let [channels, ..] = pixels::fits("pixelcnn++", columns)?;
        self.head(columns, channels).fits()
    }

    fn init(&self, columns: &Outline, draws: &Draws, device: &Device) -> Result<AnyColumnNetwork> {
        self.check()?;
        let (sizes, f) = (pixels::fits("pixelcnn++", columns)?, self.channels);
        let condition = self.condition(columns);
        let level = |k: usize| {
            self.init_level(k, &condition, &draws.purpose("levels").at(k as u64), device)
        };
        let above = Conv2dConfig::new(sizes[0], f, 3).with_rows(1);
        let left = Conv2dConfig::new(sizes[0], f, 1).with_rows(2).with_padding(1, 0);
        Ok(PixelCnnPlus {
            rows: rows_above(sizes[0], f).init(&draws.purpose("rows"), device),
            above: above.init(&draws.purpose("above"), device),
            left: left.init(&draws.purpose("left"), device),
            levels: (0..self.levels).map(level).collect(),
            features: LinearConfig::new(f, self.hidden).init(&draws.purpose("features"), device),
            head: self.head(columns, sizes[0]).init(&draws.purpose("head"), device)?,
            sizes,
        }
        .into())
    }

    fn parameters(&self, columns: &Outline) -> u128 {
        let (f, [c, ..]) = (self.channels as u128, pixels::sizes(columns.layout).unwrap_or([1; 3]));
        let condition = self.condition(columns).parameters();
        let conv = |taps: u128, input: u128, output: u128| (taps * input + 1) * output;
        let block = |taps: u128, across: u128| {
            conv(taps, 2 * f, f) + conv(taps, 2 * f, 2 * f) + 2 * across * f + condition
        };
        let level = |k: usize| {
            let [there, back] = self.counts(k).map(|count| count as u128);
            let between = conv(6, f, f) + conv(4, f, f) + 2 * conv(1, f, 4 * f);
            there * (block(6, 0) + block(4, f))
                + back * (block(6, f) + block(4, 2 * f))
                + if k + 1 < self.levels { between } else { 0 }
        };
        let c = c as u128;
        conv(6, c, f)
            + conv(3, c, f)
            + conv(2, c, f)
            + (0..self.levels).map(level).sum::<u128>()
            + conv(1, f, self.hidden as u128)
            + self.head(columns, c as usize).parameters()
    }

    fn activations(&self, columns: &Outline) -> usize {
        let [channels, height, width] = pixels::sizes(columns.layout).unwrap_or([1; 3]);
        let (pixels, f) = (height * width, self.channels);
        let level = |k: usize| (pixels >> (2 * k)) * self.counts(k).iter().sum::<usize>() * 30 * f;
        let head = self.hidden + self.head(columns, channels).activations();
        (0..self.levels).map(level).sum::<usize>() + pixels * head
    }
}

/// A gated residual block of a stack.
#[derive(Module, Debug)]
struct Block {
    first: Conv2d,
    /// The map of the short-cut.
    across: Option<Linear>,
    second: Conv2d,
    /// The condition's part of the gates.
    condition: ConditionEmbedding,
}

/// The blocks of both stacks at a resolution, there and back.
#[derive(Module, Debug)]
struct Level {
    u: Vec<Block>,
    v: Vec<Block>,
    u_back: Vec<Block>,
    v_back: Vec<Block>,
    /// The convolutions to the coarser resolution.
    u_halve: Option<Conv2d>,
    v_halve: Option<Conv2d>,
    /// The maps from the coarser resolution, to four pixels each.
    u_double: Option<Linear>,
    v_double: Option<Linear>,
}

/// A PixelCNN++; see the module's head.
#[derive(Module, Debug)]
pub struct PixelCnnPlus {
    /// The convolution of the two rows above, which begins u.
    rows: Conv2d,
    /// The convolutions of the row above and of the pixels to the left, which begin v.
    above: Conv2d,
    left: Conv2d,
    levels: Vec<Level>,
    /// The map from v to the features of the head.
    features: Linear,
    /// The masked MLP from a pixel's features to the parameters of its channels.
    head: MaskedMlp,
    /// Channels, height and width of the pictures.
    #[module(skip)]
    sizes: [usize; 3],
}

/// The parts max(x, 0) and max(−x, 0), and from two such elu x = x of x > 0 and eˣ − 1 of others.
fn parts<const D: usize>(x: Dual<D>) -> [Dual<D>; 2] {
    [x.clone().relu(), (-x).relu()]
}

fn elu<const D: usize>([above, below]: [Dual<D>; 2]) -> Dual<D> {
    above + (-below).exp().add_scalar(-1.0)
}

/// elu x beside elu(−x).
fn both_signs<const D: usize>(x: Dual<D>) -> Dual<D> {
    let [above, below] = parts(x);
    elu([above.clone(), below.clone()]).join(elu([below, above]))
}

/// The four pixels of each pixel side by side, cut to a height and a width.
fn double(of: &Linear, x: Dual<4>, [height, width]: [usize; 2]) -> Dual<4> {
    let ([n, h, w, _], y) = (x.dims(), at_pixels(of, x));
    let f = y.dims()[3] / 4;
    let y = y.reshape([n, h, w, 2, 2, f]).swap_dims(2, 3).reshape([n, 2 * h, 2 * w, f]);
    y.linear(|y| y.narrow(1, 0, height).narrow(2, 0, width))
}

/// The condition of a batch, for the blocks.
#[derive(Clone, Copy)]
struct Given<'a> {
    condition: &'a Condition,
    n: usize,
    device: &'a Device,
}

impl Given<'_> {
    fn of(&self, block: &Block) -> Result<Option<Dual<2>>> {
        block.condition.forward(self.condition, self.n, self.device)
    }
}

impl Block {
    /// The stack `x` after the block, with a short-cut.
    fn forward(&self, x: Dual<4>, short: Option<Dual<4>>, given: Given) -> Result<Dual<4>> {
        let across = self.across.as_ref().zip(short);
        let across = across.map(|(across, short)| at_pixels(across, both_signs(short)));
        let h = self.first.forward_plus(both_signs(x.clone()), None, across);
        Ok(x + gate(self.second.forward_plus(both_signs(h), given.of(self)?, None), None))
    }
}

impl PixelCnnPlus {
    /// The stacks after all blocks of a resolution and of the coarser ones.
    fn level(
        &self,
        level: usize,
        mut u: Dual<4>,
        mut v: Dual<4>,
        given: Given,
    ) -> Result<[Dual<4>; 2]> {
        let (of, [_, height, width, _]) = (&self.levels[level], u.dims());
        let mut kept = Vec::new();
        for (for_u, for_v) in of.u.iter().zip(&of.v) {
            kept.push([u.clone(), v.clone()]);
            u = for_u.forward(u, None, given)?;
            v = for_v.forward(v, Some(u.clone()), given)?;
        }
        if let (Some(for_u), Some(for_v)) = (&of.u_halve, &of.v_halve) {
            kept.push([u.clone(), v.clone()]);
            [u, v] = self.level(level + 1, for_u.forward(u), for_v.forward(v), given)?;
        }
        if let (Some(for_u), Some(for_v)) = (&of.u_double, &of.v_double) {
            u = double(for_u, u, [height, width]);
            v = double(for_v, v, [height, width]);
        }
        for (for_u, for_v) in of.u_back.iter().zip(&of.v_back) {
            let Some([short, own]) = kept.pop() else { break };
            u = for_u.forward(u, Some(short), given)?;
            v = for_v.forward(v, Some(u.clone().join(own)), given)?;
        }
        Ok([u, v])
    }
}

impl ColumnNetwork for PixelCnnPlus {
    fn forward(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let ([n, d], [c, height, width]) = (x.dims(), self.sizes);
        let given = Given { condition, n, device: &x.value.device() };
        let x = x.reshape([n, height, width, c]);
        let u = self.rows.forward(moved(x.clone(), 1, 1));
        // With zeros around the picture, row y of this convolution reads row y − 1, and column x of the next one x − 1.
        let above = self.above.forward(x.clone()).linear(|x| x.narrow(1, 0, height));
        let left = self.left.forward(x.clone()).linear(|x| x.narrow(2, 0, width));
        let [_, v] = self.level(0, u, above + left, given)?;
        let (pixels, f) = (n * height * width, v.dims()[3]);
        let features = self.features.forward(elu(parts(v)).reshape([pixels, f]));
        let all = self.head.forward_plus(x.reshape([pixels, c]), Some(features));
        let [_, parameters] = all.dims();
        Ok(all.reshape([n, d / c * parameters]))
    }

    fn columns(
        &self,
        condition: &Condition,
        n: usize,
        device: &Device,
    ) -> Result<Box<dyn Columns + '_>> {
        let stacks = Stacks::new(self, Given { condition, n, device })?;
        Ok(Box::new(Channels::new(&self.head, stacks, self.sizes)))
    }
}
