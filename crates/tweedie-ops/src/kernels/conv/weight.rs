//! The gradient of a convolution's weight.
//!
//! For each row of the kernel, the pixels under it are one run of memory; the gradient is the sum over output pixels
//! of the outer products of that run with the output's gradient.

use super::{Band, Bands, Conv};
use crate::kernels::conv::correlate::Padded;
use crate::kernels::gemm::{Segment, Shared, Side, accumulate};
use crate::kernels::{SERIAL, each};
use crate::pool::Buffer;

/// Pixels whose rows stay in the first-level cache while a sum runs over its tiles.
const BLOCK: usize = 128;

/// The division of a sum over pixels: in parts, each the sum over some bands, and each part in strips of output
/// channels. It depends on the sizes alone, never on the number of threads.
struct Cut {
    parts: usize,
    /// Output channels of a strip.
    strip: usize,
    strips: usize,
    /// Whether dy is broadcast to every lane, and x fills vectors.
    swapped: bool,
    /// The length of the runs of x under a row of the kernel.
    run: usize,
}

impl Cut {
    fn new(conv: &Conv, bands: &Bands) -> Self {
        let pixels = conv.count * conv.output().iter().product::<usize>();
        let parts = (pixels / 1024).clamp(1, 8).min(bands.len());
        let [ci, co] = conv.channels;
        let run = conv.kernel[1] * ci;
        // The side with more elements fills vectors.
        let swapped = co < run && co < 16;
        let strips = if swapped { 1 } else { (8 / parts.max(1)).clamp(1, co.div_ceil(32)) };
        let strip = co.div_ceil(strips).next_multiple_of(32).min(co);
        Self { parts, strip, strips: co.div_ceil(strip.max(1)), swapped, run }
    }

    /// The output channels of a strip.
    fn outputs(&self, strip: usize, co: usize) -> std::ops::Range<usize> {
        strip * self.strip..((strip + 1) * self.strip).min(co)
    }
}

impl Conv {
    /// The gradient of the weight, `[out, in, k, k]`, from x and dy. That of the bias is
    /// [`sum_rows`](crate::kernels::reduce::sum_rows) of dy.
    pub fn weight_gradient(&self, x: &[f32], dy: &[f32]) -> Buffer {
        self.check_pictures(x, dy);
        if let Some(weight) = self.weight_gradient_by_tiles(x, dy) {
            return weight;
        }
        let [_, co] = self.channels;
        let bands = Bands::new(self.count, self.output());
        let cut = Cut::new(self, &bands);
        // The sums of each part, strip by strip.
        let size = self.kernel[0] * cut.run * co;
        let mut sums = Buffer::zeros(cut.parts * size);
        let shared = Shared::new(&mut sums);
        each(cut.parts * cut.strips > 1, 0..cut.parts * cut.strips, |task| {
            let (part, strip) = (task / cut.strips, task % cut.strips);
            let outputs = cut.outputs(strip, co);
            let each_output = self.kernel[0] * cut.run;
            let at = part * size + outputs.start * each_output;
            // SAFETY: every task has its own strip of its own part.
            let sums = unsafe { shared.part(at, outputs.len() * each_output) };
            let mut scratch = Buffer::new(0);
            for band in (part..bands.len()).step_by(cut.parts) {
                let band = bands.get(band);
                let padded = self.correlation().padded(x, &band, &mut scratch);
                self.add_band(&cut, &band, &padded, dy, outputs.clone(), sums);
            }
        });
        self.collect(&cut, &sums)
    }

    /// The offset of the gradient of output row y of a picture.
    fn output_row(&self, picture: usize, y: usize) -> usize {
        let [height, width] = self.output();
        (picture * height + y) * width * self.channels[1]
    }

    fn add_band(
        &self,
        cut: &Cut,
        band: &Band,
        padded: &Padded,
        dy: &[f32],
        outputs: std::ops::Range<usize>,
        sums: &mut [f32],
    ) {
        let [_, rows] = self.output();
        let [ci, co] = self.channels;
        let all: Vec<(usize, usize)> = band.rows().collect();
        let mut segments = Vec::new();
        for block in all.chunks((BLOCK / rows.max(1)).max(1)) {
            for (k, sums) in sums.chunks_mut((cut.run * outputs.len()).max(1)).enumerate() {
                segments.clear();
                segments.extend(block.iter().map(|&(picture, y)| {
                    let u = padded.row(band, picture, y, self.stride) + k * padded.pitch;
                    let v = self.output_row(picture, y) + outputs.start;
                    if cut.swapped { Segment { u: v, v: u, rows } } else { Segment { u, v, rows } }
                }));
                let u = Side { x: padded.x, stride: self.stride * ci, len: cut.run };
                let v = Side { x: dy, stride: co, len: outputs.len() };
                let (u, v) = if cut.swapped { (v, u) } else { (u, v) };
                accumulate(u, v, &segments, sums);
            }
        }
    }

    /// The sum of all parts in order, from [k, l, c, o] (or [k, o, l, c]) in strips to PyTorch's [o, c, k, l], a cache
    /// line of outputs at a time.
    fn collect(&self, cut: &Cut, sums: &[f32]) -> Buffer {
        let [kh, kw] = self.kernel;
        let [ci, co] = self.channels;
        let (area, run) = (kh * kw, cut.run);
        let size = kh * run * co;
        let mut weight = Buffer::new(size);
        let tasks = weight.chunks_mut((16 * ci * area).max(1)).enumerate();
        each(size >= SERIAL, tasks, |(block, weight)| {
            let count = weight.len() / (ci * area);
            let strip = cut.outputs(16 * block / cut.strip, co);
            let inside = 16 * block - strip.start;
            for (c, tap) in (0..ci).flat_map(|c| (0..area).map(move |tap| (c, tap))) {
                let mut line = [0f32; 16];
                for part in sums.chunks(size) {
                    if cut.swapped {
                        let at = tap / kw * co * run + tap % kw * ci + c;
                        for (o, sum) in line[..count].iter_mut().enumerate() {
                            *sum += part[at + (16 * block + o) * run];
                        }
                    } else {
                        let at = strip.start * kh * run + (tap * ci + c) * strip.len() + inside;
                        line.iter_mut().zip(&part[at..][..count]).for_each(|(s, p)| *s += p);
                    }
                }
                for (o, sum) in line[..count].iter().enumerate() {
                    weight[(o * ci + c) * area + tap] = *sum;
                }
            }
        });
        weight
    }
}
