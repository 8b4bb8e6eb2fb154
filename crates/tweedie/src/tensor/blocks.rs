//! Rows of a batch computed in blocks, by all threads.

use crate::Result;
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;
use std::ops::Range;

/// The result of `work` for rows 0 to `n`, `[n, ·]`, where rows do not depend on each other: on the CPU in blocks of
/// `least` to `most` rows that run side by side, elsewhere at once. After an error the rows run at once, so that what
/// it says is of the whole batch.
///
/// # Errors
/// Those of `work`.
pub(crate) fn in_blocks(
    n: usize,
    [least, most]: [usize; 2],
    device: &Device,
    work: impl Fn(Range<usize>) -> Result<Tensor<2>> + Sync,
) -> Result<Tensor<2>> {
    let threads = rayon::current_num_threads();
    let block = n.div_ceil(threads).clamp(least, most);
    if threads == 1 || n <= block || !tweedie_ops::is_cpu(device) {
        return work(0..n);
    }
    let blocks = (0..n.div_ceil(block)).into_par_iter();
    let parts = blocks.map(|k| work(k * block..n.min((k + 1) * block)));
    match parts.collect::<Result<Vec<Tensor<2>>>>() {
        Ok(parts) => Ok(Tensor::cat(parts, 0)),
        Err(_) => work(0..n),
    }
}
