use super::*;
use crate::draws::Draws;
use crate::metric::peer::Peer;
use proptest::prelude::*;

fn normals(seed: u64, rows: usize, columns: usize) -> Vec<f64> {
    let rows = Draws::new(seed).normals(0..rows as u64, columns);
    rows.values().iter().map(|&v| f64::from(v)).collect()
}

/// Squared distances between two samples in the plane.
fn squared_distances(seed: u64, n: usize) -> Vec<f64> {
    let (x, y) = (normals(seed, n, 2), normals(seed + 1, n, 2));
    let square = |x: &[f64], y: &[f64]| (x[0] - y[0]).powi(2) + (x[1] - y[1]).powi(2);
    let all = |x: &[f64]| y.chunks(2).map(|y| square(x, y)).collect::<Vec<f64>>();
    x.chunks(2).flat_map(all).collect()
}

/// Asserts that an assignment is one, and that its prices prove it the cheapest.
fn assert_optimal(cost: &[f64], rows: usize, columns: usize) {
    let found = assign(cost, rows, columns).expect("usable costs");
    let tolerance = 1e-9 * cost.iter().fold(1.0, |a: f64, c| a.max(c.abs()));
    let mut used = vec![false; columns];
    for (i, &column) in found.columns.iter().enumerate() {
        assert!(!std::mem::replace(&mut used[column], true), "column {column} given twice");
        for j in 0..columns {
            let slack = cost[i * columns + j] - found.row_prices[i] - found.column_prices[j];
            assert!(slack > -tolerance, "row {i}, column {j}: {slack}");
            assert!(j != column || slack.abs() < tolerance, "row {i} pays {slack} too much");
        }
    }
    if rows < columns {
        assert!(found.column_prices.iter().all(|&v| v <= 0.0));
        let free = found.column_prices.iter().zip(&used).filter(|&(_, &used)| !used);
        assert!(free.into_iter().all(|(&v, _)| v == 0.0));
    }
}

/// The least total cost over all injective choices of columns for the rows from `row` on.
fn brute_force(cost: &[f64], columns: usize, row: usize, used: &mut [bool]) -> f64 {
    if row * columns == cost.len() {
        return 0.0;
    }
    let mut best = f64::INFINITY;
    for j in 0..columns {
        if !used[j] {
            used[j] = true;
            best = best.min(cost[row * columns + j] + brute_force(cost, columns, row + 1, used));
            used[j] = false;
        }
    }
    best
}

/// A matrix of at most 7 × 7 values drawn by `values`: rows, columns, costs.
fn matrix<S: Strategy<Value = f64> + Clone>(
    values: S,
) -> impl Strategy<Value = (usize, usize, Vec<f64>)> {
    (1usize..=7).prop_flat_map(|columns| (1..=columns, Just(columns))).prop_flat_map(
        move |(rows, columns)| {
            let costs = prop::collection::vec(values.clone(), rows * columns);
            (Just(rows), Just(columns), costs)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn equals_brute_force((rows, columns, cost) in matrix(-100.0..100.0)) {
        let best = brute_force(&cost, columns, 0, &mut vec![false; columns]);
        prop_assert!((assign(&cost, rows, columns)?.cost - best).abs() < 1e-9);
        assert_optimal(&cost, rows, columns);
    }

    #[test]
    fn equals_brute_force_with_many_ties((rows, columns, cost) in matrix((0..4).prop_map(f64::from))) {
        let best = brute_force(&cost, columns, 0, &mut vec![false; columns]);
        prop_assert_eq!(assign(&cost, rows, columns)?.cost, best);
        assert_optimal(&cost, rows, columns);
    }
}

#[test]
fn prices_prove_large_assignments() {
    assert_optimal(&normals(1, 150, 150), 150, 150);
    assert_optimal(&squared_distances(2, 300), 300, 300);
    assert_optimal(&normals(3, 60, 333), 60, 333);
    // Costs i·j, for which the assignment is the reversal and shortest paths are long.
    let product: Vec<f64> = (0..10_000).map(|k| f64::from((k / 100) * (k % 100))).collect();
    assert_optimal(&product, 100, 100);
    let found = assign(&product, 100, 100).expect("usable costs");
    assert!(found.columns.into_iter().eq((0..100).rev()));
    let few: Vec<f64> = normals(4, 150, 150).iter().map(|v| v.round()).collect();
    assert_optimal(&few, 150, 150);
    assert_optimal(&[0.0; 10_000], 100, 100);
}

#[test]
fn agrees_with_scipy_on_a_rectangle() -> Result<()> {
    let peer = Peer::read();
    let (x, y) = (peer.rows("x"), peer.rows("y"));
    let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    let distance = |y: &[f32], x: &[f32]| y.iter().zip(x).map(square).sum::<f64>();
    let cost: Vec<f64> = y.iter().flat_map(|y| x.iter().map(move |x| distance(y, x))).collect();
    let found = assign(&cost, y.len(), x.len())?;
    peer.agrees("/assignment/cost", found.cost);
    assert_eq!(found.columns, peer.get::<Vec<usize>>("/assignment/columns"));
    Ok(())
}

#[test]
fn a_constant_on_a_row_or_column_changes_nothing_but_the_cost() -> Result<()> {
    let cost = squared_distances(7, 80);
    let moved: Vec<f64> =
        (0..6400).map(|k| cost[k] + 1000.0 * (k / 80) as f64 - 300.0 * (k % 80) as f64).collect();
    assert_eq!(assign(&moved, 80, 80)?.columns, assign(&cost, 80, 80)?.columns);
    Ok(())
}

#[test]
fn nothing_and_one_are_assigned() -> Result<()> {
    assert_eq!(assign(&[], 0, 0)?.cost, 0.0);
    assert_eq!(assign(&[], 0, 3)?.column_prices, [0.0; 3]);
    let one = assign(&[-2.5], 1, 1)?;
    assert_eq!((one.columns, one.cost), (vec![0], -2.5));
    assert_eq!(assign(&[1e290, -1e290, -1e290, 1e290], 2, 2)?.columns, [1, 0]);
    Ok(())
}

#[test]
fn unusable_costs_are_typed_errors() {
    for (cost, rows, columns, message) in [
        (vec![1.0; 5], 2, 3, "assignment costs: found 5, expected 2 × 3"),
        (
            vec![1.0; 6],
            3,
            2,
            "assignment costs: found 3 rows and 2 columns, expected at most as many rows as columns",
        ),
        (
            vec![0.0, 0.0, 0.0, f64::NAN, 0.0, 0.0],
            2,
            3,
            "assignment costs: NaN at row 1, column 0; expected values within ±1e290",
        ),
        (
            vec![f64::INFINITY],
            1,
            1,
            "assignment costs: inf at row 0, column 0; expected values within ±1e290",
        ),
    ] {
        let error = assign(&cost, rows, columns).expect_err("unusable");
        assert_eq!(error.to_string(), message);
    }
}
