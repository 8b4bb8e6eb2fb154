//! Thinning of the draws of chains, so that their number stays bounded.
//!
//! Every T-th draw is kept, at first with T = 1. When the room is full, every other draw is dropped and T is doubled.
//! The kept draws depend on the number of draws alone: numbers 0, T, 2T, …

use crate::family::arrays::{put_doubles, take_doubles};
use crate::train::{State, count, take_count};
use crate::{Error, Result};
use std::path::Path;

/// The names of arrays in a state.
pub(super) const DRAWS: &str = "draws";
const THIN: &str = "thin";

/// The rows of all chains at several steps.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ChainDraws {
    /// The values, `[draws, chains, width]`.
    pub values: Vec<f64>,
    pub chains: usize,
    pub width: usize,
}

impl ChainDraws {
    /// The number of draws of each chain.
    pub fn len(&self) -> usize {
        self.values.len() / (self.chains * self.width)
    }

    /// The row of draw `k` of chain `c`.
    pub fn row(&self, k: usize, c: usize) -> &[f64] {
        &self.values[(k * self.chains + c) * self.width..][..self.width]
    }

    /// Column `j` of each chain, draw by draw.
    pub fn column(&self, j: usize) -> Vec<Vec<f64>> {
        let chain = |c| (0..self.len()).map(|k| self.row(k, c)[j]).collect();
        (0..self.chains).map(chain).collect()
    }

    /// Adds the draws, at least one, to a state.
    pub fn put(self, into: &mut State) {
        let shape = vec![self.len(), self.chains, self.width];
        put_doubles(into, DRAWS, self.values, shape);
    }
}

/// The kept draws with their thinning.
#[derive(Debug, Clone)]
pub(super) struct Thinning {
    pub draws: ChainDraws,
    /// The most draws of a chain.
    most: usize,
    /// The distance T between kept draws.
    thin: u64,
}

impl Thinning {
    /// The thinning before the first draw, of at most `most` draws per chain.
    pub fn new(chains: usize, width: usize, most: usize) -> Self {
        Self { draws: ChainDraws { values: Vec::new(), chains, width }, most, thin: 1 }
    }

    /// Offers draw number `number` of each chain, from 0 and in order, which is kept or not.
    pub fn offer(&mut self, number: u64, rows: &[f64]) {
        if !number.is_multiple_of(self.thin) {
            return;
        }
        if self.draws.len() == self.most {
            let size = self.draws.chains * self.draws.width;
            let steps = self.draws.values.chunks(size).step_by(2);
            self.draws.values = steps.flatten().copied().collect();
            self.thin *= 2;
        }
        if number.is_multiple_of(self.thin) {
            self.draws.values.extend_from_slice(rows);
        }
    }

    /// Adds the draws and T to a state.
    pub fn save(&self, into: &mut State) {
        into.insert(THIN.into(), count(self.thin));
        self.draws.clone().put(into);
    }

    /// Restores and removes what [`Thinning::save`] wrote.
    pub fn load(&mut self, from: &mut State, origin: &Path) -> Result<()> {
        self.thin = take_count(from, THIN, origin)?.max(1);
        let ChainDraws { chains, width, .. } = self.draws;
        self.draws.values.clear();
        if from.contains_key(DRAWS) {
            let draws = Self::take_draws(width, from, origin)?;
            if draws.chains != chains || draws.len() > self.most {
                let found = format!("{} draws of {} chains", draws.len(), draws.chains);
                let expected = format!("at most {} of {chains}", self.most);
                return Err(Error::file(origin, DRAWS, found, expected));
            }
            self.draws = draws;
        }
        Ok(())
    }

    /// Reads and removes the draws that [`ChainDraws::put`] wrote.
    pub fn take_draws(width: usize, from: &mut State, origin: &Path) -> Result<ChainDraws> {
        let (shape, values) = take_doubles(from, DRAWS, origin)?;
        match shape[..] {
            [_, chains, own] if own == width && !values.is_empty() => {
                Ok(ChainDraws { values, chains, width })
            }
            _ => {
                let expected = format!("draws × chains × {width}");
                Err(Error::file(origin, DRAWS, format!("shape {shape:?}"), expected))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_draws_are_every_t_th_and_fill_at_least_half_of_the_room() {
        for count in 1..200u64 {
            let mut kept = Thinning::new(1, 1, 7);
            (0..count).for_each(|k| kept.offer(k, &[k as f64]));
            let expected: Vec<f64> =
                (0..count).step_by(kept.thin as usize).map(|k| k as f64).collect();
            assert_eq!(kept.draws.values, expected);
            assert!(kept.draws.len() <= 7 && (kept.draws.len() >= 4 || count < 4), "{count}");
        }
    }
}
