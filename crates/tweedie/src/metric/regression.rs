//! The use of samples for a column of numbers: a forest learns the column from the others, on samples, and is tested on
//! real rows beside a forest that learnt from as many training rows (as [`Forest`](super::Forest), whose documents say
//! more). Its figure is the coefficient of determination,
//!
//! > R² = 1 − A/B, A = Σ (y − ŷ)², B = Σ (y − ȳ)²,
//!
//! with the standard error √(Σ (a − (A/B) b)²)/B of a ratio of sums, a and b being the terms of A and B (W. G. Cochran,
//! "Sampling techniques", 3rd edition, 1977, section 2.11).

use super::evaluation_rows;
use super::judge::Score;
use crate::data::{Dataset, Kind, Rows, Space, Split};
use crate::error::one_of;
use crate::{Error, Result};
use rayon::prelude::*;
use smartcore::ensemble::random_forest_regressor::{
    RandomForestRegressor, RandomForestRegressorParameters,
};
use smartcore::linalg::basic::matrix::DenseMatrix;

/// Trees of each part of a forest, and its parts, each trained by a thread.
const PART: usize = 10;
const PARTS: u64 = 10;
/// The most rows that a forest learns from.
const MOST: usize = 10_000;

/// Rows of inputs, and a number for each.
struct Pairs {
    inputs: DenseMatrix<f32>,
    targets: Vec<f32>,
    width: usize,
}

/// The number of the column of numbers `name`, to be learnt from the others.
///
/// # Errors
/// [`Error::Config`] for the key `evaluation.target`, naming the columns of numbers, if there is no such column.
pub fn target_column(space: &Space, name: &str) -> Result<usize> {
    let number = |j: &usize| {
        !matches!(space.coordinate(*j).kind, Kind::Category { .. } | Kind::Identifier { .. })
    };
    let found = (0..space.width()).filter(number).find(|&j| space.column_name(j) == name);
    found.filter(|_| space.model_width() > 1).ok_or_else(|| {
        let names: Vec<String> =
            (0..space.width()).filter(number).map(|j| space.column_name(j)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let problem = format!("no column of numbers '{name}' beside others");
        Error::config("evaluation.target", problem, one_of(name, &names))
    })
}

/// R² on held-out rows of a forest that learns the column `target` from the others on generated rows, with the one on
/// as many training rows as floor. Rows without the number do not count. None where there are too few rows, or the
/// column is constant.
///
/// # Errors
/// As [`target_column`] and [`Space::encode`].
pub fn learnt_column(generated: &Split, data: &Dataset, target: &str) -> Result<Option<Score>> {
    let space = data.space.without_maps();
    let column = target_column(&space, target)?;
    let n = generated.len().min(data.train.len()).min(MOST);
    let learnt = |from: &Split| -> Result<Option<(f64, f64)>> {
        let from = pairs(&space, &from.select(&evaluation_rows(from.len(), n)), column)?;
        let real = pairs(&space, &data.held_out, column)?;
        match (from, real) {
            (Some(from), Some(real)) => determination(&from, &real),
            _ => Ok(None),
        }
    };
    let Some((value, error)) = learnt(generated)? else { return Ok(None) };
    Ok(Some(Score {
        name: format!("R² of {target}, learnt from samples").into(),
        value,
        standard_error: Some(error),
        rows: n,
        reference_rows: data.held_out.len(),
        floor: learnt(&data.train)?.map(|(value, _)| value),
        good: "near the floor".into(),
    }))
}

/// The model values of all columns but one, and that one; none for fewer than two rows that have it.
fn pairs(space: &Space, rows: &Split, column: usize) -> Result<Option<Pairs>> {
    let there: Vec<usize> =
        (0..rows.len()).filter(|&i| !rows.rows().row(i)[column].is_nan()).collect();
    if there.len() < 2 {
        return Ok(None);
    }
    let model: Rows = space.encode(&rows.rows().select(&there))?;
    let at: usize = (0..column).map(|j| space.coordinate(j).model_width()).sum();
    let behind = at + space.coordinate(column).model_width();
    let targets = model.iter().map(|row| row[at]).collect();
    let inputs: Vec<f32> =
        model.iter().flat_map(|row| row[..at].iter().chain(&row[behind..])).copied().collect();
    let width = model.width() + at - behind;
    let inputs = DenseMatrix::new(there.len(), width, inputs, false).map_err(fault)?;
    Ok(Some(Pairs { inputs, targets, width }))
}

fn fault(error: impl ToString) -> Error {
    Error::undefined("a forest", error.to_string())
}

/// R² on `real` of a forest that learnt from other pairs, and its standard error; none for a constant.
fn determination(from: &Pairs, real: &Pairs) -> Result<Option<(f64, f64)>> {
    // A third of the columns is Breiman's choice for regression.
    let columns = (from.width / 3).max(1);
    let part = |seed: u64| -> Result<Vec<f32>> {
        let parameters = RandomForestRegressorParameters::default();
        let parameters = parameters.with_n_trees(PART).with_m(columns).with_seed(seed);
        let forest = RandomForestRegressor::fit(&from.inputs, &from.targets, parameters);
        forest.and_then(|forest| forest.predict(&real.inputs)).map_err(fault)
    };
    let parts: Vec<Vec<f32>> = (0..PARTS).into_par_iter().map(part).collect::<Result<_>>()?;
    let guess =
        |row: usize| parts.iter().map(|part| f64::from(part[row])).sum::<f64>() / PARTS as f64;
    let n = real.targets.len() as f64;
    let mean = real.targets.iter().map(|y| f64::from(*y)).sum::<f64>() / n;
    let terms = real.targets.iter().enumerate().map(|(row, y)| {
        let y = f64::from(*y);
        ((y - guess(row)).powi(2), (y - mean).powi(2))
    });
    let terms: Vec<(f64, f64)> = terms.collect();
    let (a, b) = terms.iter().fold((0.0, 0.0), |(a, b), term| (a + term.0, b + term.1));
    if b == 0.0 {
        return Ok(None);
    }
    let ratio = a / b;
    let squares: f64 = terms.iter().map(|(a, b)| (a - ratio * b).powi(2)).sum();
    Ok(Some((1.0 - ratio, squares.sqrt() / b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Draws;

    /// Rows (x, y, noise) with y = 2x + noise of variance 1: the best rule has R² = 4/5.
    fn line(n: u64, purpose: &str) -> Split {
        let mut rows = Draws::new(3).purpose(purpose).normals(0..n, 3);
        rows.values_mut().chunks_mut(3).for_each(|row| row[1] += 2.0 * row[0]);
        Split::new(rows, None).unwrap()
    }

    #[test]
    fn a_forest_nearly_reaches_the_best_r_squared_and_learns_nothing_from_mixed_rows() {
        let space = Space::vector(&["x", "y", "z"]).unwrap();
        let data = Dataset::new("line", space, line(2000, "train"), line(3000, "test")).unwrap();
        let found = learnt_column(&line(2000, "generated"), &data, "y").unwrap().unwrap();
        let error = found.standard_error.unwrap();
        for value in [found.value, found.floor.unwrap()] {
            assert!(value > 0.7 && value < 0.8 + 4.9 * error, "{value} ± {error}");
        }
        // The error of R² with normal errors: about 2 (1 − R²) √(R²)/√n.
        assert!(error > 0.003 && error < 0.012, "{error}");
        // Where x is another row's, nothing can be learnt.
        let mut mixed = line(2000, "generated").rows().clone();
        let other = line(2000, "other");
        let others = other.rows().iter();
        mixed.values_mut().chunks_mut(3).zip(others).for_each(|(row, other)| row[0] = other[0]);
        let mixed = learnt_column(&Split::new(mixed, None).unwrap(), &data, "y").unwrap().unwrap();
        assert!(mixed.value < 0.05, "{}", mixed.value);
        let error = learnt_column(&line(20, "generated"), &data, "Y").unwrap_err().to_string();
        assert!(error.contains("evaluation.target: no column of numbers 'Y'"), "{error}");
    }
}
