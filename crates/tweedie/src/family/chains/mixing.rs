//! Diagnostics of the mixing of chains: rank-normalised split R̂ and bulk effective sample size of their columns, and
//! acceptance.

use super::thinning::ChainDraws;
use crate::Result;
use crate::draw::spread;
use crate::family::arrays::{put_doubles, take_shaped};
use crate::mcmc::{bulk_ess, r_hat};
use crate::metric::judge::Score;
use crate::train::State;
use std::path::Path;

/// The most columns whose convergence is measured, evenly spread over all.
const JUDGED: usize = 64;
/// The most columns with scores of their own.
const MOST_NAMED: usize = 16;
/// The name of the acceptance in a state.
pub(super) const ACCEPTANCE: &str = "acceptance";

/// The greatest R̂ and the least bulk effective sample size over columns.
pub(super) struct Extremes {
    pub r_hat: f64,
    pub ess: f64,
}

/// The extremes over at most [`JUDGED`] columns; infinite where neither is defined.
pub(super) fn extremes(draws: &ChainDraws) -> Result<Extremes> {
    let mut found = Extremes { r_hat: f64::NEG_INFINITY, ess: f64::INFINITY };
    for j in spread(draws.width, JUDGED) {
        let column = draws.column(j);
        found.r_hat = found.r_hat.max(r_hat(&column)?);
        found.ess = found.ess.min(bulk_ess(&column)?);
    }
    Ok(found)
}

/// R̂ and bulk effective sample size of each column, or their extremes over many columns, where they are defined.
/// Vehtari et al. (2021, sec. 4) recommend R̂ below 1.01 and an effective sample size above 400.
pub(super) fn scores(draws: &ChainDraws, name: impl Fn(usize) -> String) -> Result<Vec<Score>> {
    let (r_hat_of, ess_of) = ("R-hat of", "bulk ESS of");
    let mut all = Vec::new();
    if draws.width > MOST_NAMED {
        let (found, columns) = (extremes(draws)?, draws.width.min(JUDGED));
        all.push((format!("greatest R-hat of {columns} columns"), found.r_hat, "below 1.01"));
        all.push((format!("least bulk ESS of {columns} columns"), found.ess, "above 400"));
    } else {
        for j in 0..draws.width {
            let (column, name) = (draws.column(j), name(j));
            all.push((format!("{r_hat_of} {name}"), r_hat(&column)?, "below 1.01"));
            all.push((format!("{ess_of} {name}"), bulk_ess(&column)?, "above 400"));
        }
        all.sort_by_key(|(name, ..)| name.starts_with(ess_of));
    }
    let rows = draws.len() * draws.chains;
    let defined = all.into_iter().filter(|(_, value, _)| value.is_finite());
    Ok(defined.map(|(name, value, good)| of_chains(name, value, rows, good.into())).collect())
}

fn of_chains(name: String, value: f64, rows: usize, good: String) -> Score {
    let (name, good) = (name.into(), good.into());
    Score { name, value, standard_error: None, rows, reference_rows: 0, floor: None, good }
}

/// The mean probability of acceptance over steps.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Acceptance {
    sum: f64,
    steps: f64,
}

impl Acceptance {
    /// Adds a step with the mean acceptance `probability` of all chains.
    pub fn add(&mut self, probability: f64) {
        self.sum += probability;
        self.steps += 1.0;
    }

    /// The mean as a score, if the kernel has the acceptance `good` as its aim and there were steps.
    pub fn score(self, good: Option<f64>) -> Option<Score> {
        let good = good.filter(|_| self.steps > 0.0)?;
        let (value, good) = (self.sum / self.steps, format!("near {good}"));
        Some(of_chains("acceptance".into(), value, self.steps as usize, good))
    }

    /// Adds the sum and the number of steps to a state.
    pub fn save(self, into: &mut State) {
        put_doubles(into, ACCEPTANCE, vec![self.sum, self.steps], vec![2]);
    }

    /// Removes what [`Acceptance::save`] wrote; zero for states of earlier versions, which lack it.
    pub fn take(from: &mut State, origin: &Path) -> Result<Self> {
        if !from.contains_key(ACCEPTANCE) {
            return Ok(Self::default());
        }
        match take_shaped(from, ACCEPTANCE, &[2], origin)?[..] {
            [sum, steps] => Ok(Self { sum, steps }),
            _ => Ok(Self::default()),
        }
    }
}
