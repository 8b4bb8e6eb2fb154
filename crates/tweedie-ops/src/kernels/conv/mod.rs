//! Two-dimensional convolutions of channels-last pictures, forward and both gradients.
//!
//! > y[n, i, j, o] = b[o] + Σ_{k, l, c} x[n, s i + k − p, s j + l − q, c] w[o, c, k, l],
//!
//! zero outside the picture. The gradient with respect to x is s² correlations of the same kind, one for each
//! remainder of a position by the stride, with the kernel's taps of that remainder in reverse; so there is one
//! routine, [`Correlation::run`], that copies a band of the input with its border into scratch and multiplies from
//! there.

mod bands;
mod correlate;
mod transforms;
mod weight;
mod winograd;

use super::elements;
use super::gemm::{Epilogue, Source};
use bands::{Band, Bands};
use correlate::Correlation;

/// The sizes of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Pictures.
    pub count: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Channels of the input and of the output.
    pub channels: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// The stride in both directions.
    pub stride: usize,
    /// The zeros before and after the rows, and the columns; less than 0 after them cuts the last ones off.
    pub padding: [(usize, isize); 2],
}

impl Conv {
    /// Height and width of the output; 0 where the kernel does not fit.
    pub fn output(&self) -> [usize; 2] {
        std::array::from_fn(|d| {
            let (before, after) = self.padding[d];
            let padded = self.input[d].saturating_add(before).saturating_add_signed(after);
            if padded < self.kernel[d] { 0 } else { (padded - self.kernel[d]) / self.stride + 1 }
        })
    }

    fn check_pictures(&self, x: &[f32], y: &[f32]) {
        let ([h, w], [oh, ow], [ci, co]) = (self.input, self.output(), self.channels);
        assert_eq!(x.len(), elements([self.count, h, w, ci]), "the input has another shape");
        assert_eq!(y.len(), elements([self.count, oh, ow, co]), "the output has another shape");
    }

    fn check_weight(&self, weight: &[f32]) {
        let ([ci, co], [kh, kw]) = (self.channels, self.kernel);
        assert_eq!(weight.len(), elements([co, ci, kh, kw]), "the weight has another shape");
    }

    /// Computes y from x `[count, h, w, in]` and a weight `[out, in, k, k]`.
    pub fn forward(&self, x: &[f32], weight: &[f32], epilogue: Epilogue, y: &mut [f32]) {
        self.check_pictures(x, y);
        self.check_weight(weight);
        let [kh, kw] = self.kernel;
        let [ci, co] = self.channels;
        let area = (kh * kw) as isize;
        let source = Source {
            origin: 0,
            depth: [(kh, kw as isize), (kw, 1), (ci, area)],
            columns: (co, ci as isize * area),
        };
        self.correlation().run(x, weight, source, epilogue, y);
    }

    /// Computes dx from dy and the weight.
    pub fn input_gradient(&self, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
        self.check_pictures(dx, dy);
        self.check_weight(weight);
        let [kh, kw] = self.kernel;
        let [ci, co] = self.channels;
        let area = (kh * kw) as isize;
        let s = self.stride;
        for remainders in (0..s * s).map(|k| [k / s, k % s]) {
            // Of the positions s i + remainder: the taps r + s j reach output i + (remainder + p − r)/s − j.
            let first: [usize; 2] =
                std::array::from_fn(|d| (remainders[d] + self.padding[d].0) % s);
            let taps: [usize; 2] =
                std::array::from_fn(|d| self.kernel[d].saturating_sub(first[d]).div_ceil(s));
            let origin = std::array::from_fn(|d| {
                let reach = (remainders[d] + self.padding[d].0 - first[d]) / s;
                reach as isize - (taps[d] as isize - 1)
            });
            // The last tap first.
            let last: [isize; 2] =
                std::array::from_fn(|d| (first[d] + s * taps[d]) as isize - s as isize);
            let source = Source {
                origin: last[0] * kw as isize + last[1],
                depth: [
                    (taps[0], -((s * kw) as isize)),
                    (taps[1], -(s as isize)),
                    (co, ci as isize * area),
                ],
                columns: (ci, area),
            };
            let correlation = Correlation {
                count: self.count,
                input: self.output(),
                channels: [co, ci],
                taps,
                step: 1,
                origin,
                grid: std::array::from_fn(|d| {
                    self.input[d].saturating_sub(remainders[d]).div_ceil(s)
                }),
                output: self.input,
                first: remainders,
                spread: s,
            };
            correlation.run(dy, weight, source, Epilogue::default(), dx);
        }
    }

    fn correlation(&self) -> Correlation {
        Correlation {
            count: self.count,
            input: self.input,
            channels: self.channels,
            taps: self.kernel,
            step: self.stride,
            origin: self.padding.map(|(before, _)| -(before as isize)),
            grid: self.output(),
            output: self.output(),
            first: [0, 0],
            spread: 1,
        }
    }
}
