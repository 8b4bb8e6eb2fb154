//! Two-dimensional convolution of channels-last pictures.

use crate::kernels::conv::Conv;
use crate::kernels::gemm::Epilogue;
use crate::kernels::reduce::sum_rows;
use crate::operation::{Array, Operation, apply, given, input, is_ours};
use crate::pool::Buffer;
use burn::tensor::{Tensor, module, ops::ConvOptions};
use burn_flex::FlexTensor;

/// The stride and the zeros around a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvSizes {
    /// The stride in both directions.
    pub stride: usize,
    /// The zeros before and after the rows, and those before and after the columns; less than 0 after them cuts the
    /// last ones off.
    pub padding: [(usize, isize); 2],
}

/// An addend to the output of a convolution.
#[derive(Debug, Clone, Default)]
pub struct Addend {
    /// A value for each channel, `[out]`.
    pub bias: Option<Tensor<1>>,
    /// A value for each picture and channel, `[n, out]`.
    pub features: Option<Tensor<2>>,
    /// A value for each element, `[n, h′, w′, out]`.
    pub residual: Option<Tensor<4>>,
}

/// The convolution of pictures `[n, h, w, in]` with a weight `[out, in, k, k′]`, `[n, h′, w′, out]`, plus an optional
/// addend.
///
/// # Panics
/// If shapes do not fit.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, added: Addend, sizes: ConvSizes) -> Tensor<4> {
    if is_ours(&x) {
        let Addend { bias, features, residual } = added;
        let added = (bias.and_then(input), features.and_then(input), residual.and_then(input));
        return apply(sizes, [input(x), input(weight), added.0, added.1, added.2]);
    }
    let ConvSizes { stride, padding } = sizes;
    let [height, width] = sizes.of(x.dims(), weight.dims()).output();
    let zeros = padding.map(|(before, after)| (before, after.max(0) as usize));
    let options = ConvOptions::new_with_padding([stride; 2], zeros, [1, 1], 1);
    let y = module::conv2d(x.permute([0, 3, 1, 2]), weight, added.bias, options);
    let mut y = y.permute([0, 2, 3, 1]).narrow(1, 0, height).narrow(2, 0, width);
    if let Some(features) = added.features {
        let [n, c] = features.dims();
        y = y + features.reshape([n, 1, 1, c]);
    }
    match added.residual {
        Some(residual) => y + residual,
        None => y,
    }
}

impl ConvSizes {
    fn of(self, x: [usize; 4], weight: [usize; 4]) -> Conv {
        let [count, h, w, channels] = x;
        let [out, into, kh, kw] = weight;
        assert_eq!(channels, into, "the weight takes as many channels as the pictures have");
        Conv {
            count,
            input: [h, w],
            channels: [into, out],
            kernel: [kh, kw],
            stride: self.stride,
            padding: self.padding,
        }
    }

    fn run(&self, x: &Array, weight: &Array, added: [Option<Array>; 3]) -> FlexTensor {
        let conv = self.of(x.shape(), weight.shape());
        let [h, w] = conv.output();
        let mut y = Buffer::new(conv.count * h * w * conv.channels[1]);
        let [bias, features, residual] = added.each_ref().map(|a| a.as_ref().map(Array::values));
        let sample = features.map(|features| (features, h * w));
        conv.forward(x.values(), weight.values(), Epilogue { bias, sample, residual }, &mut y);
        y.into_tensor([conv.count, h, w, conv.channels[1]])
    }
}

impl Operation<5> for ConvSizes {
    /// The pictures and the weight.
    type Saved = [Array; 2];

    fn forward(&self, inputs: [Option<Array>; 5]) -> FlexTensor {
        self.record(inputs).0
    }

    fn record(
        &self,
        [x, weight, bias, features, residual]: [Option<Array>; 5],
    ) -> (FlexTensor, [Array; 2]) {
        let (x, weight) = (given(x), given(weight));
        (self.run(&x, &weight, [bias, features, residual]), [x, weight])
    }

    fn backward(
        &self,
        [x, weight]: [Array; 2],
        dy: Array,
        wanted: [bool; 5],
    ) -> [Option<FlexTensor>; 5] {
        let conv = self.of(x.shape(), weight.shape());
        let [out, into] = [conv.channels[1], conv.channels[0]];
        let [h, w] = conv.output();
        let dx = wanted[0].then(|| {
            let mut dx = Buffer::new(x.values().len());
            conv.input_gradient(dy.values(), weight.values(), &mut dx);
            dx.into_tensor([conv.count, conv.input[0], conv.input[1], into])
        });
        let dweight = wanted[1].then(|| {
            let weight = conv.weight_gradient(x.values(), dy.values());
            weight.into_tensor([out, into, conv.kernel[0], conv.kernel[1]])
        });
        let dbias = wanted[2].then(|| {
            let mut bias = Buffer::new(out);
            sum_rows(dy.values(), &mut bias);
            bias.into_tensor([out])
        });
        let dfeatures = wanted[3].then(|| {
            let mut sums = Buffer::new(conv.count * out);
            let pictures = dy.values().chunks_exact((h * w * out).max(1));
            if h * w == 0 {
                sums.fill(0.0);
            }
            for (sums, picture) in sums.chunks_exact_mut(out).zip(pictures) {
                sum_rows(picture, sums);
            }
            sums.into_tensor([conv.count, out])
        });
        [dx, dweight, dbias, dfeatures, wanted[4].then(|| dy.into_tensor())]
    }
}
