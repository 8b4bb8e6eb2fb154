//! `tweedie compare`: runs on the same data, by log p, by their samples and by what they cost.

use crate::rows::JudgedRows;
use crate::sample::Sampling;
use crate::{Settings, features, output, runs};
use std::fmt::Write;
use std::path::PathBuf;
use toml::Value;
use tweedie::judge::compare::page;
use tweedie::judge::{Comparison, ComparisonResult, Reference};
use tweedie::run::Run;
use tweedie::{Error, Result};

/// Options of `tweedie compare`.
#[derive(clap::Args)]
pub struct Options {
    /// The directories of runs on the same data, or of chains on the same target.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// The present path of the data of the runs, if they were moved.
    #[arg(long)]
    data: Option<String>,
    #[command(flatten)]
    sweep: Sweep,
    /// Write a page to this file: the tables, densities in the plane, samples of each run, a plot of each metric, and
    /// what the numbers say.
    #[arg(short, long, value_name = "FILE.html")]
    output: Option<PathBuf>,
}

/// Options of a comparison.
#[derive(Debug, clap::Args)]
pub struct Sweep {
    /// Numbers of sampling steps, separated by commas; the last denoising counts as one.
    #[arg(
        long,
        value_delimiter = ',',
        default_values_t = [5, 10, 20, 50],
        allow_negative_numbers = true,
        value_parser = crate::whole::<usize>
    )]
    steps: Vec<usize>,
    /// Number of samples of each run at each number of steps.
    #[arg(short, default_value_t = 500, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    n: u64,
    /// Another key of sampling to compare values of, in place of numbers of steps, as in sampling.guidance=1,1.5,2.
    #[arg(long, value_name = "KEY=VALUES", value_parser = swept, conflicts_with = "steps")]
    sweep: Option<(String, Values)>,
    /// Number of rows to compute log p of; 0 for none. By default all while that is quick, else random rows, and none
    /// of pictures.
    #[arg(long, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    log_p_rows: Option<usize>,
    #[command(flatten)]
    split: JudgedRows,
    /// Weight of classifier-free guidance, which overrides each recipe; 1 is none.
    #[arg(long, allow_negative_numbers = true)]
    guidance: Option<f64>,
    /// Judge pictures also by the features of the classifier that this file describes.
    #[arg(long, value_name = "FILE.toml")]
    features: Option<PathBuf>,
    /// Weights of the classifier, replacing the file that its description names.
    #[arg(long, value_name = "FILE.safetensors", requires = "features")]
    weights: Option<PathBuf>,
    /// The seed of samples.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    seed: u64,
}

/// The values of a key.
#[derive(Debug, Clone)]
struct Values(Vec<Value>);

/// A key inside of `sampling` with its values, out of `sampling.key=value,value`.
fn swept(text: &str) -> std::result::Result<(String, Values), String> {
    let expected = || "expected sampling.KEY=VALUE,VALUE,…".to_string();
    let (key, values) = text.split_once('=').ok_or_else(expected)?;
    let key = key.trim().strip_prefix("sampling.").filter(|key| !key.is_empty());
    let one = |value: &str| value.parse().unwrap_or_else(|_| Value::String(value.to_string()));
    let values = values.split(',').map(str::trim).map(one).collect();
    Ok((key.ok_or_else(expected)?.to_string(), Values(values)))
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
    let data = options.data.as_deref();
    let (mut compared, reference) =
        options.sweep.compare(&options.runs, data, options.output.is_some(), settings)?;
    if let Some(path) = options.output.as_deref() {
        output::make_folder_of(path)?;
        page(&compared, &reference.data)?.save(path)?;
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

    /// What a comparison by each recipe's own sampling depends on, as text. Of files, it holds the names.
    pub fn judged_by(&self) -> String {
        let name = |path: &Option<PathBuf>| {
            let name = path.as_ref().and_then(|path| path.file_name());
            name.map_or("none".into(), |name| name.to_string_lossy().into_owned())
        };
        let mut text = format!("{} rows, seed {}", self.split.part().name(), self.seed);
        let _ = write!(text, ", features {} {}", name(&self.features), name(&self.weights));
        if let Some(guidance) = self.guidance {
            let _ = write!(text, ", guidance {guidance}");
        }
        if let Some(rows) = self.log_p_rows {
            let _ = write!(text, ", {rows} rows of log p");
        }
        text
    }

    /// What a comparison over the values of a key depends on, as text.
    pub fn swept(&self) -> String {
        let values = match &self.sweep {
            Some((key, Values(values))) => format!("{key} {values:?}"),
            None => format!("steps {:?}", self.steps),
        };
        format!("{} samples, {values}, {}", self.n, self.judged_by())
    }

    /// Compares the runs in these folders, with their densities in the plane if `densities`; gives the comparison and
    /// what all are judged by.
    pub fn compare(
        &self,
        paths: &[PathBuf],
        data: Option<&str>,
        densities: bool,
        settings: &Settings,
    ) -> Result<(ComparisonResult, Reference)> {
        let steps: Vec<Value> = self.steps.iter().map(|n| Value::Integer(*n as i64)).collect();
        let sweep: (&str, &[Value]) = match &self.sweep {
            Some((key, Values(values))) => (key, values),
            None => ("steps", &steps),
        };
        let open = |path: &PathBuf| runs::open_with(path, data);
        let runs = paths.iter().map(open).collect::<Result<Vec<_>>>()?;
        self.compare_at(sweep, self.n, &runs, densities, settings)
    }

    /// Compares the runs by `n` samples at the values of a key; without values, each by its recipe's own sampling.
    pub fn compare_at(
        &self,
        sweep: (&str, &[Value]),
        n: u64,
        runs: &[Run],
        densities: bool,
        settings: &Settings,
    ) -> Result<(ComparisonResult, Reference)> {
        let classifier = match (&self.features, runs.first()) {
            (Some(features), Some(first)) => {
                let data = first.data()?;
                Some(features::open(features, self.weights.as_deref(), &data, settings)?)
            }
            _ => None,
        };
        let sampling = Sampling { guidance: self.guidance, ..Sampling::default() }.table();
        let comparison = Comparison {
            sweep,
            sampling: &sampling,
            n,
            part: self.split.part(),
            classifier: classifier.as_ref(),
            log_p_rows: self.log_p_rows,
            densities,
        };
        settings.with(self.seed, |at| comparison.compare(runs, at)).map_err(Sampling::as_option)
    }
}

fn print(compared: &ComparisonResult) {
    for run in &compared.runs {
        if let Some(step) = run.step {
            output::line(&format!("{}: training has not finished: step {step}.", run.run));
        }
    }
    let table = |(headings, rows): (Vec<String>, Vec<Vec<String>>)| {
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        output::table(&headings, &rows);
    };
    table(compared.models());
    if let Some(differences) = compared.log_p_differences() {
        output::line(
            "\nlog p on the same rows, of the run of a line less that of a column, nats a row",
        );
        table(differences);
    }
    output::line("");
    table(compared.samples(false));
    let rows = compared.part.map_or("exact draws".into(), |part| format!("{} rows", part.name()));
    output::line(&format!(
        "\n{} samples each, against {rows} of {}",
        compared.samples, compared.data
    ));
    if let Some(path) = &compared.report {
        output::line(&format!("report  {path}"));
    }
}
