//! Convolutions by kernels of 3 × 3 with fewer multiplications.
//!
//! Winograd's F(2 × 2, 3 × 3) (Lavin & Gray 2016, equations 8 and 9) takes a tile of 4 × 4 pixels to 2 × 2 outputs by
//! 16 multiplications where the definition takes 36:
//!
//! > y = Aᵀ ((G g Gᵀ) ⊙ (Bᵀ d B)) A,
//!
//! and, being linear in the kernel g, has the gradient Gᵀ (Σ over tiles of (Bᵀ d B) ⊙ (A dy Aᵀ)) G. With channels each
//! of the 16 products is a matrix product over tiles. The coefficients are 0, ±1 and ½, so that little is lost to
//! rounding. A tile's place is fixed in its picture, and so are an output's bits.

use super::correlate::{Correlation, Padded};
use super::{Band, Bands, Conv};
use crate::kernels::gemm::{
    Epilogue, Packed, Rows, Segment, Shared, Side, Source, accumulate, product, vector,
};
use crate::kernels::{each, elements, inside, vectorized};
use crate::pool::Buffer;
use pulp::Simd;

/// Products of a tile.
const PRODUCTS: usize = 16;

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
        let vectors = exact.channels.iter().all(|c| c % 16 == 0 && *c >= 32);
        let tiles = h.div_ceil(2) * w.div_ceil(2);
        let pays = dense && vectors && 4 * tiles * 4 <= h * w * 7;
        let grid = [h.next_multiple_of(2), w.next_multiple_of(2)];
        pays.then_some(Self { whole: Correlation { grid, ..*exact }, exact })
    }

    /// Bands of rows of tiles.
    fn bands(&self) -> Bands {
        let [h, w] = self.whole.grid;
        Bands::new(self.whole.count, [h / 2, 2 * w])
    }

    /// The rows of pixels of a band, from its rows of tiles.
    fn pixels(band: Band) -> Band {
        Band { y: 2 * band.y.start..2 * band.y.end, ..band }
    }

    /// The tiles of a band: picture and position of their first output.
    fn tiles(&self, band: &Band) -> Vec<[usize; 3]> {
        let columns = (0..self.whole.grid[1]).step_by(2);
        let rows = band.rows().filter(|(_, y)| y % 2 == 0);
        rows.flat_map(|(picture, y)| columns.clone().map(move |x| [picture, y, x])).collect()
    }

    /// Tiles of a block: a multiple of the rows of a product.
    fn block(&self) -> usize {
        let channels = self.whole.channels[0] + self.whole.channels[1];
        (BLOCK / (PRODUCTS * channels)).clamp(24, 192) / 12 * 12
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
            for tiles in self.tiles(&band).chunks(block) {
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
        let block = winograd.block();
        let [in_apart, out_apart] = [ci, co].map(|channels| winograd.apart(channels));
        let tiles: usize = winograd.whole.grid.iter().map(|n| n / 2).product();
        // The number of partial sums depends on the sizes alone, never on the threads.
        let size = PRODUCTS * ci * co;
        let most = if size <= 1 << 16 { 8 } else { 4 };
        let parts = (self.count * tiles / 128).clamp(1, most).min(bands.len());
        let mut sums = Buffer::zeros(parts * size);
        each(parts > 1, sums.chunks_exact_mut(size).enumerate(), |(part, sums)| {
            let mut scratch = Buffer::new(0);
            let mut inputs = Buffer::new(PRODUCTS * in_apart);
            let mut gradients = Buffer::new(PRODUCTS * out_apart);
            for band in (part..bands.len()).step_by(parts) {
                let band = Winograd::pixels(bands.get(band));
                let padded = winograd.whole.padded(x, &band, &mut scratch);
                for tiles in winograd.tiles(&band).chunks(block) {
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

/// G g Gᵀ of the kernel of each pair of channels, as 16 matrices `[in, out]`.
fn kernels(weight: &[f32], source: Source) -> Packed {
    let [(_, s0), (_, s1), (depth, s2)] = source.depth;
    let (columns, stride) = source.columns;
    Packed::many::<PRODUCTS>(depth, columns, |column, to| {
        let column = source.origin + column as isize * stride;
        for row in 0..depth {
            let at = column + row as isize * s2;
            let mut half = [[0.0; 3]; 4];
            for l in 0..3 {
                let g = |k: isize| weight[(at + k * s0 + l as isize * s1) as usize];
                let column = widened([g(0), g(1), g(2)]);
                for k in 0..4 {
                    half[k][l] = column[k];
                }
            }
            let mut all = [0.0; PRODUCTS];
            for k in 0..4 {
                let row = widened(half[k]);
                all[4 * k..][..4].copy_from_slice(&row);
            }
            to.put(row, all);
        }
    })
}

/// G g along one direction.
#[inline(always)]
fn widened([a, b, c]: [f32; 3]) -> [f32; 4] {
    [a, 0.5 * (a + b + c), 0.5 * (a - b + c), c]
}

/// Bᵀ d along one direction.
#[inline(always)]
fn spread<S: Simd>(simd: S, d: [S::f32s; 4]) -> [S::f32s; 4] {
    [
        simd.sub_f32s(d[0], d[2]),
        simd.add_f32s(d[1], d[2]),
        simd.sub_f32s(d[2], d[1]),
        simd.sub_f32s(d[1], d[3]),
    ]
}

/// Aᵀ m along one direction.
#[inline(always)]
fn gather<S: Simd>(simd: S, m: [S::f32s; 4]) -> [S::f32s; 2] {
    [simd.add_f32s(simd.add_f32s(m[0], m[1]), m[2]), simd.sub_f32s(simd.sub_f32s(m[1], m[2]), m[3])]
}

/// A d along one direction.
#[inline(always)]
fn scatter<S: Simd>(simd: S, d: [S::f32s; 2]) -> [S::f32s; 4] {
    let zero = simd.splat_f32s(0.0);
    [d[0], simd.add_f32s(d[0], d[1]), simd.sub_f32s(d[0], d[1]), simd.sub_f32s(zero, d[1])]
}

/// Gᵀ s along one direction.
#[inline(always)]
fn fold<S: Simd>(simd: S, s: [S::f32s; 4]) -> [S::f32s; 3] {
    let half = simd.splat_f32s(0.5);
    let (sum, difference) = (simd.add_f32s(s[1], s[2]), simd.sub_f32s(s[1], s[2]));
    let (sum, difference) = (simd.mul_f32s(half, sum), simd.mul_f32s(half, difference));
    [simd.add_f32s(s[0], sum), difference, simd.add_f32s(sum, s[3])]
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
        let reach = elements([3, pitch]).saturating_add(elements([4, channels]));
        for (tile, &corner) in corners.iter().enumerate() {
            assert!(inside(corner, reach, x.len()), "a tile lies outside its slice");
            for v in (0..channels).step_by(S::F32_LANES) {
                // SAFETY: checked above; channels are whole vectors.
                let load = |at: usize| unsafe { vector::<S>(x.as_ptr(), corner + at + v) };
                let mut half = [[simd.splat_f32s(0.0); 4]; 4];
                for k in 0..4 {
                    half[k] = spread(simd, [0, 1, 2, 3].map(|l| load(k * pitch + l * channels)));
                }
                for l in 0..4 {
                    let column = spread(simd, [half[0][l], half[1][l], half[2][l], half[3][l]]);
                    for k in 0..4 {
                        let at = (4 * k + l) * apart + tile * channels + v;
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
            let (rows, columns) = ((height - top).min(2), (width - left).min(2));
            let base = ((picture * height + top) * width + left) * channels;
            let sample = epilogue
                .sample
                .map(|(values, _)| vectors::<S>(&values[picture * channels..][..channels]));
            for v in 0..channels / S::F32_LANES {
                let from = tile * channels + v * S::F32_LANES;
                // SAFETY: checked above; channels are whole vectors.
                let load = |k: usize| unsafe { vector::<S>(products.as_ptr(), k * apart + from) };
                let mut half = [[simd.splat_f32s(0.0); 2]; 4];
                for k in 0..4 {
                    half[k] = gather(simd, [0, 1, 2, 3].map(|l| load(4 * k + l)));
                }
                let mut added = simd.splat_f32s(0.0);
                if let Some(bias) = bias {
                    added = bias[v];
                }
                if let Some(sample) = sample {
                    added = simd.add_f32s(added, sample[v]);
                }
                for l in 0..columns {
                    let column = gather(simd, [half[0][l], half[1][l], half[2][l], half[3][l]]);
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
            let there: [[bool; 2]; 2] = [0, 1].map(|k| {
                [0, 1].map(|l| top + k < height && left + l < width)
            });
            let end = elements([picture + 1, height, width, channels]);
            assert!(end <= dy.len(), "a picture lies outside its slice");
            for v in (0..channels).step_by(S::F32_LANES) {
                let mut half = [[zero; 4]; 2];
                for k in 0..2 {
                    let pixel = |l: usize| {
                        let at = base + (k * width + l) * channels + v;
                        // SAFETY: a pixel inside its picture, which is inside dy.
                        if there[k][l] { unsafe { vector::<S>(dy.as_ptr(), at) } } else { zero }
                    };
                    half[k] = scatter(simd, [pixel(0), pixel(1)]);
                }
                for l in 0..4 {
                    let column = scatter(simd, [half[0][l], half[1][l]]);
                    for k in 0..4 {
                        let at = (4 * k + l) * apart + tile * channels + v;
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
                let mut s = [[simd.splat_f32s(0.0); 4]; 4];
                for part in sums.chunks_exact(size) {
                    for (k, sum) in s.as_flattened_mut().iter_mut().enumerate() {
                        let at = (k * ci + c) * co + first + v;
                        *sum = simd.add_f32s(*sum, vectors::<S>(&part[at..][..S::F32_LANES])[0]);
                    }
                }
                let mut half = [[simd.splat_f32s(0.0); 3]; 4];
                for k in 0..4 {
                    half[k] = fold(simd, s[k]);
                }
                for l in 0..3 {
                    let column = fold(simd, [half[0][l], half[1][l], half[2][l], half[3][l]]);
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
