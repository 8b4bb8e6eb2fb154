//! The gap of dequantisation as an objective: the loss in log p of a dequantiser under a fixed density.
//!
//! A row's loss is log q(u | v) − log p(v + u) with one u ~ q(· | v), whose expectation bounds −log P(v) (Ho et al.
//! 2019, *Flow++*, eq. 9) and exceeds it by KL(q ‖ p(u | v)); gradients reach q through u.

use super::{Loss, Objective};
use crate::data::{Batch, Condition};
use crate::density::Dequantiser;
use crate::{Draws, Result};
use burn::tensor::Tensor;

/// A differentiable fixed density, or one random estimate of it or of a bound: (x in model units, condition, draws) ↦
/// log p, `[n, 1]`.
pub type LogDensity<'a> =
    &'a (dyn Fn(Tensor<2>, &Condition, &Draws) -> Result<Tensor<2>> + Send + Sync);

/// The objective log q − log p, in nats and model units; a batch holds the centres of bins.
pub struct Dequantisation<'a> {
    /// The fixed density.
    pub log_p: LogDensity<'a>,
}

impl Objective<Dequantiser> for Dequantisation<'_> {
    fn loss(&self, model: &Dequantiser, batch: &Batch, draws: &Draws) -> Result<Loss> {
        let rows: Vec<u64> = (0..batch.x.dims()[0] as u64).collect();
        let drawn = model.draw(&batch.x, &draws.purpose("dequantise"), &rows)?;
        let log_p = (self.log_p)(drawn.x, &batch.condition, draws)?;
        Ok((drawn.log_q.clone() - log_p.cast(drawn.log_q.dtype())).into())
    }
}
