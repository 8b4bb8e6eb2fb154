//! Chains as a learner: a step of training is one transition of every chain.

use super::ChainsRecipe;
use super::kept::{Draws3, Kept};
use crate::data::LogDensity;
use crate::draw::spread;
use crate::family::Start;
use crate::family::arrays::{Arrays, from_state, into_state, none_left};
use crate::mcmc::{AnyKernel, Chains, bulk_ess, r_hat};
use crate::train::{Learner, State};
use crate::{Draws, Error, Result};
use burn::tensor::{DType, Device};
use std::path::Path;
use std::sync::Arc;

/// Columns whose convergence is judged, evenly spread over all.
const JUDGED: usize = 64;

/// How the names of the chains' arrays begin.
const PREFIX: &str = "chains.";

/// Chains under way.
pub(super) struct ChainsLearner {
    kernel: AnyKernel,
    target: Arc<dyn LogDensity>,
    chains: Chains,
    kept: Kept,
    /// Steps before the first draw that is kept.
    discard: u64,
    draws: Draws,
    device: Device,
}

impl ChainsLearner {
    /// Chains before their first step.
    pub fn new(recipe: &ChainsRecipe, at: &Start) -> Result<Self> {
        let (options, draws) = (&recipe.chains, Draws::new(at.seed).purpose("chains"));
        let target = recipe.target.density(at.open)?;
        let size = [options.rows, target.width()];
        let start = draws.purpose("start");
        let x = options.start.rows(size, &*recipe.target, &start, at.open, at.device)?;
        // Networks compute in single precision.
        let dtype = if target.by_row().is_some() { DType::F64 } else { DType::F32 };
        Ok(Self {
            kernel: options.kernel,
            chains: options.kernel.init(x.cast(dtype), &*target)?,
            target,
            kept: Kept::new(options.rows, size[1], options.keep),
            discard: options.discarded(at.training.steps),
            draws,
            device: at.device.clone(),
        })
    }
}

/// The greatest split R̂ and the least bulk effective size over columns; none where they are not defined.
fn diagnostics(draws: &Draws3) -> Result<Vec<(&'static str, f64)>> {
    let (mut r, mut ess) = (f64::NEG_INFINITY, f64::INFINITY);
    for j in spread(draws.width, JUDGED) {
        let column = draws.column(j);
        r = r.max(r_hat(&column)?);
        ess = ess.min(bulk_ess(&column)?);
    }
    let mut all = vec![("chains/r_hat", r), ("chains/ess", ess)];
    all.retain(|(_, value)| value.is_finite());
    Ok(all)
}

/// The mean of values; none if there are none.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

impl Learner for ChainsLearner {
    fn step(&mut self, _: u64) -> Result<Vec<(&'static str, f64)>> {
        let (chains, info) = self.kernel.step(self.chains.clone(), &*self.target, &self.draws)?;
        self.chains = chains;
        if let Some(number) = self.chains.steps().checked_sub(self.discard + 1) {
            self.kept.offer(number, self.chains.values());
        }
        let mut values = vec![
            ("chains/acceptance", info.acceptance()),
            ("chains/step_size", mean(self.chains.step_size())),
        ];
        if let Some(log) = self.chains.log_density() {
            values.push(("chains/log_density", mean(log)));
        }
        Ok(values)
    }

    fn held_out(&mut self) -> Result<Vec<(&'static str, f64)>> {
        diagnostics(&self.kept.draws)
    }

    fn save(&self) -> State {
        let mut arrays = Arrays::new();
        self.chains.save(PREFIX, &mut arrays);
        self.kept.save(&mut arrays);
        into_state(arrays)
    }

    fn load(&mut self, state: State, origin: &Path) -> Result<()> {
        let mut arrays = from_state(&state, origin)?;
        let chains = Chains::load(PREFIX, &mut arrays, origin, &self.device)?;
        let size = |chains: &Chains| (chains.len(), chains.width());
        if size(&chains) != size(&self.chains) {
            let (found, expected) = (size(&chains), size(&self.chains));
            let place = format!("{PREFIX}x");
            return Err(Error::file(origin, place, format!("{found:?}"), format!("{expected:?}")));
        }
        self.kept.load(&mut arrays, origin)?;
        self.chains = chains;
        none_left(&arrays, origin)
    }

    /// The draws that are kept, or where chains are as long as there are none.
    fn weights(&self) -> Result<State> {
        let mut draws = self.kept.draws.clone();
        if draws.values.is_empty() {
            draws.values = self.chains.values().to_vec();
        }
        let mut arrays = Arrays::new();
        draws.put(&mut arrays);
        Ok(into_state(arrays))
    }
}
