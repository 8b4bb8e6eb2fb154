//! Correlations of channels-last pictures with a kernel, by products of rows in place.

use super::winograd::Winograd;
use super::{Band, Bands};
use crate::kernels::gemm::{Epilogue, Packed, Rows, Shared, Source, product};
use crate::pool::Buffer;

/// y[n, f + m i, g + m j] = Σ over taps (k, l) of x[n, s i + k + a, s j + l + b] · matrix, zero outside x.
#[derive(Debug, Clone, Copy)]
pub(super) struct Correlation {
    pub(super) count: usize,
    pub(super) input: [usize; 2],
    pub(super) channels: [usize; 2],
    pub(super) taps: [usize; 2],
    pub(super) step: usize,
    pub(super) origin: [isize; 2],
    /// The numbers of i and j.
    pub(super) grid: [usize; 2],
    /// Height and width of y.
    pub(super) output: [usize; 2],
    /// f and g.
    pub(super) first: [usize; 2],
    /// m.
    pub(super) spread: usize,
}

/// A band of the input with its border.
pub(super) struct Padded<'a> {
    pub(super) x: &'a [f32],
    /// The stride of rows.
    pub(super) pitch: usize,
    /// The stride of pictures.
    pub(super) picture: usize,
}

impl Padded<'_> {
    /// The offset of the first input row of grid row y.
    pub(super) fn row(&self, band: &Band, picture: usize, y: usize, step: usize) -> usize {
        (picture - band.pictures.start) * self.picture + (y - band.y.start) * step * self.pitch
    }
}

impl Correlation {
    /// Computes y from x and the matrix of `source`.
    pub(super) fn run(
        &self,
        x: &[f32],
        weight: &[f32],
        source: Source,
        epilogue: Epilogue,
        y: &mut [f32],
    ) {
        let bands = Bands::new(self.count, self.grid);
        let y = Shared::new(y);
        if let Some(winograd) = Winograd::new(self) {
            winograd.run(x, weight, source, epilogue, y);
        } else if self.folds() {
            let matrix = self.folded(weight, source);
            bands.each(|band| self.fold(x, &matrix, epilogue, y, band));
        } else {
            let matrix = Packed::new(weight, source);
            bands.each(|band| self.multiply(x, &matrix, epilogue, y, band));
        }
    }

    fn multiply(&self, x: &[f32], matrix: &Packed, epilogue: Epilogue, y: Shared, band: Band) {
        let [oh, ow] = self.output;
        let co = self.channels[1];
        let mut scratch = Buffer::new(0);
        // Without taps nothing is read: the sums are zero.
        let padded = match self.taps.contains(&0) {
            true => Padded { x: &[], pitch: 0, picture: 0 },
            false => self.padded(x, &band, &mut scratch),
        };
        let [_, gw] = self.grid;
        let (mut offsets, mut out) = (Vec::new(), Vec::new());
        for (picture, row) in band.rows() {
            let from = padded.row(&band, picture, row, self.step);
            let to = (picture * oh + self.first[0] + row * self.spread) * ow + self.first[1];
            offsets.extend((0..gw).map(|j| from + j * self.step * self.channels[0]));
            out.extend((0..gw).map(|j| (to + j * self.spread) * co));
        }
        let mut runs: Vec<usize> = (0..self.taps[0]).map(|k| k * padded.pitch).collect();
        let len = self.taps[1] * self.channels[0];
        if self.taps.contains(&0) {
            offsets.fill(0);
            runs.clear();
        }
        let rows = Rows { x: padded.x, offsets: &offsets, runs: &runs, len };
        let epilogue = Epilogue {
            sample: epilogue.sample.map(|(values, _)| {
                (&values[band.pictures.start * co..], (band.y.len() * gw).max(1))
            }),
            ..epilogue
        };
        // SAFETY: every band has its own pixels.
        unsafe { product(rows, matrix.matrix(0), epilogue, y, &out) };
    }

    /// Whether a pixel's products with all taps fit two vectors: then one product of the picture, without its border,
    /// gives them all, where one product for each tap would leave most of a vector empty.
    fn folds(&self) -> bool {
        let area = self.taps[0] * self.taps[1];
        let dense = self.step == 1 && self.spread == 1;
        dense && area > 1 && area * self.channels[1] <= 32 && self.channels[0] >= 8
    }

    /// The matrix `[in, taps · out]`.
    fn folded(&self, weight: &[f32], source: Source) -> Packed {
        let [(t0, s0), (t1, s1), (c, sc)] = source.depth;
        let (o, so) = source.columns;
        let mut columns = Vec::with_capacity(t0 * t1 * o * c);
        for k in 0..t0 as isize {
            for l in 0..t1 as isize {
                for o in 0..o as isize {
                    let at = source.origin + k * s0 + l * s1 + o * so;
                    columns.extend((0..c as isize).map(|c| weight[(at + c * sc) as usize]));
                }
            }
        }
        let depth = [(1, 0), (1, 0), (c, 1)];
        Packed::new(&columns, Source { origin: 0, depth, columns: (t0 * t1 * o, c as isize) })
    }

    fn fold(&self, x: &[f32], matrix: &Packed, epilogue: Epilogue, y: Shared, band: Band) {
        let ([h, w], [ci, co], [oh, ow]) = (self.input, self.channels, self.output);
        let width = self.taps[0] * self.taps[1] * co;
        // The input rows that the band reaches.
        let top = (band.y.start as isize + self.origin[0]).clamp(0, h as isize) as usize;
        let reach = band.y.end as isize + self.origin[0] + self.taps[0] as isize - 1;
        let rows = (reach.clamp(0, h as isize) as usize).max(top) - top;
        let mut products = Buffer::new(rows * w * width);
        let out: Vec<usize> = (0..rows * w).map(|pixel| pixel * width).collect();
        for picture in band.pictures.clone() {
            let offsets: Vec<usize> =
                (0..rows * w).map(|pixel| ((picture * h + top) * w + pixel) * ci).collect();
            let input = Rows { x, offsets: &offsets, runs: &[0], len: ci };
            // SAFETY: the products are this task's own.
            unsafe {
                product(
                    input,
                    matrix.matrix(0),
                    Epilogue::default(),
                    Shared::new(&mut products),
                    &out,
                );
            }
            for i in band.y.clone() {
                let at = (picture * oh + i) * ow * co;
                // SAFETY: every band has its own pixels.
                let y = unsafe { y.part(at, ow * co) };
                y.fill(0.0);
                for k in 0..self.taps[0] {
                    let row = i as isize + k as isize + self.origin[0];
                    if row < 0 || row >= h as isize {
                        continue;
                    }
                    let products = &products[(row as usize - top) * w * width..][..w * width];
                    for l in 0..self.taps[1] {
                        // The columns j with 0 ≤ j + shift < w.
                        let shift = l as isize + self.origin[1];
                        let first = (-shift).clamp(0, ow as isize) as usize;
                        let end = (w as isize - shift).clamp(first as isize, ow as isize) as usize;
                        let tap = (k * self.taps[1] + l) * co;
                        for j in first..end {
                            let from = (j as isize + shift) as usize * width + tap;
                            for o in 0..co {
                                y[j * co + o] += products[from + o];
                            }
                        }
                    }
                }
                let sample = epilogue.sample.map(|(values, _)| &values[picture * co..][..co]);
                for added in [epilogue.bias, sample].into_iter().flatten() {
                    for y in y.chunks_exact_mut(co) {
                        y.iter_mut().zip(added).for_each(|(y, added)| *y += added);
                    }
                }
                if let Some(residual) = epilogue.residual {
                    y.iter_mut().zip(&residual[at..]).for_each(|(y, added)| *y += added);
                }
            }
        }
    }

    /// The input of a band with its border: x itself where there is none, else a copy in scratch.
    pub(super) fn padded<'a>(
        &self,
        x: &'a [f32],
        band: &Band,
        scratch: &'a mut Buffer,
    ) -> Padded<'a> {
        let [h, w] = self.input;
        let c = self.channels[0];
        let [gh, gw] = [band.y.len(), self.grid[1]];
        let reach = |grid: usize, taps: usize| (grid.max(1) - 1) * self.step + taps;
        let (rows, columns) = (reach(gh, self.taps[0]), reach(gw, self.taps[1]));
        let top = self.origin[0] + (band.y.start * self.step) as isize;
        let left = self.origin[1];
        let inside =
            |first: isize, len: usize, end: usize| first >= 0 && first as usize + len <= end;
        let pictures = band.pictures.len();
        if inside(top, rows, h) && inside(left, columns, w) && (pictures == 1 || top == 0) {
            let start = ((band.pictures.start * h + top as usize) * w + left as usize) * c;
            return Padded { x: &x[start..], pitch: w * c, picture: h * w * c };
        }
        let pitch = columns * c;
        let len = pictures * rows * pitch;
        if scratch.len() < len {
            *scratch = Buffer::new(len);
        }
        // The part of a row that is inside x: from column `skip` of the copy, `take` columns.
        let skip = (-left).clamp(0, columns as isize) as usize;
        let take = (w as isize - left.max(0)).clamp(0, (columns - skip) as isize) as usize;
        let source = left.max(0) as usize;
        for (i, picture) in band.pictures.clone().enumerate() {
            for row in 0..rows {
                let to = &mut scratch[(i * rows + row) * pitch..][..pitch];
                let y = top + row as isize;
                if y < 0 || y >= h as isize || take == 0 {
                    to.fill(0.0);
                    continue;
                }
                let from = ((picture * h + y as usize) * w + source) * c;
                to[..skip * c].fill(0.0);
                to[skip * c..][..take * c].copy_from_slice(&x[from..][..take * c]);
                to[(skip + take) * c..].fill(0.0);
            }
        }
        Padded { x: &scratch[..len], pitch, picture: rows * pitch }
    }
}
