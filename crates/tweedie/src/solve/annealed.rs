//! Annealed Langevin dynamics: the sampler of score-based models before SDEs.

use super::corrector::{check_steps, langevin};
use super::{Context, NoiseUse, Solver, State};
use crate::process::Levels;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Annealed Langevin dynamics (Song & Ermon 2019, algorithm 1; *An Introduction to Generative Modeling with Flows and
/// Diffusion Models*, sec. 6.3.3.2, where levels rise with l and sampling starts with ∇log q_L). At each level, from
/// the noisiest to the cleanest, it takes T steps
///
/// > x ← x + ½ γ² ∇log p_t(x) + γ z, γ² = u σ².
///
/// NCSN has u = 0.2 (its ε/σ_L² of 2e-5/0.01²) and T = 100. Between levels x is multiplied by the ratio of their α,
/// which is 1 for variance-exploding schedules. A grid of one level, repeated, is the single-level sampler that loses
/// modes.
///
/// Without `step`, each pair of neighbouring levels has the u of NCSNv2 (Song & Ermon 2020, technique 4): with it T
/// steps bring noise of the first level nearest to noise of the second, see [`AnnealedLangevin::step_for`].
///
/// ```
/// use tweedie::solve::AnnealedLangevin;
/// // CIFAR-10's 232 levels from 50 to 0.01 with T = 5: ε = 6.2e-6, so ε/σ² = 0.062 (Song & Ermon 2020).
/// let step = AnnealedLangevin::step_for(5000f64.powf(1.0 / 231.0), 5);
/// assert!((0.5 * step - 0.062).abs() < 5e-4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnnealedLangevin {
    /// u = γ²/σ², in (0, 2). Required on a grid of one level, where the default would be 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
    /// T, the number of steps at each level.
    pub steps: usize,
}

impl Default for AnnealedLangevin {
    fn default() -> Self {
        Self { step: None, steps: 5 }
    }
}

impl AnnealedLangevin {
    /// The u of NCSNv2 for T = `steps` steps, where σ/α of the level before is `ratio` (at least 1) times this level's.
    /// For data at a point T steps take the variance from `ratio`² σ² to σ² times
    ///
    /// > (1 − ½u)^{2T} (ratio² − v) + v, v = u/(1 − (1 − ½u)²) = 1/(1 − ¼u),
    ///
    /// and u minimises the distance of this factor from 1. (ε/σ² in NCSNv2 is ½u.)
    pub fn step_for(ratio: f64, steps: usize) -> f64 {
        let off = |u: f64| {
            let still = 1.0 / (1.0 - 0.25 * u);
            let left = (1.0 - 0.5 * u).powf(2.0 * steps as f64) * (ratio * ratio - still);
            (left + still - 1.0).abs()
        };
        // A coarse search, then golden-section search around its best point.
        const POINTS: usize = 400;
        let at = |k: usize| 2.0 * k as f64 / POINTS as f64;
        let best = (1..POINTS).min_by(|a, b| off(at(*a)).total_cmp(&off(at(*b)))).unwrap_or(1);
        let (mut low, mut high) = (at(best - 1), at(best + 1));
        let golden = 0.5 * (5f64.sqrt() - 1.0);
        for _ in 0..60 {
            let (a, b) = (high - golden * (high - low), low + golden * (high - low));
            if off(a) < off(b) { high = b } else { low = a }
        }
        0.5 * (low + high)
    }
}

impl Solver for AnnealedLangevin {
    fn check(&self) -> Result<()> {
        match self.step {
            Some(u) if !(u > 0.0 && u < 2.0) => {
                Err(Error::config("solver.step", u.to_string(), "a number between 0 and 2"))
            }
            _ => check_steps("solver.steps", self.steps),
        }
    }

    fn noise_use(&self) -> NoiseUse {
        NoiseUse::Level
    }

    fn step(&self, state: State, from: &Levels, to: &Levels, context: &Context) -> Result<State> {
        let State { mut x, step, .. } = state;
        // e^{½ (λ_to − λ_from)} is the ratio of the two σ/α. Pure noise at the first level counts as a finite ratio.
        let relative = Levels::pair(from, to, &x, |a, b| {
            let ratio = (0.5 * (b.lambda - a.lambda)).exp().min(MOST_RATIO);
            self.step.unwrap_or_else(|| Self::step_for(ratio, self.steps))
        })?;
        if step == 0 {
            // The noisiest level has steps too; their noise has a step number that no grid reaches.
            x = langevin(x, from, relative.clone(), self.steps, FIRST, context)?;
        }
        let moved =
            Levels::pair(from, to, &x, |a, b| if a.alpha > 0.0 { b.alpha / a.alpha } else { 1.0 })?;
        x = langevin(x * moved, to, relative, self.steps, step, context)?;
        Ok(State { x, history: Vec::new(), step: step + 1 })
    }
}

/// The step number that addresses the noise of the noisiest level.
const FIRST: u64 = u32::MAX as u64;

/// The largest ratio of σ/α between two levels for which u is chosen.
const MOST_RATIO: f64 = 1e6;
