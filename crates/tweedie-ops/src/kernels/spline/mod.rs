//! Monotone rational-quadratic splines (Durkan, Bekasov, Murray and Papamakarios 2019, equations 4 to 8), forward and
//! backward.
//!
//! In a bin from (x_k, y_k) of width w and height h, with s = h/w, the slopes δ and δ′ at its ends, ξ = (x − x_k)/w and
//! ζ = 1 − ξ,
//!
//! > y = y_k + h N/D,  dy/dx = s² A/D²,  N = s ξ² + δ ξζ,  D = s (ξ² + ζ²) + (δ + δ′) ξζ,  A = δ′ ξ² + 2 s ξζ + δ ζ².
//!
//! For the inverse, with υ = (y − y_k)/h and d = δ (1 − υ) − δ′ υ, the root of the quadratic is, where d ≥ 0,
//!
//! > ξ = 2 s υ/(d + 2 s υ + √(d² + 4 s² υ (1 − υ))),
//!
//! and elsewhere ζ is the same of −d and 1 − υ. No sum here has terms of both signs, so nothing cancels.
//!
//! Values go through in groups of one for each lane of a vector, with their parameters transposed; every value has its
//! bits wherever it lies.

mod group;

use super::{SERIAL, each, elements, with_scratch};
use group::{Inputs, differentiate, map};

/// Most lanes of a vector.
const LANES: usize = 16;

/// Least number of values of a task.
const TASK: usize = 256;

/// Direction of a spline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// x ↦ y, the spline.
    ToNoise,
    /// y ↦ x, its inverse.
    ToData,
}

/// Ends of a spline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Slope 1 at both ends, so that the spline joins the identity outside smoothly.
    Linear,
    /// One learned slope for both ends, which are the same point of a circle.
    Periodic,
}

/// A family of splines from \[−bound, bound\] to itself, the identity outside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spline {
    /// Bins, at least one.
    pub bins: usize,
    /// The end of the interval.
    pub bound: f32,
    /// The slopes at the ends.
    pub ends: Ends,
}

impl Spline {
    /// Parameters of a value: 3 · bins − 1 with linear ends, for the slopes at the inner knots, and 3 · bins with
    /// periodic ones, for the slopes at the left ends of bins.
    ///
    /// # Panics
    /// If there are no bins.
    pub fn parameters(&self) -> usize {
        assert!(self.bins > 0, "a spline has at least one bin");
        elements([3, self.bins]) - usize::from(self.ends == Ends::Linear)
    }

    /// The place of knot k's slope among the slopes, if it is learned.
    #[inline(always)]
    fn slope_of(&self, k: usize) -> Option<usize> {
        match self.ends {
            Ends::Linear => (0 < k && k < self.bins).then(|| k - 1),
            Ends::Periodic => Some(if k < self.bins { k } else { 0 }),
        }
    }
}

/// Rows of values, and their splines.
#[derive(Debug, Clone, Copy)]
pub struct Splines {
    /// Rows.
    pub rows: usize,
    /// Values of a row.
    pub width: usize,
    /// The family of the splines.
    pub family: Spline,
    /// The direction in which values go through them.
    pub direction: Direction,
}

impl Splines {
    /// Panics unless the slices have the shapes of x, its parameters and y.
    fn check(&self, x: &[f32], parameters: &[f32], y: &[f32]) {
        let Self { rows, width, family, .. } = *self;
        let bound = family.bound;
        assert!(bound > 0.0 && bound.is_finite(), "a bound is positive and finite");
        assert_eq!(x.len(), elements([rows, width]), "the values have another shape");
        let all = elements([rows, width, family.parameters()]);
        assert_eq!(parameters.len(), all, "the parameters have another shape");
        assert_eq!(y.len(), elements([rows, width.saturating_add(1)]), "y has another shape");
    }

    /// Rows of a task.
    fn task(&self) -> usize {
        TASK.div_ceil(self.width.max(1))
    }

    /// The length of the transposed parameters and exponentials of a group, and of two numbers for each value of a
    /// task.
    fn scratch(&self) -> [usize; 2] {
        let group = LANES * (self.family.parameters() + 2 * self.family.bins);
        [group, 2 * self.width * self.task().min(self.rows)]
    }

    /// Computes y `[rows, width + 1]`, the values that x maps to and then the sum of their logarithmic slopes, from x
    /// `[rows, width]` and parameters `[rows, width · parameters]`.
    pub fn forward(&self, x: &[f32], parameters: &[f32], y: &mut [f32]) {
        self.check(x, parameters, y);
        let Self { width, family, direction, .. } = *self;
        let (count, [group, flat]) = (family.parameters(), self.scratch());
        let rows = |first: usize| first..(first + self.task()).min(self.rows);
        let tasks = y.chunks_mut(self.task() * (width + 1)).enumerate();
        each(parameters.len() >= SERIAL, tasks, |(task, y)| {
            let rows = rows(task * self.task());
            let values = rows.start * width..rows.end * width;
            let parameters = &parameters[values.start * count..values.end * count];
            with_scratch(group + flat, |scratch| {
                let (group, flat) = scratch.split_at_mut(group);
                let (to, slopes) = flat[..2 * values.len()].split_at_mut(values.len());
                map(family, direction, &x[values], parameters, to, slopes, group);
                for (row, y) in y.chunks_exact_mut(width + 1).enumerate() {
                    y[..width].copy_from_slice(&to[row * width..][..width]);
                    let slopes = &slopes[row * width..][..width];
                    y[width] = slopes.iter().map(|slope| f64::from(*slope)).sum::<f64>() as f32;
                }
            });
        });
    }

    /// Computes the gradients by x and by the parameters from those by y.
    pub fn backward(
        &self,
        x: &[f32],
        parameters: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        dparameters: &mut [f32],
    ) {
        self.check(x, parameters, dy);
        assert_eq!(dx.len(), x.len(), "the gradient of the values has another shape");
        assert_eq!(
            dparameters.len(),
            parameters.len(),
            "the gradient of the parameters has another shape"
        );
        let Self { width, family, direction, .. } = *self;
        let (count, [group, flat]) = (family.parameters(), self.scratch());
        let len = (self.task() * width).max(1);
        let tasks = x.chunks(len).zip(dx.chunks_mut(len));
        let tasks =
            tasks.zip(parameters.chunks(len * count).zip(dparameters.chunks_mut(len * count)));
        let tasks = tasks.zip(dy.chunks(self.task() * (width + 1)));
        each(parameters.len() >= SERIAL, tasks, |(((x, dx), (parameters, dparameters)), dy)| {
            with_scratch(group + flat, |scratch| {
                let (group, flat) = scratch.split_at_mut(group);
                let (values, slopes) = flat[..2 * x.len()].split_at_mut(x.len());
                for (row, dy) in dy.chunks_exact(width + 1).enumerate() {
                    values[row * width..][..width].copy_from_slice(&dy[..width]);
                    slopes[row * width..][..width].fill(dy[width]);
                }
                let from = Inputs { x, parameters, dy: [values, slopes] };
                differentiate(family, direction, from, dx, dparameters, group);
            });
        });
    }
}
