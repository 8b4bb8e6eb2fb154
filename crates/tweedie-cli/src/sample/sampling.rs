//! Command-line options of the solver and of guidance; each takes the place of a key of the recipe's `[sampling]`.

use std::path::PathBuf;
use toml::{Table, Value};
use tweedie::Error;

/// The solver, its grid and steps, and guidance; each option takes the place of a key of the recipe's `[sampling]`.
#[derive(Default, clap::Args)]
pub struct Sampling {
    /// The solver (see `tweedie list solvers`), with options as in 'ddim, eta = 0.5'.
    #[arg(long)]
    pub solver: Option<String>,
    /// The grid of noise levels (see `tweedie list grids`), with options as in 'karras, rho = 5.0'.
    #[arg(long)]
    pub grid: Option<String>,
    /// Number of steps of the solver; the last denoising counts as one.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    pub steps: Option<usize>,
    /// Weight of classifier-free guidance; 1 is none.
    #[arg(long, allow_negative_numbers = true)]
    pub guidance: Option<f64>,
    /// A weaker run that guides in place of the model without its condition (autoguidance): its folder, or a file of
    /// its earlier weights, as training.keep_every keeps them.
    #[arg(long, value_name = "RUN")]
    pub weak: Option<PathBuf>,
    /// Override a key of the recipe's sampling, such as sampling.solver.eta=0.5; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = sampling_key)]
    pub set: Vec<(String, Value)>,
    /// Use the best variance of each `ancestral` step for the errors of this run, measured on 512 training rows first.
    #[arg(long)]
    pub analytic_variance: bool,
}

impl Sampling {
    /// The options as overrides of the `sampling` table.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        let mut set = |key: &str, value: Option<Value>| {
            table.extend(value.map(|value| (key.to_string(), value)));
        };
        let written = |text: &String| text.parse().unwrap_or_else(|_| Value::String(text.clone()));
        set("solver", self.solver.as_ref().map(written));
        set("grid", self.grid.as_ref().map(written));
        set("steps", self.steps.map(|steps| Value::Integer(steps as i64)));
        set("guidance", self.guidance.map(Value::Float));
        let path = self.weak.as_ref().map(|path| path.display().to_string());
        set("weak", path.map(Value::String));
        set("variance", self.analytic_variance.then(|| "measured".into()));
        table.extend(self.set.iter().cloned());
        table
    }

    /// The same error with its key as a command-line option.
    pub fn as_option(error: Error) -> Error {
        match error {
            Error::Config { key, problem, expected } if !key.starts_with('-') => {
                let key = if key == "variance" { "analytic-variance" } else { &key };
                Error::config(format!("--{key}"), problem, expected)
            }
            other => other,
        }
    }
}

/// A key inside of `sampling` with its value, out of `sampling.key=value`.
fn sampling_key(text: &str) -> std::result::Result<(String, Value), String> {
    let expected = || "expected sampling.KEY=VALUE".to_string();
    let (key, value) = text.split_once('=').ok_or_else(expected)?;
    let key = key.trim().strip_prefix("sampling.").filter(|key| !key.is_empty());
    let value = value.trim();
    let value = value.parse().unwrap_or_else(|_| Value::String(value.to_string()));
    Ok((key.ok_or_else(expected)?.to_string(), value))
}
