//! Noise levels of a batch: one for all rows, one per row, or tracked; all three give the same numbers.

use crate::support::*;
use burn::tensor::Tensor;
use tweedie::Error;
use tweedie::process::{Level, Levels, Schedule, Straight};

/// Log-SNRs over the whole range that is promised.
fn lambdas() -> Vec<f64> {
    (-30..=30).map(f64::from).collect()
}

fn rows() -> Vec<Level> {
    lambdas().into_iter().map(|l| Level::variance_preserving(0.1 * l, l)).collect()
}

fn tracked(lambda: Tensor<2>) -> Levels {
    Levels::Tracked { t: lambda.clone().mul_scalar(0.1), lambda }
}

#[test]
fn all_rows_and_tracked_levels_are_the_same_columns() {
    let like = doubles(&vec![0.0; 2 * rows().len()], 2);
    let by_row = Levels::Rows(rows());
    let by_graph = tracked(doubles(&lambdas(), 1));
    type Column = fn(&Levels, &Tensor<2>) -> tweedie::Result<Tensor<2>>;
    type OnHost = fn(&Level) -> f64;
    let columns: [(&str, Column, OnHost); 4] = [
        ("α", Levels::alpha, |l| l.alpha),
        ("σ", Levels::sigma, |l| l.sigma),
        ("λ", Levels::lambda, |l| l.lambda),
        ("t", Levels::t, |l| l.t),
    ];
    for (name, column, value) in columns {
        let found = column(&by_row, &like).unwrap();
        assert_eq!(found.dims(), [rows().len(), 1]);
        let (found, graph) = (host(&found), host(&column(&by_graph, &like).unwrap()));
        for (i, level) in rows().iter().enumerate() {
            assert_eq!(found[i], value(level), "{name}");
            close(format!("tracked {name} {i}"), graph[i], value(level), 1e-14);
            let all = column(&Levels::All(*level), &like).unwrap();
            assert_eq!((all.dims(), host(&all)), ([1, 1], vec![value(level)]), "{name}");
        }
    }
}

#[test]
fn columns_take_the_batch_s_type() {
    let like = singles(vec![0.0; 3], [3, 1]);
    for levels in [Levels::Rows(rows()[..3].to_vec()), tracked(doubles(&[-1.0, 0.0, 1.0], 1))] {
        assert_eq!(levels.alpha(&like).unwrap().dtype(), like.dtype());
        assert_eq!(levels.lambda(&like).unwrap().dtype(), like.dtype());
    }
}

#[test]
fn tracked_levels_pass_gradients_to_the_log_snr() {
    let like = doubles(&vec![0.0; lambdas().len()], 1).autodiff();
    let gradient = |column: &dyn Fn(&Levels) -> Tensor<2>| {
        let lambda = doubles(&lambdas(), 1).autodiff().require_grad();
        let sum = column(&tracked(lambda.clone())).sum();
        host(&lambda.grad(&sum.backward()).unwrap())
    };
    let alpha = gradient(&|l| l.alpha(&like).unwrap());
    let sigma = gradient(&|l| l.sigma(&like).unwrap());
    for (i, level) in rows().iter().enumerate() {
        // dα/dλ = ½ α σ², dσ/dλ = −½ σ α².
        let (a, s) = (level.alpha, level.sigma);
        close(format!("dα/dλ at {}", level.lambda), alpha[i], 0.5 * a * s * s, 1e-12);
        close(format!("dσ/dλ at {}", level.lambda), sigma[i], -0.5 * s * a * a, 1e-12);
    }
}

#[test]
fn levels_select_check_and_refuse() {
    let by_row = Levels::Rows(rows());
    let all = Levels::All(Straight::default().level(0.4));
    let by_graph = tracked(doubles(&lambdas(), 1));
    assert!(all.check(7).is_ok() && by_row.check(61).is_ok() && by_graph.check(61).is_ok());
    for levels in [&by_row, &by_graph] {
        assert!(matches!(levels.check(60), Err(Error::Shape { .. })));
    }
    let picked = by_row.select(&[3, 60, 3]).unwrap();
    let expected = [rows()[3], rows()[60], rows()[3]];
    assert_eq!([0, 1, 2].map(|i| picked.host(i).unwrap()), expected);
    assert_eq!(all.select(&[5, 6]).unwrap().host(9).unwrap().t, 0.4);
    assert!(matches!(by_row.select(&[61]), Err(Error::Shape { .. })));
    assert!(matches!(by_graph.select(&[0]), Err(Error::Undefined { .. })));
    assert!(matches!(by_graph.host(0), Err(Error::Undefined { .. })));
    let like = doubles(&[0.0], 1);
    assert!(matches!(by_graph.column(&like, |l| l.t), Err(Error::Undefined { .. })));
}

#[test]
fn pairs_of_levels_are_columns_of_transitions() {
    let [from, to] = [3.0, -2.0].map(|l| Level::variance_preserving(l, l));
    let like = doubles(&[0.0, 0.0], 1);
    let variance = |s: &Level, t: &Level| t.given(s).variance;
    let all = Levels::pair(&from.into(), &to.into(), &like, variance).unwrap();
    let rows = Levels::Rows(vec![from, to]);
    let mixed = Levels::pair(&rows, &to.into(), &like, variance).unwrap();
    let expected = to.sigma.powi(2) - (to.alpha / from.alpha * from.sigma).powi(2);
    assert_eq!((host(&all).len(), mixed.dims()), (1, [2, 1]));
    all_close("σ² of all", &host(&all), &[expected], 1e-14);
    all_close("σ² of rows", &host(&mixed), &[expected, 0.0], 1e-14);
    let short = Levels::Rows(vec![from]);
    assert!(matches!(Levels::pair(&short, &to.into(), &like, variance), Err(Error::Shape { .. })));
}
