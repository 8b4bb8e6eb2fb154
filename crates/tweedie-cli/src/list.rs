//! `tweedie list`.

use crate::{Settings, output};
use tweedie::family::FAMILIES;
use tweedie::run::shipped::RECIPES;
use tweedie::{Error, Result};

/// Options of `tweedie list`.
#[derive(clap::Args)]
pub struct Options {
    /// Kind of names to list: recipes, families, data, networks, column-networks, objectives, schedules, predictions,
    /// clocks, solvers, grids, bijections, maps, log-determinants, conditionals, orders, priors, posteriors,
    /// inferences, players, losses, regularisers, energies, energy-objectives, fits, kernels or devices.
    kind: Option<String>,
}

/// Prints every name with one line on its meaning.
pub fn run(options: &Options, settings: &Settings) -> Result<()> {
    let recipes: Vec<(String, String)> = RECIPES
        .iter()
        .map(|(name, text)| {
            let of = |recipe: tweedie::run::Recipe| match recipe.plan.family() {
                family if settings.json || family == FAMILIES[0].name => recipe.about,
                family => format!("({family}) {}", recipe.about),
            };
            (name.to_string(), tweedie::run::Recipe::parse(text, &[]).map(of).unwrap_or_default())
        })
        .collect();
    let own = |entries: &[(&str, &str)]| {
        entries.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect::<Vec<_>>()
    };
    let devices = crate::device::DEVICES.iter().map(|d| (d.to_string(), String::new())).collect();
    let kinds = [
        ("recipes", recipes),
        ("families", own(&FAMILIES.iter().map(|f| (f.name, f.about)).collect::<Vec<_>>())),
        ("data", own(&tweedie::data::list())),
        ("networks", own(tweedie::nn::AnyNetworkConfig::NAMES)),
        ("column-networks", own(tweedie::nn::autoregressive::AnyColumnNetworkConfig::NAMES)),
        ("objectives", own(tweedie::objective::AnyObjective::NAMES)),
        ("schedules", own(tweedie::process::AnySchedule::NAMES)),
        ("predictions", own(tweedie::denoise::Prediction::NAMES)),
        ("clocks", own(tweedie::denoise::Clock::NAMES)),
        ("solvers", own(tweedie::solve::AnySolver::NAMES)),
        ("grids", own(tweedie::solve::AnyGrid::NAMES)),
        ("bijections", own(tweedie::nn::flow::AnyBijectionConfig::NAMES)),
        ("maps", own(tweedie::nn::flow::AnyScalarMap::NAMES)),
        ("log-determinants", own(tweedie::nn::flow::AnyLogDet::NAMES)),
        ("conditionals", own(tweedie::nn::conditional::AnyConditional::NAMES)),
        ("orders", own(tweedie::nn::autoregressive::Order::NAMES)),
        ("priors", own(tweedie::latent::AnyPriorConfig::NAMES)),
        ("posteriors", own(tweedie::latent::AnyPosterior::NAMES)),
        ("inferences", own(tweedie::latent::Inference::NAMES)),
        ("players", own(tweedie::nn::game::AnyPlayerConfig::NAMES)),
        ("losses", own(tweedie::game::AnyGameLoss::NAMES)),
        ("regularisers", own(tweedie::game::AnyRegulariser::NAMES)),
        ("energies", own(tweedie::nn::energy::AnyEnergyConfig::NAMES)),
        ("energy-objectives", own(tweedie::family::energy::AnyEnergyObjective::NAMES)),
        ("fits", own(tweedie::family::mixture::AnyFit::NAMES)),
        ("kernels", own(tweedie::mcmc::AnyKernel::NAMES)),
        ("devices", devices),
    ];
    if let Some(kind) = &options.kind {
        let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
        if !names.contains(&kind.as_str()) {
            return Err(Error::config("kind", kind, tweedie::error::one_of(kind, &names)));
        }
    }
    let wanted = |name: &str| options.kind.as_ref().is_none_or(|kind| kind == name);
    let mut json = serde_json::Map::new();
    for (kind, entries) in kinds.iter().filter(|(kind, _)| wanted(kind)) {
        if settings.json {
            let map = entries.iter().map(|(a, b)| (a.clone(), b.clone().into())).collect();
            json.insert(kind.to_string(), serde_json::Value::Object(map));
        } else {
            output::line(kind);
            let width = entries.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
            for (name, about) in entries {
                let pad = " ".repeat(width - name.chars().count());
                output::line(format!("  {name}{pad}  {about}").trim_end());
            }
        }
    }
    if settings.json {
        output::json(&json);
    }
    Ok(())
}
