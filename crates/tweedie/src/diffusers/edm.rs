//! The schedulers of EDM (Karras et al. 2022): α = 1, levels by σ, and a network in the preconditioning of its table 1.
//!
//! The network sees x/√(σ² + σ_d²) and ¼ ln σ, and predicts F in x̂₀ = σ_d² x/(σ² + σ_d²) + σ σ_d F/√(σ² + σ_d²).

use super::scheduler::{DDIM_STEPS, Keys, MULTISTEPS, Range, Scheduler, final_sigma, order};
use crate::Result;
use crate::denoise::{Clock, Prediction};
use crate::family::diffusion::SamplingRecipe;
use crate::process::{AnySchedule, Edm, Schedule};
use crate::solve::grid::{Karras, LogSnr};
use crate::solve::{AnySolver, Clip, Ddim, DpmSolverPp2M, DpmSolverPp3M, Last};

/// Names of the schedulers.
pub(super) const NAMES: [&str; 2] = ["EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"];

/// Reads the configuration of one of them.
///
/// # Errors
/// [`crate::Error::File`] naming the key that cannot be used.
pub(super) fn from_keys(keys: &Keys, class: &str) -> Result<Scheduler> {
    let number = "a number";
    let edm = Edm {
        sigma_min: keys.get("sigma_min", 0.002, number)?,
        sigma_max: keys.get("sigma_max", 80.0, number)?,
    };
    let schedule = AnySchedule::Edm(edm);
    schedule.check().map_err(|error| keys.located(error, "schedule."))?;
    let sigma_data: f64 = keys.get("sigma_data", 0.5, number)?;
    if !(sigma_data > 0.0 && sigma_data.is_finite()) {
        return keys.unknown("sigma_data", &sigma_data.to_string(), "a positive number");
    }
    let prediction = keys.text("prediction_type", "epsilon")?;
    if prediction != "epsilon" {
        return keys.unknown("prediction_type", &prediction, "epsilon, which is EDM's F");
    }
    let grid = match keys.text("sigma_schedule", "karras")?.as_str() {
        "karras" => Karras { rho: keys.get("rho", 7.0, number)? }.into(),
        "exponential" => LogSnr.into(),
        other => return keys.unknown("sigma_schedule", other, "karras or exponential"),
    };
    let euler = class == NAMES[0];
    let sde = !euler && keys.text("algorithm_type", "dpmsolver++")?.starts_with("sde");
    let eta = if sde { 1.0 } else { 0.0 };
    // With α = 1 Euler's step in σ is DDIM's.
    let solver = match if euler { 1 } else { order(keys)? } {
        1 => AnySolver::Ddim(Ddim { eta }),
        2 => AnySolver::DpmSolverPp2M(DpmSolverPp2M { eta }),
        _ => AnySolver::DpmSolverPp3M(DpmSolverPp3M { eta }),
    };
    let last = final_sigma(keys)?;
    // Where diffusers stops at the least σ, its last step changes nothing.
    let steps = if euler { DDIM_STEPS } else { MULTISTEPS } - usize::from(last == Last::Stop);
    let clip = match keys.get("thresholding", false, "true or false")? {
        false => None,
        true => {
            let ratio = keys.get("dynamic_thresholding_ratio", 0.995, number)?;
            Some(Clip::Dynamic { ratio, max: keys.get("sample_max_value", 1.0, number)? })
        }
    };
    let sampling = SamplingRecipe { solver, grid, steps, last, clip, ..SamplingRecipe::default() };
    let prediction = Prediction::Edm;
    let clock = Clock::LogSnr;
    let (scale_input, range) = (true, Range::Symmetric);
    Ok(Scheduler { schedule, prediction, sigma_data, scale_input, range, clock, sampling })
}
