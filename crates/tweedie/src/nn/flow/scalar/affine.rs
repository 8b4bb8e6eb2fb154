//! Affine maps, and shifts.
//!
//! > z = (x − t) e^(−s),  log ∂z/∂x = −s
//!
//! (Dinh, Sohl-Dickstein & Bengio 2017, *Density estimation using Real NVP*, eqs. 7–8; Papamakarios, Pavlakou & Murray
//! 2017, *Masked autoregressive flow*, eqs. 2–5). |s| is bounded by [`MOST_LOG_SCALE`], approached as by tanh: a layer
//! stretches by a bounded factor, so that round trips keep their digits. With s = 0 the map is a shift (Dinh, Krueger
//! & Bengio 2015, *NICE*, eq. 15). The parameters of a row are the shifts of all columns, then their s.

use super::{ScalarMap, bounded};
use crate::tensor::Dual;
use serde::{Deserialize, Serialize};
use tweedie_ops::Direction;

/// The bound on |s|.
const MOST_LOG_SCALE: f64 = 3.0;

/// A scale and a shift; see the module's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Affine {}

/// t and s of each value.
fn shift_and_log_scale(parameters: Dual<2>, columns: usize) -> (Dual<2>, Dual<2>) {
    let half = |from| parameters.clone().linear(|both| both.narrow(1, from, columns));
    (half(0), bounded(half(columns), MOST_LOG_SCALE))
}

/// The values and the sum of the logarithms of their slopes by one operation, where there is one.
fn fused(x: &Dual<2>, parameters: &Dual<2>, direction: Direction) -> Option<(Dual<2>, Dual<2>)> {
    if x.tangent.is_some() || parameters.tangent.is_some() {
        return None;
    }
    let (x, parameters, m) = (x.value.clone(), parameters.value.clone(), x.dims()[1]);
    let all = tweedie_ops::affine(x, parameters, MOST_LOG_SCALE, direction)?;
    Some((all.clone().narrow(1, 0, m).into(), all.narrow(1, m, 1).into()))
}

impl ScalarMap for Affine {
    fn parameters(&self) -> usize {
        2
    }

    fn column(&self, index: usize, columns: usize) -> usize {
        index % columns
    }

    fn to_noise(&self, x: Dual<2>, parameters: Dual<2>) -> (Dual<2>, Dual<2>) {
        if let Some(found) = fused(&x, &parameters, Direction::ToNoise) {
            return found;
        }
        let (shift, log_scale) = shift_and_log_scale(parameters, x.dims()[1]);
        let log_shrink = -log_scale;
        ((x - shift) * log_shrink.clone().exp(), log_shrink.sum_dim(1))
    }

    fn to_data(&self, z: Dual<2>, parameters: Dual<2>) -> (Dual<2>, Dual<2>) {
        if let Some(found) = fused(&z, &parameters, Direction::ToData) {
            return found;
        }
        let (shift, log_scale) = shift_and_log_scale(parameters, z.dims()[1]);
        (z * log_scale.clone().exp() + shift, log_scale.sum_dim(1))
    }
}

/// A shift: z = x − t, with determinant one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shift {}

/// A log-determinant of zero for each row.
fn zeros(x: &Dual<2>) -> Dual<2> {
    x.value.clone().detach().narrow(1, 0, 1).zeros_like().into()
}

impl ScalarMap for Shift {
    fn parameters(&self) -> usize {
        1
    }

    fn to_noise(&self, x: Dual<2>, parameters: Dual<2>) -> (Dual<2>, Dual<2>) {
        let zeros = zeros(&x);
        (x - parameters, zeros)
    }

    fn to_data(&self, z: Dual<2>, parameters: Dual<2>) -> (Dual<2>, Dual<2>) {
        let zeros = zeros(&z);
        (z + parameters, zeros)
    }
}
