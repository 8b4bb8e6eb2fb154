//! The E-step and the M-step of EM (A. P. Dempster, N. M. Laird and D. B. Rubin, "Maximum likelihood from incomplete
//! data via the EM algorithm", J. R. Stat. Soc. B 39 (1977); C. M. Bishop, "Pattern recognition and machine learning",
//! 2006, Eqs. 9.23 to 9.27). With responsibilities r_ik of component k for row i and n_k = Σᵢ r_ik,
//!
//! > w_k = n_k/n, μ_k = Σᵢ r_ik xᵢ / n_k, S_k = Σᵢ r_ik (xᵢ − μ_k)(xᵢ − μ_k)ᵀ,
//!
//! and C_k is S_k/n_k (full), Σ_k S_k/n (tied), diag(S_k)/n_k (diagonal) or the mean of that diagonal (spherical), plus
//! the floor. S_k is summed around μ_k, so that nothing cancels.

use super::covariance::{Covariance, add_gram};
use super::points::BLOCK;
use super::{Mixture, Points};
use crate::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// A component for which the responsibilities sum to less than this many rows is empty.
const EMPTY: f64 = 1e-8;

/// Sums over rows are split into about this many parts, whatever the number of threads.
const PARTS: usize = 16;

/// The responsibilities of components for rows, in blocks of rows; within a block, one component after another.
pub(super) struct Responsibilities {
    blocks: Vec<Vec<f64>>,
    components: usize,
}

impl Responsibilities {
    /// The responsibilities `share(row, component)`.
    pub(super) fn from_fn(
        points: &Points,
        components: usize,
        share: impl Fn(usize, usize) -> f64,
    ) -> Self {
        let block = |b: usize| {
            let rows = b * BLOCK..points.len().min((b + 1) * BLOCK);
            let mut block = Vec::with_capacity(rows.len() * components);
            for k in 0..components {
                block.extend(rows.clone().map(|i| share(i, k)));
            }
            block
        };
        Self { blocks: (0..points.blocks()).map(block).collect(), components }
    }

    /// The responsibilities of component `k` for the rows of block `b`.
    fn of(&self, b: usize, k: usize) -> &[f64] {
        let rows = self.blocks[b].len() / self.components;
        &self.blocks[b][k * rows..][..rows]
    }
}

/// The E-step: log p of every row, and the responsibilities.
pub(super) fn expect(mixture: &Mixture, points: &Points) -> (Vec<f64>, Responsibilities) {
    let (logs, blocks): (Vec<_>, Vec<_>) =
        points.map_blocks(|rows| mixture.block(rows)).into_iter().unzip();
    (logs.concat(), Responsibilities { blocks, components: mixture.components() })
}

/// The result of the M-step: arrays of a mixture whose covariances are not factorised yet.
pub(super) struct Maximum {
    kind: Covariance,
    width: usize,
    counts: Vec<f64>,
    means: Vec<f64>,
    covariances: Vec<f64>,
    empty: Vec<usize>,
}

impl Maximum {
    /// The M-step. `floor` is added to the diagonal of every covariance.
    ///
    /// # Errors
    /// [`Error::Diverged`] at `step` if a sum is not finite.
    pub(super) fn new(
        points: &Points,
        shares: &Responsibilities,
        kind: Covariance,
        floor: &[f64],
        step: u64,
    ) -> Result<Self> {
        let (counts, means) = totals(points, shares);
        let covariances = covariances(points, shares, (&counts, &means), (kind, floor));
        if !means.iter().chain(&covariances).all(|v| v.is_finite()) {
            let what = "a mean or covariance of the mixture is not finite".to_owned();
            return Err(Error::Diverged { what, step });
        }
        let empty = (0..counts.len()).filter(|k| counts[*k] < EMPTY).collect();
        Ok(Self { kind, width: points.width(), counts, means, covariances, empty })
    }

    /// The covariances weighted by n_k/n: one component's values.
    fn mean_covariance(&self) -> Vec<f64> {
        let stride = self.kind.stride(self.width);
        let n: f64 = self.counts.iter().sum();
        let mut common = vec![0.0; stride];
        for (count, own) in self.counts.iter().zip(self.covariances.chunks_exact(stride)) {
            common.iter_mut().zip(own).for_each(|(sum, c)| *sum += count / n * c);
        }
        common
    }

    /// Gives all components their mean covariance.
    pub(super) fn pool(&mut self) {
        if self.kind != Covariance::Tied {
            self.covariances = self.mean_covariance().repeat(self.counts.len());
        }
    }

    /// The mean and covariance values of the first component.
    pub(super) fn first(mut self) -> (Vec<f64>, Vec<f64>) {
        self.means.truncate(self.width);
        self.covariances.truncate(self.kind.stride(self.width));
        (self.means, self.covariances)
    }

    /// The empty components.
    pub(super) fn empty(&self) -> &[usize] {
        &self.empty
    }

    /// Moves the empty components to the rows of least `log_p`, the first to the least, with the weight of one row and
    /// the mean covariance of the others; returns their number.
    pub(super) fn refill(&mut self, points: &Points, log_p: &[f64]) -> usize {
        let (width, stride) = (self.width, self.kind.stride(self.width));
        if self.empty.is_empty() {
            return 0;
        }
        let common = self.mean_covariance();
        let worst = worst_rows(points, log_p, self.empty.len());
        for (&k, &row) in self.empty.iter().zip(worst.iter().cycle()) {
            self.counts[k] = 1.0;
            self.means[k * width..][..width].copy_from_slice(points.row(row));
            if self.kind != Covariance::Tied {
                self.covariances[k * stride..][..stride].copy_from_slice(&common);
            }
        }
        std::mem::take(&mut self.empty).len()
    }

    /// The mixture, or the component whose covariance is singular.
    pub(super) fn mixture(self) -> std::result::Result<Mixture, usize> {
        let n: f64 = self.counts.iter().sum();
        let weights = self.counts.iter().map(|count| count / n).collect();
        Mixture::with_normalised(self.kind, weights, self.means, self.covariances, self.width)
    }
}

/// The `count` distinct rows of least log p, or fewer if there are no more; the first row among equals.
fn worst_rows(points: &Points, log_p: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..log_p.len()).collect();
    order.sort_by(|a, b| log_p[*a].total_cmp(&log_p[*b]));
    let mut chosen: Vec<usize> = Vec::with_capacity(count);
    for row in order {
        if chosen.len() == count {
            break;
        }
        if chosen.iter().all(|c| points.row(*c) != points.row(row)) {
            chosen.push(row);
        }
    }
    chosen
}

/// n_k and μ_k; μ_k is the first row for an empty component. Sums are of differences from that row, so that the mean of
/// equal values is exactly their value.
fn totals(points: &Points, shares: &Responsibilities) -> (Vec<f64>, Vec<f64>) {
    let (width, components, origin) = (points.width(), shares.components, points.row(0));
    let part = |k: usize, blocks: Range<usize>| {
        let (mut count, mut sum) = (0.0, vec![0.0; width]);
        for b in blocks {
            for (r, x) in shares.of(b, k).iter().zip(points.block(b).chunks_exact(width)) {
                count += r;
                let terms = sum.iter_mut().zip(x).zip(origin);
                terms.for_each(|((sum, x), o)| *sum += r * (x - o));
            }
        }
        sum.push(count);
        sum
    };
    let mut sums = in_parts(points.blocks(), components, width + 1, part);
    let mut counts = Vec::with_capacity(components);
    let mut means = Vec::with_capacity(components * width);
    for sum in &mut sums {
        let count = sum.pop().unwrap_or_default();
        let scale = if count < EMPTY { 0.0 } else { 1.0 / count };
        counts.push(count);
        means.extend(sum.iter().zip(origin).map(|(s, o)| o + s * scale));
    }
    (counts, means)
}

/// The covariances; they are 0 for an empty component, unless they are tied.
fn covariances(
    points: &Points,
    shares: &Responsibilities,
    (counts, means): (&[f64], &[f64]),
    (kind, floor): (Covariance, &[f64]),
) -> Vec<f64> {
    let width = points.width();
    let (size, tied) = (kind.stride(width).max(width), kind == Covariance::Tied);
    let part = |group: usize, blocks: Range<usize>| {
        let members = if tied { 0..counts.len() } else { group..group + 1 };
        let mut total = vec![0.0; size];
        for k in members.filter(|k| counts[*k] >= EMPTY) {
            let mean = &means[k * width..][..width];
            for b in blocks.clone() {
                add_scatter(points.block(b), shares.of(b, k), mean, kind, &mut total);
            }
        }
        total
    };
    let groups = if tied { 1 } else { counts.len() };
    let sums = in_parts(points.blocks(), groups, size, part);
    let mut covariances = Vec::with_capacity(kind.values(counts.len(), width));
    for (group, mut sum) in sums.into_iter().enumerate() {
        let count = if tied { counts.iter().sum() } else { counts[group] };
        if count < EMPTY {
            covariances.resize(covariances.len() + kind.stride(width), 0.0);
            continue;
        }
        sum.iter_mut().for_each(|s| *s /= count);
        let centres = if tied { means } else { &means[group * width..][..width] };
        for (j, floor) in floor.iter().enumerate().take(width) {
            let at = if kind.is_dense() { j * width + j } else { j };
            // The rounding error of the mean of equal values, at most n ε |μ|, is no variance.
            let of_column = centres.iter().skip(j).step_by(width);
            let largest = of_column.fold(0.0, |most: f64, m| most.max(m.abs()));
            let rounding = points.len() as f64 * f64::EPSILON * largest;
            sum[at] = if sum[at].sqrt() <= rounding { 0.0 } else { sum[at] } + floor;
        }
        match kind {
            Covariance::Spherical => covariances.push(sum.iter().sum::<f64>() / width as f64),
            _ => covariances.extend(sum),
        }
    }
    covariances
}

/// Adds Σ r (x − μ)(x − μ)ᵀ over the rows of a block, or its diagonal, to `total`.
fn add_scatter(rows: &[f64], shares: &[f64], mean: &[f64], kind: Covariance, total: &mut [f64]) {
    let width = mean.len();
    let pairs = rows.chunks_exact(width).zip(shares).filter(|(_, r)| **r > 0.0);
    if kind.is_dense() {
        let mut scaled = Vec::with_capacity(rows.len());
        for (x, r) in pairs {
            let root = r.sqrt();
            scaled.extend(x.iter().zip(mean).map(|(x, m)| root * (x - m)));
        }
        if !scaled.is_empty() {
            add_gram(&scaled, width, total);
        }
    } else {
        for (x, r) in pairs {
            let terms = total.iter_mut().zip(x).zip(mean);
            terms.for_each(|((sum, x), m)| *sum += r * (x - m).powi(2));
        }
    }
}

/// For each of `groups`, the sum over all blocks of `part(group, blocks)`, `size` values. The split of the blocks
/// depends on their number and on `groups` alone, and the parts are added in their order.
fn in_parts(
    blocks: usize,
    groups: usize,
    size: usize,
    part: impl Fn(usize, Range<usize>) -> Vec<f64> + Sync,
) -> Vec<Vec<f64>> {
    let parts = (PARTS / groups).clamp(1, blocks);
    let range = |p: usize| p * blocks / parts..(p + 1) * blocks / parts;
    let tasks = (0..groups * parts).into_par_iter();
    let sums: Vec<Vec<f64>> = tasks.map(|t| part(t / parts, range(t % parts))).collect();
    let add = |mut total: Vec<f64>, sum: &Vec<f64>| {
        total.iter_mut().zip(sum).for_each(|(total, s)| *total += s);
        total
    };
    sums.chunks(parts).map(|own| own.iter().fold(vec![0.0; size], add)).collect()
}
