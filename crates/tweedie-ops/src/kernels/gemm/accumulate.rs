//! Sums of outer products.

use super::{WIDE, hidden_zero, load, store};
use pulp::Simd;

/// One side of a sum of outer products: for each row its first element, and how many elements it has.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Where all rows are.
    pub x: &'a [f32],
    /// From one row of a segment to the next.
    pub stride: usize,
    /// How many elements of a row.
    pub len: usize,
}

/// Consecutive rows: the offsets of the first row on either side, and how many.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// The offset of the first row of u.
    pub u: usize,
    /// The offset of the first row of v.
    pub v: usize,
    /// How many rows.
    pub rows: usize,
}

/// sum += Σ over rows of uᵀ v, `[u.len, v.len]`.
///
/// # Panics
/// If a row lies outside its slice.
pub fn accumulate(u: Side, v: Side, segments: &[Segment], sum: &mut [f32]) {
    struct Run<'a>(Side<'a>, Side<'a>, &'a [Segment], &'a mut [f32]);
    impl pulp::WithSimd for Run<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Run(u, v, segments, sum) = self;
            if S::REGISTER_COUNT >= 32 {
                accumulate_by::<S, 12>(simd, u, v, segments, sum);
            } else {
                accumulate_by::<S, 6>(simd, u, v, segments, sum);
            }
        }
    }
    assert_eq!(sum.len(), u.len * v.len);
    for segment in segments.iter().filter(|segment| segment.rows > 0) {
        let last = segment.rows - 1;
        assert!(segment.u + last * u.stride + u.len <= u.x.len());
        assert!(segment.v + last * v.stride + v.len <= v.x.len());
    }
    pulp::Arch::new().dispatch(Run(u, v, segments, sum));
}

#[inline(always)]
fn accumulate_by<S: Simd, const MR: usize>(
    simd: S,
    u: Side,
    v: Side,
    segments: &[Segment],
    sum: &mut [f32],
) {
    let full = v.len / S::F32_LANES * S::F32_LANES;
    let mut row = 0;
    while row < u.len {
        let left = u.len - row;
        let mut block = Block { simd, u, v, segments, sum, row };
        row += match left {
            1 => block.columns::<1>(full),
            2..=3 => block.columns::<2>(full),
            4..=7 if left < MR => block.columns::<4>(full),
            8..=11 if left < MR => block.columns::<8>(full),
            _ => block.columns::<MR>(full),
        };
    }
}

/// Some rows of a sum of outer products.
struct Block<'a, 'b, S: Simd> {
    simd: S,
    u: Side<'a>,
    v: Side<'a>,
    segments: &'a [Segment],
    sum: &'b mut [f32],
    row: usize,
}

impl<S: Simd> Block<'_, '_, S> {
    /// All columns of M rows; gives M.
    #[inline(always)]
    fn columns<const M: usize>(&mut self, full: usize) -> usize {
        let mut column = 0;
        while column < full {
            if full - column >= WIDE * S::F32_LANES {
                self.tile::<M, WIDE, false>(column);
                column += WIDE * S::F32_LANES;
            } else {
                self.tile::<M, 1, false>(column);
                column += S::F32_LANES;
            }
        }
        if column < self.v.len {
            self.tile::<M, 1, true>(column);
        }
        M
    }

    #[inline(always)]
    fn tile<const M: usize, const V: usize, const PART: bool>(&mut self, column: usize) {
        let Self { simd, u, v, segments, row, .. } = *self;
        let lanes = S::F32_LANES;
        let mask = simd.mask_between_m32s(0, (v.len - column).min(lanes) as u32);
        let mut sums = [[hidden_zero(simd); V]; M];
        for segment in segments {
            // SAFETY: `accumulate` has checked that every row of every segment lies in its slice, `len` elements
            // long; `row + M` is at most u.len, and the last vector is masked where it reaches beyond v.len.
            unsafe {
                let mut a = u.x.as_ptr().add(segment.u + row);
                let mut b = v.x.as_ptr().add(segment.v + column);
                for _ in 0..segment.rows {
                    let columns: [S::f32s; V] = core::array::from_fn(|v| {
                        if PART {
                            simd.mask_load_ptr_f32s(mask, b)
                        } else {
                            b.add(v * lanes).cast::<S::f32s>().read_unaligned()
                        }
                    });
                    for m in 0..M {
                        let a = simd.splat_f32s(*a.add(m));
                        for v in 0..V {
                            sums[m][v] = simd.mul_add_f32s(a, columns[v], sums[m][v]);
                        }
                    }
                    a = a.wrapping_add(u.stride);
                    b = b.wrapping_add(v.stride);
                }
            }
        }
        for (m, sums) in sums.into_iter().enumerate() {
            for (k, sum) in sums.into_iter().enumerate() {
                let first = column + k * lanes;
                let to = &mut self.sum[(row + m) * v.len..][..v.len][first..];
                let to = &mut to[..lanes.min(v.len - first)];
                let before = load(simd, to);
                store(simd, to, simd.add_f32s(before, sum));
            }
        }
    }
}
