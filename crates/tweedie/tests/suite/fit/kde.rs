//! Kernel density estimates against SciPy, direct sums and the equations of their bandwidth.

use super::{groups, peer, peer_points};
use crate::support::{all_close, close, difference, within};
use tweedie::density::fit::{Bandwidth, Distribution, Kde, KernelShape, Points};
use tweedie::{Draws, Error};

const CASES: [&str; 3] = ["plane", "plane_weighted", "line"];

fn weights(case: &str) -> Option<Vec<f64>> {
    peer(&format!("/kde/{case}/weights"))
}

#[test]
fn densities_are_scipy_s() {
    for case in CASES {
        let (points, at) =
            (peer_points(&format!("/kde/{case}/rows")), peer_points(&format!("/kde/{case}/at")));
        let weights = weights(case);
        for (name, bandwidth) in [
            ("scott", Bandwidth::Scott),
            ("silverman", Bandwidth::Silverman),
            ("number", Bandwidth::Factor(0.3)),
        ] {
            let kde =
                Kde::new(&points, weights.as_deref(), bandwidth, KernelShape::Covariance).unwrap();
            let place = format!("/kde/{case}/{name}");
            close(&place, kde.factor(), peer(&format!("{place}/factor")), 1e-14);
            let theirs: Vec<f64> = peer(&format!("{place}/log_densities"));
            for (ours, theirs) in kde.log_densities(at.values()).iter().zip(theirs) {
                // log p to 1e-10, so densities to a relative 1e-10.
                within(&place, *ours, theirs, 1e-10 * f64::max(1.0, theirs.abs() * 1e-3));
            }
        }
    }
}

#[test]
fn the_leave_one_out_bandwidth_is_that_of_scipy_s_minimiser() {
    for case in CASES {
        let points = peer_points(&format!("/kde/{case}/rows"));
        let weights = weights(case);
        let (bandwidth, shape) = (Bandwidth::LeaveOneOut, KernelShape::Covariance);
        let kde = Kde::new(&points, weights.as_deref(), bandwidth, shape).unwrap();
        // A minimiser that sees values alone finds the place to the root of their precision.
        close(case, kde.factor(), peer(&format!("/kde/{case}/loo/factor")), 1e-6);
        let value = kde.leave_one_out(kde.factor());
        close(case, value, peer(&format!("/kde/{case}/loo/likelihood")), 1e-12);
        let slope = difference(|s| kde.leave_one_out(s.exp()), kde.factor().ln(), 1e-3);
        within(format!("{case}: slope"), slope, 0.0, 1e-9);
    }
}

/// The sums over all other rows, written out for independent columns.
#[test]
fn leave_one_out_is_the_mean_log_density_under_the_other_rows() {
    let points = groups(70, 3, 2.0, 4);
    let kde = Kde::new(&points, None, Bandwidth::Scott, KernelShape::Columns).unwrap();
    let n = points.len() as f64;
    let variance = |j: usize| {
        let mean = points.iter().map(|x| x[j]).sum::<f64>() / n;
        points.iter().map(|x| (x[j] - mean).powi(2)).sum::<f64>() / (n - 1.0)
    };
    let deviations = [0, 1].map(|j| variance(j).sqrt());
    for h in [0.02, 0.1, 0.4, 3.0] {
        let kernel = |x: &[f64], y: &[f64], j: usize| {
            let s = h * deviations[j];
            (-0.5 * ((x[j] - y[j]) / s).powi(2)).exp() / (s * std::f64::consts::TAU.sqrt())
        };
        let density = |i: usize| {
            let others = (0..points.len()).filter(|j| *j != i).map(|j| points.row(j));
            let sum: f64 =
                others.map(|y| kernel(points.row(i), y, 0) * kernel(points.row(i), y, 1)).sum();
            sum / (n - 1.0)
        };
        let direct = (0..points.len()).map(|i| density(i).ln()).sum::<f64>() / n;
        close(format!("h = {h}"), kde.leave_one_out(h), direct, 1e-12);
    }
}

/// Many clusters far apart: Silverman's factor is a hundred times too large.
#[test]
fn the_leave_one_out_bandwidth_is_found_far_from_silverman_s() {
    let noise = Draws::new(3);
    let value = |i: u64| 1e3 * (i % 5) as f64 + noise.normal_f64(i, 0);
    let points = Points::new((0..400).map(value).collect(), 1).unwrap();
    let kde = |bandwidth| Kde::new(&points, None, bandwidth, KernelShape::Columns).unwrap();
    let (rule, best) = (kde(Bandwidth::Silverman), kde(Bandwidth::LeaveOneOut));
    assert!(best.factor() < 0.01 * rule.factor());
    let most = best.leave_one_out(best.factor());
    for k in -40..=40 {
        let h = best.factor() * f64::from(k).mul_add(0.2, 0.0).exp();
        assert!(best.leave_one_out(h) <= most, "factor {h}");
    }
}

#[test]
fn a_factor_by_leave_one_out_does_not_depend_on_units_or_threads() {
    let points = groups(150, 4, 3.0, 8);
    let moved = points.iter().flat_map(|x| [1e6 * x[0] - 3.0, 1e-3 * x[1] + 50.0]);
    let moved = Points::new(moved.collect(), 2).unwrap();
    for shape in [KernelShape::Columns, KernelShape::Covariance] {
        let fit = |points: &Points| Kde::new(points, None, Bandwidth::LeaveOneOut, shape).unwrap();
        let here = fit(&points);
        close("units", fit(&moved).factor(), here.factor(), 1e-7);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| fit(&points)).factor(), here.factor());
        }
    }
}

/// log Σᵢ N(x; xᵢ, h² S)/n written out for a 2 × 2 matrix S, around the largest term.
fn direct(points: &Points, covariance: [f64; 3], h: f64, x: &[f64]) -> f64 {
    let [a, b, d] = covariance;
    let det = a * d - b * b;
    let terms: Vec<f64> = points
        .iter()
        .map(|y| {
            let (u, v) = ((x[0] - y[0]) / h, (x[1] - y[1]) / h);
            -0.5 * (d * u * u - 2.0 * b * u * v + a * v * v) / det
        })
        .collect();
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = terms.iter().map(|t| (t - largest).exp()).sum();
    let constant = (std::f64::consts::TAU * h * h).ln() + 0.5 * det.ln();
    largest + sum.ln() - (points.len() as f64).ln() - constant
}

/// The covariance with the divisor n − 1, as [xx, xy, yy].
fn covariance(points: &Points) -> [f64; 3] {
    let n = points.len() as f64;
    let mean = [0, 1].map(|j| points.iter().map(|x| x[j]).sum::<f64>() / n);
    [(0, 0), (0, 1), (1, 1)].map(|(i, j)| {
        points.iter().map(|x| (x[i] - mean[i]) * (x[j] - mean[j])).sum::<f64>() / (n - 1.0)
    })
}

#[test]
fn densities_are_direct_sums_at_every_bandwidth() {
    let points = groups(120, 3, 2.0, 4);
    let [xx, xy, yy] = covariance(&points);
    for (shape, matrix) in
        [(KernelShape::Covariance, [xx, xy, yy]), (KernelShape::Columns, [xx, 0.0, yy])]
    {
        for h in [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.5, 2.0] {
            let kde = Kde::new(&points, None, Bandwidth::Factor(h), shape).unwrap();
            for row in points.iter().take(40) {
                for step in [0.0, 0.3, 1.0, 1.5] {
                    let x = [row[0] + step * h, row[1] - 0.7 * step * h];
                    let expected = direct(&points, matrix, h, &x);
                    within(format!("h = {h}"), kde.log_density(&x), expected, 1e-10);
                }
            }
        }
    }
}

/// By the trapezoid rule, which for smooth functions on the whole plane is exact up to its ends.
#[test]
fn an_estimate_integrates_to_1() {
    let points = groups(60, 3, 2.0, 4);
    for shape in [KernelShape::Columns, KernelShape::Covariance] {
        for bandwidth in [Bandwidth::Scott, Bandwidth::LeaveOneOut, Bandwidth::Factor(0.1)] {
            let kde = Kde::new(&points, None, bandwidth, shape).unwrap();
            let (n, reach) = (400, 12.0);
            let step = 2.0 * reach / f64::from(n);
            let at = |i: i32| -reach + step * f64::from(i);
            let rows: Vec<f64> = (0..n * n).flat_map(|k| [at(k % n), at(k / n)]).collect();
            let sum: f64 = kde.log_densities(&rows).iter().map(|log| log.exp()).sum();
            within(format!("{bandwidth:?}, {shape:?}"), sum * step * step, 1.0, 1e-9);
        }
    }
}

/// In other units of the columns, and for a whole covariance in any other coordinates, the factor stays and log p
/// differs by the logarithm of the determinant.
#[test]
fn the_rules_follow_a_change_of_units() {
    let points = groups(150, 4, 3.0, 8);
    let units = |[a, b, c, d]: [f64; 4], shape, tolerance| {
        let map = |x: &[f64]| [a * x[0] + b * x[1] - 3.0, c * x[0] + d * x[1] + 50.0];
        let moved = Points::new(points.iter().flat_map(map).collect(), 2).unwrap();
        for bandwidth in [Bandwidth::Scott, Bandwidth::Silverman, Bandwidth::Factor(0.2)] {
            let fit = |points: &Points| Kde::new(points, None, bandwidth, shape).unwrap();
            let (here, there) = (fit(&points), fit(&moved));
            assert_eq!(here.factor(), there.factor());
            let volume = (a * d - b * c).abs().ln();
            for x in points.iter().take(20) {
                let found = there.log_density(&map(x)) + volume;
                within(format!("{shape:?}"), found, here.log_density(x), tolerance);
            }
        }
    };
    units([1e5, 0.0, 0.0, -1e-3], KernelShape::Columns, 1e-7);
    units([1e5, 0.0, 0.0, -1e-3], KernelShape::Covariance, 1e-7);
    units([2.0, 1.5, -0.5, 0.3], KernelShape::Covariance, 1e-9);
}

#[test]
fn duplicates_of_every_row_leave_no_bandwidth() {
    let points = groups(50, 3, 2.0, 1);
    let mut values = points.values().repeat(2);
    let twice = Points::new(values.clone(), 2).unwrap();
    let fit =
        |points: &Points| Kde::new(points, None, Bandwidth::LeaveOneOut, KernelShape::Columns);
    let error = fit(&twice).unwrap_err();
    assert!(matches!(error, Error::Undefined { .. }));
    assert!(error.to_string().contains("every row has a duplicate"), "{error}");
    // The likelihood does grow for ever.
    let kde = Kde::new(&twice, None, Bandwidth::Scott, KernelShape::Columns).unwrap();
    let slope = kde.leave_one_out(1e-8) - kde.leave_one_out(1e-6);
    close("growth of −d ln h", slope, 2.0 * 100.0_f64.ln(), 1e-9);
    // One row without a duplicate bounds it.
    values.extend([0.123, 4.56]);
    let found = fit(&Points::new(values, 2).unwrap()).unwrap().factor();
    assert!(found > 0.0 && found.is_finite());
}

#[test]
fn rows_without_weight_do_not_count() {
    let points = groups(40, 2, 2.0, 6);
    let some: Vec<f64> = (0..40).map(|i| f64::from(i % 4)).collect();
    let kept: Vec<usize> = (0..40).filter(|i| i % 4 > 0).collect();
    let rows = Points::new(kept.iter().flat_map(|i| points.row(*i)).copied().collect(), 2).unwrap();
    let weights: Vec<f64> = kept.iter().map(|i| 5.0 * some[*i]).collect();
    let fit = |points: &Points, weights: &[f64]| {
        Kde::new(points, Some(weights), Bandwidth::Scott, KernelShape::Columns)
    };
    let (all, few) = (fit(&points, &some).unwrap(), fit(&rows, &weights).unwrap());
    assert_eq!(all.points(), few.points());
    let logs = |kde: &Kde| kde.log_densities(&points.values()[..20]);
    all_close("log p", &logs(&all), &logs(&few), 1e-13);
    within("weights", all.weights().iter().sum(), 1.0, 1e-14);
    let mut lonely = vec![0.0; 40];
    lonely[3] = 1.0;
    assert!(matches!(fit(&points, &lonely), Err(Error::Undefined { .. })));
    lonely[4] = -1.0;
    assert!(matches!(fit(&points, &lonely), Err(Error::Config { .. })));
    assert!(matches!(fit(&points, &[1.0]), Err(Error::Shape { .. })));
}

#[test]
fn rows_in_a_subspace_have_no_estimate_of_that_shape() {
    let line = Points::new((0..30).flat_map(|i| [f64::from(i), 2.0 * f64::from(i)]).collect(), 2);
    let line = line.unwrap();
    let fit = |points: &Points, shape| Kde::new(points, None, Bandwidth::Scott, shape);
    assert!(matches!(fit(&line, KernelShape::Covariance), Err(Error::Undefined { .. })));
    assert!(fit(&line, KernelShape::Columns).is_ok());
    let flat = Points::new((0..30).flat_map(|i| [f64::from(i), 0.1]).collect(), 2).unwrap();
    assert!(matches!(fit(&flat, KernelShape::Columns), Err(Error::Undefined { .. })));
    for factor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let found = Kde::new(&line, None, Bandwidth::Factor(factor), KernelShape::Columns);
        assert!(matches!(found, Err(Error::Config { .. })));
    }
}

#[test]
fn bandwidths_are_words_or_numbers() {
    let read = |text: &str| serde_json::from_str::<Bandwidth>(text);
    for (text, bandwidth) in [
        ("\"scott\"", Bandwidth::Scott),
        ("\"silverman\"", Bandwidth::Silverman),
        ("\"loo\"", Bandwidth::LeaveOneOut),
        ("0.25", Bandwidth::Factor(0.25)),
    ] {
        assert_eq!(read(text).unwrap(), bandwidth);
        assert_eq!(serde_json::to_string(&bandwidth).unwrap(), text);
    }
    assert!(read("\"botev\"").is_err());
}
