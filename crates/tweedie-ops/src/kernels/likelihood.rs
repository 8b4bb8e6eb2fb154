//! Logarithms of sums of exponentials, and log-likelihoods of integers by logits, with their gradients.
//!
//! > ln Σ_k e^{x_k},  x v − ln(1 + e^x),
//! > ln Σ_k π_k (σ(B_k) − σ(A_k)) with ln(σ(B) − σ(A)) = ln σ(B) + ln σ(−A) + ln(1 − e^{A − B}),
//!
//! with σ the logistic function, A = (a − μ) e^{−s} and B = (b − μ) e^{−s} of a bin [a, b).

use super::activation::{Curve, Sigmoid, Softplus, Tanh};
use super::vector::Vector;
use super::{PIECE, SERIAL, each, elements, math, vectorized, with_scratch};
use pulp::Simd;

/// The most lanes of a vector.
const LANES: usize = 16;

#[inline(always)]
fn load<S: Simd>(simd: S, from: &[f32]) -> Vector<S> {
    Vector::new(simd, simd.partial_load_f32s(from))
}

#[inline(always)]
fn curve<S: Simd>(of: impl Curve, x: Vector<S>) -> Vector<S> {
    Vector::new(x.simd(), of.value(x.simd(), x.lanes))
}

#[inline(always)]
fn exp<S: Simd>(x: Vector<S>) -> Vector<S> {
    Vector::new(x.simd(), math::exp(x.simd(), x.lanes))
}

#[inline(always)]
fn log<S: Simd>(x: Vector<S>) -> Vector<S> {
    Vector::new(x.simd(), math::log(x.simd(), x.lanes))
}

/// The greater of two, or `y` if `x` is not a number.
#[inline(always)]
fn max<S: Simd>(x: Vector<S>, y: Vector<S>) -> Vector<S> {
    x.or(y.less(x), y)
}

/// The first `len` lanes of x, and `rest` in the others.
#[inline(always)]
fn first<S: Simd>(x: Vector<S>, len: usize, rest: f32) -> Vector<S> {
    if len >= S::F32_LANES {
        return x;
    }
    let mut lanes = [0.0f32; LANES];
    lanes[len..].fill(1.0);
    let beyond = load(x.simd(), &lanes[..S::F32_LANES]);
    Vector::splat(x.simd(), rest).or(Vector::splat(x.simd(), 0.5).less(beyond), x)
}

vectorized! {
    fn sums<'a>(simd: S, width: usize, x: &'a [f32], y: &'a mut [f32]) -> () {
        let lowest = f32::NEG_INFINITY;
        for (x, y) in x.chunks_exact(width).zip(y) {
            let mut most = Vector::splat(simd, lowest);
            for part in x.chunks(S::F32_LANES) {
                most = max(first(load(simd, part), part.len(), lowest), most);
            }
            let most = simd.reduce_max_f32s(most.lanes);
            let shift = Vector::splat(simd, if most.is_finite() { most } else { 0.0 });
            let mut sum = Vector::splat(simd, 0.0);
            for part in x.chunks(S::F32_LANES) {
                sum = sum + exp(first(load(simd, part), part.len(), lowest) - shift);
            }
            let sum = Vector::splat(simd, simd.reduce_sum_f32s(sum.lanes));
            simd.partial_store_f32s(std::slice::from_mut(y), (log(sum) + shift).lanes);
        }
    }
}

/// The share of a sum below which a term's gradient is 0: far below a rounding error of the sum's. The products that
/// follow are ten times slower on the subnormal numbers that such gradients become.
const LEAST_SHARE: f32 = 1e-15;

vectorized! {
    fn sum_slopes<'a>(
        simd: S, width: usize, x: &'a [f32], y: &'a [f32], dy: &'a [f32], dx: &'a mut [f32],
    ) -> () {
        let rows = x.chunks_exact(width).zip(dx.chunks_exact_mut(width));
        let (zero, least) = (Vector::splat(simd, 0.0), Vector::splat(simd, LEAST_SHARE));
        for ((x, dx), (y, dy)) in rows.zip(y.iter().zip(dy)) {
            let (y, dy) = (Vector::splat(simd, *y), Vector::splat(simd, *dy));
            for (x, dx) in x.chunks(S::F32_LANES).zip(dx.chunks_mut(S::F32_LANES)) {
                let share = exp(load(simd, x) - y);
                simd.partial_store_f32s(dx, (dy * zero.or(share.less(least), share)).lanes);
            }
        }
    }
}

/// Computes y = ln Σ exp x of each row of `width` numbers.
pub fn log_sum_exp(width: usize, x: &[f32], y: &mut [f32]) {
    assert!(width > 0, "a sum has terms");
    assert_eq!(x.len(), elements([y.len(), width]));
    let rows = (PIECE / width).max(1);
    let tasks = x.chunks(rows * width).zip(y.chunks_mut(rows));
    each(x.len() >= SERIAL, tasks, |(x, y)| sums(width, x, y));
}

/// Computes the gradient dx = dy e^{x − y} of [`log_sum_exp`]; 0 where e^{x − y} is below [`LEAST_SHARE`].
pub fn log_sum_exp_backward(width: usize, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
    assert!(width > 0, "a sum has terms");
    assert_eq!(x.len(), elements([y.len(), width]));
    assert_eq!(x.len(), dx.len());
    assert_eq!(y.len(), dy.len());
    let rows = (PIECE / width).max(1);
    let outputs = y.chunks(rows).zip(dy.chunks(rows)).zip(dx.chunks_mut(rows * width));
    let tasks = x.chunks(rows * width).zip(outputs);
    each(x.len() >= SERIAL, tasks, |(x, ((y, dy), dx))| sum_slopes(width, x, y, dy, dx));
}

vectorized! {
    fn binary<'a>(simd: S, logits: &'a [f32], v: &'a [f32], y: &'a mut [f32]) -> () {
        let inputs = logits.chunks(S::F32_LANES).zip(v.chunks(S::F32_LANES));
        for ((logit, v), y) in inputs.zip(y.chunks_mut(S::F32_LANES)) {
            let [logit, v] = [logit, v].map(|part| load(simd, part));
            simd.partial_store_f32s(y, (logit * v - curve(Softplus, logit)).lanes);
        }
    }
}

vectorized! {
    fn binary_slopes<'a>(
        simd: S, logits: &'a [f32], v: &'a [f32], dy: &'a [f32],
        dlogits: &'a mut [f32], dv: &'a mut [f32],
    ) -> () {
        let inputs = logits.chunks(S::F32_LANES).zip(v.chunks(S::F32_LANES));
        let outputs = dlogits.chunks_mut(S::F32_LANES).zip(dv.chunks_mut(S::F32_LANES));
        for (((logit, v), dy), (dlogit, dv)) in inputs.zip(dy.chunks(S::F32_LANES)).zip(outputs) {
            let [logit, v, dy] = [logit, v, dy].map(|part| load(simd, part));
            simd.partial_store_f32s(dlogit, (dy * (v - curve(Sigmoid, logit))).lanes);
            simd.partial_store_f32s(dv, (dy * logit).lanes);
        }
    }
}

/// Computes y = x v − ln(1 + e^x), the log-likelihood of v in {0, 1} by its logit x.
pub fn bernoulli(logits: &[f32], v: &[f32], y: &mut [f32]) {
    assert_eq!(logits.len(), v.len());
    assert_eq!(logits.len(), y.len());
    let tasks = logits.chunks(PIECE).zip(v.chunks(PIECE)).zip(y.chunks_mut(PIECE));
    each(logits.len() >= SERIAL, tasks, |((logits, v), y)| binary(logits, v, y));
}

/// Computes the gradients of [`bernoulli`] by the logits and by v.
pub fn bernoulli_backward(
    logits: &[f32],
    v: &[f32],
    dy: &[f32],
    dlogits: &mut [f32],
    dv: &mut [f32],
) {
    assert_eq!(logits.len(), v.len());
    assert_eq!(logits.len(), dy.len());
    assert_eq!(logits.len(), dlogits.len());
    assert_eq!(logits.len(), dv.len());
    let inputs = logits.chunks(PIECE).zip(v.chunks(PIECE)).zip(dy.chunks(PIECE));
    let tasks = inputs.zip(dlogits.chunks_mut(PIECE).zip(dv.chunks_mut(PIECE)));
    each(dy.len() >= SERIAL, tasks, |(((logits, v), dy), (dlogits, dv))| {
        binary_slopes(logits, v, dy, dlogits, dv);
    });
}

/// Rows of logits and the values they are of: row i of the logits belongs to row i / `draws` of the values.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    /// The number of values in a row.
    pub width: usize,
    /// The number of rows of logits for each row of values.
    pub draws: usize,
}

impl Draws {
    /// Row `i` of the logits' values.
    #[inline(always)]
    fn values(self, v: &[f32], i: usize) -> &[f32] {
        let from = i / self.draws * self.width;
        &v[from..from + self.width]
    }

    /// The number of rows of a task.
    fn rows(self) -> usize {
        (PIECE / self.width).max(1)
    }
}

vectorized! {
    fn binary_rows<'a>(
        simd: S, of: Draws, start: usize, v: &'a [f32], logits: &'a [f32], y: &'a mut [f32],
    ) -> () {
        for (i, (logits, y)) in logits.chunks_exact(of.width).zip(y).enumerate() {
            let v = of.values(v, start + i);
            let mut sum = Vector::splat(simd, 0.0);
            for (logit, v) in logits.chunks(S::F32_LANES).zip(v.chunks(S::F32_LANES)) {
                let [x, v] = [logit, v].map(|part| load(simd, part));
                let own = x * v - curve(Softplus, x);
                sum = sum + first(own, logit.len(), 0.0);
            }
            *y = simd.reduce_sum_f32s(sum.lanes);
        }
    }
}

vectorized! {
    fn binary_row_slopes<'a>(
        simd: S, of: Draws, start: usize, v: &'a [f32], logits: &'a [f32], dy: &'a [f32],
        dlogits: &'a mut [f32],
    ) -> () {
        let rows = logits.chunks_exact(of.width).zip(dlogits.chunks_exact_mut(of.width));
        for (i, ((logits, dlogits), dy)) in rows.zip(dy).enumerate() {
            let (v, dy) = (of.values(v, start + i), Vector::splat(simd, *dy));
            let inputs = logits.chunks(S::F32_LANES).zip(v.chunks(S::F32_LANES));
            for ((logit, v), dlogit) in inputs.zip(dlogits.chunks_mut(S::F32_LANES)) {
                let [x, v] = [logit, v].map(|part| load(simd, part));
                let slope = dy * (v - curve(Sigmoid, x));
                simd.partial_store_f32s(dlogit, slope.lanes);
            }
        }
    }
}

/// Computes y = Σ_j x_j v_j − ln(1 + e^{x_j}) of each row x of logits, with the row v of values that it belongs to.
pub fn bernoulli_rows(of: Draws, v: &[f32], logits: &[f32], y: &mut [f32]) {
    assert!(of.width > 0 && of.draws > 0, "rows have values, and values have logits");
    assert_eq!(logits.len(), elements([y.len(), of.width]));
    assert_eq!(elements([v.len(), of.draws]), logits.len());
    let rows = of.rows();
    let tasks = logits.chunks(rows * of.width).zip(y.chunks_mut(rows)).enumerate();
    each(logits.len() >= SERIAL, tasks, |(k, (logits, y))| {
        binary_rows(of, k * rows, v, logits, y);
    });
}

/// Computes the gradient of [`bernoulli_rows`] by the logits.
pub fn bernoulli_rows_backward(
    of: Draws,
    v: &[f32],
    logits: &[f32],
    dy: &[f32],
    dlogits: &mut [f32],
) {
    assert!(of.width > 0 && of.draws > 0, "rows have values, and values have logits");
    assert_eq!(logits.len(), elements([dy.len(), of.width]));
    assert_eq!(elements([v.len(), of.draws]), logits.len());
    assert_eq!(logits.len(), dlogits.len());
    let rows = of.rows();
    let outputs = dy.chunks(rows).zip(dlogits.chunks_mut(rows * of.width));
    let tasks = logits.chunks(rows * of.width).zip(outputs).enumerate();
    each(logits.len() >= SERIAL, tasks, |(k, (logits, (dy, dlogits)))| {
        binary_row_slopes(of, k * rows, v, logits, dy, dlogits);
    });
}

/// Mixtures of logistic distributions, discretised: integer i has the bin `origin + step (i ± ½)`.
///
/// The parameters of a value are the logits of all components, then μ of all, then u of all, with the logarithm of the
/// scale s = u/(1 + |u|/`most`) + `usual`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogisticMixture {
    /// The number of components.
    pub components: usize,
    /// The width of a bin, greater than 0.
    pub step: f32,
    /// The centre of the bin of the integer 0.
    pub origin: f32,
    /// The centres of the least and of the greatest integer's bins, which are open to their side; infinite for none.
    pub ends: [f32; 2],
    /// The bound on s − `usual`.
    pub most: f32,
    /// The logarithm of the scale where u is 0.
    pub usual: f32,
}

/// What a bin's width in scales is at least, before its logarithm; the root of the least normal number.
const LEAST: f32 = 1.084_202_2e-19;
/// The greatest distance from μ in scales.
const FAR: f32 = 1e30;

/// The edges of the bins of a vector of values, and 1 where a bin ends below and above, 0 where it is open.
#[derive(Clone, Copy)]
struct Bins<S: Simd> {
    low: Vector<S>,
    high: Vector<S>,
    ends_below: Vector<S>,
    ends_above: Vector<S>,
}

/// A component at a vector of values: e^{−s}, and B, A and B − A.
#[derive(Clone, Copy)]
struct Component<S: Simd> {
    shrink: Vector<S>,
    above: Vector<S>,
    below: Vector<S>,
    width: Vector<S>,
}

impl LogisticMixture {
    #[inline(always)]
    fn bins<S: Simd>(self, simd: S, x: &[f32]) -> Bins<S> {
        let mut parts = [[0.0f32; LANES]; 4];
        let near = 0.25 * self.step;
        for (lane, x) in x.iter().enumerate() {
            let index = ((x - self.origin) / self.step).round();
            let edge = |shift: f32| (index + shift) * self.step + self.origin;
            parts[0][lane] = edge(-0.5);
            parts[1][lane] = edge(0.5);
            parts[2][lane] = f32::from(*x > self.ends[0] + near);
            parts[3][lane] = f32::from(*x < self.ends[1] - near);
        }
        let [low, high, ends_below, ends_above] = parts.map(|part| load(simd, &part[..x.len()]));
        Bins { low, high, ends_below, ends_above }
    }

    /// Parameter `j` of each of the values.
    #[inline(always)]
    fn parameter<S: Simd>(self, simd: S, parameters: &[f32], j: usize) -> Vector<S> {
        let mut lanes = [0.0f32; LANES];
        let values = parameters.chunks_exact(3 * self.components);
        let count = values.len();
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane = value[j];
        }
        load(simd, &lanes[..count])
    }

    #[inline(always)]
    fn component<S: Simd>(self, bins: Bins<S>, mean: Vector<S>, u: Vector<S>) -> Component<S> {
        let simd = mean.simd();
        let one = Vector::splat(simd, 1.0);
        let s = u / (one + u.abs() * (1.0 / self.most)) + self.usual;
        let shrink = exp(-s);
        let near = |x: Vector<S>| Vector::new(simd, math::clamp(simd, x.lanes, -FAR, FAR));
        Component {
            shrink,
            above: near((bins.high - mean) * shrink),
            below: near((bins.low - mean) * shrink),
            width: (bins.high - bins.low) * shrink,
        }
    }

    /// The number of values in a task, and whether there are enough tasks for all threads.
    fn task(self, count: usize) -> (usize, bool) {
        let work = 8 * self.components;
        ((PIECE / work).max(1).next_multiple_of(LANES), count.saturating_mul(work) >= SERIAL)
    }

    fn check(self, x: &[f32], parameters: &[f32], y: &[f32]) {
        assert!(self.components > 0, "a mixture has components");
        assert_eq!(parameters.len(), elements([x.len(), 3, self.components]), "they do not fit");
        assert_eq!(x.len(), y.len());
    }

    /// Computes the log-likelihood y of each value x.
    pub fn log_likelihood(self, x: &[f32], parameters: &[f32], y: &mut [f32]) {
        self.check(x, parameters, y);
        let (task, parallel) = self.task(x.len());
        let inputs = x.chunks(task).zip(parameters.chunks(task * 3 * self.components));
        each(parallel, inputs.zip(y.chunks_mut(task)), |((x, parameters), y)| {
            with_scratch(LANES * self.components, |terms| values(self, x, parameters, y, terms));
        });
    }

    /// Computes the gradient by the parameters from that by the log-likelihood of each value x.
    pub fn slopes(self, x: &[f32], parameters: &[f32], dy: &[f32], dparameters: &mut [f32]) {
        self.check(x, parameters, dy);
        assert_eq!(parameters.len(), dparameters.len());
        let (task, parallel) = self.task(x.len());
        let all = task * 3 * self.components;
        let inputs = x.chunks(task).zip(parameters.chunks(all)).zip(dy.chunks(task));
        each(parallel, inputs.zip(dparameters.chunks_mut(all)), |(((x, p), dy), dp)| {
            with_scratch(LANES * self.components, |terms| slopes(self, x, p, dy, dp, terms));
        });
    }
}

impl<S: Simd> Component<S> {
    /// ln(σ(B) − σ(A)).
    #[inline(always)]
    fn log_p(self, bins: Bins<S>) -> Vector<S> {
        // 1 − e^{−w} = tanh(w/2) (1 + e^{−w}).
        let gap = log(curve(Tanh, self.width * 0.5) + LEAST) + curve(Softplus, -self.width);
        gap * (bins.ends_below * bins.ends_above)
            - curve(Softplus, -self.above) * bins.ends_above
            - curve(Softplus, self.below) * bins.ends_below
    }

    /// The derivatives of [`Component::log_p`] by μ and by s.
    #[inline(always)]
    fn slopes(self, bins: Bins<S>) -> [Vector<S>; 2] {
        let by_above = curve(Sigmoid, -self.above) * bins.ends_above;
        let by_below = curve(Sigmoid, self.below) * bins.ends_below;
        let gap = curve(Sigmoid, -self.width) / (curve(Tanh, self.width * 0.5) + LEAST);
        let by_width = gap * (bins.ends_below * bins.ends_above);
        let by_mean = (by_below - by_above) * self.shrink;
        let by_scale = by_below * self.below - by_above * self.above - by_width * self.width;
        [by_mean, by_scale]
    }
}

/// The logarithm of the sum of the exponentials of `terms`, a vector each.
#[inline(always)]
fn sum_of<S: Simd>(simd: S, terms: &[f32]) -> Vector<S> {
    let terms = || terms.chunks_exact(LANES).map(|term| load(simd, &term[..S::F32_LANES]));
    let most = terms().fold(Vector::splat(simd, f32::MIN), |most, term| max(term, most));
    let sum = terms().fold(Vector::splat(simd, 0.0), |sum, term| sum + exp(term - most));
    log(sum) + most
}

/// Computes logit + ln(σ(B) − σ(A)) of each component into `terms`, and gives ln Σ exp of the logits and of the terms.
#[inline(always)]
fn mixture<S: Simd>(
    of: LogisticMixture,
    bins: Bins<S>,
    parameters: &[f32],
    terms: &mut [f32],
) -> [Vector<S>; 2] {
    let (simd, k) = (bins.low.simd(), of.components);
    let parameter = |j| of.parameter(simd, parameters, j);
    for (j, term) in terms.chunks_exact_mut(LANES).enumerate() {
        simd.partial_store_f32s(&mut term[..S::F32_LANES], parameter(j).lanes);
    }
    let all = sum_of(simd, terms);
    for (j, term) in terms.chunks_exact_mut(LANES).enumerate() {
        let component = of.component(bins, parameter(k + j), parameter(2 * k + j));
        let log_p = component.log_p(bins) + parameter(j);
        simd.partial_store_f32s(&mut term[..S::F32_LANES], log_p.lanes);
    }
    [all, sum_of(simd, terms)]
}

vectorized! {
    fn values<'a>(
        simd: S, of: LogisticMixture, x: &'a [f32], parameters: &'a [f32], y: &'a mut [f32],
        terms: &'a mut [f32],
    ) -> () {
        let lanes = S::F32_LANES;
        let parameters = parameters.chunks(lanes * 3 * of.components);
        for ((x, parameters), y) in x.chunks(lanes).zip(parameters).zip(y.chunks_mut(lanes)) {
            let [all, sum] = mixture(of, of.bins(simd, x), parameters, terms);
            simd.partial_store_f32s(y, (sum - all).lanes);
        }
    }
}

vectorized! {
    fn slopes<'a>(
        simd: S, of: LogisticMixture, x: &'a [f32], parameters: &'a [f32], dy: &'a [f32],
        dparameters: &'a mut [f32], terms: &'a mut [f32],
    ) -> () {
        let (lanes, k) = (S::F32_LANES, of.components);
        let values = x.chunks(lanes).zip(parameters.chunks(lanes * 3 * k));
        let gradients = dy.chunks(lanes).zip(dparameters.chunks_mut(lanes * 3 * k));
        for ((x, parameters), (dy, dparameters)) in values.zip(gradients) {
            let (bins, dy) = (of.bins(simd, x), load(simd, dy));
            let [all, sum] = mixture(of, bins, parameters, terms);
            for (j, term) in terms.chunks_exact(LANES).enumerate() {
                let parameter = |j| of.parameter(simd, parameters, j);
                let (logit, u) = (parameter(j), parameter(2 * k + j));
                let by_term = dy * exp(load(simd, &term[..lanes]) - sum);
                let [by_mean, by_scale] = of.component(bins, parameter(k + j), u).slopes(bins);
                let bend = Vector::splat(simd, 1.0) + u.abs() * (1.0 / of.most);
                let found = [
                    by_term - dy * exp(logit - all),
                    by_term * by_mean,
                    by_term * by_scale / (bend * bend),
                ];
                for (part, found) in found.into_iter().enumerate() {
                    let mut each = [0.0f32; LANES];
                    simd.partial_store_f32s(&mut each[..lanes], found.lanes);
                    let rows = dparameters.chunks_exact_mut(3 * k);
                    rows.zip(each).for_each(|(row, found)| row[part * k + j] = found);
                }
            }
        }
    }
}
