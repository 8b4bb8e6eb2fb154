//! Sums over all states of a few binary units.

use crate::Result;
use burn::tensor::{DType, Device, Tensor, TensorData};

/// The most units whose states are enumerated.
pub(super) const MOST_UNITS: usize = 20;
/// The number of states at once.
const AT_ONCE: usize = 1 << 12;

/// The states numbered `from..to` of `units` binary units, `[to − from, units]` in double precision; unit j has bit j.
pub(super) fn states(units: usize, from: usize, to: usize, device: &Device) -> Tensor<2> {
    let bit = |state: usize, j: usize| f64::from(u8::from(state >> j & 1 == 1));
    let values: Vec<f64> = (from..to).flat_map(|s| (0..units).map(move |j| bit(s, j))).collect();
    Tensor::from_data(TensorData::new(values, [to - from, units]), (device, DType::F64))
}

/// ln Σ_s exp f(s) over all states s of `units` units, `[1, 1]`; f maps `[m, units]` to `[m, 1]` in double precision.
pub(super) fn log_sum(
    units: usize,
    device: &Device,
    f: impl Fn(Tensor<2>) -> Result<Tensor<2>>,
) -> Result<Tensor<2>> {
    let all = 1usize << units;
    let part = |from: usize| {
        let to = (from + AT_ONCE).min(all);
        Ok(log_sum_exp(f(states(units, from, to, device))?.swap_dims(0, 1)))
    };
    let parts = (0..all).step_by(AT_ONCE).map(part).collect::<Result<Vec<_>>>()?;
    Ok(log_sum_exp(Tensor::cat(parts, 1)))
}

/// ln Σ exp over the columns of each row, `[n, 1]`.
pub(super) fn log_sum_exp(x: Tensor<2>) -> Tensor<2> {
    let most = x.clone().detach().max_dim(1);
    (x - most.clone()).exp().sum_dim(1).log() + most
}
