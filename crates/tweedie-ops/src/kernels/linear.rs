//! y = x Wᵀ + b for rows x `[n, in]` and a weight `[out, in]`, forward and both gradients.

use super::gemm::{Epilogue, Packed, Rows, Segment, Shared, Side, Source, accumulate, product};
use super::{activation, activation::Activation, with_scratch};
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
const SERIAL: usize = 1 << 18;

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

    /// y = f(x Wᵀ + b), and what f was applied to where there is a place for it.
    pub fn forward_activated(
        &self,
        x: &[f32],
        weight: &[f32],
        epilogue: Epilogue,
        activation: Activation,
        before: Option<&mut [f32]>,
        y: &mut [f32],
    ) {
        let matrix = self.matrix(weight);
        let before = before.map(Shared::new);
        self.multiply(x, self.input, self.output, y, |rows, out, y, first| {
            let len = out.len() * self.output;
            let at = first * self.output;
            with_scratch(if before.is_some() { 0 } else { len }, |scratch| {
                let before = match before {
                    // SAFETY: every task has its own rows.
                    Some(before) => unsafe { before.part(at, len) },
                    None => scratch,
                };
                let here: Vec<usize> = out.iter().map(|out| out - at).collect();
                let residual = epilogue.residual.map(|residual| &residual[at..][..len]);
                let epilogue = Epilogue { residual, ..epilogue };
                // SAFETY: the part, or the scratch, is this task's own.
                unsafe { product(rows, matrix.matrix(0), epilogue, Shared::new(before), &here) };
                // SAFETY: every task has its own rows.
                activation::forward(activation, before, unsafe { y.part(at, len) });
            });
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
        assert_eq!(x.len(), self.rows * self.input);
        assert_eq!(dy.len(), self.rows * self.output);
        let size = self.output * self.input;
        // Many rows: partial sums over some of them. Otherwise each task has some rows of the weight.
        let parts = (self.rows / 2048).clamp(1, 8);
        let each = if parts > 1 { self.output } else { 24.min(self.output) };
        let strips = self.output.div_ceil(each.max(1));
        let mut sums = Buffer::zeros(parts * size);
        let shared = Shared::new(&mut sums);
        let work = |task: usize| {
            let (part, strip) = (task / strips, task % strips);
            let first = strip * each;
            let outputs = each.min(self.output - first);
            // SAFETY: every task has its own rows of its own part.
            let sums =
                unsafe { shared.part(part * size + first * self.input, outputs * self.input) };
            let (from, to) = (part * self.rows / parts, (part + 1) * self.rows / parts);
            for row in (from..to).step_by(BLOCK) {
                let rows = BLOCK.min(to - row);
                let segment = Segment { u: row * self.output + first, v: row * self.input, rows };
                let u = Side { x: dy, stride: self.output, len: outputs };
                let v = Side { x, stride: self.input, len: self.input };
                accumulate(u, v, &[segment], sums);
            }
        };
        super::each(self.rows * size >= SERIAL, 0..parts * strips, work);
        if parts == 1 {
            return sums;
        }
        let mut weight = Buffer::copy(&sums[..size]);
        for part in sums.chunks(size.max(1)).skip(1) {
            weight.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        weight
    }
}
