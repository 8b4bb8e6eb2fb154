//! What the networks of pictures share: pixel by pixel, with the channels of a pixel by a masked MLP.
//!
//! A network computes features of a pixel from the pixels before it. The channels of a pixel follow each other by a
//! masked MLP with these features (row-wise MADE), whose outputs are the parameters of each channel.

use super::network::{Columns, Outline};
use crate::data::Layout;
use crate::nn::{Activation, MaskedMlp, MaskedMlpConfig, Sequence};
use crate::tensor::Dual;
use crate::{Error, Result};
use burn::tensor::Tensor;

/// Channels, height and width of pictures.
pub(super) fn sizes(layout: Layout) -> Option<[usize; 3]> {
    match layout {
        Layout::Image { channels, height, width } => Some([channels, height, width]),
        Layout::Vector { .. } => None,
    }
}

/// The numbers of columns pixel by pixel, with the channels of a pixel together.
pub(super) fn natural_order(layout: Layout) -> Option<Vec<usize>> {
    let [channels, height, width] = sizes(layout)?;
    let pixels = height * width;
    Some((0..pixels).flat_map(|pixel| (0..channels).map(move |c| c * pixels + pixel)).collect())
}

/// Channels, height and width of columns that are the pixels of a picture, all of one kind.
///
/// # Errors
/// [`Error::Config`] for others, naming the network.
pub(super) fn fits(network: &str, columns: &Outline) -> Result<[usize; 3]> {
    let refuse = |problem: &str, expected: &str| {
        Err(Error::config("name", format!("{network}{problem}"), expected))
    };
    let Some([channels, height, width]) = sizes(columns.layout) else {
        return refuse(", and the data are no pictures", "masked");
    };
    if natural_order(columns.layout).as_ref() != Some(&columns.order) {
        return refuse(", in another order", "the natural order");
    }
    let alike = columns.parameters.chunks(channels).all(|p| *p == columns.parameters[..channels]);
    if !alike || columns.values != vec![1; channels * height * width] {
        return refuse(", of pixels that differ in kind", "masked");
    }
    Ok([channels, height, width])
}

/// The masked MLP of a pixel's channels, with a hidden layer.
pub(super) fn head(columns: &Outline, channels: usize, hidden: usize) -> MaskedMlpConfig {
    let parameters = columns.parameters.iter().take(channels).enumerate();
    MaskedMlpConfig {
        limits: parameters.flat_map(|(c, count)| vec![c; *count]).collect(),
        columns: vec![1; channels],
        hidden: vec![hidden],
        activation: Activation::Relu,
        residual: false,
        direct: false,
        classes: 0,
        vector: 0,
        features: true,
        orders: 1,
        masks: 1,
        gain: columns.gain,
    }
}

/// The picture moved by `by` places along a dimension, with zeros first.
pub(super) fn moved(x: Dual<4>, dim: usize, by: usize) -> Dual<4> {
    x.linear(|x| {
        let mut sizes = x.dims();
        let len = sizes[dim];
        sizes[dim] = by.min(len);
        let zeros = Tensor::zeros(sizes, (&x.device(), x.dtype()));
        match by {
            0 => x,
            by if by >= len => zeros,
            by => Tensor::cat(vec![zeros, x.narrow(dim, 0, len - by)], dim),
        }
    })
}

/// The features of pixels that come one after the other.
pub(super) trait Pixels {
    /// The features of the next pixel, `[n, features]`.
    fn features(&mut self) -> Dual<2>;

    /// Adds the next pixel, `[n, channels]`.
    fn push(&mut self, pixel: Dual<2>);
}

/// The channels of pixels one after the other, by a masked MLP with the features of each pixel.
pub(super) struct Channels<'a, P> {
    pixels: P,
    head: &'a MaskedMlp,
    /// The head at the present pixel.
    sequence: Sequence<'a>,
    /// The known channels of the present pixel.
    known: Vec<Dual<2>>,
    channels: usize,
    /// The number of pixels to come after the present one.
    rest: usize,
}

impl<'a, P: Pixels> Channels<'a, P> {
    /// The channels of pictures of these channels, height and width.
    pub fn new(head: &'a MaskedMlp, mut pixels: P, [channels, height, width]: [usize; 3]) -> Self {
        let features = pixels.features();
        let n = features.dims()[0];
        let sequence = head.sequence_plus(Some(features), n);
        Self { pixels, head, sequence, known: Vec::new(), channels, rest: height * width - 1 }
    }
}

impl<P: Pixels> Columns for Channels<'_, P> {
    fn next(&mut self) -> Dual<2> {
        self.sequence.outputs()
    }

    fn push(&mut self, column: Dual<2>) {
        self.known.push(column.clone());
        if self.known.len() < self.channels {
            self.sequence.push(column);
            return;
        }
        self.pixels.push(Dual::cat(std::mem::take(&mut self.known), 1));
        if self.rest > 0 {
            self.rest -= 1;
            let features = self.pixels.features();
            let n = features.dims()[0];
            self.sequence = self.head.sequence_plus(Some(features), n);
        }
    }
}
