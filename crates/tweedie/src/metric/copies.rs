//! Samples beside their nearest training rows, which they may copy.
//!
//! A distance to the nearest training row says little by itself: where data are dense it is small for every honest
//! sample. The scale is set by the training set: the distance from that training row to the nearest other training row
//! (as in the adaptive threshold of N. Carlini et al., "Extracting training data from diffusion models", USENIX
//! Security 2023, Sec. 4.2, with one neighbour). A sample much nearer than that is a copy. The share of held-out rows
//! that are nearer gives the usual value.

use super::neighbours::{Neighbour, Proportion, nearest, nearest_but};
use super::{check, check_pair};
use crate::data::Rows;
use crate::{Error, Result};
use std::collections::BTreeSet;

/// A sample and the training row nearest to it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Match {
    /// The sample's index.
    pub sample: usize,
    /// The training row nearest to it.
    pub nearest: Neighbour,
    /// The nearest other training row to `nearest`.
    pub other: Neighbour,
}

impl Match {
    /// The distance from the sample to `nearest`, over the distance from there to `other`: well below 1 for a copy, 0
    /// for an exact copy.
    pub fn ratio(&self) -> f64 {
        let (own, usual) = (self.nearest.distance, self.other.distance);
        if own == 0.0 { 0.0 } else { own / usual }
    }
}

/// The nearest training row of each sample, by exact search, in ascending order of [`Match::ratio`]: the most copy-like
/// samples first.
///
/// ```
/// use tweedie::{data::Rows, metric::copies};
/// let training = Rows::new(vec![0.0, 10.0, 14.0], 1)?;
/// let found = copies::matches(&Rows::new(vec![3.0, 11.0], 1)?, &training)?;
/// assert_eq!((found[0].sample, found[0].nearest.index, found[0].other.index), (1, 1, 2));
/// assert_eq!(found.iter().map(|m| m.ratio()).collect::<Vec<_>>(), [0.25, 0.3]);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the widths differ or there are fewer than 2 training rows; [`Error::Config`] naming the row of a
/// value that is not finite.
pub fn matches(samples: &Rows, training: &Rows) -> Result<Vec<Match>> {
    check("training set", training, 2)?;
    check_pair([("training set", training), ("samples", samples)], 0)?;
    let found = nearest(samples, training)?;
    let hit: BTreeSet<usize> = found.iter().map(|near| near.index).collect();
    let hit: Vec<usize> = hit.into_iter().collect();
    let others = nearest_but(&training.select(&hit), training, |i| hit.get(i).copied());
    let mut matches = Vec::with_capacity(found.len());
    for (sample, near) in found.into_iter().enumerate() {
        let other = hit.binary_search(&near.index).ok().and_then(|at| others.get(at));
        let other = *other.ok_or_else(|| Error::undefined("neighbour", "a row was lost"))?;
        matches.push(Match { sample, nearest: near, other });
    }
    matches.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()).then(a.sample.cmp(&b.sample)));
    Ok(matches)
}

/// The share of samples that are nearer to their nearest training row than any other training row is.
///
/// # Errors
/// [`Error::Shape`] if there are no matches.
pub fn nearer(matches: &[Match]) -> Result<Proportion> {
    if matches.is_empty() {
        return Err(Error::shape("matches", 0, "at least one"));
    }
    let count = matches.iter().filter(|found| found.ratio() < 1.0).count();
    Ok(Proportion::new(count as f64, matches.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Draws;

    #[test]
    fn a_copy_comes_first_and_a_naive_search_agrees() -> Result<()> {
        let training = Draws::new(1).normals(0..90, 3);
        let mut samples = Draws::new(2).normals(0..40, 3);
        samples.values_mut()[21..24].copy_from_slice(training.row(33));
        let found = matches(&samples, &training)?;
        assert_eq!((found[0].sample, found[0].nearest.index, found[0].ratio()), (7, 33, 0.0));
        assert!(found.windows(2).all(|pair| pair[0].ratio() <= pair[1].ratio()));
        let distance = |a: &[f32], b: &[f32]| {
            let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
            a.iter().zip(b).map(square).sum::<f64>().sqrt()
        };
        for found in &found {
            let near = (0..90).map(|j| distance(samples.row(found.sample), training.row(j)));
            assert_eq!(near.fold(f64::INFINITY, f64::min), found.nearest.distance);
            let own = training.row(found.nearest.index);
            let others = (0..90).filter(|j| *j != found.nearest.index);
            let other =
                others.map(|j| distance(own, training.row(j))).fold(f64::INFINITY, f64::min);
            assert_eq!(other, found.other.distance);
        }
        let naive = found.iter().filter(|m| m.nearest.distance < m.other.distance).count();
        assert_eq!(nearer(&found)?.value, naive as f64 / 40.0);
        Ok(())
    }

    #[test]
    fn too_little_is_refused() -> Result<()> {
        let one = Rows::new(vec![1.0, 2.0], 2)?;
        assert!(matches!(matches(&one, &one), Err(Error::Shape { .. })));
        assert!(matches!(nearer(&[]), Err(Error::Shape { .. })));
        assert!(matches(&one, &Rows::new(vec![1.0, 2.0], 1)?).is_err());
        Ok(())
    }
}
