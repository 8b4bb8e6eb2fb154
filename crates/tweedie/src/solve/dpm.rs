//! DPM-Solver++ multistep.

use super::{Context, Solver, State};
use crate::Result;
use crate::process::{Level, Levels};
use serde::{Deserialize, Serialize};

/// DPM-Solver++(2M) (Lu et al. 2022b, algorithm 2): the exponential integrator of the data prediction, linear in
/// ℓ = λ/2 = ln(α/σ), extrapolated from the last two evaluations. Order 2 at one evaluation a step:
///
/// > x_s = (σ_s/σ_t) x_t − α_s (e^{−h} − 1) [(1 + 1/(2r)) x̂₀ − 1/(2r) x̂₀⁻], h = ℓ_s − ℓ_t, r = h⁻/h.
///
/// The first step is DDIM's, and so is one to noise-free data, where h is infinite.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DpmSolverPp2M {}

/// ℓ_b − ℓ_a, in DPM-Solver's half log-SNR.
fn half_step(a: &Level, b: &Level) -> f64 {
    0.5 * (b.lambda - a.lambda)
}

impl Solver for DpmSolverPp2M {
    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        let State { x, mut history, step } = state;
        let data = context.denoise(x.clone(), from)?;
        let blend = match history.pop() {
            None => data.clone(),
            Some((before, earlier)) => {
                // Extrapolation over an endless step means nothing.
                let h = Levels::pair(from, to, &x, |t, s| match half_step(t, s) {
                    h if h.is_finite() => h,
                    _ => 0.0,
                })?;
                let h_before = Levels::pair(&before, from, &x, half_step)?;
                let half_inverse_r = h / h_before.mul_scalar(2.0);
                data.clone() + (data.clone() - earlier) * half_inverse_r
            }
        };
        let of_x = Levels::pair(from, to, &x, |t, s| s.sigma / t.sigma)?;
        let of_data = Levels::pair(from, to, &x, |t, s| -s.alpha * (-half_step(t, s)).exp_m1())?;
        let x = x * of_x + blend * of_data;
        Ok(State { x, history: vec![(from.clone(), data)], step: step + 1 })
    }
}
