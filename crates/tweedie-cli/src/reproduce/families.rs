//! One run of every family on the same points: what each can say, and what it costs.

use super::{Figure, Measured, Options, for_machines, make_for, table};
use crate::{Settings, train};
use std::path::PathBuf;
use tweedie::Result;
use tweedie::draw::save_png;
use tweedie::judge::compare::pictures;
use tweedie::run::Run;

pub const FIGURE: Figure = Figure {
    name: "families",
    what: "one run of every family on two moons: densities, samples, and what each can say",
    models: &["points", "maf", "cnf", "made", "iwae", "ebm", "r3gan", "gmm", "kde"],
    needs_data: false,
    measure,
};

/// The data of every run.
const DATA: &str = "moons";

/// What each family has, in the order of the models.
const WORDS: [(&str, &str, &str); 6] = [
    (
        "exact",
        "flows, autoregressive models, mixtures, kernel estimates; the ODE of a diffusion model up to its solver",
        "log p of any row, to rounding. Compare them by it.",
    ),
    (
        "lower bound",
        "latent-variable models; diffusion by `--density elbo` or `sde`",
        "log p is at least this. A model that loses by a bound need not be worse.",
    ),
    (
        "estimate",
        "energies: the density is known up to Z, and ln Z by annealing",
        "log p with an error that no bound holds. Both directions of annealing must agree.",
    ),
    ("none", "generators of games", "samples alone. Metrics of samples are all there is."),
    (
        "samples in one pass",
        "couplings, latent-variable models, generators, mixtures, kernel estimates",
        "as many evaluations as the table says: 1 or none.",
    ),
    (
        "samples step by step",
        "diffusion (steps of a solver), autoregressive models (columns), continuous flows (solver), energies (chains)",
        "fewer steps are faster and worse.",
    ),
];

fn measure(options: &Options, settings: &Settings) -> Result<Option<Measured>> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for recipe in FIGURE.models {
        if !options.only.is_empty() && !options.only.iter().any(|only| only == recipe) {
            continue;
        }
        let folder = options.runs.join(DATA).join(recipe);
        train::finished(recipe, Some(DATA), &folder, settings)?;
        folders.push(folder);
    }
    if !options.only.is_empty() {
        return Ok(None);
    }
    let runs = folders.iter().map(|folder| Run::open(folder)).collect::<Result<Vec<_>>>()?;
    let (compared, reference) =
        options.sweep.compare_at(("steps", &[]), 2000, &runs, true, settings)?;
    let mut text = String::from(
        "# One run of every family\n\nWritten by `tweedie reproduce families`. Each recipe as it is shipped, trained on \
         two moons by `train RECIPE --data moons` and judged by the same test points, on which none was trained. \
         The first table is of what the families can say; the numbers come after.\n",
    );
    let of =
        |(what, who, means): &(&str, &str, &str)| [*what, *who, *means].map(String::from).to_vec();
    let words: Vec<Vec<String>> = WORDS.iter().map(of).collect();
    text +=
        &format!("\n{}", table(&["what there is", "in which families", "what it says"], &words));
    let (headings, lines) = compared.models();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    text += &format!(
        "\n## log p\n\n`KL` is of the data to the model, from the known density of the points. Kinds are told apart: \
         an exact log p, a lower bound, an estimate, or none.\n\n{}",
        table(&headings, &lines)
    );
    for (name, caption, image) in pictures(&compared, &reference.data)? {
        let file = format!("families-{name}.png");
        let path = options.beside(FIGURE.name, "images").join(&file);
        make_for(&path)?;
        save_png(&image, &path)?;
        text += &format!("\n![{caption}](images/{file})\n");
    }
    let (headings, lines) = compared.samples(true);
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    text += &format!(
        "\n## Samples\n\n{} of each; ± is one standard error, and the last line has {} in place of samples.\n\n{}\n## \
         What these numbers say\n",
        compared.samples,
        compared.floor,
        table(&headings, &lines)
    );
    for (title, words) in compared.words() {
        text += &format!("\n**{title}.** {words}\n");
    }
    Ok(Some((text, for_machines(&compared)?)))
}
