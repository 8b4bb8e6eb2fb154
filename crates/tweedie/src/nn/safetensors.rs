//! Named arrays on the host, and the safetensors files that hold them.
//!
//! A file has sorted keys and no metadata, so that equal arrays are equal files. Its numbers are little-endian.

use crate::files::write_atomically;
use crate::{Error, Result};
use burn::tensor::{DType, TensorData};
use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorView};
use std::collections::BTreeMap;
use std::path::Path;

#[cfg(target_endian = "big")]
compile_error!("arrays go to files as they lie in memory, which must be little-endian");

/// Named arrays of any type: a module's parameters by path, or the whole state of a learner.
pub type State = BTreeMap<String, TensorData>;

/// A module's parameters by path.
pub type Params = State;

/// The types of arrays, by their names in files and in tensors.
const TYPES: [(Dtype, DType); 12] = [
    (Dtype::F64, DType::F64),
    (Dtype::F32, DType::F32),
    (Dtype::F16, DType::F16),
    (Dtype::BF16, DType::BF16),
    (Dtype::I64, DType::I64),
    (Dtype::I32, DType::I32),
    (Dtype::I16, DType::I16),
    (Dtype::I8, DType::I8),
    (Dtype::U64, DType::U64),
    (Dtype::U32, DType::U32),
    (Dtype::U16, DType::U16),
    (Dtype::U8, DType::U8),
];

/// The bytes of a safetensors file with these arrays.
///
/// # Errors
/// [`Error::Config`] naming an array of a type that the format lacks.
pub fn safetensors_bytes(state: &State) -> Result<Vec<u8>> {
    let fault = |name: &str, problem: String| Error::config(name, problem, "numbers");
    let view = |(name, data)| -> Result<(String, TensorView)> {
        let (name, data): (&String, &TensorData) = (name, data);
        let kind = TYPES.iter().find(|(_, kind)| *kind == data.dtype());
        let (kind, _) = kind.ok_or_else(|| fault(name, format!("type {:?}", data.dtype())))?;
        let view = TensorView::new(*kind, data.shape().to_vec(), data.bytes());
        Ok((name.clone(), view.map_err(|e| fault(name, e.to_string()))?))
    };
    let views = state.iter().map(view).collect::<Result<Vec<_>>>()?;
    safetensors::serialize(views, None).map_err(|e| fault("arrays", e.to_string()))
}

/// Writes arrays to a safetensors file, atomically.
///
/// # Errors
/// As [`safetensors_bytes`]; [`Error::Io`] if the file cannot be written.
pub fn save_safetensors(state: &State, path: &Path) -> Result<()> {
    write_atomically(path, &safetensors_bytes(state)?)
}

/// Whether a floating-point number of an array is NaN or infinite.
pub(crate) fn not_finite(data: &TensorData) -> bool {
    match data.as_slice::<f32>() {
        Ok(values) => values.iter().any(|value| !value.is_finite()),
        Err(_) => data.dtype().is_float() && data.iter::<f64>().any(|value| !value.is_finite()),
    }
}

/// Reads the arrays of a safetensors file, each in its own type.
///
/// ```
/// use tweedie::burn::tensor::TensorData;
/// use tweedie::nn::{State, load_safetensors, save_safetensors};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("state.safetensors");
/// let state = State::from([("steps".to_string(), TensorData::new(vec![7u64], [1]))]);
/// save_safetensors(&state, &path)?;
/// assert_eq!(load_safetensors(&path)?, state);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::File`] if it is not a safetensors file, or holds a type other
/// than integers and floating-point numbers, or a value that is not finite.
pub fn load_safetensors(path: &Path) -> Result<State> {
    load_safetensors_of(path, |_| true)
}

/// Reads the arrays of a safetensors file whose names `wanted` accepts; the others may have any type.
pub(crate) fn load_safetensors_of(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<State> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let damaged = |e: SafeTensorError| {
        Error::file(path, "header", e.to_string(), "a complete safetensors file")
    };
    let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
    let mut state = State::new();
    for (name, view) in file.tensors().into_iter().filter(|(name, _)| wanted(name)) {
        let Some((_, kind)) = TYPES.iter().find(|(kind, _)| *kind == view.dtype()) else {
            let problem = format!("type {:?}", view.dtype());
            return Err(Error::file(path, name, problem, "integers or floating-point numbers"));
        };
        let data = array(view.data().to_vec(), view.shape().to_vec(), *kind, (path, &name))?;
        state.insert(name, data);
    }
    Ok(state)
}

/// Reads an array from its bytes, which must be finite numbers; file and name are for errors.
pub(crate) fn array(
    bytes: Vec<u8>,
    shape: Vec<usize>,
    kind: DType,
    (path, name): (&Path, &str),
) -> Result<TensorData> {
    let fault = |e: String| Error::file(path, name, e, "as many numbers as its shape has");
    let data = TensorData::try_from_bytes_vec(bytes, shape, kind);
    let data = data.map_err(|e| fault(e.to_string()))?;
    if not_finite(&data) {
        return Err(Error::file(path, name, "holds NaN or infinity", "finite numbers"));
    }
    Ok(data)
}

/// Converts weights of any floating-point type to single precision.
pub(crate) fn singles(state: State, origin: &Path) -> Result<State> {
    let single = |(name, data): (String, TensorData)| {
        if !data.dtype().is_float() {
            let (found, expected) =
                (format!("type {:?}", data.dtype()), "type F32, F16, BF16 or F64");
            return Err(Error::file(origin, name, found, expected));
        }
        let data = data.convert_dtype(DType::F32);
        if not_finite(&data) {
            let expected = "numbers that single precision holds";
            return Err(Error::file(origin, name, "a number beyond single precision", expected));
        }
        Ok((name, data))
    };
    state.into_iter().map(single).collect()
}
