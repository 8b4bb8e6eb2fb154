//! Chains of training, and where rows begin.

use super::objective::Step;
use crate::data::Rows;
use crate::mcmc::AnyKernel;
use crate::nn::energy::{AnyEnergy, Energy, EnergyDensity, Moments};
use crate::tensor::detached;
use crate::{Draws, Error, Result};
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};

/// The half side of the box, in model units, that chains do not leave.
const BOX: f64 = 1e5;

/// Some steps of chains on an energy.
pub(super) struct Walk {
    pub kernel: AnyKernel,
    pub steps: usize,
    pub temperature: f64,
}

impl Walk {
    /// The rows after the steps from the rows `x`, `[n, width]`, and the mean acceptance. `number` is the step of
    /// training, for errors.
    pub fn run(
        &self,
        energy: &AnyEnergy,
        x: Tensor<2>,
        draws: &Draws,
        number: u64,
    ) -> Result<(Tensor<2>, f64)> {
        let density = EnergyDensity::new(energy.clone()).with_temperature(self.temperature);
        let rows: Vec<u64> = (0..x.dims()[0] as u64).collect();
        self.on(&density, detached(x), rows, &draws.purpose("walk"), number)
    }

    /// As [`Walk::run`], with the random numbers of `rows`.
    pub fn on(
        &self,
        density: &EnergyDensity,
        x: Tensor<2>,
        rows: Vec<u64>,
        draws: &Draws,
        number: u64,
    ) -> Result<(Tensor<2>, f64)> {
        let chains = self.kernel.init(x, density).map_err(|error| match error {
            Error::Config { key, problem, .. } if key == "start" => {
                let what = format!("the energy is not finite where a chain starts ({problem})");
                Error::Diverged { what, step: number }
            }
            other => other,
        })?;
        let (mut chains, mut acceptance) = (chains.with_rows(rows)?, 0.0);
        for _ in 0..self.steps {
            let (next, info) =
                self.kernel.step(chains, density, draws).map_err(|error| match error {
                    Error::Diverged { what, .. } => Error::Diverged { what, step: number },
                    other => other,
                })?;
            acceptance += info.acceptance() / self.steps as f64;
            chains = next;
            inside(chains.values(), chains.width(), number)?;
        }
        Ok((chains.x(), acceptance))
    }

    /// Moves chains of the buffer on, as many as the batch has rows, of which the share `restarts` begin anew; they
    /// return to their places.
    pub fn go_on(&self, at: &mut Step, restarts: f64) -> Result<(Tensor<2>, f64)> {
        let (n, device) = (at.x.dims()[0], at.x.device());
        let mut chosen = at.draws.purpose("chosen").permutation(at.buffer.len());
        chosen.truncate(n);
        let mut rows = at.buffer.select(&chosen);
        let coins = at.draws.purpose("restart");
        let anew: Vec<u64> =
            (0..n as u64).filter(|i| coins.uniform_f64(*i, 0) < restarts).collect();
        if !anew.is_empty() {
            let fresh = start(at.energy, at.base, &anew, &at.draws.purpose("anew"), &device)?;
            put(&mut rows, anew.iter().map(|i| *i as usize), &Rows::from_tensor(&fresh)?);
        }
        let (ends, acceptance) =
            self.run(at.energy, rows.to_tensor(&device), &at.draws, at.number)?;
        put(at.buffer, chosen.into_iter(), &Rows::from_tensor(&ends)?);
        Ok((ends, acceptance))
    }
}

/// Writes rows at the places `at` of `into`.
fn put(into: &mut Rows, at: impl Iterator<Item = usize>, rows: &Rows) {
    let width = rows.width();
    for (place, row) in at.zip(rows.iter()) {
        into.values_mut()[place * width..(place + 1) * width].copy_from_slice(row);
    }
}

/// Fails, naming the share of chains, if some have left the box.
fn inside(x: &[f64], width: usize, step: u64) -> Result<()> {
    let all = x.len() / width;
    let out = x.chunks(width).filter(|x| x.iter().any(|v| v.is_nan() || v.abs() > BOX)).count();
    if out == 0 {
        return Ok(());
    }
    let share = 100.0 * out as f64 / all as f64;
    let what = format!(
        "{out} of {all} chains ({share:.1} %) left the box of ±{BOX} model units (a kernel with a Metropolis test, a \
         smaller step or `energy.quadratic` keeps them)"
    );
    Err(Error::Diverged { what, step })
}

/// Rows of independent columns with the moments `base`, `[rows, width]` in model units.
pub(super) fn start(
    energy: &AnyEnergy,
    base: &Moments,
    rows: &[u64],
    draws: &Draws,
    device: &Device,
) -> Result<Tensor<2>> {
    let width = energy.width();
    if energy.has_blocks() {
        let zeros = Tensor::zeros([rows.len(), width], (device, DType::F32));
        return energy.valid().heated(0.0, base)?.sweep(zeros, rows, draws);
    }
    let columns = || base.mean.iter().zip(&base.variance);
    let row = |i: &u64| {
        let (i, own) = (*i, columns().zip(0u64..));
        let value =
            move |((m, v), j): ((&f64, &f64), u64)| (m + v.sqrt() * draws.normal_f64(i, j)) as f32;
        own.map(value).collect::<Vec<f32>>()
    };
    let values: Vec<f32> = rows.iter().flat_map(row).collect();
    Ok(Tensor::from_data(TensorData::new(values, [rows.len(), width]), (device, DType::F32)))
}
