//! Doubling and halving of channels-last pictures; joining and splitting of channels.

use super::{SERIAL, each, elements, vectorized};

/// Pictures `[n, height, width, channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pictures {
    /// Pictures.
    pub samples: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

impl Pictures {
    /// All elements.
    pub fn len(&self) -> usize {
        elements([self.samples, self.height, self.width, self.channels])
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn row(&self) -> usize {
        self.width * self.channels
    }

    /// The shape after [`double`].
    pub fn doubled(self) -> Self {
        Self { height: 2 * self.height, width: 2 * self.width, ..self }
    }

    /// The shape after [`halve`].
    pub fn halved(self) -> Self {
        Self { height: self.height / 2, width: self.width / 2, ..self }
    }
}

/// Repeats each pixel twice in both directions: `shape` is that of x.
pub fn double(shape: Pictures, x: &[f32], y: &mut [f32]) {
    assert!(x.len() == shape.len() && y.len() == shape.doubled().len());
    if shape.is_empty() {
        return;
    }
    let (row, c) = (shape.row(), shape.channels);
    each(y.len() >= SERIAL, x.chunks(row).zip(y.chunks_mut(4 * row)), |(x, y)| {
        let (first, second) = y.split_at_mut(2 * row);
        for (x, y) in x.chunks_exact(c).zip(first.chunks_exact_mut(2 * c)) {
            let (left, right) = y.split_at_mut(c);
            left.copy_from_slice(x);
            right.copy_from_slice(x);
        }
        second.copy_from_slice(first);
    });
}

/// The gradient of [`double`] at x: the sum over the four copies of each pixel.
pub fn double_backward(shape: Pictures, dy: &[f32], dx: &mut [f32]) {
    assert!(dx.len() == shape.len() && dy.len() == shape.doubled().len());
    if shape.is_empty() {
        return;
    }
    let (row, c) = (shape.row(), shape.channels);
    each(dy.len() >= SERIAL, dy.chunks(4 * row).zip(dx.chunks_mut(row)), |(dy, dx)| {
        sum_fours(c, 1.0, dy, 2 * row, dx);
    });
}

/// The mean of each square of 2 × 2 pixels; a last odd row or column is left out. `shape` is that of x.
pub fn halve(shape: Pictures, x: &[f32], y: &mut [f32]) {
    let small = shape.halved();
    assert!(x.len() == shape.len() && y.len() == small.len());
    if small.is_empty() {
        return;
    }
    let (row, c) = (shape.row(), shape.channels);
    let pairs = x.chunks(shape.height * row).flat_map(|x| x.chunks_exact(2 * row));
    each(x.len() >= SERIAL, pairs.zip(y.chunks_mut(small.row())), |(x, y)| {
        sum_fours(c, 0.25, x, row, y);
    });
}

/// The gradient of [`halve`] at x, 0 at pixels that were left out.
pub fn halve_backward(shape: Pictures, dy: &[f32], dx: &mut [f32]) {
    let small = shape.halved();
    assert!(dx.len() == shape.len() && dy.len() == small.len());
    if small.is_empty() {
        dx.fill(0.0);
        return;
    }
    let (row, c, large) = (shape.row(), shape.channels, dx.len() >= SERIAL);
    let mut pairs = Vec::with_capacity(small.samples * small.height);
    for dx in dx.chunks_mut(shape.height * row) {
        let (even, odd) = dx.split_at_mut(2 * small.height * row);
        odd.fill(0.0);
        pairs.extend(even.chunks_exact_mut(2 * row));
    }
    each(large, dy.chunks(small.row()).zip(pairs), |(dy, dx)| {
        let (first, second) = dx.split_at_mut(row);
        for (dy, dx) in dy.chunks_exact(c).zip(first.chunks_exact_mut(2 * c)) {
            let (left, right) = dx.split_at_mut(c);
            for ((dy, left), right) in dy.iter().zip(left).zip(right) {
                *left = 0.25 * dy;
                *right = 0.25 * dy;
            }
        }
        first[2 * small.row()..].fill(0.0);
        second.copy_from_slice(first);
    });
}

vectorized! {
    /// `y` = `factor` times the sums of squares of 2 × 2 pixels, from two rows of length `row`.
    fn sum_fours<'a>(
        simd: S, channels: usize, factor: f32, x: &'a [f32], row: usize, y: &'a mut [f32],
    ) -> () {
        let factors = simd.splat_f32s(factor);
        let (first, second) = x.split_at(row);
        let pixels = first.chunks_exact(2 * channels).zip(second.chunks_exact(2 * channels));
        for ((first, second), y) in pixels.zip(y.chunks_exact_mut(channels)) {
            let (a, b) = first.split_at(channels);
            let (c, d) = second.split_at(channels);
            let ((a, a_tail), (b, b_tail)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
            let ((c, c_tail), (d, d_tail)) = (S::as_simd_f32s(c), S::as_simd_f32s(d));
            let (y, y_tail) = S::as_mut_simd_f32s(y);
            for ((((a, b), c), d), y) in a.iter().zip(b).zip(c).zip(d).zip(y) {
                let sum = simd.add_f32s(simd.add_f32s(*a, *b), simd.add_f32s(*c, *d));
                *y = simd.mul_f32s(sum, factors);
            }
            // The same additions, so the same bits.
            for ((((a, b), c), d), y) in a_tail.iter().zip(b_tail).zip(c_tail).zip(d_tail).zip(y_tail) {
                *y = ((a + b) + (c + d)) * factor;
            }
        }
    }
}

/// Rows in a task of about 16 k elements.
fn rows_per_task(channels: usize) -> usize {
    SERIAL.div_ceil(channels.max(1))
}

/// Joins x `[rows, a]` and z `[rows, b]` to y `[rows, a + b]`; `channels` are a and b.
pub fn join(channels: [usize; 2], x: &[f32], z: &[f32], y: &mut [f32]) {
    let [a, b] = channels;
    assert!(a > 0 && b > 0 && x.len() / a == z.len() / b && x.len() + z.len() == y.len());
    assert!(x.len().is_multiple_of(a) && z.len().is_multiple_of(b));
    let (rows, large) = (rows_per_task(a + b), y.len() >= SERIAL);
    let tasks = x.chunks(rows * a).zip(z.chunks(rows * b)).zip(y.chunks_mut(rows * (a + b)));
    each(large, tasks, |((x, z), y)| {
        for ((x, z), y) in x.chunks_exact(a).zip(z.chunks_exact(b)).zip(y.chunks_exact_mut(a + b)) {
            y[..a].copy_from_slice(x);
            y[a..].copy_from_slice(z);
        }
    });
}

/// The gradients of [`join`]: dx and dz from dy.
pub fn part(channels: [usize; 2], dy: &[f32], dx: &mut [f32], dz: &mut [f32]) {
    let [a, b] = channels;
    assert!(a > 0 && b > 0 && dx.len() / a == dz.len() / b && dx.len() + dz.len() == dy.len());
    assert!(dx.len().is_multiple_of(a) && dz.len().is_multiple_of(b));
    let rows = rows_per_task(a + b);
    let parts = dx.chunks_mut(rows * a).zip(dz.chunks_mut(rows * b));
    each(dy.len() >= SERIAL, dy.chunks(rows * (a + b)).zip(parts), |(dy, (dx, dz))| {
        let parts = dx.chunks_exact_mut(a).zip(dz.chunks_exact_mut(b));
        for (dy, (dx, dz)) in dy.chunks_exact(a + b).zip(parts) {
            dx.copy_from_slice(&dy[..a]);
            dz.copy_from_slice(&dy[a..]);
        }
    });
}
