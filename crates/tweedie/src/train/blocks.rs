//! Gradients of a batch in blocks of rows that run side by side.
//!
//! Where rows are short, most operations of a training step are too small for several threads. A batch of many rows is
//! therefore cut into equal blocks, each with a graph of its own, and the blocks' gradients are added in their order.
//! The cut depends on the number of rows alone, so results do not depend on the threads.

use super::{AdamW, Gradients};
use crate::Result;
use crate::data::Batch;
use crate::nn::flow::Take;
use burn::module::Module;
use rayon::prelude::*;

/// The least number of rows of a block of several.
const ROWS: usize = 256;

/// A block of a batch.
#[derive(Debug, Clone)]
pub struct Block {
    /// Its rows.
    pub batch: Batch,
    /// Its share of the rows of the batch, above 0 and at most 1.
    pub share: f64,
    /// Its number, from 0.
    pub number: u64,
}

/// The gradients of a module's parameters, added over the blocks of a batch, and the results of `work` for each block
/// in turn. `work` computes gradients of the module that it is given, which has the same parameters, and hands them
/// over.
///
/// ```
/// use tweedie::burn::tensor::{Device, Tensor};
/// use tweedie::data::{Batch, Condition};
/// use tweedie::nn::LinearConfig;
/// use tweedie::train::gradients_in_blocks;
/// use tweedie::Draws;
/// let device = Device::flex();
/// let linear = LinearConfig::new(2, 1).init(&Draws::new(0), &device);
/// let batch = Batch { x: Tensor::ones([512, 2], &device).autodiff(), condition: Condition::None };
/// let (gradients, rows) = gradients_in_blocks(&linear, batch, |linear, block, take| {
///     let rows = block.batch.x.dims()[0];
///     let mean = linear.forward(block.batch.x.into()).value.mean();
///     take(&mean.backward(), block.share);
///     Ok(rows)
/// })?;
/// assert_eq!(rows, [256, 256]);
/// assert_eq!(gradients["bias"].clone().into_scalar::<f32>(), 1.0);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// Those of `work`, of the first block that has one.
pub fn gradients_in_blocks<M: Module + Sync, T: Send>(
    module: &M,
    batch: Batch,
    work: impl Fn(&M, Block, Take) -> Result<T> + Sync,
) -> Result<(Gradients, Vec<T>)> {
    let [rows, _] = batch.x.dims();
    let count = (rows / ROWS).max(1);
    let one = |k: usize| -> Result<(Gradients, T)> {
        let range = k * rows / count..(k + 1) * rows / count;
        // A graph of its own, from leaves of its own.
        let module = module.valid().train();
        let batch = match count {
            1 => batch.clone(),
            _ => Batch {
                x: batch.x.clone().narrow(0, range.start, range.len()),
                condition: batch.condition.slice(range.clone()),
            },
        };
        let share = if count == 1 { 1.0 } else { range.len() as f64 / rows as f64 };
        let mut sum = Gradients::new();
        let mut take = |backward: &burn::tensor::Gradients, factor: f64| {
            let mut part = AdamW::gradients(&module, backward);
            if factor != 1.0 {
                part.values_mut().for_each(|g| *g = g.clone().mul_scalar(factor));
            }
            AdamW::accumulate(&mut sum, part);
        };
        let found = work(&module, Block { batch, share, number: k as u64 }, &mut take)?;
        Ok((sum, found))
    };
    let blocks: Vec<Result<(Gradients, T)>> = match count {
        1 => vec![one(0)],
        _ => (0..count).into_par_iter().map(one).collect(),
    };
    let (mut sum, mut results) = (Gradients::new(), Vec::with_capacity(count));
    for block in blocks {
        let (gradients, result) = block?;
        AdamW::accumulate(&mut sum, gradients);
        results.push(result);
    }
    Ok((sum, results))
}
