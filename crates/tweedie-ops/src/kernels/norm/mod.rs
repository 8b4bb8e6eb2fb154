//! Group, layer and root-mean-square normalisation with affine map and activation, forward and backward.
//!
//! With x̂ = (x − mean)/√(variance + ε), weight w, bias b and a sample's own scale s and shift t (FiLM, adaptive
//! norms),
//!
//! > y = f((x̂ w + b)(1 + s) + t).
//!
//! With dv the gradient at f's argument and k = w (1 + s), over the m elements that share a mean,
//!
//! > dx = (k dv − Σ k dv/m − x̂ Σ k dv x̂/m)/√(variance + ε);
//!
//! over the rows of a sample, dt = Σ dv and ds = w Σ dv x̂ + b dt; and over the samples db = Σ (1 + s) dt and
//! dw = Σ (1 + s) Σ dv x̂. The backward pass computes the argument of f again from x. Mean and variance are merged from
//! blocks, each in two passes while it is in the cache (Chan, Golub & LeVeque 1979, equation 2.1).

mod group;
mod layer;

pub use group::{group_norm, group_norm_backward};
pub use layer::{layer_norm, layer_norm_backward, rms_norm, rms_norm_backward};

use super::elements;
use super::reduce::total;

/// A tensor `[samples, rows, channels]`: images of h·w pixels, or sequences of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Samples.
    pub samples: usize,
    /// Pixels or tokens in a sample.
    pub rows: usize,
    /// Channels.
    pub channels: usize,
}

impl Shape {
    /// All elements.
    pub fn len(&self) -> usize {
        elements([self.samples, self.rows, self.channels])
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The affine map of the normalised value; each part is optional.
#[derive(Debug, Clone, Copy, Default)]
pub struct Affine<'a> {
    /// w, `[channels]`; 1 if absent.
    pub weight: Option<&'a [f32]>,
    /// b, `[channels]`; 0 if absent.
    pub bias: Option<&'a [f32]>,
    /// s, `[samples, channels]`; 0 if absent.
    pub scale: Option<&'a [f32]>,
    /// t, `[samples, channels]`; 0 if absent.
    pub shift: Option<&'a [f32]>,
}

/// Buffers of the gradients of [`Affine`], for the wanted ones.
#[derive(Debug, Default)]
pub struct AffineGradient<'a> {
    /// `[channels]`.
    pub weight: Option<&'a mut [f32]>,
    /// `[channels]`.
    pub bias: Option<&'a mut [f32]>,
    /// `[samples, channels]`.
    pub scale: Option<&'a mut [f32]>,
    /// `[samples, channels]`.
    pub shift: Option<&'a mut [f32]>,
}

impl Affine<'_> {
    fn check(&self, shape: &Shape) {
        let (each, all) = (shape.channels, elements([shape.samples, shape.channels]));
        assert!(self.weight.is_none_or(|v| v.len() == each), "the weight has another length");
        assert!(self.bias.is_none_or(|v| v.len() == each), "the bias has another length");
        assert!(self.scale.is_none_or(|v| v.len() == all), "the scale has another shape");
        assert!(self.shift.is_none_or(|v| v.len() == all), "the shift has another shape");
    }

    fn weight(&self, channel: usize) -> f32 {
        self.weight.map_or(1.0, |w| w[channel])
    }

    fn bias(&self, channel: usize) -> f32 {
        self.bias.map_or(0.0, |b| b[channel])
    }

    /// `at` is sample · channels + channel.
    fn scale(&self, at: usize) -> f32 {
        1.0 + self.scale.map_or(0.0, |s| s[at])
    }

    /// w (1 + s).
    fn gain(&self, at: usize, channel: usize) -> f32 {
        self.weight(channel) * self.scale(at)
    }

    /// b (1 + s) + t.
    fn offset(&self, at: usize, channel: usize) -> f32 {
        self.bias(channel).mul_add(self.scale(at), self.shift.map_or(0.0, |t| t[at]))
    }

    /// The gradients of the affine's parts from Σ dv and Σ dv x̂ over each sample's rows, `[samples, channels, 2]`.
    fn gradients(&self, sums: &[f64], channels: usize, into: AffineGradient) {
        let pairs = || sums.as_chunks::<2>().0.iter().enumerate();
        if let Some(shift) = into.shift {
            assert_eq!(shift.len(), sums.len() / 2);
            pairs().for_each(|(at, [dv, _])| shift[at] = *dv as f32);
        }
        if let Some(scale) = into.scale {
            assert_eq!(scale.len(), sums.len() / 2);
            for (at, [dv, dvx]) in pairs() {
                let (w, b) = (self.weight(at % channels), self.bias(at % channels));
                scale[at] = (f64::from(w) * dvx + f64::from(b) * dv) as f32;
            }
        }
        let over_samples = |part: usize, into: &mut [f32]| {
            assert_eq!(into.len(), channels);
            let scaled: Vec<f64> =
                pairs().map(|(at, pair)| f64::from(self.scale(at)) * pair[part]).collect();
            total(&scaled, into);
        };
        if let Some(bias) = into.bias {
            over_samples(0, bias);
        }
        if let Some(weight) = into.weight {
            over_samples(1, weight);
        }
    }
}
