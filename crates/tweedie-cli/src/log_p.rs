//! Options of log p.

use crate::output;
use toml::{Table, Value};
use tweedie::judge::densities::{Asked, LogP, heading, table};
use tweedie::{Error, Result};

/// Options of log p.
#[derive(Default, clap::Args)]
pub struct Options {
    /// How many held-out rows get a log p, random ones of all; by default all while that is quick.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    rows: Option<usize>,
    /// The density: of a diffusion model the probability-flow ODE's (`ode`), or the reverse SDE's, by weighted paths (`sde`)
    /// or by the variational bound (`elbo`), which are lower bounds. May be repeated, or `all`; the model's first by
    /// default.
    #[arg(long)]
    density: Vec<String>,
    /// Paths a row of `sde`, which more of them raise.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    paths: Option<usize>,
    /// Probes of the divergence, `exact` for none: exact up to 16 dimensions, else 4, by default. With `elbo` noise levels
    /// a row, 64 by default.
    #[arg(long, allow_negative_numbers = true)]
    probes: Option<String>,
    /// The levels of `elbo`, evenly spaced in time, first and last included, or `continuous`; by default a chain's own, else
    /// continuous time.
    #[arg(long, allow_negative_numbers = true)]
    levels: Option<String>,
    /// How integers become real numbers: `uniform`, or `variational` by a small network fitted to the run first; with `elbo`
    /// `decoder` judges integers as they are, recovered from the noise of the cleanest level, by default those of a model
    /// that was trained so, and `network-decoder` from the model's mean there, as DDPM does. May be repeated, or `all`.
    #[arg(long)]
    dequantise: Vec<String>,
    /// Steps of fitting `variational`, 500 by default.
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
    /// A density of a number of rows dequantised both ways, by `probes` if not by default.
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

    /// Fails for options that make no sense for any run.
    pub fn check(&self) -> Result<()> {
        check_count("--paths", self.paths.map(|n| n as u64), 100_000)?;
        check_count("--rows", self.rows.map(|n| n as u64), 1 << 30)?;
        check_count("--dequantise-steps", self.dequantise_steps, 1_000_000)?;
        let given = |names: &[String], name: &str| names.iter().any(|n| n == name || n == "all");
        if self.levels.is_some() && !given(&self.density, "elbo") {
            return Err(Error::config("--levels", "given without `elbo`", "--density elbo"));
        }
        if self.dequantise_steps.is_some() && !given(&self.dequantise, "variational") {
            let problem = "given without `variational`";
            return Err(Error::config("--dequantise-steps", problem, "--dequantise variational"));
        }
        Ok(())
    }

    /// What is to be judged; `default_rows` if the number of rows is not an option.
    pub fn asked(&self, default_rows: Option<usize>) -> Asked {
        let mut options = Table::new();
        let mut set = |key: &str, value: Option<Value>| {
            options.extend(value.map(|value| (key.to_string(), value)));
        };
        set("paths", self.paths.map(|n| Value::Integer(n as i64)));
        set("probes", self.probes.clone().map(Value::String));
        set("levels", self.levels.clone().map(Value::String));
        set("dequantise_steps", self.dequantise_steps.map(|n| Value::Integer(n as i64)));
        Asked {
            densities: self.density.clone(),
            integers: self.dequantise.clone(),
            options,
            rows: self.rows.or(default_rows),
        }
    }
}

/// Prints the table.
pub fn print(found: &[LogP]) {
    let Some(first) = found.first() else { return };
    output::line(&heading(first));
    let (headings, rows) = table(found);
    output::table(&headings, &rows);
}
