//! `scheduler_config.json`: process, prediction and sampling.

use super::model::class;
use super::{edm, flow, score_sde};
use crate::denoise::{Clock, Prediction};
use crate::family::diffusion::Diffusion;
use crate::family::diffusion::SamplingRecipe;
use crate::nn::UNetConfig;
use crate::process::{AnySchedule, Betas, Chain, ChainConfig, Schedule};
use crate::solve::grid::{AnyGrid, Karras, Leading, Linspace, LogSnr, Trailing};
use crate::solve::pndm::Start;
use crate::solve::unipc::{Bh, Integrates};
use crate::solve::{
    Ancestral, AncestralVariance, AnySolver, Clip, Ddim, Deis, DpmSolverPp2M, DpmSolverPp2S,
    DpmSolverPp3M, Last, Lms, Pndm, StochasticHeun, UniPc,
};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::path::Path;

/// A scheduler in our terms.
pub(super) struct Scheduler {
    /// The chain.
    pub schedule: AnySchedule,
    /// The prediction of the network.
    pub prediction: Prediction,
    /// The standard deviation of the data by which the network's input is scaled; 1 on a chain, where it is not.
    pub sigma_data: f64,
    /// Whether the network's input is scaled to unit variance.
    pub scale_input: bool,
    /// The range of a picture's values in model units.
    pub range: Range,
    /// The level as the network sees it.
    pub clock: Clock,
    /// The scheduler's way of sampling, or our default solver for a scheduler without a counterpart.
    pub sampling: SamplingRecipe,
}

/// The range of a picture's values in model units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    /// [−1, 1].
    Symmetric,
    /// [0, 1].
    Unit,
}

/// Steps of diffusers' DDIM pipeline.
pub(super) const DDIM_STEPS: usize = 50;

/// Steps of the multistep solvers; in diffusers they keep their order from 15 steps on.
pub(super) const MULTISTEPS: usize = 25;

/// Steps of the chain of an exported schedule.
pub(super) const STEPS: usize = 1000;

/// A configuration with the path of its file.
pub(super) struct Keys<'a> {
    object: &'a Map<String, Value>,
    path: &'a Path,
}

impl Keys<'_> {
    pub fn get<T: DeserializeOwned>(&self, key: &str, default: T, expected: &str) -> Result<T> {
        match self.object.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => serde_json::from_value(value.clone())
                .map_err(|_| Error::file(self.path, key, value.to_string(), expected)),
        }
    }

    pub fn text(&self, key: &str, default: &str) -> Result<String> {
        self.get(key, default.to_string(), "a name")
    }

    pub fn unknown<T>(&self, key: &str, found: &str, expected: &str) -> Result<T> {
        Err(Error::file(self.path, key, found, expected))
    }

    /// An error of a key of ours as one of the file, without the name of our table.
    pub fn located(&self, error: Error, table: &str) -> Error {
        match error {
            Error::Config { key, problem, expected } => {
                Error::file(self.path, key.trim_start_matches(table), problem, expected)
            }
            other => other,
        }
    }
}

impl Scheduler {
    /// Fails if the steps need variances of the network in `folder`, and it predicts none.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn check_variance(&self, unet: &UNetConfig, folder: &Path) -> Result<()> {
        let fixed = match self.sampling.solver {
            AnySolver::Ancestral(Ancestral { variance }) => variance.fixed().is_some(),
            _ => true,
        };
        if fixed || unet.out_channels == 2 * unet.in_channels {
            return Ok(());
        }
        let found = unet.out_channels.to_string();
        let expected = "twice in_channels: the scheduler's variance_type is a learned one";
        Err(Error::file(folder.join("config.json"), "out_channels", found, expected))
    }
}

/// Reads a configuration; `object` is the content of `path`.
///
/// # Errors
/// [`Error::File`] naming the key that cannot be used.
pub(super) fn from_json(object: &Map<String, Value>, path: &Path) -> Result<Scheduler> {
    let keys = Keys { object, path };
    if edm::NAMES.contains(&class(object)) {
        return edm::from_keys(&keys, class(object));
    }
    if flow::NAMES.contains(&class(object)) {
        return flow::from_keys(&keys, class(object));
    }
    if score_sde::NAMES.contains(&class(object)) {
        return score_sde::from_keys(&keys, class(object));
    }
    let number = "a number";
    let betas = match keys.get("trained_betas", None::<Vec<f64>>, "a list of numbers")? {
        Some(list) => Betas::List(list),
        None => match keys.text("beta_schedule", "linear")?.as_str() {
            "linear" => Betas::Linear,
            "scaled_linear" => Betas::ScaledLinear,
            "squaredcos_cap_v2" => Betas::SquaredCos,
            "sigmoid" => Betas::Sigmoid,
            other => {
                let known = "linear, scaled_linear, squaredcos_cap_v2 or sigmoid";
                return keys.unknown("beta_schedule", other, known);
            }
        },
    };
    let steps: usize = keys.get("num_train_timesteps", STEPS, "a whole number")?;
    let chain = Chain::new(ChainConfig {
        steps: (!matches!(betas, Betas::List(_))).then_some(steps),
        betas,
        beta_start: keys.get("beta_start", 1e-4, number)?,
        beta_end: keys.get("beta_end", 0.02, number)?,
        zero_terminal_snr: keys.get("rescale_betas_zero_snr", false, "true or false")?,
    })
    .map_err(|error| match error {
        Error::Config { key, problem, expected } => {
            let key = match key.trim_start_matches("schedule.") {
                "steps" => "num_train_timesteps",
                "betas" if object.get("trained_betas").is_some_and(Value::is_array) => {
                    "trained_betas"
                }
                "betas" => "beta_schedule",
                key => key,
            };
            Error::file(path, key, problem, expected)
        }
        other => other,
    })?;
    let prediction = match keys.text("prediction_type", "epsilon")?.as_str() {
        "epsilon" => Prediction::Noise,
        "sample" => Prediction::Data,
        "v_prediction" => Prediction::V,
        other => {
            let known = "epsilon, sample or v_prediction";
            return keys.unknown("prediction_type", other, known);
        }
    };
    let sampling = sampling(&keys, chain.steps())?;
    let (schedule, clock) = (AnySchedule::Chain(chain), Clock::Index);
    let (sigma_data, scale_input, range) = (1.0, true, Range::Symmetric);
    Ok(Scheduler { schedule, prediction, sigma_data, scale_input, range, clock, sampling })
}

/// The sampling of the scheduler.
fn sampling(keys: &Keys, chain: usize) -> Result<SamplingRecipe> {
    let flag = |key: &str, default: bool| keys.get(key, default, "true or false");
    // The multistep solvers leave out their cleanest index; the others clip to ranges of pictures.
    let (solver, steps, last, multistep, spacing) = match class(keys.object) {
        "DDPMScheduler" | "DDPMParallelScheduler" => {
            let variance = match keys.text("variance_type", "fixed_small")?.as_str() {
                "fixed_small" | "fixed_small_log" => AncestralVariance::Small,
                "fixed_large" | "fixed_large_log" => AncestralVariance::Large,
                "learned_range" => AncestralVariance::LearnedRange,
                "learned" => AncestralVariance::Learned,
                other => {
                    let expected = "fixed_small, fixed_large, learned_range or learned";
                    return keys.unknown("variance_type", other, expected);
                }
            };
            let solver = AnySolver::Ancestral(Ancestral { variance });
            (solver, STEPS, Last::Denoise, false, "leading")
        }
        "DDIMScheduler" | "DDIMParallelScheduler" => {
            let last = final_alpha(keys, true)?;
            (AnySolver::Ddim(Ddim::default()), DDIM_STEPS, last, false, "leading")
        }
        "PNDMScheduler" => {
            let skip = flag("skip_prk_steps", false)?;
            let solver = Pndm { start: if skip { Start::Heun } else { Start::RungeKutta } };
            (AnySolver::Pndm(solver), DDIM_STEPS, final_alpha(keys, false)?, false, "leading")
        }
        "LMSDiscreteScheduler" => {
            (AnySolver::Lms(Lms::default()), DDIM_STEPS, Last::Denoise, false, "linspace")
        }
        "DEISMultistepScheduler" => {
            let solver = AnySolver::Deis(Deis { order: order(keys)? });
            (solver, MULTISTEPS, Last::Stop, true, "linspace")
        }
        "UniPCMultistepScheduler" => {
            let bh1 = keys.text("solver_type", "bh2")? == "bh1";
            let b = if bh1 { Bh::Bh1 } else { Bh::Bh2 };
            let of = if flag("predict_x0", true)? { Integrates::Data } else { Integrates::Noise };
            let solver = AnySolver::UniPc(UniPc { order: order(keys)?, b, of });
            (solver, MULTISTEPS, final_sigma(keys)?, true, "linspace")
        }
        "DPMSolverMultistepScheduler" => {
            let kind = keys.text("algorithm_type", "dpmsolver++")?;
            let eta = if kind.starts_with("sde") { 1.0 } else { 0.0 };
            let solver = match order(keys)? {
                1 => AnySolver::Ddim(Ddim { eta }),
                2 => AnySolver::DpmSolverPp2M(DpmSolverPp2M { eta }),
                _ => AnySolver::DpmSolverPp3M(DpmSolverPp3M { eta }),
            };
            (solver, MULTISTEPS, final_sigma(keys)?, true, "linspace")
        }
        // In x/α and σ/α, Euler's step of the flow is DDIM's.
        "EulerDiscreteScheduler" => {
            (AnySolver::Ddim(Ddim::default()), DDIM_STEPS, Last::Denoise, false, "linspace")
        }
        "EulerAncestralDiscreteScheduler" => {
            let solver = AnySolver::Ancestral(Ancestral::default());
            (solver, DDIM_STEPS, Last::Denoise, false, "linspace")
        }
        "HeunDiscreteScheduler" => {
            let solver = StochasticHeun { churn: 0.0, ..StochasticHeun::default() };
            (AnySolver::StochasticHeun(solver), MULTISTEPS, Last::Denoise, false, "linspace")
        }
        "DPMSolverSDEScheduler" => {
            let solver = AnySolver::DpmSolverPp2S(DpmSolverPp2S { eta: 1.0 });
            (solver, MULTISTEPS, Last::Denoise, false, "linspace")
        }
        // A scheduler without a counterpart is of the same chains: the default solver samples.
        "DPMSolverSinglestepScheduler" => return Ok(SamplingRecipe::default()),
        other => {
            let expected = "DDPMScheduler, DDIMScheduler or another scheduler of a beta table, of EDM, of flow \
                            matching or of score SDEs";
            return keys.unknown("_class_name", other, expected);
        }
    };
    for key in ["use_flow_sigmas", "use_beta_sigmas"] {
        if flag(key, false)? {
            return keys.unknown(key, "true", "false: levels of a chain, of Karras or in ln σ");
        }
    }
    let grid = if flag("use_karras_sigmas", false)? {
        Karras::default().into()
    } else if flag("use_lu_lambdas", false)? || flag("use_exponential_sigmas", false)? {
        LogSnr.into()
    } else {
        match keys.text("timestep_spacing", spacing)?.as_str() {
            "leading" => {
                let offset = keys.get("steps_offset", 0, "a whole number")?;
                Leading { offset, open: multistep }.into()
            }
            "trailing" => Trailing.into(),
            "linspace" => Linspace { open: multistep }.into(),
            other => {
                return keys.unknown("timestep_spacing", other, "leading, trailing or linspace");
            }
        }
    };
    let number = "a number";
    let clips = ["DDPM", "DDIM"].iter().any(|name| class(keys.object).starts_with(name));
    let clip = if flag("thresholding", false)? {
        let ratio = keys.get("dynamic_thresholding_ratio", 0.995, number)?;
        Some(Clip::Dynamic { ratio, max: keys.get("sample_max_value", 1.0, number)? })
    } else if clips && flag("clip_sample", true)? {
        Some(Clip::Range(keys.get("clip_sample_range", 1.0, number)?))
    } else {
        None
    };
    // With an offset the last indices would lie beyond the end of the chain.
    let most = match grid {
        AnyGrid::Leading(Leading { offset, open }) => {
            (chain / offset.saturating_add(1)).saturating_sub(usize::from(open))
        }
        AnyGrid::Linspace(Linspace { open }) => chain - usize::from(open),
        _ => chain,
    };
    let steps = steps.min(most).max(1);
    Ok(SamplingRecipe { solver, grid, steps, last, clip, ..SamplingRecipe::default() })
}

/// The order of a multistep solver.
pub(super) fn order(keys: &Keys) -> Result<usize> {
    let expected = "1, 2 or 3";
    match keys.get("solver_order", 2, expected)? {
        order @ 1..=3 => Ok(order),
        other => keys.unknown("solver_order", &other.to_string(), expected),
    }
}

/// The end of a chain by `set_alpha_to_one`: clean data or level 0.
fn final_alpha(keys: &Keys, default: bool) -> Result<Last> {
    let to_one = keys.get("set_alpha_to_one", default, "true or false")?;
    Ok(if to_one { Last::Denoise } else { Last::Stop })
}

/// The end of a multistep solver: clean data or level 0.
pub(super) fn final_sigma(keys: &Keys) -> Result<Last> {
    match keys.text("final_sigmas_type", "zero")?.as_str() {
        "zero" => Ok(Last::Denoise),
        "sigma_min" => Ok(Last::Stop),
        other => keys.unknown("final_sigmas_type", other, "zero or sigma_min"),
    }
}

/// The configuration of the scheduler with the sampling of a recipe; of DDIM where no scheduler of diffusers has the
/// solver's options.
///
/// # Errors
/// [`Error::Config`] if diffusers lacks the prediction or the schedule.
pub(super) fn to_json(recipe: &Diffusion) -> Result<Map<String, Value>> {
    if let Some(flow) = flow::to_json(recipe)? {
        return Ok(flow);
    }
    let prediction = match recipe.model.prediction {
        Prediction::Noise => "epsilon",
        Prediction::Data => "sample",
        Prediction::V => "v_prediction",
        other => {
            let expected = "noise, data or v: the predictions that diffusers' schedulers know";
            return Err(Error::config("model.prediction", format!("{other:?}"), expected));
        }
    };
    let sampling = &recipe.sampling;
    let mut object = match &recipe.schedule {
        AnySchedule::Chain(chain) => of_chain(chain),
        schedule => json!({ "num_train_timesteps": STEPS, "trained_betas": betas_of(schedule)? }),
    };
    let to_one = json!(sampling.last == Last::Denoise);
    let (class, own) = match sampling.solver {
        AnySolver::Ancestral(Ancestral { variance }) => {
            let kind = match variance {
                AncestralVariance::Small => "fixed_small",
                AncestralVariance::Large => "fixed_large",
                AncestralVariance::LearnedRange => "learned_range",
                AncestralVariance::Learned => "learned",
            };
            ("DDPMScheduler", vec![("variance_type", kind.into())])
        }
        AnySolver::Pndm(Pndm { start }) => {
            let skip = json!(start == Start::Heun);
            ("PNDMScheduler", vec![("skip_prk_steps", skip), ("set_alpha_to_one", to_one)])
        }
        AnySolver::Lms(Lms { order: 4 }) if sampling.last == Last::Denoise => {
            ("LMSDiscreteScheduler", Vec::new())
        }
        _ => ("DDIMScheduler", vec![("set_alpha_to_one", to_one)]),
    };
    let (spacing, offset) = match sampling.grid {
        AnyGrid::Leading(Leading { offset, .. }) => ("leading", offset),
        AnyGrid::Linspace(_) => ("linspace", 0),
        _ => ("trailing", 0),
    };
    let (clip, range) = match sampling.clip {
        Some(Clip::Range(range)) => (true, range),
        _ => (false, 1.0),
    };
    let (thresholding, ratio, max) = match sampling.clip {
        Some(Clip::Dynamic { ratio, max }) => (true, ratio, max),
        _ => (false, 0.995, 1.0),
    };
    object["_class_name"] = class.into();
    own.into_iter().for_each(|(key, value)| object[key] = value);
    object["prediction_type"] = prediction.into();
    object["timestep_spacing"] = spacing.into();
    object["steps_offset"] = offset.into();
    object["clip_sample"] = clip.into();
    object["clip_sample_range"] = range.into();
    object["thresholding"] = thresholding.into();
    object["dynamic_thresholding_ratio"] = ratio.into();
    object["sample_max_value"] = max.into();
    Ok(object.as_object().cloned().unwrap_or_default())
}

/// The pipeline that samples with a scheduler of the given class.
pub(super) fn pipeline(class: &str) -> &'static str {
    match class {
        "PNDMScheduler" => "PNDMPipeline",
        "DDIMScheduler" | "LMSDiscreteScheduler" => "DDIMPipeline",
        _ => "DDPMPipeline",
    }
}

fn of_chain(chain: &Chain) -> Value {
    let config = chain.config();
    let (name, list) = match &config.betas {
        Betas::Linear => ("linear", Value::Null),
        Betas::ScaledLinear => ("scaled_linear", Value::Null),
        Betas::SquaredCos => ("squaredcos_cap_v2", Value::Null),
        Betas::Sigmoid => ("sigmoid", Value::Null),
        Betas::List(list) => ("linear", json!(list)),
    };
    json!({
        "num_train_timesteps": chain.steps(),
        "beta_schedule": name,
        "trained_betas": list,
        "beta_start": config.beta_start,
        "beta_end": config.beta_end,
        "rescale_betas_zero_snr": config.zero_terminal_snr,
    })
}

/// β of the chain that visits a schedule's levels at 1,000 times, evenly from its first to its last.
fn betas_of(schedule: &AnySchedule) -> Result<Vec<f64>> {
    let (first, last) = schedule.range();
    let at = |k: usize| schedule.level(first + (last - first) * k as f64 / (STEPS - 1) as f64);
    let levels: Vec<_> = (0..STEPS).map(at).collect();
    if levels.iter().any(|l| (l.alpha.powi(2) + l.sigma.powi(2) - 1.0).abs() > 1e-9) {
        let expected = "a variance-preserving one, as the chains of diffusers are";
        return Err(Error::config("schedule", "α² + σ² is not 1", expected));
    }
    // β = 1 − α²_t/α²_s = −expm1(2 ln α_t/α_s).
    let steps =
        levels.windows(2).map(|pair| -(2.0 * (pair[1].alpha / pair[0].alpha).ln()).exp_m1());
    Ok(std::iter::once(levels[0].sigma.powi(2)).chain(steps).collect())
}
