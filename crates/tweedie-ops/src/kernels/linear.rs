//! y = x Wᵀ for rows x `[n, in]` and a weight `[out, in]`, and the weight's gradient.

use super::elements;
use super::gemm::{
    Epilogue, Packed, Rows, Segment, Shared, Side, Source, accumulate_within, product,
};
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

/// Least number of multiplications of a product on several threads.
pub(super) const SERIAL: usize = 1 << 18;

/// Rows that stay in the first-level cache while a weight's gradient runs over its tiles.
const BLOCK: usize = 128;

/// The matrix product y = x Wᵀ of slices: x `[rows, input]`, a weight `[output, input]` and y `[rows, output]`, for
/// `sizes` = rows, input and output. Its rate is the measure of fused operations.
///
/// # Panics
/// If a slice has another length.
pub fn matrix_product(sizes: [usize; 3], x: &[f32], weight: &[f32], y: &mut [f32]) {
    let [rows, input, output] = sizes;
    assert_eq!(x.len(), elements([rows, input]), "the input has another shape");
    assert_eq!(weight.len(), elements([output, input]), "the weight has another shape");
    assert_eq!(y.len(), elements([rows, output]), "the output has another shape");
    let (columns, depth) = ((output, input as isize), [(1, 0), (1, 0), (input, 1)]);
    let matrix = Packed::new(weight, Source { origin: 0, depth, columns });
    let serial = rows * input * output < SERIAL;
    let each = if serial { 384 } else { rows.div_ceil(16).next_multiple_of(12).min(384) };
    let y = Shared::new(y);
    super::each(!serial, (0..rows).step_by(each), |first| {
        let some = first..(first + each).min(rows);
        let offsets: Vec<usize> = some.clone().map(|row| row * input).collect();
        let out: Vec<usize> = some.map(|row| row * output).collect();
        let rows = Rows { x, offsets: &offsets, runs: &[0], len: input };
        // SAFETY: every task has its own rows.
        unsafe { product(rows, matrix.matrix(0), Epilogue::default(), y, &out) };
    });
}

impl Linear {
    /// The split of a weight's gradient: the number of partial sums over rows (several for many rows), and the rows of
    /// the weight of each task, which reads all of x: few tasks read less, and every thread wants one.
    fn split(&self) -> (usize, usize) {
        let parts = (self.rows / 2048).clamp(1, 8);
        let threads = rayon::current_num_threads();
        let tasks = match parts {
            1 => self.output.div_ceil(96).max(1).next_multiple_of(threads),
            _ => 1,
        };
        (parts, self.output.div_ceil(tasks).max(1).next_multiple_of(12))
    }
}

/// What a weight's gradient is computed from.
#[derive(Debug, Clone, Copy)]
pub struct Outer<'a> {
    /// The sizes of the layer.
    pub layer: Linear,
    /// Its input.
    pub x: &'a [f32],
    /// The gradient by its output.
    pub dy: &'a [f32],
    /// The number of inputs, the first ones, that each output depends on, if not all.
    pub reach: Option<&'a [usize]>,
}

/// The gradients of several layers' weights, zero where an output does not depend on an input.
pub fn weight_gradients(layers: &[Outer]) -> Vec<Buffer> {
    let (mut tasks, mut work) = (Vec::new(), 0);
    for (k, Outer { layer, x, dy, .. }) in layers.iter().enumerate() {
        assert_eq!(x.len(), elements([layer.rows, layer.input]), "an input has another shape");
        assert_eq!(dy.len(), elements([layer.rows, layer.output]), "a gradient has another shape");
        let (parts, each) = layer.split();
        let strips = (0..layer.output).step_by(each);
        tasks.extend((0..parts).flat_map(|part| strips.clone().map(move |first| (k, part, first))));
        work += layer.rows * layer.output * layer.input;
    }
    let size = |layer: &Linear| layer.output * layer.input;
    let place = |Outer { layer, .. }: &Outer| Buffer::new(layer.split().0 * size(layer));
    let mut sums: Vec<Buffer> = layers.iter().map(place).collect();
    let shared: Vec<Shared> = sums.iter_mut().map(|sums| Shared::new(sums)).collect();
    super::each(work >= SERIAL, tasks.into_iter(), |(k, part, first)| {
        let Outer { layer, x, dy, reach } = layers[k];
        let (parts, each) = layer.split();
        let outputs = each.min(layer.output - first);
        let at = part * size(&layer) + first * layer.input;
        // SAFETY: every task has its own rows of its own part.
        let sums = unsafe { shared[k].part(at, outputs * layer.input) };
        sums.fill(0.0);
        let reach = reach.map(|reach| &reach[first..][..outputs]);
        let (from, to) = (part * layer.rows / parts, (part + 1) * layer.rows / parts);
        for row in (from..to).step_by(BLOCK) {
            let rows = BLOCK.min(to - row);
            let segment = Segment { u: row * layer.output + first, v: row * layer.input, rows };
            let u = Side { x: dy, stride: layer.output, len: outputs };
            let v = Side { x, stride: layer.input, len: layer.input };
            accumulate_within(u, v, &[segment], reach, sums);
        }
    });
    layers.iter().zip(sums).map(|(of, sums)| together(sums, size(&of.layer))).collect()
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
