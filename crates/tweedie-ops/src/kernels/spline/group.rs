//! Splines of several values at once: each lane of a SIMD vector holds one value. The formulas are in the head of
//! [`spline`](super).

use super::{Direction, Ends, Spline};
use crate::kernels::gemm::{load, store};
use crate::kernels::vector::Vector;
use crate::kernels::{math, vectorized};
use pulp::Simd;

/// ln 1000: slopes are from 1/1000 to 1000, and so are ratios of two widths or heights.
const RANGE: f32 = 6.907_755_4;

vectorized! {
    /// Maps values, one by one; `scratch` holds a group.
    pub fn map<'a>(
        simd: S,
        family: Spline,
        direction: Direction,
        x: &'a [f32],
        parameters: &'a [f32],
        y: &'a mut [f32],
        slopes: &'a mut [f32],
        scratch: &'a mut [f32],
    ) -> () {
        let (lanes, count) = (S::F32_LANES, family.parameters());
        let groups = x.chunks(lanes).zip(parameters.chunks(lanes * count));
        let groups = groups.zip(y.chunks_mut(lanes).zip(slopes.chunks_mut(lanes)));
        let bound = Vector::splat(simd, family.bound);
        for ((x, parameters), (y, slopes)) in groups {
            let mut group = Group::<S>::new(simd, family, direction, parameters, scratch);
            let x = Vector::new(simd, load(simd, x));
            let (_, point) = group.locate(x);
            let ends = bound.at_most(x.abs());
            store(simd, y, x.or(ends, point.image).lanes);
            let zero = Vector::splat(simd, 0.0);
            store(simd, slopes, zero.or(group.outside(x), point.log_slope(direction)).lanes);
        }
    }
}

/// What gradients are computed from: x, the parameters, and the gradients by the values and logarithmic slopes.
pub struct Inputs<'a> {
    pub x: &'a [f32],
    pub parameters: &'a [f32],
    pub dy: [&'a [f32]; 2],
}

vectorized! {
    /// Computes gradients, value by value; `scratch` holds a group.
    pub fn differentiate<'a>(
        simd: S,
        family: Spline,
        direction: Direction,
        from: Inputs<'a>,
        dx: &'a mut [f32],
        dparameters: &'a mut [f32],
        scratch: &'a mut [f32],
    ) -> () {
        let (lanes, count) = (S::F32_LANES, family.parameters());
        let groups = from.x.chunks(lanes).zip(from.parameters.chunks(lanes * count));
        let groups = groups.zip(from.dy[0].chunks(lanes).zip(from.dy[1].chunks(lanes)));
        let groups = groups.zip(dx.chunks_mut(lanes).zip(dparameters.chunks_mut(lanes * count)));
        for (((x, parameters), dy), (dx, dparameters)) in groups {
            let mut group = Group::<S>::new(simd, family, direction, parameters, scratch);
            let x = Vector::new(simd, load(simd, x));
            let dy = [Vector::new(simd, load(simd, dy.0)), Vector::new(simd, load(simd, dy.1))];
            let (bin, point) = group.locate(x);
            let (outside, zero) = (group.outside(x), Vector::splat(simd, 0.0));
            let inner = [zero.or(outside, dy[0]), zero.or(outside, dy[1])];
            let inner = group.descend(&bin, &point, inner);
            store(simd, dx, dy[0].or(outside, inner).lanes);
            group.give(dparameters);
        }
    }
}

/// The parameters of some values, one for each lane.
struct Group<'a, S: Simd> {
    simd: S,
    family: Spline,
    direction: Direction,
    /// The parameters as they are given; once their exponentials are there, 1/(1 + |u|/B) of widths and heights u with
    /// the soft bound B; at last, the gradients.
    parameters: &'a mut [S::f32s],
    /// The exponentials of the bounded widths and heights.
    exponentials: &'a mut [S::f32s],
}

/// A bin on one axis: the exponentials before it, its own, and the length for each.
#[derive(Clone, Copy)]
struct Extent<S: Simd> {
    before: Vector<S>,
    own: Vector<S>,
    scale: Vector<S>,
}

impl<S: Simd> Extent<S> {
    #[inline(always)]
    fn start(&self, bound: f32) -> Vector<S> {
        self.before * self.scale - bound
    }

    #[inline(always)]
    fn len(&self) -> Vector<S> {
        self.own * self.scale
    }
}

/// The bins of some values.
struct Bin<S: Simd> {
    /// Their places.
    number: Vector<S>,
    /// Widths and heights.
    axes: [Extent<S>; 2],
    /// Slopes at both ends.
    slopes: [Vector<S>; 2],
    /// 1/(1 + |u|/B) of their parameters u.
    softness: [Vector<S>; 2],
}

/// Where some values lie in their bins; see the module's head.
struct Point<S: Simd> {
    xi: Vector<S>,
    zeta: Vector<S>,
    s: Vector<S>,
    /// N, D and A.
    n: Vector<S>,
    d: Vector<S>,
    a: Vector<S>,
    /// The values that they map to.
    image: Vector<S>,
}

impl<S: Simd> Point<S> {
    #[inline(always)]
    fn log_slope(&self, direction: Direction) -> Vector<S> {
        let ratio = self.s / self.d;
        let slope = ratio * ratio * self.a;
        let log = Vector::new(slope.simd(), math::log(slope.simd(), slope.lanes));
        if direction == Direction::ToNoise { log } else { -log }
    }
}

/// 1/(1 + |u|/B).
#[inline(always)]
fn softness<S: Simd>(u: Vector<S>, bound: f32) -> Vector<S> {
    Vector::splat(u.simd(), 1.0) / (u.abs() * (1.0 / bound) + 1.0)
}

#[inline(always)]
fn exp<S: Simd>(x: Vector<S>) -> Vector<S> {
    Vector::new(x.simd(), math::exp(x.simd(), x.lanes))
}

#[inline(always)]
fn clamp<S: Simd>(x: Vector<S>, low: f32, high: f32) -> Vector<S> {
    Vector::new(x.simd(), math::clamp(x.simd(), x.lanes, low, high))
}

impl<'a, S: Simd> Group<'a, S> {
    /// Loads the parameters of up to one value a lane and transposes them, so that a vector holds the same parameter of
    /// all values; lanes without a value get zeros.
    #[inline(always)]
    fn new(
        simd: S,
        family: Spline,
        direction: Direction,
        from: &[f32],
        scratch: &'a mut [f32],
    ) -> Self {
        let (lanes, count) = (S::F32_LANES, family.parameters());
        let (parameters, rest) = scratch.split_at_mut(count * lanes);
        if from.len() < parameters.len() {
            parameters.fill(0.0);
        }
        for (lane, from) in from.chunks_exact(count).enumerate() {
            for (to, from) in parameters[lane..].iter_mut().step_by(lanes).zip(from) {
                *to = *from;
            }
        }
        let parameters = S::as_mut_simd_f32s(parameters).0;
        let exponentials = S::as_mut_simd_f32s(&mut rest[..2 * family.bins * lanes]).0;
        Self { simd, family, direction, parameters, exponentials }
    }

    /// Transposes the gradients back.
    #[inline(always)]
    fn give(self, to: &mut [f32]) {
        let (lanes, count) = (S::F32_LANES, self.family.parameters());
        let from: &[f32] = pulp::bytemuck::cast_slice(&*self.parameters);
        for (lane, to) in to.chunks_exact_mut(count).enumerate() {
            for (to, from) in to.iter_mut().zip(from[lane..].iter().step_by(lanes)) {
                *to = *from;
            }
        }
    }

    #[inline(always)]
    fn splat(&self, value: f32) -> Vector<S> {
        Vector::splat(self.simd, value)
    }

    /// Where values map to themselves.
    #[inline(always)]
    fn outside(&self, x: Vector<S>) -> S::m32s {
        let bound = self.splat(self.family.bound);
        match self.family.ends {
            Ends::Linear => bound.at_most(x.abs()),
            Ends::Periodic => bound.less(x.abs()),
        }
    }

    /// Computes the exponentials of an axis, and the length for each.
    #[inline(always)]
    fn weigh(&mut self, axis: usize) -> Vector<S> {
        let bins = self.family.bins;
        let mut sum = self.splat(0.0);
        for k in axis * bins..(axis + 1) * bins {
            let u = self.parameter(k);
            let soft = softness(u, 0.5 * RANGE);
            let exponential = exp(u * soft);
            sum = sum + exponential;
            self.parameters[k] = soft.lanes;
            self.exponentials[k] = exponential.lanes;
        }
        self.splat(2.0 * self.family.bound) / sum
    }

    /// Finds values of the input's axis in their bins.
    #[inline(always)]
    fn locate(&mut self, x: Vector<S>) -> (Bin<S>, Point<S>) {
        let bound = self.family.bound;
        let x = clamp(x, -bound, bound);
        let scales = [self.weigh(0), self.weigh(1)];
        let input = if self.direction == Direction::ToNoise { 0 } else { 1 };
        let bin = self.search(x, scales, input);
        let (w, h) = (bin.axes[0].len(), bin.axes[1].len());
        let [left, right] = bin.slopes;
        let s = h / w;
        let part = (x - bin.axes[input].start(bound)) / bin.axes[input].len();
        let one = self.splat(1.0);
        let part = one.or(self.splat(bound).at_most(x), clamp(part, 0.0, 1.0));
        let rest = one - part;
        let (xi, zeta) = match self.direction {
            Direction::ToNoise => (part, rest),
            Direction::ToData => {
                let d = left * rest - right * part;
                let rising = self.splat(0.0).at_most(d);
                let up = s * part.or(rising, rest) * 2.0;
                let root = (d * d + s * s * part * rest * 4.0).sqrt();
                let near = up / (d.abs() + up + root);
                let far = one - near;
                (near.or(rising, far), far.or(rising, near))
            }
        };
        let (both, p) = (xi * xi + zeta * zeta, xi * zeta);
        let n = s * xi * xi + left * p;
        let d = s * both + (left + right) * p;
        let a = right * xi * xi + s * p * 2.0 + left * zeta * zeta;
        let image = match self.direction {
            Direction::ToNoise => bin.axes[1].start(bound) + h * (n / d),
            Direction::ToData => bin.axes[0].start(bound) + w * xi,
        };
        (bin, Point { xi, zeta, s, n, d, a, image: clamp(image, -bound, bound) })
    }

    #[inline(always)]
    fn parameter(&self, k: usize) -> Vector<S> {
        Vector::new(self.simd, self.parameters[k])
    }

    #[inline(always)]
    fn exponential(&self, axis: usize, k: usize) -> Vector<S> {
        Vector::new(self.simd, self.exponentials[axis * self.family.bins + k])
    }

    /// The parameter of the slope at knot k.
    #[inline(always)]
    fn slope(&self, k: usize) -> Vector<S> {
        match self.family.slope_of(k) {
            Some(place) => self.parameter(2 * self.family.bins + place),
            None => self.splat(0.0),
        }
    }

    /// The last bins that do not begin after x, which lies on axis `input`.
    #[inline(always)]
    fn search(&self, x: Vector<S>, scales: [Vector<S>; 2], input: usize) -> Bin<S> {
        let Spline { bins, bound, .. } = self.family;
        let (mut number, mut ends) = (self.splat(0.0), [self.slope(0), self.slope(1)]);
        let mut before = [number; 2];
        let mut own = [self.exponential(0, 0), self.exponential(1, 0)];
        let (mut all_before, mut last) = (before, own);
        for k in 1..bins {
            for axis in 0..2 {
                all_before[axis] = all_before[axis] + last[axis];
                last[axis] = self.exponential(axis, k);
            }
            let here = (all_before[input] * scales[input] - bound).at_most(x);
            for axis in 0..2 {
                before[axis] = all_before[axis].or(here, before[axis]);
                own[axis] = last[axis].or(here, own[axis]);
            }
            number = self.splat(k as f32).or(here, number);
            ends = [self.slope(k).or(here, ends[0]), self.slope(k + 1).or(here, ends[1])];
        }
        let axes = [
            Extent { before: before[0], own: own[0], scale: scales[0] },
            Extent { before: before[1], own: own[1], scale: scales[1] },
        ];
        let softness = [softness(ends[0], RANGE), softness(ends[1], RANGE)];
        let slopes = [exp(ends[0] * softness[0]), exp(ends[1] * softness[1])];
        Bin { number, axes, slopes, softness }
    }

    /// Computes the gradient by the values, and, in place of the parameters, theirs, from those by the values that they
    /// map to and by the logarithmic slopes.
    ///
    /// With the loss's derivatives a by y and b by ln dy/dx at constant x, and t by −x_k at constant y_k and w: for the
    /// inverse they follow from the theorem of implicit functions at the solution.
    #[inline(always)]
    fn descend(
        &mut self,
        bin: &Bin<S>,
        point: &Point<S>,
        [dy, dslope]: [Vector<S>; 2],
    ) -> Vector<S> {
        let Point { xi, zeta, s, n, d, a: top, .. } = *point;
        let (w, h) = (bin.axes[0].len(), bin.axes[1].len());
        let [left, right] = bin.slopes;
        let one = self.splat(1.0);
        let (over_d, over_top, p) = (one / d, one / top, xi * zeta);
        // Derivatives of y and of ln dy/dx by ξ, s and the slopes.
        let unit = h * over_d * over_d;
        let y_xi = unit * s * top;
        let y_s = unit * p * (right * xi * xi - left * zeta * zeta);
        let y_left = unit * p * (s * zeta * zeta + right * p);
        let y_right = -(unit * p * n);
        let lean = zeta - xi;
        let log_xi = (right * xi - left * zeta + s * lean) * over_top * 2.0
            - lean * (left + right - s * 2.0) * over_d * 2.0;
        let log_s = (one / s + p * over_top - (xi * xi + zeta * zeta) * over_d) * 2.0;
        let shared = p * over_d * 2.0;
        let log_left = zeta * zeta * over_top - shared;
        let log_right = xi * xi * over_top - shared;
        let (a, b, t, dx) = match self.direction {
            Direction::ToNoise => {
                let t = (dy * y_xi + dslope * log_xi) / w;
                (dy, dslope, t, t)
            }
            Direction::ToData => {
                let dx = (dy * w - dslope * log_xi) / y_xi;
                (-dx, -dslope, -dy, dx)
            }
        };
        let ds = (a * y_s + b * log_s) / w;
        let (dw, dh) = (-(t * xi) - ds * s, a * n * over_d + ds);
        self.divide(bin, 0, -t, dw);
        self.divide(bin, 1, a, dh);
        let mut ends = [a * y_left + b * log_left, a * y_right + b * log_right];
        for (end, by) in ends.iter_mut().enumerate() {
            let soft = bin.softness[end];
            *by = *by * bin.slopes[end] * soft * soft;
        }
        self.spread(bin, ends);
        dx
    }

    /// Puts the gradients by the parameters of an axis in their place, from those by the bin's start and length.
    #[inline(always)]
    fn divide(&mut self, bin: &Bin<S>, axis: usize, start: Vector<S>, len: Vector<S>) {
        let (bins, zero) = (self.family.bins, self.splat(0.0));
        let Extent { before, own, scale } = bin.axes[axis];
        let mean = (start * before + len * own) * scale * (0.5 / self.family.bound);
        for k in 0..bins {
            let number = self.splat(k as f32);
            let here = len.or(number.equals(bin.number), zero);
            let by = start.or(number.less(bin.number), here);
            let soft = self.parameter(axis * bins + k);
            let share = self.exponential(axis, k) * scale;
            self.parameters[axis * bins + k] = (share * soft * soft * (by - mean)).lanes;
        }
    }

    /// Puts the gradients by the parameters of the slopes in their place, from those at the bin's ends.
    #[inline(always)]
    fn spread(&mut self, bin: &Bin<S>, ends: [Vector<S>; 2]) {
        let (bins, zero) = (self.family.bins, self.splat(0.0));
        self.parameters[2 * bins..].fill(zero.lanes);
        for k in 0..=bins {
            let Some(place) = self.family.slope_of(k) else { continue };
            let knot = self.splat(k as f32);
            let as_left = ends[0].or(knot.equals(bin.number), zero);
            let as_right = ends[1].or(knot.equals(bin.number + 1.0), zero);
            let before = self.parameter(2 * bins + place);
            self.parameters[2 * bins + place] = (before + as_left + as_right).lanes;
        }
    }
}
