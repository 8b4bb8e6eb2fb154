//! Operations on Burn's tensors: forward on flex, with a recorded step of the backward pass for differentiated inputs.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{
    BalancedCheckpointing, CheckpointStrategy, NoCheckpointing,
};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, BackendTensor, DispatchAutodiffContext, DispatchDevice, DispatchTensor,
    DispatchTensorKind, Flex, GradientCheckpointingStrategy,
};
use burn::tensor::{Device, Tensor};
use burn_flex::FlexTensor;
use burn_std::{DType, Shape};
use std::fmt::Debug;

use crate::pool::Buffer;

/// A contiguous array of single precision, shared.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    tensor: FlexTensor,
    start: usize,
    len: usize,
}

impl Array {
    pub(crate) fn new(tensor: FlexTensor) -> Self {
        let tensor = if tensor.layout().is_contiguous() { tensor } else { tensor.to_contiguous() };
        let (start, len) = (tensor.layout().start_offset(), tensor.layout().num_elements());
        Self { tensor, start, len }
    }

    pub(crate) fn values(&self) -> &[f32] {
        &self.tensor.storage::<f32>()[self.start..][..self.len]
    }

    pub(crate) fn shape<const D: usize>(&self) -> [usize; D] {
        let shape = self.tensor.layout().shape();
        std::array::from_fn(|d| shape[d])
    }

    pub(crate) fn all_sizes(&self) -> Shape {
        self.tensor.layout().shape().clone()
    }

    pub(crate) fn into_tensor(self) -> FlexTensor {
        self.tensor
    }
}

/// A required input.
pub(crate) fn given(input: Option<Array>) -> Array {
    input.unwrap_or_else(|| unreachable!("the input is not optional"))
}

/// An operation with N inputs, some of them optional, and one output.
pub(crate) trait Operation<const N: usize>: Debug + Send + 'static {
    /// The values that the forward pass keeps for the backward pass.
    type Saved: Debug + Clone + Send + 'static;

    /// The output.
    fn forward(&self, inputs: [Option<Array>; N]) -> FlexTensor;

    /// The output, and the record for [`Operation::backward`].
    fn record(&self, inputs: [Option<Array>; N]) -> (FlexTensor, Self::Saved);

    /// The gradients of the loss by the inputs for which `wanted` is true, none for the others; `dy` is the gradient of
    /// the loss by the output, and `saved` the record of the forward pass.
    fn backward(&self, saved: Self::Saved, dy: Array, wanted: [bool; N])
    -> [Option<FlexTensor>; N];
}

/// Whether a tensor is of single precision on flex, as operations here require.
pub(crate) fn is_ours<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && is_cpu(&x.device())
}

/// Whether tensors on this device are in the machine's memory, and its processors compute them.
pub fn is_cpu(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}

/// A tensor as an input of [`apply`].
pub(crate) fn input<const D: usize>(x: Tensor<D>) -> Option<DispatchTensor> {
    Some(x.into_dispatch())
}

/// A tensor's array, if it is [`is_ours`] and not recorded for a backward pass.
pub(crate) fn plain<const D: usize>(x: Tensor<D>) -> Option<Array> {
    if !is_ours(&x) {
        return None;
    }
    match x.into_dispatch().kind {
        DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => Some(Array::new(tensor)),
        _ => None,
    }
}

/// A tensor that is not recorded for a backward pass.
pub(crate) fn from_plain<const D: usize>(x: FlexTensor) -> Tensor<D> {
    let kind = DispatchTensorKind::Flex(BackendTensor::Float(x));
    Tensor::from_dispatch(DispatchTensor { kind, autodiff: DispatchAutodiffContext::Disabled })
}

type AutodiffTensor = FloatTensor<Autodiff<Flex>>;

/// An input's primitive, recorded or not.
enum Primitive {
    Plain(FlexTensor),
    Recorded(AutodiffTensor),
}

fn primitive(tensor: DispatchTensor) -> Primitive {
    match tensor.kind {
        DispatchTensorKind::Autodiff(inner) => match *inner {
            DispatchTensorKind::Flex(BackendTensor::Autodiff(tensor)) => {
                Primitive::Recorded(tensor)
            }
            other => unreachable!("`is_ours` tells the tensors of other backends: {other:?}"),
        },
        DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => Primitive::Plain(tensor),
        other => unreachable!("`is_ours` tells the tensors of other backends: {other:?}"),
    }
}

/// Applies an operation to inputs that are all [`is_ours`].
pub(crate) fn apply<const N: usize, const D: usize, O: Operation<N>>(
    operation: O,
    inputs: [Option<DispatchTensor>; N],
) -> Tensor<D> {
    let context = inputs
        .iter()
        .flatten()
        .map(|input| input.autodiff)
        .fold(DispatchAutodiffContext::Disabled, DispatchAutodiffContext::merge);
    let inputs = inputs.map(|input| input.map(primitive));
    let kind = match context {
        DispatchAutodiffContext::Disabled => {
            let plain = inputs.map(|input| {
                input.map(|input| match input {
                    Primitive::Plain(tensor) => Array::new(tensor),
                    Primitive::Recorded(tensor) => Array::new(tensor.into_primitive()),
                })
            });
            DispatchTensorKind::Flex(BackendTensor::Float(operation.forward(plain)))
        }
        DispatchAutodiffContext::Enabled(strategy) => {
            let output = match strategy {
                GradientCheckpointingStrategy::Disabled => {
                    record::<N, O, NoCheckpointing>(operation, inputs)
                }
                GradientCheckpointingStrategy::Balanced => {
                    record::<N, O, BalancedCheckpointing>(operation, inputs)
                }
            };
            DispatchTensorKind::Autodiff(Box::new(DispatchTensorKind::Flex(
                BackendTensor::Autodiff(output),
            )))
        }
    };
    Tensor::from_dispatch(DispatchTensor { kind, autodiff: context })
}

fn record<const N: usize, O: Operation<N>, C: CheckpointStrategy>(
    operation: O,
    inputs: [Option<Primitive>; N],
) -> AutodiffTensor {
    let present = inputs.each_ref().map(Option::is_some);
    // An absent input is a constant without elements.
    let inputs = inputs.map(|input| match input {
        None => AutodiffTensor::new(Buffer::new(0).into_tensor([0])),
        Some(Primitive::Plain(tensor)) => AutodiffTensor::new(tensor),
        Some(Primitive::Recorded(tensor)) => tensor,
    });
    let nodes = inputs.each_ref().map(AutodiffTensor::node);
    let arrays =
        std::array::from_fn(|k| present[k].then(|| Array::new(inputs[k].primitive().clone())));
    drop(inputs);
    let operation = Step(operation);
    // The operation moves into the step, so it runs first.
    let saved = operation.0.record(arrays);
    match operation.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(saved.1, saved.0),
        OpsKind::UnTracked(prepared) => prepared.finish(saved.0),
    }
}

#[derive(Debug)]
struct Step<O>(O);

impl<const N: usize, O: Operation<N>> Backward<Flex, N> for Step<O> {
    type State = O::Saved;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let dy = Array::new(gradients.consume::<Flex>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = self.0.backward(ops.state, dy, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

/// A function of one array, element by element, or of the halves of its last dimension to one of them.
pub(crate) trait Unary: Debug + Send + 'static {
    /// Whether the output is half as wide as the input.
    const HALVES: bool = false;

    /// Computes the output y of an input x; each row of y has `width` elements.
    fn forward(&self, width: usize, x: &[f32], y: &mut [f32]);

    /// Computes the gradient by x from that by y.
    fn backward(&self, width: usize, x: &[f32], dy: &[f32], dx: &mut [f32]);
}

/// A [`Unary`] function as an operation, which keeps its input.
#[derive(Debug)]
pub(crate) struct OfOne<F>(pub F);

impl<F: Unary> OfOne<F> {
    /// The shape of the output, and the width of its rows.
    fn output(x: &Array) -> (Shape, usize) {
        let mut shape = x.all_sizes();
        let mut width = 1;
        if let Some(last) = shape.last_mut() {
            *last /= if F::HALVES { 2 } else { 1 };
            width = *last;
        }
        (shape, width)
    }

    fn run(&self, x: &Array) -> FlexTensor {
        let (shape, width) = Self::output(x);
        let mut y = Buffer::new(x.values().len() / if F::HALVES { 2 } else { 1 });
        self.0.forward(width, x.values(), &mut y);
        y.into_tensor(shape)
    }
}

impl<F: Unary> Operation<1> for OfOne<F> {
    type Saved = Array;

    fn forward(&self, [x]: [Option<Array>; 1]) -> FlexTensor {
        self.run(&given(x))
    }

    fn record(&self, [x]: [Option<Array>; 1]) -> (FlexTensor, Array) {
        let x = given(x);
        (self.run(&x), x)
    }

    fn backward(&self, x: Array, dy: Array, _wanted: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let mut dx = Buffer::new(x.values().len());
        self.0.backward(Self::output(&x).1, x.values(), dy.values(), &mut dx);
        [Some(dx.into_tensor(x.all_sizes()))]
    }
}

/// A function of two arrays, such as values and the parameters of a map of them.
pub(crate) trait Binary: Debug + Send + 'static {
    /// Whether there is a gradient by the first array, and not by the second alone.
    const BOTH: bool = true;

    /// The shape of the output.
    ///
    /// # Panics
    /// If the arrays do not fit.
    fn shape(&self, inputs: [&Array; 2]) -> Shape;

    /// Computes y.
    fn forward(&self, inputs: [&Array; 2], y: &mut [f32]);

    /// Computes the gradients by both arrays from that by y; of the first, without [`Binary::BOTH`], none.
    fn backward(&self, inputs: [&Array; 2], dy: &[f32], gradients: [&mut [f32]; 2]);
}

/// A [`Binary`] function as an operation, which keeps its inputs.
#[derive(Debug)]
pub(crate) struct OfTwo<F>(pub F);

impl<F: Binary> Operation<2> for OfTwo<F> {
    type Saved = [Array; 2];

    fn forward(&self, inputs: [Option<Array>; 2]) -> FlexTensor {
        self.record(inputs).0
    }

    fn record(&self, inputs: [Option<Array>; 2]) -> (FlexTensor, [Array; 2]) {
        let inputs = inputs.map(given);
        let shape = self.0.shape(inputs.each_ref());
        let mut y = Buffer::new(shape.num_elements());
        self.0.forward(inputs.each_ref(), &mut y);
        (y.into_tensor(shape), inputs)
    }

    fn backward(
        &self,
        inputs: [Array; 2],
        dy: Array,
        _wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let [x, p] = inputs.each_ref();
        let mut dx = Buffer::new(if F::BOTH { x.values().len() } else { 0 });
        let mut dp = Buffer::new(p.values().len());
        self.0.backward([x, p], dy.values(), [&mut dx, &mut dp]);
        let dx = F::BOTH.then(|| dx.into_tensor(x.all_sizes()));
        [dx, Some(dp.into_tensor(p.all_sizes()))]
    }
}
