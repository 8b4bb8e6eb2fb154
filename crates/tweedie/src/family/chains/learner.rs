//! Chains as a learner: a training step is one transition of every chain.

use super::ChainsRecipe;
use super::mixing::{ACCEPTANCE, Acceptance, extremes};
use super::thinning::{DRAWS, Thinning};
use crate::data::LogDensity;
use crate::family::Start;
use crate::family::arrays::none_left;
use crate::mcmc::{AnyKernel, Chains};
use crate::train::{Learner, State, Values};
use crate::{Draws, Error, Result};
use burn::tensor::{DType, Device, TensorData};
use std::path::Path;
use std::sync::Arc;

/// The prefix of the names of the chains' arrays.
const PREFIX: &str = "chains.";

/// Chains and their kept draws, advanced one step at a time.
pub(super) struct ChainsLearner {
    kernel: AnyKernel,
    target: Arc<dyn LogDensity>,
    chains: Chains,
    kept: Thinning,
    /// The acceptance over the steps since the first kept draw.
    acceptance: Acceptance,
    /// The number of steps before the first kept draw.
    discard: u64,
    draws: Draws,
    device: Device,
}

impl ChainsLearner {
    /// The learner before the first step of its chains.
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
            kept: Thinning::new(options.rows, size[1], options.keep),
            acceptance: Acceptance::default(),
            discard: options.discarded(at.training.steps),
            draws,
            device: at.device.clone(),
        })
    }
}

/// The mean of `values`; none if empty.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

impl Learner for ChainsLearner {
    fn step(&mut self, _: u64) -> Result<Values> {
        let (chains, info) = self.kernel.step(self.chains.clone(), &*self.target, &self.draws)?;
        self.chains = chains;
        if let Some(number) = self.chains.steps().checked_sub(self.discard + 1) {
            self.kept.offer(number, self.chains.values());
            self.acceptance.add(info.acceptance());
        }
        let values = [
            ("chains/acceptance", info.acceptance()),
            ("chains/step_size", mean(self.chains.step_size())),
        ];
        let log = self.chains.log_density().map(|log| ("chains/log_density", mean(log)));
        Ok(values.into_iter().chain(log).collect())
    }

    fn held_out(&mut self) -> Result<Values> {
        let found = extremes(&self.kept.draws)?;
        let all = [("chains/r_hat", found.r_hat), ("chains/ess", found.ess)];
        Ok(all.into_iter().filter(|(_, value)| value.is_finite()).collect())
    }

    fn save(&self) -> Result<State> {
        let mut state = State::new();
        self.chains.save(PREFIX, &mut state);
        self.kept.save(&mut state);
        self.acceptance.save(&mut state);
        Ok(state)
    }

    fn load(&mut self, mut state: State, origin: &Path) -> Result<()> {
        let chains = Chains::load(PREFIX, &mut state, origin, &self.device)?;
        let size = |chains: &Chains| [chains.len(), chains.width()];
        if size(&chains) != size(&self.chains) {
            let (found, expected) = (size(&chains), size(&self.chains));
            let place = format!("{PREFIX}x");
            return Err(Error::file(origin, place, format!("{found:?}"), format!("{expected:?}")));
        }
        self.kept.load(&mut state, origin)?;
        self.acceptance = Acceptance::take(&mut state, origin)?;
        self.chains = chains;
        none_left(&state, origin)
    }

    fn weights(&self) -> Result<State> {
        Ok(weights(self.save()?))
    }
}

/// The draws in a learner's state, or the chains' present rows if none are kept yet, with their acceptance.
pub(super) fn weights(mut state: State) -> State {
    let now = state.remove(&format!("{PREFIX}x")).and_then(|x| {
        let shape = [&[1], x.shape().as_slice()].concat();
        let values = x.convert_dtype(DType::F64).try_into_vec::<f64>().ok()?;
        Some(TensorData::new(values, shape))
    });
    let draws = state.remove(DRAWS).or(now);
    let draws = draws.map(|draws| (DRAWS.to_string(), draws));
    draws.into_iter().chain(state.remove_entry(ACCEPTANCE)).collect()
}
