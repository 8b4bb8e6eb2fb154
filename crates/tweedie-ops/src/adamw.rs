//! A step of AdamW on tensors.

use crate::kernels::adamw;
use crate::operation::{Array, is_ours};
use crate::pool::Buffer;
use burn::backend::Flex;
use burn::tensor::{Tensor, TensorData};
use burn_flex::FlexTensor;

pub use crate::kernels::adamw::AdamW;

/// The state of AdamW for a parameter: flat means of its gradient and of the squared gradient, and the moving average
/// of the parameter, if there is one.
#[derive(Debug)]
pub struct State {
    /// The mean gradient.
    pub mean: Tensor<1>,
    /// The mean squared gradient.
    pub square: Tensor<1>,
    /// The average of the parameter, and its decay in this step.
    pub average: Option<(Tensor<1>, f64)>,
}

/// Takes a step with a flat gradient; gives the parameter and its state. State without another owner is written in
/// place.
///
/// # Panics
/// If lengths differ.
pub fn adamw<const D: usize>(
    step: &AdamW,
    gradient: Tensor<1>,
    parameter: Tensor<D>,
    state: State,
) -> (Tensor<D>, State) {
    if is_ours(&parameter) && is_ours(&gradient) {
        on_flex(step, gradient, parameter, state)
    } else {
        by_tensors(step, gradient, parameter, state)
    }
}

fn on_flex<const D: usize>(
    step: &AdamW,
    gradient: Tensor<1>,
    parameter: Tensor<D>,
    state: State,
) -> (Tensor<D>, State) {
    let gradient = Array::new(flex(gradient));
    let parameter = flex(parameter);
    let (mut mean, mut square) = (own(flex(state.mean)), own(flex(state.square)));
    let mut average = state.average.map(|(average, decay)| (own(flex(average)), decay));
    let g = gradient.values();
    let means = [mean.storage_mut::<f32>(), square.storage_mut::<f32>()];
    let averaged = average.as_mut().map(|(average, decay)| (average.storage_mut::<f32>(), *decay));
    let parameter = match whole(&parameter) {
        true => {
            let mut parameter = parameter;
            step.update(g, None, parameter.storage_mut::<f32>(), means, averaged);
            parameter
        }
        false => {
            let before = Array::new(parameter);
            let mut parameter = Buffer::new(before.values().len());
            step.update(g, Some(before.values()), &mut parameter, means, averaged);
            parameter.into_tensor(before.all_sizes())
        }
    };
    let average = average.map(|(average, decay)| (Tensor::from_primitive::<Flex>(average), decay));
    let state = State {
        mean: Tensor::from_primitive::<Flex>(mean),
        square: Tensor::from_primitive::<Flex>(square),
        average,
    };
    (Tensor::from_primitive::<Flex>(parameter), state)
}

fn flex<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    match tensor.try_into_primitive::<Flex>() {
        Ok(tensor) => tensor,
        Err(error) => unreachable!("parameters and state are outside any graph: {error:?}"),
    }
}

/// Whether a tensor is the whole of a buffer without another owner.
fn whole(tensor: &FlexTensor) -> bool {
    let layout = tensor.layout();
    let all = layout.is_contiguous() && layout.start_offset() == 0;
    tensor.is_unique() && all && tensor.storage::<f32>().len() == layout.num_elements()
}

/// The tensor itself if it is the whole of a buffer without another owner, else a copy.
fn own(tensor: FlexTensor) -> FlexTensor {
    if whole(&tensor) {
        return tensor;
    }
    let array = Array::new(tensor);
    Buffer::copy(array.values()).into_tensor(array.all_sizes())
}

fn by_tensors<const D: usize>(
    step: &AdamW,
    gradient: Tensor<1>,
    parameter: Tensor<D>,
    state: State,
) -> (Tensor<D>, State) {
    let k = step.step as i32;
    let gradient = gradient.mul_scalar(step.factor);
    let blend = |old: Tensor<1>, new: Tensor<1>, decay: f64| {
        old.mul_scalar(decay) + new.mul_scalar(1.0 - decay)
    };
    let mean = blend(state.mean, gradient.clone(), step.beta_1);
    let square = blend(state.square, gradient.square(), step.beta_2);
    let root = square.clone().div_scalar(1.0 - step.beta_2.powi(k)).sqrt();
    let rate = step.rate / (1.0 - step.beta_1.powi(k));
    let change = (mean.clone() / root.add_scalar(step.epsilon)).mul_scalar(rate);
    let shape = parameter.dims();
    let decayed = parameter.mul_scalar(1.0 - step.rate * step.weight_decay);
    let parameter = decayed - change.reshape(shape);
    let average = state.average.map(|(average, decay)| {
        let len = parameter.shape().num_elements();
        (blend(average, parameter.clone().reshape([len]), decay), decay)
    });
    (parameter, State { mean, square, average })
}

/// Σ x² in double precision, in an order that depends on the length alone.
pub fn square_sum(x: &Tensor<1>) -> f64 {
    if is_ours(x) {
        return adamw::square_sum(Array::new(flex(x.clone())).values());
    }
    read_square_sum(&x.to_data())
}

/// [`square_sum`] of values read from a device. A device's own sum of a whole tensor is in single precision, by one of
/// its threads where it has no atomic additions, and has been wrong with one driver of Vulkan.
pub(crate) fn read_square_sum(data: &TensorData) -> f64 {
    match data.as_slice::<f32>() {
        Ok(values) => adamw::square_sum(values),
        Err(_) => data.iter::<f64>().map(|x| x * x).sum(),
    }
}
