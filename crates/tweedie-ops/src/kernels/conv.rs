//! Two-dimensional convolutions of channels-last pictures, forward and both gradients.
//!
//! > y[n, i, j, o] = b[o] + Σ_{k, l, c} x[n, s i + k − p, s j + l − p, c] w[o, c, k, l],
//!
//! zero outside the picture. The gradient with respect to x is s² correlations of the same kind, one for each
//! remainder of a position by the stride, with the kernel's taps of that remainder in reverse; so there is one
//! routine, [`Correlation::run`], that copies a band of the input with its border into scratch and multiplies from
//! there.

use super::gemm::{Epilogue, Packed, Rows, Segment, Shared, Side, Source, accumulate, product};
use crate::pool::Buffer;
use rayon::prelude::*;

/// The sizes of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Pictures.
    pub count: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Channels of the input and of the output.
    pub channels: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// The stride in both directions.
    pub stride: usize,
    /// The zeros before and after each row and column.
    pub padding: (usize, usize),
}

/// The gradients of a convolution; those not asked for are none.
#[derive(Debug)]
pub struct ConvGradients {
    /// Of the weight, `[out, in, k, k]`.
    pub weight: Option<Buffer>,
    /// Of the bias, `[out]`.
    pub bias: Option<Buffer>,
}

impl Conv {
    /// Height and width of the output; 0 where the kernel does not fit.
    pub fn output(&self) -> [usize; 2] {
        let (before, after) = self.padding;
        std::array::from_fn(|d| {
            let padded = self.input[d] + before + after;
            if padded < self.kernel[d] { 0 } else { (padded - self.kernel[d]) / self.stride + 1 }
        })
    }

    /// How many multiplications and additions a forward pass takes.
    pub fn flops(&self) -> f64 {
        let sizes = [self.output(), self.channels, self.kernel];
        2.0 * self.count as f64 * sizes.iter().flatten().map(|&n| n as f64).product::<f64>()
    }

    /// y from x `[count, h, w, in]` and a weight `[out, in, k, k]`.
    pub fn forward(&self, x: &[f32], weight: &[f32], epilogue: Epilogue, y: &mut [f32]) {
        let [kh, kw] = self.kernel;
        let [ci, co] = self.channels;
        let area = (kh * kw) as isize;
        let source = Source {
            origin: 0,
            depth: [(kh, kw as isize), (kw, 1), (ci, area)],
            columns: (co, ci as isize * area),
        };
        let correlation = Correlation {
            count: self.count,
            input: self.input,
            channels: self.channels,
            taps: self.kernel,
            step: self.stride,
            origin: [-(self.padding.0 as isize); 2],
            grid: self.output(),
            output: self.output(),
            first: [0, 0],
            spread: 1,
        };
        correlation.run(x, weight, source, epilogue, y);
    }

    /// dx from dy and the weight.
    pub fn input_gradient(&self, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
        let [kh, kw] = self.kernel;
        let [ci, co] = self.channels;
        let area = (kh * kw) as isize;
        let s = self.stride;
        for remainders in (0..s * s).map(|k| [k / s, k % s]) {
            // Of the positions s i + remainder: the taps r + s j reach output i + (remainder + p − r)/s − j.
            let first: [usize; 2] = std::array::from_fn(|d| (remainders[d] + self.padding.0) % s);
            let taps: [usize; 2] =
                std::array::from_fn(|d| self.kernel[d].saturating_sub(first[d]).div_ceil(s));
            let origin = std::array::from_fn(|d| {
                let reach = (remainders[d] + self.padding.0 - first[d]) / s;
                reach as isize - (taps[d] as isize - 1)
            });
            // The last tap first.
            let last: [isize; 2] =
                std::array::from_fn(|d| (first[d] + s * taps[d]) as isize - s as isize);
            let source = Source {
                origin: last[0] * kw as isize + last[1],
                depth: [
                    (taps[0], -((s * kw) as isize)),
                    (taps[1], -(s as isize)),
                    (co, ci as isize * area),
                ],
                columns: (ci, area),
            };
            let correlation = Correlation {
                count: self.count,
                input: self.output(),
                channels: [co, ci],
                taps,
                step: 1,
                origin,
                grid: std::array::from_fn(|d| {
                    self.input[d].saturating_sub(remainders[d]).div_ceil(s)
                }),
                output: self.input,
                first: remainders,
                spread: s,
            };
            correlation.run(dy, weight, source, Epilogue::default(), dx);
        }
    }

    /// The gradients of weight and bias from x and dy.
    pub fn weight_gradient(&self, x: &[f32], dy: &[f32], bias: bool) -> (Buffer, Option<Buffer>) {
        let [kh, kw] = self.kernel;
        let [ci, co] = self.channels;
        let run = kw * ci;
        let bands = Bands::new(self.count, self.output());
        // Partial sums, as many as the sizes say: never as the threads do.
        let size = kh * run * co;
        let parts = bands.len().min(if size <= 1 << 14 {
            16
        } else if size <= 1 << 18 {
            8
        } else {
            4
        });
        let correlation = Correlation {
            count: self.count,
            input: self.input,
            channels: self.channels,
            taps: self.kernel,
            step: self.stride,
            origin: [-(self.padding.0 as isize); 2],
            grid: self.output(),
            output: self.output(),
            first: [0, 0],
            spread: 1,
        };
        // The side with more elements takes the vectors.
        let swapped = co < run && co < 16;
        let mut sums = Buffer::zeros(parts * (size + co));
        sums.par_chunks_mut((size + co).max(1)).enumerate().for_each(|(part, sums)| {
            let (sums, bias_sums) = sums.split_at_mut(size);
            let mut scratch = Buffer::new(0);
            let mut segments = Vec::new();
            for band in (part..bands.len()).step_by(parts.max(1)) {
                let band = bands.get(band);
                let padded = correlation.padded(x, &band, &mut scratch);
                // Blocks of about 128 pixels stay in the first-level cache over all tiles.
                let rows: Vec<(usize, usize)> = band.rows().collect();
                for block in rows.chunks((128 / self.output()[1].max(1)).max(1)) {
                    if bias {
                        for &(picture, y) in block {
                            let at = (picture * self.output()[0] + y) * self.output()[1] * co;
                            add_rows(&dy[at..][..self.output()[1] * co], bias_sums);
                        }
                    }
                    for (k, sums) in sums.chunks_mut((run * co).max(1)).enumerate() {
                        segments.clear();
                        segments.extend(block.iter().map(|&(picture, y)| {
                            let u = padded.row(&band, picture, y, self.stride) + k * padded.pitch;
                            let v = (picture * self.output()[0] + y) * self.output()[1] * co;
                            let rows = self.output()[1];
                            if swapped {
                                Segment { u: v, v: u, rows }
                            } else {
                                Segment { u, v, rows }
                            }
                        }));
                        let u = Side { x: padded.x, stride: self.stride * ci, len: run };
                        let v = Side { x: dy, stride: co, len: co };
                        let (u, v) = if swapped { (v, u) } else { (u, v) };
                        accumulate(u, v, &segments, sums);
                    }
                }
            }
        });
        // Sum the parts in order, and put [k, l, c, o] (or [k, o, l, c]) into PyTorch's order, a cache line of outputs
        // at a time.
        let mut weight = Buffer::new(size);
        let area = kh * kw;
        let block = 16 * ci * area;
        let tasks = weight.chunks_mut(block.max(1)).enumerate();
        super::each(size >= super::SERIAL, tasks, |(block, weight)| {
            let outputs = weight.len() / (ci * area);
            for (c, tap) in (0..ci).flat_map(|c| (0..area).map(move |tap| (c, tap))) {
                let mut line = [0f32; 16];
                for part in sums.chunks(size + co) {
                    if swapped {
                        let at = tap / kw * co * run + tap % kw * ci + c;
                        for (o, sum) in line[..outputs].iter_mut().enumerate() {
                            *sum += part[at + (16 * block + o) * run];
                        }
                    } else {
                        let part = &part[(tap * ci + c) * co + 16 * block..][..outputs];
                        line.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
                    }
                }
                for (o, sum) in line[..outputs].iter().enumerate() {
                    weight[(o * ci + c) * area + tap] = *sum;
                }
            }
        });
        let bias = bias.then(|| {
            let mut bias = Buffer::new(co);
            for (o, bias) in bias.iter_mut().enumerate() {
                *bias = sums.chunks(size + co).map(|part| part[size + o]).sum();
            }
            bias
        });
        (weight, bias)
    }
}

/// sums += the rows of x, each as long as sums.
pub fn add_rows(x: &[f32], sums: &mut [f32]) {
    for row in x.chunks_exact(sums.len()) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += x;
        }
    }
}

/// y[n, f + m i, g + m j] = Σ over taps (k, l) of x[n, s i + k + a, s j + l + b] · matrix, zero outside x.
struct Correlation {
    count: usize,
    input: [usize; 2],
    channels: [usize; 2],
    taps: [usize; 2],
    step: usize,
    origin: [isize; 2],
    /// How many i and j.
    grid: [usize; 2],
    /// Height and width of y.
    output: [usize; 2],
    /// f and g.
    first: [usize; 2],
    /// m.
    spread: usize,
}

/// A band of the input with its border.
struct Padded<'a> {
    x: &'a [f32],
    /// From one row to the next.
    pitch: usize,
    /// From one picture to the next.
    picture: usize,
}

impl Padded<'_> {
    /// The offset of the first input row of grid row y.
    fn row(&self, band: &Band, picture: usize, y: usize, step: usize) -> usize {
        (picture - band.pictures.start) * self.picture + (y - band.y.start) * step * self.pitch
    }
}

impl Correlation {
    /// y from x and the matrix of `source`.
    fn run(&self, x: &[f32], weight: &[f32], source: Source, epilogue: Epilogue, y: &mut [f32]) {
        assert_eq!(y.len(), self.count * self.output.iter().product::<usize>() * self.channels[1]);
        let bands = Bands::new(self.count, self.grid);
        let y = Shared::new(y);
        if self.folds() {
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
        let padded = self.padded(x, &band, &mut scratch);
        let [_, gw] = self.grid;
        let (mut offsets, mut out) = (Vec::new(), Vec::new());
        for (picture, row) in band.rows() {
            let from = padded.row(&band, picture, row, self.step);
            let to = (picture * oh + self.first[0] + row * self.spread) * ow + self.first[1];
            offsets.extend((0..gw).map(|j| from + j * self.step * self.channels[0]));
            out.extend((0..gw).map(|j| (to + j * self.spread) * co));
        }
        if self.taps.contains(&0) {
            offsets.fill(0);
        }
        let runs: Vec<usize> = (0..self.taps[0]).map(|k| k * padded.pitch).collect();
        let len = self.taps[1] * self.channels[0];
        let rows = Rows { x: padded.x, offsets: &offsets, runs: &runs, len };
        let epilogue = Epilogue {
            sample: epilogue.sample.map(|(values, _)| {
                (&values[band.pictures.start * co..], (band.y.len() * gw).max(1))
            }),
            ..epilogue
        };
        // SAFETY: every band has its own pixels.
        unsafe { product(rows, matrix, epilogue, y, &out) };
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
                product(input, matrix, Epilogue::default(), Shared::new(&mut products), &out);
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
    fn padded<'a>(&self, x: &'a [f32], band: &Band, scratch: &'a mut Buffer) -> Padded<'a> {
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

/// Some rows of some pictures: whole pictures if there are several.
struct Band {
    pictures: std::ops::Range<usize>,
    y: std::ops::Range<usize>,
}

impl Band {
    /// (picture, row) in order.
    fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        self.pictures.clone().flat_map(|picture| self.y.clone().map(move |y| (picture, y)))
    }
}

/// How pictures are cut for parallel work: small ones together, large ones in bands of rows.
struct Bands {
    count: usize,
    height: usize,
    /// Pictures to a band.
    together: usize,
    /// Bands to a picture.
    cuts: usize,
}

impl Bands {
    fn new(count: usize, [height, width]: [usize; 2]) -> Self {
        let pixels = height * width;
        if pixels == 0 || count == 0 {
            return Self { count: 0, height, together: 1, cuts: 1 };
        }
        // About 32 bands in all, of 128 to 1,024 pixels.
        let target = (count * pixels / 32).clamp(128, 1024);
        let together = (target / pixels).clamp(1, count);
        let cuts = (pixels / target).clamp(1, height);
        Self { count, height, together, cuts }
    }

    fn len(&self) -> usize {
        self.count.div_ceil(self.together) * self.cuts
    }

    /// Does `work` on each band, in parallel if there are several.
    fn each(&self, work: impl Fn(Band) + Sync) {
        super::each(self.len() > 1, 0..self.len(), |k| work(self.get(k)));
    }

    fn get(&self, k: usize) -> Band {
        let (group, cut) = (k / self.cuts, k % self.cuts);
        let pictures = group * self.together..((group + 1) * self.together).min(self.count);
        Band { pictures, y: cut * self.height / self.cuts..(cut + 1) * self.height / self.cuts }
    }
}
