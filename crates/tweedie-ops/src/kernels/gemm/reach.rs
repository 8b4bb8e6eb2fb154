//! Matrices whose columns have nothing but zeros beyond some row, each its own: masked weights.

use super::Source;
use std::ops::Range;

/// Rows of zeros that a product multiplies rather than begin a new run of rows.
const GAP: usize = 16;

/// Where the elements of a matrix count as zero, whatever they are.
#[derive(Debug, Clone, Copy)]
pub enum Reach<'a> {
    /// In column c from row `reach[c]` on.
    Columns(&'a [usize]),
    /// In row k from column `reach[k]` on.
    Rows(&'a [usize]),
}

impl Reach<'_> {
    /// Panics unless it is of a matrix of these sizes.
    pub(super) fn check(&self, depth: usize, columns: usize) {
        let (reach, [len, most]) = match self {
            Self::Columns(reach) => (reach, [columns, depth]),
            Self::Rows(reach) => (reach, [depth, columns]),
        };
        let fits = reach.len() == len && reach.iter().all(|end| *end <= most);
        assert!(fits, "a reach has another length, or ends outside its matrix");
    }

    /// The rows of a panel of columns that have other elements than zeros, and few that have not.
    pub(super) fn rows(&self, columns: Range<usize>) -> Vec<Range<usize>> {
        match self {
            Self::Columns(reach) => {
                let end = reach[columns].iter().copied().max().unwrap_or(0);
                std::iter::once(0..end).filter(|run| !run.is_empty()).collect()
            }
            Self::Rows(reach) => {
                let mut runs: Vec<Range<usize>> = Vec::new();
                for (row, _) in reach.iter().enumerate().filter(|(_, end)| **end > columns.start) {
                    match runs.last_mut() {
                        Some(run) if row - run.end < GAP => run.end = row + 1,
                        _ => runs.push(row..row + 1),
                    }
                }
                runs
            }
        }
    }

    /// Packs a panel's rows, one run after the other.
    pub(super) fn pack(
        &self,
        source: &Source,
        from: &[f32],
        runs: &[Range<usize>],
        (first, width): (usize, usize),
        mut panel: &mut [f32],
    ) {
        let [outer, inner, (_, stride)] = source.depth;
        assert!(outer.0 == 1 && inner.0 == 1, "a masked matrix is one run deep");
        for run in runs {
            let origin = source.origin + run.start as isize * stride;
            let depth = [outer, inner, (run.len(), stride)];
            let (rows, rest) = panel.split_at_mut(run.len() * width);
            Source { origin, depth, ..*source }.pack(from, first, width, rows);
            self.clear(run.clone(), first, width, rows);
            panel = rest;
        }
    }

    /// Puts zeros where the elements of a run of packed rows count as zero.
    fn clear(&self, run: Range<usize>, first: usize, width: usize, rows: &mut [f32]) {
        match self {
            Self::Columns(reach) => {
                for (column, end) in reach.iter().skip(first).take(width).enumerate() {
                    let from = end.saturating_sub(run.start).min(run.len());
                    for row in rows.chunks_exact_mut(width).skip(from) {
                        row[column] = 0.0;
                    }
                }
            }
            Self::Rows(reach) => {
                for (row, end) in rows.chunks_exact_mut(width).zip(&reach[run]) {
                    row[end.saturating_sub(first).min(width)..].fill(0.0);
                }
            }
        }
    }
}
