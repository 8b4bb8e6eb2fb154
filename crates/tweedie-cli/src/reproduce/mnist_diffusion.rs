//! Seven diffusion models of one size on MNIST: quality against evaluations.

use super::{Asked, Figure, Measured, Options, for_machines, make_for, table};
use crate::{Settings, runs};
use serde::Serialize;
use std::fmt::Write;
use tweedie::draw::{picture, save_png};
use tweedie::judge::{ComparisonResult, Point};
use tweedie::metric::judge::Score;
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
    needs_data: true,
    measure,
};

/// The metrics of the first table.
const METRICS: [&str; 6] = [
    "Fréchet distance",
    "label accuracy",
    "sliced W2",
    "energy distance",
    "label agreement",
    "memorisation",
];

/// Both comparisons.
#[derive(Serialize)]
struct Results {
    /// By the sampling of each recipe.
    own: ComparisonResult,
    /// At several numbers of steps.
    steps: ComparisonResult,
}

fn measure(options: &Options, settings: &Settings) -> Result<Option<Measured>> {
    let (mut own, mut steps) = (None, None);
    let pictures = options.beside(FIGURE.name, "figures");
    for &recipe in FIGURE.models {
        let asked = |name, options| Asked { recipe, name, options, settings };
        let own_sampling = format!("{} samples, {}", options.samples, options.sweep.judged_by());
        let asked_own = asked("own-sampling", own_sampling);
        let found = options.kept(FIGURE.name, asked_own, |folder| {
            let (n, run) = (options.samples, [runs::open(folder)?]);
            let (found, reference) =
                options.sweep.compare_at(("steps", &[]), n, &run, false, settings)?;
            let samples = found.points.first().and_then(|point| point.samples.as_ref());
            if let Some(samples) = samples {
                let real = Some(reference.data.held_out.rows());
                let file = pictures.join(format!("{recipe}.png"));
                make_for(&file)?;
                save_png(&picture(&reference.data.space, samples, real)?, file)?;
            }
            Ok(named(found, recipe))
        })?;
        add(&mut own, found);
        let found =
            options.kept(FIGURE.name, asked("own-solver", options.sweep.swept()), |folder| {
                let path = [folder.to_path_buf()];
                let (found, _) = options.sweep.compare(&path, None, false, settings)?;
                Ok(named(found, recipe))
            })?;
        add(&mut steps, found);
    }
    let complete = options.only.is_empty();
    let (Some(own), Some(steps)) = (own.filter(|_| complete), steps) else { return Ok(None) };
    let found = Results { own, steps };
    Ok(Some((page(&found, options)?, for_machines(&found)?)))
}

/// A comparison of one run under the name of its recipe.
fn named(mut one: ComparisonResult, recipe: &str) -> ComparisonResult {
    one.runs.iter_mut().for_each(|run| run.run = recipe.into());
    one.points.iter_mut().for_each(|point| point.run = recipe.into());
    one
}

/// Appends the comparison `one`, if there is one, to the comparison `all`.
fn add(all: &mut Option<ComparisonResult>, one: Option<ComparisonResult>) {
    let Some(one) = one else { return };
    match all {
        None => *all = Some(one),
        Some(all) => {
            all.runs.extend(one.runs);
            all.points.extend(one.points);
        }
    }
}

/// The page in Markdown; writes its pictures beside it.
fn page(Results { own, steps }: &Results, options: &Options) -> Result<String> {
    let images = options.beside(FIGURE.name, "images");
    let pictures = options.beside(FIGURE.name, "figures");
    let mut text = format!(
        "# Diffusion models on MNIST\n\nWritten by `tweedie reproduce mnist-diffusion --data FOLDER`. One UNet of 16, \
         32 and 64 channels, conditional on the class, trained on the same pictures by each recipe; the process, the \
         objective, the clock and the sampler differ, the learning rate and the number of steps, and in `mnist-vdm` \
         the Fourier features of the input. `mnist-ddpm` and `mnist-vdm` train on integers as they are, the others on \
         dequantised ones. How probable the models find held-out pictures is [another \
         page](mnist-likelihood.md).\n\n## As the recipes sample\n\n{} samples of each against all test pictures, \
         with the labels of these; ± is one standard error. The last line is training pictures in place of \
         samples.\n\n",
        own.samples
    );
    text += &quality(own);
    let _ = write!(
        text,
        "\n## Quality against evaluations\n\n{} samples of each at each number of steps, by the recipe's own \
         solver.\n\n",
        steps.samples
    );
    let (headings, rows) = steps.samples(false);
    text += &table(&headings.iter().map(String::as_str).collect::<Vec<_>>(), &rows);
    for (name, plot) in steps.plots().into_iter().filter(|(name, _)| METRICS.contains(name)) {
        let file = format!("mnist-diffusion-{}.png", slug(name));
        make_for(&images.join(&file))?;
        save_png(&plot.draw()?, images.join(&file))?;
        let _ = writeln!(text, "\n![{name} against network evaluations](images/{file})");
    }
    text += "\n## Samples\n";
    for point in &own.points {
        let (run, evaluations) = (&point.run, point.evaluations);
        let (from, to) = (pictures.join(format!("{run}.png")), images.join(format!("{run}.png")));
        std::fs::copy(&from, to).map_err(|e| Error::io(&from, e))?;
        let _ = writeln!(
            text,
            "\n{run}, {evaluations:.0} evaluations:\n\n![Samples of {run}](images/{run}.png)"
        );
    }
    Ok(text)
}

/// The table of runs by their own sampling.
fn quality(own: &ComparisonResult) -> String {
    let names: Vec<&str> =
        METRICS.into_iter().filter(|name| of(&own.points[0], name).is_some()).collect();
    let mut rows = Vec::new();
    for (run, point) in own.runs.iter().zip(&own.points) {
        let minutes =
            run.training_seconds.map_or(String::new(), |s| format!("{:.0} min", s / 60.0));
        let mut row = vec![
            run.run.clone(),
            run.parameters.to_string(),
            minutes,
            point.solver.clone(),
            format!("{:.0}", point.evaluations),
        ];
        row.extend(names.iter().map(|name| {
            of(point, name).map_or(String::new(), |score| match score.standard_error {
                Some(error) => format!("{:.4} ± {error:.4}", score.value),
                None => format!("{:.4}", score.value),
            })
        }));
        rows.push(row);
    }
    let mut last = vec![String::new(); 5];
    last[0] = own.floor.to_string();
    let floor = |name: &&str| of(&own.points[0], name)?.floor.map(|floor| format!("{floor:.4}"));
    last.extend(names.iter().map(|name| floor(name).unwrap_or_default()));
    rows.push(last);
    let headings = ["run", "parameters", "training", "solver", "evaluations"];
    table(&[&headings, &names[..]].concat(), &rows)
}

/// A metric of a run.
fn of<'a>(point: &'a Point, name: &str) -> Option<&'a Score> {
    point.scores.iter().find(|score| score.name == name)
}

/// A name in lower-case ASCII, for file names.
fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.replace('é', "e").chars().map(plain).collect()
}
