//! Starts of EM: clusters by k-means from centres by k-means++ (D. Arthur and S. Vassilvitskii, "k-means++: the
//! advantages of careful seeding", SODA 2007), in its greedy form: each next centre is the best of 2 + ⌊ln k⌋ rows
//! drawn with probability proportional to their squared distance to the nearest centre so far.
//!
//! Distances are in units of each column's standard deviation, so that clusters do not depend on units; constant
//! columns do not count.

use super::Points;
use crate::{Draws, Error, Result};

/// The most rounds of k-means.
const ROUNDS: usize = 30;

/// The cluster of each row, below `k`; none is empty.
///
/// # Errors
/// [`Error::Config`] if there are fewer than `k` distinct rows.
pub(super) fn clusters(points: &Points, k: usize, draws: &Draws) -> Result<Vec<usize>> {
    let scaled = standardised(points)?;
    let mut centres = seed(&scaled, k, draws)?;
    let mut assigned: Vec<usize> = Vec::new();
    for _ in 0..ROUNDS {
        let nearest = nearest(&scaled, &centres);
        let (mut now, distances): (Vec<usize>, Vec<f64>) = nearest.into_iter().unzip();
        occupy(&mut now, &distances, k);
        if now == assigned {
            break;
        }
        centres = means(&scaled, &now, k);
        assigned = now;
    }
    Ok(assigned)
}

/// The rows divided by the columns' standard deviations, around the means; constant columns are 0.
fn standardised(points: &Points) -> Result<Points> {
    let (means, variances) = points.column_moments();
    let scales: Vec<f64> =
        variances.iter().map(|v| if *v > 0.0 { 1.0 / v.sqrt() } else { 0.0 }).collect();
    let width = points.width();
    let scale = |(at, x): (usize, &f64)| (x - means[at % width]) * scales[at % width];
    Points::new(points.values().iter().enumerate().map(scale).collect(), width)
}

fn squared_distance(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum()
}

/// `k` distinct rows as centres, row-major.
fn seed(points: &Points, k: usize, draws: &Draws) -> Result<Vec<f64>> {
    let draws = draws.purpose("centre");
    let width = points.width();
    let trials = 2 + (k as f64).ln() as u64;
    let closer = |to: &[f64], so_far: &[f64]| -> Vec<f64> {
        let distances = points.map_blocks(|rows| {
            rows.chunks_exact(width).map(|x| squared_distance(x, to)).collect::<Vec<f64>>()
        });
        distances.concat().iter().zip(so_far).map(|(new, old)| new.min(*old)).collect()
    };
    let first = points.row(draws.below(0, 0, points.len() as u64) as usize);
    let mut distances = closer(first, &vec![f64::INFINITY; points.len()]);
    let mut centres = first.to_vec();
    for number in 1..k {
        let total: f64 = distances.iter().sum();
        if total == 0.0 {
            let problem = format!("{k} for {number} distinct rows");
            let expected = "at most as many components as distinct rows";
            return Err(Error::config("components", problem, expected));
        }
        let candidate = |trial: u64| {
            let row = pick(&distances, total * draws.uniform_f64(number as u64, trial));
            let left = closer(points.row(row), &distances);
            (left.iter().sum::<f64>(), row, left)
        };
        let best = (0..trials).map(candidate).min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, row, left)) = best {
            centres.extend(points.row(row));
            distances = left;
        }
    }
    Ok(centres)
}

/// The first index at which the running sum of `weights` exceeds `at`; the last positive one if none does.
fn pick(weights: &[f64], mut at: f64) -> usize {
    let found = weights.iter().position(|w| {
        at -= w;
        at < 0.0
    });
    found.or_else(|| weights.iter().rposition(|w| *w > 0.0)).unwrap_or(0)
}

/// The nearest centre of every row, the first among equals, and its squared distance.
fn nearest(points: &Points, centres: &[f64]) -> Vec<(usize, f64)> {
    let width = points.width();
    let of_row = |x: &[f64]| {
        let distances = centres.chunks_exact(width).map(|c| squared_distance(x, c)).enumerate();
        distances.fold((0, f64::INFINITY), |best, new| if new.1 < best.1 { new } else { best })
    };
    points.map_blocks(|rows| rows.chunks_exact(width).map(of_row).collect::<Vec<_>>()).concat()
}

/// Gives every empty cluster the row that is farthest from its centre among clusters of more than one row.
fn occupy(assigned: &mut [usize], distances: &[f64], k: usize) {
    let mut sizes = vec![0_usize; k];
    assigned.iter().for_each(|c| sizes[*c] += 1);
    for cluster in 0..k {
        if sizes[cluster] > 0 {
            continue;
        }
        let movable = (0..assigned.len()).filter(|i| sizes[assigned[*i]] > 1);
        if let Some(row) = movable.max_by(|a, b| distances[*a].total_cmp(&distances[*b])) {
            sizes[assigned[row]] -= 1;
            sizes[cluster] = 1;
            assigned[row] = cluster;
        }
    }
}

/// The means of the clusters, row-major.
fn means(points: &Points, assigned: &[usize], k: usize) -> Vec<f64> {
    let width = points.width();
    let mut sums = vec![0.0; k * width];
    let mut sizes = vec![0.0; k];
    for (x, &c) in points.iter().zip(assigned) {
        sizes[c] += 1.0;
        sums[c * width..][..width].iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
    }
    for (sum, size) in sums.chunks_exact_mut(width).zip(sizes) {
        sum.iter_mut().for_each(|s| *s /= size);
    }
    sums
}
