//! Targets in closed form, with their integrals and, where known, exact samples.

mod banana;
mod funnel;

pub use banana::Banana;
pub use funnel::Funnel;

use crate::data::Condition;
use crate::{Error, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::ops::Range;

/// Rows of `width` values in single precision; `row` appends the values of one row.
fn rows(
    rows: Range<u64>,
    width: usize,
    condition: &Condition,
    device: &Device,
    mut row: impl FnMut(u64, &mut Vec<f32>),
) -> Result<Tensor<2>> {
    let n = rows.end.saturating_sub(rows.start) as usize;
    condition.check(n)?;
    if !matches!(condition, Condition::None) {
        return Err(Error::shape("condition", condition.kind(), "none"));
    }
    let mut values = Vec::with_capacity(n * width);
    rows.for_each(|i| row(i, &mut values));
    Ok(Tensor::from_data(TensorData::new(values, [n, width]), (device, DType::F32)))
}
