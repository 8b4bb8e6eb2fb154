//! y = x Wᵀ + b for rows x `[n, in]` and a weight `[out, in]`, forward and both gradients.

use super::gemm::{Epilogue, Packed, Rows, Segment, Shared, Side, Source, accumulate, product};
use crate::pool::Buffer;

/// The sizes of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linear {
    /// Rows.
    pub rows: usize,
    /// The width of the input.
    pub input: usize,
    /// The width of the output.
    pub output: usize,
}

/// Products of fewer multiplications than this are not worth a second thread.
pub(super) const SERIAL: usize = 1 << 18;

/// Rows that stay in the first-level cache while a weight's gradient runs over its tiles.
const BLOCK: usize = 128;

impl Linear {
    /// How many multiplications and additions a forward pass takes.
    pub fn flops(&self) -> f64 {
        2.0 * self.rows as f64 * self.input as f64 * self.output as f64
    }

    /// y from x and the weight.
    pub fn forward(&self, x: &[f32], weight: &[f32], epilogue: Epilogue, y: &mut [f32]) {
        let matrix = self.matrix(weight);
        self.multiply(x, self.input, self.output, y, |rows, out, y, _| {
            // SAFETY: every task has its own rows.
            unsafe { product(rows, matrix.matrix(0), epilogue, y, out) };
        });
    }

    fn matrix(&self, weight: &[f32]) -> Packed {
        let columns = (self.output, self.input as isize);
        let depth = [(1, 0), (1, 0), (self.input, 1)];
        Packed::new(weight, Source { origin: 0, depth, columns })
    }

    /// dx from dy and the weight.
    pub fn input_gradient(&self, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
        let matrix = Packed::new(
            weight,
            Source {
                origin: 0,
                depth: [(1, 0), (1, 0), (self.output, self.input as isize)],
                columns: (self.input, 1),
            },
        );
        self.multiply(dy, self.output, self.input, dx, |rows, out, dx, _| {
            // SAFETY: every task has its own rows.
            unsafe { product(rows, matrix.matrix(0), Epilogue::default(), dx, out) };
        });
    }

    /// Does `work` on some rows of x at a time: the rows, where their outputs are, the output and the first row.
    fn multiply(
        &self,
        x: &[f32],
        input: usize,
        output: usize,
        y: &mut [f32],
        work: impl Fn(Rows, &[usize], Shared, usize) + Sync,
    ) {
        assert_eq!(x.len(), self.rows * input);
        assert_eq!(y.len(), self.rows * output);
        let serial = self.rows * self.input * self.output < SERIAL;
        let each = if serial { 384 } else { self.rows.div_ceil(16).next_multiple_of(12).min(384) };
        let y = Shared::new(y);
        super::each(!serial, (0..self.rows).step_by(each.max(1)), |first| {
            let rows = first..(first + each).min(self.rows);
            let offsets: Vec<usize> = rows.clone().map(|row| row * input).collect();
            let out: Vec<usize> = rows.map(|row| row * output).collect();
            work(Rows { x, offsets: &offsets, runs: &[0], len: input }, &out, y, first);
        });
    }

    /// The gradient of the weight from x and dy. That of the bias is
    /// [`sum_rows`](super::reduce::sum_rows) of dy.
    pub fn weight_gradient(&self, x: &[f32], dy: &[f32]) -> Buffer {
        weight_gradients(&[(*self, x, dy)]).remove(0)
    }

    /// How a weight's gradient is split: sums over some of the rows, where there are many; otherwise each task has some
    /// rows of the weight. The number of parts, and the rows of the weight that a task has.
    fn split(&self) -> (usize, usize) {
        let parts = (self.rows / 2048).clamp(1, 8);
        (parts, if parts > 1 { self.output } else { 24.min(self.output) }.max(1))
    }
}

/// The gradients of several layers' weights, each from the layer's x and dy.
pub fn weight_gradients(layers: &[(Linear, &[f32], &[f32])]) -> Vec<Buffer> {
    let (mut tasks, mut work) = (Vec::new(), 0);
    for (k, (layer, x, dy)) in layers.iter().enumerate() {
        assert_eq!(x.len(), layer.rows * layer.input);
        assert_eq!(dy.len(), layer.rows * layer.output);
        let (parts, each) = layer.split();
        let strips = (0..layer.output).step_by(each);
        tasks.extend((0..parts).flat_map(|part| strips.clone().map(move |first| (k, part, first))));
        work += layer.rows * layer.output * layer.input;
    }
    let size = |layer: &Linear| layer.output * layer.input;
    let zeros = |(layer, ..): &(Linear, _, _)| Buffer::zeros(layer.split().0 * size(layer));
    let mut sums: Vec<Buffer> = layers.iter().map(zeros).collect();
    let shared: Vec<Shared> = sums.iter_mut().map(|sums| Shared::new(sums)).collect();
    super::each(work >= SERIAL, tasks.into_iter(), |(k, part, first)| {
        let (layer, x, dy) = layers[k];
        let (parts, each) = layer.split();
        let outputs = each.min(layer.output - first);
        let at = part * size(&layer) + first * layer.input;
        // SAFETY: every task has its own rows of its own part.
        let sums = unsafe { shared[k].part(at, outputs * layer.input) };
        let (from, to) = (part * layer.rows / parts, (part + 1) * layer.rows / parts);
        for row in (from..to).step_by(BLOCK) {
            let rows = BLOCK.min(to - row);
            let segment = Segment { u: row * layer.output + first, v: row * layer.input, rows };
            let u = Side { x: dy, stride: layer.output, len: outputs };
            let v = Side { x, stride: layer.input, len: layer.input };
            accumulate(u, v, &[segment], sums);
        }
    });
    layers.iter().zip(sums).map(|((layer, ..), sums)| together(sums, size(layer))).collect()
}

/// The sum of parts of this size.
fn together(sums: Buffer, size: usize) -> Buffer {
    if sums.len() == size {
        return sums;
    }
    let mut whole = Buffer::copy(&sums[..size]);
    for part in sums.chunks(size.max(1)).skip(1) {
        whole.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    whole
}
