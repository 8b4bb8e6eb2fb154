//! Modules in double precision, moved along a direction of all their parameters.

use crate::support::{difference, host};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Gradients, Tensor, TensorData};
use tweedie::Draws;

/// A direction of parameter number `k`.
fn direction<const D: usize>(k: u64, like: &Tensor<D>) -> Tensor<D> {
    let draws = Draws::new(5).purpose("direction").at(k);
    let len = like.shape().num_elements() as u64;
    let values: Vec<f64> = (0..len).map(|i| draws.normal_f64(0, i)).collect();
    let data = TensorData::new(values, like.dims());
    Tensor::from_data(data, (&like.device().inner(), DType::F64))
}

/// Adds `step` times the direction to every parameter that is trained, in double precision.
struct Move {
    step: f64,
    count: u64,
    trained: bool,
}

impl ModuleMapper for Move {
    fn enter_module(&mut self, _: &str, container: &str) {
        // A UNet's random frequencies stay.
        self.trained &= !container.ends_with("Frequencies");
    }
    fn exit_module(&mut self, _: &str, container: &str) {
        self.trained |= container.ends_with("Frequencies");
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let plain = tensor.inner().cast(DType::F64);
        let step = if self.trained { self.step } else { 0.0 };
        let way = direction(self.count, &plain).mul_scalar(step);
        self.count += 1;
        Param::from_mapped_value(id, plain + way, mapper)
    }
}

/// The module in double precision and outside any graph, `step` along the direction.
pub fn moved<M: Module>(module: &M, step: f64) -> M {
    module.clone().map(&mut Move { step, count: 0, trained: true })
}

/// The derivative along the direction by the parameters' gradients.
struct Along<'a> {
    gradients: &'a Gradients,
    sum: f64,
    count: u64,
}

impl ModuleVisitor for Along<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        if let Some(gradient) = value.grad(self.gradients) {
            let along = gradient * direction(self.count, &value);
            self.sum += host(&along).iter().sum::<f64>();
        }
        self.count += 1;
    }
}

/// The gradient of the parameter at a path.
struct At<'a> {
    gradients: &'a Gradients,
    names: Vec<String>,
    path: &'a str,
    found: Vec<f64>,
}

impl ModuleVisitor for At<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.names.push(name.into());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.names.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.names.join(".") == self.path {
            self.found = param.val().grad(self.gradients).map_or(Vec::new(), |own| host(&own));
        }
    }
}

/// The gradient of the parameter of a module at a path; empty without one.
pub fn gradient_at<M: Module>(tracked: &M, gradients: &Gradients, path: &str) -> Vec<f64> {
    let mut at = At { gradients, names: Vec::new(), path, found: Vec::new() };
    tracked.visit(&mut at);
    at.found
}

/// Σ of a surrogate's gradient times the direction, for a surrogate of the module in double precision; and the
/// difference of a value by moving along it.
pub fn along_parameters<M: Module>(
    module: &M,
    surrogate: impl Fn(&M) -> Tensor<1>,
    value: impl Fn(&M) -> f64,
) -> (f64, f64) {
    let tracked = moved(module, 0.0).train();
    let along = slope(&tracked, &surrogate(&tracked).backward());
    (along, difference(|h| value(&moved(module, h)), 0.0, 1e-3))
}

/// Σ of the gradients of a module's parameters times the direction.
pub fn slope<M: Module>(tracked: &M, gradients: &Gradients) -> f64 {
    let mut along = Along { gradients, sum: 0.0, count: 0 };
    tracked.visit(&mut along);
    along.sum
}
