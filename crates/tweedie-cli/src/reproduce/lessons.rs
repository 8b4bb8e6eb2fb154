//! Pages that teach, of known distributions: no data, and little or no training.

use super::{Figure, Measured, Options, make_for};
use crate::{Settings, runs, train};
use std::path::Path;
use toml::Table;
use tweedie::Result;
use tweedie::draw::save_png;
use tweedie::family::{Drawing, PictureSetting};
use tweedie::judge::lesson::{self, Lesson};
use tweedie::run::pictures::pictures;

pub const FITS: Figure = Figure {
    name: "fits",
    what: "Gaussians by KL and by W₁, and mixtures that follow any distribution on the line",
    models: &[],
    needs_data: false,
    measure: |options, _| write(FITS.name, lesson::fits()?, options).map(Some),
};

pub const GAP: Figure = Figure {
    name: "gap",
    what: "log p beside its bounds: where each is greatest, and what closes the gap",
    models: &[],
    needs_data: false,
    measure: |options, _| write(GAP.name, lesson::gap()?, options).map(Some),
};

pub const ESTIMATORS: Figure = Figure {
    name: "estimators",
    what: "estimators of one mean: their variances, and where steps by them end",
    models: &[],
    needs_data: false,
    measure: |options, _| write(ESTIMATORS.name, lesson::estimators()?, options).map(Some),
};

pub const FINITE_SAMPLES: Figure = Figure {
    name: "finite-samples",
    what: "critics of two equal distributions, by how many rows they see, and what they do to a generator",
    models: &[],
    needs_data: false,
    measure: |options, _| write(FINITE_SAMPLES.name, lesson::finite_samples()?, options).map(Some),
};

pub const DIRAC: Figure = Figure {
    name: "dirac",
    what: "the smallest game: which steps of generator and critic converge, and how fast",
    models: &[],
    needs_data: false,
    measure: |options, _| write(DIRAC.name, lesson::dirac()?, options).map(Some),
};

pub const PATHS: Figure = Figure {
    name: "paths",
    what: "one path as SDE, ODE and chain; a flow against a denoiser",
    models: &["coupling", "points"],
    needs_data: false,
    measure: measure_paths,
};

/// The pictures of trained runs on the page of paths: the recipe, the name among its pictures, and the caption.
const TRAINED: [(&str, &str, &str); 2] = [
    ("coupling", "layers", "A grid of noise through the layers of a flow"),
    ("points", "trajectory", "Samples of a denoiser on their way from noise"),
];

fn measure_paths(options: &Options, settings: &Settings) -> Result<Option<Measured>> {
    let mut lesson = lesson::paths()?;
    lesson.text += "\n## A flow against a denoiser\n\nA flow carries noise to data by layers that are trained \
                    together: the likelihood of a row passes through all of them, a step of training changes all of \
                    them, and nothing says what lies between two layers. A denoiser is trained at one level at a time, \
                    on rows that a fixed process has noised: what lies between noise and data is known before \
                    training, and each level is a problem of regression by itself. Both below have learnt eight \
                    Gaussians, by the recipes `coupling` and `points`.\n";
    for (recipe, name, caption) in TRAINED {
        let folder = options.runs.join(recipe);
        train::finished(recipe, options.data.as_deref(), &folder, settings)?;
        let Some(Drawing::Still(image)) = drawn(&folder, name, settings)? else { continue };
        let file = format!("paths-{name}.png");
        lesson.text += &format!("\n![{caption}](images/{file})\n");
        lesson.pictures.push((file, image));
    }
    write(PATHS.name, lesson, options).map(Some)
}

/// A picture of a run by its name; none if the run has no such picture.
fn drawn(folder: &Path, name: &str, settings: &Settings) -> Result<Option<Drawing>> {
    let run = runs::open(folder)?;
    let (model, data) = (run.model(&settings.device)?, run.data());
    let sampling = Table::new();
    let showing = PictureSetting {
        sampling: &sampling,
        data: data.as_ref().map_err(ToString::to_string),
        seed: run.info.recipe.seed,
        device: &settings.device,
    };
    let all = pictures(&run, &*model, &showing);
    let found = all.iter().find(|picture| picture.name == name);
    found.map(|picture| (picture.draw)()).transpose()
}

/// Writes the pictures of a page beside it; gives the page.
fn write(name: &str, lesson: Lesson, options: &Options) -> Result<Measured> {
    for (file, image) in &lesson.pictures {
        let path = options.beside(name, "images").join(file);
        make_for(&path)?;
        save_png(image, &path)?;
    }
    Ok((lesson.text, lesson.figures))
}
