//! Gated PixelCNN.
//!
//! Two stacks of convolutions read the pixels before a pixel, row by row (van den Oord et al. 2016, *Conditional image
//! generation with PixelCNN decoders*, eqs. 2–4 and fig. 2). A layer has, with ∗ a convolution,
//!
//! > v ← gate(a),  a = W_v ∗ v,  h ← h + W_o gate(W_h ∗ h + W_a a),  gate(a, b) = tanh a ⊙ σ(b).
//!
//! v at a row reads the row and the one above it, three columns each; of the picture itself the two rows above. h at
//! a pixel reads the pixel and the two to its left; of the picture itself only pixels to the left. So nothing reads
//! its own pixel, and no pixel before it is blind. The channels of a pixel follow each other by a masked MLP with the
//! features h of the pixel (row-wise MADE), whose outputs are the parameters of each channel.
//!
//! With `position` the picture has two channels more, the row and the column of each pixel (Liu et al. 2018, *An
//! intriguing failing of convolutional neural networks and the CoordConv solution*): by convolutions alone a pixel
//! knows its place only as far from the edges as it sees.
//!
//! The order is pixel by pixel with its channels together. A sample takes each row of v and each pixel of h once.

use super::network::{AnyColumnNetwork, ColumnNetwork, ColumnNetworkConfig, Columns, Outline};
use super::pixels::{self, Channels, Pixels};
use crate::data::{Condition, Layout};
use crate::error::count;
use crate::nn::conv::{at_pixels, at_pixels_plus, convolve, gate};
use crate::nn::{
    Activation, ConditionEmbedding, ConditionEmbeddingConfig, Conv2d, Conv2dConfig, Linear,
    LinearConfig, MaskedMlp, MaskedMlpConfig,
};
use crate::tensor::Dual;
use crate::{Draws, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use tweedie_ops::ConvSizes;

/// The number of columns that a convolution of v reads, and one of h.
const TAPS: usize = 3;
/// The number of rows that a convolution of v reads. Kernels of three by three would go by Winograd's algorithm, whose
/// rounding lets later pixels touch earlier ones.
const ROWS: usize = 2;
const TANH: Option<Activation> = Some(Activation::Tanh);

/// Configuration of [`PixelCnn`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PixelCnnConfig {
    /// The number of channels of each stack.
    pub channels: usize,
    /// The number of layers.
    pub layers: usize,
    /// The width of the hidden layer that leads from a pixel's features to its parameters.
    pub hidden: usize,
    /// Whether the layers read the row and the column of each pixel, beside its channels.
    pub position: bool,
}

impl Default for PixelCnnConfig {
    fn default() -> Self {
        Self { channels: 32, layers: 5, hidden: 64, position: false }
    }
}

impl PixelCnnConfig {
    /// The condition's part of a layer, of both stacks.
    fn condition(&self, columns: &Outline) -> ConditionEmbeddingConfig {
        ConditionEmbeddingConfig::new(columns.classes, columns.vector, 4 * self.channels)
    }

    fn head(&self, columns: &Outline, channels: usize) -> MaskedMlpConfig {
        pixels::head(columns, channels, self.hidden)
    }

    /// The number of channels that the first layer reads.
    fn input(&self, channels: usize) -> usize {
        channels + if self.position { 2 } else { 0 }
    }
}

impl ColumnNetworkConfig for PixelCnnConfig {
    fn check(&self) -> Result<()> {
        count("channels", self.channels as u64, 1 << 12)?;
        count("layers", self.layers as u64, 256)?;
        count("hidden", self.hidden as u64, 1 << 14)
    }

    fn natural_order(&self, layout: Layout) -> Option<Vec<usize>> {
        pixels::natural_order(layout)
    }

    fn fits(&self, columns: &Outline) -> Result<()> {
        let [channels, ..] = pixels::fits("pixelcnn", columns)?;
        self.head(columns, channels).fits()
    }

    fn init(&self, columns: &Outline, draws: &Draws, device: &Device) -> Result<AnyColumnNetwork> {
        self.check()?;
        let sizes = pixels::fits("pixelcnn", columns)?;
        let f = self.channels;
        let layer = |k: usize| {
            let (input, draws) = (
                if k == 0 { self.input(sizes[0]) } else { f },
                draws.purpose("layers").at(k as u64),
            );
            let linear = |name: &str, from, to| {
                LinearConfig::new(from, to).init(&draws.purpose(name), device)
            };
            GatedLayer {
                // v at a row reads the row and the one above it, of the picture the two rows above.
                vertical: Conv2dConfig::new(input, 2 * f, TAPS)
                    .with_rows(ROWS)
                    .with_row_padding(ROWS - usize::from(k > 0), -isize::from(k == 0))
                    .init(&draws.purpose("vertical"), device),
                horizontal: linear("horizontal", TAPS * input, 2 * f),
                across: linear("across", 2 * f, 2 * f),
                out: linear("out", f, f),
                condition: self.condition(columns).init(&draws.purpose("condition"), device),
            }
        };
        Ok(PixelCnn {
            layers: (0..self.layers).map(layer).collect(),
            features: LinearConfig::new(f, self.hidden).init(&draws.purpose("features"), device),
            head: self.head(columns, sizes[0]).init(&draws.purpose("head"), device)?,
            sizes,
            channels: f,
            position: self.position,
        }
        .into())
    }

    fn parameters(&self, columns: &Outline) -> u128 {
        let (f, [c, ..]) = (self.channels as u128, pixels::sizes(columns.layout).unwrap_or([1; 3]));
        let linear = |from: u128, to: u128| (from + 1) * to;
        let condition = self.condition(columns).parameters();
        let layer = |input: u128| {
            let taps = TAPS as u128;
            linear(ROWS as u128 * taps * input, 2 * f)
                + linear(taps * input, 2 * f)
                + linear(2 * f, 2 * f)
                + linear(f, f)
                + condition
        };
        layer(self.input(c) as u128)
            + (self.layers as u128 - 1) * layer(f)
            + linear(f, self.hidden as u128)
            + self.head(columns, c).parameters()
    }

    fn activations(&self, columns: &Outline) -> usize {
        let [channels, height, width] = pixels::sizes(columns.layout).unwrap_or([1; 3]);
        let head = self.hidden + self.head(columns, channels).activations();
        height * width * (self.layers * 12 * self.channels + head)
    }
}

/// A layer of both stacks.
#[derive(Module, Debug)]
struct GatedLayer {
    /// The convolution of v.
    vertical: Conv2d,
    /// The map of h at neighbouring pixels.
    horizontal: Linear,
    /// The map from the convolution of v to the gates of h.
    across: Linear,
    /// The map from the gates of h to its change.
    out: Linear,
    /// The condition's part of the gates of v, and of those of h.
    condition: ConditionEmbedding,
}

/// A gated PixelCNN; see the module's head.
#[derive(Module, Debug)]
pub struct PixelCnn {
    layers: Vec<GatedLayer>,
    /// The map from h to the features of the head.
    features: Linear,
    /// The masked MLP from a pixel's features to the parameters of its channels.
    head: MaskedMlp,
    /// Channels, height and width of the pictures.
    #[module(skip)]
    sizes: [usize; 3],
    #[module(skip)]
    channels: usize,
    #[module(skip)]
    position: bool,
}

impl PixelCnn {
    /// The rows and columns of pixels beside their channels, if the layers read them: `[n, h, w, channels]` of the rows
    /// from `row` on and the columns from `column` on.
    fn placed(&self, x: Dual<4>, [row, column]: [usize; 2]) -> Dual<4> {
        if !self.position {
            return x;
        }
        let ([n, h, w, _], [_, height, width]) = (x.dims(), self.sizes);
        let at = |k: usize, of: usize| 2.0 * (k + 1) as f32 / of as f32 - 1.0;
        let places = (row..row + h)
            .flat_map(|i| (column..column + w).flat_map(move |j| [at(i, height), at(j, width)]));
        let places = TensorData::new(places.collect::<Vec<f32>>(), [1, h, w, 2]);
        let places = Tensor::<4>::from_data(places, (&x.value.device(), x.value.dtype()));
        Dual::cat(vec![x, Dual::from(places.expand([n, h, w, 2]))], 3)
    }
}

impl GatedLayer {
    /// The condition's parts of the gates of v and of h, `[n, 2 channels]` each.
    fn given(
        &self,
        condition: &Condition,
        n: usize,
        device: &Device,
        channels: usize,
    ) -> Result<[Option<Dual<2>>; 2]> {
        let all = self.condition.forward(condition, n, device)?;
        let half = |from: usize| {
            all.clone().map(|all| all.linear(|all| all.narrow(1, from, 2 * channels)))
        };
        Ok([half(0), half(2 * channels)])
    }

    /// The gates of h from h at a pixel and the two to its left, of the picture from the three pixels to its left.
    fn along_row(
        &self,
        h: Dual<4>,
        of_picture: bool,
        features: Option<Dual<2>>,
        across: Dual<4>,
    ) -> Dual<4> {
        let weight = self.horizontal.weight.val();
        let [out, all] = weight.dims();
        // The layer has the nearest pixel first, a convolution has it last.
        let weight = weight.reshape([out, TAPS, all / TAPS]).flip([1]).permute([0, 2, 1]);
        let weight = weight.reshape([out, all / TAPS, 1, TAPS]);
        let columns = (TAPS - usize::from(!of_picture), -isize::from(of_picture));
        let sizes = ConvSizes { stride: 1, padding: [(0, 0), columns] };
        convolve(h, (weight, self.horizontal.bias()), sizes, features, Some(across))
    }
}

impl ColumnNetwork for PixelCnn {
    fn forward(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        let ([n, d], [c, height, width], f) = (x.dims(), self.sizes, self.channels);
        let device = x.value.device();
        let x = x.reshape([n, height, width, c]);
        let mut v = self.placed(x.clone(), [0, 0]);
        let mut h = v.clone();
        for (k, layer) in self.layers.iter().enumerate() {
            let [to_v, to_h] = layer.given(condition, n, &device, f)?;
            let a = layer.vertical.forward_plus(v, to_v, None);
            let across = at_pixels(&layer.across, a.clone());
            let b = gate(layer.along_row(h.clone(), k == 0, to_h, across), TANH);
            h = match k {
                0 => at_pixels(&layer.out, b),
                _ => at_pixels_plus(&layer.out, b, h),
            };
            v = gate(a, TANH);
        }
        let pixels = n * height * width;
        let features = self.features.forward(h.relu().reshape([pixels, f]));
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
        let given =
            self.layers.iter().map(|layer| layer.given(condition, n, device, self.channels));
        let given = given.collect::<Result<Vec<_>>>()?;
        let kind = crate::nn::dtype_of(self);
        let layers = self.layers.len();
        let stacks = Stacks {
            of: self,
            given,
            zeros: Tensor::zeros([n, 1], (device, kind)),
            rows: vec![Vec::new(); layers],
            across: Vec::new(),
            left: vec![Vec::new(); layers],
            picture: Vec::new(),
            row: 0,
        };
        Ok(Box::new(Channels::new(&self.head, stacks, self.sizes)))
    }
}

/// A PixelCNN on pictures whose pixels come one after the other.
struct Stacks<'a> {
    of: &'a PixelCnn,
    /// The condition's parts of the gates of each layer.
    given: Vec<[Option<Dual<2>>; 2]>,
    /// A column of zeros.
    zeros: Tensor<2>,
    /// The last rows of each layer's v before it, `[n, 1, width, channels]`; of the first layer, of the picture.
    rows: Vec<Vec<Dual<4>>>,
    /// The part of the gates of h from v in the present row, of each layer, `[n, width, 2 channels]`.
    across: Vec<Dual<3>>,
    /// The last values of each layer's h before it in the present row, `[n, channels]`.
    left: Vec<Vec<Dual<2>>>,
    /// The known pixels of the present row, `[n, channels]` each, with their places if the layers read them.
    picture: Vec<Dual<2>>,
    /// The number of the present row.
    row: usize,
}

impl Stacks<'_> {
    fn zeros(&self, sizes: [usize; 4]) -> Dual<4> {
        Tensor::zeros(sizes, (&self.zeros.device(), self.zeros.dtype())).into()
    }

    /// The number of channels that the first layer reads.
    fn input(&self) -> usize {
        self.of.sizes[0] + if self.of.position { 2 } else { 0 }
    }

    /// Computes all layers of v in the present row.
    fn begin_row(&mut self) {
        let ([n, _], [_, _, width], f) = (self.zeros.dims(), self.of.sizes, self.of.channels);
        if !self.picture.is_empty() {
            let row = Dual::cat(std::mem::take(&mut self.picture), 1);
            let row = row.reshape([n, 1, width, self.input()]);
            self.rows[0].push(row);
            self.row += 1;
        }
        self.across.clear();
        self.left.iter_mut().for_each(Vec::clear);
        let mut v: Option<Dual<4>> = None;
        for (k, layer) in self.of.layers.iter().enumerate() {
            // The first layer reads the two rows above its own, the others one of them and their own.
            self.rows[k].extend(v.take());
            let have = self.rows[k].len();
            let input = if k == 0 { self.input() } else { f };
            let mut strip: Vec<Dual<4>> =
                (have..ROWS).map(|_| self.zeros([n, 1, width, input])).collect();
            strip.extend(self.rows[k][have.saturating_sub(ROWS)..].iter().cloned());
            if k == 0 {
                strip.push(self.zeros([n, 1, width, input]));
            }
            let present = strip.len() - 1;
            let strip = Dual::cat(strip, 1);
            let a = layer.vertical.forward_plus(strip, self.given[k][0].clone(), None);
            let a = a.linear(|a| a.narrow(1, present, 1));
            let across = at_pixels(&layer.across, a.clone());
            self.across.push(across.reshape([n, width, 2 * f]));
            v = Some(gate(a, TANH));
            let keep = self.rows[k].len().saturating_sub(ROWS - usize::from(k > 0));
            self.rows[k].drain(..keep);
        }
    }
}

impl Pixels for Stacks<'_> {
    /// All layers of h at the present pixel; in a new row, those of v first.
    fn features(&mut self) -> Dual<2> {
        let ([n, _], [_, _, width], f) = (self.zeros.dims(), self.of.sizes, self.of.channels);
        if self.across.is_empty() || self.picture.len() == width {
            self.begin_row();
        }
        let x = self.picture.len();
        let mut h: Option<Dual<2>> = None;
        for (k, layer) in self.of.layers.iter().enumerate() {
            self.left[k].extend(h.clone());
            let input = if k == 0 { self.input() } else { f };
            // The nearest first.
            let zeros = || Tensor::zeros([n, input], (&self.zeros.device(), self.zeros.dtype()));
            let known = self.left[k].iter().rev().cloned();
            let padded = known.chain(std::iter::repeat_with(|| zeros().into()));
            let taps = Dual::cat(padded.take(TAPS).collect(), 1);
            let across = self.across[k].clone().linear(|a: Tensor<3>| a.narrow(1, x, 1));
            let mut b = layer.horizontal.forward(taps) + across.reshape([n, 2 * f]);
            if let Some(features) = &self.given[k][1] {
                b = b + features.clone();
            }
            let more = layer.out.forward(gate(b, TANH));
            h = Some(if let Some(h) = h { h + more } else { more });
            let keep = self.left[k].len().saturating_sub(TAPS - usize::from(k > 0));
            self.left[k].drain(..keep);
        }
        let h = h.unwrap_or_else(|| self.zeros.clone().into());
        self.of.features.forward(h.relu())
    }

    fn push(&mut self, pixel: Dual<2>) {
        let [n, channels] = pixel.dims();
        let pixel = pixel.reshape([n, 1, 1, channels]);
        let pixel = self.of.placed(pixel, [self.row, self.picture.len()]);
        let pixel = pixel.reshape([n, self.input()]);
        self.left[0].push(pixel.clone());
        self.picture.push(pixel);
    }
}
