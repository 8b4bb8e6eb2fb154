//! Convolutions by kernels of 3 × 3 with fewer multiplications.
//!
//! Winograd's F(4 × 4, 3 × 3) (Lavin & Gray 2016, section 4) takes a tile of 6 × 6 pixels to 4 × 4 outputs by 36
//! multiplications where the definition takes 144:
//!
//! > y = Aᵀ ((G g Gᵀ) ⊙ (Bᵀ d B)) A,
//!
//! and, being linear in the kernel g, has the gradient Gᵀ (Σ over tiles of (Bᵀ d B) ⊙ (A dy Aᵀ)) G. With channels each
//! of the 36 products is a matrix product over tiles; [`transforms`](super::transforms) has A, B and G. A
//! tile's place is fixed in its picture, and so are an output's bits.

use super::correlate::{Correlation, Padded};
use super::transforms::{
    OUT, PRODUCTS, gradients_of, inputs_of, kernel_gradients, kernels, outputs_of,
};
use super::{Band, Bands, Conv};
use crate::kernels::each;
use crate::kernels::gemm::{Epilogue, Rows, Segment, Shared, Side, Source, accumulate, product};
use crate::pool::Buffer;

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
