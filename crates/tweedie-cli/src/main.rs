//! The `tweedie` program: train, sample, evaluate and compare generative models.
//!
//! No method lives here: every command reads its options, calls the library and shows what comes back.

#![forbid(unsafe_code)]

mod bench;
mod compare;
mod device;
mod evaluate;
mod exchange;
mod features;
mod list;
mod log_p;
mod output;
mod progress;
mod reproduce;
mod sample;
mod show;
mod train;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tweedie::family::Setting;

/// Deep generative modelling: train, sample and judge models on real data.
#[derive(Parser)]
#[command(name = "tweedie", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON object on stdout and nothing else there.
    #[arg(long, global = true)]
    json: bool,
    /// Where to compute: cpu, or a GPU that this program was built for (vulkan, cuda, metal, rocm, wgpu).
    #[arg(long, global = true, default_value = "cpu")]
    device: String,
    /// How many CPU threads to use; all by default. Results do not depend on it.
    #[arg(long, global = true, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    threads: Option<usize>,
}

#[derive(Subcommand)]
enum Command {
    /// What there is: recipes, data sets, schedules, predictions, solvers, grids.
    List(list::Options),
    /// Train a model by a recipe and judge it.
    Train(train::Options),
    /// Sample a trained model to a .png, .npy, .csv or .safetensors file.
    Sample(sample::Options),
    /// Judge a trained model: sample metrics and log p.
    Evaluate(evaluate::Options),
    /// Set runs on the same data beside each other: quality against network evaluations, as a table and as plots.
    Compare(compare::Options),
    /// Train, measure and write a figure that takes long into the docs.
    Reproduce(reproduce::Options),
    /// Make a run of a checkpoint of diffusers.
    Import(exchange::Import),
    /// Write a run as a checkpoint that diffusers loads.
    Export(exchange::Export),
    /// Draw a trained model: samples, their way from noise, progress, schedule, errors by noise level, curves.
    Show(show::Options),
    /// Measure how fast operations and networks are on this machine.
    Bench(bench::Options),
}

/// A whole number given to an option.
fn whole<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "expected a whole number, 0 or more".into())
}

/// What every command needs to know.
struct Settings {
    json: bool,
    /// The name of the device.
    device_name: String,
    device: tweedie::burn::tensor::Device,
}

impl Settings {
    /// Calls `f` with what the library needs: device, seed, and progress shown as bars.
    fn with<T>(&self, seed: u64, f: impl FnOnce(&Setting) -> T) -> T {
        let bars = progress::Bars::new(self.json);
        f(&Setting { device: &self.device, seed, observe: &|task| bars.show(task) })
    }
}

fn run(cli: Cli) -> tweedie::Result<()> {
    if let Some(threads) = cli.threads {
        device::set_threads(threads)?;
    }
    let settings =
        Settings { json: cli.json, device: device::parse(&cli.device)?, device_name: cli.device };
    // On a thread of the pool itself: an operation called from outside would hand over to the pool and wait, twice the
    // time of a small product.
    rayon::scope(|_| match cli.command {
        Command::List(options) => list::run(&options, &settings),
        Command::Train(options) => train::run(&options, &settings),
        Command::Sample(options) => sample::run(&options, &settings),
        Command::Evaluate(options) => evaluate::run(&options, &settings),
        Command::Compare(options) => compare::run(&options, &settings),
        Command::Reproduce(options) => reproduce::run(&options, &settings),
        Command::Import(options) => exchange::import(&options, &settings),
        Command::Export(options) => exchange::export(&options, &settings),
        Command::Show(options) => show::run(&options, &settings),
        Command::Bench(options) => bench::run(&options, &settings),
    })
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            // Wrong options are wrong usage; everything else failed.
            match error {
                tweedie::Error::Config { .. } => ExitCode::from(2),
                _ => ExitCode::from(1),
            }
        }
    }
}
