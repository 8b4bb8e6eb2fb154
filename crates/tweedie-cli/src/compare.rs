//! `tweedie compare`: runs on the same data beside each other, quality against network evaluations.

use crate::sample::Sampling;
use crate::{Settings, features, output};
use std::path::PathBuf;
use tweedie::data::Dataset;
use tweedie::judge::compare::page;
use tweedie::judge::{Compared, Comparison};
use tweedie::run::Run;
use tweedie::{Error, Result};

/// Options of `tweedie compare`.
#[derive(clap::Args)]
pub struct Options {
    /// The run directories, of runs on the same data.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    sweep: Sweep,
    /// Write a report with the table, a plot of each metric and each run's samples to this file.
    #[arg(short, long, value_name = "FILE.html")]
    output: Option<PathBuf>,
}

/// How runs are compared.
#[derive(clap::Args)]
pub struct Sweep {
    /// Steps of the samplers, the last denoising included: several numbers, with commas.
    #[arg(
        long,
        value_delimiter = ',',
        default_values_t = [5, 10, 20, 50],
        allow_negative_numbers = true,
        value_parser = crate::whole::<usize>
    )]
    steps: Vec<usize>,
    /// How many samples of each run at each number of steps.
    #[arg(short, default_value_t = 500, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    n: u64,
    /// The weight of classifier-free guidance in place of each recipe's; 1 is none.
    #[arg(long, allow_negative_numbers = true)]
    guidance: Option<f64>,
    /// Judge pictures by the features of the classifier that this file describes, too.
    #[arg(long, value_name = "FILE.toml")]
    features: Option<PathBuf>,
    /// The classifier's weights, where they are not as its file says.
    #[arg(long, value_name = "FILE.safetensors", requires = "features")]
    weights: Option<PathBuf>,
    /// The seed of samples.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    seed: u64,
}

/// Compares runs.
pub fn run(options: &Options, settings: &Settings) -> Result<()> {
    options.sweep.check()?;
    if let Some(path) =
        options.output.as_deref().filter(|p| p.extension().is_none_or(|e| e != "html"))
    {
        let expected = "a file that ends in .html";
        return Err(Error::config("--output", path.display().to_string(), expected));
    }
    let (mut compared, data) = options.sweep.compare(&options.runs, settings)?;
    if let Some(path) = options.output.as_deref() {
        page(&compared, &data)?.save(path)?;
        compared.report = Some(path.display().to_string());
    }
    if settings.json {
        output::json(&compared);
    } else {
        print(&compared);
    }
    Ok(())
}

impl Sweep {
    /// Fails, naming the option, unless every number makes sense.
    pub fn check(&self) -> Result<()> {
        if self.n < 2 || self.n > 1 << 20 {
            let expected = format!("from 2 to {}", 1 << 20);
            return Err(Error::config("-n", self.n.to_string(), expected));
        }
        Ok(())
    }

    /// Compares the runs in these folders, and gives the data that they share.
    pub fn compare(&self, paths: &[PathBuf], settings: &Settings) -> Result<(Compared, Dataset)> {
        let classifier = match (&self.features, paths.first()) {
            (Some(features), Some(first)) => {
                let data = Run::open(first)?.data()?;
                Some(features::open(features, self.weights.as_deref(), &data, settings)?)
            }
            _ => None,
        };
        let sampling = Sampling { guidance: self.guidance, ..Sampling::default() }.table();
        let (steps, n, classifier) = (&self.steps[..], self.n, classifier.as_ref());
        let comparison = Comparison { steps, sampling: &sampling, n, classifier };
        settings.with(self.seed, |at| comparison.compare(paths, at)).map_err(Sampling::as_option)
    }
}

fn print(compared: &Compared) {
    let (headings, rows) = compared.table();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    output::table(&headings, &rows);
    output::line(&format!(
        "\n{} samples each, against held-out rows of {}",
        compared.samples, compared.data
    ));
    if let Some(path) = &compared.report {
        output::line(&format!("report  {path}"));
    }
}
