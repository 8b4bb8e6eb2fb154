//! Tensors of a batch: duals with their derivatives, integration in time, columns, and reading values back to the host.

mod adaptive;
mod blocks;
mod derivative;
mod dual;
mod normal;
mod runge_kutta;

pub use adaptive::{Tolerance, integrate_adaptive};
pub(crate) use blocks::in_blocks;
pub use derivative::{Divergence, Probe, Probes, divergence, gradient, hessian_vector, jvp, vjp};
pub(crate) use derivative::{leaf, pull};
pub use dual::Dual;
pub(crate) use normal::{below_normal, log_below_normal};
pub(crate) use runge_kutta::{Stage, integrate_dual, runge_kutta};

use crate::{Error, Result};
use burn::tensor::{DType, Int, Tensor, TensorData};

/// A `[len, 1]` column on the device and in the type of `like`.
pub(crate) fn column(like: &Tensor<2>, values: impl Iterator<Item = f64>) -> Tensor<2> {
    let values: Vec<f64> = values.collect();
    let rows = values.len();
    // Converted on the host: not every device has doubles.
    let data = TensorData::new(values, [rows, 1]).convert_dtype(like.dtype());
    Tensor::from_data(data, (&like.device(), like.dtype()))
}

/// The numbers of a tensor on the host, in its own type.
pub(crate) fn host_data<const D: usize>(tensor: Tensor<D>) -> Result<TensorData> {
    let fault = |e| Error::Device { device: "tensor".into(), why: format!("{e:?}") };
    tensor.try_into_data().map_err(fault)
}

/// The values of a `[n, 1]` column on the host.
pub(crate) fn host_column(column: &Tensor<2>) -> Result<Vec<f64>> {
    let data = host_data(column.clone())?.convert_dtype(DType::F64);
    let fault = |e| Error::Device { device: "tensor".into(), why: format!("{e:?}") };
    data.try_into_vec::<f64>().map_err(fault)
}

/// The rows of a batch with the given indices.
pub(crate) fn select_rows(x: &Tensor<2>, rows: &[usize]) -> Tensor<2> {
    let indices: Vec<i64> = rows.iter().map(|&i| i as i64).collect();
    let data = TensorData::new(indices, [rows.len()]);
    x.clone().select(0, Tensor::<1, Int>::from_data(data, (&x.device(), DType::I64)))
}

/// A hash of each row's values, which addresses its random numbers: equal rows have equal numbers in every batch.
pub(crate) fn addresses(x: &Tensor<2>) -> Result<Vec<u64>> {
    let [_, d] = x.dims();
    let values = host_column(&x.clone().reshape([-1, 1]))?;
    let mix = |hash: u64, v: &f64| (hash.rotate_left(23) ^ v.to_bits()).wrapping_mul(FNV_PRIME);
    Ok(values.chunks(d).map(|row| row.iter().fold(0, mix)).collect())
}

/// The multiplier of the 64-bit Fowler–Noll–Vo hash.
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// The tensor detached from its graph.
pub(crate) fn detached<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.is_autodiff() { x.inner() } else { x }
}

/// The mean of a sample and its standard error (0 for fewer than two values).
pub fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    if values.is_empty() {
        return (f64::NAN, f64::NAN);
    }
    let mean = values.iter().sum::<f64>() / n;
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// The median of a sample, the mean of the two middle values of an even number; NaN without values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n => 0.5 * (values[(n - 1) / 2] + values[n / 2]),
    }
}
