//! Parameters of a module by path: reading and replacing.
//!
//! Paths join field names and indices with dots (`blocks.0.linear_1.weight`), as PyTorch does.

use super::State;
use super::safetensors::not_finite;
use crate::tensor::{detached, host_data};
use crate::{Error, Result};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::collections::BTreeSet;
use std::path::Path;

/// Whether a container's fields have names in paths: the variants of an enum have none.
fn has_name(container: &str) -> bool {
    !container.starts_with("Enum:")
}

#[derive(Default)]
struct Visitor<F> {
    path: Vec<String>,
    f: F,
}

/// A callback that receives the path and the tensor of each parameter.
pub(crate) trait EachParam {
    fn each<const D: usize>(&mut self, path: &str, tensor: Tensor<D>);
}

impl<F: EachParam> ModuleVisitor for Visitor<F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        if has_name(container) {
            self.path.push(name.to_string());
        }
    }
    fn exit_module(&mut self, _name: &str, container: &str) {
        if has_name(container) {
            self.path.pop();
        }
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.f.each(&self.path.join("."), param.val());
    }
}

/// Calls `f` with every parameter in order.
pub(crate) fn each_param<M: Module, F: EachParam>(module: &M, f: F) -> F {
    let mut visitor = Visitor { path: Vec::new(), f };
    module.visit(&mut visitor);
    visitor.f
}

/// A map of parameters by path, from the detached value to the new one.
pub(crate) trait MapParam {
    fn map<const D: usize>(&mut self, path: &str, tensor: Tensor<D>) -> Tensor<D>;
}

struct Mapper<F> {
    path: Vec<String>,
    f: F,
}

impl<F: MapParam> ModuleMapper for Mapper<F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        if has_name(container) {
            self.path.push(name.to_string());
        }
    }
    fn exit_module(&mut self, _name: &str, container: &str) {
        if has_name(container) {
            self.path.pop();
        }
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let (autodiff, tracked) = (tensor.is_autodiff(), tensor.is_require_grad());
        let plain = if autodiff { tensor.inner() } else { tensor };
        let new = self.f.map(&self.path.join("."), plain);
        let new = if autodiff { Tensor::from_inner(new).set_require_grad(tracked) } else { new };
        Param::from_mapped_value(id, new, mapper)
    }
}

/// Replaces every parameter, in order.
pub(crate) fn map_each<M: Module, F: MapParam>(module: M, f: F) -> (M, F) {
    let mut mapper = Mapper { path: Vec::new(), f };
    let module = module.map(&mut mapper);
    (module, mapper.f)
}

struct Collect(Result<State>);

impl EachParam for Collect {
    fn each<const D: usize>(&mut self, path: &str, tensor: Tensor<D>) {
        if let Ok(state) = &mut self.0 {
            match host_data(detached(tensor)) {
                Ok(data) => drop(state.insert(path.to_string(), data)),
                Err(error) => self.0 = Err(error),
            }
        }
    }
}

/// The parameters of a module by path, copied to the host in their own type.
///
/// ```
/// use tweedie::burn::tensor::Device;
/// use tweedie::nn::{LinearConfig, collect_params};
/// let layer = LinearConfig::new(3, 2).init(&tweedie::Draws::new(0), &Device::flex());
/// let params = collect_params(&layer)?;
/// assert_eq!(params["weight"].shape().as_slice(), [2, 3]);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Device`] if a parameter cannot be read.
pub fn collect_params<M: Module>(module: &M) -> Result<State> {
    each_param(module, Collect(Ok(State::new()))).0
}

/// The type of a module's parameters; single precision without parameters.
pub fn dtype_of<M: Module>(module: &M) -> DType {
    struct First(Option<DType>);
    impl EachParam for First {
        fn each<const D: usize>(&mut self, _: &str, tensor: Tensor<D>) {
            self.0.get_or_insert(tensor.dtype());
        }
    }
    each_param(module, First(None)).0.unwrap_or(DType::F32)
}

/// The number of values in a module's parameters.
pub fn param_count<M: Module>(module: &M) -> usize {
    module.num_params()
}

/// An array as a tensor of the given sizes, type and device; the error describes the array's fault.
pub(crate) fn fitted<const D: usize>(
    data: &TensorData,
    sizes: [usize; D],
    (kind, device): (DType, &Device),
) -> std::result::Result<Tensor<D>, String> {
    if data.shape().as_slice() != sizes {
        return Err(format!("shape {:?}", data.shape().as_slice()));
    }
    if !data.dtype().is_float() {
        return Err(format!("type {:?}", data.dtype()));
    }
    let data = data.clone().try_cast(kind).map_err(|e| e.to_string())?;
    if not_finite(&data) {
        return Err(format!("a number that {kind:?} does not hold"));
    }
    Ok(Tensor::from_data(data, (device, kind)))
}

struct Replace<'a> {
    params: &'a State,
    seen: BTreeSet<String>,
    error: Option<(String, String, String)>,
}

impl MapParam for Replace<'_> {
    fn map<const D: usize>(&mut self, path: &str, tensor: Tensor<D>) -> Tensor<D> {
        self.seen.insert(path.to_string());
        let like = (tensor.dtype(), &tensor.device());
        let found = match self.params.get(path) {
            Some(data) => fitted(data, tensor.dims(), like),
            None => Err("missing".into()),
        };
        found.unwrap_or_else(|problem| {
            let expected = format!("shape {:?}", tensor.dims());
            self.error.get_or_insert((path.to_string(), problem, expected));
            tensor
        })
    }
}

/// Replaces the parameters of a module by `params`, which must have exactly the module's paths and shapes. Values are
/// converted to the types of the module's parameters.
///
/// `origin` is the name of their file in errors.
///
/// # Errors
/// [`Error::File`] naming the parameter that is missing, superfluous or of another shape.
pub fn map_params<M: Module>(module: M, params: &State, origin: &Path) -> Result<M> {
    let replace = Replace { params, seen: BTreeSet::new(), error: None };
    let (module, replace) = map_each(module, replace);
    if let Some((path, problem, expected)) = replace.error {
        return Err(Error::file(origin, path, problem, expected));
    }
    if let Some(extra) = params.keys().find(|k| !replace.seen.contains(*k)) {
        return Err(Error::file(
            origin,
            extra,
            "unknown parameter",
            "only the network's own parameters",
        ));
    }
    Ok(module)
}
