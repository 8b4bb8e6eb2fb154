//! Options of log p.

use crate::output;
use toml::{Table, Value};
use tweedie::judge::densities::{LogP, LogPOptions, heading, table};
use tweedie::{Error, Result};

/// Options of log p.
#[derive(Default, clap::Args)]
// Its command's own options are a group of this name.
#[group(skip)]
pub struct Options {
    /// Number of random rows to judge; by default `evaluation.log_p_rows` of the recipe, or else all held-out rows
    /// while rows × columns × network evaluations are below 2e8, fewer beyond.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    rows: Option<usize>,
    /// The density. A diffusion model has three: `ode` (probability-flow ODE), and two lower bounds, `sde` (reverse SDE
    /// by weighted paths) and `elbo` (variational bound). May be repeated, or `all`; the first density of the model by
    /// default.
    #[arg(long)]
    density: Vec<String>,
    /// Paths of `sde` for each row; more paths raise the bound.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    paths: Option<usize>,
    /// Draws from the posterior of each row by a latent-variable model, 128 by default; more draws raise `importance`.
    /// With `annealed`, the number of Markov chains: 16 for each row by default, or 200 in each direction for an energy.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    draws: Option<usize>,
    /// Temperatures of `annealed`: 1000 by default for the log p of an energy, whose two estimates of ln Z agree with
    /// more, and 100 for a latent-variable model.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    temperatures: Option<usize>,
    /// Random probes of the divergence of `ode`, or `exact`; by default exact up to 16 dimensions, else 4. For `elbo`,
    /// noise levels drawn for each row, 64 by default.
    #[arg(long, allow_negative_numbers = true)]
    probes: Option<String>,
    /// Number of noise levels of the density `elbo`, evenly spaced in time from the first to the last, or `continuous`.
    /// By default the levels of the chain that the model was trained on, else continuous time.
    #[arg(long, allow_negative_numbers = true)]
    levels: Option<String>,
    /// Treatment of integers: `uniform` noise, or `variational` noise by a small network that is fitted to the run
    /// first. For `elbo` also `decoder`, which recovers integers from the noise of the cleanest level (the default of
    /// models trained without dequantisation), and `network-decoder`, which recovers them from the mean of the network,
    /// as DDPM does. May be repeated, or `all`.
    #[arg(long)]
    dequantise: Vec<String>,
    /// Steps of the fit of `variational`; 500 by default.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    dequantise_steps: Option<u64>,
}

/// Fails, naming the option, for a count of 0 or above `most`.
pub fn check_count(option: &str, value: Option<u64>, most: u64) -> Result<()> {
    match value {
        Some(value) if value == 0 || value > most => {
            Err(Error::config(option, value.to_string(), format!("from 1 to {most}")))
        }
        _ => Ok(()),
    }
}

impl Options {
    /// Options that judge `rows` rows by one density, with uniform and with variational dequantisation.
    pub fn dequantised(density: &str, probes: Option<usize>, rows: usize) -> Self {
        Self {
            rows: Some(rows),
            density: vec![density.into()],
            paths: (density == "sde").then_some(4),
            probes: probes.map(|probes| probes.to_string()),
            dequantise: ["uniform", "variational"].map(String::from).to_vec(),
            ..Self::default()
        }
    }

    /// Options that judge `rows` rows by the model's first density, with each of these treatments of integers; its own
    /// without any.
    pub fn of_integers(names: &[&str], rows: usize) -> Self {
        let dequantise = names.iter().map(|name| name.to_string()).collect();
        Self { rows: Some(rows), dequantise, ..Self::default() }
    }

    /// Options that judge `rows` rows by one density, from `draws` draws of each.
    pub fn by_draws(density: &str, draws: usize, rows: usize) -> Self {
        let density = vec![density.into()];
        Self { rows: Some(rows), density, draws: Some(draws), ..Self::default() }
    }

    /// Fails for options that no run can have.
    pub fn check(&self) -> Result<()> {
        check_count("--paths", self.paths.map(|n| n as u64), 100_000)?;
        check_count("--draws", self.draws.map(|n| n as u64), 1 << 24)?;
        check_count("--temperatures", self.temperatures.map(|n| n as u64), 1 << 24)?;
        check_count("--rows", self.rows.map(|n| n as u64), 1 << 30)?;
        check_count("--dequantise-steps", self.dequantise_steps, 1_000_000)?;
        let given = |names: &[String], name: &str| names.iter().any(|n| n == name || n == "all");
        if self.probes.as_deref() == Some("exact")
            && !self.density.is_empty()
            && !given(&self.density, "ode")
        {
            let expected = "a number of probes, or --density ode with it";
            return Err(Error::config("--probes", "exact without `ode`", expected));
        }
        if self.levels.is_some() && !given(&self.density, "elbo") {
            return Err(Error::config("--levels", "given without `elbo`", "--density elbo"));
        }
        if self.dequantise_steps.is_some() && !given(&self.dequantise, "variational") {
            let problem = "given without `variational`";
            return Err(Error::config("--dequantise-steps", problem, "--dequantise variational"));
        }
        Ok(())
    }

    /// The densities, treatments and rows to judge; `default_rows` without `--rows`.
    pub fn asked(&self, default_rows: Option<usize>) -> LogPOptions {
        let mut options = Table::new();
        let mut set = |key: &str, value: Option<Value>| {
            options.extend(value.map(|value| (key.to_string(), value)));
        };
        set("paths", self.paths.map(|n| Value::Integer(n as i64)));
        set("draws", self.draws.map(|n| Value::Integer(n as i64)));
        set("temperatures", self.temperatures.map(|n| Value::Integer(n as i64)));
        set("probes", self.probes.clone().map(Value::String));
        set("levels", self.levels.clone().map(Value::String));
        set("dequantise_steps", self.dequantise_steps.map(|n| Value::Integer(n as i64)));
        LogPOptions {
            densities: self.density.clone(),
            integers: self.dequantise.clone(),
            options,
            rows: self.rows.or(default_rows),
        }
    }
}

/// Prints the table of log p.
pub fn print(found: &[LogP]) {
    let Some(first) = found.first() else { return };
    output::line(&heading(first));
    let (headings, rows) = table(found);
    output::table(&headings, &rows);
}
