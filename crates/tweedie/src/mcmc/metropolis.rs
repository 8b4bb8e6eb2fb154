//! The acceptance test of Metropolis and Hastings.

use super::chains::Chains;
use super::target_values::TargetValues;
use super::{Info, warm_up::WarmUp};
use crate::{Draws, Error};

/// A proposed state for each chain.
pub(super) struct Proposal {
    pub(super) x: Vec<f64>,
    pub(super) known: TargetValues,
    /// ln [p(y) q(x | y) / (p(x) q(y | x))] of each row.
    pub(super) log_ratio: Vec<f64>,
}

/// Moves each chain to its proposal where ln u is below the log-ratio, and counts the step.
///
/// A proposal whose ratio is NaN, or whose log density or score is not finite, is rejected: no step could lead back
/// from it.
pub(super) fn metropolis(
    mut chains: Chains,
    mut to: Proposal,
    warm_up: WarmUp,
    draws: &Draws,
) -> (Chains, Info) {
    let (w, uniform) = (chains.width, draws.at(chains.steps).purpose("accept"));
    let mut accepted = Vec::with_capacity(chains.rows.len());
    for (i, ratio) in to.log_ratio.iter_mut().enumerate() {
        if ratio.is_nan() || to.known.fault(i).is_some() {
            *ratio = f64::NEG_INFINITY;
        }
        accepted.push(uniform.uniform_f64(chains.rows[i], 0).ln() < *ratio);
        if accepted[i] {
            chains.x[i * w..(i + 1) * w].copy_from_slice(&to.x[i * w..(i + 1) * w]);
        }
    }
    chains.known = std::mem::take(&mut chains.known).moved(to.known, &accepted);
    warm_up.adapt(&mut chains.step_size, chains.steps, &to.log_ratio);
    chains.steps += 1;
    (chains, Info { accepted, log_ratio: to.log_ratio })
}

/// The error of the kernel `kernel` for a target without a log density.
pub(super) fn refusal(kernel: &str) -> impl Fn(Error) -> Error {
    move |error| match error {
        Error::Undefined { what, why } => {
            let why = format!("{what} does not exist ({why}); ula needs the score alone");
            Error::undefined(format!("the acceptance probability of {kernel}"), why)
        }
        other => other,
    }
}
