//! y = x Wᵀ + b for rows x `[n, in]` and a weight `[out, in]`, forward and both gradients.

use super::gemm::{Epilogue, Packed, Rows, Segment, Shared, Side, Source, accumulate, product};
use crate::pool::Buffer;
use rayon::prelude::*;

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
        let matrix = Packed::new(
            weight,
            Source {
                origin: 0,
                depth: [(1, 0), (1, 0), (self.input, 1)],
                columns: (self.output, self.input as isize),
            },
        );
        self.multiply(x, self.input, &matrix, self.output, epilogue, y);
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
        self.multiply(dy, self.output, &matrix, self.input, Epilogue::default(), dx);
    }

    fn multiply(
        &self,
        x: &[f32],
        input: usize,
        matrix: &Packed,
        output: usize,
        epilogue: Epilogue,
        y: &mut [f32],
    ) {
        assert_eq!(x.len(), self.rows * input);
        assert_eq!(y.len(), self.rows * output);
        let serial = self.rows * self.input * self.output < SERIAL;
        let each = if serial { 384 } else { self.rows.div_ceil(16).next_multiple_of(12).min(384) };
        let y = Shared::new(y);
        let work = |task: usize| {
            let first = task * each;
            let count = each.min(self.rows - first);
            let offsets: Vec<usize> = (first..first + count).map(|row| row * input).collect();
            let out: Vec<usize> = (first..first + count).map(|row| row * output).collect();
            let rows = Rows { x, offsets: &offsets, runs: &[0], len: input };
            // SAFETY: every task has its own rows.
            unsafe { product(rows, matrix, epilogue, y, &out) };
        };
        let tasks = self.rows.div_ceil(each);
        if serial {
            (0..tasks).for_each(work);
        } else {
            (0..tasks).into_par_iter().for_each(work);
        }
    }

    /// The gradients of weight and bias from x and dy.
    pub fn weight_gradient(&self, x: &[f32], dy: &[f32], bias: bool) -> (Buffer, Option<Buffer>) {
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
        if self.rows * size < SERIAL {
            (0..parts * strips).for_each(work);
        } else {
            (0..parts * strips).into_par_iter().for_each(work);
        }
        let weight = if parts == 1 {
            sums
        } else {
            let mut weight = Buffer::copy(&sums[..size]);
            for part in sums.chunks(size.max(1)).skip(1) {
                for (sum, part) in weight.iter_mut().zip(part) {
                    *sum += part;
                }
            }
            weight
        };
        let bias = bias.then(|| {
            let mut bias = Buffer::zeros(self.output);
            super::conv::add_rows(dy, &mut bias);
            bias
        });
        (weight, bias)
    }
}
