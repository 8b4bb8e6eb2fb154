//! Where the noise of a path comes from.

use crate::Draws;
use crate::data::Rows;

/// A source of standard normal noise, addressed by step and global row.
///
/// [`Draws`] is one; another may replay given noise, or refine that of a coarser grid, as
/// [`BrownianTree`](super::BrownianTree) does.
pub trait Noise: Send + Sync {
    /// The noise of step `step` for the global rows listed, in their order: one row of `width` values for each.
    fn normals(&self, step: u64, rows: &[u64], width: usize) -> Rows;

    /// The increments of a Wiener path over `spans`, each divided by √|to − from|, so that they are standard normal:
    /// one row of `width` values for each of the global rows listed. `spans` holds one (from, to) for all rows or one
    /// for each.
    ///
    /// Noise without a time of its own gives that of the step.
    fn increments(&self, step: u64, spans: &[(f64, f64)], rows: &[u64], width: usize) -> Rows {
        let _ = spans;
        self.normals(step, rows, width)
    }

    /// The draws that the noise comes from, for steps that need random numbers of other kinds; none where it is given.
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
