//! Rows times a packed matrix.

use super::{
    Lanes, Matrix, Shared, UNROLLED, WIDE, WIDEST, float, hidden_zero, load, panels, store, vector,
};
use crate::kernels::{elements, inside};
use pulp::Simd;
use std::ops::Range;

/// The rows of a left factor: row r consists of the runs x[offset(r) + run ..][.. len], in order.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The slice of all rows.
    pub x: &'a [f32],
    /// The offset of each row.
    pub offsets: &'a [usize],
    /// The offsets of the runs in a row.
    pub runs: &'a [usize],
    /// The length of a run.
    pub len: usize,
}

/// An addend to a product before it is stored.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// One value for each column.
    pub bias: Option<&'a [f32]>,
    /// One value for each column and sample, with the number of consecutive rows of a sample.
    pub sample: Option<(&'a [f32], usize)>,
    /// One value for each element, laid out as the output.
    pub residual: Option<&'a [f32]>,
}

/// Computes y[out(r)] = row r of x · matrix + epilogue.
///
/// # Safety
/// No other task may read or write the output's rows meanwhile.
///
/// # Panics
/// If a row, an output or an addend lies outside its slice, or a row has another length than the matrix has rows.
pub unsafe fn product(rows: Rows, matrix: Matrix, epilogue: Epilogue, y: Shared, out: &[usize]) {
    struct Run<'a>(Rows<'a>, Matrix<'a>, Epilogue<'a>, Shared<'a>, &'a [usize]);
    impl pulp::WithSimd for Run<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Run(rows, matrix, epilogue, y, out) = self;
            if S::REGISTER_COUNT >= 32 {
                product_by::<S, 12>(simd, rows, matrix, epilogue, y, out);
            } else {
                product_by::<S, 6>(simd, rows, matrix, epilogue, y, out);
            }
        }
    }
    // Overflow of an offset counts as outside of the slice.
    let reach = rows.runs.iter().max().map_or(0, |run| run.saturating_add(rows.len));
    let columns = matrix.columns;
    let within = |offsets: &[usize], len, all| offsets.iter().all(|at| inside(*at, len, all));
    assert_eq!(elements([rows.runs.len(), rows.len]), matrix.depth, "a row has another length");
    assert!(matrix.runs.is_none() || rows.runs == [0], "only whole rows meet a masked matrix");
    assert_eq!(rows.offsets.len(), out.len(), "each row has one output");
    assert!(within(rows.offsets, reach, rows.x.len()), "a row lies outside its slice");
    assert!(within(out, columns, y.len), "an output lies outside its slice");
    assert!(epilogue.bias.is_none_or(|b| b.len() == columns), "a bias has another length");
    let samples = |each| elements([out.len().div_ceil(each), columns]);
    assert!(
        epilogue.sample.is_none_or(|(s, each)| samples(each) <= s.len()),
        "a sample has no addend"
    );
    assert!(epilogue.residual.is_none_or(|r| r.len() == y.len), "a residual has another length");
    pulp::Arch::new().dispatch(Run(rows, matrix, epilogue, y, out));
}

#[inline(always)]
fn product_by<S: Simd, const MR: usize>(
    simd: S,
    rows: Rows,
    matrix: Matrix,
    epilogue: Epilogue,
    y: Shared,
    out: &[usize],
) {
    let panels = panels(matrix.columns, Lanes::of::<S>());
    let wanted = panels.take_while(|(first, _)| *first < matrix.wanted);
    for (number, (first, vectors)) in wanted.enumerate() {
        let runs = matrix.runs.map(|runs| &runs[number][..]);
        let panel = &matrix.values[first * matrix.pitch..][..vectors * S::F32_LANES * matrix.depth];
        let mut r = 0;
        while r < out.len() {
            let left = out.len() - r;
            let count = left.min(if vectors == WIDEST { MR / 2 } else { MR });
            let mut tile = Tile {
                simd,
                rows,
                panel,
                runs,
                epilogue,
                first,
                columns: matrix.columns,
                y,
                out,
                r,
                count,
            };
            match (vectors, left) {
                (WIDEST, 1) => tile.run::<1, WIDEST>(),
                (WIDEST, 2) => tile.run::<2, WIDEST>(),
                (WIDEST, 3..=4) => tile.run::<4, WIDEST>(),
                (WIDEST, _) => tile.run::<6, WIDEST>(),
                (WIDE, 1) => tile.run::<1, WIDE>(),
                (WIDE, 2) => tile.run::<2, WIDE>(),
                (WIDE, 3..=4) => tile.run::<4, WIDE>(),
                (WIDE, _) if MR > 8 && left <= 8 => tile.run::<8, WIDE>(),
                (WIDE, _) => tile.run::<MR, WIDE>(),
                (_, 1) => tile.run::<1, 1>(),
                (_, 2) => tile.run::<2, 1>(),
                (_, 3..=4) => tile.run::<4, 1>(),
                (_, _) => tile.run::<MR, 1>(),
            }
            r += count;
        }
    }
}

/// Rows r .. r + count of a product, one panel wide.
struct Tile<'a, S: Simd> {
    simd: S,
    rows: Rows<'a>,
    panel: &'a [f32],
    /// The runs of rows that the panel has, if not all.
    runs: Option<&'a [Range<usize>]>,
    epilogue: Epilogue<'a>,
    first: usize,
    columns: usize,
    y: Shared<'a>,
    out: &'a [usize],
    r: usize,
    count: usize,
}

impl<S: Simd> Tile<'_, S> {
    #[inline(always)]
    fn run<const M: usize, const V: usize>(&mut self) {
        let Self { simd, rows, r, count, .. } = *self;
        // Rows beyond the last repeat it and are not stored.
        let mut pointers = [rows.x.as_ptr(); M];
        for (m, pointer) in pointers.iter_mut().enumerate() {
            let offset = rows.offsets[r + m.min(count - 1)];
            // SAFETY: `product` has checked that every offset and what a row reaches lie in x.
            *pointer = unsafe { rows.x.as_ptr().add(offset) };
        }
        // SAFETY: as above for the rows; the panel holds V vectors for each of the runs' elements, of which its own
        // runs are a part.
        let sums = unsafe { inner::<S, M, V>(simd, pointers, rows, self.runs, self.panel) };
        if self.first + V * S::F32_LANES <= self.columns {
            // Each in its place among the registers.
            for m in 0..M {
                if m < count {
                    self.store_whole(r + m, sums[m]);
                }
            }
        } else {
            for (m, sums) in sums.into_iter().enumerate().take(count) {
                for (v, sum) in sums.into_iter().enumerate() {
                    self.store(r + m, self.first + v * S::F32_LANES, sum);
                }
            }
        }
    }

    /// All vectors of a row.
    #[inline(always)]
    fn store_whole<const V: usize>(&mut self, row: usize, mut sums: [S::f32s; V]) {
        let Self { simd, epilogue, columns, first, .. } = *self;
        let at = self.out[row] + first;
        let add = |sums: &mut [S::f32s; V], from: &[f32]| {
            for (sum, from) in sums.iter_mut().zip(S::as_simd_f32s(from).0) {
                *sum = simd.add_f32s(*sum, *from);
            }
        };
        if let Some(bias) = epilogue.bias {
            add(&mut sums, &bias[first..][..V * S::F32_LANES]);
        }
        if let Some((sample, each)) = epilogue.sample {
            add(&mut sums, &sample[row / each * columns + first..][..V * S::F32_LANES]);
        }
        if let Some(residual) = epilogue.residual {
            add(&mut sums, &residual[at..][..V * S::F32_LANES]);
        }
        // SAFETY: the caller of `product` promises that nobody else has the row, and `product` has checked that it
        // lies in y.
        let to = unsafe { self.y.part_unchecked(at, V * S::F32_LANES) };
        S::as_mut_simd_f32s(to).0.copy_from_slice(&sums);
    }

    #[inline(always)]
    fn store(&mut self, row: usize, column: usize, mut sum: S::f32s) {
        let Self { simd, epilogue, columns, .. } = *self;
        let lanes = S::F32_LANES.min(columns - column);
        if let Some(bias) = epilogue.bias {
            sum = simd.add_f32s(sum, load(simd, &bias[column..][..lanes]));
        }
        if let Some((sample, each)) = epilogue.sample {
            let at = row / each * columns + column;
            sum = simd.add_f32s(sum, load(simd, &sample[at..][..lanes]));
        }
        let at = self.out[row] + column;
        if let Some(residual) = epilogue.residual {
            sum = simd.add_f32s(sum, load(simd, &residual[at..][..lanes]));
        }
        // SAFETY: the caller of `product` promises that nobody else has the row.
        store(simd, unsafe { self.y.part(at, lanes) }, sum);
    }
}

/// The products of M rows with a panel of V vectors.
///
/// # Safety
/// Each pointer plus each run must be followed by the run's elements, and the panel must hold V vectors for each. With
/// `own`, these runs are read instead of the rows' own.
#[inline(always)]
unsafe fn inner<S: Simd, const M: usize, const V: usize>(
    simd: S,
    pointers: [*const f32; M],
    rows: Rows,
    own: Option<&[Range<usize>]>,
    panel: &[f32],
) -> [[S::f32s; V]; M] {
    let mut sums = [[hidden_zero(simd); V]; M];
    let mut b = panel.as_ptr();
    for i in 0..own.map_or(rows.runs.len(), <[_]>::len) {
        let (start, end) = match own {
            Some(own) => (own[i].start, own[i].end),
            None => (rows.runs[i], rows.runs[i] + rows.len),
        };
        let whole = end - (end - start) % UNROLLED;
        for k in (start..whole).step_by(UNROLLED) {
            for k in k..k + UNROLLED {
                // SAFETY: the caller's promise; k is in the run.
                unsafe { step(simd, pointers, k, b, &mut sums) };
                b = b.wrapping_add(V * S::F32_LANES);
            }
        }
        for k in whole..end {
            // SAFETY: as above.
            unsafe { step(simd, pointers, k, b, &mut sums) };
            b = b.wrapping_add(V * S::F32_LANES);
        }
    }
    sums
}

/// Adds the products of element k of M rows with V vectors to the sums.
///
/// # Safety
/// Each row must have an element k, and `b` must point to V vectors.
#[inline(always)]
unsafe fn step<S: Simd, const M: usize, const V: usize>(
    simd: S,
    rows: [*const f32; M],
    k: usize,
    b: *const f32,
    sums: &mut [[S::f32s; V]; M],
) {
    // SAFETY: the caller's promise.
    let columns: [S::f32s; V] =
        core::array::from_fn(|v| unsafe { vector::<S>(b, v * S::F32_LANES) });
    for m in 0..M {
        // SAFETY: the caller's promise.
        let a = simd.splat_f32s(unsafe { float(rows[m], k) });
        for v in 0..V {
            sums[m][v] = simd.mul_add_f32s(a, columns[v], sums[m][v]);
        }
    }
}
