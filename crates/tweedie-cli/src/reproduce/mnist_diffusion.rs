//! Seven diffusion models of one size on MNIST: quality against evaluations.

use super::{Figure, Options, for_machines, table};
use crate::Settings;
use std::fmt::Write;
use std::path::Path;
use tweedie::data::Dataset;
use tweedie::draw::{picture, save_png};
use tweedie::judge::{ComparisonResult, Point};
use tweedie::{Error, Result};

pub const FIGURE: Figure = Figure {
    name: "mnist-diffusion",
    what: "seven diffusion models of one size on MNIST: quality against evaluations",
    models: &[
        "mnist-ddpm",
        "mnist-vdm",
        "mnist-edm",
        "mnist-vp",
        "mnist-sub-vp",
        "mnist-ve",
        "mnist-ncsn",
    ],
    measure,
};

fn measure(options: &Options, settings: &Settings) -> Result<(String, serde_json::Value)> {
    let paths: Vec<_> = FIGURE.models.iter().map(|name| options.runs.join(name)).collect();
    let (mut compared, reference) = options.sweep.compare(&paths, None, settings)?;
    for point in &mut compared.points {
        let name = Path::new(&point.run).file_name().map(|name| name.to_string_lossy().into());
        point.run = name.unwrap_or_default();
    }
    Ok((page(&compared, &reference.data, options)?, for_machines(&compared)?))
}

/// The page in Markdown; writes its pictures beside it.
fn page(compared: &ComparisonResult, data: &Dataset, options: &Options) -> Result<String> {
    let page = options.page(FIGURE.name);
    let images = page.parent().unwrap_or(Path::new("")).join("images");
    std::fs::create_dir_all(&images).map_err(|e| Error::io(&images, e))?;
    let mut text = format!(
        "# Diffusion models on MNIST\n\nWritten by `tweedie reproduce mnist-diffusion --data FOLDER -n {}`. One UNet \
         of 16, 32 and 64 channels, conditional on the class, trained for the same number of steps on the same \
         pictures by each recipe; only the process, the objective, the clock and the sampler differ, and in \
         `mnist-vdm` the Fourier features of the input; `mnist-ddpm` and `mnist-vdm` train on integers as they are, \
         the others on dequantised ones. How probable the models find held-out pictures is [another \
         page](mnist-likelihood.md).\n\n## Quality against evaluations\n\n{} samples of each at each number of steps, \
         by the recipe's own solver; the last line is training pictures in their place.\n\n",
        compared.samples, compared.samples
    );
    let (headings, rows) = compared.table();
    text += &table(&headings.iter().map(String::as_str).collect::<Vec<_>>(), &rows);
    for (name, plot) in compared.plots() {
        let file = format!("mnist-diffusion-{}.png", slug(name));
        save_png(&plot.draw()?, images.join(&file))?;
        let _ = writeln!(text, "\n![{name} against network evaluations](images/{file})");
    }
    text += "\n## Samples\n";
    for last in compared.by_run().into_iter().filter_map(<[Point]>::last) {
        let file = format!("{}.png", slug(&last.run));
        let drawn = picture(&data.space, &last.samples, Some(data.held_out.rows()))?;
        save_png(&drawn, images.join(&file))?;
        let (run, evaluations) = (&last.run, last.evaluations);
        let _ = writeln!(
            text,
            "\n{run}, {evaluations:.0} evaluations:\n\n![Samples of {run}](images/{file})"
        );
    }
    Ok(text)
}

/// A name in lower-case ASCII, for file names.
fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.replace('é', "e").chars().map(plain).collect()
}
