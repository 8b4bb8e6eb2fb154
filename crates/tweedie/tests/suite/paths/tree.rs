//! The Brownian tree: additive, independent of depth and batch, with the law of a Wiener path; solvers on it.

use crate::oracle::{COSINE, VP, host, normals, orders, three_components};
use crate::support::{KOLMOGOROV, SIX_SIGMA, kolmogorov, within};
use statrs::distribution::{ContinuousCDF, Normal};
use tweedie::data::Condition;
use tweedie::process::{BrownianTree, Noise, Schedule};
use tweedie::solve::grid::{Grid, LogSnr};
use tweedie::solve::{Ancestral, Context, Ddim, EulerMaruyama, Last, Solver, integrate};
use tweedie::{Draws, Error};

/// W(b) − W(a) of each of some rows, in double precision.
fn over(tree: &BrownianTree, a: f64, b: f64, rows: &[u64], width: usize) -> Vec<f64> {
    let z = tree.increments(0, &[(a, b)], rows, width);
    z.values().iter().map(|z| f64::from(*z) * (b - a).abs().sqrt()).collect()
}

#[test]
fn increments_add_up_and_turn_round() {
    let tree = BrownianTree::new(Draws::new(1), (-2.0, 3.0)).unwrap();
    let rows: Vec<u64> = (0..50).collect();
    let times = [-2.0, -1.999, -1.0, 0.123456789, 0.123457, 0.5, 2.75, 3.0];
    let whole = over(&tree, -2.0, 3.0, &rows, 2);
    let mut sum = vec![0.0; 100];
    for pair in times.windows(2) {
        let part = over(&tree, pair[0], pair[1], &rows, 2);
        let back = over(&tree, pair[1], pair[0], &rows, 2);
        assert!(part.iter().zip(&back).all(|(a, b)| *a == -b));
        sum.iter_mut().zip(part).for_each(|(s, p)| *s += p);
    }
    for (s, w) in sum.iter().zip(whole) {
        within("the whole", *s, w, 3e-6);
    }
}

#[test]
fn a_path_depends_on_its_row_alone_and_not_on_the_depth() {
    let tree = BrownianTree::new(Draws::new(2), (0.0, 1.0)).unwrap();
    let deep = tree.with_depth(62).unwrap();
    let shallow = tree.with_depth(6).unwrap();
    let rows: Vec<u64> = (10..40).collect();
    let all = over(&tree, 0.25, 0.703125, &rows, 3);
    assert_eq!(all, over(&deep, 0.25, 0.703125, &rows, 3));
    assert_eq!(all, over(&shallow, 0.25, 0.703125, &rows, 3));
    let alone = over(&tree, 0.25, 0.703125, &[17], 3);
    assert_eq!(alone, all[21..24]);
    // Spans of their own give each row what it has alone.
    let spans: Vec<(f64, f64)> = (0..30).map(|i| (0.01 * i as f64, 0.9)).collect();
    let each = tree.increments(4, &spans, &rows, 3);
    for (i, (span, row)) in spans.iter().zip(&rows).enumerate() {
        assert_eq!(each.row(i), tree.increments(4, &[*span], &[*row], 3).row(0));
    }
    // Beyond the range, or within less than a node's distance, a step has noise of its own.
    let own = |step| tree.increments(step, &[(0.5, 1.5)], &rows, 3);
    assert_eq!(own(3), tree.normals(3, &rows, 3));
    assert_ne!(own(3), own(4));
    assert_eq!(shallow.increments(3, &[(0.5, 0.501)], &rows, 3), tree.normals(3, &rows, 3));
    for depth in [0, 63] {
        assert!(matches!(tree.with_depth(depth), Err(Error::Config { .. })));
    }
    for range in [(1.0, 1.0), (1.0, 0.0), (0.0, f64::INFINITY), (f64::NAN, 1.0)] {
        assert!(matches!(BrownianTree::new(Draws::new(2), range), Err(Error::Config { .. })));
    }
}

#[test]
fn increments_are_those_of_a_wiener_path() {
    let n = 40_000;
    let tree = BrownianTree::new(Draws::new(3), (0.0, 1.0)).unwrap();
    let rows: Vec<u64> = (0..n).collect();
    // Spans across, beside and within the large cells, the last ones 1e-9 long.
    let spans = [(0.0, 0.37), (0.37, 0.5), (0.5, 0.500000001), (0.6, 0.600000001), (0.61, 1.0)];
    let paths = spans.map(|span| tree.increments(0, &[span], &rows, 1));
    let normal = Normal::standard();
    for (i, path) in paths.iter().enumerate() {
        let values: Vec<f64> = path.values().iter().map(|v| f64::from(*v)).collect();
        let distance = kolmogorov(&values, |z| normal.cdf(z)) * (n as f64).sqrt();
        assert!(distance < KOLMOGOROV, "span {i}: √n D = {distance}");
        for other in &paths[..i] {
            // The mean of a product of independent normals has variance 1/n.
            let product: f64 =
                values.iter().zip(other.values()).map(|(a, b)| a * f64::from(*b)).sum::<f64>();
            within("correlation", product / n as f64, 0.0, SIX_SIGMA / (n as f64).sqrt());
        }
    }
}

/// Median distances between the ends of paths with n and with 2 n steps, for each n: between two modes a path may end
/// in either, which would rule a mean.
fn strong_errors(solver: &dyn Solver, schedule: &dyn Schedule, steps: &[usize]) -> Vec<f64> {
    let data = three_components();
    let rows: Vec<u64> = (0..400).collect();
    let tree = BrownianTree::new(Draws::new(4), schedule.range()).unwrap();
    let start = normals(rows.len(), 2, schedule.prior_sd(1.0), 6);
    let end = |n: &usize| {
        let levels = LogSnr.levels(schedule, *n).unwrap();
        let condition = &Condition::None;
        let (denoiser, noise, rows) = (&data, &tree, &rows[..]);
        let context = Context { denoiser, schedule, condition, noise, rows, clip: None };
        host(&integrate(solver, start.clone(), &levels, Last::Stop, &context, |_| {}).unwrap())
    };
    let ends: Vec<Vec<f64>> = steps.iter().map(end).collect();
    let distance = |a: &[f64], b: &[f64]| {
        let each = a.chunks(2).zip(b.chunks(2)).map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]));
        let mut each: Vec<f64> = each.collect();
        each.sort_by(f64::total_cmp);
        each[each.len() / 2]
    };
    ends.windows(2).map(|pair| distance(&pair[0], &pair[1])).collect()
}

#[test]
fn more_steps_refine_the_same_reverse_path_with_strong_order_1() {
    let solvers: [(&dyn Solver, &dyn Schedule); 5] = [
        (&EulerMaruyama::default(), &VP),
        (&EulerMaruyama { churn: 0.3 }, &VP),
        (&EulerMaruyama::default(), &COSINE),
        (&Ancestral::default(), &VP),
        (&Ddim { eta: 0.5 }, &COSINE),
    ];
    for (solver, schedule) in solvers {
        let errors = strong_errors(solver, schedule, &[200, 400, 800, 1600]);
        let orders = orders(&errors);
        let place = format!("{solver:?} {schedule:?}: {errors:?}, orders {orders:?}");
        assert!(orders.iter().all(|o| (o - 1.0).abs() < 0.15), "{place}");
    }
}
