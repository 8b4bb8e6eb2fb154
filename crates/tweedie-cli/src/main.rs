//! The `tweedie` program: train, sample, evaluate and compare generative models.
//!
//! No method lives here: every command reads its options, calls the library and prints the result.

#![forbid(unsafe_code)]

mod bench;
mod compare;
mod completions;
mod device;
mod evaluate;
mod exchange;
mod features;
mod list;
mod log_p;
mod output;
mod progress;
mod reproduce;
mod rows;
mod runs;
mod sample;
mod show;
mod stop;
mod train;
mod usage;

use clap::{Parser, Subcommand};
use std::io::ErrorKind;
use std::process::ExitCode;
use tweedie::Error;
use tweedie::family::Setting;

/// Deep generative modelling: train, sample and judge diffusion models, flows, mixtures and Markov chains.
#[derive(Parser)]
#[command(name = "tweedie", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON object on stdout, and nothing else there.
    #[arg(long, global = true)]
    json: bool,
    /// The device to compute on: cpu, or a GPU that the program was built for (vulkan, cuda, metal, rocm, wgpu).
    #[arg(long, global = true, default_value = "cpu")]
    device: String,
    /// Number of CPU threads; all by default. Results do not depend on it.
    #[arg(long, global = true, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    threads: Option<usize>,
}

#[derive(Subcommand)]
enum Command {
    /// List names: recipes, families, data sets, networks, objectives, schedules, predictions, solvers, grids.
    List(list::Options),
    /// Train a model by a recipe, and judge it.
    Train(train::Options),
    /// Generate samples of a trained model, as a .png, .npy, .npz, .csv, .tsv or .safetensors file.
    Sample(sample::Options),
    /// Judge a trained model: sample metrics and log p.
    Evaluate(evaluate::Options),
    /// Compare runs on the same data: quality against network evaluations, as a table and as plots.
    Compare(compare::Options),
    /// Reproduce a page of the docs that takes hours: train, measure, write.
    Reproduce(reproduce::Options),
    /// Import a checkpoint of diffusers as a run.
    Import(exchange::Import),
    /// Export a run as a checkpoint that diffusers loads.
    Export(exchange::Export),
    /// Draw a trained model: samples, densities, progress, curves, and the pictures of its family.
    Show(show::Options),
    /// Benchmark operations and networks on this machine.
    Bench(bench::Options),
    /// Print a script for a shell to complete commands and options by.
    Completions(completions::Options),
}

/// Parses a whole number given to an option.
fn whole<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "expected a whole number, 0 or more".into())
}

/// Settings of every command.
struct Settings {
    json: bool,
    /// The name of the device.
    device_name: String,
    device: tweedie::burn::tensor::Device,
}

impl Settings {
    /// Calls `f` with the device, `seed`, and progress bars.
    fn with<T>(&self, seed: u64, f: impl FnOnce(&Setting) -> T) -> T {
        let bars = progress::Bars::new(self.json);
        f(&Setting { device: &self.device, seed, observe: &|task| bars.show(task) })
    }
}

fn run(cli: Cli) -> tweedie::Result<ExitCode> {
    if let Some(threads) = cli.threads {
        device::set_threads(threads)?;
    }
    let settings =
        Settings { json: cli.json, device: device::parse(&cli.device)?, device_name: cli.device };
    // Commands run on a thread of the pool: an operation called from outside would wait for the pool, for twice the
    // time of a small product.
    let status = rayon::scope(|_| {
        let done = match &cli.command {
            Command::Train(options) => return train::run(options, &settings),
            Command::List(options) => list::run(options, &settings),
            Command::Sample(options) => sample::run(options, &settings),
            Command::Evaluate(options) => evaluate::run(options, &settings),
            Command::Compare(options) => compare::run(options, &settings),
            Command::Reproduce(options) => reproduce::run(options, &settings),
            Command::Import(options) => exchange::import(options, &settings),
            Command::Export(options) => exchange::export(options, &settings),
            Command::Show(options) => show::run(options, &settings),
            Command::Bench(options) => bench::run(options, &settings),
            Command::Completions(options) => completions::run(options),
        };
        done.map(|()| ExitCode::SUCCESS)
    })?;
    output::finish().map(|()| status)
}

/// The exit status of an error: 2 for wrong options, 0 where the reader of the output went away, else 1.
fn status(error: &Error) -> u8 {
    match error {
        Error::Config { .. } => 2,
        Error::Advised { source, .. } => status(source),
        Error::Io { source, .. } if source.kind() == ErrorKind::BrokenPipe => 0,
        _ => 1,
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::refuse(&error),
    };
    run(cli).unwrap_or_else(|error| {
        let status = status(&error);
        if status > 0 {
            eprintln!("error: {error}");
        }
        ExitCode::from(status)
    })
}
