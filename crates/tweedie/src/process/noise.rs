//! Sources of noise for paths.

use crate::Draws;
use crate::data::Rows;

/// A source of standard normal noise, addressed by step and global row.
///
/// [`Draws`] is one source. Others replay given noise, or refine the noise of a coarser grid, as
/// [`BrownianTree`](super::BrownianTree) does.
pub trait Noise: Send + Sync {
    /// The noise of step `step` for the given global rows, in their order: one row of `width` values each.
    fn normals(&self, step: u64, rows: &[u64], width: usize) -> Rows;

    /// The increments of a Wiener path over `spans`, each divided by √|to − from|, so that they are standard normal:
    /// one row of `width` values for each of the given global rows. `spans` has one (from, to) for all rows, or one per
    /// row.
    ///
    /// Sources without a time axis return the noise of the step.
    fn increments(&self, step: u64, spans: &[(f64, f64)], rows: &[u64], width: usize) -> Rows {
        let _ = spans;
        self.normals(step, rows, width)
    }

    /// The draws behind the noise, for steps that need other random numbers; `None` for given noise.
    fn draws(&self) -> Option<&Draws> {
        None
    }
}

impl Noise for Draws {
    fn normals(&self, step: u64, rows: &[u64], width: usize) -> Rows {
        self.at(step).normals_for(rows, width)
    }

    fn draws(&self) -> Option<&Draws> {
        Some(self)
    }
}
