//! The schedulers of flow matching: x_t = (1 − t) x₀ + t ε, and a network that predicts ε − x₀ = dx_t/dt.
//!
//! The network sees x_t itself and 1000 t. The N levels of training are t = s u/(1 + (s − 1) u) at u = k/N, with the
//! shift s; sampling spaces u evenly between the ends of these and shifts once more.

use super::scheduler::{DDIM_STEPS, Keys, MULTISTEPS, Range, STEPS, Scheduler};
use crate::denoise::{Clock, Prediction};
use crate::family::diffusion::{Diffusion, SamplingRecipe};
use crate::process::{AnySchedule, Straight};
use crate::solve::grid::{AnyGrid, Shifted};
use crate::solve::{AnySolver, Euler, Heun, Last};
use crate::{Error, Result};
use serde_json::{Map, Value, json};

/// Names of the schedulers.
pub(super) const NAMES: [&str; 2] =
    ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"];

/// The distance of the noisiest level from pure noise, where the rates of the process are infinite.
const NOISE_DELTA: f64 = 1e-6;

/// Options that change the levels or the steps, and that are refused where they are on.
const REFUSED: [&str; 6] = [
    "use_dynamic_shifting",
    "invert_sigmas",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "stochastic_sampling",
];

/// t at the level u.
fn shifted(shift: f64, u: f64) -> f64 {
    shift * u / (1.0 + (shift - 1.0) * u)
}

/// Reads the configuration of one of them.
///
/// # Errors
/// [`Error::File`] naming the key that cannot be used.
pub(super) fn from_keys(keys: &Keys, class: &str) -> Result<Scheduler> {
    for key in REFUSED {
        if keys.get(key, false, "true or false")? {
            return keys.unknown(key, "true", "false: a shift alone");
        }
    }
    let terminal: f64 = keys.get("shift_terminal", 0.0, "a number")?;
    if terminal != 0.0 {
        return keys.unknown("shift_terminal", &terminal.to_string(), "null: a shift alone");
    }
    let steps: usize = keys.get("num_train_timesteps", STEPS, "a whole number")?;
    if steps != STEPS {
        let expected = "1000: the network's clock counts thousandths";
        return keys.unknown("num_train_timesteps", &steps.to_string(), expected);
    }
    let shift = keys.get("shift", 1.0, "a number")?;
    let grid = AnyGrid::Shifted(Shifted { shift });
    grid.check().map_err(|error| keys.located(error, "grid."))?;
    let straight = Straight {
        delta: shifted(shift, shifted(shift, 1.0 / STEPS as f64)),
        noise_delta: Some(NOISE_DELTA),
    };
    let (solver, steps) = match class == NAMES[0] {
        true => (AnySolver::Euler(Euler {}), DDIM_STEPS),
        false => (AnySolver::Heun(Heun {}), MULTISTEPS),
    };
    Ok(Scheduler {
        schedule: AnySchedule::Straight(straight),
        prediction: Prediction::Velocity,
        sigma_data: 1.0,
        scale_input: false,
        range: Range::Symmetric,
        clock: Clock::Straight,
        sampling: SamplingRecipe { solver, grid, steps, ..SamplingRecipe::default() },
    })
}

/// The configuration of the scheduler of a run on the straight path; `None` for any other run.
///
/// # Errors
/// [`Error::Config`] naming the key that diffusers has no equivalent of.
pub(super) fn to_json(recipe: &Diffusion) -> Result<Option<Map<String, Value>>> {
    let AnySchedule::Straight(_) = recipe.schedule else { return Ok(None) };
    if recipe.model.prediction != Prediction::Velocity {
        let found = format!("{:?}", recipe.model.prediction);
        let expected = "velocity, as diffusers' schedulers of flow matching have it";
        return Err(Error::config("model.prediction", found, expected));
    }
    if recipe.sampling.last != Last::Denoise {
        let expected = "denoise: diffusers' flow ends at clean data";
        return Err(Error::config("sampling.last", "stop", expected));
    }
    let shift = match recipe.sampling.grid {
        AnyGrid::Shifted(Shifted { shift }) => shift,
        _ => 1.0,
    };
    let class = match recipe.sampling.solver {
        AnySolver::Heun(_) => NAMES[1],
        _ => NAMES[0],
    };
    let object = json!({ "_class_name": class, "num_train_timesteps": STEPS, "shift": shift });
    Ok(object.as_object().cloned())
}
