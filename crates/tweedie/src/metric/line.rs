//! Optimal transport between two samples of numbers: the coupling of quantiles, and its potentials.
//!
//! W₂² = max ∫ φ dX + ∫ ψ dY over φ(x) + ψ(y) ≤ (x − y)². Where the distributions differ, φ and ψ are the first-order
//! changes of W₂² by a further observation (M. Sommerfeld and A. Munk, "Inference for empirical Wasserstein distances
//! on finite spaces", J. R. Stat. Soc. B 80 (2018), Theorem 1; E. del Barrio and J.-M. Loubes, "Central limit theorems
//! for empirical transportation cost in general dimension", Ann. Probab. 47 (2019), Theorem 4.1), so that
//!
//! Var W₂² ≈ Var φ(X)/n + Var ψ(Y)/m.
//!
//! On the line φ′(x) = 2 (x − T(x)), T being the map of quantiles. It is integrated by the trapezoid rule between
//! neighbouring observations, where T of an observation is the mean of its partners.

/// A sample in increasing order.
pub(super) struct SortedSample {
    values: Vec<f64>,
    /// The index of each value in the sample.
    places: Vec<usize>,
}

impl SortedSample {
    pub fn new(sample: impl Iterator<Item = f64>) -> Self {
        let mut pairs: Vec<(f64, usize)> = sample.zip(0..).collect();
        pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (values, places) = pairs.into_iter().unzip();
        Self { values, places }
    }

    /// The potential of each observation, in the order of the sample; `partners` are the means of its partners.
    fn potential(&self, partners: &[f64]) -> Vec<f64> {
        let mut potential = vec![0.0; self.values.len()];
        let (mut height, mut last) = (0.0, None);
        for ((x, t), place) in self.values.iter().zip(partners).zip(&self.places) {
            if let Some((before, from)) = last.replace((x, t)) {
                height += (x - before) * ((x - t) + (before - from));
            }
            potential[*place] = height;
        }
        potential
    }
}

/// An optimal transport on the line.
pub(super) struct Transport {
    /// W₂².
    pub squared: f64,
    /// φ at each observation of the first sample, in its order, up to a constant.
    pub first: Vec<f64>,
    /// ψ at each observation of the second sample, in its order, up to the opposite constant.
    pub second: Vec<f64>,
}

/// The optimal transport between two non-empty samples.
pub(super) fn transport(x: &SortedSample, y: &SortedSample) -> Transport {
    let (mut of_x, mut of_y) = (vec![0.0; x.values.len()], vec![0.0; y.values.len()]);
    let (n, m) = (of_x.len() as f64, of_y.len() as f64);
    let squared = couple(&x.values, &y.values, square, |i, j, mass| {
        of_x[i] += mass * y.values[j] / m;
        of_y[j] += mass * x.values[i] / n;
    });
    Transport { squared, first: x.potential(&of_x), second: y.potential(&of_y) }
}

/// W₂² between two non-empty samples.
pub(super) fn squared(x: &SortedSample, y: &SortedSample) -> f64 {
    couple(&x.values, &y.values, square, |_, _, _| ())
}

/// W₁ between two non-empty samples.
pub(super) fn first(x: &SortedSample, y: &SortedSample) -> f64 {
    couple(&x.values, &y.values, f64::abs, |_, _, _| ())
}

fn square(difference: f64) -> f64 {
    difference.powi(2)
}

/// The least mean cost of the difference, convex, between two sorted samples; calls `pair` with each coupled pair of
/// observations and its mass. Positions are counted in units of 1 / nm, so that they are exact.
fn couple(
    x: &[f64],
    y: &[f64],
    cost: fn(f64) -> f64,
    mut pair: impl FnMut(usize, usize, f64),
) -> f64 {
    let (mut i, mut j, mut at, mut total) = (0, 0, 0, 0.0);
    while i < x.len() && j < y.len() {
        let (x_end, y_end) = ((i + 1) * y.len(), (j + 1) * x.len());
        let end = x_end.min(y_end);
        let mass = (end - at) as f64;
        total += mass * cost(x[i] - y[j]);
        pair(i, j, mass);
        at = end;
        i += usize::from(x_end == end);
        j += usize::from(y_end == end);
    }
    total / at as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Draws;

    fn sample(purpose: &str, n: u64) -> Vec<f64> {
        (0..n).map(|row| Draws::new(1).purpose(purpose).normal_f64(row, 0)).collect()
    }

    /// Of n and as many observations, the trapezoid rule gives a potential that solves the dual problem: φ + ψ is the
    /// cost of every coupled pair, and nowhere above the cost.
    #[test]
    fn potentials_solve_the_dual_problem() {
        let (x, y) = (sample("x", 40), sample("y", 40));
        let (a, b) = (SortedSample::new(x.iter().copied()), SortedSample::new(y.iter().copied()));
        let found = transport(&a, &b);
        let cost = |i: usize, j: usize| (x[i] - y[j]).powi(2);
        let shift = {
            let (i, j) = (a.places[0], b.places[0]);
            cost(i, j) - found.first[i] - found.second[j]
        };
        let mut dual = 0.0;
        for k in 0..40 {
            let (i, j) = (a.places[k], b.places[k]);
            dual += (found.first[i] + found.second[j] + shift) / 40.0;
            assert!((found.first[i] + found.second[j] + shift - cost(i, j)).abs() < 1e-10);
            for j in 0..40 {
                assert!(found.first[i] + found.second[j] + shift < cost(i, j) + 1e-10);
            }
        }
        assert!((dual - found.squared).abs() < 1e-12 && found.squared == squared(&a, &b));
    }

    /// W₂² with one observation repeated, against the potential less its mean: the differences are of order 1/n².
    #[test]
    fn potentials_are_what_a_further_observation_changes() {
        let (x, y) = (sample("x", 3000), sample("y", 2000));
        let x: Vec<f64> = x.into_iter().map(|v| 1.5 * v + 1.0).collect();
        let other = SortedSample::new(y.iter().copied());
        let found = transport(&SortedSample::new(x.iter().copied()), &other);
        let mean = found.first.iter().sum::<f64>() / 3000.0;
        let scale = found.first.iter().map(|v| (v - mean).abs()).sum::<f64>() / 3000.0;
        for at in [0, 7, 50, 1234] {
            let more = SortedSample::new(x.iter().copied().chain([x[at]]));
            let changed = 3001.0 * (squared(&more, &other) - found.squared);
            let expected = found.first[at] - mean;
            assert!((changed - expected).abs() < 0.02 * scale, "{changed} {expected} {scale}");
        }
    }
}
