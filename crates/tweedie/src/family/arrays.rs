//! Arrays of doubles and counters in a state of single precision: each number as the four digits of its bits in base 2¹⁶,
//! which single precision holds exactly.

use crate::train::State;
use crate::{Error, Result};
use burn::tensor::{DType, TensorData};
use std::collections::BTreeMap;
use std::path::Path;

/// Named arrays of any type.
pub(super) type Arrays = BTreeMap<String, TensorData>;

/// How the names of doubles and of counters begin in a state.
const DOUBLES: &str = "f64:";
const COUNTS: &str = "u64:";

/// Adds an array of doubles; one without values is left out.
pub(super) fn put_doubles(
    into: &mut Arrays,
    name: impl Into<String>,
    values: Vec<f64>,
    shape: Vec<usize>,
) {
    if !values.is_empty() {
        into.insert(name.into(), TensorData::new(values, shape));
    }
}

/// Adds a counter.
pub(super) fn put_count(into: &mut Arrays, name: impl Into<String>, count: u64) {
    into.insert(name.into(), TensorData::new(vec![count], [1]));
}

/// Removes an array of floats, with its shape.
pub(super) fn take_doubles(
    from: &mut Arrays,
    name: &str,
    origin: &Path,
) -> Result<(Vec<usize>, Vec<f64>)> {
    let found = from.remove(name);
    let data = found.ok_or_else(|| Error::file(origin, name, "missing", "an array of doubles"))?;
    let (dtype, shape) = (data.dtype(), data.shape().to_vec());
    let floats = matches!(dtype, DType::F32 | DType::F64);
    match data.convert_dtype(DType::F64).try_into_vec::<f64>() {
        Ok(values) if floats => Ok((shape, values)),
        _ => Err(Error::file(origin, name, format!("{dtype:?}"), "an array of doubles")),
    }
}

/// Removes an array of doubles of this shape.
pub(super) fn take_shaped(
    from: &mut Arrays,
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

/// Removes a counter.
pub(super) fn take_count(from: &mut Arrays, name: &str, origin: &Path) -> Result<u64> {
    let found = from.remove(name);
    let data = found.ok_or_else(|| Error::file(origin, name, "missing", "a counter"))?;
    match data.try_into_vec::<u64>() {
        Ok(values) if values.len() == 1 => Ok(values[0]),
        _ => Err(Error::file(origin, name, "another array", "a counter")),
    }
}

/// Fails, naming the first, if arrays are left.
pub(super) fn none_left(from: &Arrays, origin: &Path) -> Result<()> {
    match from.keys().next() {
        None => Ok(()),
        Some(name) => Err(Error::file(origin, name, "unknown", "only what this family saves")),
    }
}

/// The arrays as a state.
pub(super) fn into_state(arrays: Arrays) -> State {
    let mut state = State::new();
    for (name, data) in arrays {
        let shape = data.shape().to_vec();
        let (kind, bits) = match data.dtype() {
            DType::F64 => (DOUBLES, data.try_into_vec::<f64>().ok().map(all(f64::to_bits))),
            DType::U64 => (COUNTS, data.try_into_vec::<u64>().ok().map(all(|count| count))),
            _ => {
                let values = data.convert_dtype(DType::F32).try_into_vec().unwrap_or_default();
                state.insert(name, (shape, values));
                continue;
            }
        };
        let values = bits.unwrap_or_default().into_iter().flat_map(digits).collect();
        state.insert(format!("{kind}{name}"), ([shape, vec![4]].concat(), values));
    }
    state
}

/// The arrays of a state that [`into_state`] has written.
pub(super) fn from_state(state: &State, origin: &Path) -> Result<Arrays> {
    let mut arrays = Arrays::new();
    for (name, (shape, values)) in state {
        let read = |name: &str| {
            let numbers: Option<Vec<u64>> = values.chunks(4).map(number).collect();
            let whole = shape.split_last().filter(|(last, _)| **last == 4).zip(numbers);
            let whole = whole.map(|((_, shape), numbers)| (shape.to_vec(), numbers));
            whole.ok_or_else(|| Error::file(origin, name, "other values", "digits of base 65536"))
        };
        if let Some(name) = name.strip_prefix(DOUBLES) {
            let (shape, bits) = read(name)?;
            let values = all(f64::from_bits)(bits);
            arrays.insert(name.into(), TensorData::new(values, shape));
        } else if let Some(name) = name.strip_prefix(COUNTS) {
            let (shape, counts) = read(name)?;
            arrays.insert(name.into(), TensorData::new(counts, shape));
        } else {
            arrays.insert(name.clone(), TensorData::new(values.clone(), shape.clone()));
        }
    }
    Ok(arrays)
}

/// The function on all values of an array.
fn all<A, B>(of: impl Fn(A) -> B) -> impl Fn(Vec<A>) -> Vec<B> {
    move |values| values.into_iter().map(&of).collect()
}

fn digits(bits: u64) -> [f32; 4] {
    [0, 16, 32, 48].map(|place| ((bits >> place) & 0xffff) as f32)
}

fn number(digits: &[f32]) -> Option<u64> {
    let digit = |(place, digit): (usize, &f32)| {
        let whole = *digit as u64;
        (whole < 1 << 16 && whole as f32 == *digit).then_some(whole << (16 * place))
    };
    let sum = digits.iter().enumerate().map(digit).sum::<Option<u64>>();
    sum.filter(|_| digits.len() == 4)
}
