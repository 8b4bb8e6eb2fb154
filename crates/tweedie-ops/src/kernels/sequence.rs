//! Linear layers of rows that lie side by side.
//!
//! Rows are in blocks of `width` rows, and a block holds a vector of `width` numbers for each input, `[inputs, width]`:
//! an input that comes later lies behind the others, and a unit is a weighted sum of vectors.

use super::activation::{Activation, Curve, with_curve};
use super::{elements, vectorized};
use pulp::Simd;

/// The most rows of a block.
const ROWS: usize = 64;
/// The vectors of a tile.
const VECTORS: usize = 4;

/// The number of rows of a block, of `rows` rows in all: whole vectors on every machine.
pub fn width(rows: usize) -> usize {
    rows.clamp(1, ROWS).next_multiple_of(16)
}

/// Some units of a linear layer, whose first inputs are known.
#[derive(Debug, Clone, Copy)]
pub struct Units<'a> {
    /// `[out, inputs]`.
    pub weight: &'a [f32],
    pub inputs: usize,
    /// The numbers of the units.
    pub units: &'a [usize],
    /// The number of known inputs.
    pub known: usize,
}

impl<'a> Units<'a> {
    /// Adds W x to y, `[units, width]`, of a block of known inputs x, `[known, width]`.
    pub fn add(self, width: usize, x: &[f32], y: &mut [f32]) {
        assert!(width > 0 && width.is_multiple_of(16), "a block has whole vectors");
        assert!(self.known <= self.inputs, "more is known than there is");
        assert_eq!(x.len(), elements([self.known, width]));
        assert_eq!(y.len(), elements([self.units.len(), width]));
        sums(self, width, x, y);
    }

    /// The weights of a unit by the known inputs.
    fn row(self, unit: usize) -> &'a [f32] {
        &self.weight[unit * self.inputs..][..self.known]
    }
}

/// Adds to U units of y, `[U, width]`, the sums of V vectors of x, `[known, width]`, from `at` on.
#[inline(always)]
fn tile<S: Simd, const U: usize, const V: usize>(
    simd: S,
    rows: [&[f32]; U],
    (width, at): (usize, usize),
    x: &[f32],
    y: &mut [f32],
) {
    let len = V * S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); V]; U];
    for (sums, y) in sums.iter_mut().zip(y.chunks_exact(width)) {
        sums.copy_from_slice(S::as_simd_f32s(&y[at..][..len]).0);
    }
    for (i, x) in x.chunks_exact(width).enumerate() {
        let (x, _) = S::as_simd_f32s(&x[at..][..len]);
        let Some(x) = x.first_chunk::<V>() else { return };
        for u in 0..U {
            let weight = simd.splat_f32s(rows[u][i]);
            for v in 0..V {
                sums[u][v] = simd.mul_add_e_f32s(weight, x[v], sums[u][v]);
            }
        }
    }
    for (sums, y) in sums.iter().zip(y.chunks_exact_mut(width)) {
        S::as_mut_simd_f32s(&mut y[at..][..len]).0.copy_from_slice(sums);
    }
}

/// Adds to some units their sums, by tiles of U units.
#[inline(always)]
fn tiles<S: Simd, const U: usize>(simd: S, of: Units, width: usize, x: &[f32], y: &mut [f32]) {
    let rows: [&[f32]; U] = std::array::from_fn(|u| of.row(of.units[u]));
    let (mut at, lanes) = (0, S::F32_LANES);
    while at + VECTORS * lanes <= width {
        tile::<S, U, VECTORS>(simd, rows, (width, at), x, y);
        at += VECTORS * lanes;
    }
    while at < width {
        tile::<S, U, 1>(simd, rows, (width, at), x, y);
        at += lanes;
    }
}

vectorized! {
    fn sums<'a>(simd: S, of: Units<'a>, width: usize, x: &'a [f32], y: &'a mut [f32]) -> () {
        let (mut units, mut y) = (of.units, y);
        while !units.is_empty() {
            let count = [4, 2, 1].into_iter().find(|count| *count <= units.len()).unwrap_or(1);
            let (these, rest) = units.split_at(count);
            let (part, behind) = y.split_at_mut(count * width);
            let of = Units { units: these, ..of };
            match count {
                4 => tiles::<S, 4>(simd, of, width, x, part),
                2 => tiles::<S, 2>(simd, of, width, x, part),
                _ => tiles::<S, 1>(simd, of, width, x, part),
            }
            (units, y) = (rest, behind);
        }
    }
}

vectorized! {
    fn values<'a, C: Curve>(simd: S, curve: C, y: &'a mut [f32]) -> () {
        for y in S::as_mut_simd_f32s(y).0 {
            *y = curve.value(simd, *y);
        }
    }
}

/// Applies an activation in place to whole vectors.
pub fn activate(activation: Activation, y: &mut [f32]) {
    assert!(y.len().is_multiple_of(16), "these are whole vectors");
    if activation != Activation::None {
        with_curve!(activation, |curve| values(curve, y));
    }
}
