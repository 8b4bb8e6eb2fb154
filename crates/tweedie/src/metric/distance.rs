//! Squared Euclidean distances ‖xᵢ − yⱼ‖² and inner products ⟨xᵢ, yⱼ⟩ between the rows of two batches.
//!
//! Each is the sum over coordinates, in their order, of squared differences or of products in double precision: nothing
//! cancels, as it would in ‖x‖² + ‖y‖² − 2⟨x, y⟩, and a distance depends neither on the rest of the batch nor on the
//! processor. [`ROWS`] × [`LANES`] distances are computed at once, with y packed so that [`LANES`] of its rows lie side
//! by side, in the widest vector registers of the processor.

use crate::data::Rows;
use rayon::prelude::*;
use std::ops::Range;

/// Rows of y side by side.
const LANES: usize = 8;

/// Rows of x at once.
const ROWS: usize = 4;

/// Rows of x in one parallel task.
const TILE: usize = 16;

/// The quantity of a pair of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pairs {
    /// ‖x − y‖².
    SquaredDistances,
    /// ⟨x, y⟩.
    Products,
}

/// Calls `fold(i, distances)` for every row i of `x`, `distances[j]` being the squared distance from it to row j of
/// `y`, and returns the results in the order of the rows. At most [`TILE`] rows of distances per thread exist at a
/// time.
pub(super) fn fold_rows<R: Send>(
    x: &Rows,
    y: &Rows,
    fold: impl Fn(usize, &[f64]) -> R + Sync,
) -> Vec<R> {
    fold_pairs(Pairs::SquaredDistances, x, y, fold)
}

/// The results as by [`fold_rows`], for distances or products.
pub(super) fn fold_pairs<R: Send>(
    pairs: Pairs,
    x: &Rows,
    y: &Rows,
    fold: impl Fn(usize, &[f64]) -> R + Sync,
) -> Vec<R> {
    let packed = Panels::new(y);
    let arch = pulp::Arch::new();
    let tile = |first: usize| {
        let rows = first..x.len().min(first + TILE);
        let distances = arch.dispatch(Tile { pairs, x, rows: rows.clone(), y: &packed });
        let folded =
            rows.enumerate().map(|(r, i)| fold(i, &distances[r * packed.stride()..][..y.len()]));
        folded.collect::<Vec<R>>()
    };
    let tiles: Vec<Vec<R>> =
        (0..x.len().div_ceil(TILE)).into_par_iter().map(|t| tile(t * TILE)).collect();
    tiles.into_iter().flatten().collect()
}

/// The rows of y in panels of [`LANES`]: panel, then coordinate, then row.
struct Panels {
    panels: Vec<[f64; LANES]>,
    width: usize,
}

impl Panels {
    fn new(y: &Rows) -> Self {
        let width = y.width();
        let mut panels = vec![[0.0; LANES]; y.len().div_ceil(LANES) * width];
        for (j, row) in y.iter().enumerate() {
            let panel = &mut panels[j / LANES * width..][..width];
            for (lanes, &value) in panel.iter_mut().zip(row) {
                lanes[j % LANES] = f64::from(value);
            }
        }
        Self { panels, width }
    }

    /// The number of rows of y, rounded up to whole panels.
    fn stride(&self) -> usize {
        self.panels.len() / self.width * LANES
    }
}

/// A parallel task: the distances or products from some rows of x to all of y.
struct Tile<'a> {
    pairs: Pairs,
    x: &'a Rows,
    rows: Range<usize>,
    y: &'a Panels,
}

impl pulp::NullaryFnOnce for Tile<'_> {
    /// The rows of distances one after the other, each [`Packed::stride`] long.
    type Output = Vec<f64>;

    // Inlined down to the innermost loop, so that the compiler uses wide registers.
    #[inline(always)]
    fn call(self) -> Vec<f64> {
        let stride = self.y.stride();
        let starts = self.rows.clone().step_by(ROWS);
        let groups: Vec<Vec<[f64; ROWS]>> = starts.map(|i| interleave(self.x, i)).collect();
        let mut distances = vec![0.0; groups.len() * ROWS * stride];
        for (p, panel) in self.y.panels.chunks_exact(self.y.width).enumerate() {
            for (g, group) in groups.iter().enumerate() {
                let found = match self.pairs {
                    Pairs::SquaredDistances => block(group, panel, |x, y| (x - y) * (x - y)),
                    Pairs::Products => block(group, panel, |x, y| x * y),
                };
                for (r, found) in found.into_iter().enumerate() {
                    distances[(g * ROWS + r) * stride + p * LANES..][..LANES]
                        .copy_from_slice(&found);
                }
            }
        }
        distances
    }
}

/// Rows `first..first + ROWS` of `x` side by side; past the end, the last row is repeated.
fn interleave(x: &Rows, first: usize) -> Vec<[f64; ROWS]> {
    let row = |r: usize| x.row((first + r).min(x.len() - 1));
    (0..x.width()).map(|k| std::array::from_fn(|r| f64::from(row(r)[k]))).collect()
}

/// The sums of `term` over coordinates, between [`ROWS`] rows and [`LANES`] rows.
#[inline(always)]
fn block(
    x: &[[f64; ROWS]],
    y: &[[f64; LANES]],
    term: impl Fn(f64, f64) -> f64,
) -> [[f64; LANES]; ROWS] {
    let mut sums = [[0.0; LANES]; ROWS];
    for (x, y) in x.iter().zip(y) {
        for (sums, x) in sums.iter_mut().zip(x) {
            for (sum, y) in sums.iter_mut().zip(y) {
                *sum += term(*x, *y);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Draws;

    #[test]
    fn blocked_distances_equal_naive_ones_bit_for_bit() {
        for (n, m, width) in [(1, 1, 1), (5, 9, 3), (17, 33, 7), (40, 4, 2)] {
            let x = Draws::new(1).purpose("x").normals(0..n, width);
            let y = Draws::new(1).purpose("y").normals(0..m, width);
            let found = fold_rows(&x, &y, |i, row| (i, row.to_vec()));
            assert_eq!(found.len(), x.len());
            for (i, (index, row)) in found.into_iter().enumerate() {
                let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
                let naive = y.iter().map(|y| x.row(i).iter().zip(y).map(square).sum::<f64>());
                assert_eq!((index, row), (i, naive.collect::<Vec<f64>>()));
            }
            let found = fold_pairs(Pairs::Products, &x, &y, |_, row| row.to_vec());
            for (x, row) in x.iter().zip(found) {
                let product = |(a, b): (&f32, &f32)| f64::from(*a) * f64::from(*b);
                let naive = y.iter().map(|y| x.iter().zip(y).map(product).sum::<f64>());
                assert_eq!(row, naive.collect::<Vec<f64>>());
            }
        }
    }

    #[test]
    fn an_empty_batch_has_no_distances() -> crate::Result<()> {
        let none = Rows::new(Vec::new(), 2)?;
        let one = Rows::new(vec![1.0, 2.0], 2)?;
        assert!(fold_rows(&none, &one, |_, row| row.len()).is_empty());
        assert_eq!(fold_rows(&one, &none, |_, row| row.len()), [0]);
        Ok(())
    }
}
