//! Named arrays of doubles in a state.

use crate::train::State;
use crate::{Error, Result};
use burn::tensor::{DType, TensorData};
use std::path::Path;

/// Adds an array of doubles, unless it is empty.
pub(super) fn put_doubles(
    into: &mut State,
    name: impl Into<String>,
    values: Vec<f64>,
    shape: Vec<usize>,
) {
    if !values.is_empty() {
        into.insert(name.into(), TensorData::new(values, shape));
    }
}

/// Removes an array of finite floats; returns it with its shape.
pub(super) fn take_doubles(
    from: &mut State,
    name: &str,
    origin: &Path,
) -> Result<(Vec<usize>, Vec<f64>)> {
    let fault = |problem: String| Error::file(origin, name, problem, "an array of finite doubles");
    let data = from.remove(name).ok_or_else(|| fault("missing".into()))?;
    let (dtype, shape) = (data.dtype(), data.shape().to_vec());
    if !matches!(dtype, DType::F32 | DType::F64) {
        return Err(fault(format!("{dtype:?}")));
    }
    match data.convert_dtype(DType::F64).try_into_vec::<f64>() {
        Ok(values) if values.iter().all(|v| v.is_finite()) => Ok((shape, values)),
        _ => Err(fault("values that are not finite".into())),
    }
}

/// Removes an array of doubles with the shape `shape`.
pub(super) fn take_shaped(
    from: &mut State,
    name: &str,
    expected: &[usize],
    origin: &Path,
) -> Result<Vec<f64>> {
    let (shape, values) = take_doubles(from, name, origin)?;
    if shape == expected {
        return Ok(values);
    }
    Err(Error::file(origin, name, format!("shape {shape:?}"), format!("{expected:?}")))
}

/// Fails, naming the first, if arrays are left in a state.
pub(super) fn none_left(from: &State, origin: &Path) -> Result<()> {
    match from.keys().next() {
        None => Ok(()),
        Some(name) => Err(Error::file(origin, name, "unknown", "only what this family saves")),
    }
}
