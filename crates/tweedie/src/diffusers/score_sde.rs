//! The schedulers of score SDEs (Song et al. 2021): a network of the score on the variance-exploding SDE, or of the
//! noise on the variance-preserving one.
//!
//! On the former x_t = x₀ + σ ε with pictures in [0, 1]; the network sees x_t itself and σ.

use super::scheduler::{Keys, Range, Scheduler};
use crate::Result;
use crate::denoise::{Clock, Prediction};
use crate::family::diffusion::SamplingRecipe;
use crate::process::{AnySchedule, Schedule, Ve, VpLinear};
use crate::solve::grid::Time;
use crate::solve::{
    Ancestral, AncestralVariance, AnySolver, EulerMaruyama, Langevin, Predictor,
    PredictorCorrector, Solver,
};

/// Names of the schedulers.
pub(super) const NAMES: [&str; 2] = ["ScoreSdeVeScheduler", "ScoreSdeVpScheduler"];

/// The default number of steps of both.
const STEPS: usize = 2000;

/// Reads the configuration of one of them.
///
/// # Errors
/// [`crate::Error::File`] naming the key that cannot be used.
pub(super) fn from_keys(keys: &Keys, class: &str) -> Result<Scheduler> {
    let (schedule, solver) = match class == NAMES[0] {
        true => (ve(keys)?, reverse_diffusion(keys)?),
        false => (vp(keys)?, EulerMaruyama::default().into()),
    };
    schedule.check().map_err(|error| keys.located(error, "schedule."))?;
    let steps = keys.get("num_train_timesteps", STEPS, "a whole number")?;
    let sampling = SamplingRecipe { solver, grid: Time.into(), steps, ..SamplingRecipe::default() };
    let exploding = class == NAMES[0];
    Ok(Scheduler {
        schedule,
        prediction: if exploding { Prediction::Score } else { Prediction::Noise },
        sigma_data: if exploding { 0.5 } else { 1.0 },
        scale_input: false,
        clock: if exploding { Clock::Sigma } else { Clock::Index },
        range: if exploding { Range::Unit } else { Range::Symmetric },
        sampling,
    })
}

fn ve(keys: &Keys) -> Result<AnySchedule> {
    let sigma_min = keys.get("sigma_min", 0.01, "a number")?;
    Ok(Ve { sigma_min, sigma_max: keys.get("sigma_max", 1348.0, "a number")? }.into())
}

fn vp(keys: &Keys) -> Result<AnySchedule> {
    let beta_min = keys.get("beta_min", 0.1, "a number")?;
    Ok(VpLinear { beta_min, beta_max: keys.get("beta_max", 20.0, "a number")? }.into())
}

/// Reverse diffusion, which with α = 1 is an ancestral step with the larger variance, and the corrector if there is
/// one.
fn reverse_diffusion(keys: &Keys) -> Result<AnySolver> {
    let (snr, steps) =
        (keys.get("snr", 0.15, "a number")?, keys.get("correct_steps", 1, "a whole number")?);
    if steps == 0 {
        return Ok(Ancestral { variance: AncestralVariance::Large }.into());
    }
    let solver = PredictorCorrector {
        predictor: Predictor::AncestralLarge,
        corrector: Langevin { snr, steps },
    };
    solver.check().map_err(|error| keys.located(error, "solver.corrector."))?;
    Ok(solver.into())
}
