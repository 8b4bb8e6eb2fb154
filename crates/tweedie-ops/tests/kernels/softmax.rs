//! Softmax against its definition, large arguments included.

use crate::common::*;
use proptest::prelude::*;
use tweedie_ops::kernels::softmax::{softmax, softmax_backward};

fn exact(columns: usize, x: &[f64]) -> Vec<f64> {
    let row = |x: &[f64]| {
        let most = x.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
        let e: Vec<f64> = x.iter().map(|v| (v - most).exp()).collect();
        let sum: f64 = e.iter().sum();
        e.into_iter().map(move |e| e / sum).collect::<Vec<_>>()
    };
    x.chunks(columns).flat_map(row).collect()
}

proptest! {
    #![proptest_config(cases(60))]
    #[test]
    fn rows_are_the_definition(
        rows in 1usize..400, columns in 1usize..80, size in prop_oneof![Just(1.0f32), Just(300.0)],
        seed in 0u64..1000,
    ) {
        let x: Vec<f32> = numbers(rows * columns, seed).iter().map(|x| x * size).collect();
        let dy = numbers(x.len(), seed + 1);
        let all = on_any_threads(|| {
            let (mut y, mut dx) = (stale(x.len()), stale(x.len()));
            softmax(columns, &x, &mut y);
            softmax_backward(columns, &y, &dy, &mut dx);
            vec![y, dx]
        });
        let y = exact(columns, &wide(&x));
        assert_close("y", &all[0], &y, 1e-6);
        for (r, row) in y.chunks(columns).enumerate() {
            let dy = wide(&dy[r * columns..][..columns]);
            let mean: f64 = row.iter().zip(&dy).map(|(y, dy)| y * dy).sum();
            let dx: Vec<f64> = row.iter().zip(&dy).map(|(y, dy)| y * (dy - mean)).collect();
            assert_close("dx", &all[1][r * columns..][..columns], &dx, 2e-6);
        }
        let mut last = stale(columns);
        softmax(columns, &x[x.len() - columns..], &mut last);
        assert_same("alone", &last, &all[0][x.len() - columns..]);
    }
}

#[test]
fn a_masked_row_is_the_softmax_of_the_rest() {
    let mut x = numbers(20, 3);
    x[4] = f32::NEG_INFINITY;
    x[19] = f32::NEG_INFINITY;
    let mut y = stale(20);
    softmax(20, &x, &mut y);
    assert_close("y", &y, &exact(20, &wide(&x)), 1e-6);
    x[7] = f32::NAN;
    softmax(20, &x, &mut y);
    assert!(y.iter().all(|y| y.is_nan()));
}
