//! Splines against their definition with roots by bisection, their gradients against its differences, and what lies at
//! ends and beyond.

use super::common::*;
use crate::kernels::spline::{Direction, Ends, Spline, Splines};
use proptest::prelude::*;

const DIRECTIONS: [Direction; 2] = [Direction::ToNoise, Direction::ToData];

fn soft(u: f64, bound: f64) -> f64 {
    u / (1.0 + u.abs() / bound)
}

/// The knots of an axis.
fn knots(u: &[f64], bound: f64) -> Vec<f64> {
    let e: Vec<f64> = u.iter().map(|u| soft(*u, 0.5 * 1000f64.ln()).exp()).collect();
    let total: f64 = e.iter().sum();
    let mut at = -bound;
    let inner = e.iter().map(|e| {
        at += 2.0 * bound * e / total;
        at
    });
    std::iter::once(-bound).chain(inner).collect()
}

/// The value that v maps to, and the logarithm of the slope there.
fn exact(family: Spline, direction: Direction, v: f64, p: &[f64]) -> [f64; 2] {
    let (bins, bound) = (family.bins, f64::from(family.bound));
    if v.abs() > bound {
        return [v, 0.0];
    }
    let (x, y) = (knots(&p[..bins], bound), knots(&p[bins..2 * bins], bound));
    let mut slopes: Vec<f64> = p[2 * bins..].iter().map(|u| soft(*u, 1000f64.ln()).exp()).collect();
    match family.ends {
        Ends::Linear => {
            slopes.insert(0, 1.0);
            slopes.push(1.0);
        }
        Ends::Periodic => slopes.push(slopes[0]),
    }
    let from = if direction == Direction::ToNoise { &x } else { &y };
    let k = (0..bins).rev().find(|k| from[*k] <= v).unwrap_or(0);
    let (w, h) = (x[k + 1] - x[k], y[k + 1] - y[k]);
    let (s, left, right) = (h / w, slopes[k], slopes[k + 1]);
    let denominator = |xi: f64| s + (right + left - 2.0 * s) * xi * (1.0 - xi);
    let value = |xi: f64| y[k] + h * (s * xi * xi + left * xi * (1.0 - xi)) / denominator(xi);
    let xi = match direction {
        Direction::ToNoise => (v - x[k]) / w,
        Direction::ToData => {
            let (mut low, mut high) = (0.0, 1.0);
            for _ in 0..60 {
                let middle = 0.5 * (low + high);
                if value(middle) < v { low = middle } else { high = middle }
            }
            0.5 * (low + high)
        }
    };
    let top = right * xi * xi + 2.0 * s * xi * (1.0 - xi) + left * (1.0 - xi) * (1.0 - xi);
    let log = (s * s * top / denominator(xi).powi(2)).ln();
    match direction {
        Direction::ToNoise => [value(xi), log],
        Direction::ToData => [x[k] + w * xi, -log],
    }
}

/// Splines, and their values and parameters, which are `spread` times those of about ±2.
fn inputs(splines: Splines, spread: f32, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let Splines { rows, width, family, .. } = splines;
    let x = numbers(rows * width, seed).iter().map(|x| 0.7 * family.bound * x).collect();
    let parameters = numbers(rows * width * family.parameters(), seed + 1);
    (x, parameters.iter().map(|p| spread * p).collect())
}

/// y and the gradients by x and the parameters.
fn found(splines: Splines, x: &[f32], parameters: &[f32], dy: &[f32]) -> [Vec<f32>; 3] {
    let [mut y, mut dx, mut dp] = [dy, x, parameters].map(|like| stale(like.len()));
    splines.forward(x, parameters, &mut y);
    splines.backward(x, parameters, dy, &mut dx, &mut dp);
    [y, dx, dp]
}

fn families() -> impl Strategy<Value = Spline> {
    let bins = prop_oneof![Just(1usize), Just(2), Just(3), Just(8), Just(16), Just(33)];
    let bounds = prop_oneof![Just(1.0f32), Just(3.0), Just(std::f32::consts::PI)];
    let ends = prop_oneof![Just(Ends::Linear), Just(Ends::Periodic)];
    (bins, bounds, ends).prop_map(|(bins, bound, ends)| Spline { bins, bound, ends })
}

fn splines() -> impl Strategy<Value = Splines> {
    let widths = prop_oneof![Just(1usize), Just(3), Just(10), Just(17)];
    let rows = prop_oneof![1usize..9, Just(100)];
    (rows, widths, families(), 0usize..2).prop_map(|(rows, width, family, direction)| Splines {
        rows,
        width,
        family,
        direction: DIRECTIONS[direction],
    })
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn values_are_those_of_the_definition_and_gradients_of_its_differences(
        splines in splines(),
        spread in prop_oneof![Just(0.1f32), Just(1.0)],
        seed in 0u64..1000,
    ) {
        let Splines { rows, width, family, direction } = splines;
        let (x, parameters) = inputs(splines, spread, seed);
        let dy = numbers(rows * (width + 1), seed + 2);
        let all = on_any_threads(|| found(splines, &x, &parameters, &dy).into());
        let count = family.parameters();
        let (mut values, mut sums) = (Vec::new(), Vec::new());
        let (mut dx, mut dp) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let mut sum = 0.0;
            for j in 0..width {
                let at = row * width + j;
                let p = wide(&parameters[at * count..][..count]);
                let [value, slope] = exact(family, direction, f64::from(x[at]), &p);
                values.push(value);
                sum += slope;
                if rows > 9 {
                    continue;
                }
                let inputs: Vec<f64> = std::iter::once(f64::from(x[at])).chain(p).collect();
                let weights = [dy[row * (width + 1) + j], dy[row * (width + 1) + width]].map(f64::from);
                let f = |inputs: &[f64]| exact(family, direction, inputs[0], &inputs[1..]).to_vec();
                let gradients = differences(&inputs, &weights, f);
                dx.push(gradients[0]);
                dp.extend_from_slice(&gradients[1..]);
            }
            sums.push(sum);
        }
        // A knot is a sum of as many numbers as there are bins, and so much more is its error in parts of a bin.
        let bound = 5e-6 * (family.bins.max(2) as f64);
        let y = all[0].chunks(width + 1);
        assert_close("values", &y.clone().flat_map(|y| &y[..width]).copied().collect::<Vec<f32>>(), &values, 1e-5);
        assert_close("log slopes", &y.map(|y| y[width]).collect::<Vec<f32>>(), &sums, bound);
        if rows <= 9 {
            assert_close("dx", &all[1], &dx, 10.0 * bound);
            assert_close("dparameters", &all[2], &dp, 10.0 * bound);
        }
        // A row alone has the bits that it has among others.
        let one = Splines { rows: 1, ..splines };
        for row in [0, rows / 2, rows - 1] {
            let of = |all: &[f32], len: usize| all[row * len..][..len].to_vec();
            let (width, count) = (width, width * count);
            let alone = found(one, &of(&x, width), &of(&parameters, count), &of(&dy, width + 1));
            for ((alone, all), len) in alone.iter().zip(&all).zip([width + 1, width, count]) {
                assert_same("row", alone, &of(all, len));
            }
        }
    }

    #[test]
    fn both_directions_undo_each_other(
        splines in splines(),
        spread in prop_oneof![Just(0.1f32), Just(0.5)],
        seed in 0u64..1000,
    ) {
        let Splines { rows, width, .. } = splines;
        let (x, parameters) = inputs(splines, spread, seed);
        let back = Splines {
            direction: DIRECTIONS[usize::from(splines.direction == Direction::ToNoise)],
            ..splines
        };
        let (mut y, mut again) = (stale(rows * (width + 1)), stale(rows * (width + 1)));
        splines.forward(&x, &parameters, &mut y);
        let values = |y: &[f32]| -> Vec<f32> {
            y.chunks(width + 1).flat_map(|row| &row[..width]).copied().collect()
        };
        back.forward(&values(&y), &parameters, &mut again);
        assert_close("x", &values(&again), &wide(&x), 1e-5);
        for (y, again) in y.chunks(width + 1).zip(again.chunks(width + 1)) {
            let bound = 1e-5 * width as f32;
            assert!((y[width] + again[width]).abs() < bound, "{} {}", y[width], again[width]);
        }
    }

    /// Parameters of any size, at ends, in the middle, at knots and far beyond.
    #[test]
    fn numbers_at_knots_and_far_out_stay_finite(
        family in families(),
        direction in 0usize..2,
        spread in prop_oneof![Just(1.0f32), Just(1e3), Just(1e30)],
        seed in 0u64..1000,
    ) {
        let direction = DIRECTIONS[direction];
        let count = family.parameters();
        let p: Vec<f32> = numbers(count, seed).iter().map(|p| spread * p).collect();
        let axis = if direction == Direction::ToNoise { 0 } else { family.bins };
        let at = knots(&wide(&p[axis..][..family.bins]), f64::from(family.bound));
        let bound = family.bound;
        let mut x: Vec<f32> = at.iter().map(|x| *x as f32).collect();
        x.extend([0.0, -0.0, bound.next_down(), -bound.next_down(), bound.next_up()]);
        let outside = x.len() - 1;
        x.extend([-bound.next_up(), 10.0 * bound, -10.0 * bound, 1e6 * bound, f32::MAX, f32::MIN]);
        x.extend([bound, -bound]);
        let rows = x.len();
        let splines = Splines { rows, width: 1, family, direction };
        let parameters = p.repeat(rows);
        let dy = numbers(2 * rows, seed + 2);
        let [y, dx, dp] = found(splines, &x, &parameters, &dy);
        assert!([&y, &dx, &dp].iter().all(|all| all.iter().all(|v| v.is_finite())));
        for (row, x) in x.iter().enumerate() {
            let ([y, slope], dp) = ([y[2 * row], y[2 * row + 1]], &dp[row * count..][..count]);
            assert!(y.abs() <= bound || row >= outside, "{x} goes to {y}");
            if spread == 1.0 {
                let [value, _] = exact(family, direction, f64::from(*x), &wide(&p));
                assert!((f64::from(y) - value).abs() <= 1e-5 * value.abs().max(1.0), "{x}: {y}, not {value}");
            }
            if x.abs() >= bound {
                assert_eq!(y, *x);
            }
            if x.abs() > bound || (x.abs() == bound && family.ends == Ends::Linear) {
                assert_eq!((slope, dx[row]), (0.0, dy[2 * row]));
                assert!(dp.iter().all(|dp| *dp == 0.0));
            }
        }
        // The slope at the bound is the same at both ends.
        assert_eq!(y[2 * rows - 3], y[2 * rows - 1]);
        if family.ends == Ends::Periodic {
            let log = soft(f64::from(p[2 * family.bins]), 1000f64.ln());
            let log = if direction == Direction::ToNoise { log } else { -log };
            assert_close("slope at the bound", &[y[2 * rows - 1]], &[log], 1e-5);
        }
    }
}

#[test]
fn values_that_are_not_finite_stay_in_their_row() {
    for (ends, direction) in
        [Ends::Linear, Ends::Periodic].into_iter().flat_map(|ends| DIRECTIONS.map(|d| (ends, d)))
    {
        let family = Spline { bins: 5, bound: 2.0, ends };
        let splines = Splines { rows: 40, width: 3, family, direction };
        let (mut x, mut parameters) = inputs(splines, 1.0, 1);
        let dy = numbers(40 * 4, 2);
        let before = found(splines, &x, &parameters, &dy);
        let count = 3 * family.parameters();
        for (row, value) in [(0, f32::NAN), (7, f32::INFINITY), (39, f32::NEG_INFINITY)] {
            x[3 * row + 1] = value;
        }
        (parameters[20 * count], parameters[30 * count + 7]) = (f32::NAN, f32::INFINITY);
        let after = found(splines, &x, &parameters, &dy);
        for ((before, after), len) in before.iter().zip(&after).zip([4, 3, count]) {
            for row in (0..40).filter(|row| ![0, 7, 20, 30, 39].contains(row)) {
                assert_same("row", &before[row * len..][..len], &after[row * len..][..len]);
            }
        }
        for row in [0, 7, 39] {
            assert!(!after[0][4 * row + 1].is_finite());
        }
    }
}

#[test]
fn rows_may_be_none_or_empty() {
    let family = Spline { bins: 4, bound: 1.0, ends: Ends::Linear };
    for direction in DIRECTIONS {
        let splines = Splines { rows: 0, width: 3, family, direction };
        assert_eq!(found(splines, &[], &[], &[]), [const { Vec::<f32>::new() }; 3]);
        let splines = Splines { rows: 3, width: 0, family, direction };
        assert_eq!(found(splines, &[], &[], &[1.0; 3]), [vec![0.0; 3], Vec::new(), Vec::new()]);
    }
}
