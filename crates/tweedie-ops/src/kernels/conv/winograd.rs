//! Convolutions by kernels of 3 × 3 with fewer multiplications.
//!
//! Winograd's F(4 × 4, 3 × 3) (Lavin & Gray 2016, section 4) takes a tile of 6 × 6 pixels to 4 × 4 outputs by 36
//! multiplications where the definition takes 144:
//!
//! > y = Aᵀ ((G g Gᵀ) ⊙ (Bᵀ d B)) A,
//!
//! and, being linear in the kernel g, has the gradient Gᵀ (Σ over tiles of (Bᵀ d B) ⊙ (A dy Aᵀ)) G. With channels each
//! of the 36 products is a matrix product over tiles. The matrices multiply polynomials by their values at five points
//! and at infinity. The points are 0, ±p = ±1/√2 and ±q = ±√2, not the usual 0, ±1, ±2, whose rounding error is two
//! to five times as large:
//!
//! > row of the point r in G: (1, r, r²)/Π (r − r′), in A: (1, r, r², r³); in Bᵀ: the coefficients of Π (x − r′).
//!
//! A tile's place is fixed in its picture, and so are an output's bits.

use super::correlate::{Correlation, Padded};
use super::{Band, Bands, Conv};
use crate::kernels::gemm::{
    Epilogue, Packed, Rows, Segment, Shared, Side, Source, accumulate, product, vector,
};
use crate::kernels::{each, elements, inside, vectorized};
use crate::pool::Buffer;
use pulp::Simd;

/// Height and width of a tile's output.
const OUT: usize = 4;

/// Height and width of a tile.
const TILE: usize = OUT + 2;

/// Products of a tile.
const PRODUCTS: usize = TILE * TILE;

/// p.
const P: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// q.
const Q: f32 = std::f32::consts::SQRT_2;

/// The factor of G's rows of ±p, 1/(2 p² (p² − q²)).
const OF_P: f32 = -2.0 / 3.0;

/// The factor of G's rows of ±q, 1/(2 q² (q² − p²)).
const OF_Q: f32 = 1.0 / 6.0;

/// The floats of a block of transformed tiles, which should stay in the second-level cache.
const BLOCK: usize = 1 << 17;

/// A correlation of kernel 3 × 3 and step 1 by tiles.
pub(super) struct Winograd<'a> {
    /// The correlation on a grid rounded up to whole tiles.
    whole: Correlation,
    /// The correlation itself.
    exact: &'a Correlation,
}

impl<'a> Winograd<'a> {
    /// The correlation by tiles; none if the definition is as fast.
    pub(super) fn new(exact: &'a Correlation) -> Option<Self> {
        let [h, w] = exact.grid;
        let dense = exact.taps == [3, 3] && exact.step == 1 && exact.spread == 1;
        let vectors = exact.channels.iter().all(|c| c % 16 == 0);
        let tiles = h.div_ceil(OUT) * w.div_ceil(OUT);
        // At most three quarters of the multiplications of the definition.
        let pays = dense && vectors && PRODUCTS * tiles * 4 <= 9 * h * w * 3;
        let grid = [h.next_multiple_of(OUT), w.next_multiple_of(OUT)];
        pays.then_some(Self { whole: Correlation { grid, ..*exact }, exact })
    }

    /// Bands of rows of tiles.
    fn bands(&self) -> Bands {
        let [h, w] = self.whole.grid;
        Bands::of(self.whole.count, [h / OUT, OUT * w], 16, OUT * OUT * 48)
    }

    /// The rows of pixels of a band, from its rows of tiles.
    fn pixels(band: Band) -> Band {
        Band { y: OUT * band.y.start..OUT * band.y.end, ..band }
    }

    /// The tiles of a band: picture and position of their first output.
    fn tiles(&self, band: &Band) -> Vec<[usize; 3]> {
        let columns = (0..self.whole.grid[1]).step_by(OUT);
        let rows = band.rows().filter(|(_, y)| y % OUT == 0);
        rows.flat_map(|(picture, y)| columns.clone().map(move |x| [picture, y, x])).collect()
    }

    /// The most tiles of a block.
    fn block(&self) -> usize {
        let channels = self.whole.channels[0] + self.whole.channels[1];
        (BLOCK / (PRODUCTS * channels)).clamp(48, 192)
    }

    /// The blocks of some tiles: as even as can be, of multiples of the rows of a product.
    fn blocks<'t>(&self, tiles: &'t [[usize; 3]]) -> std::slice::Chunks<'t, [usize; 3]> {
        let count = tiles.len().div_ceil(self.block()).max(1);
        let size = tiles.len().div_ceil(count).next_multiple_of(6);
        tiles.chunks(size.clamp(1, self.block()))
    }

    /// The stride between the blocks of two products: a few cache lines more than the block, since addresses a multiple
    /// of 4 KiB apart would share the lines of the first-level cache.
    fn apart(&self, channels: usize) -> usize {
        (self.block() * channels).next_multiple_of(1024) + 48
    }

    pub(super) fn run(
        &self,
        x: &[f32],
        weight: &[f32],
        source: Source,
        epilogue: Epilogue,
        y: Shared,
    ) {
        let [ci, co] = self.whole.channels;
        let matrices = kernels(weight, source);
        let bands = self.bands();
        let block = self.block();
        let [in_apart, out_apart] = [ci, co].map(|channels| self.apart(channels));
        let outputs: Vec<usize> = (0..block).map(|tile| tile * co).collect();
        let inputs: Vec<usize> = (0..block).map(|tile| tile * ci).collect();
        bands.each(|band| {
            let band = Self::pixels(band);
            let mut scratch = Buffer::new(0);
            let padded = self.whole.padded(x, &band, &mut scratch);
            let mut transformed = Buffer::new(PRODUCTS * in_apart);
            let mut products = Buffer::new(PRODUCTS * out_apart);
            for tiles in self.blocks(&self.tiles(&band)) {
                let corners = self.corners(tiles, &band, &padded);
                inputs_of(padded.x, padded.pitch, &corners, ci, in_apart, &mut transformed);
                let offsets = &inputs[..tiles.len()];
                for k in 0..PRODUCTS {
                    let x = &transformed[k * in_apart..][..block * ci];
                    let rows = Rows { x, offsets, runs: &[0], len: ci };
                    let to = Shared::new(&mut products[k * out_apart..][..block * co]);
                    let plain = Epilogue::default();
                    // SAFETY: the products are this task's own.
                    unsafe {
                        product(rows, matrices.matrix(k), plain, to, &outputs[..tiles.len()])
                    };
                }
                let size = [self.exact.output[0], self.exact.output[1], co];
                outputs_of(&products, out_apart, tiles, size, epilogue, y);
            }
        });
    }

    /// The offsets of the tiles' inputs.
    fn corners(&self, tiles: &[[usize; 3]], band: &Band, padded: &Padded) -> Vec<usize> {
        let ci = self.whole.channels[0];
        tiles.iter().map(|&[picture, y, x]| padded.row(band, picture, y, 1) + x * ci).collect()
    }
}

impl Conv {
    /// The gradient of the weight by tiles, `[out, in, 3, 3]`, or none if the definition is as fast.
    pub(super) fn weight_gradient_by_tiles(&self, x: &[f32], dy: &[f32]) -> Option<Buffer> {
        let correlation = self.correlation();
        let winograd = Winograd::new(&correlation)?;
        let [ci, co] = self.channels;
        let bands = winograd.bands();
        let [in_apart, out_apart] = [ci, co].map(|channels| winograd.apart(channels));
        let tiles: usize = winograd.whole.grid.iter().map(|n| n / OUT).product();
        // The number of partial sums depends on the sizes alone, never on the threads.
        let size = PRODUCTS * ci * co;
        let most = if size <= 1 << 16 { 8 } else { 4 };
        let parts = (self.count * tiles / 32).clamp(1, most).min(bands.len());
        let mut sums = Buffer::zeros(parts * size);
        each(parts > 1, sums.chunks_exact_mut(size).enumerate(), |(part, sums)| {
            let mut scratch = Buffer::new(0);
            let mut inputs = Buffer::new(PRODUCTS * in_apart);
            let mut gradients = Buffer::new(PRODUCTS * out_apart);
            for band in (part..bands.len()).step_by(parts) {
                let band = Winograd::pixels(bands.get(band));
                let padded = winograd.whole.padded(x, &band, &mut scratch);
                for tiles in winograd.blocks(&winograd.tiles(&band)) {
                    let corners = winograd.corners(tiles, &band, &padded);
                    inputs_of(padded.x, padded.pitch, &corners, ci, in_apart, &mut inputs);
                    let output = self.output();
                    gradients_of(dy, [output[0], output[1], co], tiles, out_apart, &mut gradients);
                    for (k, sums) in sums.chunks_exact_mut(ci * co).enumerate() {
                        let u = &inputs[k * in_apart..][..tiles.len() * ci];
                        let v = &gradients[k * out_apart..][..tiles.len() * co];
                        let u = Side { x: u, stride: ci, len: ci };
                        let v = Side { x: v, stride: co, len: co };
                        accumulate(u, v, &[Segment { u: 0, v: 0, rows: tiles.len() }], sums);
                    }
                }
            }
        });
        let mut weight = Buffer::new(9 * ci * co);
        let tasks = weight.chunks_mut(16 * 9 * ci).enumerate();
        each(size >= crate::kernels::SERIAL, tasks, |(lines, weight)| {
            kernel_gradients(&sums, size, [ci, co], 16 * lines, weight);
        });
        Some(weight)
    }
}

/// G g Gᵀ of the kernel of each pair of channels, as 36 matrices `[in, out]`.
fn kernels(weight: &[f32], source: Source) -> Packed {
    let [(_, s0), (_, s1), (depth, s2)] = source.depth;
    let (columns, stride) = source.columns;
    Packed::many::<PRODUCTS>(depth, columns, |first, row, to| {
        let mut taps = [[0.0; MOST]; 9];
        for column in first..columns.min(first + to[0].len()) {
            let at = source.origin + column as isize * stride + row as isize * s2;
            for (k, l) in (0..3).flat_map(|k| (0..3).map(move |l| (k, l))) {
                let tap = at + k as isize * s0 + l as isize * s1;
                taps[3 * k + l][column - first] = weight[tap as usize];
            }
        }
        kernels_of(&taps, to);
    })
}

/// The most columns of a panel.
const MOST: usize = 64;

vectorized! {
    /// G g Gᵀ of kernels with these taps.
    fn kernels_of<'a>(simd: S, taps: &'a [[f32; MOST]; 9], to: [&'a mut [f32]; PRODUCTS]) -> () {
        let width = to[0].len();
        for v in (0..width).step_by(S::F32_LANES) {
            let tap = |k: usize| vectors::<S>(&taps[k][v..][..S::F32_LANES])[0];
            let mut half = [[simd.splat_f32s(0.0); TILE]; 3];
            for l in 0..3 {
                half[l] = widen(simd, [tap(l), tap(3 + l), tap(6 + l)]);
            }
            for k in 0..TILE {
                let row = widen(simd, [half[0][k], half[1][k], half[2][k]]);
                for (l, value) in row.into_iter().enumerate() {
                    S::as_mut_simd_f32s(&mut to[TILE * k + l][v..][..S::F32_LANES]).0[0] = value;
                }
            }
        }
    }
}

/// G g along one direction.
#[inline(always)]
fn widen<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; TILE] {
    let scaled = |factor: f32, x: S::f32s| simd.mul_f32s(simd.splat_f32s(factor), x);
    let even_p = scaled(OF_P, simd.mul_add_f32s(simd.splat_f32s(0.5), c, a));
    let even_q = scaled(OF_Q, simd.mul_add_f32s(simd.splat_f32s(2.0), c, a));
    let (odd_p, odd_q) = (scaled(OF_P * P, b), scaled(OF_Q * Q, b));
    [
        a,
        simd.add_f32s(even_p, odd_p),
        simd.sub_f32s(even_p, odd_p),
        simd.add_f32s(even_q, odd_q),
        simd.sub_f32s(even_q, odd_q),
        c,
    ]
}

/// Bᵀ d along one direction.
#[inline(always)]
fn spread<S: Simd>(simd: S, d: [S::f32s; TILE]) -> [S::f32s; TILE] {
    let (p, q, half) = (simd.splat_f32s(P), simd.splat_f32s(Q), simd.splat_f32s(0.5));
    let (two, both) = (simd.splat_f32s(2.0), simd.splat_f32s(2.5));
    let (even_p, odd_p) = (less(simd, d[4], two, d[2]), less(simd, d[3], two, d[1]));
    let (even_q, odd_q) = (less(simd, d[4], half, d[2]), less(simd, d[3], half, d[1]));
    [
        less(simd, simd.add_f32s(d[0], d[4]), both, d[2]),
        simd.mul_add_f32s(p, odd_p, even_p),
        less(simd, even_p, p, odd_p),
        simd.mul_add_f32s(q, odd_q, even_q),
        less(simd, even_q, q, odd_q),
        less(simd, simd.add_f32s(d[1], d[5]), both, d[3]),
    ]
}

/// a − c b.
#[inline(always)]
fn less<S: Simd>(simd: S, a: S::f32s, c: S::f32s, b: S::f32s) -> S::f32s {
    simd.mul_add_f32s(simd.neg_f32s(c), b, a)
}

/// Aᵀ m along one direction.
#[inline(always)]
fn gather<S: Simd>(simd: S, m: [S::f32s; TILE]) -> [S::f32s; OUT] {
    let (p, q) = (simd.splat_f32s(P), simd.splat_f32s(Q));
    let (half, two) = (simd.splat_f32s(0.5), simd.splat_f32s(2.0));
    let (p_half, q_twice) = (simd.splat_f32s(0.5 * P), simd.splat_f32s(2.0 * Q));
    let (even_p, odd_p) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    let (even_q, odd_q) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    [
        simd.add_f32s(m[0], simd.add_f32s(even_p, even_q)),
        simd.mul_add_f32s(p, odd_p, simd.mul_f32s(q, odd_q)),
        simd.mul_add_f32s(half, even_p, simd.mul_f32s(two, even_q)),
        simd.mul_add_f32s(p_half, odd_p, simd.mul_add_f32s(q_twice, odd_q, m[5])),
    ]
}

/// A d along one direction.
#[inline(always)]
fn scatter<S: Simd>(simd: S, d: [S::f32s; OUT]) -> [S::f32s; TILE] {
    let (p, q) = (simd.splat_f32s(P), simd.splat_f32s(Q));
    let (half, two) = (simd.splat_f32s(0.5), simd.splat_f32s(2.0));
    let (even_p, odd_p) =
        (simd.mul_add_f32s(half, d[2], d[0]), simd.mul_add_f32s(half, d[3], d[1]));
    let (even_q, odd_q) = (simd.mul_add_f32s(two, d[2], d[0]), simd.mul_add_f32s(two, d[3], d[1]));
    [
        d[0],
        simd.mul_add_f32s(p, odd_p, even_p),
        less(simd, even_p, p, odd_p),
        simd.mul_add_f32s(q, odd_q, even_q),
        less(simd, even_q, q, odd_q),
        d[3],
    ]
}

/// Gᵀ s along one direction.
#[inline(always)]
fn fold<S: Simd>(simd: S, s: [S::f32s; TILE]) -> [S::f32s; 3] {
    let scaled = |c: f32, x: S::f32s| simd.mul_f32s(simd.splat_f32s(c), x);
    let (even_p, odd_p) = (simd.add_f32s(s[1], s[2]), simd.sub_f32s(s[1], s[2]));
    let (even_q, odd_q) = (simd.add_f32s(s[3], s[4]), simd.sub_f32s(s[3], s[4]));
    [
        simd.add_f32s(s[0], simd.add_f32s(scaled(OF_P, even_p), scaled(OF_Q, even_q))),
        simd.add_f32s(scaled(OF_P * P, odd_p), scaled(OF_Q * Q, odd_q)),
        simd.add_f32s(s[5], simd.add_f32s(scaled(0.5 * OF_P, even_p), scaled(2.0 * OF_Q, even_q))),
    ]
}

/// The values at 0 to 5. An array's `map` would be a call, which passes vectors through memory.
#[inline(always)]
fn six<V>(at: impl Fn(usize) -> V) -> [V; TILE] {
    [at(0), at(1), at(2), at(3), at(4), at(5)]
}

/// Column `l` of the rows.
#[inline(always)]
fn column_of<V: Copy, const W: usize>(rows: &[[V; W]; TILE], l: usize) -> [V; TILE] {
    six(|k| rows[k][l])
}

/// Writes a vector from `k` places after `to` on.
///
/// # Safety
/// The vector must lie in the allocation of `to`.
#[inline(always)]
unsafe fn write<S: Simd>(to: *mut f32, k: usize, value: S::f32s) {
    // SAFETY: the caller's promise.
    let at = unsafe { to.add(k) };
    // SAFETY: as above; vectors of f32 may be written at any address.
    unsafe { at.cast::<S::f32s>().write_unaligned(value) }
}

/// The vectors of a slice whose length is a multiple of 16.
#[inline(always)]
fn vectors<S: Simd>(x: &[f32]) -> &[S::f32s] {
    S::as_simd_f32s(x).0
}

vectorized! {
    /// Bᵀ d B of tiles at `corners`, product k of tile t at k · `apart` + t · `channels`.
    fn inputs_of<'a>(
        simd: S,
        x: &'a [f32],
        pitch: usize,
        corners: &'a [usize],
        channels: usize,
        apart: usize,
        to: &'a mut [f32],
    ) -> () {
        assert!(elements([corners.len(), channels]) <= apart, "tiles overlap");
        assert!(elements([PRODUCTS, apart]) <= to.len(), "a product lies outside its slice");
        let reach = elements([TILE - 1, pitch]).saturating_add(elements([TILE, channels]));
        for (tile, &corner) in corners.iter().enumerate() {
            assert!(inside(corner, reach, x.len()), "a tile lies outside its slice");
            for v in (0..channels).step_by(S::F32_LANES) {
                // SAFETY: checked above; channels are whole vectors.
                let load = |at: usize| unsafe { vector::<S>(x.as_ptr(), corner + at + v) };
                let mut half = [[simd.splat_f32s(0.0); TILE]; TILE];
                for k in 0..TILE {
                    half[k] = spread(simd, six(|l| load(k * pitch + l * channels)));
                }
                for l in 0..TILE {
                    let column = spread(simd, column_of(&half, l));
                    for k in 0..TILE {
                        let at = (TILE * k + l) * apart + tile * channels + v;
                        // SAFETY: checked above.
                        unsafe { write::<S>(to.as_mut_ptr(), at, column[k]) };
                    }
                }
            }
        }
    }
}

vectorized! {
    /// Writes Aᵀ m A of tiles plus the addend to y; `size` = height, width and channels.
    fn outputs_of<'a>(
        simd: S,
        products: &'a [f32],
        apart: usize,
        tiles: &'a [[usize; 3]],
        size: [usize; 3],
        epilogue: Epilogue<'a>,
        y: Shared<'a>,
    ) -> () {
        let [height, width, channels] = size;
        assert!(elements([tiles.len(), channels]) <= apart, "tiles overlap");
        assert!(elements([PRODUCTS, apart]) <= products.len(), "a product lies outside its slice");
        let bias = epilogue.bias.map(vectors::<S>);
        for (tile, &[picture, top, left]) in tiles.iter().enumerate() {
            let (rows, columns) = ((height - top).min(OUT), (width - left).min(OUT));
            let base = ((picture * height + top) * width + left) * channels;
            let sample = epilogue
                .sample
                .map(|(values, _)| vectors::<S>(&values[picture * channels..][..channels]));
            for v in 0..channels / S::F32_LANES {
                let from = tile * channels + v * S::F32_LANES;
                // SAFETY: checked above; channels are whole vectors.
                let load = |k: usize| unsafe { vector::<S>(products.as_ptr(), k * apart + from) };
                let mut half = [[simd.splat_f32s(0.0); OUT]; TILE];
                for k in 0..TILE {
                    half[k] = gather(simd, six(|l| load(TILE * k + l)));
                }
                let mut added = simd.splat_f32s(0.0);
                if let Some(bias) = bias {
                    added = bias[v];
                }
                if let Some(sample) = sample {
                    added = simd.add_f32s(added, sample[v]);
                }
                for l in 0..columns {
                    let column = gather(simd, column_of(&half, l));
                    for (k, value) in column.into_iter().enumerate().take(rows) {
                        let mut value = simd.add_f32s(value, added);
                        let at = base + (k * width + l) * channels + v * S::F32_LANES;
                        if let Some(residual) = epilogue.residual {
                            let residual = vectors::<S>(&residual[at..][..S::F32_LANES])[0];
                            value = simd.add_f32s(value, residual);
                        }
                        // SAFETY: every band has its own pixels.
                        let to = unsafe { y.part(at, S::F32_LANES) };
                        S::as_mut_simd_f32s(to).0[0] = value;
                    }
                }
            }
        }
    }
}

vectorized! {
    /// A dy Aᵀ of tiles, zero outside dy, product k of tile t at k · `apart` + t · channels.
    fn gradients_of<'a>(
        simd: S,
        dy: &'a [f32],
        size: [usize; 3],
        tiles: &'a [[usize; 3]],
        apart: usize,
        to: &'a mut [f32],
    ) -> () {
        let [height, width, channels] = size;
        assert!(elements([tiles.len(), channels]) <= apart, "tiles overlap");
        assert!(elements([PRODUCTS, apart]) <= to.len(), "a product lies outside its slice");
        let zero = simd.splat_f32s(0.0);
        for (tile, &[picture, top, left]) in tiles.iter().enumerate() {
            let base = ((picture * height + top) * width + left) * channels;
            let (rows, columns) = (height - top, width - left);
            let end = elements([picture + 1, height, width, channels]);
            assert!(end <= dy.len(), "a picture lies outside its slice");
            for v in (0..channels).step_by(S::F32_LANES) {
                let mut half = [[zero; TILE]; OUT];
                for k in 0..OUT {
                    let pixel = |l: usize| {
                        let at = base + (k * width + l) * channels + v;
                        // SAFETY: a pixel inside its picture, which is inside dy.
                        if k < rows && l < columns { unsafe { vector::<S>(dy.as_ptr(), at) } } else { zero }
                    };
                    half[k] = scatter(simd, [pixel(0), pixel(1), pixel(2), pixel(3)]);
                }
                for l in 0..TILE {
                    let column = scatter(simd, [half[0][l], half[1][l], half[2][l], half[3][l]]);
                    for k in 0..TILE {
                        let at = (TILE * k + l) * apart + tile * channels + v;
                        // SAFETY: checked above; channels are whole vectors.
                        unsafe { write::<S>(to.as_mut_ptr(), at, column[k]) };
                    }
                }
            }
        }
    }
}

vectorized! {
    /// Gᵀ s G of the sums of all parts, for 16 outputs from `first`, as `[16, in, 3, 3]`.
    fn kernel_gradients<'a>(
        simd: S,
        sums: &'a [f32],
        size: usize,
        channels: [usize; 2],
        first: usize,
        weight: &'a mut [f32],
    ) -> () {
        let [ci, co] = channels;
        for c in 0..ci {
            for v in (0..16).step_by(S::F32_LANES) {
                let mut s = [[simd.splat_f32s(0.0); TILE]; TILE];
                for part in sums.chunks_exact(size) {
                    for (k, sum) in s.as_flattened_mut().iter_mut().enumerate() {
                        let at = (k * ci + c) * co + first + v;
                        *sum = simd.add_f32s(*sum, vectors::<S>(&part[at..][..S::F32_LANES])[0]);
                    }
                }
                let mut half = [[simd.splat_f32s(0.0); 3]; TILE];
                for k in 0..TILE {
                    half[k] = fold(simd, s[k]);
                }
                for l in 0..3 {
                    let column = fold(simd, column_of(&half, l));
                    for k in 0..3 {
                        let mut lanes = [0.0; 16];
                        simd.partial_store_f32s(&mut lanes[..S::F32_LANES], column[k]);
                        for (lane, value) in lanes[..S::F32_LANES].iter().enumerate() {
                            weight[((v + lane) * ci + c) * 9 + 3 * k + l] = *value;
                        }
                    }
                }
            }
        }
    }
}
