//! Rows as ends of chains.

use super::ChainStart;
use super::chains::{Walk, start};
use crate::data::{Condition, Generate, Rows};
use crate::nn::energy::{EnergyDensity, Moments};
use crate::{Draws, Error, Result};
use burn::tensor::{Device, Tensor};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of values of the rows generated at once.
const AT_ONCE: usize = 1 << 18;

/// A generator whose row i is the end of a chain of its own.
pub(super) struct ChainEnds<'a> {
    pub density: EnergyDensity,
    pub walk: Walk,
    pub start: ChainStart,
    /// The buffer; empty without persistent chains.
    pub buffer: &'a Rows,
    pub base: &'a Moments,
    pub evaluations: AtomicU64,
}

impl ChainEnds<'_> {
    /// The rows that chains start from.
    fn starts(&self, rows: &[u64], draws: &Draws, device: &Device) -> Result<Tensor<2>> {
        let draws = draws.purpose("start");
        if self.start == ChainStart::Base || self.buffer.is_empty() {
            return start(self.density.energy(), self.base, rows, &draws, device);
        }
        let all = self.buffer.len() as u64;
        let place = |row: &u64| draws.below(*row, 0, all) as usize;
        Ok(self.buffer.select(&rows.iter().map(place).collect::<Vec<_>>()).to_tensor(device))
    }
}

impl Generate for ChainEnds<'_> {
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        let rows: Vec<u64> = rows.collect();
        condition.check(rows.len())?;
        if !matches!(condition, Condition::None) {
            return Err(Error::shape("condition", condition.kind(), "none"));
        }
        let x = self.starts(&rows, draws, device)?;
        let steps = rows.len() as u64 * self.walk.steps as u64;
        self.evaluations.fetch_add(steps, Ordering::Relaxed);
        Ok(self.walk.on(&self.density, x, rows, &draws.purpose("walk"), 0)?.0)
    }

    fn name(&self) -> String {
        format!("{} steps of {}", self.walk.steps, self.walk.kernel.name())
    }

    fn network_evaluations(&self) -> u64 {
        self.evaluations.load(Ordering::Relaxed)
    }

    fn rows_at_once(&self) -> u64 {
        (AT_ONCE / self.base.mean.len().max(1)).clamp(64, 4096) as u64
    }
}
