//! Memorisation: the share of samples that are nearer to training rows than to held-out rows.
//!
//! Each sample is claimed by the nearest of all N training and M held-out rows; equally near rows share the claim. For
//! a model that learnt the distribution alone, the training rows are a random choice of N among N + M, and they claim
//! N/(N + M) of the samples in expectation, whatever the dimension and the sizes. The test by the share of nearest
//! neighbours of one kind is M. F. Schilling's, "Multivariate two-sample tests based on nearest neighbors", J. Am.
//! Stat. Assoc. 81 (1986).
//!
//! Error: with the claims cⱼ of the rows, A = Σ cⱼ over training rows, B over held-out ones and n = A + B, the share is
//! S = A/(A + B). Resampling each of the two sets, a row together with the samples that it claims, gives to first order
//!
//! Var S = (S² M s²_H + (1 − S)² N s²_T)/n²,
//!
//! s² being the sample variances of the claims within a set. It is the bootstrap of B. Efron, "Bootstrap methods:
//! another look at the jackknife", Ann. Stat. 7 (1979), with infinitely many replicates. Under chance s² is the same
//! for all rows and this is the variance of a random choice, s² N M/(N + M)/n². Resampling rows without their samples
//! is not consistent for nearest neighbours, as a repeated row claims nothing more (A. Abadie and G. W. Imbens, "On the
//! failure of the bootstrap for matching estimators", Econometrica 76 (2008)); and binomial errors are too small, as a
//! row claims several samples.

use super::check_pair;
use super::distance::fold_rows;
use crate::Result;
use crate::data::Rows;
use crate::tensor::median;
use std::cmp::Ordering;

/// References of one block, so that memory does not grow with their number.
const REFERENCES: usize = 4096;

/// The share of samples nearer to training rows than to held-out rows.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Memorisation {
    /// The share of samples whose nearest row is a training row; equally near rows share a sample equally.
    pub share: f64,
    /// N/(N + M): the expected share for a model that learnt the distribution alone.
    pub chance: f64,
    /// (share − chance)/(1 − chance): 0 at chance, 1 for copies of training rows.
    pub rescaled: f64,
    /// The standard error of `rescaled` over samples, training rows and held-out rows; times 1 − chance it is the
    /// standard error of `share`. It is 0 at a share of 0 or 1, where the truth may be off by some 3/n.
    pub standard_error: f64,
}

/// The memorisation of all rows of a training set by `samples`, in comparison with a held-out set; each set has 2 rows
/// or more. The time is that of n (N + M) distances.
///
/// With 200 to 4,000 training, 30 to 800 held-out and 200 to 5,000 sampled rows in 1 to 32 dimensions, the standard
/// error was 0.96 to 1.00 times the spread of `rescaled` over 600 repetitions at chance, and 0.94 to 1.17 times it
/// where 5, 50 or 95 % of the samples were copies. As for any proportion, intervals of two errors need 10 samples or
/// more that are nearer to a held-out row.
///
/// ```
/// use tweedie::{data::Rows, metric::memorisation};
/// let training = Rows::new(vec![0.0, 10.0, 20.0, 30.0], 1)?;
/// let held_out = Rows::new(vec![4.0, 14.0], 1)?;
/// let samples = Rows::new(vec![0.1, 2.0, 13.0, 29.0], 1)?; // the second in the middle of two rows
/// let found = memorisation(&samples, &training, &held_out)?;
/// assert_eq!(found.share, (1.0 + 0.5 + 0.0 + 1.0) / 4.0);
/// assert_eq!(found.chance, 4.0 / 6.0);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the widths differ, one of the sets has fewer than 2 rows, or there are no
/// samples; [`Error::Config`](crate::Error::Config) naming the row of a value that is not finite.
pub fn memorisation(samples: &Rows, training: &Rows, held_out: &Rows) -> Result<Memorisation> {
    check_pair([("training set", training), ("held-out set", held_out)], 2)?;
    check_pair([("training set", training), ("samples", samples)], 1)?;
    let (mut of_training, mut of_held_out) = (vec![0.0; training.len()], vec![0.0; held_out.len()]);
    let found = nearest(samples, training).into_iter().zip(nearest(samples, held_out));
    for (trained, held) in found {
        let order = trained.squared.total_cmp(&held.squared);
        let trained = if order == Ordering::Greater { &[][..] } else { &trained.rows };
        let held = if order == Ordering::Less { &[][..] } else { &held.rows };
        let part = 1.0 / (trained.len() + held.len()) as f64;
        trained.iter().for_each(|&row| of_training[row] += part);
        held.iter().for_each(|&row| of_held_out[row] += part);
    }
    Ok(Memorisation::from_claims(&of_training, &of_held_out))
}

impl Memorisation {
    fn from_claims(of_training: &[f64], of_held_out: &[f64]) -> Self {
        let (all, held_out) = ((of_training.len() + of_held_out.len()) as f64, of_held_out.len());
        let (by_training, by_held_out) = (Claims::of(of_training), Claims::of(of_held_out));
        let samples = by_training.sum + by_held_out.sum;
        let (share, rest) = (by_training.sum / samples, by_held_out.sum / samples);
        let chance_held_out = held_out as f64 / all;
        let variance = rest.powi(2) * by_training.variance + share.powi(2) * by_held_out.variance;
        Self {
            share,
            chance: of_training.len() as f64 / all,
            rescaled: 1.0 - rest / chance_held_out,
            standard_error: variance.sqrt() / (samples * chance_held_out),
        }
    }
}

/// The numbers of samples claimed by the rows of a set.
struct Claims {
    sum: f64,
    /// The variance of `sum` over sets of this number of rows.
    variance: f64,
}

impl Claims {
    fn of(claims: &[f64]) -> Self {
        let (n, sum) = (claims.len() as f64, claims.iter().sum::<f64>());
        let deviations = claims.iter().map(|c| (c - sum / n).powi(2)).sum::<f64>();
        Self { sum, variance: n * deviations / (n - 1.0) }
    }
}

/// The median distance of samples to the nearest row of a set.
pub(super) fn nearest_distance(samples: &Rows, set: &Rows) -> f64 {
    median(nearest(samples, set).into_iter().map(|found| found.squared.sqrt()).collect())
}

/// The rows of a set that are nearest to a sample: several if they are equally near.
struct Nearest {
    squared: f64,
    rows: Vec<usize>,
}

/// The nearest rows of `set` to each sample, in the order of their indices.
fn nearest(samples: &Rows, set: &Rows) -> Vec<Nearest> {
    let none = || Nearest { squared: f64::INFINITY, rows: Vec::new() };
    let mut best: Vec<Nearest> = (0..samples.len()).map(|_| none()).collect();
    for start in (0..set.len()).step_by(REFERENCES) {
        let chunk = set.slice(start..set.len().min(start + REFERENCES));
        let found = fold_rows(samples, &chunk, |_, distances| {
            let squared = distances.iter().copied().fold(f64::INFINITY, f64::min);
            let at = (start..).zip(distances).filter(|(_, d)| **d == squared);
            Nearest { squared, rows: at.map(|(row, _)| row).collect() }
        });
        for (best, found) in best.iter_mut().zip(found) {
            match found.squared.total_cmp(&best.squared) {
                Ordering::Less => *best = found,
                Ordering::Equal => best.rows.extend(found.rows),
                Ordering::Greater => {}
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::peer::Peer;
    use crate::{Draws, Error};

    /// Normal rows, in steps of a half if they are to have twins.
    fn rows(seed: u64, purpose: &str, n: u64, width: usize, twins: bool) -> Rows {
        let mut rows = Draws::new(seed).purpose(purpose).normals(0..n, width);
        if twins {
            rows.values_mut().iter_mut().for_each(|v| *v = (2.0 * *v).round() / 2.0);
        }
        rows
    }

    #[test]
    fn agrees_with_scikit_learn() -> Result<()> {
        let peer = Peer::read();
        let (x, y) = (peer.rows("x"), peer.rows("y"));
        let found = memorisation(&y, &x.slice(0..30), &x.slice(30..60))?;
        peer.agrees("/memorisation", found.share);
        assert!((found.rescaled - (2.0 * found.share - 1.0)).abs() < 1e-12);
        Ok(())
    }

    /// Claims counted by sorting all distances.
    #[test]
    fn twins_share_what_they_claim_in_either_set() -> Result<()> {
        let training = rows(1, "training", 40, 1, true);
        let (held_out, samples) =
            (rows(1, "held out", 25, 1, true), rows(1, "samples", 30, 1, true));
        let mut expected = 0.0;
        for x in samples.values() {
            let of = |y: &f32| (f64::from(*x) - f64::from(*y)).powi(2);
            let near = |set: &Rows| set.values().iter().map(of).fold(f64::INFINITY, f64::min);
            let least = near(&training).min(near(&held_out));
            let tied = |set: &Rows| set.values().iter().filter(|y| of(y) == least).count() as f64;
            expected += tied(&training) / (tied(&training) + tied(&held_out)) / 30.0;
        }
        let found = memorisation(&samples, &training, &held_out)?;
        assert!((found.share - expected).abs() < 1e-12, "{found:?} {expected}");
        assert!(found.share > 0.0 && found.share < 1.0);
        Ok(())
    }

    #[test]
    fn a_planted_copier_is_found_whatever_the_sizes() -> Result<()> {
        for (seed, n, m) in [(1, 1000, 1000), (2, 2000, 50), (3, 60, 3000)] {
            let training = rows(seed, "training", n, 3, false);
            let held_out = rows(seed, "held out", m, 3, false);
            let exact = training.select(&[3, 5, 5, 41, 59]);
            let found = memorisation(&exact, &training, &held_out)?;
            assert_eq!((found.share, found.rescaled, found.standard_error), (1.0, 1.0, 0.0));
            // Copies with noise of a thousandth of the data's.
            let draws = Draws::new(seed).purpose("copies");
            let order: Vec<usize> = (0..500).map(|i| draws.below(i, 0, n) as usize).collect();
            let mut copies = training.select(&order);
            let noise = draws.normals(0..500, 3);
            copies.values_mut().iter_mut().zip(noise.values()).for_each(|(v, e)| *v += 1e-3 * e);
            let found = memorisation(&copies, &training, &held_out)?;
            assert!(found.rescaled >= 0.95, "{n} training and {m} held-out rows: {found:?}");
            // Samples that copy what was held out are as far on the other side as can be.
            let found = memorisation(&held_out.select(&[1, 2]), &training, &held_out)?;
            let least = 1.0 - (n + m) as f64 / m as f64;
            assert!(found.share == 0.0 && (found.rescaled - least).abs() < 1e-12, "{found:?}");
        }
        Ok(())
    }

    /// Coverage of ± 1.96 errors over 2,000 repetitions of samples and of both sets: its own error is 0.5 %, so that
    /// the bar of 3 % is 6 of them. The mean is 0 within 6 of its errors.
    #[test]
    fn fresh_samples_are_at_chance_and_the_error_covers_it() -> Result<()> {
        for (n, m, samples, width, twins) in [
            (200, 200, 200, 1, false),
            (400, 100, 300, 2, false),
            (80, 320, 150, 2, false),
            (150, 150, 300, 2, true),
        ] {
            let (repeats, mut covered, mut sum, mut squares) = (2000, 0, 0.0, 0.0);
            for seed in 0..repeats {
                let of = |purpose, n| rows(seed, purpose, n, width, twins);
                let found =
                    memorisation(&of("samples", samples), &of("training", n), &of("held out", m))?;
                covered += usize::from(found.rescaled.abs() < 1.96 * found.standard_error);
                sum += found.rescaled;
                squares += found.rescaled.powi(2);
            }
            let count = repeats as f64;
            let (mean, share) = (sum / count, covered as f64 / count);
            let case = format!("{n} {m} {samples} {width} {twins}: mean {mean}, coverage {share}");
            assert!(mean.abs() < 6.0 * squares.sqrt() / count, "{case}");
            assert!((share - 0.95).abs() < 0.03, "{case}");
        }
        Ok(())
    }

    /// The spread over 4,000 replicates in which rows of each set are resampled with the samples that they claim: its
    /// relative error is 0.011.
    #[test]
    fn the_error_is_that_of_the_bootstrap_that_it_is_the_limit_of() {
        let draws = Draws::new(6);
        let claims = |purpose: &str, n: u64, most: u64| -> Vec<f64> {
            let draws = draws.purpose(purpose);
            (0..n).map(|row| draws.below(row, 0, most) as f64).collect()
        };
        let (training, held_out) = (claims("training", 300, 9), claims("held out", 120, 4));
        let found = Memorisation::from_claims(&training, &held_out);
        let resampled = |claims: &[f64], purpose: &str, replicate: u64| -> Vec<f64> {
            let (draws, n) = (draws.purpose(purpose).at(replicate), claims.len() as u64);
            (0..n).map(|row| claims[draws.below(row, 1, n) as usize]).collect()
        };
        let (mut sum, mut squares) = (0.0, 0.0);
        for replicate in 0..4000 {
            let (a, b) = (
                resampled(&training, "training again", replicate),
                resampled(&held_out, "held out again", replicate),
            );
            let moved = Memorisation::from_claims(&a, &b).rescaled - found.rescaled;
            sum += moved;
            squares += moved * moved;
        }
        let spread = (squares / 4000.0 - (sum / 4000.0).powi(2)).sqrt();
        let ratio = found.standard_error / spread;
        assert!((ratio - 1.0).abs() < 0.08, "error over spread: {ratio}");
    }

    #[test]
    fn chunks_of_references_do_not_show() -> Result<()> {
        let training = rows(7, "training", REFERENCES as u64 + 90, 1, true);
        let held_out = rows(7, "held out", 70, 1, true);
        let samples = rows(7, "samples", 520, 1, true);
        let found = memorisation(&samples, &training, &held_out)?;
        let mut expected = 0.0;
        for start in 0..samples.len() {
            let one = samples.slice(start..start + 1);
            // Rows backwards, so that other chunks have the twins.
            let backwards: Vec<usize> = (0..training.len()).rev().collect();
            expected += memorisation(&one, &training.select(&backwards), &held_out)?.share;
        }
        assert!((found.share - expected / samples.len() as f64).abs() < 1e-12);
        Ok(())
    }

    #[test]
    fn too_little_is_refused() -> Result<()> {
        let (one, two) = (Rows::new(vec![1.0], 1)?, Rows::new(vec![1.0, 2.0], 1)?);
        for refused in [
            memorisation(&two, &one, &two),
            memorisation(&two, &two, &one),
            memorisation(&two.slice(0..0), &two, &two),
            memorisation(&Rows::new(vec![1.0, 2.0], 2)?, &two, &two),
        ] {
            assert!(matches!(refused, Err(Error::Shape { .. })));
        }
        assert_eq!(memorisation(&one, &two, &two)?.rescaled, 0.0);
        Ok(())
    }
}
