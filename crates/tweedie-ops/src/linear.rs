//! A linear layer with bias and activation.

use crate::activate;
use crate::kernels::activation::{self, Activation};
use crate::kernels::gemm::Epilogue;
use crate::kernels::linear::Linear;
use crate::kernels::reduce::sum_rows;
use crate::operation::{Array, Operation, apply, given, input, is_ours};
use crate::pool::Buffer;
use burn::tensor::{Tensor, module};
use burn_flex::FlexTensor;

/// f(x Wᵀ + b + r) of rows x `[n, in]` with a weight `[out, in]` and what else is added, r `[n, out]`; `[n, out]`.
///
/// # Panics
/// If shapes do not fit.
pub fn linear(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    residual: Option<Tensor<2>>,
    activation: Activation,
) -> Tensor<2> {
    if is_ours(&x) {
        let (bias, residual) = (bias.and_then(input), residual.and_then(input));
        return apply(Fused(activation), [input(x), input(weight), bias, residual]);
    }
    let y = module::linear(x, weight.transpose(), bias);
    activate(if let Some(residual) = residual { y + residual } else { y }, activation)
}

#[derive(Debug)]
struct Fused(Activation);

/// x, the weight, and the activation's input where there is one.
type Saved = (Array, Array, Option<Array>);

impl Fused {
    /// The output and the activation's input, if asked for.
    fn run(
        &self,
        x: &Array,
        weight: &Array,
        added: [Option<Array>; 2],
        keep: bool,
    ) -> (FlexTensor, Option<Array>) {
        let sizes = sizes(x, weight);
        let shape = [sizes.rows, sizes.output];
        let [bias, residual] = added.each_ref().map(|a| a.as_ref().map(Array::values));
        let epilogue = Epilogue { bias, residual, sample: None };
        let mut y = Buffer::new(sizes.rows * sizes.output);
        if self.0 == Activation::None {
            sizes.forward(x.values(), weight.values(), epilogue, &mut y);
            return (y.into_tensor(shape), None);
        }
        let mut before = keep.then(|| Buffer::new(y.len()));
        let kept = before.as_deref_mut();
        sizes.forward_activated(x.values(), weight.values(), epilogue, self.0, kept, &mut y);
        (y.into_tensor(shape), before.map(|before| Array::new(before.into_tensor(shape))))
    }
}

fn sizes(x: &Array, weight: &Array) -> Linear {
    let ([rows, width], [output, input]) = (x.shape(), weight.shape());
    assert_eq!(width, input, "the weight takes rows as long as these");
    Linear { rows, input, output }
}

impl Operation<4> for Fused {
    type Saved = Saved;

    fn forward(&self, [x, weight, bias, residual]: [Option<Array>; 4]) -> FlexTensor {
        self.run(&given(x), &given(weight), [bias, residual], false).0
    }

    fn record(&self, [x, weight, bias, residual]: [Option<Array>; 4]) -> (FlexTensor, Saved) {
        let (x, weight) = (given(x), given(weight));
        let (y, before) = self.run(&x, &weight, [bias, residual], true);
        (y, (x, weight, before))
    }

    fn backward(
        &self,
        (x, weight, before): Saved,
        dy: Array,
        wanted: [bool; 4],
    ) -> [Option<FlexTensor>; 4] {
        let sizes = sizes(&x, &weight);
        let before = before.map(|before| {
            let mut dz = Buffer::new(dy.values().len());
            activation::backward(self.0, before.values(), dy.values(), &mut dz);
            dz
        });
        let dz: &[f32] = before.as_deref().unwrap_or(dy.values());
        let dx = wanted[0].then(|| {
            let mut dx = Buffer::new(x.values().len());
            sizes.input_gradient(dz, weight.values(), &mut dx);
            dx.into_tensor([sizes.rows, sizes.input])
        });
        let dweight = wanted[1].then(|| {
            sizes.weight_gradient(x.values(), dz).into_tensor([sizes.output, sizes.input])
        });
        let dbias = wanted[2].then(|| {
            let mut bias = Buffer::new(sizes.output);
            sum_rows(dz, &mut bias);
            bias.into_tensor([sizes.output])
        });
        let dresidual = wanted[3].then(|| match before {
            Some(dz) => dz.into_tensor([sizes.rows, sizes.output]),
            None => dy.into_tensor(),
        });
        [dx, dweight, dbias, dresidual]
    }
}
