//! Sums of outer products.

use super::{UNROLLED, WIDE, float, hidden_zero, load, store, vector};
use crate::kernels::{elements, inside};
use pulp::Simd;

/// One factor of a sum of outer products: rows by their first element and their length.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// The slice of all rows.
    pub x: &'a [f32],
    /// The stride of rows in a segment.
    pub stride: usize,
    /// The number of elements of a row.
    pub len: usize,
}

impl Side<'_> {
    /// Whether these rows lie in the slice.
    fn holds(&self, first: usize, rows: usize) -> bool {
        let Some(last) = rows.checked_sub(1) else { return true };
        let start = last.checked_mul(self.stride).and_then(|skipped| skipped.checked_add(first));
        start.is_some_and(|start| inside(start, self.len, self.x.len()))
    }
}

/// A segment of consecutive rows: the offsets of the first row in both factors, and the number of rows.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// The offset of the first row of u.
    pub u: usize,
    /// The offset of the first row of v.
    pub v: usize,
    /// The number of rows.
    pub rows: usize,
}

/// Adds Σ over rows of uᵀ v, `[u.len, v.len]`, to `sum`. Empty segments add nothing, wherever they lie.
///
/// # Panics
/// If a row lies outside its slice, or the sum has another shape.
pub fn accumulate(u: Side, v: Side, segments: &[Segment], sum: &mut [f32]) {
    accumulate_within(u, v, segments, None, sum);
}

/// [`accumulate`] that adds only to the first `reach[k]` elements of row k of the sum.
///
/// # Panics
/// As [`accumulate`], or if there is not one reach for each row of the sum, none beyond its end.
pub fn accumulate_within(
    u: Side,
    v: Side,
    segments: &[Segment],
    reach: Option<&[usize]>,
    sum: &mut [f32],
) {
    struct Run<'a>(Side<'a>, Side<'a>, &'a [Segment], Option<&'a [usize]>, &'a mut [f32]);
    impl pulp::WithSimd for Run<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Run(u, v, segments, reach, sum) = self;
            if S::REGISTER_COUNT >= 32 {
                accumulate_by::<S, 12>(simd, u, v, segments, reach, sum);
            } else {
                accumulate_by::<S, 6>(simd, u, v, segments, reach, sum);
            }
        }
    }
    assert_eq!(sum.len(), elements([u.len, v.len]), "a sum has another shape");
    let fits = |reach: &[usize]| reach.len() == u.len && reach.iter().all(|end| *end <= v.len);
    assert!(reach.is_none_or(fits), "a reach has another length, or ends outside the sum");
    for Segment { u: first_u, v: first_v, rows } in segments {
        assert!(u.holds(*first_u, *rows), "a row of u lies outside its slice");
        assert!(v.holds(*first_v, *rows), "a row of v lies outside its slice");
    }
    pulp::Arch::new().dispatch(Run(u, v, segments, reach, sum));
}

#[inline(always)]
fn accumulate_by<S: Simd, const MR: usize>(
    simd: S,
    u: Side,
    v: Side,
    segments: &[Segment],
    reach: Option<&[usize]>,
    sum: &mut [f32],
) {
    let mut row = 0;
    while row < u.len {
        let left = u.len - row;
        let mut block = Block { simd, u, v, segments, reach, sum, row };
        row += match left {
            1 => block.columns::<1>(),
            2..=3 => block.columns::<2>(),
            4..=7 if left < MR => block.columns::<4>(),
            8..=11 if left < MR => block.columns::<8>(),
            _ => block.columns::<MR>(),
        };
    }
}

/// Some rows of a sum of outer products.
struct Block<'a, 'b, S: Simd> {
    simd: S,
    u: Side<'a>,
    v: Side<'a>,
    segments: &'a [Segment],
    reach: Option<&'a [usize]>,
    sum: &'b mut [f32],
    row: usize,
}

impl<S: Simd> Block<'_, '_, S> {
    /// All columns of M rows; gives M.
    #[inline(always)]
    fn columns<const M: usize>(&mut self) -> usize {
        let mut end = self.v.len;
        if let Some(reach) = self.reach {
            end = reach[self.row..][..M].iter().copied().max().unwrap_or(0);
        }
        let full = end / S::F32_LANES * S::F32_LANES;
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
        if column < end {
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
        // A segment without rows may lie anywhere.
        for segment in segments.iter().filter(|segment| segment.rows > 0) {
            let mut a = u.x[segment.u + row..].as_ptr();
            let mut b = v.x[segment.v + column..].as_ptr();
            for _ in 0..segment.rows / UNROLLED {
                for _ in 0..UNROLLED {
                    // SAFETY: `accumulate` has checked that each row lies in its slice; `row + M` is at most u.len.
                    unsafe { add::<S, M, V, PART>(simd, a, b, mask, &mut sums) };
                    (a, b) = (a.wrapping_add(u.stride), b.wrapping_add(v.stride));
                }
            }
            for _ in 0..segment.rows % UNROLLED {
                // SAFETY: as above; the mask leaves out what is beyond v.len.
                unsafe { add::<S, M, V, PART>(simd, a, b, mask, &mut sums) };
                (a, b) = (a.wrapping_add(u.stride), b.wrapping_add(v.stride));
            }
        }
        for (m, sums) in sums.into_iter().enumerate() {
            let end = if let Some(reach) = self.reach { reach[row + m] } else { v.len };
            for (k, sum) in sums.into_iter().enumerate() {
                let first = column + k * lanes;
                let to = &mut self.sum[(row + m) * v.len..][..v.len][first..];
                let to = &mut to[..lanes.min(end.saturating_sub(first))];
                let before = load(simd, to);
                store(simd, to, simd.add_f32s(before, sum));
            }
        }
    }
}

/// Adds the outer product of M elements of a row of u with a row of v to the sums.
///
/// # Safety
/// `u` must point to M floats, and `v` to V vectors, or, if `PART`, to the floats of one vector that the mask selects.
#[inline(always)]
unsafe fn add<S: Simd, const M: usize, const V: usize, const PART: bool>(
    simd: S,
    u: *const f32,
    v: *const f32,
    mask: pulp::MemMask<S::m32s>,
    sums: &mut [[S::f32s; V]; M],
) {
    let columns: [S::f32s; V] = core::array::from_fn(|k| {
        if PART {
            // SAFETY: the caller's promise.
            unsafe { simd.mask_load_ptr_f32s(mask, v) }
        } else {
            // SAFETY: the caller's promise.
            unsafe { vector::<S>(v, k * S::F32_LANES) }
        }
    });
    for m in 0..M {
        // SAFETY: the caller's promise.
        let a = simd.splat_f32s(unsafe { float(u, m) });
        for k in 0..V {
            sums[m][k] = simd.mul_add_f32s(a, columns[k], sums[m][k]);
        }
    }
}
