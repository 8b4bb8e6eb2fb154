//! Grids of a discrete chain's own indices (Lin et al. 2023, Table 2), as in the `timestep_spacing` of diffusers, with
//! halves rounded to even. A step leads from each visited index to the next one.

use super::Grid;
use crate::process::Schedule;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The length of the schedule's chain. Fails if `all` indices exceed it; `left_out` of them are not visited.
fn length_for(schedule: &dyn Schedule, all: usize, left_out: usize) -> Result<usize> {
    let Some(length) = schedule.chain_len() else {
        let expected = "a grid of continuous schedules: only a chain has indices";
        return Err(Error::config("grid", "indices of a chain", expected));
    };
    if all > length {
        let expected = format!("at most {}, the chain's own", length - left_out);
        return Err(Error::config("steps", (all - left_out).to_string(), expected));
    }
    Ok(length)
}

/// Converts rising indices to falling times.
fn falling(rising: impl DoubleEndedIterator<Item = usize>) -> Vec<f64> {
    rising.rev().map(|index| index as f64).collect()
}

/// The indices k ⌊N/n⌋ + offset of a chain, k < n.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Leading {
    /// The cleanest index visited.
    pub offset: usize,
    /// Whether the cleanest of n + 1 such indices is left out: the last of the n steps then ends there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

impl Grid for Leading {
    fn is_of_chain(&self) -> bool {
        true
    }

    fn times(&self, schedule: &dyn Schedule, steps: usize) -> Result<Vec<f64>> {
        let (offset, left_out) = (self.offset, usize::from(self.open));
        let all = steps + left_out;
        let length = length_for(schedule, all, left_out)?;
        let noisiest = ((all - 1) * (length / all)).saturating_add(offset);
        if noisiest >= length {
            let found = format!("{steps} from offset {offset} visit index {noisiest}");
            return Err(Error::config("steps", found, format!("indices below {length}")));
        }
        Ok(falling((left_out..all).map(|k| k * (length / all) + offset)))
    }
}

/// The indices N − k N/n − 1 of a chain, rounded, k < n, from the noisiest.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Trailing;

impl Grid for Trailing {
    fn is_of_chain(&self) -> bool {
        true
    }

    fn times(&self, schedule: &dyn Schedule, steps: usize) -> Result<Vec<f64>> {
        let whole = length_for(schedule, steps, 0)? as f64;
        // With the roundings of NumPy, which decide ties.
        let step = (whole - whole / steps as f64) - whole;
        let at = |k: usize| (whole + k as f64 * step).round_ties_even() as usize;
        Ok(falling((0..steps).rev().map(|k| at(k).saturating_sub(1))))
    }
}

/// n indices of a chain from 0 to N − 1, evenly spaced and rounded.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Linspace {
    /// Whether index 0, the cleanest of n + 1 indices, is left out: the last of the n steps then ends there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

impl Grid for Linspace {
    fn is_of_chain(&self) -> bool {
        true
    }

    fn times(&self, schedule: &dyn Schedule, steps: usize) -> Result<Vec<f64>> {
        let left_out = usize::from(self.open);
        let all = steps + left_out;
        let length = length_for(schedule, all, left_out)?;
        let step = if all > 1 { (length as f64 - 1.0) / (all - 1) as f64 } else { 0.0 };
        Ok(falling((left_out..all).map(|k| (k as f64 * step).round_ties_even() as usize)))
    }
}
