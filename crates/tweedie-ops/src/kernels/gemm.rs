//! Matrix products in register tiles, the core of every compute-bound operation.
//!
//! There are two. [`product`] is for outputs: a row of y is the product of a row of x, given as a few contiguous
//! runs in memory, with a packed matrix. A linear layer has one run a row; a convolution on channels-last pictures
//! has one run for each row of its kernel, since the pixels that it covers lie side by side, so that nothing is
//! copied out of the picture. [`accumulate`] is for weight gradients: the sum over rows of outer products uᵀ v.
//!
//! Every element of a result is one chain of fused multiply-adds in an order that depends on the shapes alone:
//! neither on its place in a tile, nor on how many rows or threads there are.

use crate::pool::Buffer;
use pulp::Simd;
use std::marker::PhantomData;

/// Vectors to the width of a full panel.
const WIDE: usize = 2;

/// Columns of a matrix in panels, each as many vectors wide as its tile takes: (first column, vectors).
fn panels<S: Simd>(columns: usize) -> impl Iterator<Item = (usize, usize)> {
    let full = WIDE * S::F32_LANES;
    (0..columns)
        .step_by(full)
        .map(move |first| (first, if columns - first > S::F32_LANES { WIDE } else { 1 }))
}

/// A matrix `[depth, columns]` in the order in which [`product`] reads it.
#[derive(Debug)]
pub struct Packed {
    values: Buffer,
    depth: usize,
    columns: usize,
}

/// Where the elements of a matrix are: `origin`, and for each of three nested counts of its depth and for its columns
/// the count and the stride.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The offset of the first element.
    pub origin: isize,
    /// Counts and strides of the depth, the outermost first.
    pub depth: [(usize, isize); 3],
    /// Count and stride of the columns.
    pub columns: (usize, isize),
}

impl Packed {
    /// Packs a matrix from where it is.
    pub fn new(from: &[f32], source: Source) -> Self {
        struct Pack<'a>(&'a [f32], Source);
        impl pulp::WithSimd for Pack<'_> {
            type Output = Packed;
            fn with_simd<S: Simd>(self, _: S) -> Packed {
                pack::<S>(self.0, self.1)
            }
        }
        pulp::Arch::new().dispatch(Pack(from, source))
    }
}

fn pack<S: Simd>(from: &[f32], source: Source) -> Packed {
    let [(n0, s0), (n1, s1), (n2, s2)] = source.depth;
    let (columns, stride) = source.columns;
    let depth = n0 * n1 * n2;
    let lanes = S::F32_LANES;
    let len = depth * columns.next_multiple_of(lanes);
    let mut values = Buffer::new(len);
    for (first, vectors) in panels::<S>(columns) {
        let width = vectors * lanes;
        let panel = &mut values[first * depth..][..width * depth];
        if width > columns - first {
            panel.fill(0.0);
        }
        for j in 0..width.min(columns - first) {
            let column = source.origin + (first + j) as isize * stride;
            let mut to = j;
            for i0 in 0..n0 as isize {
                for i1 in 0..n1 as isize {
                    let mut at = column + i0 * s0 + i1 * s1;
                    for _ in 0..n2 {
                        panel[to] = from[at as usize];
                        at += s2;
                        to += width;
                    }
                }
            }
        }
    }
    Packed { values, depth, columns }
}

/// The rows of a left factor: row r consists of the runs x[offset(r) + run ..][.. len], in order.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Where all rows are.
    pub x: &'a [f32],
    /// The offset of each row.
    pub offsets: &'a [usize],
    /// The offsets of the runs in a row.
    pub runs: &'a [usize],
    /// The length of a run.
    pub len: usize,
}

/// What is added to a product before it is stored.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// One value for each column.
    pub bias: Option<&'a [f32]>,
    /// One value for each column and sample, and how many consecutive rows are a sample's.
    pub sample: Option<(&'a [f32], usize)>,
    /// One value for each element, laid out as the output.
    pub residual: Option<&'a [f32]>,
}

/// An output that several tasks write at once, each its own elements.
#[derive(Debug, Clone, Copy)]
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    _borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: it only says where an output is; reaching an element takes the promise of `part`.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// All of an output.
    pub fn new(output: &'a mut [f32]) -> Self {
        Self { start: output.as_mut_ptr(), len: output.len(), _borrow: PhantomData }
    }

    /// `len` elements from `at`.
    ///
    /// # Safety
    /// While the part is alive, no other part may hold any of its elements.
    ///
    /// # Panics
    /// If they are not all there.
    pub unsafe fn part(self, at: usize, len: usize) -> &'a mut [f32] {
        assert!(at <= self.len && len <= self.len - at);
        // SAFETY: the elements are in the output, which is borrowed for 'a, and the caller promises that nobody else
        // has them.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), len) }
    }
}

/// y[out(r)] = row r of x · matrix + epilogue.
///
/// # Safety
/// No other task may read or write the output's rows meanwhile.
///
/// # Panics
/// If a row, an output or an addend lies outside its slice.
pub unsafe fn product(rows: Rows, matrix: &Packed, epilogue: Epilogue, y: Shared, out: &[usize]) {
    struct Run<'a>(Rows<'a>, &'a Packed, Epilogue<'a>, Shared<'a>, &'a [usize]);
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
    let reach = rows.runs.iter().max().map_or(0, |run| run + rows.len);
    let columns = matrix.columns;
    assert_eq!(rows.runs.len() * rows.len, matrix.depth);
    assert_eq!(rows.offsets.len(), out.len());
    assert!(rows.offsets.iter().all(|offset| offset + reach <= rows.x.len()));
    assert!(out.iter().all(|offset| offset + columns <= y.len));
    assert!(epilogue.bias.is_none_or(|b| b.len() == columns));
    assert!(epilogue.sample.is_none_or(|(s, each)| out.len().div_ceil(each) * columns <= s.len()));
    assert!(epilogue.residual.is_none_or(|r| r.len() == y.len));
    pulp::Arch::new().dispatch(Run(rows, matrix, epilogue, y, out));
}

#[inline(always)]
fn product_by<S: Simd, const MR: usize>(
    simd: S,
    rows: Rows,
    matrix: &Packed,
    epilogue: Epilogue,
    y: Shared,
    out: &[usize],
) {
    for (first, vectors) in panels::<S>(matrix.columns) {
        let panel = &matrix.values[first * matrix.depth..][..vectors * S::F32_LANES * matrix.depth];
        let mut r = 0;
        while r < out.len() {
            let left = out.len() - r;
            let count = left.min(MR);
            let mut tile = Tile {
                simd,
                rows,
                panel,
                epilogue,
                first,
                columns: matrix.columns,
                y,
                out,
                r,
                count,
            };
            match (vectors, left) {
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
        // SAFETY: as above for the rows; the panel holds V vectors for each of the runs' elements.
        let sums = unsafe { inner::<S, M, V>(simd, pointers, rows.runs, rows.len, self.panel) };
        for (m, sums) in sums.into_iter().enumerate().take(count) {
            for (v, sum) in sums.into_iter().enumerate() {
                self.store(r + m, self.first + v * S::F32_LANES, sum);
            }
        }
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

/// A vector from a slice no longer than one, the rest zero.
#[inline(always)]
fn load<S: Simd>(simd: S, from: &[f32]) -> S::f32s {
    match S::as_simd_f32s(from) {
        ([whole], _) => *whole,
        _ => simd.partial_load_f32s(from),
    }
}

/// The first lanes of a vector to a slice no longer than one.
#[inline(always)]
fn store<S: Simd>(simd: S, to: &mut [f32], value: S::f32s) {
    match S::as_mut_simd_f32s(to) {
        ([whole], _) => *whole = value,
        _ => simd.partial_store_f32s(to, value),
    }
}

/// The products of M rows with a panel of V vectors.
///
/// # Safety
/// Each pointer plus each run must be followed by `len` elements, and the panel must hold
/// `runs.len() * len * V` vectors.
#[inline(always)]
unsafe fn inner<S: Simd, const M: usize, const V: usize>(
    simd: S,
    rows: [*const f32; M],
    runs: &[usize],
    len: usize,
    panel: &[f32],
) -> [[S::f32s; V]; M] {
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    let mut b = panel.as_ptr();
    for &run in runs {
        for k in run..run + len {
            // SAFETY: the caller's promise on the panel; vectors of f32 may be read at any address.
            let columns: [S::f32s; V] = core::array::from_fn(|v| unsafe {
                b.add(v * S::F32_LANES).cast::<S::f32s>().read_unaligned()
            });
            for m in 0..M {
                // SAFETY: the caller's promise on the rows.
                let a = simd.splat_f32s(unsafe { *rows[m].add(k) });
                for v in 0..V {
                    sums[m][v] = simd.mul_add_f32s(a, columns[v], sums[m][v]);
                }
            }
            // SAFETY: at most one past the end of the panel.
            b = unsafe { b.add(V * S::F32_LANES) };
        }
    }
    sums
}

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
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
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
