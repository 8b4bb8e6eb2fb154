//! `tweedie reproduce`: pages of the docs with their figures, some of which take hours, from recipes or from known
//! distributions.

mod families;
mod lessons;
mod mnist_bounds;
mod mnist_densities;
mod mnist_diffusion;
mod mnist_likelihood;

use crate::compare::Sweep;
use crate::{Settings, output, train};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tweedie::data::content_hash;
use tweedie::files::write_atomically;
use tweedie::run::shipped;
use tweedie::{Error, Result};

/// A page in Markdown, and its figures as JSON.
type Measured = (String, serde_json::Value);

/// A page of the docs, with the runs that it needs.
struct Figure {
    name: &'static str,
    /// One line on what it shows.
    what: &'static str,
    /// The recipes of its runs.
    models: &'static [&'static str],
    /// Whether it needs a folder of data.
    needs_data: bool,
    /// Measures the runs; gives the page unless some runs are left out.
    measure: fn(&Options, &Settings) -> Result<Option<Measured>>,
}

const FIGURES: [Figure; 11] = [
    mnist_diffusion::FIGURE,
    mnist_likelihood::FIGURE,
    mnist_densities::FIGURE,
    mnist_bounds::FIGURE,
    families::FIGURE,
    lessons::FITS,
    lessons::PATHS,
    lessons::GAP,
    lessons::ESTIMATORS,
    lessons::FINITE_SAMPLES,
    lessons::DIRAC,
];

/// Options of `tweedie reproduce`.
#[derive(clap::Args)]
pub struct Options {
    /// The figure; without it all figures are listed.
    figure: Option<String>,
    /// The folder of the data.
    #[arg(long)]
    data: Option<String>,
    /// The folder of the runs: finished ones are used, stopped ones resumed, missing ones trained.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Use what was measured before of runs that are not in --runs, if their recipes are the same.
    #[arg(long)]
    reuse: bool,
    /// Measure the runs of these recipes alone, separated by commas, and write no page yet.
    #[arg(long, value_name = "RECIPES", value_delimiter = ',')]
    only: Vec<String>,
    /// Number of samples of each run by its recipe's own sampling.
    #[arg(long, default_value_t = 10_000, allow_negative_numbers = true, value_parser = crate::whole::<u64>)]
    samples: u64,
    #[command(flatten)]
    sweep: Sweep,
    /// Number of test rows for bits per dimension.
    #[arg(long, default_value_t = 10_000, allow_negative_numbers = true, value_parser = crate::whole::<usize>)]
    rows: usize,
    /// The page to write, a .md file; its pictures go to `images` beside it, and what was measured of each run to
    /// `figures`. docs/FIGURE.md by default.
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

/// Measures all runs, missing ones after training, and writes the page.
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
    if figure.needs_data && options.data.is_none() {
        return Err(Error::config("--data", "absent", "the folder of MNIST's files"));
    }
    options.sweep.check()?;
    if options.samples < 2 {
        return Err(Error::config("--samples", options.samples.to_string(), "at least 2"));
    }
    for recipe in &options.only {
        if !figure.models.contains(&recipe.as_str()) {
            let expected = tweedie::error::one_of(recipe, figure.models);
            return Err(Error::config("--only", recipe, expected));
        }
    }
    let Some((text, found)) = (figure.measure)(options, settings)? else {
        return Ok(());
    };
    write_atomically(&page, text.as_bytes())?;
    let found = Page { figure: found, page: page.display().to_string() };
    if settings.json {
        output::json(&found);
    } else {
        output::line(&format!("page  {}", found.page));
    }
    Ok(())
}

/// A measurement of the run of a recipe.
struct Asked<'a> {
    recipe: &'static str,
    /// The name of the measurement.
    name: &'static str,
    /// The options that its result depends on.
    options: String,
    settings: &'a Settings,
}

/// What was measured of a run.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    of: Source,
    found: T,
}

/// What a measurement depends on: hashes of the shipped recipe, of `run.json` and of the weights, and options.
#[derive(Serialize, Deserialize)]
struct Source {
    recipe: String,
    run: String,
    weights: String,
    options: String,
}

impl Options {
    /// The path of the page of a figure.
    fn page(&self, name: &str) -> PathBuf {
        self.output.clone().unwrap_or_else(|| PathBuf::from(format!("docs/{name}.md")))
    }

    /// A folder beside the page of a figure.
    fn beside(&self, figure: &str, folder: &str) -> PathBuf {
        self.page(figure).parent().unwrap_or(Path::new("")).join(folder)
    }

    /// The result of `measure`, which takes the folder of the recipe's run, or none if the recipe is left out; the run
    /// is trained first if it is not there. The result is kept beside the page as figures/RECIPE-NAME.json, and read
    /// from there if run and options are the same, so that a stopped command goes on where it was.
    fn kept<T: Serialize + DeserializeOwned>(
        &self,
        figure: &str,
        asked: Asked,
        measure: impl FnOnce(&Path) -> Result<T>,
    ) -> Result<Option<T>> {
        let Asked { recipe, name, options, settings } = asked;
        if !self.only.is_empty() && self.only.iter().all(|only| only != recipe) {
            return Ok(None);
        }
        let path = self.beside(figure, "figures").join(format!("{recipe}-{name}.json"));
        let (_, text) = shipped::find(recipe)?;
        let folder = self.runs.join(recipe);
        let started = folder.join("run.json").exists();
        let before = std::fs::read(&path).ok();
        let before = before.and_then(|text| serde_json::from_slice::<Kept<T>>(&text).ok());
        let same =
            |of: &Source| of.recipe == content_hash(text.as_bytes()) && of.options == options;
        let before = before.filter(|before| same(&before.of));
        let before = match before {
            Some(before) if !started && self.reuse => return Ok(Some(before.found)),
            before => before,
        };
        train::finished(recipe, self.data.as_deref(), &folder, settings)?;
        let hash = |file: &str| {
            let path = folder.join(file);
            Ok(content_hash(&std::fs::read(&path).map_err(|e| Error::io(&path, e))?))
        };
        let (run, weights) = (hash("run.json")?, hash("model.safetensors")?);
        let unchanged = |of: &Source| of.run == run && of.weights == weights;
        if let Some(before) = before.filter(|before| unchanged(&before.of)) {
            return Ok(Some(before.found));
        }
        let of = Source { recipe: content_hash(text.as_bytes()), run, weights, options };
        let measured = Kept { of, found: measure(&folder)? };
        let text = serde_json::to_vec(&measured)
            .map_err(|e| Error::config("figure", e.to_string(), "values that JSON can hold"))?;
        make_for(&path)?;
        write_atomically(&path, &text)?;
        Ok(Some(measured.found))
    }
}

/// Makes the folder of a file.
fn make_for(file: &Path) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))
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
