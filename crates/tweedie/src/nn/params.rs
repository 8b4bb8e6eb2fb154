//! A module's parameters by path: reading, replacing, saving and loading them.
//!
//! Paths join field names and indices with dots (`blocks.0.linear_1.weight`), as PyTorch does. Files are
//! safetensors with sorted keys and no metadata, so that equal weights are equal files.

use crate::files::write_atomically;
use crate::tensor::detached;
use crate::{Error, Result};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Whether what is inside a container has a name in paths: the variants of an enum have none.
fn has_name(container: &str) -> bool {
    !container.starts_with("Enum:")
}

#[derive(Default)]
struct Visitor<F> {
    path: Vec<String>,
    f: F,
}

/// Called with each parameter's path, shape and flattened value.
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

/// Replaces parameters by path; receives the untracked value and returns the new one.
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

/// Replaces every parameter in order.
pub(crate) fn map_each<M: Module, F: MapParam>(module: M, f: F) -> (M, F) {
    let mut mapper = Mapper { path: Vec::new(), f };
    let module = module.map(&mut mapper);
    (module, mapper.f)
}

/// Parameters by path, as host arrays with their shapes.
pub type Params = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

#[derive(Default)]
struct Collect(Params);

impl EachParam for Collect {
    fn each<const D: usize>(&mut self, path: &str, tensor: Tensor<D>) {
        let shape = tensor.dims().to_vec();
        let tensor = detached(tensor);
        let values = tensor.into_data().convert::<f32>().try_into_vec::<f32>().unwrap_or_default();
        self.0.insert(path.to_string(), (shape, values));
    }
}

/// All parameters of a module, copied to the host.
pub fn collect_params<M: Module>(module: &M) -> Params {
    each_param(module, Collect::default()).0
}

/// The type of a module's parameters; single precision if it has none.
pub fn dtype_of<M: Module>(module: &M) -> DType {
    struct First(Option<DType>);
    impl EachParam for First {
        fn each<const D: usize>(&mut self, _: &str, tensor: Tensor<D>) {
            self.0.get_or_insert(tensor.dtype());
        }
    }
    each_param(module, First(None)).0.unwrap_or(DType::F32)
}

/// How many numbers a module's parameters hold.
pub fn param_count<M: Module>(module: &M) -> usize {
    module.num_params()
}

struct Replace<'a> {
    params: &'a Params,
    seen: BTreeSet<String>,
    error: Option<(String, String, String)>,
}

impl MapParam for Replace<'_> {
    fn map<const D: usize>(&mut self, path: &str, tensor: Tensor<D>) -> Tensor<D> {
        let expected = format!("shape {:?}", tensor.dims());
        match self.params.get(path) {
            Some((shape, values)) if *shape == tensor.dims() => {
                self.seen.insert(path.to_string());
                let data = TensorData::new(values.clone(), shape.clone());
                Tensor::from_data(data, (&tensor.device(), DType::F32))
            }
            found => {
                let problem = found.map_or("missing".to_string(), |(s, _)| format!("shape {s:?}"));
                self.error.get_or_insert((path.to_string(), problem, expected));
                tensor
            }
        }
    }
}

/// The module with its parameters replaced by `params`, every one of which must be there and fit.
///
/// `origin` names where they come from, for errors.
///
/// # Errors
/// [`Error::File`] naming the parameter that is missing, superfluous or of another shape.
pub fn map_params<M: Module>(module: M, params: &Params, origin: &Path) -> Result<M> {
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

/// Parameters as the bytes of a safetensors file.
///
/// # Errors
/// [`Error::Config`] if a shape does not fit its values.
pub fn safetensors_bytes(params: &Params) -> Result<Vec<u8>> {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = params
        .iter()
        .map(|(name, (shape, values))| {
            (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, shape, raw)| Ok((*name, TensorView::new(Dtype::F32, (*shape).clone(), raw)?)))
        .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|e| Error::config("parameters", e.to_string(), "shapes that fit their values"))?;
    safetensors::serialize(views, None)
        .map_err(|e| Error::config("parameters", e.to_string(), "serialisable tensors"))
}

/// Writes parameters to a safetensors file, atomically.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
pub fn save_safetensors(params: &Params, path: &Path) -> Result<()> {
    write_atomically(path, &safetensors_bytes(params)?)
}

/// Whether a value is NaN or infinite.
pub(crate) fn not_finite(values: &[f32]) -> bool {
    values.iter().any(|value| !value.is_finite())
}

/// Reads the floating-point tensors of a safetensors file, as single precision.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is not a safetensors file, or holds another type
/// or a value that is not finite.
pub fn load_safetensors(path: &Path) -> Result<Params> {
    load_safetensors_of(path, |_| true)
}

/// Reads the tensors of a safetensors file whose names are wanted; others may be of any type.
pub(crate) fn load_safetensors_of(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Params> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|e| Error::file(path, "header", e.to_string(), "a complete safetensors file"))?;
    let mut params = Params::new();
    for (name, view) in file.tensors().into_iter().filter(|(name, _)| wanted(name)) {
        let kind = match view.dtype() {
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            other => {
                let expected = "type F32, F16, BF16 or F64";
                return Err(Error::file(path, name, format!("type {other:?}"), expected));
            }
        };
        let values = singles(view.data(), kind);
        if not_finite(&values) {
            return Err(Error::file(path, name, "holds NaN or infinity", "finite numbers"));
        }
        params.insert(name, (view.shape().to_vec(), values));
    }
    Ok(params)
}

/// Little-endian floating-point numbers in single precision; whole numbers only, none of other types.
pub(crate) fn singles(bytes: &[u8], kind: DType) -> Vec<f32> {
    let two = |b: &[u8]| [b[0], b[1]];
    match kind {
        DType::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes(two(b)).to_f32()).collect(),
        DType::BF16 => {
            bytes.chunks_exact(2).map(|b| bf16::from_le_bytes(two(b)).to_f32()).collect()
        }
        DType::F32 => {
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
        DType::F64 => {
            let eight = |b: &[u8]| std::array::from_fn(|i| b[i]);
            bytes.chunks_exact(8).map(|b| f64::from_le_bytes(eight(b)) as f32).collect()
        }
        _ => Vec::new(),
    }
}
