//! Squared Euclidean distances ‖xᵢ − yⱼ‖² and inner products ⟨xᵢ, yⱼ⟩ between the rows of two batches.
//!
//! Each is the sum over coordinates, in their order, of squared differences or of products in double precision, each
//! added by one fused multiply-add: nothing cancels, as it would in ‖x‖² + ‖y‖² − 2⟨x, y⟩, and a distance depends
//! neither on the rest of the batch nor on the processor. 4 or 8 × [`LANES`] distances are computed at once, with y
//! packed so that [`LANES`] of its rows lie side by side, in the widest vector registers of the processor.

use crate::data::Rows;
use pulp::Simd;
use rayon::prelude::*;
use std::ops::Range;

/// Rows of y side by side.
const LANES: usize = 8;

/// Rows of x side by side.
const ROWS: usize = 8;

/// The number of rows of x in one parallel task, each of which reads all of y from memory.
const TILE: usize = 32;

/// The number of coordinates in a block: [`LANES`] rows of y of this width fit into the L1 cache.
const DEPTH: usize = 192;

/// The quantity of a pair of rows.
#[derive(Clone, Copy)]
pub(super) enum Pairs<'a> {
    /// ‖x − y‖².
    SquaredDistances,
    /// ⟨x, y⟩.
    Products,
    /// Any function of two rows.
    Function(&'a (dyn Fn(&[f32], &[f32]) -> f64 + Sync)),
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

/// The results as by [`fold_rows`], for any quantity of pairs.
pub(super) fn fold_pairs<R: Send>(
    pairs: Pairs,
    x: &Rows,
    y: &Rows,
    fold: impl Fn(usize, &[f64]) -> R + Sync,
) -> Vec<R> {
    let squared = match pairs {
        Pairs::SquaredDistances => true,
        Pairs::Products => false,
        Pairs::Function(of) => {
            let row = |i: usize| y.iter().map(|y| of(x.row(i), y)).collect::<Vec<f64>>();
            return (0..x.len()).into_par_iter().map(|i| fold(i, &row(i))).collect();
        }
    };
    let packed = Panels::new(y);
    let arch = pulp::Arch::new();
    let tile = |first: usize| {
        let rows = first..x.len().min(first + TILE);
        let distances = arch.dispatch(Tile { squared, x, rows: rows.clone(), y: &packed });
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
        panels.par_chunks_exact_mut(width).enumerate().for_each(|(p, panel)| {
            for (lane, j) in (p * LANES..y.len().min((p + 1) * LANES)).enumerate() {
                for (lanes, &value) in panel.iter_mut().zip(y.row(j)) {
                    lanes[lane] = f64::from(value);
                }
            }
        });
        Self { panels, width }
    }

    /// The number of rows of y, rounded up to whole panels.
    fn stride(&self) -> usize {
        self.panels.len() / self.width * LANES
    }
}

/// A parallel task: the distances or products from some rows of x to all of y.
struct Tile<'a> {
    /// Whether the distances are computed, and not the products.
    squared: bool,
    x: &'a Rows,
    rows: Range<usize>,
    y: &'a Panels,
}

impl pulp::WithSimd for Tile<'_> {
    /// The rows of distances one after the other, each [`Panels::stride`] long.
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f64> {
        match S::F64_LANES {
            8 => self.by_blocks::<S, 8, 1>(simd),
            4 => self.by_blocks::<S, 4, 2>(simd),
            2 => self.by_blocks::<S, 4, 4>(simd),
            _ => self.by_blocks::<S, 1, LANES>(simd),
        }
    }
}

impl Tile<'_> {
    /// Computes the distances by blocks of `R` rows of x and [`LANES`] rows of y in `V` registers.
    #[inline(always)]
    fn by_blocks<S: Simd, const R: usize, const V: usize>(self, simd: S) -> Vec<f64> {
        let stride = self.y.stride();
        let starts = self.rows.clone().step_by(ROWS);
        let groups: Vec<Vec<[f64; ROWS]>> = starts.map(|i| interleave(self.x, i)).collect();
        let mut distances = vec![0.0; groups.len() * ROWS * stride];
        for (p, panel) in self.y.panels.chunks_exact(self.y.width).enumerate() {
            for (from, panel) in (0..).step_by(DEPTH).zip(panel.chunks(DEPTH)) {
                for (g, group) in groups.iter().enumerate() {
                    let group = &group[from..][..panel.len()];
                    for first in (0..ROWS).step_by(R) {
                        let row = |r| (g * ROWS + first + r) * stride + p * LANES;
                        let mut sums = std::array::from_fn(|r| {
                            let (sums, _) = S::as_simd_f64s(&distances[row(r)..][..LANES]);
                            std::array::from_fn(|v| sums[v])
                        });
                        match self.squared {
                            true => add::<S, R, V, true>(simd, group, first, panel, &mut sums),
                            false => add::<S, R, V, false>(simd, group, first, panel, &mut sums),
                        }
                        for (r, sums) in sums.iter().enumerate() {
                            let to = &mut distances[row(r)..][..LANES];
                            S::as_mut_simd_f64s(to).0.copy_from_slice(sums);
                        }
                    }
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

/// Adds the squared differences of coordinates, or their products, between rows `first..first + R` of `x` and the
/// [`LANES`] rows of `y`, in `V` registers a row.
#[inline(always)]
fn add<S: Simd, const R: usize, const V: usize, const SQUARED: bool>(
    simd: S,
    x: &[[f64; ROWS]],
    first: usize,
    y: &[[f64; LANES]],
    sums: &mut [[S::f64s; V]; R],
) {
    let mut found = *sums;
    for (x, y) in x.iter().zip(y) {
        let (y, _) = S::as_simd_f64s(y);
        for r in 0..R {
            let x = simd.splat_f64s(x[first + r]);
            for v in 0..V {
                let (a, b) = if SQUARED {
                    let difference = simd.sub_f64s(x, y[v]);
                    (difference, difference)
                } else {
                    (x, y[v])
                };
                found[r][v] = simd.mul_add_f64s(a, b, found[r][v]);
            }
        }
    }
    *sums = found;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Draws;

    #[test]
    fn blocked_distances_equal_naive_ones_bit_for_bit() {
        for (n, m, width) in [(1, 1, 1), (5, 9, 3), (17, 33, 7), (40, 4, 2), (9, 3, DEPTH + 8)] {
            let x = Draws::new(1).purpose("x").normals(0..n, width);
            let y = Draws::new(1).purpose("y").normals(0..m, width);
            let found = fold_rows(&x, &y, |i, row| (i, row.to_vec()));
            assert_eq!(found.len(), x.len());
            for (i, (index, row)) in found.into_iter().enumerate() {
                let add = |sum: f64, (a, b): (&f32, &f32)| {
                    let difference = f64::from(*a) - f64::from(*b);
                    difference.mul_add(difference, sum)
                };
                let naive = y.iter().map(|y| x.row(i).iter().zip(y).fold(0.0, add));
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
    fn distances_do_not_depend_on_the_width_of_registers() {
        let x = Draws::new(1).purpose("x").normals(0..11, 5);
        let y = Draws::new(1).purpose("y").normals(0..19, 5);
        let y = Panels::new(&y);
        for squared in [true, false] {
            let tile = || Tile { squared, x: &x, rows: 0..11, y: &y };
            let narrow = pulp::Scalar::new().vectorize(tile());
            assert_eq!(pulp::Arch::new().dispatch(tile()), narrow);
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
