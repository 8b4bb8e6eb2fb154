//! Matrix products in register tiles, the core of every compute-bound operation.
//!
//! Two kernels do all products. [`product`] is for outputs: a row of y is the product of a row of x, given as a few
//! contiguous runs in memory, with a packed matrix. A linear layer has one run a row; a convolution on channels-last
//! pictures has one run for each row of its kernel, since the pixels under it lie side by side, so that nothing is
//! copied out of the picture. [`accumulate`] is for weight gradients: the sum over rows of outer products uᵀ v.
//!
//! Every element of a result is one chain of fused multiply-adds in an order that depends on the shapes alone: neither
//! on its place in a tile, nor on the number of rows or threads.

mod accumulate;
mod product;
mod reach;

pub use accumulate::{Segment, Side, accumulate, accumulate_within};
pub use product::{Epilogue, Rows, product};
pub use reach::Reach;

use super::{each, elements, inside};
use crate::pool::Buffer;
use pulp::Simd;
use std::marker::PhantomData;
use std::ops::Range;

/// Products that a loop adds to a sum at a time.
const UNROLLED: usize = 4;

/// Vectors in the width of a tile of many rows.
const WIDE: usize = 2;

/// Vectors in the width of a tile of half as many rows, where there are 32 registers: it reads fewer elements for as
/// many products.
const WIDEST: usize = 4;

/// Columns of a matrix in panels, each as many vectors wide as its tile takes: (first column, vectors).
fn panels(columns: usize, Lanes { lanes, widest }: Lanes) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let vectors = match columns.saturating_sub(first).div_ceil(lanes) {
            0 => return None,
            1 => 1,
            left if left < widest => WIDE,
            _ => widest,
        };
        first += vectors * lanes;
        Some((first - vectors * lanes, vectors))
    })
}

/// The vectors of a machine.
#[derive(Debug, Clone, Copy)]
struct Lanes {
    /// Single-precision lanes of a vector.
    lanes: usize,
    /// Vectors in the width of the widest panel.
    widest: usize,
}

impl Lanes {
    fn of<S: Simd>() -> Self {
        let widest = if S::REGISTER_COUNT >= 32 { WIDEST } else { WIDE };
        Self { lanes: S::F32_LANES, widest }
    }

    /// The vectors of the machine that this runs on.
    fn new() -> Self {
        struct Machine;
        impl pulp::WithSimd for Machine {
            type Output = Lanes;
            fn with_simd<S: Simd>(self, _: S) -> Lanes {
                Lanes::of::<S>()
            }
        }
        pulp::Arch::new().dispatch(Machine)
    }
}

/// Matrices `[depth, columns]` in the order in which [`product`] reads them.
#[derive(Debug)]
pub struct Packed {
    values: Buffer,
    depth: usize,
    columns: usize,
    /// The runs of rows that each panel has, if not all.
    runs: Option<Vec<Vec<Range<usize>>>>,
}

/// One matrix of a [`Packed`].
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    depth: usize,
    columns: usize,
    /// The rows of a panel in memory, of which `depth` count.
    pitch: usize,
    /// The number of columns, the first ones, by which products are wanted.
    wanted: usize,
    runs: Option<&'a [Vec<Range<usize>>]>,
}

impl Matrix<'_> {
    /// The matrix of the first `depth` rows.
    ///
    /// # Panics
    /// If there are fewer, or the matrix is masked.
    pub fn first_rows(self, depth: usize) -> Self {
        assert!(depth <= self.depth && self.runs.is_none(), "a matrix has fewer rows");
        Self { depth, ..self }
    }

    /// The matrix for products by its first `wanted` columns. Other elements of an output keep their values, or are the
    /// products by some of the next columns.
    pub fn first_columns(self, wanted: usize) -> Self {
        Self { wanted, ..self }
    }
}

/// The layout of a matrix in memory: the offset of its first element, and counts and strides of three nested levels of
/// its depth and of its columns.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The offset of the first element.
    pub origin: isize,
    /// Counts and strides of the depth, the outermost first.
    pub depth: [(usize, isize); 3],
    /// Count and stride of the columns.
    pub columns: (usize, isize),
}

/// Columns that [`Source::pack`] takes at a time: the cache lines that they are read from stay in the first-level cache
/// from one row to the next, even where they are a power of two apart.
const ABREAST: usize = 16;

impl Source {
    fn depth(&self) -> usize {
        elements(self.depth.map(|(count, _)| count))
    }

    /// Packs the columns `first..` as a panel of width `width`, with zeros beyond the last.
    fn pack(&self, from: &[f32], first: usize, width: usize, panel: &mut [f32]) {
        let [(n0, s0), (n1, s1), (n2, s2)] = self.depth;
        let (columns, stride) = self.columns;
        let used = width.min(columns - first);
        let abreast = if stride == 1 { width } else { ABREAST.min(width) };
        let side_by_side = s2 == 1 && stride != 1 && abreast == ABREAST;
        for column in (0..width).step_by(abreast.max(1)) {
            let used = used.saturating_sub(column).min(abreast);
            let origin = self.origin + (first + column) as isize * stride;
            let mut rows = panel.chunks_exact_mut(width);
            for i0 in 0..n0 as isize {
                for i1 in 0..n1 as isize {
                    let mut at = origin + i0 * s0 + i1 * s1;
                    if side_by_side && used == ABREAST {
                        let from: [&[f32]; ABREAST] = std::array::from_fn(|j| {
                            &from[(at + j as isize * stride) as usize..][..n2]
                        });
                        for (k, row) in rows.by_ref().take(n2).enumerate() {
                            let to = &mut row[column..][..ABREAST];
                            for j in 0..ABREAST {
                                to[j] = from[j][k];
                            }
                        }
                        continue;
                    }
                    for row in rows.by_ref().take(n2) {
                        let row = &mut row[column..][..abreast];
                        if stride == 1 {
                            row[..used].copy_from_slice(&from[at as usize..][..used]);
                        } else {
                            for (j, to) in row[..used].iter_mut().enumerate() {
                                *to = from[(at + j as isize * stride) as usize];
                            }
                        }
                        row[used..].fill(0.0);
                        at += s2;
                    }
                }
            }
        }
    }
}

impl Packed {
    /// Packs matrices from their layouts, and from where they are zero if they are masked.
    pub fn all<'a>(
        matrices: impl Iterator<Item = (&'a [f32], Source, Option<Reach<'a>>)>,
    ) -> Vec<Self> {
        let machine = Lanes::new();
        let lanes = machine.lanes;
        let (mut all, mut tasks, mut size) = (Vec::new(), Vec::new(), 0);
        for (from, source, reach) in matrices {
            let (depth, columns) = (source.depth(), source.columns.0);
            let len = packed(depth, columns);
            let numbered = panels(columns, machine).enumerate();
            tasks.extend(numbered.map(|panel| (all.len(), from, source, reach, panel)));
            let runs = reach.map(|reach| {
                reach.check(depth, columns);
                let rows = |(first, vectors): (usize, usize)| {
                    reach.rows(first..(first + vectors * lanes).min(columns))
                };
                panels(columns, machine).map(rows).collect()
            });
            all.push(Self { values: Buffer::new(len), depth, columns, runs });
            size += len;
        }
        let (mut shared, mut runs) = (Vec::new(), Vec::new());
        for one in &mut all {
            shared.push(Shared::new(&mut one.values));
            runs.push(&one.runs);
        }
        each(size >= super::SERIAL, tasks.into_iter(), |(k, from, source, reach, panel)| {
            let (number, (first, vectors)) = panel;
            let (width, depth) = (vectors * lanes, source.depth());
            // SAFETY: every task has its own panel.
            let panel = unsafe { shared[k].part(first * depth, width * depth) };
            match (reach, runs[k]) {
                (Some(reach), Some(runs)) => {
                    reach.pack(&source, from, &runs[number], (first, width), panel);
                }
                _ => source.pack(from, first, width, panel),
            }
        });
        all
    }

    /// Packs a matrix from its layout.
    pub fn new(from: &[f32], source: Source) -> Self {
        let mut all = Self::all(std::iter::once((from, source, None)));
        all.remove(0)
    }

    /// Packs N matrices `[depth, columns]` together. `fill` takes a first column, a row, and the row's place in each
    /// matrix from that column on, of a panel's width; it puts zeros beyond the last column.
    pub fn many<const N: usize>(
        depth: usize,
        columns: usize,
        fill: impl Fn(usize, usize, [&mut [f32]; N]) + Sync,
    ) -> Self {
        let machine = Lanes::new();
        let lanes = machine.lanes;
        let len = packed(depth, columns);
        let mut values = Buffer::new(elements([N, len]));
        let shared = Shared::new(&mut values);
        each(N * len >= super::SERIAL, panels(columns, machine), |(first, vectors)| {
            let width = vectors * lanes;
            for row in 0..depth {
                let at = first * depth + row * width;
                // SAFETY: every task has its own panel of each matrix.
                fill(
                    first,
                    row,
                    std::array::from_fn(|k| unsafe { shared.part(k * len + at, width) }),
                );
            }
        });
        Self { values, depth, columns, runs: None }
    }

    /// Matrix k.
    ///
    /// # Panics
    /// If there are fewer matrices.
    pub fn matrix(&self, k: usize) -> Matrix<'_> {
        let len = packed(self.depth, self.columns);
        Matrix {
            values: &self.values[elements([k, len])..][..len],
            depth: self.depth,
            columns: self.columns,
            pitch: self.depth,
            wanted: self.columns,
            runs: self.runs.as_deref(),
        }
    }
}

/// The number of elements of a packed matrix.
fn packed(depth: usize, columns: usize) -> usize {
    elements([depth, columns.div_ceil(lanes()), lanes()])
}

/// The number of single-precision lanes of this machine's vectors.
pub(super) fn lanes() -> usize {
    Lanes::new().lanes
}

/// An output that several tasks write concurrently, each its own elements.
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

    /// All elements from `at` on; none if there are fewer.
    pub fn after(self, at: usize) -> Self {
        let at = at.min(self.len);
        // SAFETY: at most one past the end.
        Self { start: unsafe { self.start.add(at) }, len: self.len - at, ..self }
    }

    /// `len` elements from `at`.
    ///
    /// # Safety
    /// While the part is alive, no other part may hold any of its elements.
    ///
    /// # Panics
    /// If they do not all lie in the output.
    pub unsafe fn part(self, at: usize, len: usize) -> &'a mut [f32] {
        assert!(inside(at, len, self.len), "a part lies outside its output");
        // SAFETY: the caller's promise, and they are all there.
        unsafe { self.part_unchecked(at, len) }
    }

    /// `len` elements from `at`.
    ///
    /// # Safety
    /// They must all lie in the output, and while the part is alive, no other part may hold any of them.
    #[inline(always)]
    unsafe fn part_unchecked(self, at: usize, len: usize) -> &'a mut [f32] {
        // SAFETY: the caller's promise that the elements are in the output.
        let start = unsafe { self.start.add(at) };
        // SAFETY: as above; the output is borrowed for 'a, and the caller promises that nobody else has the elements.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }
}

/// Zeros that the compiler cannot know to be zeros. Known zeros would become an array in memory, cleared by a call; the
/// sums of a tile belong in registers.
#[inline(always)]
fn hidden_zero<S: Simd>(simd: S) -> S::f32s {
    simd.splat_f32s(std::hint::black_box(0.0))
}

/// The float `k` places after `from`.
///
/// # Safety
/// The float must lie in the allocation of `from`.
#[inline(always)]
unsafe fn float(from: *const f32, k: usize) -> f32 {
    // SAFETY: the caller's promise.
    let at = unsafe { from.add(k) };
    // SAFETY: as above.
    unsafe { *at }
}

/// The vector of floats from `k` places after `from` on.
///
/// # Safety
/// All of its floats must lie in the allocation of `from`.
#[inline(always)]
pub(super) unsafe fn vector<S: Simd>(from: *const f32, k: usize) -> S::f32s {
    // SAFETY: the caller's promise.
    let at = unsafe { from.add(k) };
    // SAFETY: as above; vectors of f32 may be read at any address.
    unsafe { at.cast::<S::f32s>().read_unaligned() }
}

/// A vector from a slice no longer than one, the rest zero.
#[inline(always)]
pub(super) fn load<S: Simd>(simd: S, from: &[f32]) -> S::f32s {
    match S::as_simd_f32s(from) {
        ([whole], _) => *whole,
        _ => simd.partial_load_f32s(from),
    }
}

/// The first lanes of a vector to a slice no longer than one.
#[inline(always)]
pub(super) fn store<S: Simd>(simd: S, to: &mut [f32], value: S::f32s) {
    match S::as_mut_simd_f32s(to) {
        ([whole], _) => *whole = value,
        _ => simd.partial_store_f32s(to, value),
    }
}
