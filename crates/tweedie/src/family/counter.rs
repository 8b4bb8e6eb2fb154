//! A generator that counts its rows.

use crate::data::{Condition, Generate};
use crate::{Draws, Result};
use burn::tensor::{Device, Tensor};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// A generator with one network evaluation a row, which counts its rows.
pub(super) struct RowCounter<'a> {
    of: &'a dyn Generate,
    rows_at_once: u64,
    rows: AtomicU64,
}

impl<'a> RowCounter<'a> {
    /// The generator `of` before its first row, with the number of rows that it generates at once.
    pub fn new(of: &'a dyn Generate, rows_at_once: u64) -> Self {
        Self { of, rows_at_once, rows: AtomicU64::new(0) }
    }
}

impl Generate for RowCounter<'_> {
    fn generate(
        &self,
        rows: Range<u64>,
        condition: &Condition,
        draws: &Draws,
        device: &Device,
    ) -> Result<Tensor<2>> {
        self.rows.fetch_add(rows.end.saturating_sub(rows.start), Ordering::Relaxed);
        self.of.generate(rows, condition, draws, device)
    }

    fn name(&self) -> String {
        self.of.name()
    }

    fn network_evaluations(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    fn rows_at_once(&self) -> u64 {
        self.rows_at_once
    }
}
