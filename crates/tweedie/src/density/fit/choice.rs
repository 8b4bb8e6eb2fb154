//! The number of components of a mixture by the Bayesian information criterion.

use super::{Em, EmConfig, Mixture, Points};
use crate::{Draws, Error, Result};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The mixture of least BIC, and the BIC of each number of components.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The chosen mixture.
    pub mixture: Mixture,
    /// The BIC in nats of each number of components, in the order of the numbers.
    pub bic: Vec<(usize, f64)>,
}

/// Runs EM with each number of components, at most `most` steps each, and chooses the mixture of least
/// [`Mixture::bic`], the smallest among equals. `config.components` is ignored.
///
/// ```
/// use tweedie::density::fit::{EmConfig, Points, choose};
/// use tweedie::Draws;
/// let noise = Draws::new(1);
/// let value = |i: u64| noise.normal_f64(i, 0) + [-10.0, 0.0, 10.0][(i % 3) as usize];
/// let points = Points::new((0..300).map(value).collect(), 1)?;
/// let choice = choose(points, &EmConfig::default(), 1..=5, &Draws::new(2), 200)?;
/// assert_eq!(choice.mixture.components(), 3);
/// # Ok::<(), tweedie::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] if the range is empty; otherwise as [`Em::new`] and [`Em::step`].
pub fn choose(
    points: impl Into<Arc<Points>>,
    config: &EmConfig,
    components: RangeInclusive<usize>,
    draws: &Draws,
    most: u64,
) -> Result<Choice> {
    let points = points.into();
    let mut bic = Vec::new();
    let mut best: Option<(f64, Mixture)> = None;
    for components in components {
        let config = EmConfig { components, ..config.clone() };
        let mut em = Em::new(points.clone(), &config, draws)?;
        em.run(most)?;
        let value = em.mixture().bic(&points);
        bic.push((components, value));
        if best.as_ref().is_none_or(|(least, _)| value < *least) {
            best = Some((value, em.mixture().clone()));
        }
    }
    match best {
        Some((_, mixture)) => Ok(Choice { mixture, bic }),
        None => Err(Error::config("components", "an empty range", "at least one number")),
    }
}
