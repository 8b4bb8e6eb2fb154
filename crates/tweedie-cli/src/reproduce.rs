//! `tweedie reproduce`: figures that take hours, from their recipes to a page of the docs.

mod mnist_diffusion;
mod mnist_likelihood;

use crate::compare::Sweep;
use crate::{Settings, output, train};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tweedie::data::content_hash;
use tweedie::files::write_atomically;
use tweedie::{Error, Result};

/// A page of the docs, with the runs that it needs.
struct Figure {
    name: &'static str,
    /// One line on what it shows.
    what: &'static str,
    /// The recipes of its runs.
    models: &'static [&'static str],
    /// Measures the trained runs; gives the page in Markdown, and its figures as JSON.
    measure: fn(&Options, &Settings) -> Result<(String, serde_json::Value)>,
}

const FIGURES: [Figure; 2] = [mnist_diffusion::FIGURE, mnist_likelihood::FIGURE];

/// Options of `tweedie reproduce`.
#[derive(clap::Args)]
pub struct Options {
    /// The figure; without it all figures are listed.
    figure: Option<String>,
    /// The folder of the data.
    #[arg(long)]
    data: Option<String>,
    /// The folder of the runs: finished ones are used, stopped ones resumed, and each keeps what was measured of it.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Number of samples of each run by its recipe's own sampling.
    #[arg(long, default_value_t = 10_000, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    samples: u64,
    #[command(flatten)]
    sweep: Sweep,
    /// Number of test rows for bits per dimension.
    #[arg(long, default_value_t = 10_000, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    rows: usize,
    /// The page to write, a .md file; its pictures go to `images` beside it. docs/FIGURE.md by default.
    #[arg(short, long)]
    output: Option<PathBuf>,
}

/// The figures, and the path of the page.
#[derive(Serialize)]
struct Page {
    #[serde(flatten)]
    figure: serde_json::Value,
    page: String,
}

/// Trains missing runs, measures all, and writes the page.
pub fn run(options: &Options, settings: &Settings) -> Result<()> {
    let Some(name) = &options.figure else {
        let rows: Vec<Vec<String>> =
            FIGURES.iter().map(|f| vec![f.name.to_string(), f.what.to_string()]).collect();
        output::table(&["figure", "what it shows"], &rows);
        return Ok(());
    };
    let Some(figure) = FIGURES.iter().find(|figure| figure.name == name) else {
        let names = FIGURES.map(|figure| figure.name);
        return Err(Error::config("figure", name, tweedie::error::one_of(name, &names)));
    };
    let page = options.page(figure.name);
    if page.extension().is_none_or(|e| e != "md") {
        let found = page.display().to_string();
        return Err(Error::config("--output", found, "a file that ends in .md"));
    }
    if options.rows == 0 {
        return Err(Error::config("--rows", "0", "at least 1"));
    }
    let Some(source) = options.data.as_deref() else {
        return Err(Error::config("--data", "absent", "the folder of MNIST's files"));
    };
    options.sweep.check()?;
    if options.samples < 2 {
        return Err(Error::config("--samples", options.samples.to_string(), "at least 2"));
    }
    for name in figure.models {
        train::finished(name, source, &options.runs.join(name), settings)?;
    }
    let (text, found) = (figure.measure)(options, settings)?;
    write_atomically(&page, text.as_bytes())?;
    let found = Page { figure: found, page: page.display().to_string() };
    if settings.json {
        output::json(&found);
    } else {
        output::line(&format!("page  {}", found.page));
    }
    Ok(())
}

impl Options {
    /// The path of the page of a figure.
    fn page(&self, name: &str) -> PathBuf {
        self.output.clone().unwrap_or_else(|| PathBuf::from(format!("docs/{name}.md")))
    }
}

/// What was measured of a run.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    /// What it depends on.
    of: serde_json::Value,
    found: T,
}

/// The result of `measure`, which depends on a run and on `options`. It is kept in the run's folder as NAME.json, and
/// read from there if the run and the options are the same, so that a stopped command goes on where it was.
fn kept<T: Serialize + DeserializeOwned>(
    run: &Path,
    name: &str,
    options: &str,
    measure: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let hash = |file: &str| {
        let path = run.join(file);
        Ok(content_hash(&std::fs::read(&path).map_err(|e| Error::io(&path, e))?))
    };
    let of = serde_json::json!({
        "recipe": hash("run.json")?,
        "weights": hash("model.safetensors")?,
        "options": options,
    });
    let path = run.join(format!("{name}.json"));
    let before = std::fs::read(&path).ok();
    let before = before.and_then(|text| serde_json::from_slice::<Kept<T>>(&text).ok());
    if let Some(before) = before.filter(|before| before.of == of) {
        return Ok(before.found);
    }
    let measured = Kept { of, found: measure()? };
    let text = serde_json::to_vec(&measured)
        .map_err(|e| Error::config("figure", e.to_string(), "values that JSON can hold"))?;
    write_atomically(&path, &text)?;
    Ok(measured.found)
}

/// Results as JSON.
fn for_machines(found: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(found)
        .map_err(|e| Error::config("figure", e.to_string(), "values that JSON can hold"))
}

/// A table in Markdown.
fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let headings: Vec<String> = headings.iter().map(|heading| heading.to_string()).collect();
    let rule = vec!["---".to_string(); headings.len()];
    let all = [&headings, &rule].into_iter().chain(rows);
    all.map(|cells| line(cells)).collect()
}
