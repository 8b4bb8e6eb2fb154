//! Properties of all metrics: errors, symmetry, independence of the number of threads.

use super::peer::Peer;
use super::{
    copies, energy, frechet, kernel, memorisation, mmd, neighbours, precision, wasserstein,
};
use crate::data::Rows;
use crate::{Error, Result};
use proptest::prelude::*;

fn rows(values: &[f32], width: usize) -> Rows {
    Rows::new(values.to_vec(), width).expect("whole rows")
}

/// Every metric of two samples of equal sizes, as numbers.
fn all(x: &Rows, y: &Rows) -> Result<Vec<f64>> {
    let mmd = mmd::gaussian(x, y, &[1.0, 2.0])?;
    let energy = energy::distance(x, y)?;
    let sliced = wasserstein::sliced_random(x, y, 1, 50)?;
    let test = neighbours::two_sample(x, y)?;
    let kernel = kernel::distance(x, y)?;
    let support = precision::improved(x, y, 1)?;
    Ok(vec![
        frechet::distance(x, y)?,
        kernel.biased,
        kernel.unbiased,
        kernel.standard_error,
        kernel::over_subsets(x, y, 3, 2, 1)?.mean,
        support.precision.value,
        support.recall.value,
        copies::matches(x, y)?.iter().map(|found| found.nearest.distance).sum(),
        mmd.biased,
        mmd.unbiased,
        mmd.standard_error,
        mmd::median_bandwidth(x, y)?,
        energy.biased,
        energy.unbiased,
        energy.standard_error,
        sliced.distance,
        sliced.row_error,
        sliced.direction_error.unwrap_or(0.0),
        wasserstein::exact(x, y)?,
        test.accuracy.value,
        neighbours::nearest(x, y)?.iter().map(|n| n.distance).sum(),
        memorisation(x, x, y)?.rescaled,
        memorisation(x, x, y)?.standard_error,
    ])
}

#[test]
fn threads_do_not_change_a_bit() -> Result<()> {
    let (x, y) = (Peer::read().rows("x").slice(0..50), Peer::read().rows("y"));
    let alone = all(&x, &y)?;
    for threads in [1, 2, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let many = pool.expect("a thread pool").install(|| all(&x, &y))?;
        assert_eq!(many, alone, "{threads} threads");
    }
    Ok(())
}

#[test]
fn unusable_samples_are_typed_errors() {
    let good = rows(&[0.0, 1.0, 2.0, 3.0], 2);
    for (bad, message) in [
        (
            rows(&[0.0, 1.0], 1),
            "width of second sample: found 1, expected 2, the width of first sample",
        ),
        (rows(&[], 2), "second sample: found 0 rows, expected at least 2"),
        (rows(&[0.0; 2], 2), "second sample: found 1 rows, expected at least 2"),
        (
            rows(&[0.0, 0.0, 0.0, f32::NAN], 2),
            "second sample: NaN at row 1, column 1; expected finite values",
        ),
    ] {
        for result in [
            energy::distance(&good, &bad),
            mmd::gaussian(&good, &bad, &[1.0]),
            kernel::distance(&good, &bad),
        ] {
            assert_eq!(result.expect_err("unusable").to_string(), message);
        }
    }
    let infinite = rows(&[f32::INFINITY, 0.0, 0.0, 0.0], 2);
    for error in [
        wasserstein::exact(&infinite, &good).expect_err("infinite"),
        wasserstein::sliced_random(&good, &infinite, 0, 3).expect_err("infinite"),
        neighbours::two_sample(&good, &infinite).expect_err("infinite"),
        neighbours::nearest(&good, &infinite).expect_err("infinite"),
        neighbours::label_agreement(&infinite, &[0, 0], &good, &[0, 0]).expect_err("infinite"),
        mmd::median_bandwidth(&good, &infinite).expect_err("infinite"),
        frechet::distance(&good, &infinite).expect_err("infinite"),
        kernel::distance(&infinite, &good).expect_err("infinite"),
        precision::improved(&good, &infinite, 1).expect_err("infinite"),
        memorisation(&infinite, &good, &good).expect_err("infinite"),
        copies::matches(&infinite, &good).expect_err("infinite"),
    ] {
        assert!(error.to_string().contains("inf at row 0, column 0"), "{error}");
    }
}

#[test]
fn unusable_arguments_are_typed_errors() {
    let (x, y) = (rows(&[0.0, 1.0, 2.0, 3.0], 2), rows(&[0.0; 6], 2));
    for error in [
        wasserstein::exact(&x, &y).expect_err("sizes"),
        wasserstein::line(&x, &y).expect_err("width"),
        wasserstein::sliced_random(&x, &y, 0, 0).expect_err("no direction"),
        wasserstein::sliced(&x, &y, &rows(&[1.0], 1)).expect_err("width"),
        neighbours::label_agreement(&x, &[1], &y, &[1, 2, 3]).expect_err("labels"),
        neighbours::label_agreement(&x, &[1, 2], &y, &[1]).expect_err("labels"),
    ] {
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
    for error in [
        wasserstein::sliced(&x, &y, &rows(&[1.0, 0.0, 1.0, 1.0], 2)).expect_err("length"),
        mmd::gaussian(&x, &y, &[]).expect_err("no bandwidth"),
        mmd::gaussian(&x, &y, &[1.0, 0.0]).expect_err("no width"),
        mmd::gaussian(&x, &y, &[f64::NAN]).expect_err("no number"),
    ] {
        assert!(matches!(error, Error::Config { .. }), "{error}");
    }
    let equal = mmd::median_bandwidth(&y, &y).expect_err("all rows are equal");
    assert!(matches!(equal, Error::Undefined { .. }), "{equal}");
    let far = rows(&[f32::MAX, f32::MIN], 1);
    assert!(all(&far, &far).is_ok(), "the largest values do not overflow");
}

type Metric = fn(&Rows, &Rows) -> Result<super::Discrepancy>;

/// Two samples of one size, from 2 to 12 rows of 2 values.
fn pair() -> impl Strategy<Value = (Rows, Rows)> {
    (2usize..12).prop_flat_map(|n| {
        let sample = prop::collection::vec(-10.0f32..10.0, 2 * n).prop_map(|v| rows(&v, 2));
        (sample.clone(), sample)
    })
}

proptest! {
    #[test]
    fn distances_are_symmetric_and_zero_at_equality((x, y) in pair()) {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-10 * (1.0 + a.abs());
        prop_assert!(near(wasserstein::exact(&x, &y)?, wasserstein::exact(&y, &x)?));
        prop_assert_eq!(wasserstein::exact(&x, &x)?, 0.0);
        let sliced = wasserstein::sliced_random(&x, &y, 3, 10)?;
        prop_assert!(near(sliced.distance, wasserstein::sliced_random(&y, &x, 3, 10)?.distance));
        prop_assert!(sliced.distance <= wasserstein::exact(&x, &y)? * (1.0 + 1e-6));
        prop_assert_eq!(wasserstein::sliced_random(&x, &x, 3, 10)?.distance, 0.0);
        let metrics: [Metric; 2] =
            [energy::distance, |x, y| mmd::gaussian(x, y, &[0.5, 3.0])];
        prop_assert!(frechet::distance(&x, &x)? < 1e-10);
        prop_assert!(near(frechet::distance(&x, &y)?, frechet::distance(&y, &x)?));
        for metric in metrics {
            let (forth, back) = (metric(&x, &y)?, metric(&y, &x)?);
            prop_assert!(near(forth.biased, back.biased) && near(forth.unbiased, back.unbiased));
            prop_assert!(near(forth.standard_error, back.standard_error));
            prop_assert!(forth.biased > -1e-12 && metric(&x, &x)?.biased.abs() < 1e-12);
        }
        let (forth, back) = (neighbours::two_sample(&x, &y)?, neighbours::two_sample(&y, &x)?);
        prop_assert_eq!((forth.real, forth.fake, forth.accuracy), (back.fake, back.real, back.accuracy));
    }
}
